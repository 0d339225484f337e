"""Rows of the tables: what was measured, against what, and how far from what the machine could do."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.speed.benchmarks.timing import Seconds


@dataclasses.dataclass
class Row:
    """One side of one comparison; `seconds` are of one item."""

    case: str  # what was asked for: a name of bench.py's --only
    what: str  # which of its parts
    side: str  # linkjax, or what it is compared with
    seconds: float  # median of the repeats
    least: float
    processor: float
    repeats: int
    precision: str = "float32"
    batch: int = 1
    compile_seconds: float | None = None
    operations: float | None = None  # of one item: 2 a multiply-add
    bytes: float | None = None  # of one item: what must pass through memory at least, or as XLA counts
    difference: float | None = None  # largest, from the other side, relative to its largest value
    note: str = ""
    limit: float | None = None  # seconds below which the machine's ceilings let nothing pass
    share: float | None = None  # limit / seconds
    ratio: float | None = None  # these seconds over those of linkjax: above 1, linkjax is faster


def row(case: str, what: str, side: str, found: Seconds, items: int, **rest: Any) -> Row:
    """From what the clock says of a call on so many items."""
    each = (found.median / items, found.least / items, found.processor / items)
    return Row(case, what, side, *each, len(found.all), batch=items, **rest)


def complete(rows: list[Row], ceilings: dict[str, Any]) -> None:
    """Fill in limits by the ceilings, and ratios to the row of linkjax of the same case, part and precision."""
    for each in rows:
        rate = ceilings["matrix"].get(each.precision)
        times = [each.operations / rate if each.operations and rate else 0.0]
        times.append(each.bytes / ceilings["memory"] if each.bytes else 0.0)
        if max(times) > 0:
            each.limit = max(times)
            each.share = each.limit / each.seconds
        own = [o for o in rows if (o.case, o.what, o.precision, o.side) == (*_key(each), "linkjax")]
        if own and each.side != "linkjax":
            each.ratio = each.seconds / own[0].seconds


def _key(row: Row) -> tuple[str, str, str]:
    return row.case, row.what, row.precision


def show(rows: list[Row], title: str) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left")
    left = ("case", "what", "side")
    for column in (*left, "precision", "batch", "ms", "÷ linkjax", "GFLOP", "MB", "limit ms", "share", "compile s",
                   "difference"):  # fmt: skip
        table.add_column(column, justify="left" if column in left else "right")
    for row in rows:
        table.add_row(
            row.case, row.what, row.side, row.precision, str(row.batch), _number(row.seconds, 1e3),
            _number(row.ratio), _number(row.operations, 1e-9), _number(row.bytes, 1e-6), _number(row.limit, 1e3),
            "–" if row.share is None else f"{100 * row.share:.0f} %", _number(row.compile_seconds),
            "–" if row.difference is None else f"{row.difference:.0e}",
        )  # fmt: skip
    Console(width=170).print(table)
    for row in rows:
        if row.note:
            print(f"{row.case}, {row.what}, {row.side}: {row.note}")


def _number(value: float | None, scale: float = 1.0) -> str:
    return "–" if value is None else f"{value * scale:.3g}" if value * scale < 1e4 else f"{value * scale:.0f}"


def store(path: Path, about: dict[str, Any], rows: list[Row], notes: dict[str, Any]) -> None:
    """Write the figures; cases and precisions of an earlier run that were not run again stay."""
    record: dict[str, Any] = {"cases": {}, "notes": {}}
    if path.exists():
        record = json.loads(path.read_text(encoding="utf-8"))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    for case in dict.fromkeys(row.case for row in rows):
        found = [dataclasses.asdict(row) for row in rows if row.case == case]
        new = {each["precision"] for each in found}
        known = record["cases"].get(case, {"rows": []})["rows"]
        kept = [each for each in known if each["precision"] not in new]
        record["cases"][case] = {"load_average": load, **about, "rows": kept + found}
    record["notes"] |= notes
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, **record, **about}, indent=1) + "\n", encoding="utf-8")

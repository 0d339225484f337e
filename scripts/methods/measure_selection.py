"""How many anchors `linkjax select` needs, along steering directions and along the kernel: planted units found.

    python scripts/methods/measure_selection.py --out FOLDER [--samples 1 2 4 8] [--json docs/figures/selection.json]
        [--figure docs/power.png] [--directions steer kernel]

Sweeps the 36 units of `planted` with parts, over the values that `linkjax demo` asks, with the most anchors of each of
the 10 breeds and 12 random directions in each space; fewer anchors are the first of these. What `select` calls
significant at 5 % false discoveries is held against the renderer, and along steering directions what is not true of it
against the directions of one who knows the factors, from the same animals. Pairs and link are those of
`measure_screening.py`, if FOLDER is the same; what is there already is not made again. 19 000 images in all.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

import linkjax
from linkjax.analysis.units.sweep_table import of_sweep
from linkjax.demo import oracle, recovery, score
from linkjax.demo.bundle import Bundle, open_bundle
from linkjax.devices import compile_cache
from linkjax.report.figures import style
from linkjax.storage import artifacts
from scripts.methods.measure_screening import chain, stage

_FDR = 0.05
_WAYS = {"steer": "along steering directions", "kernel": "along the kernel"}


def measure(folder: Path, bundle: Bundle, linked: dict[str, Any], directions: str, samples: list[int]) -> dict:
    """Anchors of each class → what is called, and how much of it is true."""
    plain = {"steps": 2, "random_directions": 12, "picture_units": 0, "batch_size": 50, "low": 2.5, "high": 97.5}
    name = f"{directions}-{max(samples)}-anchors"
    sweep = stage("sweep", folder / f"sweep-{name}", **linked, **plain, samples=max(samples), directions=directions)
    selection = stage("select", folder / f"selection-{name}", sweep=str(sweep), ablation=False)
    told = folder / f"recovery-{name}"
    if not told.exists():
        paths = {"sweep": str(sweep), "selection": str(selection)}
        recovery.run(recovery.Config(out=str(told), **paths, pairs=linked["pairs"], link=linked["link"]), bundle.units)
    of_truth = artifacts.Artifact(told, "recovery")
    truth, unit = (of_truth.read(name) for name in ("truth", "unit"))
    swept, found, knowing = linkjax.open(sweep), {}, None
    if directions == "steer":
        knowing = linkjax.open(_known(folder, bundle, linked, {**plain, "samples": max(samples)}))
    label = swept["label"].values
    for count in samples:
        rows = np.sort(np.concatenate([np.flatnonzero(label == each)[:count] for each in np.unique(label)]))
        table = of_sweep(swept.isel(sample=rows)).sel(unit=unit)
        arrays = (table[name].values.astype(np.float64) for name in ("effect", "spread", "q"))
        told_rows = [bundle.units[each] for each in unit]
        arrays = tuple(arrays)
        found[str(count)] = score.significance(told_rows, truth, *arrays, _FDR)
        if knowing is not None:
            by_unit = of_sweep(knowing.isel(sample=rows))["effect"].reindex(unit=unit).values.astype(np.float64)
            found[str(count)] |= score.shown_by_oracle(told_rows, truth, *arrays, _FDR, by_unit)
    return found


def _known(folder: Path, bundle: Bundle, linked: dict[str, Any], settings: dict[str, Any]) -> Path:
    """A sweep of the same animals along the directions of one who knows the factors."""
    link = folder / "oracle-link"
    if not link.exists():
        oracle.run(oracle.Config(out=str(link), pairs=linked["pairs"], link=linked["link"]), bundle.units)
    carrying = tuple(row["unit"] for row in bundle.units if row["kind"] != "noise")
    alone = {**linked, **settings, "link": str(link), "units": carrying, "random_directions": 0}
    return stage("sweep", folder / f"oracle-sweep-{settings['samples']}-anchors", **alone)


def picture(found: dict[str, dict], path: Path) -> None:
    """Units called by anchors of each class."""
    figure = style.new(style.HALF, 2.9)
    axes = figure.add_subplot()
    style.dress(axes, "anchors of each of 10 breeds", "units with a significant effect")
    for (directions, way), colour in zip(_WAYS.items(), style.CATEGORIES, strict=False):
        counts = np.array([int(count) for count in found[directions]])
        for name, text, mark in (
            ("significant_selective_units", "selective, of 20", "o-"),
            ("false_noise_units", "noise, none of its effects true", "x:"),
        ):
            values = [each[name] for each in found[directions].values()]
            axes.plot(counts, values, mark, color=colour, markersize=4, label=f"{way}: {text}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_ylim(-0.5, 20.5)
    axes.legend(fontsize=style.SMALL, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2)
    path.write_bytes(style.png(figure))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", nargs="+", type=int, default=[1, 2, 4, 8], help="anchors of each class")
    parser.add_argument("--directions", nargs="+", default=list(_WAYS), choices=list(_WAYS))
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--figure", type=Path, help="PNG to draw")
    arguments = parser.parse_args()
    compile_cache.enable()
    bundle, begin = open_bundle(), time.perf_counter()
    folder = arguments.out / "planted"
    folder.mkdir(parents=True, exist_ok=True)
    linked = chain(folder, bundle, "planted")
    found = {each: measure(folder, bundle, linked, each, arguments.samples) for each in arguments.directions}
    for directions, counts in found.items():
        for count, row in counts.items():
            print(f"{_WAYS[directions]}, {count} anchors of each class: {row}")
    print(f"{time.perf_counter() - begin:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if arguments.figure and len(found) == len(_WAYS):
        picture(found, arguments.figure)


if __name__ == "__main__":
    main()

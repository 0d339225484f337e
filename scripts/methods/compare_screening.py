"""How far first-order screening can be trusted: its effects against a full sweep of the same units and anchors.

    python scripts/methods/compare_screening.py --screening DEMO/screening --sweep DEMO/sweep [--json FILE] [--paths]

Prints how many units are among the 20 of largest effects in both (by the root mean square of all effects, as candidates
of a sweep are chosen, and by the largest one), and Spearman's rank correlation over units, parts and metrics together,
and for each metric by itself. Effects are in standard deviations of the metric among untouched samples, per standard
deviation of the unit. With --paths, what the screening integrated along the sweep's path is compared (`linkjax screen
--path-units`).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.analysis.metrics import measurements
from linkjax.analysis.ranks import rank_correlation
from linkjax.analysis.units import candidates
from linkjax.storage import artifacts

_TOP = 20  # units of the two lists that are compared


def _effects(
    path: Path, kind: str, paths: bool = False
) -> tuple[np.ndarray, np.ndarray, list[str], list[str], np.ndarray]:
    found = artifacts.Artifact(path, kind)
    data = found.open()
    prefix = "path_" if paths else ""
    effect, unit = (found.read(prefix + name).astype(float) for name in ("effect", "unit"))
    baseline = found.read("baseline").astype(float)
    metrics = artifacts.names(data, "metric")
    return effect, measurements.spread(baseline, metrics), artifacts.names(data, "part"), metrics, unit


def _root_mean_square(scaled: np.ndarray) -> np.ndarray:
    return candidates.strongest_units(scaled, np.ones(scaled.shape[1:]), np.ones(len(scaled), bool), _TOP)


def _largest(scaled: np.ndarray) -> np.ndarray:
    return np.argsort(-candidates.strength(scaled, np.ones(scaled.shape[1:])).max(axis=(1, 2)))[:_TOP]


def compare(screening: Path, sweep: Path, paths: bool = False) -> dict[str, Any]:
    """Rank correlations of screened and swept effects: pooled, by metric, and over how many."""
    screened, _, parts, metrics, units = _effects(screening, "screening", paths)
    swept, spread, swept_parts, swept_metrics, swept_units = _effects(sweep, "sweep")
    both = np.intersect1d(units, swept_units)
    screened, swept = (
        effect[[list(of).index(unit) for unit in both]] for effect, of in ((screened, units), (swept, swept_units))
    )
    places = np.ix_([swept_parts.index(part) for part in parts], [swept_metrics.index(metric) for metric in metrics])
    a, b = screened / spread[places], swept[(slice(None), *places)] / spread[places]
    known = np.isfinite(a) & np.isfinite(b)
    figures = {"pooled": rank_correlation(a[known], b[known]), "effects": int(known.sum())}
    figures |= {f"top {_TOP} shared, {name}": len(np.intersect1d(way(a), way(b)))
                for name, way in (("root mean square", _root_mean_square), ("largest effect", _largest))}  # fmt: skip
    by_metric = {}
    for column, metric in enumerate(metrics):
        mine = known[..., column]
        by_metric[metric] = rank_correlation(a[..., column][mine], b[..., column][mine])
    return {**figures, "by metric": by_metric}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--screening", type=Path, required=True)
    parser.add_argument("--sweep", type=Path, required=True)
    parser.add_argument("--paths", action="store_true", help="compare the effects integrated along paths")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    figures = compare(arguments.screening, arguments.sweep, arguments.paths)
    for name, value in figures.items():
        if name.startswith("top"):
            print(f"{name}: {value}")
    print(f"pooled over {figures['effects']} effects: {figures['pooled']:.3f}")
    for metric, value in figures["by metric"].items():
        print(f"{metric:18} {value:.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

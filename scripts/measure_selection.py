"""How many anchors `linkjax select` needs: planted units found, and noise units called, by anchors of each class.

    python scripts/measure_selection.py --out FOLDER [--samples 1 4 8] [--json docs/figures/selection.json]

Sweeps the 36 units of `planted` with parts, as `linkjax demo` does, with so many anchors of each of the 10 breeds and
16 random directions in each space, and holds what `select` calls significant against the truth. Links and pairs are
those of `measure_screening.py`, if FOLDER is the same. 27 000 images in all.
"""

import argparse
import json
import time
from pathlib import Path

from measure_screening import chain, stage

from linkjax import artifacts, compile_cache
from linkjax.demo import recovery
from linkjax.demo.bundle import open_bundle

_KEPT = (
    "selective_units", "significant_selective_units", "noise_units", "significant_noise_units", "significant_effects",
    "significant_effects_that_are_real", "real_effects_found",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", nargs="+", type=int, default=[1, 4, 8], help="anchors of each class")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    compile_cache.enable()
    bundle, found, begin = open_bundle(), {}, time.perf_counter()
    folder = arguments.out / "planted"
    folder.mkdir(parents=True, exist_ok=True)
    linked = chain(folder, bundle, "planted")
    plain = {"steps": 3, "random_directions": 16, "picture_units": 0, "batch_size": 50, "low": 2.5, "high": 97.5}
    for samples in arguments.samples:
        sweep = stage("sweep", folder / f"sweep-{samples}-anchors", **linked, **plain, samples=samples)
        selection = stage("select", folder / f"selection-{samples}", sweep=str(sweep), ablation=False)
        told = folder / f"recovery-{samples}"
        if not told.exists():
            paths = {"sweep": str(sweep), "selection": str(selection)}
            config = recovery.Config(out=str(told), **paths, pairs=linked["pairs"], link=linked["link"])
            recovery.run(config, bundle.units)
        summary = artifacts.Artifact(told, "recovery").summary
        found[str(samples)] = {name: summary[name] for name in _KEPT}
        print(
            f"{samples} anchors of each class: {summary['significant_selective_units']} of "
            f"{summary['selective_units']} selective units, {summary['significant_noise_units']} of "
            f"{summary['noise_units']} noise units; of the {summary['significant_effects']} effects called "
            f"{summary['significant_effects_that_are_real']} are real, and of the real ones "
            f"{summary['real_effects_found']} are found"
        )
    print(f"{time.perf_counter() - begin:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

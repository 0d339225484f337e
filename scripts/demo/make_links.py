"""The links of a demo world, kept in its bundle so that `linkjax.demo_study()` needs no fit.

    python scripts/demo/make_links.py [--bundle linkjax/demo/bundle] [--work FOLDER]

Pairs and settings are those of `linkjax demo` (seed 0). Two minutes on 2 cores; what is in the work folder is not made
again.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from linkjax.demo.bundle import EMBEDDED, open_bundle
from linkjax.demo.factors import BREEDS
from linkjax.demo.study import LINKS
from linkjax.devices import compile_cache
from linkjax.stages import PIPELINE
from linkjax.storage.checkpoint import load_model, save_model


def stage(name: str, out: Path, **settings) -> str:
    """Run a stage, unless its folder is there."""
    if not out.exists():
        module = next(stage.module for stage in PIPELINE if stage.name == name)
        module.run(module.Config(out=str(out), **settings))
    return str(out)


def make(bundle: Path, work: Path) -> None:
    """Both links of a bundle."""
    world = open_bundle(bundle)
    for classifier in ("breeds", "planted"):
        folder = work / classifier
        folder.mkdir(parents=True, exist_ok=True)
        pairs = stage(
            "pairs", folder / "pairs", generator=world.path("generator"), classifier=world.path(classifier),
            class_names=BREEDS, classes=tuple(range(len(BREEDS))), truncation=1.0, batch_size=50, n_train=150, n_val=20,
            n_test=15,
        )  # fmt: skip
        alphas = tuple(float(alpha) for alpha in np.logspace(-3, 3, 13))
        link, manifest = load_model(Path(stage("link", folder / "link", pairs=pairs, method="ridge", alphas=alphas)))
        kept = {name: manifest["source"][name] for name in ("generator", "classifier") if name in manifest["source"]}
        kept |= {"made by": "scripts/demo/make_links.py", "diagnostics": manifest["source"]["diagnostics"]}
        save_model(bundle / LINKS.format(classifier=classifier), link, source=kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=EMBEDDED)
    parser.add_argument("--work", type=Path, help="pairs and links are made here; none: a folder that goes away")
    given = parser.parse_args()
    compile_cache.enable()
    if given.work is not None:
        make(given.bundle, given.work)
        return
    with tempfile.TemporaryDirectory() as work:
        make(given.bundle, Path(work))


if __name__ == "__main__":
    main()

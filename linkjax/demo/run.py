"""The whole job on the embedded default, offline.

Until a trained world is bundled, that is a small generator and classifier of **random weights**, made on the spot: it
shows that every stage runs and what its results look like, but units of random weights mean nothing.
"""

import dataclasses
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from rich.console import Console

from linkjax import checkpoint
from linkjax.analysis.pairs import named_latents
from linkjax.errors import InputError
from linkjax.models import build
from linkjax.models.classifier import Classifier
from linkjax.models.classifier_spec import ClassifierSpec, Preprocessing
from linkjax.models.generator_spec import Progression, stem_spec
from linkjax.models.stylegan_xl import Generator
from linkjax.stages import PIPELINE

CLASSES = 6
_HEAD_SAMPLES = 512  # images the random classifier's head is fitted on, so that it knows the generator's classes


@dataclasses.dataclass(frozen=True)
class Config:
    """Run every stage on small models made on the spot, and write a page to look at."""

    out: str = "linkjax-demo"
    """Folder to make."""
    fast: bool = False
    """A tenth of the samples."""
    seed: int = 0
    """Random seed of weights and samples."""


def run(config: Config) -> None:
    """Models → pairs → link → evaluate → sweep → counterfactual → report; prints the page's path."""
    folder, console, begin = Path(config.out), Console(highlight=False), time.perf_counter()
    if folder.exists():
        raise InputError(f"{folder} exists already; give another --out, or remove it first")
    console.print(
        "[bold]Random weights, made on the spot:[/bold] this run shows that every stage works and what its results "
        "look like; units of random weights mean nothing."
    )
    generator, classifier = (str(folder / name) for name in ("generator", "classifier"))
    _make_models(Path(generator), Path(classifier), config.seed)
    for name, settings in _settings(config, folder, generator, classifier).items():
        start = time.perf_counter()
        console.print(f"[bold]{name}[/bold]")
        stage = next(stage for stage in PIPELINE if stage.name == name)
        stage.module.run(stage.module.Config(**settings))
        console.print(f"  {time.perf_counter() - start:.1f} s", style="dim")
    console.print(
        f"done in {time.perf_counter() - begin:.0f} s; look at {folder / 'report' / 'index.html'}", soft_wrap=True
    )


def _settings(config: Config, folder: Path, generator: str, classifier: str) -> dict[str, dict[str, object]]:
    """Stage → its settings."""
    share = 10 if config.fast else 1
    out = {name: str(folder / name) for name in ("pairs", "link", "evaluation", "sweep", "counterfactual", "report")}
    models = {"generator": generator, "classifier": classifier}
    linked = {**models, "pairs": out["pairs"], "link": out["link"], "batch_size": 32}
    alphas = tuple(float(alpha) for alpha in np.logspace(-3, 3, 7))
    return {
        "pairs": {
            **models,
            "out": out["pairs"],
            "n_train": 400 // share,
            "n_val": 100 // share,
            "n_test": 100 // share,
            "truncation": 1.0,
            "keep": "all",
            "batch_size": 32,
            "seed": config.seed,
        },
        "link": {"out": out["link"], "pairs": out["pairs"], "method": "ridge", "alphas": alphas},
        "evaluate": {**linked, "out": out["evaluation"], "shuffled_samples": 320 // share, "pictures": 12},
        "sweep": {**linked, "out": out["sweep"], "samples": 2, "steps": 5, "picture_units": 6},
        "counterfactual": {
            **linked,
            "out": out["counterfactual"],
            "samples": 2 if config.fast else 4,
            "max_steps": 100 if config.fast else 400,
            "check_every": 5,
            "start": "zero",
        },
        "report": {
            **{name: out[name] for name in out if name != "report"},
            "out": out["report"],
            "title": "linkjax demo",
        },
    }


def _make_models(generator_path: Path, classifier_path: Path, seed: int) -> None:
    """A 32 × 32 generator and a residual classifier of random weights, whose head is fitted to the classes."""
    how = Progression(channel_base=1024, channel_max=32, margin=4)
    spec = stem_spec(32, num_layers=6, how=how, z_dim=16, w_dim=32, num_classes=CLASSES, embed_dim=16)
    generator = build.random(Generator, spec, seed)
    head = ClassifierSpec(
        "random-resnet",
        "resnet",
        (8, 16, 32, 48),
        (1, 1, 1, 1),
        expansion=1,
        num_classes=CLASSES,
        preprocessing=Preprocessing(resize=None, crop=None),
    )
    classifier = build.random(Classifier, head, seed + 1)
    label = np.arange(_HEAD_SAMPLES) % CLASSES
    z = named_latents(seed, label, np.arange(_HEAD_SAMPLES) + (3 << 30), spec.z_dim)  # ids no split owns
    r = []
    for start in range(0, _HEAD_SAMPLES, 64):
        w = generator.mapping(jnp.asarray(z[start : start + 64]), jnp.asarray(label[start : start + 64]))
        r.append(classifier(classifier.preprocess(generator.synthesis(w))).penultimate)
    r = np.concatenate(r)
    solution = np.linalg.lstsq(np.c_[r, np.ones(len(r))], np.eye(CLASSES)[label], rcond=None)[0]
    assert classifier.last is not None
    classifier.last.kernel[...] = jnp.asarray(10 * solution[:-1], jnp.float32)
    classifier.last.bias[...] = jnp.asarray(10 * solution[-1], jnp.float32)
    source = {
        "file": "random weights",
        "seed": seed,
        "licence": "none needed",
        "note": "Random weights, made on the spot: everything runs, but units of random weights mean nothing.",
    }
    checkpoint.save_model(generator_path, generator, source=source)
    checkpoint.save_model(classifier_path, classifier, source=source)

"""A small world of random weights: a conditional generator of 16 × 16 images and a classifier of 10 classes."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from linkjax.analysis.metrics.parts import linear_spec
from linkjax.models import build
from linkjax.models.classifier import Classifier, ClassifierSpec, Preprocessing
from linkjax.models.generator_spec import Progression, stem_spec
from linkjax.models.linear_segmenter import LinearSegmenter
from linkjax.models.stylegan_xl import Generator
from linkjax.storage import checkpoint

CLASSES = 5


def generator(num_classes: int = CLASSES, seed: int = 0) -> Generator:
    how = Progression(channel_base=256, channel_max=16, margin=4)
    spec = stem_spec(16, num_layers=4, progression=how, z_dim=8, w_dim=12, num_classes=num_classes, embed_dim=6)
    return build.random(Generator, spec, seed)


def classifier(num_classes: int = CLASSES, seed: int = 1) -> Classifier:
    preprocessing = Preprocessing(resize=None, crop=None)
    spec = ClassifierSpec(
        "tiny", "resnet", (4, 4, 8, 16), (1, 1, 1, 1), expansion=1, num_classes=num_classes, preprocessing=preprocessing
    )
    made = build.random(Classifier, spec, seed)
    if num_classes:  # a head fitted to the generator's classes: they are recognised more often than by chance
        label = np.arange(256) % num_classes
        z = np.random.default_rng(0).normal(size=(256, 8)).astype(np.float32)
        drawn = generator(num_classes)
        r = np.asarray(made(made.preprocess(drawn.synthesis(drawn.mapping(z, label)))).penultimate)
        solution = np.linalg.lstsq(np.c_[r, np.ones(256)], np.eye(num_classes)[label], rcond=None)[0]
        assert made.last is not None
        made.last.kernel[...] = jnp.asarray(20 * solution[:-1], jnp.float32)
        made.last.bias[...] = jnp.asarray(20 * solution[-1], jnp.float32)
    return made


def save(folder: Path, num_classes: int = CLASSES, head: bool = True) -> tuple[str, str]:
    """Folders of the generator and the classifier."""
    checkpoint.save_model(folder / "generator", generator(num_classes), source={"file": "random weights"})
    checkpoint.save_model(folder / "classifier", classifier(CLASSES if head else 0), source={"file": "random weights"})
    return str(folder / "generator"), str(folder / "classifier")


def segmenter(of: Generator, part_names: tuple[str, ...], seed: int = 2) -> LinearSegmenter:
    """A linear head of random weights on all layers of a generator."""
    spec = linear_spec(of.spec, part_names)
    rng = np.random.default_rng(seed)
    shapes = build.shapes(LinearSegmenter, spec)
    return build.fill(
        LinearSegmenter, spec, {name: rng.normal(size=shape.shape).astype(np.float32) for name, shape in shapes.items()}
    )

"""The embedder of the demo's world: small, and it knows the factors of animals that no training saw."""

import jax
import numpy as np

import linkjax
from linkjax.analysis.names import interventional
from linkjax.demo import factors, phrases, world
from linkjax.demo.bundle import EMBEDDED
from linkjax.storage import manifest, word_vectors

FOLDER = EMBEDDED / "embedder"
ANIMALS = 8


def test_it_is_small_and_whole():
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 1_000_000
    listed = word_vectors.read(FOLDER / word_vectors.FILE)
    source = manifest.read(FOLDER)["source"]
    assert listed.words == phrases.WORDS and listed.sha256 == source["words"]["sha256"]
    assert source["generator"] == manifest.read(EMBEDDED / "generator")["sha256"]


def test_the_word_nearest_to_a_change_of_one_factor_is_the_factors():
    """Of at least 15 of 18 factors, in a few animals; all figures: scripts/demo/train_embedder.py."""
    tower, listed = linkjax.load(FOLDER), word_vectors.read(FOLDER / word_vectors.FILE)
    toward = interventional.word_directions(listed.vectors, listed.neutral)
    z, breed = factors.sample(jax.random.key(77), ANIMALS)
    truth, count = np.asarray(factors.factors_of(z, breed)), len(factors.FACTORS)
    moved = np.tile(truth, (2 * count, 1)).reshape(count, 2, ANIMALS, count)
    for place in range(count):
        moved[place, :, :, place] = np.clip(truth[:, place] + np.array([[-0.6], [0.6]]), -1, 1)
    images = world.render_all(moved.reshape(-1, count)).image.reshape(-1, 48, *(world.SIZE, world.SIZE, 3))
    seen = np.concatenate([np.asarray(tower(tower.preprocess(some)).penultimate) for some in images])
    change = np.diff(interventional.unit_rows(seen).reshape(count, 2, ANIMALS, -1), axis=1)[:, 0]
    nearest = interventional.cosines(interventional.mean_change(change), toward).argmax(axis=1)
    right = [
        phrases.named(phrases.WORDS[word]) == (name, 1) for name, word in zip(factors.FACTORS, nearest, strict=True)
    ]
    assert sum(right) >= 15

"""Train the demo world's embedder.

    python scripts/demo/train_embedder.py [--out linkjax/demo/bundle/embedder] [--steps 900]

OUT/   an image tower, as `linkjax.load` reads it, and words.npz: the vectors of the phrases that captions are made of
OUT.work/   checkpoints; the same command goes on from them

Pictures are of the bundle's generator and the renderer, captions of the factors: no classifier, link, unit or sweep
takes part. Width and steps were taken for what they cost, and not tried otherwise. Held-out animals say how well it
knows the factors: the renderer changes one factor at a time, and the word nearest to the change of the embedding should
be the factor's. What judges it is `linkjax name` on planted units (scripts/methods/measure_names.py).
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import jax
import numpy as np

from linkjax.analysis.names import interventional
from linkjax.demo import factors, phrases, world
from linkjax.demo.bundle import EMBEDDED, open_bundle
from linkjax.devices import compile_cache
from linkjax.storage import checkpoint, loading, manifest, word_vectors
from scripts.demo import embedder_training as training

_ANIMALS, _FAR = 40, 0.6  # held out; change of a factor on either side of the animal's own
_NEW = 9 * 10**6  # seed of animals that no training saw


def held_out(tower, listed: word_vectors.WordVectors) -> dict[str, float]:
    """Factor → cosine of its word with what changing it changes, negative where another word is nearer."""
    z, breed = factors.sample(jax.random.key(_NEW), _ANIMALS)
    truth = np.asarray(factors.factors_of(z, breed))
    toward = interventional.word_directions(listed.vectors, listed.neutral)
    found = {}
    for place, factor in enumerate(factors.FACTORS):
        ends = []
        for far in (-_FAR, _FAR):
            moved = truth.copy()
            moved[:, place] = np.clip(moved[:, place] + far, -1.0, 1.0)
            images = world.render_all(moved).image
            seen = [tower(tower.preprocess(images[start : start + 20])).penultimate for start in range(0, _ANIMALS, 20)]
            ends.append(interventional.unit_rows(np.concatenate(seen)))
        cosine = toward @ interventional.unit_rows((ends[1] - ends[0]).mean(axis=0)[None])[0]
        right = phrases.named(phrases.WORDS[int(cosine.argmax())]) == (factor, 1)
        found[factor] = round(float(cosine.max()) * (1 if right else -1), 3)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=EMBEDDED / "embedder")
    parser.add_argument("--work", type=Path, help="of the checkpoints; none: OUT.work")
    parser.add_argument("--steps", type=int, default=training.Settings.steps)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    compile_cache.enable()
    settings = training.Settings(steps=given.steps, seed=given.seed)
    work = given.work or given.out.with_name(given.out.name + ".work")
    generator = open_bundle().path("generator")
    tower, table, how = training.train(settings, work, loading.load(generator))
    vectors = interventional.unit_rows(table)
    # a text that says nothing of the animal: what all phrases of factors have in common
    neutral = vectors[: 2 * len(factors.FACTORS)].mean(axis=0)
    listed = word_vectors.checked(phrases.WORDS, vectors, neutral, "the phrases")
    found = held_out(tower, listed)
    source = {
        "made by": "scripts/demo/train_embedder.py", "generator": manifest.read(Path(generator))["sha256"], **how,
        "words": {"count": len(listed.words), "sha256": listed.sha256}, "held_out": found,
    }  # fmt: skip
    shutil.rmtree(given.out, ignore_errors=True)
    checkpoint.save_model(
        given.out, tower, source=source, files=lambda folder: word_vectors.write(folder / word_vectors.FILE, listed)
    )
    print(json.dumps(found), f"{sum(value > 0 for value in found.values())} of {len(found)} factors named right")
    print(f"{time.process_time():.0f} CPU-seconds, of what was trained in this run")


if __name__ == "__main__":
    main()

"""What it costs to work on shares of one size: processor seconds an image, by share, of programs of the embedded world.

`python scripts/numerics/measure_shares.py [--out FILE.json] [--repeats 5]`: a sweep's program (96 images) and a
screening's (12 images) on one CPU device, in turns. Processor time is user and system time of this process, the least
of its turns, so it depends little on what else the machine does. Share 0 is the whole batch at once, as on
devices other than CPUs.
"""

import argparse
import functools
import json
import resource
from pathlib import Path
from typing import Any

import jax
import numpy as np

import linkjax
from linkjax.analysis.units import screening
from linkjax.demo.bundle import open_bundle
from linkjax.devices import parallel
from linkjax.models import build
from linkjax.models.generator_spec import Progression, stem_spec
from linkjax.models.stylegan_xl import Generator
from linkjax.stages import screen
from linkjax.stages.sweep import programs

_ANCHORS = 16


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _programs(rng: np.random.Generator) -> dict[str, tuple[Any, Any, dict[str, np.ndarray], tuple[int, ...]]]:
    """Name → function, models, items, shares to try."""
    bundle = open_bundle()
    generator, classifier, segmenter = (
        linkjax.load(bundle.path(name)) for name in ("generator", "breeds", "segmenter")
    )
    link = linkjax.load(bundle.path("breeds_link"))
    kernel = np.asarray(link.kernel[...])
    z = rng.normal(size=(_ANCHORS, generator.spec.z_dim)).astype(np.float32)
    w = generator.mapping(z, np.arange(_ANCHORS) % generator.spec.num_classes)
    drawn = programs.draw_labelled((generator, segmenter), {"w": w})
    r = classifier(classifier.preprocess(generator.synthesis(w))).penultimate
    anchors = {"w": w, "r": r, "image": drawn["image"]}
    items = {
        "unit": rng.integers(len(kernel), size=96).astype(np.int32),
        "anchor": rng.integers(_ANCHORS, size=96).astype(np.int32),
        "value": rng.normal(size=96).astype(np.float32),
    }
    swept = functools.partial(programs.draw_items, mode="residual", definitions="standard")
    plan = screening.choose_products(kernel, len(segmenter.spec.part_names), "fewest")
    derived = functools.partial(screen.differentiate, mode=plan.mode, temperature=screening.TEMPERATURE)
    return {
        "sweep": (swept, (generator, classifier, link, segmenter, None, anchors), items, (0, 32, 12, 8, 1)),
        "screen": (
            derived,
            (generator, segmenter, plan.directions, plan.coefficients.astype(np.float32)),
            {"w": np.asarray(w[:12])},
            (0, 12, 4, 1),
        ),
    }


def _draw(generator: Any, items: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {"image": generator.synthesis(items["w"])}


def _large(rng: np.random.Generator) -> dict[str, tuple[Any, Any, dict[str, np.ndarray], tuple[int, ...]]]:
    how = Progression(channel_base=8192, channel_max=128)
    generator = build.random(Generator, stem_spec(256, progression=how, num_classes=0), 0)
    w = rng.normal(size=(6, generator.spec.w_dim)).astype(np.float32)
    return {"large": (_draw, generator, {"w": w}, (0, 3, 1))}


def measure(repeats: int, only: str | None) -> dict[str, dict[str, float]]:
    """Program → share → processor milliseconds an image."""
    on, found = parallel.local_mesh(), {}
    rng = np.random.default_rng(0)
    chosen = _large(rng) if only == "large" else _programs(rng) | ({} if only else _large(rng))
    for name, (function, models, items, shares) in chosen.items():
        if only not in (None, name):
            continue
        placed, models = parallel.place(items, on), parallel.replicate(models, on)
        count = len(next(iter(items.values())))
        runs = {share: parallel.sharded(function, models, on, share) for share in shares}
        turns = {share: [] for share in shares}
        for turn in range(repeats + 1):  # the first compiles
            for share, run in runs.items():
                start = _cpu()
                jax.block_until_ready(run(placed))
                if turn:
                    turns[share].append(_cpu() - start)
        found[name] = {str(share): round(1e3 * min(spent) / count, 2) for share, spent in turns.items()}
    return found


def main() -> None:
    """Measure, print, write."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--out", type=Path)
    given.add_argument("--repeats", type=int, default=5)
    given.add_argument("--only", choices=("sweep", "screen", "large"))
    chosen = given.parse_args()
    found = measure(chosen.repeats, chosen.only)
    for name, shares in found.items():
        print(name, ", ".join(f"{share or 'all'}: {spent} ms" for share, spent in shares.items()), "an image, by share")
    if chosen.out:
        chosen.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

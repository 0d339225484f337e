"""A made-up run for the atlas, shaped as the stages write it: `python scripts/atlas/make_run.py OUT --units 2048`.

Effects, intervals and q-values are drawn, not measured; every unit's pictures are drawn by a formula in the place of a
generator, with as much detail as photographs have, so that folders are as large as real ones.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from linkjax.analysis.metrics import measurements
from linkjax.analysis.names import verdict
from linkjax.analysis.units import per_obtained
from linkjax.atlas import examples, pictures, run
from linkjax.atlas.read import Results
from linkjax.stages import compare, select, sweep
from linkjax.stages import name as naming
from linkjax.stages.compare.stage import KIND
from linkjax.storage import artifacts, manifest

WEIGHTS = {"generator": "a1" * 32, "classifier": "b2" * 32, "link": "c3" * 32, "segmenter": "d4" * 32}
PARTS = ("image", "background", "leg", "body", "tail", "tongue", "eye", "nose", "snout", "ear", "head")
CLASSES = ("dachshund", "corgi", "whippet", "mastiff", "husky", "terrier", "beagle", "pug", "setter", "chihuahua")


@dataclasses.dataclass(frozen=True)
class Pairs:
    """What the made-up pairs say of themselves."""

    out: str


def make_run(
    folder: Path, units: int, *, steps: int = 5, parts: Sequence[str] = PARTS, classes: Sequence[str] = CLASSES,
    metrics: Sequence[str] = tuple(measurements.METRICS), seed: int = 0, fdr: float = 0.05,
) -> None:  # fmt: skip
    """Write pairs, a sweep and a selection of so many units into `folder`.

    A third of the units has a few significant effects, a third of them cautions, every 50th is not swept, and every
    unit after a multiple of 10 is a double of the one before.
    """
    rng = np.random.default_rng(seed)
    shape, anchors = (units, len(parts), len(metrics)), len(classes)
    with artifacts.Writer(folder / "pairs", "pairs", Pairs("pairs"), _of("generator", "classifier")) as writer:
        label = np.repeat(np.arange(anchors, dtype=np.int32), 20)
        writer.put("label", ("sample",), label)
        other = np.random.default_rng((seed, 1))
        r = other.normal(other.normal(0, 1, (anchors, units))[label], 0.5)
        writer.put("r", ("sample", "unit"), r.astype(np.float32))
        writer.finish({"classes": list(range(anchors)), "class_names": list(classes), "units": units, "w_dim": 8})
    pairs_id = artifacts.Artifact(folder / "pairs", "pairs").id
    known = [place for place, name in enumerate(metrics) if place < 9 or name not in measurements.IMAGE_METRICS]
    missing = np.zeros(shape[1:], bool)
    missing[0, 11:] = True  # a whole image has no centroid
    for metric, name in enumerate(metrics):  # and a part no chroma
        missing[1:, metric] |= name in ("chroma", "saturation", "contrast", "sharpness", "change", "change_lab")
    spread = np.where(missing, np.nan, rng.gamma(2.0, 2.0, shape[1:])).astype(np.float32)
    sd = rng.standard_t(5, shape) * 0.05
    strong = (rng.random(shape) < 4.0 / max(1, len(known) * len(parts))) & (np.arange(units) % 3 == 0)[:, None, None]
    sd = np.where(strong, np.sign(sd) * rng.gamma(4.0, 0.2, shape), sd)
    dead = np.arange(units) % 50 == 49
    sd[dead] = np.nan
    effect = (sd * spread).astype(np.float32)
    half = np.abs(rng.normal(0.08, 0.02, shape)) * spread
    q = np.where(np.isfinite(effect), np.where(strong, rng.uniform(0, fdr, shape), rng.uniform(0.2, 1, shape)), np.nan)
    arrays = {
        "effect": effect, "low": effect - half, "high": effect + half, "q": q,
        "consistency": np.where(strong, 1.0, rng.integers(5, 11, shape) / 10),
        **{f"p_{name}": np.where(strong, q / 20, q) for name in ("sign", "r", "w")},
    }  # fmt: skip
    fidelity = np.where(dead, np.nan, rng.normal(0.9, 0.2, units)).astype(np.float32)
    columns = {
        "flag": dead.astype(np.int8),
        "caution": (rng.random(units) < 1 / 3).astype(np.int8) * (1 - dead),
        "off_range": rng.beta(1, 3, units).astype(np.float32),
        "fidelity": fidelity,
        "fidelity_se": np.full(units, 0.03, np.float32),
        "step_w": rng.gamma(2, 0.2, units).astype(np.float32),
    }
    side = np.sort(rng.normal(0, 0.2, (units, 5)).astype(np.float32), axis=1)[:, ::-1]
    side_unit = rng.integers(0, units, (units, 5)).astype(np.int32)
    low = rng.uniform(-1, 0, units)
    value = (low[:, None] + np.linspace(0, 2, steps)[None]).astype(np.float32)
    made = sweep.Config(
        out="sweep", generator="generator", classifier="classifier", pairs="pairs", link="link", steps=steps, samples=1
    )
    with artifacts.Writer(folder / "sweep", "sweep", made, WEIGHTS, {"pairs": pairs_id}) as writer:
        _names(writer, units, parts, metrics)
        writer.put("label", ("sample",), np.arange(anchors, dtype=np.int32))
        writer.put("sample_id", ("sample",), np.arange(anchors, dtype=np.int64))
        writer.put("value", ("unit", "step"), value)
        obtained = value[None] * fidelity[None, :, None] + rng.normal(0, 0.05, (anchors, units, steps))
        writer.put("obtained", ("sample", "unit", "step"), obtained.astype(np.float32))
        writer.put("baseline", ("sample", "part", "metric"), rng.normal(0, 1, (anchors, *shape[1:])).astype(np.float32))
        for name, values in columns.items():
            writer.put(name, ("unit",), values)
        for name, values in (("effect", effect), ("effect_se", half / 2)):
            writer.put(name, ("unit", "part", "metric"), values.astype(np.float32))
        writer.put("side_effect", ("unit", "rank"), side)
        writer.put("side_effect_unit", ("unit", "rank"), side_unit)
        writer.put("logit_response", ("unit", "class"), rng.normal(0, 0.3, (units, anchors)).astype(np.float32))
        writer.finish({"directions": "steer", "units": units, "samples": anchors})
    config = select.Config(out="selection", sweep="sweep", fdr=fdr)
    made_from = {"sweep": artifacts.Artifact(folder / "sweep", "sweep").id, "pairs": pairs_id}
    with artifacts.Writer(folder / "selection", "selection", config, WEIGHTS, made_from) as writer:
        _names(writer, units, parts, metrics)
        for name, values in arrays.items():
            writer.put(name, ("unit", "part", "metric"), values.astype(np.float32))
        writer.put("spread", ("part", "metric"), spread)
        cluster = np.where(dead, -1, np.arange(units) - (np.arange(units) % 10 == 1)).astype(np.int32)
        own = np.where(fidelity == 0, np.nan, fidelity)[:, None, None]
        first_stage = np.where(np.arange(units) % 7 == 3, 5.0, 500.0).astype(np.float32)
        writer.put("first_stage", ("unit",), np.where(dead, np.nan, first_stage))
        for name, values in zip(per_obtained.STORED, (effect, effect - half, effect + half), strict=True):
            writer.put(name, ("unit", "part", "metric"), (values / own).astype(np.float32))
        for name, values in columns.items():
            writer.put(name, ("unit",), values)
        writer.put("side_effect", ("unit",), side[:, 0])
        writer.put("side_effect_unit", ("unit",), side_unit[:, 0])
        writer.put("cluster", ("unit",), cluster)
        writer.put("representative", ("unit",), np.arange(units) % 10 != 1)
        writer.put("class_id", ("class",), np.arange(anchors, dtype=np.int32))
        noise = 1 + rng.normal(0, 0.3, (units, anchors, 1, 1))
        writer.put("class_effect", ("unit", "class", "part", "metric"), (effect[:, None] * noise).astype(np.float32))
        writer.put("ablated_class_id", ("ablated_class",), np.arange(anchors, dtype=np.int32))
        for name in ("logit", "accuracy"):
            values = rng.normal(0, 0.2, (units, 2, anchors)).astype(np.float32)
            writer.put(f"ablation_{name}", ("unit", "ablation", "ablated_class"), values)
        writer.finish({"fdr": fdr, "units": units})


def make_beside(folder: Path, units: int, share: float = 0.3) -> None:
    """Write a sweep and a selection along the kernel beside those of `make_run`: of its first units.

    Args:
      share: of the effects and of the fidelity along the other directions; every other unit has no significant effect.
    """
    kernel: dict[str, str] = {}
    for kind in ("sweep", "selection"):
        source = artifacts.Artifact(folder / kind, kind)
        data, inputs = source.open(), source.manifest["inputs"]
        parts, metrics = (artifacts.names(data, name) for name in ("part", "metric"))
        made = sweep.Config(
            out=f"{kind}-kernel", generator="generator", classifier="classifier", pairs="pairs", link="link", samples=1,
            steps=source.manifest["config"].get("steps", 5), directions="kernel",
        )  # fmt: skip
        config = made if kind == "sweep" else select.Config(out="selection-kernel", sweep="sweep-kernel")
        with artifacts.Writer(folder / f"{kind}-kernel", kind, config, WEIGHTS, inputs | kernel) as writer:
            _names(writer, units, parts, metrics)
            for name in data.data_vars:
                values, dims = source.read(name), data[name].dims
                if "unit" in dims:
                    values = np.take(values, np.arange(units), axis=dims.index("unit"))
                if name in ("effect", "low", "high", "fidelity"):
                    values = (share * values).astype(np.float32)
                if name == "q":
                    values = np.where(np.arange(units)[:, None, None] % 2 == 0, values, np.maximum(values, 0.9))
                writer.put(name, dims, values)
            writer.finish(dict(source.summary) | {"directions": "kernel"})
        kernel = {"sweep": artifacts.Artifact(folder / "sweep-kernel", "sweep").id}


def make_compared(folder: Path, units: int, seed: int = 0) -> None:
    """Write a comparison of the run's classifier with another of so many units: every third is shared, the rest not."""
    pairs, rng = artifacts.Artifact(folder / "pairs", "pairs"), np.random.default_rng(seed)
    config = compare.Config(out="compared", pairs="pairs", other_pairs=("other-pairs",))
    inputs = {"pairs": pairs.id, "other_pairs_1": "f" * 64}
    with artifacts.Writer(folder / "compared", KIND, config, {"generator": WEIGHTS["generator"]}, inputs) as writer:
        unit = np.tile(np.arange(units, dtype=np.int32), 2)
        for name, (one, other) in (("network", ("mine", "vit")), ("other", ("vit", "mine"))):
            writer.put(name, ("match",), np.repeat(np.array([one, other], object), units))
        r = rng.uniform(0.1, 0.9, 2 * units).astype(np.float32)
        columns = {"unit": unit, "partner": unit[::-1].copy(), "agreement": r, "low": r - 0.1, "high": r + 0.1}
        columns |= {"kind": (unit % 3).astype(np.int8), "mutual": unit % 2 == 0}
        columns |= {"used": (1 / (1 + unit)).astype(np.float32)}
        for name, values in columns.items():
            writer.put(name, ("match",), values)
        writer.finish({"networks": ["mine", "vit"]})


def make_names(folder: Path, seed: int = 0) -> None:
    """Write names of the run's units: every fourth is called by one word of a list, the others by none."""
    swept, rng = artifacts.Artifact(folder / "sweep", "sweep"), np.random.default_rng(seed)
    unit = swept.read("unit")
    words, count = ("long legs", "short legs", "a red coat", "a dark coat", "a round <b>nose</b>", "grass"), len(unit)
    config = naming.Config(out="names", sweep="sweep", embedder="embedder")
    with artifacts.Writer(folder / "names", "names", config, {"embedder": "e5" * 32}, {"sweep": swept.id}) as writer:
        cosine = rng.uniform(-0.3, 0.3, (count, 1, len(words))).astype(np.float32)
        cosine[np.arange(count), 0, np.arange(count) % len(words)] = 0.9
        nearest = np.stack([cosine.argmax(axis=2), cosine.argmin(axis=2)], axis=1).astype(np.int32)
        q = np.where(np.arange(count)[:, None, None] % 4 == 0, 0.001, 0.6) * np.ones((count, 2, 1))
        seen, sure = (np.arange(count) // 2 % len(words)).astype(np.int32), np.arange(count) % 3 == 0
        score = rng.uniform(0, 1, (count, len(words))).astype(np.float32)
        score[np.arange(count), seen] = 2.0
        both = verdict.verdicts(nearest[:, 0, 0], q[:, 0, 0] < 0.05, score, sure)
        for key, dims, values in (
            ("unit", ("unit",), unit), ("word", ("word",), list(words)), ("part", ("part",), ["image"]),
            ("end", ("end",), ["raises", "lowers"]), ("cosine", ("unit", "part", "word"), cosine),
            ("nearest", ("unit", "end", "part"), nearest), ("q", ("unit", "end", "part"), q.astype(np.float32)),
            ("rises", ("unit",), (np.arange(count) % 5 != 4).astype(np.int8)),
            ("clarity", ("unit", "part"), rng.uniform(0, 1, (count, 1)).astype(np.float32)),
            ("seen_nearest", ("unit",), seen), ("seen_score", ("unit", "word"), score),
            ("seen_q", ("unit",), np.where(sure, 0.01, 0.5).astype(np.float32)),
            ("verdict", ("unit",), both.astype(np.int8)),
        ):  # fmt: skip
            writer.put(key, dims, values)
        writer.finish({"fdr": 0.05, "samples": 4, "images": 100, "random_directions": 24, "words": len(words)})


def draw_pictures(out: Path, config: run.Config, resolution: int, seed: int = 0) -> None:
    """Store every unit's pictures where `linkjax atlas` looks for those that it drew before it was stopped.

    Args:
      resolution: of the images that pictures are made small from.
    """
    results = Results({role: Path(config.run) / role for role in ("sweep", "selection", "pairs")})
    beside = run.beside(config, results)
    data, rng = manifest.partial(out) / run.DATA, np.random.default_rng(seed)
    for each, folder in [(results, ""), *([(beside, "beside/")] if beside is not None else [])]:
        plan = run.plan(config, each, folder)
        animals = np.stack([_photograph(rng, resolution, plan.tile) for _ in plan.samples]).astype(np.float32)
        change = _photograph(rng, resolution, plan.tile).astype(np.float32) - 128
        size = np.linspace(-0.4, 0.4, len(plan.steps), dtype=np.float32)[None, :, None, None, None]
        for row, key in enumerate(plan.keys()):
            if not plan.live[row] or pictures.stored_key(data / f"{plan.strip(plan.units[row])}.js") == key:
                continue
            turned = np.roll(change, (37 * row % plan.tile, 11 * row % plan.tile), axis=(0, 1))
            images = np.clip(animals[:, None] + size * turned, 0, 255).astype(np.uint8)
            pictures.store(data, plan.strip(plan.units[row]), key, images, plan.tile, plan.quality)
    found, tile = examples.highest(results, config.examples), min(config.tile, examples.TILE)
    if found is not None:
        keys = examples.keys(results, found, tile, config.quality)
        some = np.stack([_photograph(rng, resolution, tile) for _ in range(64)])
        for place in examples.missing(data, results, found, keys, None):
            images = some[found.rows[place] % len(some)][None]
            pictures.store(data, examples.name(results.units[place]), keys[place], images, tile, config.quality)


def _photograph(rng: np.random.Generator, side: int, small: int) -> np.ndarray:
    """Bytes [small, small, 3] of as much detail as a detailed photograph's, made small from an image of `side` pixels.

    The amplitudes fall as f^−1.5, so that a sheet takes 36 KB; those of photographs that come with scikit-image and
    Matplotlib (astronaut, cat, coffee, coins, motorcycle, rocket, portrait) take 13 to 39 KB.
    """
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]) + 0.5 / side
    waves = rng.normal(size=(3, *frequency.shape)) + 1j * rng.normal(size=(3, *frequency.shape))
    grey, colour = (np.fft.irfft2(each / frequency**1.5, (side, side)) for each in (waves[:1], waves))
    field = grey + 0.4 * colour
    pixels = np.clip(128 + 45 * (field / field.std()), 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return np.asarray(Image.fromarray(pixels).resize((small, small), Image.Resampling.LANCZOS))


def _names(writer: artifacts.Writer, units: int, parts: Sequence[str], metrics: Sequence[str]) -> None:
    about = [measurements.METRICS[name] for name in metrics]
    writer.put("unit", ("unit",), np.arange(units, dtype=np.int32))
    writer.put("part", ("part",), list(parts))
    how = {"units": [each.unit for each in about], "descriptions": [each.description for each in about]}
    writer.put("metric", ("metric",), list(metrics), **how)


def _of(*roles: str) -> dict[str, str]:
    return {role: WEIGHTS[role] for role in roles}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to make: the run in run/, its atlas in atlas/")
    parser.add_argument("--units", type=int, default=2048)
    parser.add_argument("--resolution", type=int, default=256)
    given = parser.parse_args()
    make_run(given.out / "run", given.units)
    config = run.Config(run=str(given.out / "run"), out=str(given.out / "atlas"))
    draw_pictures(given.out / "atlas", config, given.resolution)
    run.run(config)


if __name__ == "__main__":
    main()

"""Results of every stage, made up but shaped and named as the stages write them, with pictures one can look at."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from linkjax.analysis.counterfactuals import boundary
from linkjax.storage import artifacts, manifest

WEIGHTS = {"generator": "a1" * 32, "classifier": "b2" * 32}
CLASSES = (207, 208, 235, 281)
NAMES = ("golden retriever", "Labrador", "German shepherd", "tabby cat")
METRICS = {"luminance": "byte", "lightness": "L*", "saturation": "1", "contrast": "byte", "entropy": "bit", "odd": ""}


@dataclasses.dataclass(frozen=True)
class Config:
    out: str
    generator: str = "models/generator"
    classifier: str = "models/classifier"
    classes: tuple[int, ...] = CLASSES
    keep: str = "recognised"
    truncation: float = 0.7
    seed: int = 0


def animal(ear: float, tail: float, tone: float, size: int = 64) -> np.ndarray:
    """A dog of sorts, uint8 [size, size, 3]; arguments about −1 … 1."""
    y, x = np.mgrid[0:size, 0:size] / size

    def blob(cx, cy, rx, ry, colour):
        inside = np.clip(1.5 - 8 * (np.hypot((x - cx) / rx, (y - cy) / ry) - 0.9), 0, 1)[..., None]
        canvas[...] = canvas * (1 - inside) + np.array(colour) * inside

    canvas = np.empty((size, size, 3))
    canvas[...] = np.array([0.62, 0.75, 0.86]) - 0.15 * y[..., None]
    coat = np.clip(np.array([0.72, 0.52, 0.30]) * (1 + 0.35 * tone), 0, 1)
    blob(0.86 + 0.03 * tail, 0.45 - 0.12 * tail, 0.04, 0.16, coat * 0.8)
    for leg in (0.38, 0.48, 0.7, 0.78):
        blob(leg, 0.8, 0.035, 0.16, coat * 0.85)
    blob(0.58, 0.58, 0.28, 0.17, coat)
    blob(0.28, 0.4, 0.15, 0.14, coat * 1.05)
    blob(0.15, 0.44, 0.08, 0.06, coat * 0.95)
    blob(0.37, 0.4 + 0.04 * ear, 0.045, 0.11 + 0.05 * ear, coat * 0.6)
    blob(0.25, 0.36, 0.018, 0.018, (0.05, 0.05, 0.05))
    blob(0.085, 0.42, 0.02, 0.02, (0.05, 0.05, 0.05))
    return (np.clip(canvas, 0, 1) * 255).astype(np.uint8)


def pairs(folder: Path, weights: Any = None, names: tuple[str, ...] = NAMES, keep: str = "recognised") -> Path:
    groups = [
        {"split": split, "label": label, "first_row": 0, "wanted": wanted, "accepted": wanted, "tried": tried,
         "nonfinite": int(split == "train" and label == 281)}
        for split, wanted in (("train", 500), ("val", 50), ("test", 50))
        for label, tried in zip(CLASSES, (wanted + 7, wanted * 5 // 4, wanted * 2, wanted * 6), strict=True)
    ]  # fmt: skip
    config = Config(str(folder), keep=keep)
    with artifacts.Writer(folder, "pairs", config, weights or WEIGHTS) as writer:
        writer.array("w", ("sample", "w"), (4, 2), np.float32)[...] = 0.0
        rate = sum(group["accepted"] for group in groups) / sum(group["tried"] for group in groups)
        summary = {"classes": CLASSES, "class_names": names, "units": 64, "w_dim": 32, "groups": groups}
        writer.finish({**summary, "acceptance": rate, "nonfinite": 1})
    return folder


def link(folder: Path, full: bool = True, weights: Any = None, of_pairs: str | None = None) -> Path:
    found: dict[str, Any] = {"train_mse": 0.0123, "train_r2": 0.913}
    if full:
        alphas = np.geomspace(1e-3, 1e4, 12)
        r2 = 0.87 - 0.012 * (np.log10(alphas) - 1) ** 2
        found |= {
            "alpha": float(alphas[r2.argmax()]), "condition_number": 23512.7, "numerical_rank": 61,
            "effective_rank": 17.43, "val_mse": 0.0191, "val_r2": float(r2.max()), "converged": True,
            "steering": {
                "lambda": 10.0,
                "criterion": "smallest with a median length of at most 1.05 times the shortest",
                "curve": [
                    {"lambda": 10.0**k, "own": 1 - 0.1 * abs(k), "side": 0.05 * (k + 4), "length": 4 - 0.5 * k}
                    for k in range(-3, 4)
                ],
            },
            "validation_curve": [[float(a), 0.02, float(v)] for a, v in zip(alphas, r2, strict=True)],
            "chosen_by": "r2",
            "steps": [{"alpha": float(a), "r2": float(v), "fidelity": 0.4, "length": 1.7, "directness": 0.3}
                      for a, v in zip(alphas, r2, strict=True)],
        }  # fmt: skip
    folder.mkdir(parents=True)
    source = {**(weights or WEIGHTS), "pairs": of_pairs, "config": {"method": "ridge", "alphas": [0.1, 1.0]}}
    spec = {"units": 64, "w_dim": 32, "method": "ridge", "alpha": 8.0, "l1_ratio": 0.0}
    content = {"spec": spec, "sha256": "c3" * 32, "parameters": 2080, "source": {**source, "diagnostics": found}}
    manifest.write(folder, manifest.build("link" if full else "mlp_link", **content))
    return folder


def evaluation(folder: Path, pictures: int = 12, weights: Any = None) -> Path:
    rng = np.random.default_rng(1)
    about = {
        "r2": {"description": "R² in W over held-out samples", "better": "higher", "unit": ""},
        "mse": {"description": "mean squared error of w", "better": "lower", "unit": "w²"},
        "cosine_r": {"description": "cosine of r and r̂", "better": "higher", "unit": ""},
        "top1": {"description": "the linked image has the original's top class", "better": "higher", "unit": ""},
        "top5": {"description": "its top class is among the original's top 5", "better": "higher", "unit": ""},
    }
    rows = [
        {
            "name": "link",
            "r2": 0.861,
            "mse": 0.0194,
            "cosine_r": 0.951,
            "top1": 0.972,
            "top5": 1.0,
            "standard_errors": {"r2": 0.004, "top1": 0.0117, "top5": 0.0},
        },
        {"name": "class mean", "r2": 0.214, "mse": 0.109, "cosine_r": 0.77, "top1": 0.935, "top5": 0.985},
        {"name": "shuffled", "r2": -0.82, "mse": 0.25, "cosine_r": float("nan"), "top1": 0.25, "top5": None},
    ]
    with artifacts.Writer(folder, "evaluation", Config(str(folder)), weights or WEIGHTS) as writer:
        correlation = np.clip(1 - rng.gamma(1.5, 0.06, 64), -1, 1).astype(np.float32)
        correlation[:3] = np.nan
        if pictures:
            writer.put("unit_correlation", ("unit",), correlation)
            shape = ("picture", "y", "x", "rgb")
            look = rng.uniform(-1, 1, (pictures, 3))
            writer.put("image_original", shape, np.stack([animal(*each) for each in look]))
            writer.put("image_linked", shape, np.stack([animal(*each) for each in 0.8 * look]))
            label = np.array(CLASSES, np.int32)[np.arange(pictures) % 4]
            after = np.where(np.arange(pictures) % 7 == 5, 404, label).astype(np.int32)
            for name, values in (("label", label), ("prediction_original", label), ("prediction_linked", after)):
                writer.put(f"picture_{name}", ("picture",), values)
        metrics = about if pictures else {}
        median = float(np.nanmedian(correlation))
        numbers = {"samples": 200, "rows": rows, "metrics": metrics, "median_unit_correlation": median}
        writer.finish({**numbers, "live_units": 61})
    return folder


def congruence(folder: Path, weights: Any = None, paths: int = 6) -> Path:
    rng = np.random.default_rng(7)
    scopes = ("all", "within", "across", "centroids")
    keys = ("value", "low", "high", "null", "null_low", "null_high", "p")
    given = [(question, scope) for question in ("distances", "neighbours") for scope in scopes]
    routes = ("link", "W", "other link")
    if paths:
        given += [(quality, route) for route in routes for quality in ("chord", "r2", "direction", "reach")]
    rows: list[dict[str, Any]] = [
        {"question": question, "scope": scope, "count": 150,
         **dict(zip(keys, (0.1 * place % 0.9, 0.05, 0.95, 0.0, -0.1, 0.1, 0.005), strict=True))}
        for place, (question, scope) in enumerate(given)
    ]  # fmt: skip
    none = dict.fromkeys(keys[3:])
    rows.append({"question": "gain", "scope": "other link", "value": 0.02, "low": -0.01, "high": 0.05, **none})
    rows[-1]["count"] = 150
    with artifacts.Writer(folder, "congruence", Config(str(folder)), weights or WEIGHTS) as writer:
        distance = rng.gamma(9, 1, 400)
        writer.put("distance_r", ("pair",), distance.astype(np.float32))
        writer.put("distance_w", ("pair",), (distance + rng.normal(0, 2, 400)).astype(np.float32))
        writer.put("same_class", ("pair",), distance < 6)
        if paths:
            t = np.linspace(0, 1, 7)
            moved = t + 0.2 * np.sin(np.pi * t) * rng.normal(size=(3, paths, 1))
            writer.put("progress", ("route", "path", "step"), moved.astype(np.float32))
            writer.put("route", ("route",), routes)
        summary = {"samples": 150, "samples_per_class": 15, "classes_compared": 10, "paths": paths, "rows": rows}
        neighbours = dict.fromkeys(scopes, 3)
        writer.finish({**summary, "neighbours": neighbours, "distance": "euclidean", "nonfinite": 1})
    return folder


def encoding(folder: Path, pictures: int = 6, weights: Any = None, compared: bool = True) -> Path:
    rng = np.random.default_rng(4)
    n, medians = 30, {"cosine": 0.912, "centred_cosine": 0.713, "distance": 1.82}
    medians |= {"distance_percentile": 93.5, "cosine_percentile": 12.0 if compared else None}
    row = {"samples": 28, **medians, "kept": 0.643, "recognised": None}
    test = {"name": "test pairs", "samples": 200, "cosine": 0.951, "centred_cosine": 0.88, "distance": 0.97}
    bare = {"name": "test pairs", "samples": 0, "cosine": None, "centred_cosine": None, "distance": None}
    with artifacts.Writer(folder, "encoding", Config(str(folder)), weights or WEIGHTS) as writer:
        for name in ("distance", "centred_cosine"):
            writer.put(name, ("sample",), np.where(np.arange(n) < 2, np.nan, rng.gamma(4, 0.2, n)).astype(np.float32))
            if compared:
                writer.put(f"test_{name}", ("test_sample",), rng.gamma(4, 0.1, 200).astype(np.float32))
        if pictures:
            seen = rng.choice(CLASSES, (n, 5)).astype(np.int32)
            writer.put("prediction", ("sample", "rank"), seen)
            writer.put("prediction_linked", ("sample",), np.where(np.arange(n) % 3 == 0, 404, seen[:, 0]))
            look = rng.uniform(-1, 1, (pictures, 3))
            shape = ("picture", "y", "x", "rgb")
            writer.put("image_photograph", shape, np.stack([animal(*each) for each in look]))
            writer.put("image_linked", shape, np.stack([animal(*(0.5 * each)) for each in look]))
            writer.put("picture_row", ("picture",), np.arange(pictures) * 3)
            writer.put("picture_name", ("picture",), [f"dogs/{row}.jpg" for row in range(pictures)])
        writer.finish({
            "samples": n, "readable": 28, "unreadable": ["a.jpg: expected a photograph", "b.jpg: the same"],
            "rows": [{"name": "photographs", **row}, {**(test if compared else bare), "kept": None}],
            "groups": [{"name": "dogs", **row, "recognised": 0.5}, {"name": "<cats>", **row}] if compared else [],
            "framing": {"shorter": 256, "crop": 224}, "shrinkage": 0.01, "nonfinite": 0,
        })  # fmt: skip
    return folder


def segmenter(folder: Path, measured: bool = True, overlays: int = 2) -> Path:
    names = ("background", "body", "<tail>")
    found: dict[str, Any] = {"folds": 0, "iou": None, "mean": None}
    if measured:
        found = {"folds": 5, "size": 64, "iou": [0.981, 0.913, None], "mean": 0.947, "mean_of_folds": [0.95, 0.94]}
        found |= {"pixels": [3000, 1000, 0], "images": [20, 20, 0]}
    (folder / "overlays").mkdir(parents=True)
    for row in range(overlays):
        Image.fromarray(animal(0.5, -0.5, 0.1 * row)).save(folder / "overlays" / f"labelled_{row:06d}.png")
    source = {"weights": {"generator": WEIGHTS["generator"]}, "labelled": ["000000"] * 20, "overlap": found}
    spec = {"resolution": 64, "num_parts": 3, "part_names": names}
    content = {"spec": spec, "sha256": "e5" * 32, "parameters": 2080, "source": source}
    manifest.write(folder, manifest.build("linear_segmenter", **content))
    return folder


def screening(folder: Path, weights: Any = None, dead: bool = False) -> Path:
    rng = np.random.default_rng(6)
    units, parts, metrics = 12, ("background", "<ear>", "tail"), ("area", "centroid_y", "orientation")
    effect = rng.normal(0, 1, (units, 3, 3)).astype(np.float32)
    effect[:, 2, 1] = np.nan
    with artifacts.Writer(folder, "screening", Config(str(folder)), weights or WEIGHTS) as writer:
        dims = ("unit", "part", "metric")
        writer.put("effect", dims, effect)
        writer.put("effect_se", dims, rng.gamma(2, 0.1, effect.shape).astype(np.float32))
        writer.put("baseline", ("sample", "part", "metric"), rng.normal(0, 2, (8, 3, 3)).astype(np.float32))
        writer.put("unit", ("unit",), np.arange(units, dtype=np.int32))
        writer.put("flag", ("unit",), (np.arange(units) >= (0 if dead else units - 1)).astype(np.int8))
        writer.put("part", ("part",), parts)
        writer.put("metric", ("metric",), metrics, units=["pixel", "pixel", "radian"])
        counts = {"units": units, "dead_units": units if dead else 1, "samples": 8}
        writer.finish({**counts, "products": "forward", "products_per_anchor": 32, "strongest": []})
    return folder


def sweep(folder: Path, pictures: int = 4, weights: Any = None, units: int = 40) -> Path:
    rng = np.random.default_rng(2)
    samples, steps, parts, metrics = 8, 5, ("image",), tuple(METRICS)
    fidelity = (1 - rng.gamma(2.0, 0.08, units)).astype(np.float32)
    effect = rng.normal(0, 1, (units, 1, len(metrics))) * rng.gamma(0.7, 0.4, (units, 1, 1))
    scale = np.array([40, 12, 0.15, 9, 0.4, 0.0])
    flag = np.zeros(units, np.int8)
    flag[-3:] = 1
    fidelity[-3:] = np.nan
    value = np.linspace(-1, 2, steps)[None] * rng.gamma(2, 0.5, (units, 1))
    unit = rng.permutation(512)[:units].astype(np.int32)
    with artifacts.Writer(folder, "sweep", Config(str(folder)), weights or WEIGHTS) as writer:
        writer.put("unit", ("unit",), unit)
        writer.put("part", ("part",), parts)
        meanings = [f"the {name} of the image" for name in metrics]
        writer.put("metric", ("metric",), metrics, units=list(METRICS.values()), descriptions=meanings)
        writer.put("value", ("unit", "step"), value.astype(np.float32))
        writer.put("label", ("sample",), np.array(CLASSES, np.int32)[np.arange(samples) % 4])
        baseline = rng.normal(0, 1, (samples, 1, len(metrics))) * scale
        writer.put("baseline", ("sample", "part", "metric"), baseline.astype(np.float32))
        noise = rng.normal(0, 0.15, (samples, units, steps))
        obtained = fidelity[None, :, None] * value[None] + noise * value.std(1)[None, :, None]
        writer.put("obtained", ("sample", "unit", "step"), obtained.astype(np.float32))
        writer.put("fidelity", ("unit",), fidelity)
        writer.put("fidelity_se", ("unit",), rng.gamma(2, 0.01, units).astype(np.float32))
        writer.put("flag", ("unit",), flag)
        writer.put("side_effect_unit", ("unit", "rank"), rng.integers(0, 512, (units, 3)).astype(np.int32))
        writer.put("side_effect", ("unit", "rank"), -np.sort(-rng.gamma(2, 0.15, (units, 3))).astype(np.float32))
        writer.put("effect", ("unit", "part", "metric"), (effect * scale).astype(np.float32))
        error = rng.gamma(2, 0.05, effect.shape) * scale
        writer.put("effect_se", ("unit", "part", "metric"), error.astype(np.float32))
        if pictures:
            looks = rng.uniform(-1, 1, (3, 3))
            strips = np.zeros((pictures, 3, steps, 64, 64, 3), np.uint8)
            for place in range(pictures):
                for row, look in enumerate(looks):
                    for step, amount in enumerate(np.linspace(-1, 1, steps)):
                        moved = look.copy()
                        moved[place % 3] = amount
                        strips[place, row, step] = animal(*moved)
            writer.put("picture", ("picture_unit", "picture_sample", "step", "y", "x", "rgb"), strips)
            writer.put("picture_unit", ("picture_unit",), unit[:pictures])
            writer.put("picture_sample", ("picture_sample",), np.array([0, 3, 7], np.int32))
            field = np.where(rng.random((pictures, 3, 1, 16, 16)) < 0.1, np.nan, rng.normal(0, 1, (2, 16, 16)))
            dims = ("picture_unit", "picture_sample")
            writer.put("picture_motion_field", (*dims, "axis", "field_y", "field_x"), field.astype(np.float32))
            moved = np.nanmean(field, axis=(-1, -2))[:, :, None] + np.array([1.0, -0.5])
            writer.put("picture_motion", (*dims, "part", "axis"), moved.astype(np.float32))
        summary = {"mode": "residual", "steps": steps, "samples": samples, "units": units, "dead_units": 3}
        writer.finish({**summary, "median_fidelity": 0.86, "images": units * samples * steps})
    return folder


def counterfactual(
    folder: Path, pictures: int = 8, weights: Any = None, reached: bool = True, walked: bool = True
) -> Path:
    rng = np.random.default_rng(3)
    n = 48
    label = np.array(CLASSES, np.int32)[np.arange(n) % 4]
    target = np.array(CLASSES, np.int32)[(np.arange(n) + 1 + np.arange(n) // 16) % 4]
    outcome = rng.choice([0, 1, 2, 3], n, p=[0.85, 0.09, 0.02, 0.04]).astype(np.int8)
    if not reached:
        outcome[:] = 1
    with artifacts.Writer(folder, "counterfactual", Config(str(folder)), weights or WEIGHTS) as writer:
        meanings = ["reached", "max_steps", "nonfinite", "already"]
        codes = {str(code): name for code, name in enumerate(meanings)}
        for name, values in (
            ("sample_id", np.arange(n)), ("label", label), ("target", target),
            ("steps", rng.gamma(3, 20, n).astype(np.int32)), ("units_changed", rng.integers(2, 60, n).astype(np.int32)),
            ("distance_r", rng.gamma(4, 2, n).astype(np.float32)),
            ("distance_w", rng.gamma(4, 1, n).astype(np.float32)),
            ("probability_target", np.where(outcome == 2, np.nan, rng.beta(5, 3, n)).astype(np.float32)),
        ):  # fmt: skip
            writer.put(name, ("sample",), values)
        writer.put("outcome", ("sample",), outcome, meanings=codes)
        if pictures:
            look = rng.uniform(-1, 1, (pictures, 3))
            shape = ("picture", "y", "x", "rgb")
            writer.put("image_start", shape, np.stack([animal(*each) for each in look]))
            writer.put("image_end", shape, np.stack([animal(*(-0.6 * each)) for each in look]))
            writer.put("picture_row", ("picture",), np.arange(pictures) * 3)
        counts = {name: int((outcome == code).sum()) for code, name in enumerate(meanings)}
        paths = _paths(writer, label, target, outcome == 0) if walked else {}
        writer.finish({"outcomes": counts, "median_steps": 55.0 if reached else None, "samples": n, **paths})
    return folder


def _paths(writer: artifacts.Writer, label: np.ndarray, target: np.ndarray, reached: np.ndarray) -> dict[str, Any]:
    """Paths between two clouds, boundaries of logistic curves, and units that recur."""
    rng = np.random.default_rng(4)
    n, t, units = len(label), np.arange(7) / 4, 24
    pairs, pair = boundary.class_pairs(label, target)
    p = len(pairs)
    odds = 9.0 * (t[None] - rng.normal(0.95, 0.05, (n, 1)))
    centre = {c: rng.normal(0, 4, 2) for c in CLASSES}
    ends = [np.stack([centre[c] for c in each]) + rng.normal(0, 0.6, (n, 2)) for each in (label, target)]
    line = ends[0][:, None] + t[None, :, None] * (ends[1] - ends[0])[:, None]
    cloud_label = np.array(CLASSES, np.int32)[np.arange(200) % 4]
    cloud = np.stack([centre[c] for c in cloud_label]) + rng.normal(0, 1, (200, 2))
    distance = np.linspace(-3, 3, 21)
    curve = np.broadcast_to(1 / (1 + np.exp(-3 * distance)), (1, p, 21))
    quartile = np.broadcast_to(np.array([0.9, 0.95, 1.0]), (1, p, 3))
    q = np.where(rng.random((1, p, units)) < 0.1, 0.01, 0.9)
    for name, dims, values in (
        ("path_t", "point", t), ("path_target", "sample point", 1 / (1 + np.exp(-odds))),
        ("path_origin", "sample point", 1 / (1 + np.exp(odds))),
        *((name, "sample point component", line) for name in ("place_r", "seen_r", "place_w", "seen_w")),
        *((f"cloud_{space}", "cloud component", cloud) for space in ("r", "w")), ("cloud_label", "cloud", cloud_label),
        *((f"plane_share_{space}", "component", [0.3, 0.2]) for space in ("r", "w")),
        ("own_w", "item component", line[:, 0] + 0.5), ("plane_logit", "class", rng.normal(size=300)),
        ("plane_slope", "class component", rng.normal(size=(300, 2))),
        ("pair_origin", "pair", pairs[:, 0]), ("pair_target", "pair", pairs[:, 1]),
        ("pair_flipped", "method pair", np.bincount(pair[reached], minlength=p)[None]),
        *((f"pair_{name}", "method pair quartile", quartile) for name in ("flip", "width", "head_gap")),
        ("profile_distance", "method place", distance[None]),
        *((f"profile_{name}", "method pair place", np.clip(curve + shift, 0, 1))
          for name, shift in (("low", -0.1), ("median", 0.0), ("high", 0.1))),
        ("profile_count", "method pair place", np.full((1, p, 21), 4)),
        ("transition_count", "method pair unit", rng.integers(0, 5, (1, p, units))),
        ("transition_q", "method pair unit", q),
        ("shared_jaccard", "method first second", np.where(np.eye(p)[None] > 0, np.nan, 0.3)),
        *((f"metric_{name}", "sample part metric", rng.normal(size=(n, 2, 3)) + 5) for name in ("start", "change")),
        ("part", "part", ("image", "ear")), ("metric", "metric", ("lightness", "area", "area_share")),
    ):  # fmt: skip
        writer.put(name, dims.split(), values)
    medians = {"flip": 0.95, "width": 1.2, "head_gap": 2.0, "target": 0.7, "origin": 0.2}
    shared = [{"relation": "reversed", "count": 3, "jaccard": 0.5, "chance": 0.05, "p": 0.005, "significant": 2}]
    row = {"method": "original", "valid_again": 1.0, "crossing_once": 0.9, "pairs": p, "shared": shared}
    row |= {f"median_{name}": value for name, value in medians.items()}
    return {"paths": [{**row, "transition_units_per_pair": 2.4}]}


def everything(root: Path, **options: Any) -> dict[str, str]:
    """All results in `root`: role → folder."""
    made = {
        "pairs": pairs(root / "pairs", **options),
        "evaluation": evaluation(root / "evaluation"),
        "congruence": congruence(root / "congruence"),
        "encoding": encoding(root / "encoding"),
        "segmenter": segmenter(root / "segmenter"),
        "screening": screening(root / "screening"),
        "sweep": sweep(root / "sweep"),
        "counterfactual": counterfactual(root / "counterfactual"),
    }
    made["link"] = link(root / "link", of_pairs=artifacts.Artifact(made["pairs"], "pairs").id)
    return {role: str(folder) for role, folder in made.items()}

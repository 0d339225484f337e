"""Links side by side on the embedded world, on held-out pairs: methods, ranks, and one link for all or one per group.

    python scripts/methods/compare_links.py [--train 150] [--val 20] [--test 30] [--json FILE]

About four minutes at the defaults on 2 idle cores: 2000 images for the pairs, then 300 for every method that is drawn.
R² in W over the test pairs, of all w dimensions together; "within": about the means of the classes. "cosine": of r and
r after re-encoding the linked image, median; "same class": of the classifier's top class, before and after. Penalties
are chosen on the validation pairs of those the link is fitted on.
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import linkjax
from linkjax.analysis.links.problem import Training
from linkjax.cli import main as command
from linkjax.demo.bundle import open_bundle
from linkjax.demo.factors import BREEDS
from linkjax.devices import parallel
from linkjax.stages.evaluate import cycle
from linkjax.storage.artifacts import Artifact

ALPHAS = tuple(float(alpha) for alpha in np.logspace(-3, 3, 13))
NET_ALPHAS = tuple(float(alpha) for alpha in np.logspace(-4, -1, 7))
Split = dict[str, np.ndarray]
Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]  # r, label → w


def made_pairs(folder: Path, classifier: str, counts: tuple[int, int, int]) -> dict[str, Split]:
    bundle = open_bundle()
    sizes = [word for name, n in zip(("train", "val", "test"), counts, strict=True) for word in (f"--n-{name}", str(n))]
    models = ["--generator", bundle.path("generator"), "--classifier", bundle.path(classifier)]
    classes = ["--classes", *map(str, range(len(BREEDS))), "--truncation", "1", "--batch-size", "50"]
    if command(["pairs", *models, *classes, *sizes, "--out", str(folder)]):
        raise SystemExit("no pairs")
    made = Artifact(folder, "pairs")
    return {
        split: {name: made.read(name, slice(*rows)) for name in ("r", "w", "label", "prediction")}
        for split, rows in made.summary["splits"].items()
    }


def fitted(splits: dict[str, Split], labels: np.ndarray, method: str, **options) -> linkjax.models.link.Link:
    train, val = (
        tuple(part[name][np.isin(part["label"], labels)] for name in ("r", "w"))
        for part in (splits["train"], splits["val"])
    )
    if method in ("ridge", "elastic_net"):
        options["alphas"] = ALPHAS if method == "ridge" else NET_ALPHAS
    return linkjax.fit_link(*train, method, validation=val, **options)


def per_group(splits: dict[str, Split], groups: list[np.ndarray], shared: Predict | None = None) -> Predict:
    """A ridge link for each group; with `shared`, of what that one leaves."""
    if shared is not None:
        splits = {
            name: part | {"w": part["w"] - shared(part["r"], part["label"])} for name, part in splits.items()
        }  # fmt: skip
    links = [fitted(splits, group, "ridge") for group in groups]

    def predict(r: np.ndarray, label: np.ndarray) -> np.ndarray:
        w = np.zeros((len(r), links[0].spec.w_dim), np.float32)
        for group, link in zip(groups, links, strict=True):
            mine = np.isin(label, group)
            w[mine] = np.asarray(link(r[mine]))
        return w if shared is None else w + shared(r, label)

    return predict


def r2(test: Split, predicted: np.ndarray) -> tuple[float, float]:
    centres = np.stack([test["w"][test["label"] == label].mean(0) for label in test["label"]])
    errors = ((test["w"] - predicted) ** 2).sum()
    return tuple(float(1 - errors / ((test["w"] - about) ** 2).sum()) for about in (test["w"].mean(0), centres))


def encoded(models, on, test: Split, predicted: np.ndarray) -> tuple[float, float]:
    size = parallel.round_up(50, on)
    batches = parallel.batches({"w": predicted.astype(np.float32)}, size)
    outputs = [out for _, out in parallel.map_batches(cycle, models, batches, size, on)]
    r, logits = (np.concatenate([out[name] for out in outputs]) for name in ("r", "logits"))
    cosine = (r * test["r"]).sum(1) / np.linalg.norm(r, axis=1) / np.linalg.norm(test["r"], axis=1)
    return float(np.median(cosine)), float((logits.argmax(1) == test["prediction"]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("train", 150), ("val", 20), ("test", 30)):
        parser.add_argument(f"--{name}", type=int, default=default, help="pairs of each of the 10 classes")
    parser.add_argument("--classifier", default="breeds", choices=("breeds", "planted"))
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = (options.train, options.val, options.test)
        splits = made_pairs(Path(folder) / "pairs", options.classifier, counts)
    test, everyone = splits["test"], np.arange(len(BREEDS))
    bundle, on = open_bundle(), parallel.mesh()
    models = parallel.replicate(
        (linkjax.load(bundle.path("generator")), linkjax.load(bundle.path(options.classifier))), on
    )

    def one(method: str, **more) -> Predict:
        link = fitted(splits, everyone, method, **more)
        return lambda r, label: np.asarray(link(r))

    w_dim = test["w"].shape[1]
    halves, singles = [everyone[:5], everyone[5:]], list(everyone[:, None])
    low = one("ridge", rank=w_dim // 4)
    methods: dict[str, Predict] = {
        "true w": lambda r, label: test["w"],
        "ols": one("ols"),
        "ridge": one("ridge"),
        "elastic net": one("elastic_net"),
        **{f"mlp, {n} hidden": one("mlp", training=Training(hidden=(n,))) for n in (32, 128, 512)},
    }
    ways: dict[str, Predict] = {
        **{f"one link, rank {rank}": one("ridge", rank=rank) for rank in (w_dim // 8, w_dim // 4, w_dim // 2)},
        "one link per half of the classes": per_group(splits, halves),
        "one link per class": per_group(splits, singles),
        f"shared rank {w_dim // 4}, and a link per class on the rest": per_group(splits, singles, low),
        "one link, and a link per class on the rest": per_group(splits, singles, methods["ridge"]),
    }
    rows = {}
    print(
        f"{options.classifier}: {counts} pairs of each of {len(BREEDS)} classes, {test['r'].shape[1]} units → {w_dim}"
    )
    print("| link | R² in W | within | cosine in r | same class |\n| --- | --- | --- | --- | --- |")
    for name, predict in (methods | ways).items():
        predicted = predict(test["r"], test["label"])
        found = dict(zip(("r2", "r2 within"), r2(test, predicted), strict=True))
        if name in methods:
            found |= dict(zip(("cosine", "same class"), encoded(models, on, test, predicted), strict=True))
        rows[name] = {key: round(value, 4) for key, value in found.items()}
        drawn = [f"{found[key]:.3f}" if key in found else "–" for key in ("r2", "r2 within", "cosine")]
        drawn.append(f"{found['same class']:.1%}" if "same class" in found else "–")
        print(f"| {name} | {' | '.join(drawn)} |", flush=True)
    if options.json:
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        content = {"machine": machine, "classifier": options.classifier, "pairs per class": counts, "links": rows}
        options.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()

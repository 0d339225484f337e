"""The largest error of every part of linkjax against the originals' outputs carried in `tests/parity`.

    python scripts/numerics/measure_parity.py [--out docs/figures/parity.json]

Prints a table in Markdown and writes the same as JSON. Errors are the largest difference, relative to the largest value
of the reference array unless the row says otherwise; the worst array of each group counts and is named. "Reference"
is, for the classifiers, how far the float32 reference itself is from the same network in float64. Two or three
minutes on one core, whatever else the machine does.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(1, str(Path(__file__).parents[2] / "converters"))

from linkjax.analysis.counterfactuals import counterfactual
from linkjax.analysis.links import elastic_net, linear
from linkjax.analysis.links.problem import accumulate
from linkjax.analysis.metrics.regions import measure_region_batch
from linkjax.models import build
from linkjax.models.generator_spec import Progression, stem_spec
from linkjax.models.stylegan_xl import Generator, layer_outputs
from linkjax.numerics import to_uint8
from linkjax.ops import resize
from linkjax_converters.classifier import classifier_from_state_dict
from linkjax_converters.generator import generator_from_snapshot
from linkjax_converters.reader.snapshot import read_snapshot
from linkjax_converters.segmenter import segmenter_from_state_dict
from linkjax_converters.state_dict import read_state_dict
from tests import tolerances as tol
from tests.analysis import fakes
from tests.reference import torch_stylegan

ROOT = Path(__file__).parents[2]
PARITY = ROOT / "tests" / "parity"


class Row(NamedTuple):
    """One line of the table."""

    what: str
    error: float
    bound: float
    worst: str = ""
    #: The reference's own distance from float64, where it was computed.
    reference: float | None = None


def largest(found, expected) -> float:
    """Largest difference, relative to the largest value expected; missing values are left out."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.nanmax(np.abs(found - expected)) / np.nanmax(np.abs(expected)))


def worst(what: str, errors: dict[str, float], bound: float, reference: float | None = None) -> Row:
    name = max(errors, key=errors.__getitem__)
    return Row(what, errors[name], bound, name, reference)


def generators() -> Iterator[Row]:
    outputs_of = jax.jit(layer_outputs)
    for name in ("gen_stem16", "gen_superres64", "gen_uncond16"):
        generator = generator_from_snapshot(read_snapshot(PARITY / f"{name}.pkl"))
        with np.load(PARITY / f"{name}.npz") as arrays:
            stored = dict(arrays)
        ws, images, changed = {}, {}, {}
        for draw in ("b1", "b4", "b4rand"):
            for key, truncation in (("psi100", 1.0), ("psi070", 0.7)):
                case = f"{draw}_{key}"
                if f"{case}_ws" not in stored:
                    continue
                label = stored[f"{draw}_class"] if generator.spec.num_classes else None
                w = np.asarray(generator.mapping(stored[f"{draw}_z"], label, truncation))[:, None]
                ws[case] = float(np.abs(w - stored[f"{case}_ws"]).max())
                if f"{case}_image" in stored:
                    found = generator.synthesis(stored[f"{case}_ws"])
                    images[case] = largest(found, stored[f"{case}_image"].transpose(0, 2, 3, 1))
                    changed[case] = float(np.mean(np.asarray(to_uint8(found)) != stored[f"{case}_uint8"]))
        yield worst(f"{name}: w (absolute)", ws, tol.GENERATOR_W)
        maps = outputs_of(generator.synthesis, jnp.asarray(stored["b1_psi070_ws"]))
        layers = {
            key.split("/")[1]: largest(maps[key.split("/")[1]][0], value.transpose(1, 2, 0))
            for key, value in stored.items()
            if key.startswith("layer_b1_psi070/")
        }
        yield worst(f"{name}: layers", layers, tol.GENERATOR)
        yield worst(f"{name}: images", images, tol.GENERATOR)
        yield worst(f"{name}: share of bytes that differ", changed, tol.GENERATOR_BYTES)
        w = stored["b4_psi070_ws"]
        alone = np.concatenate([generator.synthesis(w[i : i + 1]) for i in range(4)])
        yield Row(f"{name}: four at once against one by one", largest(generator.synthesis(w), alone), 5e-6)
    for radial in (False, True):
        how = Progression(channel_base=512, channel_max=24, radial=radial, conv_kernel=1 if radial else 3)
        spec = stem_spec(32, num_layers=6, progression=how, z_dim=8, w_dim=16)
        generator = build.random(Generator, spec, 3)
        w = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
        with torch.no_grad():
            plain = torch_stylegan.layer_outputs(torch_stylegan.torch_weights(generator), spec, torch.from_numpy(w))
        maps = outputs_of(generator.synthesis, jnp.asarray(w))
        errors = {name: largest(maps[name], value.numpy().transpose(0, 2, 3, 1)) for name, value in plain.items()}
        yield worst(f'random "{"r" if radial else "t"}" generator: layers, against PyTorch', errors, tol.GENERATOR)


def classifiers() -> Iterator[Row]:
    with np.load(PARITY / "cls_inputs.npz") as arrays:
        inputs = {side: arrays[f"x_{side}"].transpose(0, 2, 3, 1) for side in (64, 224)}

    @jax.jit
    def run(model, x):
        r, stages = model.network.original(x)
        hidden = model.network.penultimate(r)
        return {"r": r, "penultimate": hidden, "logits": model.last(hidden)}, stages

    def outputs(model, dtype) -> dict[str, np.ndarray]:
        found = {}
        for side, x in inputs.items():
            values, stages = run(model, jnp.asarray(x, dtype))
            found |= {f"{name}_{side}": np.asarray(value) for name, value in values.items()}
            if side == 64:
                found |= {f"stage64/{name}": np.asarray(m)[0].transpose(2, 0, 1) for name, m in stages.items()}
        return found

    for arch in ("resnet18", "resnet50", "vgg16", "alexnet", "densenet201"):
        with np.load(PARITY / f"cls_{arch}.npz") as arrays:
            stored = dict(arrays)
        model = classifier_from_state_dict(read_state_dict(PARITY / f"cls_{arch}.pth"), arch, "original")
        found = outputs(model, np.float32)
        with jax.enable_x64(True):
            exact = outputs(jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), model), np.float64)
        names = [name for name in found if name in stored]
        for what, chosen in (
            ("stages", [name for name in names if name.startswith("stage64/")]),
            ("r, penultimate, logits", [name for name in names if not name.startswith("stage64/")]),
        ):
            errors = {name.removeprefix("stage64/"): largest(found[name], stored[name]) for name in chosen}
            reference = max(largest(stored[name], exact[name]) for name in chosen)
            yield worst(f"{arch}: {what}", errors, tol.CLASSIFIER, reference)


def preprocessing() -> Iterator[Row]:
    with np.load(PARITY / "preprocess.npz") as stored:
        errors = {}
        for name in map(str, stored["names"]):
            pixels = stored[f"{name}/input_u8"]
            height, width = resize.shorter_side(*pixels.shape[:2], 256)
            found = np.asarray(resize.resize_bytes(jnp.asarray(pixels)[None], height, width, 224))[0]
            errors[name] = float(np.mean(found != stored[f"{name}/crop_u8"]))
        yield worst(f"preprocessing: share of bytes that differ, {len(errors)} images", errors, 0.0)


def segmenters() -> Iterator[Row]:
    errors = {}
    for size in ("S", "M", "L"):
        model = segmenter_from_state_dict(read_state_dict(PARITY / f"fewshot_{size}.pth"), size)
        with np.load(PARITY / f"fewshot_{size}.npz") as stored:
            scores = np.asarray(model(stored["x"].transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
            errors[size] = largest(scores, stored["y"])
    yield worst("few-shot segmenter: scores", errors, tol.SEGMENTER)


def links() -> Iterator[Row]:
    with np.load(PARITY / "linking.npz") as arrays:
        stored = dict(arrays)
    ridge, lasso = {}, {}
    for case in ("full", "rankdef"):
        r, w = stored[f"{case}/r"], stored[f"{case}/w"]
        total = accumulate(r, w, block=128)
        for name, alpha in {"lr": 0.0, "ridge1": 1.0, "ridge10": 10.0}.items():
            kernel = linear.solve_ridge(total, alpha).kernel
            ridge[f"{case}/{name}"] = largest(kernel.T, stored[f"{case}/{name}/coef"])
        for name, alpha in {"enet_default_tight": 1.0, "enet_a001_tight": 0.01}.items():
            kernel = elastic_net.solve_elastic_net(total, alpha, 0.5).solution.kernel
            lasso[f"{case}/{name}"] = largest(kernel.T, stored[f"{case}/{name}/coef"])
    yield worst("OLS and ridge: coefficients, float64", ridge, tol.LINK_SOLUTION)
    yield worst("elastic net: coefficients, against the tight optimum", lasso, tol.LINK_SOLUTION)


def counterfactuals() -> Iterator[Row]:
    with np.load(PARITY / "counterfactual.npz") as arrays:
        stored = dict(arrays)
    descend = jax.jit(counterfactual.descend, static_argnames="recipe")
    for dtype, bound in ((np.float64, tol.COUNTERFACTUAL_F64), (np.float32, tol.COUNTERFACTUAL_F32)):
        with jax.enable_x64(dtype == np.float64):
            head = stored["fc_weight"].T.astype(dtype), stored["fc_bias"].astype(dtype)
            link = fakes.LinearLink(stored["link_coef"].T.astype(dtype), stored["link_intercept"].astype(dtype))
            classifier = fakes.Classifier(np.zeros((1, 1)), *head)
            labels = [jnp.asarray([stored[name]], jnp.int32) for name in ("origin", "target")]
            r, errors = jnp.asarray(stored["r"][None], dtype), {}
            shift = jnp.asarray(stored["shifts"][:1], dtype)
            for step in range(5):
                shift = descend(classifier, link, r, shift, *labels, recipe=counterfactual.Recipe(max_steps=5))
                errors[f"step {step + 1}"] = largest(shift[0], stored["shifts"][step + 1])
        yield worst(f"counterfactual: shifts, {np.dtype(dtype).name}", errors, bound)


def regions() -> Iterator[Row]:
    with np.load(PARITY / "region_metrics.npz") as arrays:
        stored = dict(arrays)
    images = jnp.asarray(stored["images"].astype(np.float32) / np.float32(255))
    found = measure_region_batch(images, jnp.asarray(stored["labels"], jnp.int32), 8)
    columns = {"area": 0, "centroid_y": 1, "centroid_x": 2, "eccentricity": 3, "axis_major": 5, "axis_minor": 6}
    geometry = {name: largest(getattr(found, name), stored["geometry"][..., i]) for name, i in columns.items()}
    yield worst("part geometry", geometry, tol.REGIONS)
    names = list(stored["appearance_names"])
    columns = {"luminance": "luma709", "luminance_linear": "luminance709_linear", "lightness": "cie_Lstar"}
    columns["entropy"] = "entropy_luma709"
    colour = {
        name: largest(getattr(found, name), stored["appearance"][..., names.index(column)])
        for name, column in columns.items()
    }
    yield worst("part colour and entropy", colour, tol.ENTROPY_TIES)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures" / "parity.json")
    options = parser.parse_args()
    print("| what | error | bound | where | reference from float64 |\n| --- | --- | --- | --- | --- |", flush=True)
    rows = []
    for part in (generators, classifiers, preprocessing, segmenters, links, counterfactuals, regions):
        for row in part():
            reference = "" if row.reference is None else f"{row.reference:.1e}"
            print(f"| {row.what} | {row.error:.1e} | {row.bound:.0e} | {row.worst} | {reference} |", flush=True)
            rows.append(row._asdict())
    options.out.parent.mkdir(parents=True, exist_ok=True)
    versions = {"jax": jax.__version__, "torch": torch.__version__, "device": jax.devices()[0].device_kind}
    options.out.write_text(json.dumps({"versions": versions, "rows": rows}, indent=1) + "\n")
    return 1 if any(row["error"] > row["bound"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

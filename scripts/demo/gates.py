"""What the generator must reach before it is shipped, measured by networks that have only seen renders."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linkjax.demo import factors, world
from linkjax.models.classifier import Classifier
from linkjax.models.stylegan_xl import Generator
from scripts.demo import segmentation_training

PSNR, PSNR_FOREGROUND = 32.0, 27.0  # dB
PART_IOU, MEAN_IOU = 0.7, 0.85
FACTOR_R2 = 0.8
ACCURACY = 0.97  # of the breeds classifier, on renders and on generated pictures


@dataclasses.dataclass(frozen=True)
class Gate:
    """One number and the least it must be."""

    name: str
    value: float
    least: float

    @property
    def passed(self) -> bool:
        return bool(self.value >= self.least)


def pictures(generator: Generator, seed: int, count: int = 512, batch: int = 32) -> dict[str, np.ndarray]:
    """The same animals drawn by the renderer and by the generator, with their truth."""
    render = jax.jit(world.render)
    columns: dict[str, list[np.ndarray]] = {}
    for start in range(0, count, batch):
        z, breed = factors.sample(jax.random.fold_in(jax.random.key(seed + 6 * 10**6), start), batch)
        truth = factors.factors_of(z, breed)
        drawing = render(truth)
        w = generator.mapping(z, breed)
        row = {"factors": truth, "breed": breed, "render": drawing.image, "labels": drawing.labels, "w": w}
        row["generated"] = generator.synthesis(w)
        for name, value in row.items():
            columns.setdefault(name, []).append(np.asarray(value))
    return {name: np.concatenate(values) for name, values in columns.items()}


def generator_gates(
    data: dict[str, np.ndarray], segmenter: dict[str, Any], regressor: Classifier
) -> tuple[list[Gate], dict[str, Any]]:
    """The gates, and the same measures on renders, which say how good the judges are."""
    gates = psnr_gates(data)
    judges: dict[str, Any] = {}
    parts = {kind: _iou(segmenter, data[kind], data["labels"]) for kind in ("render", "generated")}
    gates.append(Gate("IoU, mean of parts", float(np.mean(list(parts["generated"].values()))), MEAN_IOU))
    gates += [Gate(f"IoU {part}", value, PART_IOU) for part, value in parts["generated"].items()]
    found = {kind: explained(regressor, data[kind], data["factors"]) for kind in ("render", "generated")}
    gates += [Gate(f"R² {name}", value, FACTOR_R2) for name, value in found["generated"].items()]
    judges["iou on renders"], judges["r2 on renders"] = parts["render"], found["render"]
    return gates, judges


def psnr_gates(data: dict[str, np.ndarray]) -> list[Gate]:
    """Peak signal-to-noise ratio, 10 log₁₀(2² / mean squared error), of whole pictures and of the animals' pixels."""
    square = np.mean(np.square(np.clip(data["generated"], -1, 1) - data["render"]), axis=-1)
    return [
        Gate("PSNR (dB)", float(10 * np.log10(4 / square.mean())), PSNR),
        Gate("PSNR of the animal (dB)", float(10 * np.log10(4 / square[data["labels"] > 0].mean())), PSNR_FOREGROUND),
    ]


def _iou(segmenter: dict[str, Any], images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    counts = np.zeros((len(world.PARTS),) * 2)
    for start in range(0, len(images), 64):
        part = slice(start, start + 64)
        counts += np.asarray(
            segmentation_training.confusion(segmenter, jnp.asarray(images[part]), jnp.asarray(labels[part]))
        )
    return segmentation_training.iou(counts)


def explained(regressor: Classifier, images: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """R² of every factor read from pictures: 1 − mean squared error / variance of the truth."""
    read = responses(regressor, images)[1]
    r2 = 1 - np.mean(np.square(read - truth), axis=0) / np.var(truth, axis=0)
    return dict(zip(factors.FACTORS, (float(v) for v in r2), strict=True))


def responses(classifier: Classifier, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Penultimate activations and class scores of many pictures."""
    units, logits = [], []
    for start in range(0, len(images), 64):
        said = classifier(classifier.preprocess(jnp.asarray(images[start : start + 64])))
        units.append(np.asarray(said.penultimate))
        logits.append(np.asarray(said.logits))
    return np.concatenate(units), np.concatenate(logits)


def accuracy_gates(classifier: Classifier, data: dict[str, np.ndarray], name: str) -> list[Gate]:
    """Share of pictures whose breed the classifier names."""
    return [
        Gate(
            f"{name}: accuracy on {'renders' if kind == 'render' else 'generated pictures'}",
            float(np.mean(responses(classifier, data[kind])[1].argmax(axis=1) == data["breed"])),
            ACCURACY,
        )
        for kind in ("render", "generated")
    ]


def table(gates: list[Gate]) -> str:
    """The gates as lines of text."""
    width = max(len(gate.name) for gate in gates)
    lines = [
        f"{gate.name:{width}}  {gate.value:7.3f}  (least {gate.least})  {'passed' if gate.passed else 'FAILED'}"
        for gate in gates
    ]
    return "\n".join(lines)

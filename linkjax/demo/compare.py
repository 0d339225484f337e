"""Both ways to raise a unit, side by side: the same units along the link's kernel and along its steering directions."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from linkjax.analysis.pairs import named_latents
from linkjax.config import PathName
from linkjax.demo import world
from linkjax.demo.factors import Z_DIM, factors_of
from linkjax.demo.truth import raising
from linkjax.devices import parallel
from linkjax.ops.chunked import share_of
from linkjax.stages import inputs
from linkjax.stages.sweep import programs
from linkjax.storage import artifacts

DIRECTIONS = ("kernel", "steer")
_SIGMA = 2.0  # how far a unit is raised and lowered in the pictures, standard deviations within classes


@dataclasses.dataclass(frozen=True)
class Config:
    """Compare two sweeps of one classifier, and draw some of its units raised along both."""

    stage: ClassVar[str] = "compare"  # the table of its settings in a TOML

    out: PathName
    """Folder to make."""
    classifier: str
    """What the classifier is called; `planted` has a truth that is drawn beside."""
    sweep: PathName
    """Folder of the sweep along steering directions."""
    selection: PathName
    """Folder of `linkjax select` on it."""
    kernel_sweep: PathName
    """Folder of the sweep along the kernel, of some of the units."""
    kernel_selection: PathName
    """Folder of `linkjax select` on that."""
    pictures: int = 6
    """Units to draw: those of the strongest significant effects, one of each cluster."""


def run(config: Config, rows: Sequence[dict[str, Any]]) -> None:
    """Write the figures of both, pictures, and what the shown units were found to do.

    Args:
      rows: the truth about every planted unit.
    """
    sweeps, selections = (
        {name: artifacts.Artifact(Path(path), kind) for name, path in zip(DIRECTIONS, paths, strict=True)}
        for kind, paths in (
            ("sweep", (config.kernel_sweep, config.sweep)),
            ("selection", (config.kernel_selection, config.selection)),
        )
    )
    units = sweeps["kernel"].read("unit")
    made_from = {f"sweep {name}": sweep.id for name, sweep in sweeps.items()}
    steer = sweeps["steer"]
    weights: dict[str, str] = {"generator": steer.manifest["weights"]["generator"]}
    with artifacts.Writer(
        Path(config.out), "comparison", config, weights, made_from, precision=steer.manifest["precision"]
    ) as writer:
        found = [_figures(sweeps[name], selections[name], units, name) for name in DIRECTIONS]
        shown, effects = _strongest(selections["steer"], units, config.pictures)
        pictures, truth = _draw(steer, shown, rows if config.classifier == "planted" else ())
        writer.put("picture", ("unit", "direction", "level", "y", "x", "rgb"), pictures)
        if truth is not None:
            writer.put("truth", ("unit", "level", "y", "x", "rgb"), truth)
        for name, values in effects.items():
            writer.put(name, ("unit", "part", "metric"), values)
        data = selections["steer"].open()
        for name in ("part", "metric"):
            writer.put(name, (name,), artifacts.names(data, name))
        writer.put("unit", ("unit",), shown)
        fidelity = np.stack([_of(sweeps[name], "fidelity", shown) for name in DIRECTIONS], axis=1)
        writer.put("fidelity", ("unit", "direction"), fidelity.astype(np.float32))
        writer.put("direction", ("direction",), DIRECTIONS)
        writer.finish({"classifier": config.classifier, "sigma": _SIGMA, "directions": found})


def _of(sweep: artifacts.Artifact, name: str, units: np.ndarray) -> np.ndarray:
    """An array of a sweep or a selection, of some units."""
    place = {int(unit): row for row, unit in enumerate(sweep.read("unit"))}
    return sweep.read(name)[[place[int(unit)] for unit in units]].astype(np.float64)


def _figures(
    sweep: artifacts.Artifact, selection: artifacts.Artifact, units: np.ndarray, directions: str
) -> dict[str, Any]:
    """What one kind of directions does to the units that both were asked for."""
    fidelity, response = (_of(sweep, name, units) for name in ("fidelity", "response"))
    response[np.arange(len(units)), units] = np.nan
    side = np.sqrt(np.nanmean(response**2, axis=1))
    share = np.where(np.abs(fidelity) > 0.05, side / np.abs(fidelity), np.nan)
    significant = np.nan_to_num(_of(selection, "q", units), nan=1.0) <= selection.summary["fdr"]
    return {
        "directions": directions,
        "units": len(units),
        "anchors": selection.summary["anchors"],
        "random_directions": selection.summary["random_directions"],
        "median_fidelity": float(np.nanmedian(fidelity)),
        "fidelity_within_20_percent": float(np.mean(np.abs(fidelity - 1) <= 0.2)),
        "median_side_effect": float(np.nanmedian(side)),
        "median_side_effect_per_own_change": float(np.nanmedian(share)) if np.isfinite(share).any() else None,
        "significant_units": int(significant.any(axis=(1, 2)).sum()),
    }


def _strongest(selection: artifacts.Artifact, units: np.ndarray, most: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Which of the units to show, and their effects: `effect_sd` and whether each is `significant`."""
    spread = selection.read("spread").astype(np.float64)
    effect = _of(selection, "effect", units) / np.where(spread > 0, spread, np.nan)
    significant = np.nan_to_num(_of(selection, "q", units), nan=1.0) <= selection.summary["fdr"]
    size = np.nan_to_num(np.abs(effect))
    score = np.where(significant, 1e3 + size, size).max(axis=(1, 2))
    cluster = _of(selection, "cluster", units)
    chosen: list[int] = []
    for row in np.argsort(-score, kind="stable"):
        if len(chosen) < most and cluster[row] not in cluster[chosen]:
            chosen.append(int(row))
    chosen.sort()
    arrays = {"effect_sd": effect[chosen].astype(np.float32), "significant": significant[chosen].astype(np.int8)}
    return units[chosen].astype(np.int32), arrays


def _draw(
    sweep: artifacts.Artifact, units: np.ndarray, rows: Sequence[dict[str, Any]]
) -> tuple[np.ndarray, np.ndarray | None]:
    """[units, directions, 3 levels, y, x, 3] one anchor a unit lowered, untouched, raised; the renderer's beside it."""
    told = sweep.manifest["config"]
    generator = inputs.model(told["generator"], "generator", told["precision"])
    link = inputs.model(told["link"], "link").model
    segmenter = inputs.segmenter(told["segmenter"], generator).model  # so that the sweep's program serves
    pairs = artifacts.Artifact(Path(told["pairs"]), "pairs")
    anchors = inputs.anchors(pairs, None, 1, None)
    own = np.arange(len(units)) % len(anchors["w"])  # every unit in another breed
    levels = _SIGMA * np.array([-1.0, 0.0, 1.0])
    asked = np.asarray(link.unit_std)[units][:, None] * levels[None]
    along = [np.asarray(inputs.along(link, name).kernel[...])[units] for name in DIRECTIONS]
    moved = asked[:, None, :, None] * np.stack(along, axis=1)[:, :, None]
    w = (anchors["w"][own][:, None, None] + moved).astype(np.float32)
    mesh, size = parallel.mesh(), told["batch_size"]
    size = parallel.round_up(len(units), parallel.mesh()) if size == "auto" else parallel.round_up(size, mesh)
    models = parallel.replicate((generator.model, segmenter), mesh)
    share = share_of(generator.model.spec.resolution)
    items = {"w": w.reshape(-1, w.shape[-1])}
    drawn = parallel.map_items(programs.draw_labelled, models, items, size, mesh, share=share)["image"]
    pictures = drawn.reshape(*w.shape[:3], *drawn.shape[1:])
    if not rows:
        return pictures, None
    seed = pairs.manifest["config"]["seed"]
    label = anchors["label"][own]
    z = named_latents(seed, label, anchors["sample_id"][own], Z_DIM)
    factors = np.asarray(factors_of(jnp.asarray(z), jnp.asarray(label, jnp.int32)))
    true = factors[:, None] + asked[:, :, None] * raising(rows)[units][:, None]
    image = world.render_all(np.clip(true.reshape(-1, true.shape[-1]), -1, 1)).image
    in_bytes = np.round((np.clip(image, -1, 1) + 1) * 127.5).astype(np.uint8)
    return pictures, in_bytes.reshape(len(units), len(levels), *in_bytes.shape[1:])

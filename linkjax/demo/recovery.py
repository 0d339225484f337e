"""Recovery of planted units: a sweep scored against the renderer (`truth`)."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np

from linkjax.analysis.finite import finite_mean
from linkjax.analysis.links import stability
from linkjax.analysis.metrics import measurements
from linkjax.analysis.pairs import named_latents
from linkjax.config import PathName
from linkjax.demo import score, world
from linkjax.demo.factors import Z_DIM, factors_of
from linkjax.demo.oracle import SAID, taken_off, within_pairs
from linkjax.demo.truth import own_remainders, raising, shared_agreement, true_effects, true_fidelity, unit_weights
from linkjax.errors import InputError
from linkjax.stages import inputs
from linkjax.storage import artifacts, loading
from linkjax.storage.swept_values import read_asked


@dataclasses.dataclass(frozen=True)
class Config:
    """Score a sweep of the planted classifier."""

    stage: ClassVar[str] = "recovery"  # the table of its settings in a TOML

    out: PathName
    """Folder to make."""
    sweep: PathName
    """Folder of the sweep, made with a segmenter."""
    selection: PathName
    """Folder of `linkjax select` on that sweep: its effects are scored, and what it calls significant."""
    pairs: PathName
    """Folder of the pairs whose test split gave its anchors."""
    link: PathName
    """Folder of the link it was made with."""
    oracle: PathName | None = None
    """Folder of a sweep along the oracle's directions (`linkjax.demo.oracle`), whose areas are judged beside it."""


def run(config: Config, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Write the score and the effects behind it; returns the summary.

    Args:
      config: where things are.
      rows: the truth about every planted unit, as the bundle tells it.
    """
    sweep = artifacts.Artifact(Path(config.sweep), "sweep")
    selection = artifacts.Artifact(Path(config.selection), "selection")
    pairs = artifacts.Artifact(Path(config.pairs), "pairs")
    # "planted", not "classifier": a page may show the score beside results of another classifier.
    called = {"classifier": "planted", "link": "planted link"}
    made_with: dict[str, str] = sweep.manifest["weights"]
    weights = {called.get(role, role): sha256 for role, sha256 in made_with.items()}
    with artifacts.Writer(
        Path(config.out),
        "recovery",
        config,
        weights,
        {"planted sweep": sweep.id},
        precision=sweep.manifest["precision"],
    ) as writer:
        oracle = None if config.oracle is None else artifacts.Artifact(Path(config.oracle), "sweep")
        found = recover(sweep, selection, pairs, loading.load(config.link), rows, oracle)
        units = found["units"]
        writer.put("predicted_fidelity", ("unit",), found.pop("predicted_fidelity").astype(np.float32))
        for name in ("truth", "found"):
            writer.put(name, ("unit", "part", "metric"), found.pop(name).astype(np.float32))
        writer.put("spread", ("part", "metric"), found.pop("spread").astype(np.float32))
        writer.put("unit", ("unit",), np.asarray([unit["unit"] for unit in units], np.int32))
        writer.put("part", ("part",), found.pop("parts"))
        writer.put("metric", ("metric",), found.pop("metrics"))
        writer.finish(found)
    return found


class _Swept(NamedTuple):
    """A sweep of planted units beside what the renderer says of it; U live units, A anchors."""

    unit: np.ndarray  # [U]
    dead: np.ndarray  # units that were not swept
    truth: np.ndarray  # [U, parts, metrics] effects per σ of the unit
    true_fidelity: np.ndarray  # [U] share of the asked change that the truth obtains; 1 for noise units
    fidelity: np.ndarray  # [U]
    response: np.ndarray  # [U, units]
    effect: np.ndarray  # [U, parts, metrics]
    baseline: np.ndarray  # [A, parts, metrics]


def _read(
    sweep: artifacts.Artifact, pairs: artifacts.Artifact, rows: Sequence[dict[str, Any]], changes: np.ndarray
) -> _Swept:
    """A sweep beside what the renderer draws of the true changes of the factors, [units, factors]."""
    data = sweep.open()
    names = ("unit", "flag", "label", "sample_id", "baseline", "fidelity", "response", "effect", "unit_std")
    read = {name: sweep.read(name) for name in names}
    live = read["flag"] == 0
    units, values = read["unit"][live], read_asked(sweep, data, live)
    z = named_latents(pairs.manifest["config"]["seed"], read["label"], read["sample_id"], Z_DIM)
    factors = np.asarray(factors_of(jnp.asarray(z), jnp.asarray(read["label"], jnp.int32)))
    classes = tuple(np.unique(read["label"]).tolist())
    settings = sweep.manifest["config"]
    r = inputs.first_of_each_class(pairs, settings.get("split", "test"), settings["samples"], classes)["r"]
    of_anchors = factors, values, r[:, units], read["unit_std"][units].astype(np.float64)
    truth = true_effects(changes[units], *of_anchors)
    obtained = true_fidelity(changes[units], unit_weights(rows)[units], *of_anchors)
    fidelity, response, effect = (read[name][live].astype(np.float64) for name in ("fidelity", "response", "effect"))
    return _Swept(units, read["unit"][~live], truth, obtained, fidelity, response, effect, read["baseline"])


class _Asked(NamedTuple):
    """What a sweep's directions ask for, in truth."""

    changes: np.ndarray  # [units, factors] that raise each unit by 1; 0 for one that nothing raises so
    beside: np.ndarray | None  # the same by the factors' own shared directions; of own remainders
    agreement: tuple[float, ...]  # cosines of these with the directions that the link finds shared


def _asked(
    directions: str, link: Any, pairs: artifacts.Artifact, rows: Sequence[dict[str, Any]], lam: float | None
) -> _Asked:
    """The true changes behind a sweep along the link's kernel, its steering directions or units' own remainders."""
    if directions != "own" or lam is None:
        return _Asked(raising(rows, lam), None, ())
    taken = taken_off(link, *within_pairs(pairs))
    changes, beside = (np.nan_to_num(own_remainders(rows, lam, each)) for each in (taken, None))
    return _Asked(changes, beside, tuple(shared_agreement(rows, lam, taken).tolist()))


def recover(
    sweep: artifacts.Artifact,
    selection: artifacts.Artifact,
    pairs: artifacts.Artifact,
    link: Any,
    rows: Sequence[dict[str, Any]],
    oracle: artifacts.Artifact | None = None,
) -> dict[str, Any]:
    """`score.score` of a finished sweep with parts, with the effects it compared and the names of their columns.

    A sweep along units' own remainders is held against the truth of these (`truth.own_remainders`): the true steps
    without the directions that the link finds shared; `factors_own` holds it against them without the factors' own.

    Raises: InputError for an oracle's sweep along steps of another kind.
    """
    directions = inputs.directions_of(sweep)
    lam = None if directions == "kernel" else link.spec.steer_lambda
    asked = _asked(directions, link, pairs, rows, lam)
    swept = _read(sweep, pairs, rows, asked.changes)
    units, told = swept.unit, [rows[unit] for unit in swept.unit]
    live = np.isin(selection.read("unit"), units)
    found, q = (selection.read(name)[live].astype(np.float64) for name in ("effect", "q"))
    spread = measurements.spread(swept.baseline, tuple(measurements.METRICS))
    area = _areas(swept)
    side = _other_units(swept.response, units, rows)
    start, stop = pairs.summary["splits"]["train"]
    w_train, r_train, labels = (pairs.read(name, slice(start, stop)) for name in ("w", "r", "label"))
    reading = stability.fit_inverse(w_train, r_train, labels)
    along = np.asarray(inputs.raised(link, directions).kernel[...])
    predicted = stability.diluted_fidelity(along, reading)[units]
    known: dict[str, Any] = {}
    if oracle is not None:
        _check_oracle(oracle, directions)
        known, knowing = _oracle(oracle, pairs, rows, asked.changes, units)
        known |= score.shown_by_oracle(told, swept.truth, found, spread, q, selection.summary["fdr"], knowing)
    if asked.beside is not None:
        other = _read(sweep, pairs, rows, asked.beside).truth
        counted = score.significance(told, other, found, spread, q, selection.summary["fdr"])
        counted |= score.told_apart(told, other, found, spread)
        known["factors_own"] = {**counted, "cosines of shared directions": list(asked.agreement)}
    return {
        **score.score(told, swept.truth, found, spread, area, swept.fidelity, side, predicted, swept.true_fidelity),
        **score.significance(told, swept.truth, found, spread, q, selection.summary["fdr"]),
        **score.doubles(told, selection.read("cluster")[live]),
        **known,
        "directions": directions,
        "lambda": lam,
        "anchors": len(swept.baseline),
        "predicted_fidelity": predicted,
        "parts": [measurements.WHOLE, *world.PARTS],
        "metrics": list(measurements.METRICS),
        "truth": swept.truth,
        "found": found,
        "spread": spread,
        "dead_units": [int(unit) for unit in swept.dead],
    }


def _check_oracle(oracle: artifacts.Artifact, directions: str) -> None:
    """Check that one who knows was asked what the sweep asks, where the link of that sweep is still there.

    Raises: InputError if not.
    """
    path = oracle.manifest["config"]["link"]
    if not Path(path).exists():
        return
    said = loading.load_with_manifest(path, ("link",))[1]["source"].get("directions")
    wanted = SAID["own" if directions == "own" else "steer"]
    if said != wanted:
        raise InputError(
            f"{oracle.path}: expected a sweep along steps of one who knows ({wanted}), found others ({said})"
        )


def _oracle(
    oracle: artifacts.Artifact,
    pairs: artifacts.Artifact,
    rows: Sequence[dict[str, Any]],
    changes: np.ndarray,
    units: np.ndarray,
) -> tuple[dict[str, Any], np.ndarray]:
    """What generator and labels alone leave of the areas and of what is first, and the effects, by unit."""
    swept = _read(oracle, pairs, rows, changes)
    told = [rows[unit] for unit in swept.unit]
    found = score.areas(told, swept.truth, swept.effect, _areas(swept), swept.fidelity, swept.true_fidelity)
    spread = measurements.spread(swept.baseline, tuple(measurements.METRICS))
    found |= score.strongest_effects(told, swept.truth, swept.effect, spread)
    effect = np.full((len(units), *swept.effect.shape[1:]), np.nan)
    at = np.flatnonzero(np.isin(units, swept.unit))
    effect[at] = swept.effect[np.searchsorted(swept.unit, units[at])]
    return {f"oracle_{name}": value for name, value in found.items()}, effect


def _areas(swept: _Swept) -> np.ndarray:
    """[parts] mean area among untouched anchors."""
    return np.nan_to_num(finite_mean(swept.baseline[:, :, list(measurements.METRICS).index("area")]))


def _other_units(response: np.ndarray, units: np.ndarray, rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """Largest |response| of another unit that does not carry the same factor, by swept unit."""
    response = np.abs(response)
    for k, unit in enumerate(units):
        for other in rows:
            shares = set(rows[unit]["factors"]) & set(other["factors"]) and other["kind"] != "noise"
            if other["unit"] == unit or shares or other["kind"] == "noise":
                response[k, other["unit"]] = 0.0
    return np.nanmax(response, axis=1)

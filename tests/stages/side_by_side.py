"""Pairs of a second network whose units are planted: made from those of a first."""

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np

from linkjax.stages import counterfactual
from linkjax.stages import pairs as stage
from linkjax.storage import artifacts


def planted(path: Path, like: str, r: np.ndarray, name: str = "planted") -> str:
    """Pairs at `path`: the samples of others, and activations r [samples, units]."""
    others = artifacts.Artifact(Path(like), "pairs")
    data, known = others.open(), others.summary
    config = stage.Config(str(path), others.manifest["config"]["generator"], name, latents=like)
    weights = {**others.manifest["weights"], "classifier": name}
    with artifacts.Writer(path, "pairs", config, weights, {"latents": others.id}) as writer:
        for each in ("w", "label", "sample_id", "prediction", "probability", "split"):
            writer.put(each, data[each].dims, others.read(each))
        writer.put("r", ("sample", "unit"), r.astype(np.float32))
        writer.finish({**known, "units": r.shape[1]})
    return str(path)


def searched(path: Path, like: str, pairs: str, only: Collection[str] = (), **changed: np.ndarray) -> str:
    """Counterfactuals at `path`: another's, of other pairs and their first units, some arrays changed, or only some."""
    others = artifacts.Artifact(Path(like), "counterfactual")
    data, known = others.open(), others.manifest
    config = counterfactual.Config(
        str(path), *(known["config"][name] for name in ("generator", "classifier")), pairs, ""
    )
    units = artifacts.Artifact(Path(pairs), "pairs").summary["units"]
    made_from = {"pairs": artifacts.Artifact(Path(pairs), "pairs").id}
    with artifacts.Writer(path, "counterfactual", config, known["weights"], made_from) as writer:
        for name in only or data.variables:
            values = np.asarray(changed[name] if name in changed else others.read(name))
            few = tuple(slice(units) if dim in ("unit", "shift") else slice(None) for dim in data[name].dims)
            writer.put(name, data[name].dims, values[few])
        writer.finish(others.summary)
    return str(path)


def told(path: Path) -> dict:
    """What the manifest of a comparison sums up."""
    return json.loads((path / "manifest.json").read_text())["summary"]

"""select: rank units for a query: effects tested against nulls, FDR-controlled, near-duplicates grouped."""

from pathlib import Path

import jax.numpy as jnp

from linkjax import numerics
from linkjax.analysis.units import (
    selection,
)
from linkjax.analysis.units.sweep import Steps
from linkjax.errors import InputError
from linkjax.stages import inputs
from linkjax.stages.select.selecting import Selecting
from linkjax.stages.select.settings import Config
from linkjax.storage import artifacts


@numerics.float32_default()
def run(config: Config) -> None:
    """Write the selection: effects by (unit, part, metric), clusters, ablations, and the table of what was found."""
    swept = artifacts.Artifact(Path(config.sweep), "sweep")
    paths = {role: _given(config, swept, role) for role in ("link", "pairs", "classifier")}
    link = inputs.model(paths["link"], "link")
    artifacts.check_weights(swept.manifest, "link", link.sha256, f"the sweep in {config.sweep}")
    pairs = inputs.pairs(paths["pairs"])
    if swept.manifest["inputs"].get("pairs") != pairs.id:
        raise InputError(
            f"the sweep in {config.sweep} was made with other pairs than those in {pairs.path}; give those"
        )
    data = swept.open()
    of_readouts = "unit_out_name" in data
    classifier = None
    if config.ablation and not of_readouts:  # to set a readout to 0 says nothing of one set of activations
        classifier = inputs.model(paths["classifier"], "classifier")
        artifacts.check_weights(swept.manifest, "classifier", classifier.sha256, f"the sweep in {config.sweep}")
    if of_readouts:
        along, steered = Steps(jnp.asarray(swept.read("steer"))), None
    else:
        along = inputs.raising(link, paths["link"], inputs.directions_of(swept))
        steered = None if inputs.directions_of(swept) == "kernel" else inputs.steered(link)
    names = tuple(artifacts.names(data, name) for name in ("part", "metric"))
    if config.query is not None:  # a typing error need not wait for the work
        selection.check(config.query, names[0], names[1])
    made_from = {"sweep": swept.id, "pairs": pairs.id}
    with artifacts.Writer(
        Path(config.out),
        "selection",
        config,
        swept.manifest["weights"],
        made_from,
        free=("batch_size",),
        precision=swept.manifest["precision"],
        classes=inputs.class_names(pairs, None),
    ) as writer:
        head = None if classifier is None else classifier.model
        Selecting(config, writer, swept, pairs, along, head, steered).run()


def _given(config: Config, swept: artifacts.Artifact, role: str) -> str:
    """A folder from the settings, or from those of the sweep."""
    given = getattr(config, role)
    found = given or swept.manifest["config"].get(role)
    if not given and not (found and Path(found).exists()):
        rest = ", or --no-ablation" if role == "classifier" else ""
        if role == "classifier" and not (config.ablation and "readouts" not in swept.manifest["inputs"]):
            return ""
        raise InputError(f"{role}: the sweep was made with {found}, which is not there now; give --{role}{rest}")
    return str(found)

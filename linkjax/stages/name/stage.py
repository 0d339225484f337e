"""name: words for what raising units adds to pictures, and for the pictures of highest activation."""

from pathlib import Path
from typing import Any

import numpy as np

from linkjax import numerics
from linkjax.analysis.names.interventional import rises
from linkjax.errors import InputError, shown
from linkjax.stages import inputs, layers
from linkjax.stages.name.naming import Naming, Raised
from linkjax.stages.name.settings import Config
from linkjax.storage import artifacts, word_vectors
from linkjax.storage.swept_values import read_asked


@numerics.float32_default()
def run(config: Config) -> None:
    """Write names by intervention and by observation, with cosines and changes behind them, and names.csv."""
    swept = artifacts.Artifact(Path(config.sweep), "sweep")
    data, made = swept.open(), swept.manifest["config"]
    embedder = inputs.embedder(config.embedder)
    words = word_vectors.read(Path(config.words or Path(config.embedder) / word_vectors.FILE))
    if words.vectors.shape[1] != embedder.model.spec.num_units:
        raise InputError(
            f"{config.words or config.embedder}: words have vectors of {words.vectors.shape[1]} numbers, images of "
            f"{embedder.model.spec.num_units}; give words of the embedder's own text tower"
        )
    generator = inputs.model(_given(config, made, "generator"), "generator", made.get("precision", "float32"))
    link_path = _given(config, made, "link")
    link = inputs.model(link_path, "link")
    for role, model in (("generator", generator), ("link", link)):
        artifacts.check_weights(swept.manifest, role, model.sha256, f"the sweep in {config.sweep}")
    pairs = inputs.pairs(_given(config, made, "pairs"), generator)
    if swept.manifest["inputs"].get("pairs") != pairs.id:
        raise InputError(f"the sweep in {config.sweep} was made with other pairs than {pairs.path}; give those")
    segmenter, parts = _parts(config, swept, data, generator)
    raised, readouts = _raised(config, swept, data, link, link_path, pairs, generator)
    weights = {"generator": generator.sha256, "link": link.sha256, "embedder": embedder.sha256}
    weights |= {} if segmenter is None else {"segmenter": segmenter.sha256}
    with artifacts.Writer(
        Path(config.out),
        "names",
        config,
        weights,
        {"sweep": swept.id, "pairs": pairs.id, "word list": words.sha256},
        free=("batch_size",),
        precision=swept.manifest["precision"],
        classes=inputs.class_names(pairs, None),
    ) as writer:
        models = (generator.model, embedder.model, None if segmenter is None else segmenter.model)
        known = _changes(swept, data, embedder, raised) if not parts else None
        Naming(config, writer, models, words, raised, parts, pairs, readouts, known).run()


def _changes(
    swept: artifacts.Artifact, data: Any, embedder: inputs.Model, raised: Raised
) -> dict[str, np.ndarray] | None:
    """Changes of embeddings along units and random directions that the sweep kept; None if it was of no, or another,
    embedder.
    """
    if swept.manifest["weights"].get("embedder") != embedder.sha256 or "embedding_change" not in data:
        return None
    names = {"change": "embedding_change", "random_change": "random_embedding_change"}
    return {name: swept.read(stored)[:, raised.samples, None].swapaxes(1, 2) for name, stored in names.items()}


def _given(config: Config, made: dict[str, Any], role: str) -> str:
    """A folder from the settings, or from those of the sweep."""
    path = getattr(config, role) or made.get(role)
    if not path or not Path(path).exists():
        raise InputError(f"{role}: the sweep was made with {path}, which is not there now; give --{role}")
    return str(path)


def _parts(
    config: Config, swept: artifacts.Artifact, data: Any, generator: inputs.Model
) -> tuple[inputs.Model | None, dict[str, int]]:
    """The segmenter, where parts are asked for, and name → label of each."""
    if not config.parts:
        return None, {}
    segmenter = inputs.segmenter(_given(config, swept.manifest["config"], "segmenter"), generator)
    artifacts.check_weights(swept.manifest, "segmenter", segmenter.sha256, f"the sweep in {config.sweep}")
    known = inputs.part_names(segmenter.model)
    unknown = [part for part in config.parts if part not in known]
    if unknown:
        raise InputError(f"parts: expected some of {', '.join(known)}, found {shown(unknown[0])}")
    return segmenter, {part: known.index(part) for part in config.parts}


def _raised(
    config: Config, swept: artifacts.Artifact, data: Any, link: inputs.Model, link_path: str,
    pairs: artifacts.Artifact, generator: inputs.Model,
) -> tuple[Raised, Any]:  # fmt: skip
    """What was raised in the sweep, found again, and the readouts, if it was of these.

    Raises: InputError if the sweep does not hold what is needed, or the anchors are others.
    """
    made = swept.manifest["config"]
    if made.get("directions") == "local":
        raise InputError(
            f"the sweep in {config.sweep} raised each unit by another step in every sample, and names are of one step; "
            "sweep along --directions steer"
        )
    if "random_step" not in data:
        why = "has no random directions" if not made.get("random_directions") else "is of an older linkjax"
        raise InputError(f"the sweep in {config.sweep} {why}, so no name can be tested; make it again with them")
    label, sample_id = (swept.read(name) for name in ("label", "sample_id"))
    encoding = None
    if made.get("encoding"):
        encoding = artifacts.Artifact(Path(_given(config, made, "encoding")), "encoding")
    classes = tuple(dict.fromkeys(label.tolist()))
    anchors = inputs.anchors(pairs, encoding, made["samples"], classes, made.get("split", "test"))
    if not (np.array_equal(anchors["label"], label) and np.array_equal(anchors["sample_id"], sample_id)):
        raise InputError(f"{pairs.path}: these are not the pairs that the sweep in {swept.path} started from")
    if config.samples is not None and config.samples > made["samples"]:
        raise InputError(f"samples: expected at most the sweep's {made['samples']} a class, found {config.samples}")
    first = np.concatenate([np.flatnonzero(label == each)[: config.samples] for each in classes])
    rows, live = swept.read("unit"), swept.read("flag") == 0
    r, readouts = anchors["r"], None
    if "unit_out_name" in data:
        classifier = inputs.model(_given(config, made, "classifier"), "classifier")
        readouts = inputs.readouts(tuple(made["readouts"]), classifier, link, pairs)
        if readouts.sha256 != swept.manifest["inputs"].get("readouts"):
            raise InputError(f"the sweep in {config.sweep} is of other readouts than {', '.join(made['readouts'])}")
        r, kernel = readouts.values(r), swept.read("steer")
    else:
        along = inputs.raising(link, link_path, inputs.directions_of(swept))
        kernel = getattr(along, "kernel", None)
        if kernel is None:
            raise InputError(
                f"{link_path}: names are of linear steps; sweep along --directions steer, or a linear link"
            )
        kernel = np.asarray(kernel[...])
    w = anchors["w"]
    if made.get("mode") == "absolute":
        w = np.asarray(link.model(anchors["r"]))
    asked = read_asked(swept, data)[:, :, [0, -1]] - r[:, rows][:, :, None]
    names = artifacts.names(data, "unit_name") if "unit_name" in data else None
    mask = layers.mask(made["layers"], generator.model.spec) if made.get("layers") else None
    place = {unit: row for row, unit in enumerate(rows.tolist())}
    template_unit = np.array([place[unit] for unit in swept.read("random_unit").tolist()], int)
    rising = rises(*(swept.read(name) for name in ("fidelity", "fidelity_se"))) & live
    raised = Raised(
        rows, live, rising, names, first, w[first], label[first], asked[first].astype(np.float32), kernel[rows],
        swept.read("random_step"), template_unit, mask,
    )  # fmt: skip
    return raised, readouts

"""What stages read: models and artifacts, checked to belong together before any work starts."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from linkjax import numerics
from linkjax.analysis.links import steering
from linkjax.analysis.metrics import measurements, parts
from linkjax.analysis.units.candidates import strongest_units
from linkjax.analysis.units.shared_directions import Shared, shared_directions
from linkjax.errors import InputError
from linkjax.models.link import AlongSteer, SweepDirections, along
from linkjax.outside import class_map
from linkjax.stages import readouts as reading
from linkjax.stages import rows
from linkjax.storage import artifacts, coordinates, loading, word_vectors

#: Classes of the pairs that a stage works on: some, all, or those that its link was fitted on.
Classes = tuple[int, ...] | Literal["link", "all"]


class Model(NamedTuple):
    """A loaded model and its manifest."""

    model: Any
    manifest: dict[str, Any]

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights."""
        return self.manifest["sha256"]


def model(path: str, kind: str, precision: numerics.Precision = "float32") -> Model:
    """Load a generator (to draw in `precision`), classifier (imported or not), link or segmenter, of any kind."""
    kinds = {
        "classifier": ("classifier", "graph_classifier"),
        "link": ("link", "mlp_link"),
        "segmenter": ("segmenter", "linear_segmenter"),
    }.get(kind, (kind,))
    found = Model(*loading.load_with_manifest(path, kinds))
    return found._replace(model=found.model.with_precision(precision)) if kind == "generator" else found


def embedder(path: str) -> Model:
    """Load the image tower of an image–text model.

    Raises: InputError if the folder holds none.
    """
    if not (Path(path).expanduser() / word_vectors.FILE).is_file():
        raise InputError(f"{path}: expected a folder of linkjax convert embedder, found no {word_vectors.FILE} there")
    return model(path, "classifier")


def precision_name(generator: Model) -> str:
    """How a generator draws, as manifests tell it."""
    return numerics.policy(generator.model.precision).description


def pairs(path: str, generator: Model | None = None, classifier: Model | None = None) -> artifacts.Artifact:
    """Open pairs and check that they were made with these models, in the generator's precision."""
    found = artifacts.Artifact(Path(path), "pairs")
    for role, given in (("generator", generator), ("classifier", classifier)):
        if given is not None:
            artifacts.check_weights(found.manifest, role, given.sha256, f"the pairs in {path}")
    if generator is not None:
        artifacts.check_precision(found.manifest, precision_name(generator), f"the pairs in {path}")
    return found


def segmenter(path: str, generator: Model) -> Model:
    """Load a segmenter and check that it reads this generator's features.

    Raises: InputError if it was trained on another generator's, or needs layers this one does not have.
    """
    found = model(path, "segmenter")
    parts.check_fit(generator.model.spec, found.model.spec)
    made_with = {"weights": found.manifest["source"].get("weights") or {}}  # a converted one does not know
    artifacts.check_weights(made_with, "generator", generator.sha256, f"the segmenter in {path}")
    if made_with["weights"]:
        artifacts.check_precision(found.manifest, precision_name(generator), f"the segmenter in {path}")
    return found


def part_names(segmenter: Any) -> tuple[str, ...]:
    """Names of a segmenter's parts; numbers where it has none."""
    return segmenter.spec.part_names or tuple(f"part {i}" for i in range(segmenter.spec.num_parts))


def check_link(link: Model, link_path: str, of_pairs: artifacts.Artifact) -> None:
    """Check that a link was fitted on these pairs' models: the same generator and classifier.

    Raises: InputError if not.
    """
    source = link.manifest["source"]
    for role, sha256 in of_pairs.manifest["weights"].items():
        artifacts.check_weights({"weights": source}, role, sha256, f"the link in {link_path}")
    artifacts.check_precision(link.manifest, of_pairs.manifest["precision"], f"the link in {link_path}")
    units, w_dim = of_pairs.summary["units"], of_pairs.summary["w_dim"]
    if (link.model.spec.units, link.model.spec.w_dim) != (units, w_dim):
        raise InputError(
            f"the link in {link_path} maps {link.model.spec.units} units to {link.model.spec.w_dim} values of w, but "
            f"the pairs in {of_pairs.path} hold {units} and {w_dim}; fit a link on these pairs"
        )


def raising(link: Model, link_path: str, directions: SweepDirections) -> Any:
    """The link as units are raised along it.

    Raises: InputError naming the link, if it has no such directions.
    """
    try:
        return raised(link.model, directions)
    except InputError as error:
        raise InputError(f"{link_path}: {error}") from None


def raised(link: Any, directions: SweepDirections) -> Any:
    """As `raising`, of a link in memory; local steps are each sample's, and stand beside the link's."""
    if directions == "own":
        steps = shared(steered_by(link)).own
        if not np.isfinite(steps).all(axis=1).any():
            raise InputError(
                "expected a link of which some units have a direction beside those that many share, found none; "
                "raise them along --directions steer"
            )
        return AlongSteer(link, steps)
    return along(link, "kernel" if directions == "kernel" else "steer")


def steered(link: Model) -> tuple[steering.Spectrum, float]:
    """What a link's steering directions came from, and their λ."""
    return steered_by(link.model)


def steered_by(link: Any) -> tuple[steering.Spectrum, float]:
    """As `steered`, of a link in memory.

    Raises: InputError if it has no steering directions.
    """
    if link.spec.steer_lambda is None:
        raise InputError(steering.NONE)
    return steering.of_link(link), float(link.spec.steer_lambda)


def shared(steered: tuple[steering.Spectrum, float]) -> Shared:
    """Directions that many units share, and each unit's own remainder: the ones of all stages."""
    return shared_directions(*steered)


def readouts(words: tuple[str, ...], classifier: Model, link: Model, of_pairs: artifacts.Artifact) -> reading.Named:
    """What `--readouts` asks for, classes by the names that the pairs know.

    Raises: InputError in one sentence.
    """
    return reading.resolve(words, classifier.model, link.model, coordinates.known_names(of_pairs.summary, "seen"))


def directions_of(made: artifacts.Artifact) -> SweepDirections:
    """Which directions a screening or a sweep raised units along; an older linkjax does not say: the kernel."""
    return made.summary.get("directions", "kernel")


def fitted_classes(link: Model, link_path: str, of_pairs: artifacts.Artifact) -> tuple[int, ...] | None:
    """Classes of the pairs that a link was fitted on, in the pairs' order; None: all of them, or it does not say.

    Raises: InputError if the pairs hold none of them.
    """
    known: list[int] = of_pairs.summary["classes"]
    fitted = link.manifest["source"].get("classes") or known
    chosen = tuple(label for label in known if label in set(fitted))
    if not chosen:
        raise InputError(
            f"the link in {link_path} was fitted on classes {list(fitted)[:10]}, of which the pairs in "
            f"{of_pairs.path} hold none; take a link that was fitted on some of them"
        )
    return None if len(chosen) == len(known) else chosen


def classes(wanted: Classes, link: Model, link_path: str, of_pairs: artifacts.Artifact) -> tuple[int, ...] | None:
    """Classes of the pairs to work on, in the pairs' order; None: all of them.

    Raises: InputError for classes that the pairs do not hold, or if they hold none of those the link was fitted on.
    """
    known: list[int] = of_pairs.summary["classes"]
    if wanted == "link":
        fitted = fitted_classes(link, link_path, of_pairs)
        if fitted is not None:
            print(f"classes: {len(fitted)} of the {len(known)} that the pairs hold, those the link was fitted on")
        return fitted
    if wanted == "all":
        return None
    rows.check_classes(of_pairs, wanted)
    return None if len(wanted) == len(known) else tuple(label for label in known if label in wanted)


def count_classes(wanted: Classes, known: int) -> int:
    """How many there are, at most, of so many that the pairs hold; a plan knows no link."""
    return min(len(wanted), known) if isinstance(wanted, tuple) else known


def rows_of(of_pairs: artifacts.Artifact, split: str, labels: tuple[int, ...] | None) -> np.ndarray:
    """Numbers of the rows of a split, ascending, of some classes or of all."""
    return np.concatenate([np.arange(*each) for each in rows.of_classes(of_pairs, split, labels)])


def class_names(of_pairs: artifacts.Artifact, labels: tuple[int, ...] | None) -> dict[str, list[Any]]:
    """What a summary says of classes: some of the pairs', or all, and what the classifier calls them."""
    summary = of_pairs.summary
    known = zip(summary["classes"], summary["class_names"], strict=True)
    found = [(label, name) for label, name in known if labels is None or label in labels]
    wanted = [label for label, _ in found]
    told = {name: summary[name] for name in ("seen_classes", "seen_class_names") if name in summary}
    if told:
        told["seen_as"] = as_seen(of_pairs, wanted).tolist()
    return {"classes": wanted, "class_names": [name for _, name in found], **told}


def as_seen(of_pairs: artifacts.Artifact, label: Any) -> np.ndarray:
    """What the classifier calls classes of the pairs, of the shape of `label`, int32; −1 where it has no such class.

    Pairs of before linkjax knew of two lists have one.
    """
    label, summary = np.asarray(label, np.int64), of_pairs.summary
    known = dict(zip(summary["classes"], summary.get("seen_as", summary["classes"]), strict=True))
    return np.array([known.get(int(each), class_map.NONE) for each in label.ravel()], np.int32).reshape(label.shape)


def _made_with(kind: str, path: str, weights: dict[str, str], of_pairs: artifacts.Artifact) -> artifacts.Artifact:
    """A result of these weights and pairs.

    Raises: InputError if it was made with others.
    """
    found = artifacts.Artifact(Path(path), kind)
    for role, sha256 in weights.items():
        artifacts.check_weights(found.manifest, role, sha256, f"the {kind} in {path}")
    if found.manifest["inputs"].get("pairs") != of_pairs.id:
        raise InputError(f"the {kind} in {path} was made with other pairs than {of_pairs.path}; make it with these")
    return found


def evaluation(
    path: str, weights: dict[str, str], of_pairs: artifacts.Artifact, labels: tuple[int, ...] | None
) -> artifacts.Artifact:
    """Open an evaluation and check that it is of these pairs and classes (none: all), made with these weights.

    Raises: InputError if not.
    """
    found = _made_with("evaluation", path, weights, of_pairs)
    wanted = of_pairs.summary["classes"] if labels is None else labels
    if set(found.summary["classes"]) != set(wanted):
        raise InputError(
            f"the evaluation in {path} is of classes {found.summary['classes'][:10]}, but the link was fitted on "
            f"{list(wanted)[:10]}; evaluate it on these (--classes link)"
        )
    return found


def encoding(path: str, weights: dict[str, str], of_pairs: artifacts.Artifact) -> artifacts.Artifact:
    """Open encoded photographs and check that they were made with these weights and compared with these pairs.

    Raises: InputError if not, or if the classifier had no classes.
    """
    found = _made_with("encoding", path, weights, of_pairs)
    if "prediction" not in found.open():
        raise InputError(f"the encoding in {path} has no classes, because its classifier has none to start from")
    return found


def screening(
    path: str, weights: dict[str, str], of_pairs: artifacts.Artifact, directions: SweepDirections,
    of_readouts: dict[str, str],
) -> artifacts.Artifact:  # fmt: skip
    """Open a screening and check that it was made with these weights, pairs and readouts, along these directions.

    Raises: InputError if not.
    """
    found = _made_with("screening", path, weights, of_pairs)
    if found.manifest["inputs"].get("readouts") != of_readouts.get("readouts"):
        raise InputError(f"the screening in {path} is of other readouts, or of units; give both the same --readouts")
    if directions_of(found) != directions:
        raise InputError(
            f"the screening in {path} raises units along {directions_of(found)}, the sweep along {directions}; give "
            f"both the same --directions"
        )
    return found


def candidates(screened: artifacts.Artifact, among: np.ndarray, count: int) -> np.ndarray:
    """The `count` units of strongest screened effect among some: of live ones, over all parts and metrics."""
    data = screened.open()
    effect, error, baseline, flag = (screened.read(name) for name in ("effect", "effect_se", "baseline", "flag"))
    spread = measurements.spread(baseline, artifacts.names(data, "metric"))
    return strongest_units(effect, spread, np.isin(np.arange(len(effect)), among) & (flag == 0), count, error)


def first_photographs(
    encoding: artifacts.Artifact, count: int, classes: tuple[int, ...] | None = None
) -> dict[str, np.ndarray]:
    """The first `count` photographs of each class the classifier sees in them, as `first_of_each_class` gives samples.

    A photograph has no latent of its own: `w` is what the link gives for it. `sample_id` is its row in the encoding.

    Raises: InputError if none was seen as one of `classes`.
    """
    seen = encoding.read("prediction")[:, 0]
    usable = (encoding.read("flag") == 0) & np.isfinite(encoding.read("distance"))
    wanted = np.unique(seen[usable]) if classes is None else classes
    rows = np.concatenate([np.flatnonzero(usable & (seen == label))[:count] for label in wanted]).astype(np.int64)
    if not len(rows):
        raise InputError(
            f"expected photographs seen as class {list(wanted)[:10]} in {encoding.path}, found none; "
            "ask for other classes"
        )
    found = {name: encoding.read(name, rows) for name in ("w", "r")}
    return {**found, "label": seen[rows], "sample_id": rows, "prediction": seen[rows]}


def anchors(
    pairs: artifacts.Artifact, encoding: artifacts.Artifact | None, count: int, classes: tuple[int, ...] | None,
    split: str = "test",
) -> dict[str, np.ndarray]:  # fmt: skip
    """What a sweep or a search starts from: samples of a split, or the photographs of an encoding."""
    if encoding is None:
        return first_of_each_class(pairs, split, count, classes)
    if classes is not None:
        seen = as_seen(pairs, classes)
        classes = tuple(np.unique(seen[seen >= 0]).tolist())
    return first_photographs(encoding, count, classes)


def units(wanted: tuple[int, ...] | str, count: int) -> np.ndarray:
    """Unit numbers, "all" resolved.

    Raises: InputError for units the classifier does not have.
    """
    if wanted == "all":
        return np.arange(count, dtype=np.int32)
    outside = [unit for unit in wanted if not 0 <= int(unit) < count]
    if outside:
        raise InputError(f"units: expected numbers from 0 to {count - 1}, found {outside[:5]}")
    return np.asarray(wanted, np.int32)


def spread_rows(
    pairs: artifacts.Artifact, name: str, split: str, most: int, labels: tuple[int, ...] | None = None
) -> np.ndarray:
    """At most `most` rows of a split, of some classes or all, evenly spread over it (rows lie class by class)."""
    among = rows_of(pairs, split, labels)
    chosen = np.unique(np.linspace(0, len(among) - 1, min(most, len(among))).round().astype(int))
    return pairs.read(name, among[chosen])


def rows_of_anchors(
    pairs: artifacts.Artifact, labels: np.ndarray, photographs: bool, most: int
) -> dict[str, np.ndarray]:
    """`r` and `label` of training samples of the anchors' classes, evenly spread; of all classes where none is known.

    Args:
      labels: of the anchors, in whose numbering the labels are: the classifier's for photographs, else the generator's.
    """
    known = np.asarray(pairs.summary["classes"])
    called = as_seen(pairs, known) if photographs else known
    own = np.isin(called, labels)
    wanted = None if own.all() or not own.any() else tuple(known[own].tolist())
    found = {name: spread_rows(pairs, name, "train", most, wanted) for name in ("r", "label")}
    return found | ({"label": as_seen(pairs, found["label"])} if photographs else {})


def first_of_each_class(
    pairs: artifacts.Artifact, split: str, count: int, classes: tuple[int, ...] | None = None
) -> dict[str, np.ndarray]:
    """The first `count` samples of each class of a split: `w`, `r`, `label`, `sample_id`, `prediction`.

    Raises: InputError if the split has fewer, or does not exist.
    """
    groups = [group for group in pairs.summary["groups"] if group["split"] == split]
    groups = [group for group in groups if classes is None or group["label"] in classes]
    short = [group for group in groups if group["accepted"] < count]
    if not groups or short:
        found = short[0]["accepted"] if short else 0
        raise InputError(
            f"samples: expected {count} of each class in the {split} split of {pairs.path}, found {found}; "
            f"ask for fewer, or make pairs with a larger --n-{split}"
        )
    rows = np.concatenate([np.arange(group["first_row"], group["first_row"] + count) for group in groups])
    return {name: pairs.read(name, rows) for name in ("w", "r", "label", "sample_id", "prediction")}

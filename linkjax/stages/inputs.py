"""What stages read: models and artifacts, checked to belong together before any work starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from linkjax import artifacts, loading
from linkjax.errors import InputError


class Model(NamedTuple):
    """A loaded model and its manifest."""

    model: Any
    manifest: dict[str, Any]

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights."""
        return self.manifest["sha256"]


def model(path: str, kind: str) -> Model:
    """Load a generator, classifier or link (linear or not)."""
    kinds = ("link", "mlp_link") if kind == "link" else (kind,)
    return Model(*loading.load_with_manifest(path, kinds))


def pairs(path: str, generator: Model | None = None, classifier: Model | None = None) -> artifacts.Artifact:
    """Open pairs and check that they were made with these models."""
    found = artifacts.Artifact(Path(path), "pairs")
    for role, given in (("generator", generator), ("classifier", classifier)):
        if given is not None:
            artifacts.check_weights(found.manifest, role, given.sha256, f"the pairs in {path}")
    return found


def check_link(link: Model, link_path: str, of_pairs: artifacts.Artifact) -> None:
    """Check that a link was fitted on these pairs' models: the same generator and classifier.

    Raises: InputError if not.
    """
    source = link.manifest["source"]
    for role, sha256 in of_pairs.manifest["weights"].items():
        artifacts.check_weights(source, role, sha256, f"the link in {link_path}")
    units, w_dim = of_pairs.summary["units"], of_pairs.summary["w_dim"]
    if (link.model.spec.units, link.model.spec.w_dim) != (units, w_dim):
        raise InputError(
            f"the link in {link_path} maps {link.model.spec.units} units to {link.model.spec.w_dim} values of w, but "
            f"the pairs in {of_pairs.path} hold {units} and {w_dim}; fit a link on these pairs"
        )


def class_names(pairs_summary: Mapping[str, Any]) -> dict[int, str]:
    """Class id → name, as the pairs stage was told; ids without a name are called by their number."""
    ids, given = pairs_summary["classes"], pairs_summary["class_names"]
    return {label: name for label, name in zip(ids, given, strict=True)}

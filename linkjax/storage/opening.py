"""`linkjax.open`: any stored result as an xarray dataset."""

from pathlib import Path

import numpy as np
import xarray as xr

from linkjax.errors import InputError
from linkjax.storage import artifacts, coordinates, loading
from linkjax.storage import manifest as manifests

_LINKS = ("link", "mlp_link")
_OF_STEERING = {
    "steer": ("unit", "w"),
    "covariance": ("w", "w_other"),
    "unit_std": ("unit",),
    "back": ("w", "unit"),
    "r2": ("unit",),
}


def open(path: str | Path) -> xr.Dataset:
    """A result of any stage, with names along its dimensions and its manifest in `.attrs`.

    Arrays are read when they are asked for. Beside the dimensions that bear names (`part`, `metric`, `method`,
    `class`), samples can be selected by `split`, `class_of` (the class's name) and `method_of`, readouts that were
    raised in the place of units by `unit_name`, one at a time:
    `linkjax.open("runs/dogs/pairs").sel(split="test").sel(class_of="pug")`.

    Args:
      path: the folder that a stage wrote; of a link, `kernel` [unit, w] and `bias` [w] where it is linear, and `steer`
        [unit, w] with what it was made from.
    Returns: the dataset; `.attrs` is the manifest (`kind`, `config`, `summary`, `weights`, `versions`, …).
    Raises: InputError if it is unfinished or damaged, or holds no arrays.
    """
    path = Path(path).expanduser()
    manifest = manifests.read(path)
    if manifest["kind"] in _LINKS:
        return _link(path)
    if not (path / artifacts.DATA).is_dir():
        raise InputError(
            f"{path}: expected a result with arrays, found {manifest['kind']}; linkjax.load reads models, a browser "
            "the page of a report"
        )
    return dataset_of(artifacts.Artifact(path, manifest["kind"]))


def dataset_of(artifact: artifacts.Artifact) -> xr.Dataset:
    """A result as `open` gives it.

    Raises: InputError if it is damaged.
    """
    dataset = artifact.open()
    artifact.check_whole()
    found = _of_samples(artifact, dataset)
    dataset = dataset.drop_vars([name for name in found if name in dataset])
    dataset = dataset.assign_coords({name: ("sample", values.astype(object)) for name, values in found.items()})
    for name in (*found, *({"unit_name"} & set(dataset.coords))):
        dataset = dataset.set_xindex(name)
    return dataset.assign_attrs(artifact.manifest)


def _of_samples(artifact: artifacts.Artifact, dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """What samples are called, [sample]: their split, class and method, where they have them."""
    found = {}
    if "splits" in artifact.summary:
        found["split"] = splits(artifact.summary["splits"], dataset.sizes["sample"])
    if "label" in dataset and dataset["label"].dims == ("sample",):
        label, place = np.unique(artifact.read("label"), return_inverse=True)
        kind = artifact.manifest["kind"]
        seen = kind in ("encoding", "counterfactual") or "encoding" in (artifact.manifest.get("inputs") or {})
        known = coordinates.known_names(artifact.summary, "seen" if seen else "class")
        if kind == "encoding":  # photographs of no known class
            known[-1] = ""
        found["class_of"] = coordinates.text(coordinates.called(label.tolist(), known))[place]
    if "method_of" in dataset:
        found["method_of"] = dataset["method"].values[artifact.read("method_of")]
    return found


def splits(rows: dict[str, list[int]], count: int) -> np.ndarray:
    """The split of every sample, [sample], from the rows that each split begins and ends at."""
    found = np.full(count, "", coordinates.TEXT)
    for split, (start, stop) in rows.items():
        found[start:stop] = split
    return found


def _link(path: Path) -> xr.Dataset:
    link, manifest = loading.load_with_manifest(path, _LINKS)
    arrays = {name: getattr(link, name) for name in _OF_STEERING}
    if manifest["kind"] == "link":
        arrays |= {"kernel": link.kernel[...], "bias": link.bias[...]}
    dims = {"kernel": ("unit", "w"), "bias": ("w",), **_OF_STEERING}
    given = {name: (dims[name], np.asarray(array)) for name, array in arrays.items() if array is not None}
    return xr.Dataset(given, attrs=manifest)

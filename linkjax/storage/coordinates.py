"""Names along the dimensions of a result: parts, metrics, methods and classes, selected by name in xarray.

Names are stored as Zarr's text. A dimension of classes, `class`, is named by what the summary of the result calls them;
their numbers stand beside as `class_id`. Older results kept names in an attribute, and numbers under `class`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

TEXT = np.dtypes.StringDType()
#: Dimensions of classes, each with the array of their numbers.
CLASSES = {"class": "class_id", "ablated_class": "ablated_class_id"}
_OLDER = "names"  # attribute of an older result's coordinate


def text(values: Any) -> np.ndarray:
    """Text of any length, as Zarr stores it; what is no Unicode is escaped."""
    values = np.asarray(values, object)
    safe = [str(value).encode("utf-8", "backslashreplace").decode() for value in values.ravel()]
    return np.array(safe, TEXT).reshape(values.shape)


def is_text(dtype: np.dtype) -> bool:
    """Whether an array holds text."""
    return dtype.kind in "TUO"


def called(ids: Iterable[int], names: Mapping[int, str]) -> list[str]:
    """What classes are called: by their names where they are known, else by their numbers; no two alike."""
    found = {int(label): name(int(label), names) for label in ids}
    times = Counter(found.values())
    return [text if times[text] == 1 else f"{text} ({label})" for label, text in found.items()]


def known_names(summary: Mapping[str, Any], which: str = "class") -> dict[int, str]:
    """Class → name, as a summary tells it.

    Args:
      summary: of a manifest.
      which: "class": the generator's, those that were sampled; "seen": the classifier's.
    """
    ids, names = (
        ("seen_classes", "seen_class_names") if which == "seen" and "seen_classes" in summary
        else ("classes", "class_names")
    )  # fmt: skip
    return {
        int(label): str(name) for label, name in zip(summary.get(ids) or (), summary.get(names) or (), strict=False)
    }


def of_classes(dimension: str, size: int, ids: np.ndarray | None, summary: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The coordinates of a dimension of classes: names, and numbers.

    Args:
      dimension: of CLASSES.
      size: how many there are.
      ids: their numbers; None: all of the classifier's.
      summary: what they are called.
    """
    generators = dimension == "class" and ids is not None
    ids = np.arange(size, dtype=np.int32) if ids is None else np.asarray(ids)
    names = called(ids.tolist(), known_names(summary, "class" if generators else "seen"))
    return {dimension: text(names), CLASSES[dimension]: ids}


def named(dataset: xr.Dataset, summary: Mapping[str, Any]) -> xr.Dataset:
    """A result as this linkjax writes it: names of older ones as values, their classes by name."""
    texts = {
        name: (variable.dims, text(variable.attrs[_OLDER]).reshape(variable.shape), _without(variable.attrs))
        for name, variable in dataset.variables.items()
        if _OLDER in variable.attrs
    }
    if texts:
        dataset = dataset.assign(texts)
    for dimension, numbers in CLASSES.items():
        if dimension not in dataset.dims or (dimension in dataset and is_text(dataset[dimension].dtype)):
            continue
        ids = dataset[dimension].values if dimension in dataset.coords else None
        made = of_classes(dimension, dataset.sizes[dimension], ids, summary)
        dataset = dataset.assign_coords({name: (dimension, made[name]) for name in (dimension, numbers)})
    return dataset


def names(dataset: xr.Dataset, coordinate: str) -> list[str]:
    """The texts of a coordinate."""
    return [str(name) for name in dataset[coordinate].values.ravel()]


def beside(dims: Mapping[str, Sequence[str]], texts: Iterable[str]) -> list[str]:
    """Arrays that are labels of a dimension without being its index: to be marked as coordinates."""
    labels = {*CLASSES.values(), *texts}
    return sorted(name for name, own in dims.items() if name in labels and len(own) == 1 and own[0] != name)


def name(label: int, names: Mapping[int, str]) -> str:
    """A class by its name where it is known, else by its number."""
    return names.get(label, f"class {label}" if label >= 0 else "unconditional")


def _without(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if key != _OLDER}

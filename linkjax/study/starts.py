"""Anchors of a sweep, a screening or a search: samples of stored pairs, or new ones."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from linkjax.analysis import pairs as sampling
from linkjax.devices import parallel
from linkjax.errors import InputError
from linkjax.ops.chunked import share_of
from linkjax.study.models import Study

_RANGE_ROWS = 8192  # training samples a unit's range is read from, evenly spread
_BATCH = 16  # images drawn at once by a device


def anchors(pairs: xr.Dataset, each: int = 4, classes: Sequence[int] | None = None, split: str = "test") -> xr.Dataset:
    """The first samples of each class of a split, and the training activations that units' ranges are read from.

    Args:
      pairs: as `linkjax.open` gives them.
      each: samples of a class.
      classes: numbers of the generator's classes; None: all that the pairs hold.
      split: "test", "val" or "train".
    Returns: by `sample`: `w` [sample, w], `r` [sample, unit], `label`, `sample_id`, and `seen`, the classifier's number
      of the class (what it sees, where it has no such class); by `trained`: `trained_r` [trained, unit],
      `trained_label`, of at most 8192 training samples. `.isel(sample=…)` takes some of them.
    Raises: InputError if these are no pairs, or hold too few samples of a class.
    """
    if "split" not in pairs.coords or "r" not in pairs:
        raise InputError("anchors: expected pairs, as linkjax.open gives the folder of linkjax pairs, found others")
    label, splits = pairs["label"].values, pairs["split"].values
    known = np.unique(label)
    wanted = known if classes is None else np.asarray(classes)
    if len(missing := np.setdiff1d(wanted, known)):
        raise InputError(f"classes: expected some of {known.tolist()[:20]}, found {missing.tolist()[:5]}")
    rows = []
    for one in wanted:
        mine = np.flatnonzero((label == one) & (splits == split))
        if len(mine) < each:
            raise InputError(f"each: expected at most {len(mine)}, as many as class {one} has in {split}, found {each}")
        rows.append(mine[:each])
    train = np.flatnonzero((splits == "train") & np.isin(label, wanted))
    if not len(train):
        raise InputError("anchors: expected pairs with a training split, which units' ranges are read from, found none")
    chosen = train[np.unique(np.linspace(0, len(train) - 1, min(_RANGE_ROWS, len(train))).round().astype(int))]
    summary = pairs.attrs.get("summary", {})
    names = {name: summary[name] for name in ("classes", "class_names") if name in summary}
    taken = np.concatenate(rows)
    w, r, own, ids = (pairs[name].values[taken] for name in ("w", "r", "label", "sample_id"))
    found = _start(w, r, own, ids, names)
    as_seen = dict(zip(summary.get("classes", ()), summary.get("seen_as", summary.get("classes", ())), strict=True))
    mapped = np.array([as_seen.get(int(one), -1) for one in label[taken]])
    found["seen"] = ("sample", np.where(mapped >= 0, mapped, pairs["prediction"].values[taken]).astype(np.int32))
    return _with_range(found, pairs["r"].values[chosen], label[chosen])


def sample(
    study: Study,
    key: jax.Array | int,
    classes: Sequence[int],
    each: int = 1,
    *,
    truncation: float = 1.0,
    range_samples: int = 20,
) -> xr.Dataset:
    """New samples of the generator, as `anchors` gives stored ones.

    Args:
      key: of JAX, or a number for `jax.random.key`; a sample depends on it, its class and its number alone.
      classes: numbers of the generator's classes; (−1,) of one without.
      each: samples of a class.
      truncation: ψ towards the mean w of the class, 0 … 1.
      range_samples: more samples of each class, to read units' ranges from.
    Raises: InputError for classes the generator does not have.
    """
    count = study.generator.spec.num_classes
    wrong = [one for one in classes if not (0 <= one < count if count else one == -1)]
    if wrong or not len(classes):
        raise InputError(f"classes: expected one or more from 0 to {count - 1}, found {wrong or 'none'}")
    number = np.tile(np.arange(each + range_samples), len(classes))
    label = np.repeat(np.asarray(classes, np.int32), each + range_samples)
    seed = int(jax.random.bits(jax.random.key(key) if isinstance(key, int) else key, dtype="uint32"))
    z = sampling.named_latents(seed, label, number, study.generator.spec.z_dim)
    drawn = map_study(
        sampling.draw, (study.generator, study.classifier), {"z": z, "label": label}, truncation=truncation
    )
    w, r = (np.asarray(values) for values in (drawn.w, drawn.r))
    own = number < each
    found = _start(w[own], r[own], label[own], number[own], {"classes": [int(one) for one in classes]})
    one_list = count == study.classifier.spec.num_classes
    found["seen"] = ("sample", label[own] if one_list else np.asarray(drawn.prediction)[own].astype(np.int32))
    return _with_range(found, r[~own], label[~own])


def map_study(function: Callable[..., Any], models: Any, items: dict[str, np.ndarray], **settings: Any) -> Any:
    """A function of models and items over all devices, images a multiple of the share that gives equal bits."""
    mesh = parallel.mesh()
    share = share_of(models[0].spec.resolution)
    size = parallel.round_up(_BATCH * mesh.size, mesh)
    return parallel.map_items(
        functools.partial(function, **settings), parallel.replicate(models, mesh), items, size, mesh, share=share
    )


def start_arrays(anchors: xr.Dataset) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Anchors and training activations as stages take them.

    Raises: InputError if the dataset was not made by `anchors` or `sample`.
    """
    missing = [name for name in ("w", "r", "label", "sample_id", "trained_r", "trained_label") if name not in anchors]
    if missing:
        raise InputError(f"anchors: expected what linkjax.anchors or linkjax.sample gives, found no {missing[0]}")
    own = {name: anchors[name].values for name in ("w", "r", "label", "sample_id")}
    return own, {"r": anchors["trained_r"].values, "label": anchors["trained_label"].values}


def _start(w: np.ndarray, r: np.ndarray, label: np.ndarray, sample_id: np.ndarray, names: dict[str, Any]) -> xr.Dataset:
    given = {"w": (("sample", "w"), w), "r": (("sample", "unit"), r)}
    given |= {"label": (("sample",), label), "sample_id": (("sample",), sample_id)}
    return xr.Dataset(given, attrs=names)


def _with_range(anchors: xr.Dataset, r: np.ndarray, label: np.ndarray) -> xr.Dataset:
    return anchors.assign({"trained_r": (("trained", "unit"), r), "trained_label": (("trained",), label)})

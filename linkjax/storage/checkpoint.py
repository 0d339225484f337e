"""Weights on disk: an Orbax checkpoint beside a manifest. The only file that imports Orbax.

FOLDER/manifest.json   kind, spec, SHA-256 of the weights, where they came from
FOLDER/weights/        Orbax (OCDBT), one array per leaf of the model, by dotted name
"""

import contextlib
import dataclasses
import hashlib
import os
import tempfile
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from linkjax.devices import cluster
from linkjax.errors import NO_ROOM, InputError, LinkjaxError
from linkjax.models import build, registry
from linkjax.models.hashing import arrays_sha256
from linkjax.storage import manifest as manifests
from linkjax.storage.claim import Claim

WEIGHTS = "weights"
_SPECIAL = frozenset("[]\\")  # in a path, these are something else to TensorStore


def save_model(
    path: Path,
    model: nnx.Module,
    *,
    source: Mapping[str, Any],
    files: Callable[[Path], None] | None = None,
    claim: Claim | None = None,
    precision: str | None = None,
) -> None:
    """Write a model so that `load_model` gives it back on any number of devices; whole or not at all.

    Args:
      path: folder to make; must not exist yet.
      model: a model of `linkjax.models.registry`, with its `spec`.
      source: where the weights came from (file name, SHA-256, licence, or the stage's settings and numbers).
      files: writes what else belongs into the folder (pictures, tables), before it gets its name.
      claim: on `path`, of a caller who has held it while working; one that is resumable (a link's, with its sums) must
        have rid its folder of weights that a killed run had begun to write. None: it is taken now, not resumable.
      precision: of the images it was made from, as a manifest tells it; none: float32.
    Raises: InputError if `path` exists or another run writes it; LinkjaxError if the disk does not take it.
    """
    if claim is None:
        with Claim(path, resumable=False) as own:
            return save_model(path, model, source=source, files=files, claim=own, precision=precision)
    assert claim.path == Path(path).absolute()
    cluster.on_first(lambda: _write(claim.partial, model, source, files, precision))
    claim.publish()


def _write(
    folder: Path,
    model: nnx.Module,
    source: Mapping[str, Any],
    files: Callable[[Path], None] | None,
    precision: str | None,
) -> None:
    """Everything the finished folder holds; of several processes the first does it."""
    arrays = {name: np.asarray(leaf) for name, leaf in build.leaves(model).items()}
    spec: Any = model.spec  # pyright: ignore[reportAttributeAccessIssue]
    _save_arrays(folder / WEIGHTS, arrays)
    _check_readable(folder, arrays, arrays_sha256(arrays))
    plain = _apart(spec, folder)
    content = manifests.build(
        registry.kind_of(model),
        precision=precision,
        spec=plain,
        sha256=_sha256(spec, arrays),
        parameters=sum(array.size for array in arrays.values()),
        source=dict(source),
    )
    if files is not None:
        files(folder)
    manifests.write(folder, content)


def _sha256(spec: Any, arrays: Mapping[str, Any]) -> str:
    """SHA-256 of a model's arrays, and of what else makes its numbers where its spec tells (`identity`)."""
    own = arrays_sha256(arrays)
    identity = getattr(spec, "identity", None)
    return own if identity is None else hashlib.sha256(f"{own} {identity}".encode()).hexdigest()


def _apart(spec: Any, folder: Path) -> dict[str, Any]:
    """A spec's fields for the manifest; those that its class keeps as files (`FILES`) are written beside it."""
    files = getattr(type(spec), "FILES", {})
    for name, (file, _) in files.items():
        manifests.write_whole(folder / file, getattr(spec, name).text)
    fields = (field.name for field in dataclasses.fields(spec) if field.name not in files)
    return {name: manifests.plain(getattr(spec, name)) for name in fields}


def _joined(cls: type, plain: Mapping[str, Any], folder: Path) -> Any:
    """The spec that `_apart` took apart."""
    files = getattr(cls, "FILES", {})
    return from_plain(cls, {**plain, **{name: read(folder / file) for name, (file, read) in files.items()}})


def _alone() -> dict[str, Any]:
    """Options of Orbax for this process alone, whatever others the job has: each reads for itself, the first writes."""
    import orbax.checkpoint as ocp

    if cluster.count() == 1:
        return {}
    alone = ocp.options.MultiprocessingOptions(
        primary_host=cluster.index(),
        active_processes={cluster.index()},
        barrier_sync_key_prefix=f"process{cluster.index()}",
    )
    return {"multiprocessing_options": alone}


def _checkpointer() -> Any:
    import orbax.checkpoint as ocp

    return ocp.StandardCheckpointer(**_alone())


@contextlib.contextmanager
def _manager(folder: Path, cleanup: bool) -> Iterator[Any]:
    """Orbax's manager of the checkpoints of one training, which keeps the last.

    Args:
      cleanup: remove what a killed run had begun to write.
    """
    import orbax.checkpoint as ocp

    options = ocp.CheckpointManagerOptions(
        max_to_keep=1, create=False, cleanup_tmp_directories=cleanup, enable_async_checkpointing=False, **_alone()
    )
    with _plain_path(folder) as path, ocp.CheckpointManager(path, options=options) as manager:
        yield manager


@contextlib.contextmanager
def _plain_path(folder: Path) -> Iterator[Path]:
    """A path to a folder (of weights, to be made or read) in which no character means anything else.

    TensorStore takes a backslash for a separator, and `[…]` for a pattern when it joins its files: where the name of a
    folder has one, it is reached through a link in a temporary folder.

    Raises: InputError where no such link can be made.
    """
    if not _SPECIAL & set(str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="linkjax-") as temporary:
        link = Path(temporary) / "link"
        try:
            if _SPECIAL & set(temporary):
                raise OSError("so has the temporary folder's")
            link.symlink_to(folder.parent, target_is_directory=True)
        except OSError as error:
            raise InputError(
                f"{folder.parent}: weights under a name with [, ] or a backslash are reached through a link in the "
                f"temporary folder, and none can be made ({error}); give a path without these"
            ) from None
        yield link / folder.name


def _restored(folder: Path, like: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays in a folder of weights, on the default device."""
    with _plain_path(folder) as path, _checkpointer() as checkpointer:
        return checkpointer.restore(path, _target(like))


def _target(like: Mapping[str, Any]) -> dict[str, jax.ShapeDtypeStruct]:
    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here) for name, leaf in like.items()}


def _check_readable(folder: Path, arrays: Mapping[str, np.ndarray], sha256: str) -> None:
    """Open what was just written as `load_model` would, before a manifest says that it is whole.

    Raises: LinkjaxError if it cannot be read, or reads otherwise.
    """
    try:
        found = _restored(folder / WEIGHTS, arrays)
        if arrays_sha256(found) != sha256:
            raise ValueError("SHA-256 differs")
    except Exception as error:  # Orbax and TensorStore raise many kinds; to a user they are one
        raise LinkjaxError(
            f"{folder}: the weights were written but cannot be read again ({_first_line(error)}); nothing was kept. "
            "Give an --out of plain letters, on another disk if it is so again"
        ) from None


def _save_arrays(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with _one_sentence(folder), _plain_path(folder) as path, _checkpointer() as checkpointer:
        checkpointer.save(path, dict(arrays))
    # Orbax notes the absolute path it wrote to; weights that are shared need not tell it.
    (folder / "commit_success.txt").write_text("Checkpoint commit was successful\n", encoding="utf-8")


@contextlib.contextmanager
def _one_sentence(folder: Path) -> Iterator[None]:
    """Turn what goes wrong while Orbax writes a folder into one sentence."""
    try:
        yield
    except (LinkjaxError, OSError):
        raise  # the command line has a sentence for both
    except Exception as error:  # Orbax and TensorStore raise many kinds; to a user they are one
        for code in NO_ROOM:
            if os.strerror(code) in str(error):
                raise OSError(code, os.strerror(code), str(folder)) from None
        raise LinkjaxError(
            f"{folder.parent}: the weights could not be written ({_first_line(error)}); make space or give another "
            "--out, and repeat the command"
        ) from None


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def save_state(folder: Path, step: int, arrays: Mapping[str, Any], note: Mapping[str, Any]) -> None:
    """Keep where a training is, `folder/step`, whole or not at all; the one before it goes.

    Args:
      step: larger than that of the last one.
      arrays: name → array; note: what JSON holds.
    """
    import orbax.checkpoint as ocp

    if not cluster.first():  # it writes for all, who hold the same
        return
    folder.mkdir(parents=True, exist_ok=True)
    on_host = {name: np.asarray(array) for name, array in arrays.items()}
    about = {"note": note, "sha256": arrays_sha256(on_host)}
    with _one_sentence(folder), _manager(folder, cleanup=True) as manager:
        items = ocp.args.Composite(arrays=ocp.args.StandardSave(on_host), note=ocp.args.JsonSave(about))
        if not manager.save(step, args=items):
            raise ValueError(f"a checkpoint of step {manager.latest_step()} is there already")


def latest_state(folder: Path, like: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Arrays and note of the last `save_state`, on the host; None if there is none.

    Args:
      like: arrays (or their shapes and dtypes) of the same names.
    Raises: InputError if it is damaged.
    """
    import orbax.checkpoint as ocp

    if not folder.is_dir():
        return None
    with _manager(folder, cleanup=False) as manager:
        step = manager.latest_step()
        if step is None:
            return None
        items = ocp.args.Composite(arrays=ocp.args.StandardRestore(_target(like)), note=ocp.args.JsonRestore())
        try:
            found = manager.restore(step, args=items)
            arrays = {name: np.asarray(leaf) for name, leaf in found["arrays"].items()}
            if arrays_sha256(arrays) != found["note"]["sha256"]:
                raise ValueError("SHA-256 differs")
        except Exception as error:  # Orbax and TensorStore raise many kinds; to a user they are one
            raise InputError(
                f"{folder.absolute() / str(step)}: this checkpoint of an unfinished training is damaged "
                f"({_first_line(error)}); remove {folder}"
            ) from None
    return arrays, found["note"]["note"]


def load_model(path: Path, kinds: tuple[str, ...] | None = None) -> tuple[Any, dict[str, Any]]:
    """Restore a model and its manifest; arrays go to the default device, whatever devices they were saved from.

    Raises: InputError if the folder is not a model of `kinds`, or if its weights are damaged or not its own.
    """
    path = Path(path).absolute()
    manifest = manifests.read(path, registry.KINDS if kinds is None else kinds)
    cls, spec_cls = registry.classes(manifest["kind"])
    try:
        spec = _joined(spec_cls, manifest["spec"], path)
        expected = build.shapes(cls, spec)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: its manifest does not describe a {manifest['kind']} of this linkjax ({error})"
            + manifests.made_by_other(manifest)
        ) from None
    try:
        arrays = _restored(path / WEIGHTS, expected)
    except InputError:
        raise
    except Exception as error:  # Orbax and TensorStore raise many kinds; to a user they are one
        raise InputError(
            f"{path}: its weights are damaged or incomplete ({_first_line(error)}); convert or fit them again"
        ) from None
    if _sha256(spec, {name: np.asarray(array) for name, array in arrays.items()}) != manifest["sha256"]:
        raise InputError(f"{path}: its weights are not those its manifest names (SHA-256 differs); make it again")
    return build.fill(cls, spec, arrays), manifest


def from_plain(cls: type, value: Any) -> Any:
    """A frozen dataclass (nested ones and tuples of them too) from what JSON made of it.

    Raises: TypeError or KeyError on fields that do not fit.
    """
    hints = typing.get_type_hints(cls)
    names = {field.name for field in dataclasses.fields(cls)}
    unknown = set(value) - names
    if unknown:
        raise KeyError(f"unknown fields {sorted(unknown)}")
    return cls(**{name: _restore(hints[name], item) for name, item in value.items()})


def _restore(hint: Any, value: Any) -> Any:
    if isinstance(hint, type) and isinstance(value, hint):
        return value
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _restore(next(arg for arg in args if arg is not type(None)), value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value)
    if origin is tuple:
        inner = [args[0]] * len(value) if len(args) == 2 and args[1] is Ellipsis else args
        return tuple(_restore(each, item) for each, item in zip(inner, value, strict=True))
    return value

"""Labelled arrays on disk: Zarr arrays with named dimensions beside a manifest, opened with xarray.

    FOLDER/manifest.json   settings, weights, inputs, versions; written last
    FOLDER/data.zarr/      the arrays; every chunk carries a CRC-32C, so a damaged one is found when it is read
    FOLDER/config.toml     the resolved settings, to be fed back with --config

A run writes into `FOLDER.partial`, notes each finished chunk of work, and renames the folder when all is there: a
killed run leaves nothing that could be taken for whole, and the same command goes on where it stopped. Whatever the
moment of the kill: a chunk of an array is written beside the old one and renamed, a note is one line with a checksum,
and the notes go only after the folder has its name.
"""

import contextlib
import functools
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.storage import LocalStore

from linkjax import config as configs
from linkjax import numerics
from linkjax.devices import cluster
from linkjax.errors import InputError
from linkjax.storage import coordinates
from linkjax.storage import manifest as manifests
from linkjax.storage.arrays import Arrays, StoredArray
from linkjax.storage.claim import RUN, Claim
from linkjax.storage.coordinates import names as names
from linkjax.storage.notes import sealed, unsealed

DATA = "data.zarr"
_DONE = "done.jsonl"  # in an unfinished folder: one line per finished chunk of work
WORK = "work"  # in an unfinished model: what its stage has reached so far
_DAMAGED = "remove {path} to start anew, or give another --out"


class Artifact:
    """A finished folder: its manifest and its arrays."""

    def __init__(self, path: Path, kind: str):
        self.path = Path(path).absolute()
        self.manifest = manifests.read(self.path, (kind,))
        self._whole: set[str] = set()  # arrays of which no chunk is missing

    @property
    def id(self) -> str:
        """Names the artifact by its content's settings, weights and inputs."""
        return self.manifest["id"]

    @property
    def summary(self) -> dict[str, Any]:
        """The main numbers, as the stage reported them."""
        return self.manifest["summary"]

    def open(self) -> xr.Dataset:
        """The arrays, read lazily, chunk by chunk, with names along their dimensions.

        Raises: InputError if what describes them is damaged or missing.
        """
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message="Object at")  # zarr's for an array that nothing describes
                # A store, not a path: xarray takes a path with :: in it for a chain of addresses.
                found = xr.open_zarr(LocalStore(self.path / DATA), consolidated=False, chunks=None)
                found = coordinates.named(found, self.summary)
        except (ValueError, KeyError, TypeError, OSError, UserWarning) as error:
            raise InputError(f"{self.path}: its arrays are damaged or missing ({error}); make it again") from None
        for name, variable in found.variables.items():
            if coordinates.is_text(variable.dtype):  # missing chunks would read as empty names
                self._check_whole(str(name))
        return found

    @functools.cached_property
    def _opened(self) -> xr.Dataset:
        return self.open()

    def read(self, name: str, rows: Any = slice(None)) -> np.ndarray:
        """Rows of one array in memory.

        Raises: InputError if a chunk is damaged or missing.
        """
        dataset = self._opened
        if name not in dataset and name in self.manifest.get("chunks", {}):
            raise InputError(f"{self.path}: the array '{name}' is missing; make it again")
        try:
            self._check_whole(name)
            return dataset[name][rows].values
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError(f"{self.path}: a stored chunk of '{name}' is damaged ({error}); make it again") from None

    def check_whole(self) -> None:
        """Look whether every stored chunk is there.

        Raises: InputError naming the first array that misses some.
        """
        for name in self.manifest.get("chunks", {}):
            self._check_whole(name)

    def _check_whole(self, name: str) -> None:
        """Missing chunks would read as NaN or 0; how many there must be is in the manifest."""
        expected = self.manifest.get("chunks", {}).get(name)
        if expected is None or name in self._whole:
            return
        found = _stored_chunks(zarr.open_group(self.path / DATA, mode="r"), name)
        if found != expected:
            raise InputError(f"{self.path}: {found} of {expected} stored chunks of '{name}' are there; make it again")
        self._whole.add(name)


class Writer:
    """An output folder being made; a context manager that leaves it resumable unless `finish` was called.

    Args:
      path: the folder to make; must not exist.
      kind: what it will be ("pairs", "evaluation", "sweep", …).
      config: the resolved settings of the stage (a dataclass).
      weights: role → SHA-256 of the weights used.
      inputs: role → id of the artifacts used.
      free: settings that do not move a result, so that a resumed run may change them.
      precision: as the manifest of what was made before tells it; none: that of the stage's own setting, if it has one.
      classes: `classes` and `class_names` for the summary, and for dimensions of classes.
    Raises: InputError if the folder exists, if another run writes it, or if an unfinished one has other settings.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        config: Any,
        weights: Mapping[str, str],
        inputs: Mapping[str, str] | None = None,
        free: Sequence[str] = (),
        precision: str | None = None,
        classes: Mapping[str, Any] | None = None,
    ):
        self._claim, self._classes = Claim(path), dict(classes or {})
        self.path, self.partial = self._claim.path, self._claim.partial
        self.kind, self.config = kind, config
        self.precision = precision or numerics.policy(getattr(config, "precision", "float32")).description
        self._run = {"kind": kind, "config": manifests.plain(config), "weights": weights, "inputs": inputs or {}}
        # where it lies does not change what it is, nor where models and results lie that are named by what they hold
        held = configs.path_settings(type(config)).keys() & {*weights, *self._run["inputs"]}
        self._free = ("out", *free, *held)
        self._run["config"] = self._named_settings(self._run["config"])
        try:
            self._done: dict[str, Any] = cluster.on_first(self._resume)
            self.group = Arrays(zarr.open_group(self.partial / DATA, mode="r+"))
        except BaseException:
            self._claim.release()
            raise

    def array(
        self,
        name: str,
        dims: Sequence[str],
        shape: Sequence[int],
        dtype: Any,
        chunks: Sequence[int] | None = None,
        **attributes: Any,
    ) -> StoredArray:
        """Make a named array, or open the one an earlier, killed run left; as `group[name]` gives it."""
        cluster.on_first(lambda: self._make_array(name, dims, shape, dtype, chunks, attributes))
        return self.group[name]

    def _make_array(
        self,
        name: str,
        dims: Sequence[str],
        shape: Sequence[int],
        dtype: Any,
        chunks: Sequence[int] | None,
        attributes: Mapping[str, Any],
    ) -> None:
        group = self._root()
        if name in group:
            existing = group[name]
            assert isinstance(existing, zarr.Array) and existing.shape == tuple(shape), name
            return
        codecs = [ZstdCodec(level=1), Crc32cCodec()]
        group.create_array(
            name,
            shape=tuple(shape),
            dtype=np.dtype(dtype),
            chunks=tuple(chunks) if chunks is not None else tuple(max(1, n) for n in shape),
            dimension_names=tuple(dims),
            compressors=codecs,
            attributes=dict(attributes) or None,
            fill_value=float("nan") if np.issubdtype(np.dtype(dtype), np.floating) else None,
        )

    def put(self, name: str, dims: Sequence[str], values: Any, **attributes: Any) -> None:
        """Write a whole small array at once (a coordinate, a table of results)."""
        values = np.asarray(values)
        if coordinates.is_text(values.dtype):
            values = coordinates.text(values)
        self.array(name, dims, values.shape, values.dtype, **attributes)[...] = values

    def done(self, chunk: str) -> Any | None:
        """What was noted with a finished chunk of work; None if it is still to do."""
        return self._done.get(chunk)

    def mark(self, chunk: str, note: Any = True) -> None:
        """Note a chunk of work as finished, after its arrays were written, by all processes."""
        note = manifests.plain(note)
        cluster.barrier()
        cluster.on_first(lambda: manifests.append(self.partial / _DONE, sealed([chunk, note])))
        self._done[chunk] = note

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the manifest and give the folder its name: from here on it is whole."""
        cluster.barrier()
        cluster.on_first(lambda: self._write_manifest(manifests.plain({**self._classes, **summary})))
        self._claim.publish()
        cluster.on_first(self._forget)

    def open(self, name: str) -> IO[str]:
        """A text file beside the arrays, written line by line; of several processes only the first one's is kept."""
        path = self.partial / name if cluster.first() else os.devnull
        return open(path, "w", newline="", encoding="utf-8")

    def _write_manifest(self, summary: Mapping[str, Any]) -> None:
        self._name_dimensions(summary)
        group = zarr.open_group(self.partial / DATA, mode="r")
        content = {**self._run, "config": self.config}
        chunks = {name: _stored_chunks(group, name) for name in group.array_keys()}
        identity = manifests.fingerprint(self._run)
        manifest = manifests.build(**content, precision=self.precision, summary=summary, chunks=chunks, id=identity)
        configs.write_toml(self.partial / "config.toml", getattr(self.config, "stage", self.kind), self.config)
        manifests.write(self.partial, manifest)

    def _name_dimensions(self, summary: Mapping[str, Any]) -> None:
        """What classes are called, and one file that describes all arrays: xarray asks for it."""
        group = self._root()
        arrays: dict[str, Any] = dict(group.arrays())  # in Zarr's format 3, whose metadata names dimensions
        dims: dict[str, tuple[str, ...]] = {
            name: array.metadata.dimension_names or () for name, array in arrays.items()
        }
        sizes = {dim: size for name in arrays for dim, size in zip(dims[name], arrays[name].shape, strict=True)}
        for dimension, numbers in coordinates.CLASSES.items():
            if dimension in sizes:
                ids = np.asarray(arrays[numbers][...]) if numbers in arrays else None
                for name, values in coordinates.of_classes(dimension, sizes[dimension], ids, summary).items():
                    self._make_array(name, (dimension,), values.shape, values.dtype, None, {})
                    group[name][...] = values  # pyright: ignore[reportIndexIssue, reportArgumentType]
                    dims[name] = (dimension,)
        texts = [name for name, array in arrays.items() if coordinates.is_text(array.dtype)]
        group.attrs["coordinates"] = " ".join(coordinates.beside(dims, texts))
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Consolidated metadata"
            )  # not all programs know it: they need not
            zarr.consolidate_metadata(group.store)

    def _root(self) -> zarr.Group:
        """The group as this process alone sees it."""
        return zarr.open_group(self.partial / DATA, mode="r+", use_consolidated=False)

    def _named_settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that make the run what it is."""
        return {name: value for name, value in settings.items() if name not in self._free}

    def _forget(self) -> None:
        for name in (RUN, _DONE):  # after the rename: a run killed before it goes on where it was
            (self.path / name).unlink(missing_ok=True)

    def finish_model(self, save: Callable[[Claim], None]) -> None:
        """Give the folder its name as a model, which `save` writes and publishes; what the work left behind goes."""
        cluster.barrier()
        cluster.on_first(lambda: shutil.rmtree(self.partial / DATA, ignore_errors=True))
        save(self._claim)
        cluster.on_first(self._forget)
        cluster.on_first(lambda: shutil.rmtree(self.path / WORK, ignore_errors=True))

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._claim.release()
        if isinstance(error, ValueError) and "checksum" in str(error):  # zarr's word for it
            raise InputError(
                f"{self.partial}: a stored chunk is damaged ({error}); " + _DAMAGED.format(path=self.partial)
            ) from None

    def _resume(self) -> dict[str, Any]:
        """What an earlier, killed run noted as done."""
        self._check_same_run()
        zarr.open_group(self.partial / DATA, mode="a")
        return self._read_done()

    def _check_same_run(self) -> None:
        path, now = self.partial / RUN, manifests.plain(self._run)
        if not path.exists():
            for leftover in (DATA, _DONE):  # killed before it knew what it was
                target = self.partial / leftover
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            manifests.write_whole(path, json.dumps(now))
            return
        try:
            earlier = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            earlier = None
        if not isinstance(earlier, dict):
            raise InputError(
                f"{path}: expected what run this folder belongs to, found a damaged file; "
                + _DAMAGED.format(path=self.partial)
            )
        earlier["config"] = self._named_settings(earlier.get("config") or {})
        if earlier != now:
            other = manifests.differences(earlier, now)
            raise InputError(
                f"{self.partial}: an unfinished run with other settings lies here ({other}); "
                "repeat those settings to resume it, remove the folder to start anew, or give another --out"
            )
        for half in (self.partial / DATA).rglob("*.partial"):  # of a chunk that was being written, beside the old one
            half.unlink(missing_ok=True)

    def _read_done(self) -> dict[str, Any]:
        path = self.partial / _DONE
        done: dict[str, Any] = {}
        if not path.exists():
            return done
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):  # the last line of a killed run may be cut short: that chunk is done again
            os.truncate(path, len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                chunk, note = unsealed(line)
            except (ValueError, TypeError):
                raise InputError(
                    f"{path}: expected a note of finished work in line {number}, found a damaged one; "
                    + _DAMAGED.format(path=self.partial)
                ) from None
            done[chunk] = note
        return done


def _stored_chunks(group: zarr.Group, name: str) -> int:
    """How many chunks of an array lie on disk; those that hold nothing but the fill value do not."""
    array = group[name]
    assert isinstance(array, zarr.Array), name
    return array.nchunks_initialized


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to write small files into, which gets its name when all are there; nothing is resumed.

    Raises: InputError if `path` exists, cannot be made, or is being made by another run.
    """
    with Claim(path, resumable=False) as claim:
        yield claim.partial
        claim.publish()


def check_weights(manifest: Mapping[str, Any], role: str, sha256: str, what: str) -> None:
    """Refuse an input made with other weights.

    Raises: InputError naming both.
    """
    made_with = manifest["weights"].get(role)
    if made_with is not None and made_with != sha256:
        raise InputError(
            f"{what} was made with another {role} (SHA-256 {made_with[:12]}…) than the one given ({sha256[:12]}…); "
            f"give the {role} it was made with, or make it again"
        )


def check_precision(manifest: Mapping[str, Any], precision: str, what: str) -> None:
    """Refuse an input whose images were drawn in another precision.

    Args:
      precision: as manifests tell it (`numerics.Policy.description`).
    Raises: InputError naming both.
    """
    made_in = manifest.get("precision")
    if made_in is not None and made_in != precision:
        raise InputError(
            f"{what} was made in another precision ({made_in}) than asked for ({precision}); give the --precision it "
            "was made in, or make it again"
        )

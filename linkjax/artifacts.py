"""Labelled arrays on disk: Zarr arrays with named dimensions beside a manifest, opened with xarray.

    FOLDER/manifest.json   settings, weights, inputs, versions; written last
    FOLDER/data.zarr/      the arrays; every chunk carries a CRC-32C, so a damaged one is found when it is read
    FOLDER/config.toml     the resolved settings, to be fed back with --config

A run writes into `FOLDER.partial`, notes each finished chunk of work, and renames the folder when all is there: a
killed run leaves nothing that could be taken for whole, and the same command goes on where it stopped.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from linkjax import config as configs
from linkjax import manifest as manifests
from linkjax.errors import InputError

DATA = "data.zarr"
_RUN = "run.json"  # in an unfinished folder: what run it belongs to
_DONE = "done.jsonl"  # in an unfinished folder: one line per finished chunk of work
_LOCK = "lock"


class Artifact:
    """A finished folder: its manifest and its arrays."""

    def __init__(self, path: Path, kind: str):
        self.path = Path(path).absolute()
        self.manifest = manifests.read(self.path, (kind,))

    @property
    def id(self) -> str:
        """Names the artifact by its content's settings, weights and inputs."""
        return self.manifest["id"]

    @property
    def summary(self) -> dict[str, Any]:
        """The main numbers, as the stage reported them."""
        return self.manifest["summary"]

    def open(self) -> xr.Dataset:
        """The arrays, read lazily, chunk by chunk."""
        return xr.open_zarr(self.path / DATA, consolidated=False, chunks=None)

    def read(self, dataset: xr.Dataset, name: str, rows: Any = slice(None)) -> np.ndarray:
        """Rows of one array in memory.

        Raises: InputError if a chunk is damaged or missing.
        """
        try:
            return dataset[name][rows].values
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError(f"{self.path}: a stored chunk of '{name}' is damaged ({error}); make it again") from None


class Writer:
    """An output folder being made; a context manager that leaves it resumable unless `finish` was called.

    Args:
      path: the folder to make; must not exist.
      kind: what it will be ("pairs", "evaluation", "sweep", …).
      config: the resolved settings of the stage (a dataclass).
      weights: role → SHA-256 of the weights used.
      inputs: role → id of the artifacts used.
      free: settings that do not move a result, so that a resumed run may change them.
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
    ):
        self.path = Path(path).absolute()
        self.partial = manifests.partial(self.path)
        self.kind, self.config = kind, config
        self._run = {"kind": kind, "config": manifests.plain(config), "weights": weights, "inputs": inputs or {}}
        for name in ("out", *free):  # where it lies does not change what it is
            self._run["config"].pop(name, None)
        if self.path.exists():
            raise InputError(f"{self.path} exists already; give another --out, or remove it first")
        self._make_folder()
        self._lock = self._take_lock()
        self._check_same_run()
        (self.partial / _RUN).write_text(json.dumps(manifests.plain(self._run)), encoding="utf-8")
        self.group = zarr.open_group(self.partial / DATA, mode="a")
        self._done = self._read_done()

    def array(
        self,
        name: str,
        dims: Sequence[str],
        shape: Sequence[int],
        dtype: Any,
        chunks: Sequence[int] | None = None,
        **attributes: Any,
    ) -> zarr.Array:
        """Make a named array, or open the one an earlier, killed run left."""
        if name in self.group:
            existing = self.group[name]
            assert isinstance(existing, zarr.Array) and existing.shape == tuple(shape), name
            return existing
        codecs = [ZstdCodec(level=1), Crc32cCodec()]
        array = self.group.create_array(
            name,
            shape=tuple(shape),
            dtype=np.dtype(dtype),
            chunks=tuple(chunks) if chunks is not None else tuple(max(1, n) for n in shape),
            dimension_names=tuple(dims),
            compressors=codecs,
            attributes=attributes or None,
            fill_value=float("nan") if np.issubdtype(np.dtype(dtype), np.floating) else None,
        )
        return array

    def put(self, name: str, dims: Sequence[str], values: Any, **attributes: Any) -> None:
        """Write a whole small array at once (a coordinate, a table of results)."""
        values = np.asarray(values)
        if values.dtype.kind in "UO":  # names: fixed-width text is not yet a settled Zarr type, bytes are
            attributes["names"] = [str(item) for item in values.ravel()]
            values = np.arange(values.size).reshape(values.shape)
        self.array(name, dims, values.shape, values.dtype, **attributes)[...] = values

    def done(self, chunk: str) -> Any | None:
        """What was noted with a finished chunk of work; None if it is still to do."""
        return self._done.get(chunk)

    def mark(self, chunk: str, note: Any = True) -> None:
        """Note a chunk of work as finished, after its arrays were written."""
        note = manifests.plain(note)
        with open(self.partial / _DONE, "a", encoding="utf-8") as file:
            file.write(json.dumps([chunk, note]) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._done[chunk] = note

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the manifest and give the folder its name: from here on it is whole."""
        content = {**self._run, "config": self.config}
        manifest = manifests.build(**content, summary=summary, id=manifests.fingerprint(self._run))
        configs.write_toml(self.partial / "config.toml", self.kind_stage, self.config)
        for name in (_RUN, _DONE):
            (self.partial / name).unlink(missing_ok=True)
        manifests.write(self.partial, manifest)
        (self.partial / _LOCK).unlink(missing_ok=True)
        os.rename(self.partial, self.path)
        self._lock.close()

    @property
    def kind_stage(self) -> str:
        """The stage whose table the settings belong to."""
        return type(self.config).__module__.rsplit(".", 1)[-1]

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.close()

    def _make_folder(self) -> None:
        try:
            self.partial.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.path}: cannot make this folder ({error.strerror}); give another --out") from None

    def _take_lock(self) -> Any:
        try:
            lock = open(self.partial / _LOCK, "w")  # noqa: SIM115 - held until the run ends
        except OSError as error:
            raise InputError(f"{self.path}: cannot write here ({error.strerror}); give another --out") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise InputError(
                f"{self.path}: another run is writing it now; wait for it, or give another --out"
            ) from None
        return lock

    def _check_same_run(self) -> None:
        path = self.partial / _RUN
        if not path.exists():
            for leftover in (DATA, _DONE):  # killed before it knew what it was
                target = self.partial / leftover
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            return
        earlier: Any = None
        with contextlib.suppress(ValueError):
            earlier = json.loads(path.read_text(encoding="utf-8"))
        if earlier != manifests.plain(self._run):
            self._lock.close()
            differing = _differences(earlier, manifests.plain(self._run))
            raise InputError(
                f"{self.partial}: an unfinished run with other settings lies here ({differing}); repeat those "
                "settings to resume it, remove the folder to start anew, or give another --out"
            )

    def _read_done(self) -> dict[str, Any]:
        path = self.partial / _DONE
        done: dict[str, Any] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError):  # the last line of a killed run may be cut short
                    chunk, note = json.loads(line)
                    done[chunk] = note
        return done


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to write small files into, which gets its name when all are there; nothing is resumed.

    Raises: InputError if `path` exists or cannot be made.
    """
    path = Path(path).absolute()
    if path.exists():
        raise InputError(f"{path} exists already; give another --out, or remove it first")
    partial = manifests.partial(path)
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{path}: cannot make this folder ({error.strerror}); give another --out") from None
    try:
        yield partial
        os.rename(partial, path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def names(dataset: xr.Dataset, coordinate: str) -> list[str]:
    """The texts that belong to a coordinate written by `Writer.put` from strings."""
    return list(dataset[coordinate].attrs["names"])


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


def _differences(earlier: Any, now: Mapping[str, Any]) -> str:
    if not isinstance(earlier, dict):
        return "its record is damaged"
    old, new = _flat(earlier), _flat(now)
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return ", ".join(f"{key.removeprefix('config.')}: {old.get(key)} there, {new.get(key)} now" for key in changed[:5])


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix.rstrip("."): tree}
    return {name: leaf for key, item in tree.items() for name, leaf in _flat(item, f"{prefix}{key}.").items()}


def write_table(path: Path, table: xr.Dataset) -> None:
    """Columns of equal length as `path`.csv and `path`.parquet, of the same values and names."""
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    columns = {str(name): column.values.tolist() for name, column in table.items()}
    kinds = {"O": pyarrow.string(), "i": pyarrow.int64(), "b": pyarrow.bool_(), "f": pyarrow.float64()}
    schema = pyarrow.schema([(str(name), kinds[column.dtype.kind]) for name, column in table.items()])
    made = pyarrow.table(columns, schema=schema)
    pyarrow.csv.write_csv(made, path.with_suffix(".csv"))
    pyarrow.parquet.write_table(made, path.with_suffix(".parquet"))

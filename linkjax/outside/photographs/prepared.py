"""A data set that `tensorflow-datasets` has prepared on disk, such as imagenet2012 or imagenet_v2; never downloaded."""

import importlib.util
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.errors import InputError
from linkjax.outside.photographs.decode import Item
from linkjax.storage import manifest


class Prepared:
    """The images of one split, in stored order; labels are group places, named as the data set names them.

    Args:
      name: of the data set, with a configuration and version if wanted: imagenet_v2/matched-frequency:3.0.0.
      split: as TFDS writes it: test, validation[:10%], …
      data_dir: where it was prepared; none: TFDS's own default.
      samples: at most so many, evenly spread; 0 for all.
    Raises: InputError if the extra is not installed, or if the data set is unknown, not prepared there, or without
      images or the split.
    """

    def __init__(self, name: str, split: str, data_dir: str | None = None, samples: int = 0):
        try:
            tfds: Any = importlib.import_module("tensorflow_datasets")
        except ImportError:
            raise InputError(
                "dataset: reading one needs the extra `data` (tensorflow-datasets); "
                'pip install "linkjax[data]", or give a folder with --photographs'
            ) from None
        where = Path(data_dir).expanduser() if data_dir else None
        try:
            self._builder = tfds.builder(name, **({} if where is None else {"data_dir": str(where)}))
        except Exception as error:  # unknown names, versions, configurations: TFDS has a kind for each
            raise InputError(f"dataset: TFDS does not know {name!r} here ({_first_line(error)})") from None
        if not self._builder.info.splits:
            raise InputError(
                f"dataset: expected {name} prepared in {where or 'the default data_dir of TFDS'}, found nothing there; "
                "prepare it with `tfds build`, or give the folder that holds it with --data-dir"
            )
        if "image" not in self._builder.info.features:
            raise InputError(f"dataset: expected images in {name}, found {', '.join(self._builder.info.features)}")
        try:
            total = self._builder.info.splits[split].num_examples
        except Exception as error:
            raise InputError(
                f"split: expected one of {', '.join(self._builder.info.splits)}, found {split!r} ({_first_line(error)})"
            ) from None
        self._tfds, self._split, self._source = tfds, split, None
        count = min(samples, total) if samples else total
        self._rows = np.unique(np.linspace(0, total - 1, count).round().astype(int)) if count < total else None
        self._count = total if self._rows is None else len(self._rows)
        features = self._builder.info.features
        self.groups = tuple(getattr(features["label"], "names", None) or ()) if "label" in features else ()
        self.numbered = True  # labels of ImageNet's data sets are the classifiers' own class ids
        self.others = 0

    def __len__(self) -> int:
        return self._count

    @property
    def identity(self) -> str:
        """Names the data set, its version, configuration and split."""
        info = self._builder.info
        return manifest.fingerprint([info.full_name, self._split, self._count])

    def name(self, row: int | np.integer) -> str:
        """A photograph's place in the data set."""
        return f"{self._split}[{row if self._rows is None else self._rows[row]}]"

    def items(self, rows: Sequence[int] | np.ndarray) -> Iterator[Item]:
        """The photographs in some rows, ascending."""
        stored = [int(row if self._rows is None else self._rows[row]) for row in rows]
        for row, example in zip(rows, self._examples(stored), strict=True):
            content = example["image"]
            content = content.item() if isinstance(content, np.ndarray) else content
            label = int(example["label"]) if self.groups and "label" in example else -1
            yield Item(self.name(row), io.BytesIO(bytes(content)), label)

    def _examples(self, rows: list[int]) -> Iterator[Any]:
        """Stored examples with their images left as encoded bytes."""
        decoders = {"image": self._tfds.decode.SkipDecoding()}
        if "array_record" in str(self._builder.info.file_format).lower():
            if self._source is None:  # random access, and no TensorFlow needed
                self._source = self._builder.as_data_source(split=self._split, decoders=decoders)
            yield from (self._source[row] for row in rows)
            return
        if importlib.util.find_spec("tensorflow") is None:
            raise InputError(
                "dataset: it was prepared as TFRecord files, which only TensorFlow reads; pip install tensorflow, or "
                "prepare it with `tfds build --file_format=array_record`"
            )
        # TFRecord files are read from one end to the other: from the first of the rows to the last.
        data = self._builder.as_dataset(
            split=self._split, decoders=decoders, shuffle_files=False,
            read_config=self._tfds.ReadConfig(interleave_cycle_length=1),
        )  # fmt: skip
        wanted = set(rows)
        selected = data.skip(rows[0]).take(rows[-1] - rows[0] + 1)
        for row, example in enumerate(self._tfds.as_numpy(selected), start=rows[0]):
            if row in wanted:
                yield example


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

"""Search for inputs that break a reader, led by the coverage of its code (atheris; Linux, CPython up to 3.13).

  pip install atheris
  python scripts/files/fuzz_coverage.py READER [-runs=N] [-max_total_time=S]

READER is state_dict, safetensors, snapshot, preprocessing, names, mask_png, mask_npy, mask_json or class_map. What
follows the reader's name goes to libFuzzer. It begins with small sound files, and ends with exit code 77 and the
input beside it as soon as anything but linkjax's own one-sentence errors leaves the reader.
"""

import json
import os
import random
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(1, str(Path(__file__).parents[2] / "converters"))

with atheris.instrument_imports(include=["linkjax_converters", "linkjax.outside.masks", "linkjax.outside.class_map"]):
    from linkjax.outside import class_map, masks
    from linkjax_converters import class_names, preprocessing, state_dict
    from linkjax_converters.reader import snapshot

from linkjax.errors import InputError
from scripts.files import fuzz_weight_files
from tests.outside.masks import test_fuzz
from tests.reference import pickle_mutations

SIZE = 16  # of the pictures that masks belong to


def mask(path: Path) -> None:
    """The mask of one picture."""
    for labels in masks.read(path, (path.stem,), SIZE).labels.values():
        assert labels.shape == (SIZE, SIZE) and labels.min() >= -1


def classes(path: Path) -> None:
    """A map of two of ten classes to three."""
    found = class_map.of((4, 9), ("pug", "corgi"), 10, ("cat", "dog", "fox"), 3, str(path), needed=False)
    assert all(-1 <= each < 3 for each in found)


READERS = {
    **{f"mask_{kind}": (mask, f"000000.{kind}") for kind in ("png", "npy", "json")},
    "class_map": (classes, "map.csv"),
    "state_dict": (state_dict.read_state_dict, "x.pth"),
    "safetensors": (state_dict.read_state_dict, "x.safetensors"),
    "snapshot": (snapshot.read_snapshot, "x.pkl"),
    "preprocessing": (preprocessing.read_preprocessing, "config.json"),
    "names": (class_names.read_class_names, "names.json"),
}


def sound(what: str, folder: Path) -> list[bytes]:
    """Small whole files to begin with."""
    if what.startswith("mask_"):
        return test_fuzz.seeds(folder)[what.replace("mask_", ".")]
    if what == "class_map":
        return [b"4,dog\n9, 0\n", b'"pug","fox"\r\n']
    if what == "snapshot":
        return pickle_mutations.seeds(folder)
    if what == "safetensors":
        header, data = fuzz_weight_files.safetensors(random.Random(0))
        text = json.dumps(header).encode()
        return [len(text).to_bytes(8, "little") + text + data]
    if what == "state_dict":
        import torch

        weights = {"a.weight": torch.ones(2, 3), "b": torch.ones(2).half().t()}
        for zipped in (True, False):
            torch.save({"state_dict": weights, "epoch": 1}, folder / str(zipped), _use_new_zipfile_serialization=zipped)
        return [(folder / str(zipped)).read_bytes() for zipped in (True, False)]
    contents = fuzz_weight_files.PREPROCESSING if what == "preprocessing" else fuzz_weight_files.NAMES
    return [json.dumps(content).encode() for content in contents]


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in READERS:
        raise SystemExit(f"expected one of {', '.join(READERS)}\n{__doc__}")
    what = sys.argv.pop(1)
    read, name = READERS[what]
    folder = Path(tempfile.mkdtemp(prefix="linkjax-fuzz-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, content in enumerate(sound(what, folder)):
        (corpus / f"sound{number}").write_bytes(content)

    def one(data: bytes) -> None:
        (folder / name).write_bytes(data)
        try:
            read(folder / name)
        except InputError as error:
            if "\n" in str(error):
                raise AssertionError(f"many lines: {error}") from error

    os.chdir(folder)  # where libFuzzer puts what breaks
    atheris.Setup([sys.argv[0], *sys.argv[1:], str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

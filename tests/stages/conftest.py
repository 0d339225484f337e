"""One small run of every stage, shared by the tests of the stages."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import linkjax
from linkjax.cli import main
from linkjax.storage import artifacts, checkpoint, manifest
from tests import worlds
from tests.stages import photographs as files


@dataclasses.dataclass(frozen=True)
class World:
    """Folders of a finished small run."""

    folder: Path

    def __getattr__(self, name: str) -> str:
        return str(self.folder / name)

    @property
    def models(self) -> list[str]:
        """Flags that name the models."""
        return ["--generator", self.generator, "--classifier", self.classifier]

    @property
    def linked(self) -> list[str]:
        """Flags that name models, pairs and link."""
        return [*self.models, "--pairs", self.pairs, "--link", self.link]


PAIRS = ["--n-train", "24", "--n-val", "8", "--n-test", "8", "--truncation", "1", "--batch-size", "24"]
LINK = ["--method", "ridge", "--alphas", "0.1", "1", "10"]
EVALUATE = ["--shuffled-samples", "10", "--pictures", "4"]
SWEEP = ["--samples", "1", "--steps", "3", "--picture-units", "2", "--picture-samples", "2", "--random-directions", "4"]
LOCAL = ["--directions", "local", "--samples", "1", "--steps", "2", "--picture-units", "1", "--random-directions", "2"]
COUNTERFACTUAL = ["--samples", "1", "--max-steps", "20", "--check-every", "5", "--start", "zero", "--pictures", "3"]

ENCODE = ["--pictures", "4"]
SCREEN = ["--samples", "2", "--path-units", "2", "--path-points", "1"]
SELECT = ["--draws", "50", "--flips", "200", "--against", "sign", "--fdr", "0.3"]
NETWORK = ["--method", "mlp", "--hidden", "4", "--epochs", "1"]
CONGRUENCE = ["--paths", "4", "--steps", "3", "--draws", "20", "--permutations", "19"]
DEPTH = ["--layers", "layer1", "layer3", "--samples", "20", "--draws", "20", "--permutations", "19"]
PARTS = ("background", "left", "right")


def notes(partial: Path) -> list[str] | None:
    """Names of finished chunks; None before the stage has begun."""
    try:
        lines = (partial / "done.jsonl").read_text().split("\n")[:-1]
    except FileNotFoundError:
        return [] if partial.exists() else None
    names = [json.loads(line)[0][0] for line in lines]
    return [name for name in names if "per chunk" not in name]


def chunks_done(out: Path) -> list[str] | None:
    """The same of the run that makes `out`."""
    return notes(manifest.partial(out))


def do(*arguments: str) -> None:
    """A command that must succeed."""
    assert main([str(argument) for argument in arguments]) == 0


def assert_same_bits(path: str | Path, other: str | Path, kind: str) -> None:
    """Two results of one stage: every array equal to the bit."""
    found, expected = (artifacts.Artifact(each, kind) for each in (path, other))
    here, there = found.open(), expected.open()
    assert set(here.variables) == set(there.variables)
    for name in there.variables:
        np.testing.assert_array_equal(found.read(name), expected.read(name), err_msg=f"{kind}: {name}")


def half_masks(folder: Path, count: int = 4) -> Path:
    """Masks of so many pictures of 16 × 16: two parts, one below the other, the border elsewhere in each."""
    folder.mkdir()
    for picture in range(count):
        np.save(folder / f"{picture:06d}.npy", np.arange(256).reshape(16, 16) // (64 + 32 * picture) % 2)
    return folder


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    """Random models, and pairs, link, evaluation, sweep, counterfactual made from them with the command line."""
    made = World(tmp_path_factory.mktemp("world"))
    worlds.save(made.folder)
    do("pairs", *made.models, "--out", made.pairs, *PAIRS)
    do("link", "--pairs", made.pairs, "--out", made.link, *LINK)
    do("evaluate", *made.linked, "--out", made.evaluation, *EVALUATE)
    do("sweep", *made.linked, "--out", made.sweep, *SWEEP)
    do("counterfactual", *made.linked, "--out", made.counterfactual, *COUNTERFACTUAL)
    return made


@pytest.fixture(scope="session")
def photographs(world) -> Path:
    """A folder of photographs."""
    return files.folder(world.folder / "photographs", count=20)


@pytest.fixture(scope="session")
def segmenter(world) -> str:
    """A random segmenter with soft borders."""
    sha256 = manifest.read(world.folder / "generator")["sha256"]
    made = worlds.segmenter(linkjax.load(world.generator), PARTS)
    for kernel in made.kernels.values():
        kernel[...] = 0.1 * kernel[...]
    checkpoint.save_model(world.folder / "segmenter", made, source={"weights": {"generator": sha256}})
    return world.segmenter


@pytest.fixture(scope="session")
def encoding(world, photographs) -> str:
    """The photographs, encoded."""
    flags = ["--evaluation", world.evaluation, "--photographs", photographs, *ENCODE, "--batch-size", "8"]
    do("encode", *world.linked, *flags, "--out", world.encoding)
    return world.encoding


@pytest.fixture(scope="session")
def screening(world, segmenter) -> str:
    """All units of the link, screened."""
    do("screen", *world.linked, "--segmenter", segmenter, *SCREEN, "--batch-size", "8", "--out", world.screening)
    return world.screening


@pytest.fixture(scope="session")
def selection(world) -> str:
    """What is found in the sweep."""
    do("select", "--sweep", world.sweep, *SELECT, "--out", world.selection)
    return world.selection


@pytest.fixture(scope="session")
def local(world) -> str:
    """A sweep along steps of every anchor alone."""
    do("sweep", *world.linked, *LOCAL, "--motion", "none", "--batch-size", "24", "--out", world.local)
    return world.local


@pytest.fixture(scope="session")
def network(world) -> str:
    """A small network as link."""
    do("link", "--pairs", world.pairs, *NETWORK, "--out", world.network)
    return world.network


@pytest.fixture(scope="session")
def congruence(world, network) -> str:
    """The link's congruence, and the network's beside it."""
    do("congruence", *world.linked, "--other-link", network, *CONGRUENCE, "--out", world.congruence)
    return world.congruence


@pytest.fixture(scope="session")
def reached(world):
    """How deep the link reaches: its folder."""
    out = world.folder / "depth"
    do("depth", *world.models, "--pairs", world.pairs, *DEPTH, "--out", out)
    return out


@pytest.fixture
def killed_after(monkeypatch):
    """`killed_after(n)`: the next run is stopped when it asks for its (n + 1)-th batch, as by Ctrl-C."""
    from linkjax.devices import parallel

    original = parallel.map_batches

    def arm(count: int) -> None:
        left = iter(range(count))

        def stopping(function, models, batches, batch_size, on, share=0):
            for result in original(function, models, batches, batch_size, on, share):
                if next(left, None) is None:
                    raise KeyboardInterrupt
                yield result

        monkeypatch.setattr(parallel, "map_batches", stopping)

    yield arm
    monkeypatch.undo()

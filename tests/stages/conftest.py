"""One small run of every stage, shared by the tests of the stages."""

import dataclasses
from pathlib import Path

import pytest

from linkjax.cli import main
from tests import worlds


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
EVALUATE = ["--shuffled-samples", "10", "--pictures", "4"]
SWEEP = ["--samples", "1", "--steps", "3", "--picture-units", "2", "--picture-samples", "2", "--random-directions", "4"]
COUNTERFACTUAL = ["--samples", "1", "--max-steps", "20", "--check-every", "5", "--start", "zero", "--pictures", "3"]


def do(*arguments: str) -> None:
    """A command that must succeed."""
    assert main([str(argument) for argument in arguments]) == 0


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    """Random models, and pairs, link, evaluation, sweep, counterfactual made from them with the command line."""
    made = World(tmp_path_factory.mktemp("world"))
    worlds.save(made.folder)
    do("pairs", *made.models, "--out", made.pairs, *PAIRS)
    do("link", "--pairs", made.pairs, "--out", made.link, "--method", "ridge", "--alphas", "0.1", "1", "10")
    do("evaluate", *made.linked, "--out", made.evaluation, *EVALUATE)
    do("sweep", *made.linked, "--out", made.sweep, *SWEEP)
    do("counterfactual", *made.linked, "--out", made.counterfactual, *COUNTERFACTUAL)
    return made


@pytest.fixture
def killed_after(monkeypatch):
    """`killed_after(n)`: the next run is stopped when it asks for its (n + 1)-th batch, as by Ctrl-C."""
    from linkjax import parallel

    original = parallel.map_batches

    def arm(count: int) -> None:
        left = iter(range(count))

        def stopping(function, models, batches, batch_size, on):
            for result in original(function, models, batches, batch_size, on):
                if next(left, None) is None:
                    raise KeyboardInterrupt
                yield result

        monkeypatch.setattr(parallel, "map_batches", stopping)

    yield arm
    monkeypatch.undo()

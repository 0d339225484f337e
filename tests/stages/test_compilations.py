"""Programs are compiled once for each shape: whoever goes on, or starts again, does not wait for the compiler."""

import jax
import jax.numpy as jnp
import pytest

from tests.reference.compilations import compilations
from tests.stages.conftest import CONGRUENCE, COUNTERFACTUAL, ENCODE, EVALUATE, PAIRS, SCREEN, SELECT, SWEEP, do

FIRST = True  # before programs in memory are many and are given up
SHAPES = [*SWEEP, "--batch-size", "8", "--picture-units", "0", "--side-effects", "1"]


@pytest.fixture
def compiled():
    """Names of the programs compiled since the list was last cleared."""
    with compilations() as names:
        yield names


def test_what_is_compiled_is_seen(compiled):
    jax.jit(lambda x: x + 1.25)(jnp.zeros(3)).block_until_ready()
    assert compiled, "JAX no longer logs what it compiles: the tests below would see nothing"


def test_the_second_chunk_of_a_sweep_compiles_nothing(world, compiled, tmp_path):
    """One sweep of one chunk of 5 units, then one of three: whole, whole, and one that needs padding."""
    base = ["sweep", *world.linked, *SHAPES, "--random-directions", "0"]
    do(*base, "--units", *map(str, range(5)), "--out", str(tmp_path / "one"))
    assert compiled, "shapes that no other test has"
    compiled.clear()
    do(*base, "--units", *map(str, range(1, 14)), "--out", str(tmp_path / "three"))
    programs = [name for name in compiled if "draw_items" in name or "add_items" in name or "unit_results" in name]
    assert programs == []


@pytest.mark.parametrize("stage", ["pairs", "evaluate", "sweep", "counterfactual"])
def test_a_stage_run_again_compiles_nothing(world, compiled, tmp_path, stage):
    again = {
        "pairs": ["pairs", *world.models, *PAIRS],
        "evaluate": ["evaluate", *world.linked, *EVALUATE],
        "sweep": ["sweep", *world.linked, *SWEEP],
        "counterfactual": ["counterfactual", *world.linked, *COUNTERFACTUAL],
    }[stage]
    do(*again, "--out", str(tmp_path / stage))
    assert compiled == []


@pytest.mark.parametrize("stage", ["link", "encode", "screen", "select", "congruence", "segment"])
def test_nor_does_a_stage_whose_inputs_must_be_made(world, request, compiled, tmp_path, stage):
    """Each is run twice."""

    def made(name: str) -> str:
        return str(request.getfixturevalue(name))

    command = {
        "link": lambda: ["link", "--pairs", world.pairs, "--method", "ols"],
        "encode": lambda: ["encode", *world.linked, "--photographs", made("photographs"), *ENCODE],
        "screen": lambda: ["screen", *world.linked, "--segmenter", made("segmenter"), *SCREEN],
        "select": lambda: ["select", "--sweep", world.sweep, *SELECT],
        "congruence": lambda: ["congruence", *world.linked, "--other-link", made("network"), *CONGRUENCE],
        "segment": lambda: ["segment", "--generator", world.generator, "--draw", "3"],
    }[stage]()
    do(*command, "--out", str(tmp_path / "first"))
    compiled.clear()
    do(*command, "--out", str(tmp_path / "second"))
    assert compiled == []

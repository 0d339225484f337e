"""Whatever the bytes, one sentence of linkjax's own leaves the reader, soon.

`scripts/files/fuzz_reader.py` runs many more.
"""

import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linkjax.errors import InputError
from linkjax_converters.reader.snapshot import read_snapshot
from tests.reference.pickle_mutations import mutated, seeds


def outcome(path, data: bytes) -> str:
    """Read `data`; the message, or nothing if it was read. Any other exception than linkjax's own fails the test."""
    path.write_bytes(data)
    start = time.process_time()
    try:
        read_snapshot(path)
        message = ""
    except InputError as error:
        message = str(error)
    assert time.process_time() - start < 5
    assert "no name" not in message and "\n" not in message
    return message


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return seeds(tmp_path_factory.mktemp("seeds"))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "net.pkl"


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=60))
def test_any_bytes_give_an_input_error(path, data):
    assert outcome(path, b"\x80\x04" + data)


@settings(max_examples=200)
@given(data=st.data())
def test_one_changed_byte_gives_a_network_or_an_input_error(path, sources, data):
    source = bytearray(data.draw(st.sampled_from(sources[:16])))
    source[data.draw(st.integers(2, len(source) - 1))] = data.draw(st.integers(0, 255))
    outcome(path, bytes(source))


def test_thousands_of_broken_snapshots_give_input_errors(path, sources):
    rng = random.Random(0)
    outcomes = [outcome(path, mutated(rng, sources)) for _ in range(2000)]
    assert outcomes.count("") < 1500
    assert any("nothing was run" in message for message in outcomes)

"""Safetensors: what a sound file gives, and that no other gets further than one sentence."""

import json

import numpy as np
import pytest

from linkjax.errors import InputError
from linkjax_converters.state_dict import read_state_dict

KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}


def write(path, header, data=b"", text=None):
    text = json.dumps(header).encode() if text is None else text
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(begin, end, shape, kind="F32"):
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


def test_every_type_is_read_and_bfloat16_widened(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {kind: (rng.normal(size=(3, 2)) * 50).astype(dtype) for kind, dtype in KINDS.items()}
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for kind, array in arrays.items():
        header[kind] = entry(len(data), len(data) + array.nbytes, [3, 2], kind)
        data += array.tobytes()
    header["brain"] = entry(len(data), len(data) + 4, [2], "BF16")
    header["truth"] = entry(len(data) + 4, len(data) + 7, [3], "BOOL")
    header["none"] = entry(len(data) + 7, len(data) + 7, [0, 4])
    data += np.array([0x3F80, 0xC000], "<u2").tobytes() + bytes([0, 1, 255])
    found = read_state_dict(write(tmp_path / "x.safetensors", header, data))
    for kind, array in arrays.items():
        assert found[kind].dtype == array.dtype
        np.testing.assert_array_equal(found[kind], array)
    assert found["brain"].dtype == np.float32 and found["brain"].tolist() == [1.0, -2.0]
    assert found["truth"].tolist() == [False, True, True] and found["none"].shape == (0, 4)


@pytest.mark.parametrize(
    ("header", "data", "said"),
    [
        ({"a": entry(0, 8, [2])}, bytes(4), "needs 8 bytes"),
        ({"a": entry(0, 4, [2])}, bytes(4), "needs 8 bytes"),
        ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, bytes(12), "overlap"),
        ({"a": entry(4, 12, [2])}, bytes(12), "leave bytes between"),
        ({"a": entry(0, 8, [2])}, bytes(12), "belong to none"),
        ({"a": entry(0, 8, [2], "F8_E4M3")}, bytes(8), "save it as float32"),
        ({"a": entry(0, 8, [-2])}, bytes(8), "no list of sizes"),
        ({"a": entry(0, 8, [2**61, 2**61])}, bytes(8), "no list of sizes"),
        ({"a": entry(8, 0, [2])}, bytes(8), "no pair of offsets"),
        ({"a": entry(0, 8, [True, 2])}, bytes(8), "no list of sizes"),
        ({"a": [1]}, b"", "no type, shape or place"),
        ({"a": {"dtype": "F32"}}, b"", "no type, shape or place"),
    ],
)
def test_what_does_not_add_up_is_refused(tmp_path, header, data, said):
    with pytest.raises(InputError, match=said) as caught:
        read_state_dict(write(tmp_path / "x.safetensors", header, data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": 1, "a": 2}', "comes twice"), (b'{"a": NaN}', "no JSON"),
        (b'{"a": ' + b"[" * 100_000, "nested|no JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "no JSON"), (b'{"\xff": 1}', "no JSON"), (b'{"a"', "no JSON"),
    ],
)  # fmt: skip
def test_a_header_that_is_no_table_is_refused(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        read_state_dict(write(tmp_path / "x.safetensors", None, b"", text))


def test_announced_lengths_are_not_believed(tmp_path):
    path = tmp_path / "x.safetensors"
    for length, said in ((10**6, "truncated"), (10**10, "more than any network")):
        path.write_bytes(length.to_bytes(8, "little") + b"{}      ")
        with pytest.raises(InputError, match=said):
            read_state_dict(path)

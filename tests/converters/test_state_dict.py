import argparse
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linkjax.errors import InputError, UnsafeFileError
from linkjax_converters.state_dict import read_state_dict, read_weights

torch = pytest.importorskip("torch")

BOTH = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old"])
WEIGHTS = {"conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "bn.num_batches_tracked": torch.tensor(3)}


class Call:
    """Asks its reader to call something."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def saved(content, zipped=True):
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def refused(path: Path, content: bytes, kind=InputError) -> str:
    """The one sentence with which a file of these bytes is refused."""
    path.write_bytes(content)
    with pytest.raises(kind) as caught:
        read_state_dict(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message and "weights_only" not in message
    return message


@BOTH
@pytest.mark.parametrize("nest", [lambda w: w, lambda w: {"epoch": 3, "state_dict": w}, lambda w: {"model": w}])
def test_plain_and_nested_state_dicts_are_read(tmp_path, zipped, nest):
    (tmp_path / "x.pth").write_bytes(saved(nest(WEIGHTS), zipped))
    arrays = read_state_dict(tmp_path / "x.pth")
    assert arrays.keys() == WEIGHTS.keys()
    np.testing.assert_array_equal(arrays["conv.weight"], WEIGHTS["conv.weight"].numpy())


def test_a_parallel_wrapper_s_prefix_is_dropped_and_half_precision_read(tmp_path):
    content = {f"module.{key}": tensor.bfloat16() for key, tensor in WEIGHTS.items()}
    (tmp_path / "x.pth").write_bytes(saved(content))
    arrays = read_state_dict(tmp_path / "x.pth")
    assert arrays.keys() == WEIGHTS.keys()
    assert arrays["conv.weight"].dtype == np.float32


@BOTH
@pytest.mark.parametrize("function", [os.system, eval])
def test_a_call_in_the_file_is_refused_and_not_made(tmp_path, zipped, function):
    trace = tmp_path / "trace"
    argument = f"touch {trace}" if function is os.system else f"open({str(trace)!r}, 'w')"
    for content in ({**WEIGHTS, "x": Call(function, argument)}, Call(function, argument)):
        message = refused(tmp_path / "x.pth", saved(content, zipped), UnsafeFileError)
        assert function.__name__ in message and "nothing was run" in message
    refused(tmp_path / "x.pth", pickle.dumps(Call(function, argument)), UnsafeFileError)
    refused(tmp_path / "x.pth", pickle.dumps(Call(function, argument), protocol=2), UnsafeFileError)
    assert not trace.exists()


@BOTH
def test_a_whole_module_is_refused_with_the_way_out(tmp_path, zipped):
    assert "state_dict()" in refused(tmp_path / "x.pth", saved(torch.nn.Linear(2, 2), zipped), UnsafeFileError)


@BOTH
def test_truncated_files_are_refused(tmp_path, zipped):
    content = saved(WEIGHTS, zipped)
    for length in range(0, len(content) - 1, 37):
        refused(tmp_path / "x.pth", content[:length])


@BOTH
def test_a_size_beyond_the_file_is_refused(tmp_path, zipped):
    message = refused(tmp_path / "x.pth", saved({"a": torch.zeros(1).expand(10**12)}, zipped))
    assert "beyond the 1 numbers of its storage" in message
    content = saved({"a": torch.zeros(77)}, zipped)
    huge = content.replace(b"KM", b"\x8a\x06\x00\x00\x00\x00\x00\x01")  # the pickled 77 as 2^40, twice
    if zipped:
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
            for name in old.namelist():
                new.writestr(name, old.read(name).replace(b"KM", b"\x8a\x06\x00\x00\x00\x00\x00\x01"))
        huge = stream.getvalue()
    refused(tmp_path / "x.pth", huge)


def test_a_compressed_bomb_is_refused_unread(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"0" * 10_000_000)
    assert "unpacks to more" in refused(tmp_path / "x.pth", stream.getvalue(), UnsafeFileError)


def test_deep_nesting_is_refused(tmp_path):
    for pickled in (b"\x80\x02" + b"]" * 300_000 + b".", b"\x80\x02" + b"}" + b"(" * 300_000 + b"t" * 300_000 + b"."):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/version", "3\n")
        refused(tmp_path / "x.pth", stream.getvalue())


def test_files_of_another_kind_are_named(tmp_path, parity):
    path = tmp_path / "x.pth"
    assert "linkjax convert generator" in refused(path, (parity / "gen_stem16.pkl").read_bytes())
    assert "empty file" in refused(path, b"")
    assert "another kind" in refused(path, b"#!/bin/sh\n")
    assert "Tensor" in refused(path, saved(torch.zeros(3)))
    assert "'epoch'" in refused(path, saved({**WEIGHTS, "epoch": 3}))
    assert "without" in refused(path, saved({"a": torch.zeros(3).to_sparse()}))
    with pytest.raises(InputError, match="nothing there"):
        read_state_dict(tmp_path / "absent.pth")


@BOTH
def test_no_pytorch_is_needed(tmp_path, monkeypatch, zipped):
    (tmp_path / "x.pth").write_bytes(saved(WEIGHTS, zipped))
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    np.testing.assert_array_equal(read_state_dict(tmp_path / "x.pth")["bn.num_batches_tracked"], 3)


@BOTH
def test_every_layout_and_type_reads_as_pytorch_reads_it(tmp_path, zipped):
    whole = torch.arange(60.0).reshape(3, 4, 5)
    content = {
        "whole": whole, "transposed": whole.transpose(0, 2), "part": whole[1:, ::2], "half": whole.half(),
        "double": whole.double(), "brain": whole.bfloat16(), "bool": whole > 7, "long": whole.long(),
        "byte": whole.byte(), "empty": torch.zeros(0, 3), "scalar": torch.tensor(2.5), "again": whole,
        "parameter": torch.nn.Parameter(whole.clone()),
    }  # fmt: skip
    (tmp_path / "x.pth").write_bytes(saved(content, zipped))
    found = read_state_dict(tmp_path / "x.pth")
    expected = torch.load(tmp_path / "x.pth", weights_only=True)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        tensor = tensor.detach().float() if tensor.dtype == torch.bfloat16 else tensor.detach()
        assert found[name].dtype == tensor.numpy().dtype and found[name].shape == tuple(tensor.shape), name
        np.testing.assert_array_equal(found[name], tensor.numpy(), err_msg=name)


@BOTH
def test_what_lies_beside_the_weights_is_neither_built_nor_in_the_way(tmp_path, zipped):
    """Settings of training programs are objects of classes that are not here, which PyTorch's safe reader refuses."""
    beside = {"args": argparse.Namespace(lr=0.1), "optimizer": {"state": {0: {"momentum": torch.ones(2)}}}, "epoch": 3}
    (tmp_path / "x.pth").write_bytes(saved({**beside, "state_dict": WEIGHTS}, zipped))
    weights = read_weights(tmp_path / "x.pth")
    assert weights.arrays.keys() == WEIGHTS.keys() and weights.key == "state_dict" and weights.others == ()


def test_of_several_networks_the_one_as_trained_is_taken_and_the_others_named(tmp_path):
    other = {name: tensor + 1 for name, tensor in WEIGHTS.items()}
    path = tmp_path / "x.pth"
    for content, key, others in (
        ({"state_dict_ema": other, "state_dict": WEIGHTS}, "state_dict", ("state_dict_ema",)),
        ({"model_ema": other, "model": WEIGHTS}, "model", ("model_ema",)),
        ({"ema": other, "student": WEIGHTS}, "student", ("ema",)),
        ({"state_dict": {"model": WEIGHTS, "ema": other}}, "state_dict.model", ("state_dict.ema",)),
        ({"model": {"state_dict": WEIGHTS}}, "model.state_dict", ()),
        ({"backbone": WEIGHTS, "epoch": 1}, "backbone", ()),
        ({"ema": WEIGHTS}, "ema", ()),
    ):
        path.write_bytes(saved(content))
        weights = read_weights(path)
        assert (weights.key, weights.others) == (key, others)
        np.testing.assert_array_equal(weights.arrays["conv.weight"], WEIGHTS["conv.weight"])
    path.write_bytes(saved({"state_dict_ema": other, "state_dict": WEIGHTS}))
    weights = read_weights(path, "state_dict_ema")
    assert weights.others == ("state_dict",)
    np.testing.assert_array_equal(weights.arrays["conv.weight"], other["conv.weight"])
    with pytest.raises(InputError, match=r"did you mean state_dict_ema\?"):
        read_weights(path, "state_dict_em")
    assert "--key" in refused(path, saved({"left": WEIGHTS, "right": other}))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_torchscript_archive_is_named_with_the_way_out(tmp_path):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    for name, made in (("traced", torch.jit.trace(net, torch.zeros(1, 3, 8, 8))), ("scripted", torch.jit.script(net))):
        made.save(str(tmp_path / name))
        said = refused(tmp_path / "x.pt", (tmp_path / name).read_bytes())
        assert "TorchScript" in said and "state_dict()" in said


def test_a_download_that_is_no_file_of_weights_is_named(tmp_path):
    assert "web page" in refused(tmp_path / "x.pth", b"<!DOCTYPE html><html>")
    assert "Git LFS" in refused(tmp_path / "x.pth", b"version https://git-lfs.github.com/spec/v1\noid")
    assert "torch.save" in refused(tmp_path / "x.pth", pickle.dumps({"a": 1}))


@BOTH
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_read_or_refused_in_one_sentence(tmp_path, zipped, data):
    content = bytearray(saved(WEIGHTS, zipped))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    (tmp_path / "x.pth").write_bytes(content)
    try:
        read_state_dict(tmp_path / "x.pth")
    except InputError as error:
        assert "\n" not in str(error)

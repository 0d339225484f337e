"""Reading networks out of snapshots, in every spelling."""

import dataclasses
import importlib
import io
import pickle
import pickletools
import string
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkjax.errors import InputError
from linkjax.models.generator_spec import Progression, stem_spec, superres_spec
from linkjax_converters.generator import generator_from_snapshot, spec_from_snapshot
from linkjax_converters.reader.snapshot import Snapshot, read_snapshot
from tests.reference.official_generator import official_network
from tests.reference.official_pickle import (
    ForeignDiscriminator,
    LazyArray,
    Module,
    Network,
    Raw,
    Spelling,
    network_entries,
    write_snapshot,
)

GENERATORS = ("gen_stem16", "gen_superres64", "gen_uncond16")
SPELLINGS = [
    Spelling(dill, numpy, location)
    for dill in ("0.3.4", "new")
    for numpy in ("core", "_core")
    for location in ("cpu", "cuda:0")
]


def tiny(**arrays) -> Network:
    weights = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3)} | arrays
    return Network(weights, {"": Module("Generator", {"z_dim": 4})})


def write(tmp_path: Path, entries, spelling: Spelling | None = None) -> Path:
    path = tmp_path / "net.pkl"
    write_snapshot(path, entries, spelling)
    return path


def assert_equal(found: Snapshot, expected) -> None:
    assert list(found.arrays) == list(expected.arrays)
    for name, array in expected.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array, strict=True)
    assert list(found.modules) == list(expected.modules)
    for path, module in expected.modules.items():
        assert found.modules[path].class_name == module.class_name
        assert repr(found.modules[path].attributes) == repr(dict(module.attributes))


def network_by_torch(path: Path, torch) -> dict:
    """The network's tensors as torch itself rebuilds them; every other object becomes an empty dict."""

    class Stub(dict):
        def __new__(cls, *args, **keywords):
            return dict.__new__(cls)

        def __init__(self, *args, **keywords):
            super().__init__()

        def __call__(self, *args):
            return Stub()

        def __setstate__(self, state):
            pass

    def storage_on_cpu(data):
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)

    class Loader(pickle.Unpickler):
        def find_class(self, module, name):
            if name == "_load_from_bytes":
                return storage_on_cpu
            if name == "_reconstruct_persistent_obj":
                return dict
            if module.partition(".")[0] in ("torch", "collections"):
                return getattr(importlib.import_module(module), name)
            return Stub

    def tensors(module, prefix=""):
        state = module["state"] if isinstance(module, dict) else module.__dict__
        for kind in ("_parameters", "_buffers"):
            yield from ((prefix + n, t.detach().numpy()) for n, t in state[kind].items() if t is not None)
        for name, inner in state["_modules"].items():
            if inner is not None:
                yield from tensors(inner, f"{prefix}{name}.")

    with warnings.catch_warnings(), path.open("rb") as file:
        warnings.simplefilter("ignore")  # torch warns of its own old storages
        return dict(tensors(Loader(file).load()["G_ema"]))


@pytest.mark.parametrize("name", GENERATORS)
def test_every_array_is_the_one_torch_rebuilds(tmp_path, parity, name):
    torch = pytest.importorskip("torch")
    found = read_snapshot(parity / f"{name}.pkl")
    rewritten = write(tmp_path, network_entries(found, D=ForeignDiscriminator()), Spelling("new", "_core", "cuda:0"))
    for path in (parity / f"{name}.pkl", rewritten):
        expected = network_by_torch(path, torch)
        assert sorted(found.arrays) == sorted(expected)
        for key, array in expected.items():
            np.testing.assert_array_equal(found.arrays[key], array, strict=True)


def test_attributes_come_from_the_file_own_objects(parity):
    snapshot = read_snapshot(parity / "gen_superres64.pkl")
    assert snapshot.others == ("G", "D", "augment_pipe", "training_set_kwargs", "progress")
    assert snapshot.modules[""].class_name == "SuperresGenerator"
    synthesis = snapshot.modules["synthesis"].attributes
    assert synthesis["layer_names"][3:5] == ["L3_36_26", "L5_36_26"]
    layer = snapshot.modules["synthesis.L5_36_26"].attributes
    assert layer["up_factor"] in (2, 4) and type(layer["up_factor"]) is int
    assert all(type(v) is int for v in layer["padding"])
    assert isinstance(layer["out_cutoff"], float) and not isinstance(layer["out_cutoff"], np.generic)


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda s: f"{s.dill}-{s.numpy}-{s.location}")
def test_every_spelling_and_foreign_discriminators_read_the_same(tmp_path, parity, spelling):
    expected = read_snapshot(parity / "gen_uncond16.pkl")
    path = write(tmp_path, network_entries(expected, D=ForeignDiscriminator()), spelling)
    assert_equal(read_snapshot(path), expected)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_rewritten_file_reads_as_the_original(tmp_path, parity, name):
    expected = read_snapshot(parity / f"{name}.pkl")
    assert_equal(read_snapshot(write(tmp_path, network_entries(expected))), expected)


def test_the_writer_uses_the_opcodes_and_names_of_a_real_file(tmp_path, parity):
    def opcodes(path):
        return {op.name for op, _, _ in pickletools.genops(path.read_bytes())}

    path = write(tmp_path, network_entries(read_snapshot(parity / "gen_stem16.pkl")))
    assert opcodes(path) ^ opcodes(parity / "gen_stem16.pkl") <= {"BININT"}


NAMES = st.text(string.ascii_letters + "_", min_size=1, max_size=5).filter(lambda n: n not in ("training", "Embedding"))
DTYPES = st.sampled_from(["f4", "f8", "f2", "i8", "i4", "i2", "i1", "u1", "?"])


@st.composite
def arrays(draw):
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    data = draw(st.binary(min_size=8 * int(np.prod(shape)), max_size=8 * int(np.prod(shape))))
    dtype = np.dtype(draw(DTYPES))
    flat = np.frombuffer(data, np.uint8)[: int(np.prod(shape)) * dtype.itemsize]
    return ((flat & 1).astype("?") if dtype.kind == "b" else flat.view(dtype)).reshape(shape)


ATTRIBUTES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=5).map(tuple),
    max_leaves=8,
)


@st.composite
def networks(draw):
    paths = [""]
    for _ in range(draw(st.integers(0, 3))):
        paths.append(f"{draw(st.sampled_from(paths))}.{draw(NAMES)}".lstrip("."))
    paths = sorted(set(paths))
    modules = {
        p: Module(draw(NAMES), draw(st.dictionaries(NAMES.filter(lambda n: n[0] != "_"), ATTRIBUTES))) for p in paths
    }
    weights = {f"{p}.weight{i}".lstrip("."): draw(arrays()) for p in paths for i in range(draw(st.integers(0, 2)))}
    return Network(weights, modules)


@given(network=networks(), spelling=st.sampled_from(SPELLINGS), source=st.text(max_size=20))
def test_what_is_written_is_read(tmp_path_factory, network, spelling, source):
    path = write(
        tmp_path_factory.mktemp("net"), network_entries(network), dataclasses.replace(spelling, module_src=source)
    )
    found = read_snapshot(path)
    assert set(found.modules) == set(network.modules)
    for name, module in network.modules.items():
        assert repr({"training": False} | dict(module.attributes)) == repr(found.modules[name].attributes)
    assert set(found.arrays) == set(network.arrays)
    for name, array in network.arrays.items():
        assert found.arrays[name].dtype == array.dtype and found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("spelling", SPELLINGS[::2], ids=lambda s: f"{s.dill}-{s.numpy}")
def test_numpy_scalars_and_arrays_become_plain(tmp_path, spelling):
    attributes = {"cutoff": np.float64(2.5), "rate": np.int64(16), "flag": np.bool_(True), "size": np.array([36, 20])}
    network = Network({}, {"": Module("Generator", attributes)})
    found = read_snapshot(write(tmp_path, network_entries(network), spelling)).modules[""].attributes
    assert found["cutoff"] == 2.5 and type(found["cutoff"]) is float
    assert found["rate"] == 16 and type(found["rate"]) is int
    assert found["flag"] is True
    np.testing.assert_array_equal(found["size"], np.array([36, 20]), strict=True)


def test_source_code_in_the_file_is_never_kept(tmp_path):
    source = "import os; os.system('touch ran')"
    snapshot = read_snapshot(write(tmp_path, network_entries(tiny()), Spelling(module_src=source)))
    assert source not in repr(snapshot)


def test_arrays_are_owned_writable_and_contiguous(tmp_path, parity):
    for array in read_snapshot(parity / "gen_stem16.pkl").arrays.values():
        assert array.flags.writeable and array.flags.c_contiguous
    big = LazyArray((300, 301), lambda: np.random.default_rng(0).normal(size=(300, 301)).astype(np.float32))
    path = write(tmp_path, network_entries(tiny(other=big)))
    np.testing.assert_array_equal(read_snapshot(path).arrays["other"], big.make(), strict=True)


def test_another_network_of_the_file_can_be_read(tmp_path):
    path = write(tmp_path, network_entries(tiny(), G=tiny(extra=np.ones(3, np.float32))))
    assert "extra" in read_snapshot(path, network="G").arrays
    assert "extra" not in read_snapshot(path).arrays


def test_a_missing_network_is_named_with_what_is_there(tmp_path):
    path = write(tmp_path, {"G": tiny(), "state": 3})
    with pytest.raises(InputError, match=r"no 'G_ema'.*entries are G, state"):
        read_snapshot(path)


def test_a_network_that_is_no_module_is_refused(tmp_path):
    for value in (3, "net", {"weight": 1}, None, [1], Raw(b"}(\x8c\x08_modules}u")):
        with pytest.raises(InputError, match="the network is no module"):
            read_snapshot(write(tmp_path, {"G_ema": value}))


KINDS = {
    "empty": (b"", "is empty"),
    "png": (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "a PNG image"),
    "jpeg": (b"\xff\xd8\xff\xe0" + b"\0" * 50, "a JPEG image"),
    "zip": (b"PK\x03\x04" + b"\0" * 50, "linkjax convert classifier"),
    "page": (b"\n<!DOCTYPE html><html>", "web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    "text": (b"hello world, this is no pickle", "not a pickle"),
    "list": (pickle.dumps([1, 2]), "holds a list, expected a dict"),
    "number": (pickle.dumps(7), "holds a int, expected a dict"),
    "old pth": (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2), "linkjax convert classifier"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_another_kind_is_named(tmp_path, kind):
    content, message = KINDS[kind]
    path = tmp_path / "file.pkl"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_snapshot(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_classifier_given_for_a_generator_is_sent_to_its_command(tmp_path):
    torch = pytest.importorskip("torch")
    for zipped in (True, False):
        path = tmp_path / "cls.pth"
        torch.save({"fc.weight": torch.zeros(2, 2)}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(InputError, match=r"PyTorch state dict.*linkjax convert classifier"):
            read_snapshot(path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_snapshot(tmp_path / "nowhere.pkl")
    with pytest.raises(InputError, match="is a folder"):
        read_snapshot(tmp_path)


def test_a_file_cut_anywhere_says_so_and_leaves_nothing(tmp_path, parity):
    data = (parity / "gen_uncond16.pkl").read_bytes()
    path = tmp_path / "cut.pkl"
    for length in (*range(1, 40, 3), *range(40, len(data), 7919), len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(InputError, match=r"truncated|damaged"):
            read_snapshot(path)


CONDITIONAL = superres_spec(
    stem_spec(16, 6, Progression(channel_base=256, channel_max=12), z_dim=4, w_dim=6, num_classes=3, embed_dim=5),
    progression=Progression(channel_base=256, channel_max=12),
)
RADIAL = stem_spec(16, 5, Progression(channel_base=256, channel_max=12, conv_kernel=1, radial=True), z_dim=4, w_dim=6)


@pytest.mark.parametrize("spec", [CONDITIONAL, RADIAL], ids=["conditional head", "unconditional radial"])
def test_a_generator_written_from_its_spec_converts_to_that_spec(tmp_path, spec):
    path = write(tmp_path, network_entries(official_network(spec)), Spelling("new", "_core", "cuda:0"))
    snapshot = read_snapshot(path)
    found = spec_from_snapshot(snapshot)
    assert dataclasses.replace(found, embed_dim=spec.embed_dim) == spec
    generator = generator_from_snapshot(snapshot)
    assert generator.spec == found


MEASURE = """
import resource, sys
from linkjax_converters.reader.snapshot import read_snapshot
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
arrays = read_snapshot(sys.argv[1]).arrays
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux only")
def test_reading_needs_little_more_memory_than_the_arrays(tmp_path):
    shape = (8, 1 << 20)
    big = {f"weight{i}": LazyArray(shape, lambda: np.ones(shape, np.float32)) for i in range(3)}
    path = write(tmp_path, network_entries(Network(big, {"": Module("Generator", {})})))
    output = subprocess.check_output([sys.executable, "-c", MEASURE, str(path)], text=True)
    assert int(output) < 1.25 * path.stat().st_size

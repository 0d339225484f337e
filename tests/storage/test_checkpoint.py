import gc
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import linkjax
from linkjax import errors
from linkjax.models import build
from linkjax.models.link import Link, LinkSpec
from linkjax.storage import checkpoint
from tests import compiling

# Orbax leaves the reads of a restore that failed un-awaited, and Python complains when it collects them; these tests
# damage checkpoints on purpose, and `collected` makes it complain here and not in a later test.
pytestmark = [
    pytest.mark.usefixtures("settled"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]


@pytest.fixture(autouse=True)
def collected():
    yield
    gc.collect()


def link(seed=0):
    random = np.random.default_rng(seed)
    arrays = {"kernel": random.normal(size=(5, 3)).astype(np.float32), "bias": np.arange(3, dtype=np.float32)}
    return build.fill(Link, LinkSpec(5, 3, method="ridge", alpha=2.0), arrays)


@pytest.fixture
def saved(tmp_path):
    checkpoint.save_model(tmp_path / "link", link(), source={"note": "test"})
    return tmp_path / "link"


def test_what_is_saved_is_loaded_bit_by_bit_with_its_spec_and_source(saved):
    again, manifest = checkpoint.load_model(saved)
    np.testing.assert_array_equal(again.kernel[...], link().kernel[...])
    assert again.spec == link().spec
    assert manifest["source"] == {"note": "test"} and manifest["parameters"] == 18


def test_relative_and_absolute_paths_are_the_same(saved, monkeypatch):
    monkeypatch.chdir(saved.parent)
    np.testing.assert_array_equal(linkjax.load("link").bias[...], linkjax.load(saved).bias[...])


@pytest.mark.parametrize("name", ["with space", "Prüfung 連結 é"])
def test_a_folder_may_have_any_name_and_be_a_symlink(tmp_path, monkeypatch, name):
    folder = tmp_path / name / "link of units"
    checkpoint.save_model(folder, link(), source={})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link").symlink_to(folder, target_is_directory=True)
    (tmp_path / "by parent").symlink_to(tmp_path / name, target_is_directory=True)
    monkeypatch.chdir(tmp_path / "other")
    for path in (folder, "link", "../other/link", tmp_path / "by parent" / "link of units", f"../{name}/link of units"):
        np.testing.assert_array_equal(linkjax.load(path).kernel[...], link().kernel[...])
    checkpoint.save_model("made here", link(1), source={})  # and a relative one to write to
    checkpoint.save_model(tmp_path / "by parent" / "new", link(1), source={})
    np.testing.assert_array_equal(linkjax.load(tmp_path / name / "new").kernel[...], link(1).kernel[...])
    with pytest.raises(errors.InputError, match="exists already"):
        checkpoint.save_model("link", link(1), source={})


# What shells, pattern matchers, chained addresses and other systems' paths make something else of.
ODD = ["alpha=1,classes=[1,2]", "a]", "[", "a*", "a?b", "{a,b}", "a::b", "s3:x", "back\\slash", "a%20b#c", "連 [é]"]


@pytest.mark.parametrize("name", ODD)
def test_weights_under_any_name_can_be_read_again(tmp_path, name):
    for folder in (tmp_path / name, tmp_path / f"parent {name}" / name):
        checkpoint.save_model(folder, link(), source={})
        again, _ = checkpoint.load_model(folder)
        np.testing.assert_array_equal(again.kernel[...], link().kernel[...])
        assert sorted(each.name for each in folder.iterdir()) == ["manifest.json", "weights"]
        assert "link" not in {each.name for each in tmp_path.iterdir()}
    checkpoint.save_state(tmp_path / name / "training", 3, {"x": np.arange(4, dtype=np.float32)}, {"step": 3})
    found, note = checkpoint.latest_state(tmp_path / name / "training", {"x": np.zeros(4, np.float32)})
    assert note == {"step": 3} and found["x"].tolist() == [0, 1, 2, 3]


def test_a_plain_folder_that_is_moved_under_such_a_name_is_read(tmp_path, saved):
    (tmp_path / "x[1]").mkdir()
    saved.rename(tmp_path / "x[1]" / "back\\slash")
    np.testing.assert_array_equal(linkjax.load(tmp_path / "x[1]" / "back\\slash").kernel[...], link().kernel[...])


def test_weights_that_cannot_be_read_again_get_no_name(tmp_path, monkeypatch):
    def damaged(folder, like):
        return {name: np.zeros_like(array) for name, array in like.items()}

    monkeypatch.setattr(checkpoint, "_restored", damaged)
    with pytest.raises(errors.LinkjaxError, match="cannot be read again"):
        checkpoint.save_model(tmp_path / "link", link(), source={})
    assert not list(tmp_path.iterdir())


def test_without_links_such_a_name_is_refused_before_anything_is_kept(tmp_path, monkeypatch):
    def no_links(*_, **__):
        raise OSError("no links here")

    monkeypatch.setattr(type(tmp_path), "symlink_to", no_links)
    with pytest.raises(errors.InputError, match="no links here"):
        checkpoint.save_model(tmp_path / "x[1]", link(), source={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("devices", [1, 2])
def test_saved_on_eight_devices_loads_on_one_and_on_two(tmp_path, devices):
    assert jax.device_count() == 8
    model = link()
    on = jax.make_mesh((8,), ("item",), axis_types=(jax.sharding.AxisType.Auto,))
    everywhere = jax.device_put(model, jax.NamedSharding(on, jax.P()))
    checkpoint.save_model(tmp_path / "link", everywhere, source={})
    code = (
        "import jax, linkjax, sys; from linkjax.devices import parallel; model = linkjax.load(sys.argv[1]);"
        "on = parallel.mesh(); assert on.size == int(sys.argv[2]); model = parallel.replicate(model, on);"
        "print(float(model.kernel[...].sum()))"
    )
    environment = {**os.environ, "XLA_FLAGS": compiling.xla_flags(devices)}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "link"), str(devices)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(float(model.kernel[...].sum()), rel=1e-6)


def test_a_model_of_an_older_linkjax_without_a_newer_setting_is_read_with_its_default(saved):
    path = saved / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["spec"]["l1_ratio"]
    manifest["versions"]["linkjax"] = "0.0.1"
    path.write_text(json.dumps(manifest))
    again, _ = checkpoint.load_model(saved)
    np.testing.assert_array_equal(again.kernel[...], link().kernel[...])
    assert again.spec == link().spec


def test_a_model_of_a_newer_linkjax_is_refused_with_a_sentence(saved):
    """Of the same format with a setting unknown here, or of a format unknown here."""
    path = saved / "manifest.json"
    manifest = json.loads(path.read_text())
    changes = (
        ({"spec": {**manifest["spec"], "gain": 2.0}}, "unknown fields.*made by linkjax 9.0, this is"),
        ({"kind": "sparse_link"}, "found sparse_link.*made by linkjax 9.0, this is"),
        ({"format_version": 99}, "newer than this linkjax reads .*upgrade linkjax"),
    )
    for change, said in changes:
        newer = {**manifest, "versions": {**manifest["versions"], "linkjax": "9.0"}, **change}
        path.write_text(json.dumps(newer))
        with pytest.raises(errors.InputError, match=said) as error:
            linkjax.load(saved)
        assert str(error.value).count("\n") == 0


@pytest.mark.parametrize("content", ["", "{", '{"format": "linkjax", "kind": "link"}', "{}", "[1]", '"x"'])
def test_a_truncated_manifest_of_a_model_is_named(saved, content):
    (saved / "manifest.json").write_text(content)
    with pytest.raises(errors.InputError, match="manifest"):
        linkjax.load(saved)


def test_a_truncated_weight_file_is_named(saved):
    victim = largest_data_file(saved)
    victim.write_bytes(victim.read_bytes()[:-7])
    with pytest.raises(errors.InputError, match="damaged or incomplete"):
        linkjax.load(saved)


def test_an_existing_folder_is_never_overwritten(saved):
    with pytest.raises(errors.InputError, match="exists already"):
        checkpoint.save_model(saved, link(1), source={})
    np.testing.assert_array_equal(linkjax.load(saved).kernel[...], link().kernel[...])


def largest_data_file(folder):
    return max(
        (path for path in (folder / "weights").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )


def test_damaged_weights_are_refused(saved):
    victim = largest_data_file(saved)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 255
    victim.write_bytes(bytes(content))
    with pytest.raises(errors.InputError, match=r"weights are (damaged|not those)"):
        linkjax.load(saved)


def test_missing_weights_and_weights_of_another_model_are_refused(saved, tmp_path):
    checkpoint.save_model(tmp_path / "other", link(1), source={})
    manifest = (saved / "manifest.json").read_text()
    (tmp_path / "other" / "manifest.json").write_text(manifest)
    with pytest.raises(errors.InputError, match="SHA-256 differs"):
        linkjax.load(tmp_path / "other")
    for path in sorted((saved / "weights").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    with pytest.raises(errors.InputError, match="damaged or incomplete"):
        linkjax.load(saved)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spec": {"units": 5}}, "does not describe"),
        ({"spec": {"units": 5, "w_dim": 3, "odd": 1}}, "odd"),
        ({"kind": "pairs"}, "found pairs"),
        ({"format_version": 99}, "newer"),
        ({"spec": {"units": 6, "w_dim": 3, "method": "ridge"}}, "damaged or incomplete"),
    ],
)
def test_a_manifest_that_does_not_describe_the_weights_is_refused(saved, change, said):
    manifest = json.loads((saved / "manifest.json").read_text())
    (saved / "manifest.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(errors.InputError, match=said):
        linkjax.load(saved)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "nothing there"),
        (lambda path: path.mkdir(), "without manifest.json"),
        (lambda path: path.write_text("x"), "a file"),
    ],
)
def test_a_path_without_a_model_says_what_was_found(tmp_path, make, said):
    make(tmp_path / "model")
    with pytest.raises(errors.InputError, match=said):
        linkjax.load(tmp_path / "model")


def test_nothing_half_written_is_left_when_saving_fails(tmp_path, monkeypatch):
    from linkjax.storage import manifest

    monkeypatch.setattr(manifest, "write", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save_model(tmp_path / "link", link(), source={})
    assert not (tmp_path / "link").exists()

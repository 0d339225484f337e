import dataclasses
import json

import numpy as np
import pytest

from linkjax import artifacts, manifest
from linkjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Config:
    out: str
    n: int = 3
    batch_size: int = 2


WEIGHTS = {"generator": "a" * 64}


def writer(path, n=3, **options):
    return artifacts.Writer(path, "pairs", Config(str(path), n, **options), WEIGHTS, free=("batch_size",))


def make(path, n=3):
    with writer(path, n) as out:
        out.array("w", ("sample", "w"), (n, 2), np.float32, (1, 2))[...] = np.arange(n * 2).reshape(n, 2)
        out.put("part", ("part",), ["ear", "tail"])
        out.finish({"acceptance": 0.5})
    return artifacts.Artifact(path, "pairs")


def test_what_is_written_is_read_with_labels_manifest_and_settings(tmp_path):
    made = make(tmp_path / "run" / "pairs")
    data = made.open()
    assert data["w"].dims == ("sample", "w")
    np.testing.assert_array_equal(made.read(data, "w"), np.arange(6).reshape(3, 2))
    assert artifacts.names(data, "part") == ["ear", "tail"]
    assert made.summary == {"acceptance": 0.5}
    assert made.manifest["weights"] == WEIGHTS
    assert made.manifest["config"]["n"] == 3
    assert "jax" in made.manifest["versions"]
    assert "n = 3" in (made.path / "config.toml").read_text()
    assert not manifest.partial(made.path).exists()


def test_a_killed_run_leaves_nothing_that_is_taken_for_whole_and_is_resumed(tmp_path):
    path = tmp_path / "pairs"
    with pytest.raises(KeyboardInterrupt), writer(path) as out:
        out.array("w", ("sample", "w"), (3, 2), np.float32, (1, 2))[0] = 7.0
        out.mark("first", [1, 2])
        raise KeyboardInterrupt
    assert not path.exists()
    with pytest.raises(InputError, match="unfinished"):
        artifacts.Artifact(path, "pairs")
    with open(manifest.partial(path) / "done.jsonl", "a") as file:
        file.write('["second", tr')  # cut short by the kill
    with writer(path, batch_size=1) as out:
        assert out.done("first") == [1, 2]
        assert out.done("second") is None
        assert out.array("w", ("sample", "w"), (3, 2), np.float32, (1, 2))[0].tolist() == [7.0, 7.0]
        out.finish({})
    assert artifacts.Artifact(path, "pairs").manifest["config"]["batch_size"] == 1


def test_an_unfinished_run_with_other_settings_is_refused_and_kept(tmp_path):
    path = tmp_path / "pairs"
    with writer(path, n=3) as out:
        out.mark("first")
    with pytest.raises(InputError, match="n: 3 there, 4 now"):
        writer(path, n=4)
    with writer(path, n=3) as out:
        assert out.done("first")


def test_a_second_run_into_the_same_folder_is_refused(tmp_path):
    path = tmp_path / "pairs"
    with writer(path), pytest.raises(InputError, match="another run is writing it now"):
        writer(path)


def test_a_finished_folder_is_never_overwritten(tmp_path):
    made = make(tmp_path / "pairs")
    with pytest.raises(InputError, match="exists already"):
        writer(made.path)


def test_a_damaged_chunk_is_found_when_read(tmp_path):
    made = make(tmp_path / "pairs")
    chunk = made.path / artifacts.DATA / "w" / "c" / "1" / "0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(bytes(content))
    with pytest.raises(InputError, match="'w' is damaged"):
        made.read(made.open(), "w")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "damaged"),
        ("[]", "another file"),
        (json.dumps({"format": "linkjax", "format_version": 99, "kind": "pairs"}), "newer"),
        (json.dumps({"format": "linkjax", "format_version": 1, "kind": "sweep"}), "expected pairs, found sweep"),
    ],
)
def test_a_manifest_that_is_not_right_is_named(tmp_path, content, said):
    made = make(tmp_path / "pairs")
    (made.path / manifest.FILE).write_text(content)
    with pytest.raises(InputError, match=said):
        artifacts.Artifact(made.path, "pairs")


def test_other_weights_are_refused(tmp_path):
    made = make(tmp_path / "pairs")
    artifacts.check_weights(made.manifest, "generator", "a" * 64, "the pairs")
    with pytest.raises(InputError, match="made with another generator"):
        artifacts.check_weights(made.manifest, "generator", "b" * 64, "the pairs")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="give another --out"):
        writer(tmp_path / "file" / "pairs")

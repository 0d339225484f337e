import numpy as np
import pytest

import linkjax
from linkjax.analysis.spaces import straightness
from linkjax.cli import main
from linkjax.storage import artifacts
from tests import tolerances
from tests.stages.conftest import CONGRUENCE, assert_same_bits, chunks_done, do


@pytest.fixture(scope="module")
def flags(world, network):
    return ["congruence", *world.linked, "--other-link", network, *CONGRUENCE]


def read(path):
    found = artifacts.Artifact(path, "congruence")
    data = found.open()
    return {name: found.read(name) for name in data.variables}, found


def test_a_path_is_what_the_classifier_sees_between_two_samples(world, network, congruence):
    arrays, found = read(congruence)
    assert artifacts.names(found.open(), "route") == ["link", "W", "other link"]
    assert arrays["encoded"].shape == (3, 4, 3, 16) and found.summary["images"] == 36
    assert arrays["path_within"].tolist() == [True, True, False, False]
    np.testing.assert_array_equal(arrays["path_label"][:, 0] == arrays["path_label"][:, 1], arrays["path_within"])
    pairs = artifacts.Artifact(world.pairs, "pairs")
    test = slice(*pairs.summary["splits"]["test"])
    generator, classifier = linkjax.load(world.generator), linkjax.load(world.classifier)
    # The ends of the line in W are the samples themselves.
    r = pairs.read("r", test)
    apart = np.abs(arrays["encoded"][1, :, 0][:, None] - r[None]).max(axis=2)
    first = apart.argmin(axis=1)
    assert apart.min(axis=1).max() < tolerances.STAGE_R * np.abs(r).max()
    again = linkjax.load(network)(r[first[:1]])
    expected = np.asarray(classifier(classifier.preprocess(generator.synthesis(again))).penultimate)
    assert np.abs(arrays["encoded"][2, 0, 0] - expected).max() < tolerances.STAGE_R * np.abs(r).max()
    last = np.abs(arrays["encoded"][1, :, -1][:, None] - r[None]).max(axis=2).argmin(axis=1)
    of, progress = straightness.measure(arrays["encoded"][0], r[last] - r[first])
    np.testing.assert_allclose(arrays["straightness"][0], np.stack(of, axis=1), rtol=1e-5)
    np.testing.assert_allclose(arrays["progress"][0], progress, rtol=1e-4, atol=1e-5)


def test_the_table_has_every_question_and_the_gain_is_the_difference_of_fits(congruence):
    _, found = read(congruence)
    rows = {(row["question"], row["scope"]): row for row in found.summary["rows"]}
    assert {question for question, _ in rows} == {
        "distances", "neighbours", "chord", "r2", "direction", "reach", "fit", "gain",
    }  # fmt: skip
    gain = rows["fit", "other link"]["value"] - rows["fit", "link"]["value"]
    assert rows["gain", "other link"]["value"] == pytest.approx(gain)
    assert rows["distances", "all"]["count"] == 40 * 39 // 2 and found.summary["neighbours"]["within"] == 1
    for row in rows.values():
        assert row["low"] <= row["high"]


def test_a_kill_fewer_devices_and_batch_size_change_nothing(flags, congruence, tmp_path, killed_after, on_devices):
    flags = [*flags, "--out", str(tmp_path / "congruence"), "--batch-size", "2"]
    on_devices(2)
    killed_after(4)
    assert main(flags) == 1
    assert chunks_done(tmp_path / "congruence")
    killed_after(10**6)
    on_devices(1)
    do(*flags)
    assert_same_bits(tmp_path / "congruence", congruence, "congruence")


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--steps", "2"], "3 or more"), (["--samples", "3"], "expected 4 or more"), (["--other-link", "x"], "found")],
)
def test_wrong_settings_are_one_sentence(world, tmp_path, capsys, flags, said):
    assert main(["congruence", *world.linked, "--out", str(tmp_path / "congruence"), *flags]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and error.count("\n") == 0
    assert not (tmp_path / "congruence").exists()

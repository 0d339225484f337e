import shutil

import numpy as np
import pytest

import linkjax
from linkjax.analysis.comparisons import matching
from linkjax.analysis.comparisons.matching import PRIVATE, SHARED
from linkjax.cli import main
from linkjax.storage import artifacts
from tests.stages.conftest import assert_same_bits, do
from tests.stages.side_by_side import planted, told

FLAGS = ["--split", "train", "--draws", "60", "--shuffles", "40"]


@pytest.fixture(scope="module")
def compared(world):
    """The world's classifier beside a network that has four of its units, one of them twice, and two of its own."""
    made = artifacts.Artifact(world.pairs, "pairs")
    r = made.read("r")
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(len(r), 6)) * r.std(axis=0).mean()
    varies = np.argsort(-r.std(axis=0))[:4]
    carried = r[:, varies] * [1, -2, 3, 0.5] + 1
    second = np.concatenate([carried, carried[:, :1] + 0.05 * noise[:, :1], noise[:, 1:3]], axis=1)
    other = planted(world.folder / "planted_pairs", world.pairs, second)
    out = world.folder / "side_by_side"
    do("compare", "--pairs", world.pairs, "--other-pairs", other, "--names", "own", "<b>", "--out", out, *FLAGS)
    return varies, other, out


def test_planted_units_are_matched_doubles_within_and_what_one_network_alone_has_is_private(world, compared):
    varies, _, out = compared
    found = linkjax.open(out)
    network, other = found["network"].values, found["other"].values
    back = found.isel(match=(network == "<b>") & (other == "own"))
    np.testing.assert_array_equal(back["partner"][:4], varies)
    np.testing.assert_array_equal(np.sign(back["r"][:4]), [1, -1, 1, 1])
    np.testing.assert_array_equal(back["kind"], [SHARED] * 5 + [PRIVATE] * 2)
    assert (back["agreement"][:4] > 0.999).all()
    within = found.isel(match=(network == "<b>") & (other == "<b>"))
    assert within["partner"].values[[0, 4]].tolist() == [4, 0] and within["mutual"].values[[0, 4]].all()
    forth = found.isel(match=(network == "own") & (other == "<b>"))
    assert (forth["kind"].values[varies] == SHARED).all() and forth.sizes["match"] == 16
    summary = told(out)
    row = next(row for row in summary["rows"] if (row["network"], row["other"]) == ("<b>", "own"))
    assert (row["shared"], row["private"], row["dead"]) == (5, 2, 0) and 0.1 < row["chance"] < 0.5
    assert {each["scope"] for each in summary["similarity"]} == {"within classes", "all"}
    within, overall = (
        [each for each in summary["similarity"] if each["scope"] == scope] for scope in ("within classes", "all")
    )
    assert all(0 < each["low"] < each["value"] < each["high"] <= 1 for each in within)
    assert all(0 < each["value"] < 1 and each["low"] is None for each in overall)  # one block of samples


def test_a_network_beside_itself_shares_all_and_does_the_same_in_the_image(world, tmp_path):
    flags = ["--pairs", world.pairs, "--other-pairs", world.pairs, "--sweep", world.sweep]
    do("compare", *flags, "--other-sweeps", world.sweep, *FLAGS, "--out", tmp_path / "same")
    found, summary = linkjax.open(tmp_path / "same"), told(tmp_path / "same")
    assert summary["networks"] == ["classifier 1", "classifier 2"]
    beside = found.isel(match=(found["network"] == "classifier 1").values & (found["other"] == "classifier 2").values)
    live = beside["kind"].values == SHARED
    np.testing.assert_array_equal(beside["partner"].values[live], beside["unit"].values[live])
    assert live.sum() > 3
    swept = np.isfinite(beside["effect_cosine"].values)
    assert np.allclose(beside["effect_cosine"].values[swept], 1) and swept.sum() > 3
    np.testing.assert_array_equal(beside["nearest_by_effect"].values[swept], beside["unit"].values[swept])
    assert all(each["value"] == pytest.approx(1) for each in summary["similarity"])
    row = next(row for row in summary["rows"] if row["network"] != row["other"])
    assert row["effect_mean"] == pytest.approx(1) and row["effect_p"] < 0.02
    do("report", "--out", tmp_path / "report", "--pairs", world.pairs, "--side-by-side", tmp_path / "same")
    assert "cosine of effects" in (tmp_path / "report" / "index.html").read_text()


def test_devices_change_nothing_and_it_is_a_part_of_the_page(world, compared, tmp_path, on_devices):
    _, other, out = compared
    on_devices(1)
    flags = ["--pairs", world.pairs, "--other-pairs", other, "--names", "own", "<b>", *FLAGS]
    do("compare", *flags, "--out", tmp_path / "again")
    assert_same_bits(tmp_path / "again", out, "side_by_side")
    do("report", "--out", tmp_path / "report", "--pairs", world.pairs, "--side-by-side", out)
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Side by side" in page and "&lt;b&gt;" in page and "<b>" not in page
    assert "units that are alike within it" in page


def test_killed_after_it_found_partners_it_measures_them_alone_and_gives_the_same(
    world, compared, tmp_path, monkeypatch
):
    _, other, out = compared
    flags = ["--pairs", world.pairs, "--other-pairs", other, "--names", "own", "<b>", *FLAGS]
    with monkeypatch.context() as patch:
        patch.setattr(matching.PairSums, "add", interrupted)
        assert main(["compare", *flags, "--out", str(tmp_path / "again")]) == 1
    assert not (tmp_path / "again").exists()
    monkeypatch.setattr(matching.WithinClasses, "add", interrupted)
    do("compare", *flags, "--out", tmp_path / "again")
    assert_same_bits(tmp_path / "again", out, "side_by_side")
    assert told(tmp_path / "again") == told(out)


def interrupted(*_):
    raise KeyboardInterrupt


def test_other_samples_and_settings_that_do_not_fit_are_refused_in_a_sentence(world, compared, tmp_path, capsys):
    moved = artifacts.Artifact(world.pairs, "pairs")
    r = moved.read("r")
    other = planted(tmp_path / "moved", world.pairs, r)
    import zarr

    group = zarr.open_group(tmp_path / "moved" / "data.zarr", mode="r+")
    group["w"][3, 0] = np.nextafter(group["w"][3, 0], 9)  # one bit of one latent
    none = shutil.copytree(world.pairs, tmp_path / "fewer")
    text = (none / "manifest.json").read_text().replace('"first_row": 24', '"first_row": 25')
    (none / "manifest.json").write_text(text)
    out = ["--pairs", world.pairs, "--out", str(tmp_path / "out")]
    for flags, said in (
        (["--other-pairs", other, "--split", "train"], "of other samples than"),
        ([], "other-pairs: expected one or more"),
        (["--other-pairs", str(none)], "of other samples than"),
        (["--other-pairs", compared[1], "--names", "one"], "names: expected 2 different ones"),
        (["--other-pairs", compared[1], "--sweep", world.sweep], "one of each of the 2 classifiers, or none"),
        (["--other-pairs", compared[1], "--sweep", world.sweep, "--other-sweeps", world.sweep], "other pairs than"),
        (["--other-pairs", world.link], "expected pairs, found link"),
        (["--other-pairs", compared[1], "--least", "1"], "least: expected"),
    ):
        assert main(["compare", *out, *flags]) == 2, flags
        error = capsys.readouterr().err.strip().splitlines()[-1]  # a bar may stand above, where latents were read
        assert said in error and error.startswith("linkjax: ")
    assert not (tmp_path / "out").exists()

import shutil

import numpy as np
import pytest

import linkjax
from linkjax.analysis.comparisons import matching
from linkjax.analysis.comparisons.matching import PRIVATE, SHARED
from linkjax.cli import main
from linkjax.storage import artifacts
from tests.stages.conftest import assert_same_bits, do
from tests.stages.side_by_side import planted, searched, told

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
    searches = ["--counterfactual", world.counterfactual, "--other-counterfactuals", world.counterfactual]
    do("compare", *flags, "--other-sweeps", world.sweep, *searches, *FLAGS, "--out", tmp_path / "same")
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
    moved = (found["moved_w"] > 0).values[:, 0]
    for kind in ("w", "image"):
        np.testing.assert_allclose(found[f"cosine_{kind}"].values[moved], 1, rtol=1e-6)
    assert moved.any() and (np.nan_to_num(found["use_difference"]) == 0).all()
    do("report", "--out", tmp_path / "report", "--pairs", world.pairs, "--side-by-side", tmp_path / "same")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "cosine of effects" in page and "of the same samples: 20 searches" in page


def test_counterfactuals_of_the_same_samples_are_held_against_each_other(world, compared, tmp_path):
    """The other network's are the first's, backwards in W, one luminance left alone, one search missing."""
    own = artifacts.Artifact(world.counterfactual, "counterfactual")
    start_w, w, change, sample = (own.read(name) for name in ("start_w", "w", "metric_change", "sample_id"))
    still, gone = change.copy(), sample.copy()
    still[:, 0, 0], gone[0] = 0, 99
    altered = {"w": 2 * start_w - w, "metric_change": still, "sample_id": gone}
    other = searched(tmp_path / "other", world.counterfactual, compared[1], **altered)
    flags = ["--pairs", world.pairs, "--other-pairs", compared[1], "--names", "own", "<b>", *FLAGS]
    searches = ["--counterfactual", world.counterfactual, "--other-counterfactuals", other]
    do("compare", *flags, *searches, "--out", tmp_path / "out")
    found = linkjax.open(tmp_path / "out")
    assert found.sizes["search"] == len(w) - 1 and found["search_sample"].values.tolist() == sample[1:].tolist()
    np.testing.assert_allclose(found["moved_w"].sel(classifier="own"), own.read("distance_w")[1:], rtol=1e-3, atol=1e-4)
    both = found["cosine_w"].sel(classifier="own", other_classifier="<b>").values
    np.testing.assert_allclose(both[np.isfinite(both)], -1, atol=1e-5)
    ahead = found.sel(classifier="own", other_classifier="<b>", part="image")["use_difference"].values
    assert ahead[0] > 0 and (ahead[1:] <= 1e-6).all()
    np.testing.assert_allclose(found["use"].sum(("part", "metric")), 1, rtol=1e-5)
    mine = (found["network"] == "own").values & (found["other"] == "<b>").values
    assert found["used"].values[mine].sum() == pytest.approx(1, abs=1e-5)
    summary = told(tmp_path / "out")
    [row] = summary["flips"]
    assert row["both"] == (own.read("outcome")[1:] == 0).sum() and row["cosine_w_mean"] == pytest.approx(-1)
    kinds = next(each for each in summary["rows"] if (each["network"], each["other"]) == ("own", "<b>"))
    assert sum(kinds[f"used_{kind}"] for kind in matching.KINDS) == pytest.approx(1)


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
    out, mine = ["--pairs", world.pairs, "--out", str(tmp_path / "out")], world.counterfactual
    searches = ["--counterfactual", mine, "--other-counterfactuals"]
    known = ("sample_id", "label", "target", "method", "method_of", "part", "metric")
    target = artifacts.Artifact(mine, "counterfactual").read("target") + 9
    unknown = searched(tmp_path / "unknown", mine, compared[1], known)
    elsewhere = searched(tmp_path / "elsewhere", mine, compared[1], (*known, "start_w"), target=target)
    parts = searched(tmp_path / "parts", mine, compared[1], (*known, "start_w"), part=np.array(["whole"], object))
    for flags, said in (
        (["--other-pairs", other, "--split", "train"], "of other samples than"),
        ([], "other-pairs: expected one or more"),
        (["--other-pairs", str(none)], "of other samples than"),
        (["--other-pairs", compared[1], "--names", "one"], "names: expected 2 different ones"),
        (["--other-pairs", compared[1], "--sweep", world.sweep], "one of each of the 2 classifiers, or none"),
        (["--other-pairs", compared[1], "--sweep", world.sweep, "--other-sweeps", world.sweep], "other pairs than"),
        (["--other-pairs", world.link], "expected pairs, found link"),
        (["--other-pairs", compared[1], "--least", "1"], "least: expected"),
        (["--other-pairs", compared[1], "--other-counterfactuals", mine], "one of each of the 2 classifiers, or none"),
        (["--other-pairs", compared[1], *searches, mine], "were made with other pairs than"),
        (["--other-pairs", compared[1], *searches, elsewhere], "have no search in common"),
        (["--other-pairs", compared[1], *searches, unknown], "do not say where in W they start"),
        (["--other-pairs", compared[1], *searches, parts], "differ in their parts"),
    ):
        assert main(["compare", *out, *flags]) == 2, flags
        error = capsys.readouterr().err.strip().splitlines()[-1]  # a bar may stand above, where latents were read
        assert said in error and error.startswith("linkjax: ")
    assert not (tmp_path / "out").exists()

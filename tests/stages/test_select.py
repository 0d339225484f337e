"""select: what is found in a sweep, whatever the devices and interruptions, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pyarrow.parquet
import pytest
import xarray as xr

import linkjax
from linkjax.analysis.finite import finite_mean
from linkjax.analysis.metrics import measurements
from linkjax.analysis.units import query, redundancy, selection, selectivity
from linkjax.cli import main
from linkjax.errors import InputError
from linkjax.stages import inputs
from linkjax.storage import artifacts, checkpoint, manifest
from linkjax.storage.swept_values import read_asked
from tests import worlds
from tests.stages.conftest import SELECT, assert_same_bits, chunks_done, do


@pytest.fixture(scope="module")
def made(selection):
    return artifacts.Artifact(selection, "selection")


def test_effects_are_those_of_the_sweep_and_the_table_says_what_the_arrays_say(world, made):
    swept = artifacts.Artifact(world.sweep, "sweep")
    data = swept.open()
    value, unit, std = read_asked(swept, data), swept.read("unit"), swept.read("unit_std")
    measured = measurements.unwrapped(swept.read("measured"), axis=2)
    slopes = np.asarray(selectivity.anchor_slopes(*map(jnp.asarray, (value, measured, std[unit]))), np.float64)
    a = np.where(np.isfinite(slopes).sum(axis=0) >= 2, finite_mean(slopes), np.nan)
    b = made.read("effect")
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.nanmax(np.abs(a)))
    x = value - value.mean(axis=2, keepdims=True)
    sums = [np.einsum("aus,aus...->u...", x, each) for each in (measured, swept.read("obtained"))]
    with np.errstate(divide="ignore", invalid="ignore"):  # of units that moved in no anchor
        ratio = std[unit][:, None, None] * sums[0] / sums[1][:, None, None]
    known = np.isfinite(slopes).all(axis=0) & np.isfinite(b)
    assert known.any()
    np.testing.assert_allclose(made.read("per_obtained")[known], ratio[known], rtol=2e-3)
    fidelity, error, first = (
        of.read(name) for of, name in ((swept, "fidelity"), (swept, "fidelity_se"), (made, "first_stage"))
    )
    several = np.isfinite(error)
    np.testing.assert_allclose(first[several], (fidelity / error)[several] ** 2, rtol=2e-3)
    rows = linkjax.select(made.open(), fdr=0.3)
    stored = pyarrow.parquet.read_table(made.path / "selected.parquet").to_pydict()
    assert len(stored["unit"]) == rows.sizes["row"] and list(rows["unit"].values) == stored["unit"]
    assert (made.path / "selected.csv").read_text().count("\n") == rows.sizes["row"] + 1
    assert (rows["q"].values <= 0.3).all() and made.summary["selected_units"] == len(set(stored["unit"]))


def test_a_unit_set_to_a_constant_changes_the_head_as_the_head_says(world, made):
    classifier, pairs = linkjax.load(world.classifier), artifacts.Artifact(world.pairs, "pairs")
    start, stop = pairs.summary["splits"]["test"]
    r, label = (pairs.read(name, slice(start, stop)) for name in ("r", "label"))
    unit = int(np.flatnonzero(made.read("flag") == 0)[0])
    without = r.copy()
    without[:, unit] = 0.0
    before, after = (np.asarray(classifier.head(values)) for values in (r, without))
    logit, accuracy = (made.read(f"ablation_{name}")[unit, 0] for name in ("logit", "accuracy"))
    for column, name in enumerate(made.read("ablated_class_id")):
        mine = label == name
        assert logit[column] == pytest.approx((after - before)[mine, name].mean(), abs=1e-3)
        right = [(scores[mine].argmax(axis=1) == name).mean() for scores in (before, after)]
        assert accuracy[column] == pytest.approx(right[1] - right[0], abs=1e-6)


def test_doubles_are_units_of_which_w_says_the_same(world, made):
    """Along steering directions: the correlation, within classes, of what w predicts of two units."""
    link = linkjax.load(world.link)
    cosine, live = made.read("cosine"), made.read("cluster") >= 0
    predicted = np.asarray(link.back, np.float64).T @ np.asarray(link.covariance, np.float64) @ link.back
    spread = np.sqrt(predicted.diagonal())[live]
    expected = predicted[np.ix_(live, live)] / (spread[:, None] * spread[None])
    assert live.any() and np.isfinite(expected).all()
    np.testing.assert_allclose(cosine[np.ix_(live, live)], expected, atol=1e-4)


def test_parts_of_a_segmenter_have_effects_of_their_own(world, tmp_path):
    """A sweep with a segmenter: effects of its parts, asked for by name, hold what the sweep measured."""
    segmenter = worlds.segmenter(linkjax.load(world.generator), ("background", "left ear", "right"))
    sha256 = manifest.read(world.folder / "generator")["sha256"]
    checkpoint.save_model(tmp_path / "segmenter", segmenter, source={"weights": {"generator": sha256}})
    sweep = ["--segmenter", tmp_path / "segmenter", "--out", tmp_path / "sweep", "--picture-units", "0"]
    do("sweep", *world.linked, *sweep, "--samples", "2", "--range", "link", "--steps", "2", "--random-directions", "4")
    query = ["--query", "left_ear.area or abs(image.luminance) > 0", "--no-ablation"]
    do("select", "--sweep", tmp_path / "sweep", "--out", tmp_path / "selection", *SELECT, *query)
    swept, found = (artifacts.Artifact(tmp_path / name, name) for name in ("sweep", "selection"))
    assert artifacts.names(found.open(), "part") == ["image", "background", "left ear", "right"]
    a, b = (each.read("effect") for each in (swept, found))
    both = np.isfinite(a) & np.isfinite(b)
    np.testing.assert_allclose(a[both], b[both], rtol=2e-3, atol=1e-3 * np.abs(a[both]).max())
    assert both[:, 2].any() and found.read("q").shape == a.shape
    rows = linkjax.select(found.open(), "left_ear.area", fdr=0.999)
    assert set(rows["part"].values.tolist()) <= {"left ear"}
    both = [linkjax.select(found.open(), f"left_ear.area and {word}", fdr=0.999) for word in ("caution", "not caution")]
    assert (both[0]["caution"].values > 0).all() and (both[1]["caution"].values == 0).all()
    assert sorted(rows["unit"].values) == sorted(np.concatenate([each["unit"].values for each in both]))


def test_a_network_as_link_has_directions_of_its_own(world, tmp_path):
    """Along the link itself, without a kernel: what it makes of one more of a unit, on the mean over anchors."""
    do("link", "--pairs", world.pairs, "--out", tmp_path / "mlp", "--method", "mlp", "--hidden", "8", "--epochs", "2")
    linked = [*world.models, "--pairs", world.pairs, "--link", tmp_path / "mlp"]
    sweep = ["--out", tmp_path / "sweep", "--picture-units", "0", "--samples", "2", "--range", "link", "--steps", "2"]
    do("sweep", *linked, *sweep, "--random-directions", "4", "--directions", "kernel")
    do("select", "--sweep", tmp_path / "sweep", "--out", tmp_path / "selection", *SELECT, "--no-ablation")
    found = artifacts.Artifact(tmp_path / "selection", "selection")
    cosine, flag = (found.read(name) for name in ("cosine", "flag"))
    link, swept = linkjax.load(tmp_path / "mlp"), artifacts.Artifact(tmp_path / "sweep", "sweep")
    r = inputs.first_of_each_class(artifacts.Artifact(world.pairs, "pairs"), "test", 2)["r"]
    moved = r[:, None] + np.diag(swept.read("unit_std"))[None]
    steps = np.asarray(link(jnp.asarray(moved)) - link(jnp.asarray(r))[:, None]).mean(axis=0)
    live = np.flatnonzero(flag == 0)
    length = np.linalg.norm(steps[live], axis=1)
    expected = steps[live] @ steps[live].T / (length[:, None] * length[None])
    # Both are differences of float32, of two programs.
    np.testing.assert_allclose(cosine[np.ix_(live, live)], expected, atol=3e-3)
    assert found.summary["effective_rank"] == pytest.approx(redundancy.direction_rank(steps), rel=1e-3)


def test_a_kill_fewer_devices_and_batch_size_change_nothing(world, made, tmp_path, killed_after, on_devices):
    flags = ["select", "--sweep", world.sweep, "--out", str(tmp_path / "out"), *SELECT, "--batch-size", "2"]
    on_devices(2)
    killed_after(3)
    assert main(flags) == 1
    assert chunks_done(tmp_path / "out")
    killed_after(10**6)
    on_devices(1)
    do(*flags)
    again = artifacts.Artifact(tmp_path / "out", "selection")
    assert again.id == made.id
    assert_same_bits(tmp_path / "out", made.path, "selection")


def test_wrong_use_is_one_sentence_and_leaves_nothing(world, tmp_path, capsys):
    for flags, said in (
        (["--query", "imag.luminance > 0"], "did you mean 'image'"),
        (["--query", "fidelity"], "compared with a number"),
        (["--fdr", "2"], "fdr"),
        (["--link", world.classifier], "expected link"),
    ):
        assert main(["select", "--sweep", world.sweep, "--out", str(tmp_path / "out"), *flags]) == 2, flags
        assert said in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def _table(**more):
    rng = np.random.default_rng(0)
    slopes = 0.1 * rng.normal(size=(20, 6, 2, 2))
    slopes[:, 1, 0, 0] += 2.0
    slopes[:, 4, 0, 0] -= 3.0
    slopes[:, 4, 1, 1] += 1.0
    array = xr.DataArray(
        slopes, dims=("sample", *selection.DIMS), coords={"part": ["left ear", "tail"], "metric": ["area", "x"]}
    )
    null = 0.05 * rng.normal(size=(32, 2, 2))
    random = {"r": (np.ones(6), null)}
    return selection.measure_effects(array, np.arange(20) % 4, random=random, fidelity=np.linspace(0, 1, 6), **more)


def test_a_query_finds_the_units_that_were_made_to_answer_it():
    table = _table()
    for text, units in (
        ("left_ear.area > 0", [1]),
        ("abs(left_ear.area) > 1", [4, 1]),
        ("left_ear.area and fidelity > 0.5", [4]),
        ("left_ear.area < 0 and not tail.x > 0", []),
        ("-4 < left_ear.area < -1 or tail.x > 0.5", [4]),
        ("left_ear.area > 0 and consistency == 1", [1]),
    ):
        found = linkjax.select(table, text)
        assert list(dict.fromkeys(found["unit"].values.tolist())) == units, text


def test_a_part_that_is_hidden_in_one_picture_keeps_its_effects_in_the_table():
    baseline = np.random.default_rng(5).normal(size=(20, 2, 2)) * [[2.0, 1.0], [0.5, 0.1]]
    whole = linkjax.select(_table(spread=measurements.spread(baseline, ["area", "x"])))
    baseline[3, 1] = np.nan
    hidden = linkjax.select(_table(spread=measurements.spread(baseline, ["area", "x"])))
    assert hidden["unit"].values.tolist() == whole["unit"].values.tolist()
    assert np.isfinite(hidden["effect_sd"].values).all()
    np.testing.assert_allclose(hidden["effect_sd"], whole["effect_sd"], rtol=0.2)
    assert hidden["effect_sd"].values[0] == pytest.approx(1.0 / np.nanstd(baseline[:, 1, 1]), rel=0.1)


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "a.b > ", "left_ear.size > 0", "1", "fidelity > 1e99", "left_ear.area + 1 > 0", "x" * 3000,
     "fidelity > 'a'", "(" * 500, "abs() > 0", "fidelity in (1, 2)", "left_ear.area.real > 0", "lambda: 0"],
)  # fmt: skip
def test_what_is_no_query_is_refused_and_never_run(text):
    with pytest.raises(InputError, match="query"):
        query.parse(text, ["left ear", "tail"], ["area", "x"], selection.COLUMNS)


def test_doubles_and_opposites_are_one_cluster_with_one_representative():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(5, 40))
    rows = np.concatenate([rows, -2.0 * rows[:1] + 0.01, rows[:1] * 3.0, np.zeros((1, 40))])
    found = redundancy.clusters(redundancy.cosines(rows), 0.9, np.array([0.1, 1, 1, 1, 1, 0.9, np.nan, 2]))
    assert set(np.flatnonzero(found.label == 0)) == {0, 5, 6} and found.label[7] == -1
    np.testing.assert_array_equal(np.flatnonzero(found.representative), [1, 2, 3, 4, 5])
    assert sorted(found.order) == list(range(8)) and found.order[-1] == 7
    assert redundancy.direction_rank(np.eye(7)) == pytest.approx(7)


def test_student_p_values_are_uniform_where_units_are_random_directions_too():
    rng = np.random.default_rng(2)
    gradient, norm = rng.normal(size=60), np.linspace(1, 5, 2000)

    def sphere(count):
        rows = rng.normal(size=(count, 60))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True) @ gradient

    arrays = (norm * sphere(2000), norm, sphere(400))
    arrays = [np.float32(each if each is norm else each[:, None]) for each in arrays]
    p = np.asarray(selectivity.student_p_values(*map(jnp.asarray, arrays)))[:, 0]
    for share in (0.01, 0.1, 0.5):
        assert abs((p < share).mean() - share) < 4 * np.sqrt(share * (1 - share) / 2000)  # of a binomial count


def test_the_page_tells_effects_with_intervals_doubles_and_ablations(made, tmp_path):
    do("report", "--selection", made.path, "--out", tmp_path / "page")
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    drawn = {path.stem for path in (tmp_path / "page" / "figures").glob("*.png")}
    assert {"unit_cosines", "ablations"} <= drawn and "effective rank" in page
    significant = made.summary["significant"] > 0
    assert ("Significant effects, largest first" in page) == ("selected_effects" in drawn) == significant
    assert ">nan" not in page

import jax.numpy as jnp
import numpy as np
import pytest

from linkjax import numerics
from linkjax.analysis.metrics.image_metrics import IMAGE_METRICS, measure_images
from linkjax.analysis.units import asked, random_directions, response, sweep
from linkjax.errors import InputError
from linkjax.models import build
from linkjax.models.link import LinkSpec, link_class
from tests.analysis import fakes
from tests.tolerances import BATCHING, SWEEP


def anchors(count=6, units=5, w_dim=8, seed=1):
    rng = np.random.default_rng(seed)
    return tuple(jnp.asarray(rng.normal(size=(count, size)), jnp.float32) for size in (w_dim, units))


def test_robust_range_is_numpys_percentiles_and_ignores_an_outlier():
    r = np.random.default_rng(0).gamma(2.0, size=(300, 7)).astype(np.float32)
    r[0] = 1e6
    got = sweep.robust_range(jnp.asarray(r), 1.0, 99.0)
    np.testing.assert_allclose(np.stack([got.low, got.high]), np.percentile(r, [1, 99], axis=0), rtol=1e-5)
    assert got.high.max() < 20
    assert not got.dead.any()


def test_units_that_hardly_move_are_dead():
    r = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    r[:, 1] = 0.25
    r[:, 2] *= 1e-6
    r[:, 3] = np.where(np.arange(200) == 7, 5.0, 0.0)  # fires once: its 99th percentile is 0
    r[0, 4] = np.nan
    assert sweep.robust_range(jnp.asarray(r)).dead.tolist() == [False, True, True, True, True, False]
    assert sweep.robust_range(jnp.ones((4, 3))).dead.all()


def test_residual_mode_at_the_anchors_own_value_is_the_anchor():
    _, _, link = fakes.world()
    w, r = anchors()
    unit = jnp.asarray([0, 1, 2, 3, 4, 0])
    own = r[jnp.arange(6), unit]
    np.testing.assert_array_equal(sweep.swept_w(link, w, r, unit, own), w)


@pytest.mark.parametrize("mode", ["residual", "absolute"])
def test_the_short_form_for_linear_links_is_the_definition(mode):
    _, _, link = fakes.world()
    w, r = anchors()
    unit, value = jnp.asarray([0, 1, 2, 3, 4, 0]), jnp.linspace(-2, 2, 6)
    changed = r.at[jnp.arange(6), unit].set(value)
    expected = link(changed) if mode == "absolute" else w + link(changed) - link(r)
    np.testing.assert_allclose(sweep.swept_w(link, w, r, unit, value, mode), expected, atol=1e-6)
    directions = random_directions.draw_directions(0, 2, np.ones(r.shape[1], bool), w.shape[1])
    unit = unit.at[:4].set(r.shape[1] + jnp.arange(4))  # two in r, two in W
    read, beside = sweep.steps_of(link, mode, directions)
    assert isinstance(read, sweep.Steps) == (beside is None) == (mode == "residual")
    np.testing.assert_array_equal(
        sweep.swept_w(read, w, r, unit, value, mode, beside), sweep.swept_w(link, w, r, unit, value, mode, directions)
    )


@pytest.mark.parametrize("mode", ["residual", "absolute"])
def test_a_step_of_some_layers_leaves_the_rows_of_all_others_to_the_bit(mode):
    _, _, link = fakes.world()
    w, r = anchors()
    unit, value, rows = jnp.asarray([0, 1, 2, 3, 4, 0]), jnp.linspace(-2, 2, 6), jnp.asarray([True, False, True, False])
    found = sweep.swept_w(link, w, r, unit, value, mode, layers=rows)
    moved, base = sweep.swept_w(link, w, r, unit, value, mode), w if mode == "residual" else link(r)
    assert found.shape == (6, 4, 8)
    for row, expected in enumerate((moved, base, moved, base)):
        np.testing.assert_array_equal(found[:, row], expected)


@pytest.mark.parametrize("mode", ["residual", "absolute"])
def test_links_without_a_kernel_follow_the_definition(mode):
    link = fakes.BentLink(np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32))
    w, r = anchors()
    unit, value = jnp.asarray([0, 1, 2, 3, 4, 0]), jnp.linspace(-2, 2, 6)
    changed = r.at[jnp.arange(6), unit].set(value)
    expected = link(changed) if mode == "absolute" else w + (link(changed) - link(r))
    np.testing.assert_array_equal(sweep.swept_w(link, w, r, unit, value, mode), expected)


@pytest.mark.parametrize("method", ["ols", "mlp"])
def test_the_projects_links_are_swept_by_the_definition(method):
    spec = LinkSpec(units=5, w_dim=8, method=method, hidden=(6,) if method == "mlp" else ())
    rng = np.random.default_rng(0)
    shapes = build.shapes(link_class(spec), spec)
    link = build.fill(link_class(spec), spec, {name: rng.normal(size=leaf.shape) for name, leaf in shapes.items()})
    w, r = anchors()
    unit, value = jnp.asarray([0, 1, 2, 3, 4, 0]), jnp.linspace(-2, 2, 6)
    expected = w + link(r.at[jnp.arange(6), unit].set(value)) - link(r)
    np.testing.assert_allclose(sweep.swept_w(link, w, r, unit, value), expected, atol=1e-5)


def items(generator, count=12, seed=2):
    w, r = anchors(count, seed=seed)
    rng = np.random.default_rng(seed)
    unit = jnp.asarray(rng.integers(0, 5, count), jnp.int32)
    value = jnp.asarray(rng.normal(size=count), jnp.float32)
    return w, r, generator.synthesis(w), unit, value


def test_a_step_encodes_and_measures_the_swept_image():
    generator, classifier, link = fakes.world()
    w, r, image, unit, value = items(generator)
    got = sweep.sweep_step(generator, classifier, link, w, r, image, unit, value, return_images=True)
    made = generator.synthesis(sweep.swept_w(link, w, r, unit, value))
    np.testing.assert_allclose(got.r, classifier(made).penultimate, atol=1e-5)
    np.testing.assert_allclose(got.logits, classifier(made).logits, atol=1e-5)
    difference = np.abs(np.asarray(got.images, int) - np.asarray(numerics.to_uint8(made), int))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01  # a last bit may cross a truncation
    before = numerics.to_uint8(image).astype(jnp.float32) / 255
    metrics = measure_images(got.images.astype(jnp.float32) / 255, before)
    np.testing.assert_allclose(got.metrics[:, 0], metrics, rtol=1e-5, atol=1e-3)
    assert got.metrics.shape == (12, 1, len(IMAGE_METRICS))


def test_images_and_logits_are_left_out_when_there_are_none():
    generator, classifier, link = fakes.world()
    classifier.has_head = False
    w, r, _, unit, value = items(generator)
    got = sweep.sweep_step(generator, classifier, link, w, r, None, unit, value)
    assert got.images is None and got.logits is None
    changes = [name.startswith("change") for name in IMAGE_METRICS]
    np.testing.assert_array_equal(np.isnan(np.asarray(got.metrics)[:, 0]).all(axis=0), changes)


def test_padding_is_blank_and_changes_nothing_else():
    generator, classifier, link = fakes.world()
    w, r, image, unit, value = items(generator)
    mask = jnp.arange(12) < 9
    whole = sweep.sweep_step(generator, classifier, link, w, r, image, unit, value, return_images=True)
    got = sweep.sweep_step(generator, classifier, link, w, r, image, unit, value, mask, return_images=True)
    for name in ("w", "r", "logits", "metrics"):
        np.testing.assert_array_equal(getattr(got, name)[:9], getattr(whole, name)[:9])
        assert np.isnan(getattr(got, name)[9:]).all()
    assert not np.asarray(got.images[9:]).any()


def test_items_do_not_depend_on_their_batch():
    generator, classifier, link = fakes.world()
    all_items = items(generator)
    whole = sweep.sweep_step(generator, classifier, link, *all_items)
    parts = [sweep.sweep_step(generator, classifier, link, *(a[i : i + 3] for a in all_items)) for i in range(0, 12, 3)]
    for name in ("w", "r", "logits", "metrics"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        expected = np.asarray(getattr(whole, name))
        assert np.max(np.abs(joined - expected)) < BATCHING * np.max(np.abs(expected)), name


def test_a_world_that_inverts_itself_has_fidelity_one_and_no_side_effects():
    generator, classifier, link = fakes.world()
    w, r = anchors(4)
    ranges = sweep.robust_range(r)
    ends = asked.Ends(*(np.broadcast_to(np.asarray(end), r.shape) for end in (ranges.low, ranges.high)))
    values = jnp.asarray(asked.values_around(ends, np.asarray(r), 3))
    unit, anchor, step = (a.ravel() for a in np.meshgrid(range(5), range(4), range(3), indexing="ij"))
    got = sweep.sweep_step(
        generator, classifier, link, w[anchor], r[anchor], None, jnp.asarray(unit), values[anchor, unit, step]
    )
    sums = response.add_items(
        response.empty_sums(5, 4, {"r": 5, "logits": 4}),
        jnp.asarray(unit),
        jnp.asarray(anchor),
        values[anchor, unit, step],
        {"r": got.r, "logits": got.logits},
    )
    found = response.slopes(sums)
    np.testing.assert_allclose(found.slope["r"], np.eye(5), atol=SWEEP)
    np.testing.assert_allclose(found.slope["logits"], classifier.weight[...], atol=10 * SWEEP)
    np.testing.assert_allclose(response.fidelity(found.slope["r"], jnp.arange(5)), np.ones(5), atol=SWEEP)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda r: sweep.robust_range(r[0]), "samples, units"),
        (lambda r: sweep.robust_range(r, 60.0, 40.0), "low < high"),
        (lambda r: sweep.swept_w(None, r, r, jnp.arange(6), r[:, 0], "relative"), "residual"),  # type: ignore
    ],
)
def test_wrong_input_is_refused_in_a_sentence(call, says):
    with pytest.raises(InputError, match=says):
        call(anchors()[1])

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.analysis.counterfactuals import minimal, paths
from linkjax.analysis.metrics import measurements
from linkjax.devices import parallel
from linkjax.errors import InputError
from tests import draws
from tests.analysis import fakes
from tests.tolerances import BATCHING, PATH

T = paths.positions(5, 2)
WANTED = np.array([0.3, 0.55, 0.8, 0.95, 0.4, 0.7, 1.2, 2.0])


@functools.cache
def world():
    """Searches whose flip is known: the image shows r exactly, the head is linear, only the target's logit rises."""
    generator, classifier, link = fakes.world(units=6, w_dim=8, classes=4)
    rng = np.random.default_rng(3)
    r = np.repeat((20 + rng.uniform(-0.5, 0.5, (4, 6))).astype(np.float32), 2, axis=0)
    classifier.bias[...] = -20 * jnp.sum(classifier.weight[...], axis=0)
    logits = np.asarray(classifier.head(jnp.asarray(r)), np.float64)
    origin = logits.argmax(axis=1).astype(np.int32)
    target = ((origin + np.tile([1, 2], 4)) % 4).astype(np.int32)
    row = np.arange(8)
    rise = np.zeros((8, 4))
    rise[row, target] = (logits[row, origin] - logits[row, target]) / WANTED
    shift = -(rise @ np.linalg.pinv(np.asarray(classifier.weight[...], np.float64))).astype(np.float32)
    assert ((r - T[-1] * shift) > 0).all()
    planes = [
        paths.Plane(rng.normal(size=n).astype(np.float32), np.linalg.qr(rng.normal(size=(n, 2)))[0].astype(np.float32))
        for n in (6, 8)
    ]
    models = paths.PathModels(generator, classifier, link, None, *planes)
    items = {"r": r, "shift": shift, "origin": origin, "target": target}
    return models, items, logits[:, None] + np.asarray(T)[None, :, None] * rise[:, None]


def run(models, items):
    return paths.walk(models, *(items[name] for name in ("r", "shift", "origin", "target")), t=T, most_units=3)


@functools.cache
def walked():
    models, items, _ = world()
    return {name: np.asarray(values) for name, values in run(models, items).items()}


def test_a_path_flips_where_the_margins_meet_and_not_where_it_does_not_go():
    found, inside = walked(), T[-1] >= WANTED
    np.testing.assert_allclose(found["flip"][inside], WANTED[inside], atol=PATH)
    for name in ("flip", "flip_slope", "flip_head_gap"):
        assert np.isfinite(found[name][inside]).all() and np.isnan(found[name][~inside]).all()
    np.testing.assert_array_equal(found["crossings"], inside.astype(int))
    np.testing.assert_allclose(found["flip_head_gap"][inside], 0, atol=PATH)  # here the image and the head agree


def test_every_point_is_seen_as_its_logits_say():
    _, items, logits = world()
    found, row = walked(), np.arange(8)
    p = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    own, other = p[row, :, items["target"]], p[row, :, items["origin"]]
    np.testing.assert_allclose(found["path_target"], own, atol=PATH)
    np.testing.assert_allclose(found["path_origin"], other, atol=PATH)
    np.testing.assert_allclose(found["path_log_odds"], np.log(own / (1 - own)), atol=10 * PATH)
    gap = logits[row, :, items["target"]] - logits[row, :, items["origin"]]
    np.testing.assert_allclose(found["path_head_gap"], gap, atol=10 * PATH)
    sure = np.abs(gap) > 0.01
    np.testing.assert_array_equal(found["path_prediction"][sure], logits.argmax(axis=2)[sure])
    np.testing.assert_array_equal((found["path_margin"] > 0)[sure], (gap > 0)[sure])


def test_the_units_named_are_those_that_change_most():
    _, items, _ = world()
    found, row = walked(), np.arange(8)[:, None]
    size = np.abs(items["shift"])
    assert (np.sort(size, axis=1)[:, :-4:-1] == size[row, found["top_unit"]]).all()
    np.testing.assert_allclose(found["top_change"], -items["shift"][row, found["top_unit"]], atol=1e-5)
    unit, change = paths.top_units(jnp.asarray([[0.0, -2.0, 0.0, 1.0]]), 3)
    assert unit.tolist() == [[1, 3, -1]] and change.tolist() == [[-2.0, 1.0, 0.0]]


def test_places_are_projections_and_the_decision_line_is_where_two_logits_are_equal():
    models, items, _ = world()
    found = walked()
    r = items["r"][:, None] - np.asarray(T, np.float32)[None, :, None] * items["shift"][:, None]
    expected = (r - models.plane_r.mean) @ models.plane_r.directions
    np.testing.assert_allclose(found["place_r"], expected, atol=1e-4)
    np.testing.assert_allclose(found["seen_r"], expected, atol=20 * PATH)  # the image shows r
    np.testing.assert_allclose(found["seen_w"], found["place_w"], atol=20 * PATH)
    logits, slope = map(np.asarray, paths.decision_lines(models.classifier, models.plane_r))
    normal = slope[1] - slope[2]
    nearest = -(logits[1] - logits[2]) * normal / (normal @ normal)
    for along in (-1.0, 2.0):  # two points of the line
        x = nearest + along * np.array([-normal[1], normal[0]])
        z = models.classifier.head(jnp.asarray(models.plane_r.mean + models.plane_r.directions @ x, jnp.float32)[None])
        assert abs(float(z[0, 1] - z[0, 2])) < 1e-3 * float(jnp.max(jnp.abs(z)))


def test_metrics_are_those_of_the_images_at_both_ends():
    models, items, _ = world()
    found = walked()
    first, last = (
        jnp.clip((models.generator.synthesis(models.link(jnp.asarray(r))) + 1) * 127.5, 0, 255).astype(jnp.uint8)
        for r in (items["r"], items["r"] - items["shift"])
    )
    first, last = (image.astype(jnp.float32) / 255.0 for image in (first, last))
    np.testing.assert_allclose(found["metric_start"], measurements.measure(first, first), atol=0.05)
    np.testing.assert_allclose(found["metric_end"], measurements.measure(last, first), atol=0.05)
    np.testing.assert_allclose(found["metric_change"], found["metric_end"] - found["metric_start"], atol=1e-5)
    change = list(measurements.metrics_of(0)).index("change")
    assert not found["metric_start"][..., change].any() and (found["metric_end"][..., change] > 0).any()


def test_a_path_does_not_depend_on_its_batch_or_the_number_of_devices():
    models, items, _ = world()
    whole, eight = walked(), parallel.sharded(run, models, parallel.mesh())(items)
    part = run(models, {name: rows[2:5] for name, rows in items.items()})
    for name, values in whole.items():
        for other, rows in ((eight[name], slice(None)), (part[name], slice(2, 5))):
            mine, other = values[rows].astype(np.float64), np.asarray(other, np.float64)
            np.testing.assert_array_equal(np.isnan(mine), np.isnan(other), err_msg=name)
            gap = np.nanmax(np.abs(mine - other), initial=0.0)
            assert gap <= 100 * BATCHING * max(np.nanmax(np.abs(values), initial=0.0), 1.0), name


def test_a_crossing_is_the_first_and_its_ends_are_named():
    margin = jnp.asarray([
        [1.0, 2.0, 3.0],  # is the target already
        [-3.0, -2.0, -1.0],  # never is
        [-1.0, 3.0, -1.0],  # a quarter of the way, and back
        [-1.0, jnp.nan, 2.0],  # nothing is known of the point before
    ])  # fmt: skip
    found = paths.first_crossing(margin > 0, margin)
    place = paths.at_crossing(jnp.broadcast_to(jnp.asarray([[0.0, 0.5, 1.0]]), (4, 3)), found)
    np.testing.assert_allclose(place, [0.0, np.nan, 0.125, 1.0])
    assert found.reached.tolist() == [True, False, True, True]


def test_a_margin_is_above_zero_for_the_top_class_alone():
    logits = draws.normal(0, 50, 4)
    target = jnp.full(50, 2)
    np.testing.assert_array_equal(paths.margin_of(logits, target) > 0, jnp.argmax(logits, axis=1) == 2)
    assert (paths.margin_of(logits, target) >= minimal.smooth_margin(logits, target)).all()


def test_points_are_even_and_hold_the_counterfactual():
    assert paths.positions(3, 1) == (0.0, 0.5, 1.0, 1.5) and 1.0 in paths.positions(7, 5)
    with pytest.raises(InputError, match="2 points"):
        paths.positions(1)

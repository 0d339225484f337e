import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from linkjax.analysis.counterfactuals import counterfactual, minimal
from linkjax.analysis.counterfactuals.counterfactual import Outcome, through_head
from linkjax.analysis.counterfactuals.minimal import Minimal, SearchModels
from linkjax.analysis.links.covariance import ledoit_wolf
from linkjax.devices import parallel
from linkjax.errors import InputError
from tests.analysis import fakes
from tests.tolerances import BATCHING, MINIMAL_LENGTH

PENALTIES = ("l1", "l2", "whitened")


@functools.cache
def shrunk():
    rng = np.random.default_rng(1)
    return ledoit_wolf(rng.normal(size=(40, 6)) @ rng.normal(size=(6, 6)))


def world(penalty="l2", low=2.0, samples=4):
    """Samples × two targets in a world where re-encoding gives r′ back exactly: what the head says, the image shows."""
    generator, classifier, link = fakes.world(units=6, w_dim=8, classes=5)
    rng = np.random.default_rng(3)
    r = np.repeat(rng.uniform(low, low + 2.0, (samples, 6)).astype(np.float32), 2, axis=0)
    origin = np.asarray(jnp.argmax(classifier.head(jnp.asarray(r)), axis=1), np.int32)
    target = (origin + np.tile([1, 2], samples)).astype(np.int32) % 5
    root = jnp.asarray(shrunk().root, jnp.float32) if penalty == "whitened" else None
    return SearchModels(generator, classifier, link, root), *map(jnp.asarray, (r, origin, target))


def margin(models, r, target):
    return np.asarray(minimal.smooth_margin(models.classifier.head(jnp.asarray(r, jnp.float32)), target))


def size(change, penalty):
    if penalty == "whitened":
        return float(np.linalg.norm(shrunk().inverse_root @ change))
    return float(np.linalg.norm(change, 1 if penalty == "l1" else 2))


def least(models, r, target, wanted, penalty, floor=0.0):
    """The least change with at least this margin, by SciPy's general solver in float64."""
    kernel, bias = (np.asarray(p[...], np.float64) for p in (models.classifier.weight, models.classifier.bias))

    def margin(x):
        z = (r + x) @ kernel + bias
        others = np.delete(z, target)
        top = others.max()
        return z[target] - top - np.log(np.exp(others - top).sum())

    def objective(x):
        if penalty == "l1":
            return x.sum()
        return np.sum((shrunk().inverse_root @ x) ** 2) if penalty == "whitened" else x @ x

    units = len(r)
    if penalty == "l1":  # x = (raised, lowered), both at least 0
        whole = np.vstack([np.eye(units), -np.eye(units)])
        constraints = [{"type": "ineq", "fun": lambda x: margin(x @ whole) - wanted}]
        bounds = [(0, None)] * units + [(0, value) for value in r]
        begin = np.full(2 * units, 0.1)
    else:
        whole = np.eye(units)
        constraints = [{"type": "ineq", "fun": lambda x: margin(x) - wanted}]
        bounds = [(floor - value, None) for value in r]
        begin = np.zeros(units)
    options = {"maxiter": 500, "ftol": 1e-9}
    found = minimize(objective, begin, bounds=bounds, constraints=constraints, method="SLSQP", options=options)
    assert abs(margin(found.x @ whole) - wanted) < 1e-6  # there, whatever the solver says of its last step
    return size(found.x @ whole, penalty)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_change_is_the_least_for_the_margin_it_has_and_just_flips(penalty):
    models, r, origin, target = world(penalty)
    found, _ = minimal.search(models, r, origin, target, Minimal(penalty, rounds=14, iterations=200))
    assert (np.asarray(found.outcome) == Outcome.REACHED).all()
    np.testing.assert_array_equal(jnp.argmax(found.logits, axis=1), target)
    change = np.asarray(found.r - r, np.float64)
    for row in range(0, len(change), 2 if penalty == "l2" else 3):
        wanted = float(margin(models, found.r, target)[row])
        best = least(models, np.asarray(r[row], np.float64), int(target[row]), wanted, penalty)
        assert size(change[row], penalty) < best * (1 + MINIMAL_LENGTH)
    shorter = models.classifier.head(r + 0.95 * (found.r - r))  # a twentieth less no longer flips
    assert (jnp.argmax(shorter, axis=1) != target).all()


def test_units_that_are_negative_in_some_sample_start_as_they_are_and_may_go_anywhere():
    models, r, origin, target = world(low=-1.0, samples=3)
    floor = counterfactual.floor_of(np.concatenate([np.asarray(r), np.ones((1, 6))]))
    np.testing.assert_array_equal(floor, np.where((np.asarray(r) < 0).any(axis=0), -np.inf, 0))
    free = models._replace(floor=jnp.full((1, 6), -jnp.inf))
    found, _ = minimal.search(free, r, origin, target, Minimal("l2", rounds=14, iterations=200))
    assert (np.asarray(found.outcome) == Outcome.REACHED).all() and (np.asarray(found.r) < 0).any()
    wanted = float(margin(models, found.r, target)[0])
    best = least(models, np.asarray(r[0], np.float64), int(target[0]), wanted, "l2", -np.inf)
    assert np.linalg.norm(found.r[0] - r[0]) < best * (1 + MINIMAL_LENGTH)
    still = counterfactual.search(
        models.classifier, models.link, r, origin, origin, jnp.zeros_like(r), models.classifier,
        counterfactual.through_head, floor=free.floor,
    )  # fmt: skip
    assert (np.asarray(still.outcome) == Outcome.ALREADY).all()
    np.testing.assert_array_equal(still.r, r)


def test_through_the_image_finds_what_the_head_finds_where_the_image_shows_it_exactly():
    models, r, origin, target = world("l1")
    head, image = (
        minimal.search(models, r, origin, target, Minimal("l1", through, rounds=8, iterations=100))[0]
        for through in ("head", "image")
    )
    np.testing.assert_array_equal(head.outcome, image.outcome)
    np.testing.assert_allclose(head.r, image.r, atol=2e-3)
    assert (np.asarray(image.images) == 1 + 8 * 102).all() and (np.asarray(head.images) == 9).all()


def test_through_the_image_flips_where_the_head_is_wrong_about_the_picture():
    models, r, origin, target = world("l2")
    twisted = models.classifier.encode[...] @ jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0],
                                                          jnp.float32)  # fmt: skip
    classifier = fakes.Classifier(twisted, models.classifier.weight[...], models.classifier.bias[...])
    models = models._replace(classifier=classifier)
    head, image = (
        minimal.search(models, r, origin, target, Minimal("l2", through, rounds=12, iterations=60))[0]
        for through in ("head", "image")
    )
    there = np.asarray(image.outcome) == Outcome.REACHED
    assert there.mean() > np.mean(np.asarray(head.outcome) == Outcome.REACHED)
    both = there & (np.asarray(head.outcome) == Outcome.REACHED)
    assert (image.distance_r[both] <= head.distance_r[both] * 1.01).all()


@pytest.mark.parametrize("penalty", ["l2", "whitened"])
def test_the_closed_form_meets_its_plane_and_nothing_shorter_does(penalty):
    models, r, origin, target = world(penalty)
    wanted = jnp.full(8, 0.3)
    u = minimal.to_plane(models, r, origin, target, wanted)
    change = u if models.root is None else u @ models.root
    np.testing.assert_allclose(minimal.logit_gap(models, r + change, origin, target), wanted, atol=1e-4)
    rng = np.random.default_rng(0)
    for row in range(8):
        other = np.asarray(change[row]) + 0.3 * rng.normal(size=6)
        a = np.asarray(models.classifier.weight[...])[:, [target[row], origin[row]]] @ [1, -1]
        other -= a * (a @ (other - np.asarray(change[row]))) / (a @ a)  # back onto the plane
        assert size(other, penalty) > size(np.asarray(change[row]), penalty)


def test_the_closed_form_may_meet_a_third_class_and_then_goes_on():
    models, r, origin, target = world("l2")
    found, first = minimal.search(models, r, origin, target, Minimal("l2", "plane"))
    at_plane = models.classifier.head(r + minimal.to_plane(models, r, origin, target, jnp.full(8, 0.05)))
    seen = np.asarray(jnp.argmax(at_plane, axis=1))
    assert (seen[~np.asarray(first)] != np.asarray(target)[~np.asarray(first)]).all() and not first.all()
    there = np.asarray(found.outcome) == Outcome.REACHED
    assert there.all()


@pytest.mark.parametrize("penalty", ["l2", "whitened"])
def test_activations_stay_at_least_zero_and_silent_units_can_be_raised(penalty):
    models, r, origin, target = world(penalty, low=0.0)
    r = r.at[:, :3].set(0.0)
    origin = jnp.argmax(models.classifier.head(r), axis=1).astype(jnp.int32)
    target = (origin + 1) % 5
    found, _ = minimal.search(models, r, origin, target, Minimal(penalty))
    there = np.asarray(found.outcome) == Outcome.REACHED
    assert there.mean() > 0.5
    assert (found.r >= 0).all() and (np.asarray(found.r)[there][:, :3] > 0).any()


def test_every_end_of_a_search_has_its_name():
    models, r, origin, target = world("l2")
    target = target.at[0].set(origin[0])
    r = r.at[2].set(jnp.nan)
    models.classifier.bias[...] = models.classifier.bias[...].at[target[4]].add(-1e9)
    mask = jnp.arange(8) != 6
    recipe = Minimal("l2", rounds=4)
    found, first = minimal.search(models, r, origin, target, recipe, mask=mask)
    outcome = np.asarray(found.outcome)
    expected = {0: Outcome.ALREADY, 2: Outcome.NONFINITE, 4: Outcome.MAX_STEPS, 6: Outcome.PADDING}
    assert {row: int(outcome[row]) for row in expected} == {row: int(code) for row, code in expected.items()}
    assert not np.asarray(first)[[0, 2, 4, 6]].any()
    assert not np.asarray(found.shift)[[0, 6]].any() and np.isfinite(np.asarray(found.shift)[4]).all()


def test_rows_do_not_depend_on_their_batch_or_the_number_of_devices():
    models, r, origin, target = world("whitened", samples=8)

    def run(models, items):
        found, first = minimal.search(
            models, items["r"], items["origin"], items["target"], Minimal("whitened"), through_head_of
        )
        return {**found._asdict(), "first": first}

    items = {"r": r, "origin": origin, "target": target}
    whole = run(models, items)
    eight = parallel.sharded(run, models, parallel.mesh())(items)
    part = run(models, {name: rows[4:9] for name, rows in items.items()})
    for name, values in whole.items():
        scale = max(float(jnp.max(jnp.abs(values.astype(jnp.float32)))), 1.0)
        for other, rows in ((eight[name], slice(None)), (part[name], slice(4, 9))):
            gap = jnp.max(jnp.abs(other.astype(jnp.float32) - values[rows].astype(jnp.float32)))
            assert gap < 1e3 * BATCHING * scale, name  # 480 steps, each with the last one's rounding


def through_head_of(pair, w, r):
    return through_head(pair[1], w, r)


@given(st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=8), st.floats(0.1, 0.95))
def test_the_units_of_most_are_the_fewest_that_make_the_share(values, share):
    change = np.asarray([values], np.float32)
    used = np.asarray(minimal.units_of_most(jnp.asarray(change), share))[0]
    square = change[0].astype(np.float64) ** 2
    if not square.sum() > 1e-30:
        assert used.sum() <= len(values)
        return
    assert square[used].sum() >= share * square.sum() * (1 - 1e-5)
    largest = np.sort(square)[::-1]
    assert largest[: used.sum() - 1].sum() < share * square.sum() * (1 + 1e-5)
    assert not (~used).any() or square[used].min() >= square[~used].max()


def test_lengths_are_those_of_numpy():
    change = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    found = minimal.lengths(jnp.asarray(change), jnp.asarray(shrunk().inverse_root, jnp.float32))
    np.testing.assert_allclose(found["distance_l1"], np.abs(change).sum(axis=1), rtol=1e-5)
    expected = np.sqrt(np.sum(change * np.linalg.solve(shrunk().covariance, change.T).T, axis=1))
    np.testing.assert_allclose(found["distance_whitened"], expected, rtol=1e-4)


def test_recipes_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="closed form"):
        Minimal("l1", "plane")
    with pytest.raises(InputError, match="rounds ≥ 1"):
        Minimal(rounds=0)
    models, r, origin, target = world("l2")
    with pytest.raises(InputError, match="root of a covariance"):
        minimal.search(models, r, origin, target, Minimal("whitened"))


def test_a_margin_is_the_log_odds_of_the_target():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
    p = jax.nn.softmax(logits)[:, 2]
    found = minimal.smooth_margin(logits, jnp.full(5, 2))
    np.testing.assert_allclose(found, np.log(p / (1 - p)), atol=1e-5)

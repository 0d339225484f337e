import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.analysis.counterfactuals import counterfactual
from linkjax.analysis.counterfactuals.counterfactual import Outcome, Recipe
from linkjax.devices import parallel
from linkjax.errors import InputError
from tests.analysis import fakes
from tests.tolerances import BATCHING, COUNTERFACTUAL_F32, COUNTERFACTUAL_F64


@pytest.fixture(scope="module")
def stored(parity):
    with np.load(parity / "counterfactual.npz") as arrays:
        return dict(arrays)


def problem(stored, dtype):
    """The stored problem as a batch of one: (classifier, link, r, origin, target)."""
    classifier = fakes.Classifier(
        np.zeros((1, 1)), stored["fc_weight"].T.astype(dtype), stored["fc_bias"].astype(dtype)
    )
    link = fakes.LinearLink(stored["link_coef"].T.astype(dtype), stored["link_intercept"].astype(dtype))
    labels = (jnp.asarray([stored[name]], jnp.int32) for name in ("origin", "target"))
    return classifier, link, jnp.asarray(stored["r"][None], dtype), *labels


def never(models, w, r):
    """A test that no item passes: class 0 is no one's target here."""
    del models, w
    return jnp.eye(1, 7, dtype=r.dtype) * jnp.ones((r.shape[0], 1), r.dtype)


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, COUNTERFACTUAL_F64), (np.float32, COUNTERFACTUAL_F32)])
def test_five_steps_are_the_originals(stored, dtype, bound):
    def close(got, expected):
        assert np.max(np.abs(np.asarray(got) - expected)) < bound * np.max(np.abs(expected))

    with jax.enable_x64(dtype == np.float64):
        classifier, link, r, origin, target = problem(stored, dtype)
        recipe = Recipe(max_steps=5)
        objective = jax.jit(counterfactual.objective, static_argnames="recipe")
        descend = jax.jit(counterfactual.descend, static_argnames="recipe")
        assert recipe.step_size == float(stored["lr"])
        for step in range(5):
            shift = jnp.asarray(stored["shifts"][step][None], dtype)
            at = objective(classifier, link, r, shift, origin, target, recipe=recipe)
            close(at.loss[0], stored["losses"][step])
            close(at.logits[0], stored["preds"][step])
            close(at.cosine[0], stored["cosines"][step])
            following = descend(classifier, link, r, shift, origin, target, recipe=recipe)
            close((shift - following)[0] / 0.5, stored["grads"][step])
            close(following[0], stored["shifts"][step + 1])
        start = jnp.asarray(stored["shifts"][:1], dtype)
        got = counterfactual.search(classifier, link, r, origin, target, start, None, never, recipe)
        assert got.shift.dtype == dtype
        close(got.shift[0], stored["shifts"][5])
        close(got.w[0], stored["w_relu_after"][4])
        assert (int(got.steps[0]), int(got.outcome[0])) == (5, Outcome.MAX_STEPS)


def world(samples=4, seed=3):
    """Samples × targets as flat items: (classifier, link, r, origin, target, start), and the generator."""
    generator, classifier, link = fakes.world(units=6, w_dim=8, classes=5)
    rng = np.random.default_rng(seed)
    r = np.repeat(rng.uniform(0.2, 1.5, (samples, 6)).astype(np.float32), 2, axis=0)
    origin = np.asarray(jnp.argmax(classifier.head(jnp.asarray(r)), axis=1), np.int32)
    target = (origin + np.tile([1, 2], samples)).astype(np.int32) % 5
    start = rng.uniform(0, 1, r.shape).astype(np.float32)
    return generator, (classifier, link, *map(jnp.asarray, (r, origin, target, start)))


def plain_search(arguments, observe, recipe):
    """One item at a time, in Python, as the original's loop but for the test of the start."""
    classifier, link, r, origin, target, start = arguments
    rows = []
    descend = jax.jit(counterfactual.descend, static_argnames="recipe")
    for i in range(r.shape[0]):
        one, shift = slice(i, i + 1), start[i : i + 1]
        for step in range(recipe.max_steps + 1):
            if step % recipe.check_every == 0 or step == recipe.max_steps:
                changed = jax.nn.relu(r[one] - shift)
                if int(jnp.argmax(observe(link(changed), changed)[0])) == int(target[i]):
                    rows.append((shift[0], step, Outcome.REACHED if step else Outcome.ALREADY))
                    break
            if step < recipe.max_steps:
                shift = descend(classifier, link, r[one], shift, origin[one], target[one], recipe=recipe)
        else:
            rows.append((shift[0], recipe.max_steps, Outcome.MAX_STEPS))
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("check_every", [1, 4])
def test_every_item_of_a_batch_ends_as_in_a_loop_of_its_own(check_every):
    generator, arguments = world()
    classifier = arguments[0]
    recipe = Recipe(max_steps=11, check_every=check_every)
    got = counterfactual.search(*arguments, (generator, classifier), recipe=recipe)
    shift, steps, outcome = plain_search(
        arguments, lambda w, r: counterfactual.through_image((generator, classifier), w, r), recipe
    )
    assert len(set(outcome.tolist())) > 1  # the case is worth the test: not all end alike
    np.testing.assert_array_equal(got.outcome, outcome)
    np.testing.assert_array_equal(got.steps, steps)
    assert np.max(np.abs(got.shift - shift)) < COUNTERFACTUAL_F32


def test_the_record_describes_the_change():
    generator, arguments = world()
    _, link, r, _, target, _ = arguments
    got = counterfactual.search(*arguments, (generator, arguments[0]), recipe=Recipe(changed_above=0.3))
    assert (np.isin(got.outcome, (Outcome.REACHED, Outcome.ALREADY))).all()
    np.testing.assert_array_equal(jnp.argmax(got.logits, axis=1), target)
    np.testing.assert_array_equal(got.r, jax.nn.relu(r - got.shift))
    np.testing.assert_allclose(got.w, link(got.r), atol=1e-5)
    np.testing.assert_allclose(got.distance_r, np.linalg.norm(got.r - r, axis=1), rtol=1e-5)
    np.testing.assert_allclose(got.distance_w, np.linalg.norm(got.w - link(r), axis=1), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(got.changed, (np.abs(got.r - r) > 0.3).sum(axis=1))
    expected = np.exp(got.logits)[np.arange(8), target] / np.exp(got.logits).sum(axis=1)
    np.testing.assert_allclose(got.probability, expected, rtol=1e-5)


def test_a_finished_item_has_the_same_bits_whoever_its_neighbours_are():
    _, arguments = world(samples=8)
    classifier, link, r, origin, target, start = arguments
    recipe = Recipe(max_steps=14)
    whole = counterfactual.search(*arguments, classifier, counterfactual.through_head, recipe)
    assert len(np.unique(whole.steps)) > 2

    # item 0 beside sixteen copies of itself, all of which stop when it does
    def alone(i):
        return [jnp.repeat(a[i : i + 1], 16, axis=0) for a in (r, origin, target, start)]

    for i in (0, 3, 7):
        got = counterfactual.search(classifier, link, *alone(i), classifier, counterfactual.through_head, recipe)
        for name in got._fields:
            np.testing.assert_array_equal(getattr(got, name)[i], getattr(whole, name)[i], err_msg=name)


def test_items_do_not_depend_on_the_size_of_their_batch():
    _, arguments = world(samples=8)
    classifier, link, *items = arguments
    recipe = Recipe(max_steps=14)

    def run(*rows):
        return counterfactual.search(classifier, link, *rows, classifier, counterfactual.through_head, recipe)

    whole = run(*items)
    for size in (1, 4):
        got = run(*(a[4 : 4 + size] for a in items))
        for name in got._fields:
            a, b = np.asarray(getattr(got, name), float), np.asarray(getattr(whole, name), float)[4 : 4 + size]
            assert np.max(np.abs(a - b)) < 10 * BATCHING * max(np.max(np.abs(b)), 1), name


def test_a_search_goes_on_exactly_where_it_stopped():
    _, arguments = world()
    classifier, link, r, origin, target, start = arguments

    def run(start, steps):
        recipe = Recipe(max_steps=steps, check_every=2)
        return counterfactual.search(
            classifier, link, r, origin, target, start, classifier, counterfactual.through_head, recipe
        )

    first = run(start, 4)
    second, whole = run(first.shift, 4), run(start, 8)
    assert (np.asarray(first.outcome) == Outcome.MAX_STEPS).any()
    np.testing.assert_array_equal(second.shift, whole.shift)
    np.testing.assert_array_equal(first.steps + second.steps, whole.steps)


def test_an_item_that_is_no_longer_finite_stops_alone_with_its_last_finite_shift():
    _, arguments = world()
    classifier, link, r, origin, target, start = arguments
    recipe = Recipe(max_steps=6)
    clean = counterfactual.search(*arguments, classifier, counterfactual.through_head, recipe)
    r = r.at[2, 0].set(jnp.nan).at[5].set(3e38)
    got = counterfactual.search(
        classifier, link, r, origin, target, start, classifier, counterfactual.through_head, recipe
    )
    assert (np.asarray(got.outcome)[[2, 5]] == Outcome.NONFINITE).all()
    np.testing.assert_array_equal(got.shift[np.array([2, 5])], start[np.array([2, 5])])
    others = np.array([0, 1, 3, 4, 6, 7])
    np.testing.assert_array_equal(got.shift[others], clean.shift[others])
    np.testing.assert_array_equal(got.outcome[others], clean.outcome[others])


def test_a_start_that_is_the_target_takes_no_step_and_padding_is_not_run():
    _, arguments = world()
    classifier, link, r, origin, target, start = arguments
    start = start.at[1].set(0.0)
    target = target.at[1].set(origin[1])
    mask = jnp.arange(8) < 6
    start = start.at[6:].set(jnp.nan)
    got = counterfactual.search(
        classifier, link, r, origin, target, start, classifier, counterfactual.through_head, Recipe(max_steps=3), mask
    )
    assert (int(got.outcome[1]), int(got.steps[1])) == (Outcome.ALREADY, 0)
    np.testing.assert_array_equal(got.shift[1], start[1])
    assert (np.asarray(got.outcome)[6:] == Outcome.PADDING).all()
    assert not np.asarray(got.steps)[6:].any()
    assert (np.asarray(got.outcome)[:6] != Outcome.PADDING).all()


def test_eight_devices_find_what_one_finds():
    generator, (classifier, link, r, origin, target, start) = world()
    recipe = Recipe(max_steps=11)

    def run(models, items):
        generator, classifier, link = models
        return counterfactual.search(
            classifier,
            link,
            items["r"],
            items["origin"],
            items["target"],
            items["start"],
            (generator, classifier),
            recipe=recipe,
        )

    items = {"r": r, "origin": origin, "target": target, "start": start}
    eight = parallel.sharded(run, (generator, classifier, link), parallel.mesh())(items)
    one = run((generator, classifier, link), items)
    np.testing.assert_array_equal(eight.outcome, one.outcome)
    np.testing.assert_array_equal(eight.steps, one.steps)
    assert np.max(np.abs(eight.shift - one.shift)) < COUNTERFACTUAL_F32


def test_a_uniform_start_depends_on_its_names_alone():
    key = jax.random.key(0)
    sample, target = jnp.asarray([5, 9, 5, 2**31 - 1]), jnp.asarray([1, 2, 1, 0])
    got = np.asarray(counterfactual.uniform_start(key, (sample, target), 300))
    np.testing.assert_array_equal(got[0], got[2])
    np.testing.assert_array_equal(got[1], counterfactual.uniform_start(key, (sample[1:2], target[1:2]), 300)[0])
    assert not (got == counterfactual.uniform_start(key, (sample,), 300)).any(axis=1).all()
    assert (got >= 0).all() and (got < 1).all() and not (got[0] == got[1]).any()
    assert abs(got.mean() - 0.5) < 0.05


def test_cosine_has_a_finite_gradient_at_zero():
    gradient = jax.grad(lambda a: jnp.sum(counterfactual.cosine(a, jnp.ones((1, 3)))))(jnp.zeros((1, 3)))
    assert np.isfinite(gradient).all()


def test_an_impossible_recipe_is_refused():
    with pytest.raises(InputError, match="check_every ≥ 1"):
        Recipe(check_every=0)

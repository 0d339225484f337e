"""The renderer keeps its promises: exact labels, factors that move what they name, the same picture every time."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.demo import factors, shapes, world

COUNT = len(factors.FACTORS)


@functools.cache
def population() -> tuple[np.ndarray, world.RenderedAnimals]:
    z, breed = factors.sample(jax.random.key(7), 64)
    truth = factors.factors_of(z, breed)
    return np.asarray(truth), jax.tree.map(np.asarray, jax.jit(world.render)(truth))


@functools.cache
def sweep(factor: str) -> world.RenderedAnimals:
    """Five values of one factor, −1 to 1, the others at 0."""
    values = np.zeros((5, COUNT), np.float32)
    values[:, factors.FACTORS.index(factor)] = np.linspace(-1, 1, 5)
    return jax.tree.map(np.asarray, _render(values))


@jax.jit
def _render(values):
    return world.render(values)


def areas(labels: np.ndarray) -> np.ndarray:
    return np.stack([(labels == part).sum(axis=(1, 2)) for part in range(len(world.PARTS))], axis=1)


def test_pictures_lie_in_minus_one_to_one_and_masks_sum_to_one():
    _, drawn = population()
    assert drawn.image.shape == (64, 64, 64, 3) and drawn.image.dtype == np.float32
    assert drawn.labels.dtype == np.int32
    assert np.abs(drawn.image).max() <= 1
    assert np.abs(drawn.masks.sum(-1) - 1).max() < 1e-5


def test_labels_are_the_part_that_covers_most_of_a_pixel():
    _, drawn = population()
    sure = drawn.masks.max(-1) > 0.75
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(drawn.masks.argmax(-1)[sure], drawn.labels[sure])
    # Where three shapes meet in a pixel, the topmost need not cover most of it.
    assert (drawn.masks.argmax(-1) == drawn.labels).mean() > 0.995


def test_every_part_is_visible_in_every_picture():
    _, drawn = population()
    assert areas(drawn.labels).min() >= 9


def test_animals_stay_in_the_picture():
    _, drawn = population()
    assert drawn.labels[:, 0].max() == 0 and drawn.labels[:, -1].max() == 0
    assert (drawn.labels[:, :, [0, -1]] > 0).sum(axis=(1, 2)).max() <= 8


@pytest.mark.parametrize(
    ("factor", "part"),
    [
        ("ear_size", "ear"),
        ("snout_length", "snout"),
        ("tail_length", "tail"),
        ("tail_thickness", "tail"),
        ("leg_length", "leg"),
        ("leg_thickness", "leg"),
        ("body_length", "body"),
        ("body_height", "body"),
        ("eye_size", "eye"),
        ("head_size", "head"),
        ("tongue_length", "tongue"),
    ],
)
def test_a_size_factor_raises_the_area_of_its_part(factor: str, part: str):
    area = areas(sweep(factor).labels)[:, world.PARTS.index(part)]
    assert (np.diff(area) > 0).all(), area


def test_tail_angle_raises_the_tail_and_leaves_its_size():
    drawn = sweep("tail_angle")
    tail = drawn.labels == world.PARTS.index("tail")
    rows = np.arange(64)[None, :, None]
    heights = (tail * rows).sum(axis=(1, 2)) / tail.sum(axis=(1, 2))
    assert (np.diff(heights) < 0).all()


def test_droop_lowers_the_ear():
    ear = sweep("ear_droop").labels == world.PARTS.index("ear")
    heights = (ear * np.arange(64)[None, :, None]).sum(axis=(1, 2)) / ear.sum(axis=(1, 2))
    assert (np.diff(heights) > 0).all()


def test_position_moves_the_animal_and_nothing_else():
    drawn = sweep("position_x")
    animal = drawn.labels > 0
    columns = (animal * np.arange(64)[None, None, :]).sum(axis=(1, 2)) / animal.sum(axis=(1, 2))
    assert (np.diff(columns) > 0.5).all()
    assert np.ptp(animal.sum(axis=(1, 2))) <= 0.05 * animal.sum(axis=(1, 2)).mean()


@pytest.mark.parametrize("factor", ["body_lightness", "body_hue", "background_lightness", "background_hue"])
def test_a_color_factor_changes_colors_and_no_label(factor: str):
    drawn = sweep(factor)
    assert (drawn.labels == drawn.labels[:1]).all()
    inside = (drawn.labels == world.PARTS.index("background" if "background" in factor else "body"))[..., None]
    means = (drawn.image * inside).sum(axis=(1, 2)) / inside.sum(axis=(1, 2))
    assert np.abs(np.diff(means, axis=0)).max(axis=1).min() > 0.03
    if "lightness" in factor:
        assert (np.diff(means, axis=0) > 0).all()


def test_a_batch_gives_the_pictures_of_a_loop():
    truth, drawn = population()
    for index in (0, 17, 63):
        one = _render(truth[index])
        assert np.abs(np.asarray(one.image) - drawn.image[index]).max() < 1e-5
        np.testing.assert_array_equal(np.asarray(one.labels), drawn.labels[index])


def test_the_same_factors_give_the_same_bytes():
    truth, drawn = population()
    again = jax.jit(world.render)(jnp.asarray(truth))
    assert np.asarray(again.image).tobytes() == drawn.image.tobytes()


def test_derivatives_in_the_factors_are_finite_and_reach_every_factor():
    brightness = jax.jit(jax.grad(lambda f: jnp.sum(jnp.square(world.render(f).image))))
    gradient = np.asarray(brightness(jnp.asarray(population()[0][0])))
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).min() > 1e-3


def test_breeds_are_separable_by_a_line_in_the_factors():
    z, breed = factors.sample(jax.random.key(11), 8000)
    x = np.concatenate([np.asarray(factors.factors_of(z, breed)), np.ones((8000, 1))], axis=1)
    target = np.eye(len(factors.BREEDS))[np.asarray(breed)]
    solution = np.linalg.lstsq(x[:4000], target[:4000], rcond=None)[0]
    right = (x[4000:] @ solution).argmax(axis=1) == np.asarray(breed)[4000:]
    assert right.mean() >= 0.99


def test_breeds_share_their_spread_and_differ_in_their_means():
    means = factors.breed_means()
    distances = np.linalg.norm(means[:, None] - means[None], axis=-1) + 10 * np.eye(len(means))
    assert distances.min() > 1.5
    assert (means[:, -3:] == 0).all(), "position and background say nothing about the breed"


def test_only_the_direction_of_z_counts():
    z, breed = factors.sample(jax.random.key(3), 8)
    difference = factors.factors_of(z, breed) - factors.factors_of(3.0 * z, breed)
    assert np.abs(np.asarray(difference)).max() < 1e-6


def test_nuisances_move_several_factors_a_little():
    z = np.array(factors.sample(jax.random.key(5), 16)[0])
    moved = z.copy()
    moved[:, len(factors.FACTORS)] += 1.0
    breed = jnp.zeros(16, jnp.int32)
    change = np.abs(np.asarray(factors.factors_of(jnp.asarray(moved), breed) - factors.factors_of(z, breed)))
    assert (change.max(axis=0) > 1e-3).sum() >= 10
    assert change.max() < 0.35


def test_shapes_are_negative_inside_and_zero_on_the_outline():
    origin, one = jnp.zeros(2), jnp.asarray(1.0)
    p = jnp.asarray([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0], [5.0, 0.0]])
    np.testing.assert_allclose(shapes.disc(p, origin, 2 * one), [-2, 0, 1, 3], atol=1e-3)
    oval = np.asarray(shapes.ellipse(p, jnp.asarray([2.0, 3.0])))
    assert oval[0] < 0 and oval[3] > 0
    np.testing.assert_allclose(oval[1:3], 0, atol=1e-6)
    limb = shapes.limb(p, origin, jnp.asarray([4.0, 0.0]), one, one)
    np.testing.assert_allclose(limb, [-1, -1, 2, 0], atol=1e-3)


def test_coverage_is_one_inside_a_half_on_the_outline_and_zero_outside():
    np.testing.assert_allclose(shapes.coverage(jnp.asarray([-1.0, 0.0, 1.0])), [1.0, 0.5, 0.0], atol=1e-6)

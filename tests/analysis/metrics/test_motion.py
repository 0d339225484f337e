import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.registration import optical_flow_ilk, optical_flow_tvl1

from linkjax.analysis.metrics import motion
from linkjax.analysis.metrics.optical_flow import optical_flow
from linkjax.devices import parallel
from linkjax.errors import InputError
from tests import tolerances
from tests.reference.warped_textures import cases, errors, texture

SIZE = 64


@pytest.fixture(scope="module")
def moved():
    """Three textures moved in all ways, and the flow found."""
    made = cases(SIZE, ("camera", "gravel", "coffee"))
    flow = optical_flow(
        *(jnp.asarray(np.stack([getattr(case, name) for case in made])) for name in ("first", "second"))
    )
    return made, np.asarray(flow)


def test_flow_is_nearer_to_the_truth_than_scikit_images_on_real_textures(moved):
    made, flow = moved
    ours = np.mean([errors(case, each) for case, each in zip(made, flow, strict=True)], axis=0)
    for peer in (optical_flow_tvl1, optical_flow_ilk):
        theirs = np.mean([errors(case, peer(case.first, case.second)) for case in made], axis=0)
        assert (ours < tolerances.MOTION_MARGIN * theirs).all(), peer.__name__


def test_a_known_translation_is_recovered(moved):
    made, flow = moved
    for case, each in zip(made, flow, strict=True):
        if case.motion in ("shift 0.6", "shift 4"):
            assert errors(case, each)[0] < tolerances.MOTION_SHIFT, (case.texture, case.motion)


def test_equal_images_do_not_move():
    image = jnp.asarray(texture("chelsea", SIZE)[None, :SIZE, :SIZE, None].repeat(3, axis=-1), jnp.float32)
    found = motion.measure_motion(image, image, jnp.zeros((1, SIZE, SIZE), jnp.int32), num_parts=3)
    assert np.abs(found.residual).max() < tolerances.MOTION_NONE
    assert np.abs(found.affine).max() < tolerances.MOTION_NONE
    assert np.asarray(found.consistent).all() and np.abs(np.asarray(found.parts)[0, :2]).max() < tolerances.MOTION_NONE


def test_an_affine_field_is_removed_exactly_and_a_part_that_moves_by_itself_is_left():
    matrix = np.array([[0.03, -0.05, 1.5], [0.05, 0.03, -2.0]], np.float32)
    field = np.einsum("ak,khw->ahw", matrix, np.asarray(motion.grid(48, 32)))
    every = jnp.ones((48, 32), jnp.float32)
    found = motion.affine_part(jnp.asarray(field), every)
    assert np.abs(np.asarray(found) - matrix).max() < tolerances.MOTION_AFFINE
    part = np.zeros((48, 32), bool)
    part[10:20, 5:15] = True
    apart = field + np.where(part, np.float32(3.0), np.float32(0.0))
    found = np.asarray(motion.affine_part(jnp.asarray(apart), every))
    assert np.abs(np.einsum("ak,khw->ahw", found - matrix, np.asarray(motion.grid(48, 32)))).max() < 0.1
    out = motion.affine_part(jnp.asarray(apart), jnp.asarray(~part, jnp.float32))
    assert np.abs(np.asarray(out) - matrix).max() < tolerances.MOTION_AFFINE
    assert not np.asarray(motion.affine_part(jnp.asarray(field), 0 * every)).any()


def _square(top: int, left: int) -> np.ndarray:
    """A textured square of 20 pixels before another texture."""
    ground, figure = texture("grass", 48)[:64, :64], texture("astronaut", 48)
    image = 0.3 + 0.4 * ground
    image[top : top + 20, left : left + 20] = 0.2 + 0.8 * figure[20:40, 20:40]
    return image.astype(np.float32)[..., None].repeat(3, axis=-1)


def test_parts_move_as_their_pixels_do_absent_ones_are_nan_and_hidden_pixels_are_left_out():
    first, second = _square(20, 20), _square(23, 18)
    labels = np.zeros((64, 64), np.int32)
    labels[20:40, 20:40] = 1
    found = motion.measure_motion(*(jnp.asarray(each)[None] for each in (first, second, labels)), num_parts=3)
    parts, seen = np.asarray(found.parts)[0], np.asarray(found.seen)[0]
    assert np.abs(parts[2] - [3, -2]).max() < 0.2 and np.abs(parts[1]).max() < 0.2
    assert np.isnan(parts[3]).all() and np.isnan(seen[3])
    hidden = np.zeros((64, 64), bool)
    hidden[40:43, 18:38] = hidden[23:43, 18:20] = True  # where the square arrives
    known = np.asarray(found.consistent)[0]
    assert known[~hidden].mean() > 0.9 and known[hidden].mean() < 0.5
    field = np.asarray(motion.arrows(found, 16))[0]
    assert field.shape == (2, 16, 16) and np.abs(field[:, 7, 7] - [3, -2]).max() < 0.3
    with pytest.raises(InputError, match="labels and num_parts"):
        motion.measure_motion(jnp.asarray(first)[None], jnp.asarray(second)[None], num_parts=3)


def test_a_batch_gives_what_each_pair_gives_alone_and_eight_devices_what_one_gives(moved):
    made, _ = moved
    items = {name: np.stack([getattr(case, name)[20:36, 20:36] for case in made[:8]]) for name in ("first", "second")}
    batch = _flow((), {name: jnp.asarray(each) for name, each in items.items()})
    alone = optical_flow(*(jnp.asarray(each[:1]) for each in items.values()))
    assert np.abs(alone[0] - batch[0]).max() < tolerances.MOTION_BATCH
    mesh = parallel.mesh()
    assert mesh.size == 8
    [(_, spread)] = parallel.map_batches(_flow, (), parallel.batches(items, 8), 8, mesh)
    assert np.abs(spread - np.asarray(batch)).max() < tolerances.MOTION_BATCH


def _flow(models: tuple[()], items: dict[str, jax.Array]) -> jax.Array:
    return optical_flow(items["first"], items["second"])


def test_means_over_samples_leave_out_what_is_not_known():
    each = np.array([[1.0, np.nan, np.nan], [3.0, 2.0, np.nan]])
    mean, error = motion.over_samples(each)
    np.testing.assert_allclose(mean, [2.0, 2.0, np.nan])
    np.testing.assert_allclose(error, [1.0, np.nan, np.nan])

import jax
import jax.numpy as jnp
import numpy as np

from linkjax.ops.fourier import fourier_features, rigid_transform
from tests import tolerances

SIZE, RATE, BAND = 12, 8.0, 2.0


def features(freqs, phases, transform):
    return np.asarray(
        fourier_features(
            *(jnp.asarray(each, jnp.float32) for each in (freqs, phases, transform)),
            size=SIZE,
            sampling_rate=RATE,
            bandwidth=BAND,
        )
    )


def test_each_channel_is_a_wave_at_pixel_centres():
    random = np.random.default_rng(0)
    freqs, phases = random.uniform(-1.4, 1.4, (5, 2)), random.uniform(-0.5, 0.5, 5)
    centres = (np.arange(SIZE) - (SIZE - 1) / 2) / RATE
    y, x = np.meshgrid(centres, centres, indexing="ij")
    expected = np.sin(2 * np.pi * (x[..., None] * freqs[:, 0] + y[..., None] * freqs[:, 1] + phases))
    assert np.abs(features(freqs, phases, np.eye(3)[None])[0] - expected).max() <= tolerances.FOURIER


def test_waves_that_the_transform_takes_out_of_band_fade():
    freqs = np.array([[1.0, 0.0], [1.5, 0.0], [2.0, 0.0]])
    twice = np.diag([2.0, 2.0, 1.0])[None]
    largest = np.abs(features(freqs, [0.1, 0.1, 0.1], twice)[0]).max((0, 1))
    # to 2, 3 and 4 of a band that ends at 2 and a grid that holds 4
    assert largest[0] > 0.9 and 0.3 < largest[1] <= 0.5 and largest[2] == 0


def test_a_shift_by_whole_pixels_moves_the_picture():
    freqs, phases = np.array([[0.7, -0.4]]), np.array([0.2])
    moved = rigid_transform(jnp.asarray([[1.0, 0.0, 2 / RATE, 0.0]]))
    still = features(freqs, phases, np.eye(3)[None])
    assert np.abs(features(freqs, phases, moved)[:, :, 2:] - still[:, :, :-2]).max() <= tolerances.FOURIER


def test_rotation_comes_first_then_the_shift_and_only_the_angle_counts():
    t = np.array([[0.6, 0.8, 0.3, -0.2]], np.float32)
    rotate = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]])
    shift = np.array([[1, 0, -0.3], [0, 1, 0.2], [0, 0, 1]])
    expected = rotate @ shift
    assert np.abs(rigid_transform(jnp.asarray(t))[0] - expected).max() <= tolerances.FOURIER
    doubled = np.array([[1.2, 1.6, 0.6, -0.4]], np.float32)  # the shift is divided by the same norm
    assert np.abs(rigid_transform(jnp.asarray(doubled))[0] - expected).max() <= tolerances.FOURIER


def test_the_gradient_at_frequency_zero_is_finite():
    gradient = jax.grad(
        lambda freqs: jnp.sum(
            fourier_features(freqs, jnp.zeros(2), jnp.eye(3)[None], size=4, sampling_rate=4.0, bandwidth=1.0)
        )
    )(jnp.asarray([[0.0, 0.0], [0.5, 0.1]]))
    assert np.isfinite(gradient).all()

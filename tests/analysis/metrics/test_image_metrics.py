import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.analysis.metrics.image_metrics import IMAGE_METRICS, measure_images
from linkjax.errors import InputError
from tests.reference import region_loops
from tests.tolerances import BATCHING, REGIONS

NAMES = list(IMAGE_METRICS)


def plain(image: np.ndarray, reference: np.ndarray) -> dict[str, float]:
    """The metrics in float64 from byte images, each written out."""
    whole = region_loops.measure(image, np.zeros(image.shape[:2], int), 1)
    rgb, lab, other = image / 255.0, region_loops.lab(image / 255.0), region_loops.lab(reference / 255.0)
    luma = image @ np.array([0.2126, 0.7152, 0.0722])
    top, bottom = rgb.max(axis=-1), rgb.min(axis=-1)
    steps = np.concatenate([np.abs(np.diff(luma, axis=0)).ravel(), np.abs(np.diff(luma, axis=1)).ravel()])
    return {
        **{name: whole[name][0] for name in ("luminance", "lightness", "red_green", "yellow_blue", "entropy")},
        "chroma": np.hypot(lab[..., 1], lab[..., 2]).mean(),
        "saturation": np.where(top > 0, (top - bottom) / np.where(top > 0, top, 1), 0).mean(),
        "contrast": luma.std(),
        "sharpness": steps.mean(),
        "change": np.abs(image.astype(float) - reference).mean(),
        "change_lab": np.sqrt(((lab - other) ** 2).sum(axis=-1)).mean(),
    }


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 256, (4, 16, 8, 3)), np.ones((1, 8, 8, 1))).astype(np.uint8)
    smooth[0, :64] = 0  # black: no saturation to divide by
    return np.clip(smooth + rng.integers(-9, 10, smooth.shape), 0, 255).astype(np.uint8)


def unit(images) -> jax.Array:
    return jnp.asarray(images.astype(np.float32) / np.float32(255))


def test_every_metric_is_what_it_says(pictures):
    got = np.asarray(measure_images(unit(pictures), unit(pictures[::-1])), np.float64)
    assert got.shape == (4, len(NAMES))
    for row, image, reference in zip(got, pictures, pictures[::-1], strict=True):
        expected = plain(image, reference)
        assert list(IMAGE_METRICS) == NAMES and set(expected) == set(NAMES)
        for name, value in zip(NAMES, row, strict=True):
            assert abs(value - expected[name]) < REGIONS * max(abs(expected[name]), 1), name


def test_an_image_does_not_change_against_itself_and_changes_are_missing_without_a_reference(pictures):
    same = dict(zip(NAMES, np.asarray(measure_images(unit(pictures), unit(pictures))).T, strict=True))
    assert (same["change"] == 0).all() and (same["change_lab"] == 0).all()
    alone = dict(zip(NAMES, np.asarray(measure_images(unit(pictures))).T, strict=True))
    for name in NAMES:
        if name.startswith("change"):
            assert np.isnan(alone[name]).all()
        else:
            np.testing.assert_allclose(alone[name], same[name], rtol=BATCHING)


def test_numbers_do_not_depend_on_how_images_are_batched(pictures):
    expected = np.asarray(measure_images(unit(pictures), unit(pictures[::-1])))
    got = measure_images(unit(pictures), unit(pictures[::-1]), at_once=4)
    assert np.max(np.abs(got - expected) / np.max(np.abs(expected), axis=0)) < BATCHING


def test_gradients_are_finite_where_nothing_changed_and_where_all_is_black(pictures):
    pictures = pictures[:2, :16, :16]
    gradient = jax.grad(lambda x: jnp.sum(measure_images(x, unit(pictures))))(unit(pictures))
    assert np.isfinite(gradient).all()


def test_every_metric_has_a_unit_and_a_description():
    assert all(metric.unit and metric.description for metric in IMAGE_METRICS.values())


@pytest.mark.parametrize(
    ("images", "references", "says"),
    [
        (np.zeros((1, 4, 4, 3), np.uint8), None, "divide bytes by 255"),
        (np.zeros((4, 4, 3), np.float32), None, "B, H, W, 3"),
        (np.zeros((2, 4, 4, 3), np.float32), np.zeros((1, 4, 4, 3), np.float32), "like the images"),
    ],
)
def test_wrong_input_is_refused_in_a_sentence(images, references, says):
    with pytest.raises(InputError, match=says):
        measure_images(jnp.asarray(images), None if references is None else jnp.asarray(references))

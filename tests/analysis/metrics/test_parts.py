import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax import numerics
from linkjax.analysis.metrics import parts
from linkjax.errors import InputError
from linkjax.models import build
from linkjax.models.linear_segmenter import LinearSegmenter
from linkjax.models.segmenter import Segmenter, SegmenterSpec
from linkjax.models.stylegan_xl import layer_outputs
from linkjax.ops.resize import resize, resize_nearest
from tests import draws, tolerances, worlds

NAMES = ("background", "cap", "stem")


@pytest.fixture(scope="module")
def generator():
    return worlds.generator()


@pytest.fixture(scope="module")
def linear(generator):
    return worlds.segmenter(generator, NAMES)


def few_shot(generator, **options):
    spec = SegmenterSpec("S", 1, len(NAMES), widths=(6, 4, 4, 4), map_size=24, **options)
    channels = {"input": generator.spec.input_channels} | {x.name: x.out_channels for x in generator.spec.layers}
    count = sum(channels[name] for name in parts.few_shot_layers(generator.spec, spec))
    return build.random(Segmenter, dataclasses.replace(spec, in_channels=count), 3)


def latents(count=2):
    return draws.normal(5, count, 12)


def test_images_are_the_generators_and_scores_the_heads_on_its_features(generator, linear):
    w = latents()
    images, scores = parts.draw_with_parts(generator, linear, w)
    expected, features = generator.synthesis(w, features=True)
    assert scores.shape == (2, 16, 16, 3)
    assert jnp.abs(images - expected).max() < tolerances.GENERATOR_BATCH * jnp.abs(expected).max()
    wanted = linear(features)
    assert jnp.abs(scores - wanted).max() < tolerances.PARTS * jnp.abs(wanted).max()


def test_pixels_and_labels_are_those_of_images_and_scores(generator, linear):
    w = latents()
    images, scores = parts.draw_with_parts(generator, linear, w)
    drawn = parts.draw_pixels(generator, linear, w, images=True)
    assert drawn.finite.all()
    np.testing.assert_array_equal(drawn.labels, np.argmax(scores, axis=-1))
    np.testing.assert_array_equal(drawn.images, images)
    np.testing.assert_array_equal(drawn.pixels, numerics.to_uint8(images))
    assert parts.draw_pixels(generator, linear, w).images is None
    assert parts.draw_pixels(generator, None, w).labels is None


@pytest.mark.parametrize("rounds", [True, False])
def test_a_classifier_sees_nothing_in_an_image_that_is_not_finite(generator, linear, rounds):
    classifier = worlds.classifier(0)
    preprocessing = dataclasses.replace(classifier.spec.preprocessing, quantise=rounds)
    classifier.spec = dataclasses.replace(classifier.spec, preprocessing=preprocessing)
    w = latents().at[1, 0].set(jnp.nan)
    drawn, seen = parts.draw_and_classify(generator, classifier, linear, w)
    assert drawn.finite.tolist() == [True, False]
    assert jnp.isfinite(seen.penultimate[0]).all()
    assert jnp.isnan(seen.penultimate[1]).all()
    expected = classifier(classifier.preprocess(generator.synthesis(w[:1]))).penultimate
    np.testing.assert_allclose(seen.penultimate[:1], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("margins", [True, False])
def test_the_few_shot_network_reads_the_input_and_every_second_layer(generator, margins):
    segmenter, w = few_shot(generator, margins=margins), latents()
    outputs = jax.jit(layer_outputs)(generator.synthesis, w)
    layers = {layer.name: layer for layer in generator.spec.layers}
    joined = []
    for name in ("input", *generator.spec.layer_names[1::2]):
        maps = outputs[name]
        picture = int(generator.spec.input_sampling_rate if name == "input" else layers[name].out_sampling_rate)
        margin = 0 if margins else (maps.shape[1] - picture) // 2
        joined.append(resize_nearest(maps[:, margin : maps.shape[1] - margin, margin : maps.shape[2] - margin], 24, 24))
    expected = resize(segmenter(jnp.concatenate(joined, -1)), 16, 16)
    images, scores = parts.draw_with_parts(generator, segmenter, w)
    assert images.shape == (2, 16, 16, 3) and scores.shape == (2, 16, 16, 3)
    assert jnp.abs(scores - expected).max() < tolerances.PARTS * jnp.abs(expected).max()


def test_the_originals_layers_of_the_imagenet_architecture_have_13588_channels():
    from linkjax.models.generator_spec import imagenet_spec

    spec = SegmenterSpec("S", 13588, 10)
    parts.check_fit(imagenet_spec(256), spec)


def test_scores_are_differentiable_in_w(generator, linear):
    w, direction = latents(1), draws.normal(6, 1, 12)

    def share(w):
        return jnp.mean(jax.nn.softmax(parts.draw_with_parts(generator, linear, w)[1], axis=-1)[..., 1])

    slope = jnp.vdot(jax.grad(share)(w), direction)
    step = 1e-2
    measured = (share(w + step * direction) - share(w - step * direction)) / (2 * step)
    assert float(slope) == pytest.approx(float(measured), rel=tolerances.PARTS_SLOPE)


def test_a_row_of_w_for_each_layer_gives_what_one_w_gives(generator, linear):
    w = latents()
    rows = jnp.repeat(w[:, None], generator.spec.num_ws, axis=1)
    one, many = (parts.draw_with_parts(generator, linear, each)[1] for each in (w, rows))
    assert jnp.abs(one - many).max() < tolerances.PARTS * jnp.abs(one).max()


def test_another_generators_segmenter_is_refused(generator, linear):
    other = worlds.generator()
    for wrong, said in (
        (dataclasses.replace(linear.spec, channels=(3, *linear.spec.channels[1:])), "with 3 channels"),
        (dataclasses.replace(linear.spec, resolution=32), "images of 32 pixels"),
        (SegmenterSpec("S", 7, 3), "reads 7 channels"),
    ):
        with pytest.raises(InputError, match=said):
            parts.check_fit(other.spec, wrong)
    with pytest.raises(InputError, match="no layer named L99"):
        parts.linear_spec(other.spec, NAMES, ("L99",))
    assert parts.linear_spec(other.spec, NAMES) == linear.spec
    assert isinstance(linear, LinearSegmenter) and not np.isnan(linear.bias[...]).any()

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax import numerics
from linkjax.errors import InputError
from linkjax.models import build
from linkjax.models.classifier import ARCHITECTURES, Classifier, ClassifierSpec, Preprocessing, classifier_spec
from linkjax.models.layers import BatchNorm
from linkjax.storage import checkpoint
from tests.tolerances import BATCHING, PREPROCESS

COMPILED = "as shipped"

SMALL = ClassifierSpec("small", "resnet", (4, 8), (1, 1), expansion=1, num_classes=5)
VGG = ClassifierSpec("small", "vgg", (2, 3), (1, 1), hidden=(7, 6), num_classes=5)
DENSE = ClassifierSpec("small", "densenet", (6,), (2, 2), growth=3, num_classes=5)


def images(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1.1, 1.1, (*shape, 3)), jnp.float32)


def test_preprocessing_is_that_of_the_original(parity):
    data = np.load(parity / "preprocess.npz")
    model = build.random(Classifier, SMALL)
    pixels = data["struct400x300/input_u8"]
    found = model.preprocess(numerics.from_uint8(jnp.asarray(pixels)[None]))
    expected = data["struct400x300/out_f32"].transpose(1, 2, 0)
    assert np.abs(np.asarray(found[0]) - expected).max() < PREPROCESS
    np.testing.assert_array_equal(model.preprocess(jnp.asarray(pixels)[None]), found)
    for name in ("noise64", "struct259x347"):
        found = np.asarray(model.preprocess(jnp.asarray(data[f"{name}/input_u8"])[None]), np.float64)[0]
        moments = np.stack([found.mean((0, 1)), found.std((0, 1))])
        assert np.abs(moments - data[f"{name}/out_mean_std_per_channel"]).max() < PREPROCESS


def test_the_differentiable_preprocessing_stays_near_and_has_gradients():
    model = build.random(Classifier, SMALL)
    batch = images(2, 40, 50)
    exact, smooth = model.preprocess(batch), model.preprocess(batch, differentiable=True)
    levels = jnp.abs(exact - smooth) * 255 * jnp.asarray(model.spec.preprocessing.std)[None, None, None]
    assert levels.max() <= 1.6  # half a level of truncation, half of each rounded pass
    assert jnp.abs(jnp.mean(exact - smooth)) < 1e-3
    gradient = jax.grad(lambda x: model(model.preprocess(x, differentiable=True)).penultimate.sum())(batch)
    assert jnp.isfinite(gradient).all() and (jnp.abs(gradient) > 0).mean() > 0.5


def test_a_classifier_may_take_images_as_they_are():
    spec = dataclasses.replace(SMALL, preprocessing=Preprocessing(resize=None, crop=None, quantise=False))
    batch = images(2, 32, 32).clip(-1, 1)
    mean, std = (np.asarray(part, np.float32) for part in (spec.preprocessing.mean, spec.preprocessing.std))
    expected = (np.asarray(batch) / 2 + 0.5 - mean) / std
    assert np.abs(build.random(Classifier, spec).preprocess(batch) - expected).max() < 2e-6


@pytest.mark.parametrize("spec", [SMALL, VGG, DENSE], ids=lambda spec: spec.family)
def test_a_sample_does_not_depend_on_its_batch(spec):
    model = build.random(Classifier, spec)
    x = images(5, 36, 36)
    together = model(x)
    for index, other in ((0, x[2:3]), (2, jnp.where(jnp.arange(5)[:, None, None, None] == 2, x, 1000 * x))):
        found = model(other)
        for expected, value in ((together.penultimate, found.penultimate), (together.logits, found.logits)):
            assert jnp.abs(expected[2] - value[index]).max() <= BATCHING * jnp.abs(expected).max()


@pytest.mark.parametrize("spec", [SMALL, VGG, DENSE], ids=lambda spec: spec.family)
def test_original_features_lead_to_the_same_scores(spec):
    model = build.random(Classifier, spec)
    state = build.leaves(model)
    square = dataclasses.replace(spec.preprocessing, crop=64)
    original = build.fill(Classifier, dataclasses.replace(spec, features="original", preprocessing=square), state)
    x = images(2, 64, 64)
    r = original(x).penultimate
    assert r.shape == (2, original.spec.num_units)
    assert model(x).penultimate.shape == (2, model.spec.num_units)
    np.testing.assert_allclose(original.head(r), model(x).logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.head(model(x).penultimate), model(x).logits, rtol=1e-5, atol=1e-6)


def test_calls_may_stand_in_compiled_and_mapped_functions():
    model = build.random(Classifier, SMALL)
    x = images(2, 36, 36)
    compiled = jax.jit(lambda m, y: m(m.preprocess(y)))(model, x)
    eager = model(model.preprocess(x))
    np.testing.assert_allclose(compiled.logits, eager.logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arch", "penultimate", "original"),
    [("resnet50", 2048, 2048), ("vgg16", 4096, 25088), ("alexnet", 4096, 9216), ("densenet201", 1920, 94080)],
)
def test_full_size_units_are_those_of_the_paper(arch, penultimate, original):
    assert classifier_spec(arch).num_units == penultimate
    assert classifier_spec(arch, "original").num_units == original


def test_random_weights_keep_activations_in_scale_through_many_blocks():
    spec = ClassifierSpec("deep", "resnet", (8,), (8,), expansion=1)
    assert 0.01 < jnp.std(build.random(Classifier, spec)(images(2, 32, 32)).logits) < 10


def test_a_specification_survives_json():
    for spec in (*ARCHITECTURES.values(), dataclasses.replace(SMALL, preprocessing=Preprocessing(None, None))):
        assert checkpoint.from_plain(ClassifierSpec, json.loads(json.dumps(dataclasses.asdict(spec)))) == spec
        assert hash(spec)


def test_wrong_use_is_refused_in_one_sentence():
    model = build.random(Classifier, SMALL)
    for call, said in (
        (lambda: model(jnp.zeros((3, 8, 8))), r"\[batch, height, width, 3\], found \(3, 8, 8\)"),
        (lambda: model.preprocess(jnp.zeros((1, 3, 8, 8))), r"found \(1, 3, 8, 8\)"),
        (lambda: classifier_spec("resnet5"), "did you mean resnet"),
        (lambda: classifier_spec("vgg16", "last"), "penultimate or original, found 'last'"),
        (lambda: Preprocessing(resize=100), r"no larger than the resized image \(100\), found 224"),
        (lambda: dataclasses.replace(SMALL, family="vit"), "found 'vit'"),
        (
            lambda: dataclasses.replace(DENSE, features="original", preprocessing=Preprocessing(None, None)).num_units,
            "crop",
        ),
    ):
        with pytest.raises(InputError, match=said):
            call()


def test_batch_normalisation_rounds_as_pytorch_does():
    torch = pytest.importorskip("torch")

    random = np.random.default_rng(0)
    channels = 48
    scale, bias, mean = random.normal(size=(3, channels)).astype(np.float32)
    var = random.uniform(0.1, 3, channels).astype(np.float32)
    x = random.normal(size=(2, 5, 5, channels)).astype(np.float32)
    norm = BatchNorm(channels)
    for name, value in {"scale": scale, "bias": bias, "mean": mean, "var": var}.items():
        setattr(norm, name, getattr(norm, name).replace(jnp.asarray(value)))
    statistics, weights = map(torch.from_numpy, (mean, var)), map(torch.from_numpy, (scale, bias))
    nchw = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    expected = torch.nn.functional.batch_norm(nchw, *statistics, *weights).numpy().transpose(0, 2, 3, 1)
    found = np.asarray(jax.jit(lambda norm, x: norm(x))(norm, x))
    assert np.mean(found == expected) > 0.99  # 0.6 with a reciprocal square root

"""A whole sweep and a whole screening, against plain PyTorch written from the formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax import numerics
from linkjax.analysis.metrics import measurements, parts
from linkjax.analysis.units import screening, sweep
from linkjax.models import build
from linkjax.models.linear_segmenter import LinearSegmenter
from linkjax.models.link import Link, LinkSpec
from tests import worlds

torch = pytest.importorskip("torch", reason="compared with PyTorch where it is installed")
BATCH = 4


@pytest.fixture(scope="module")
def models():
    rng = np.random.default_rng(0)
    generator, classifier = worlds.generator(), worlds.classifier()
    spec = parts.linear_spec(generator.spec, ("background", "left", "right"))
    segmenter = build.random(LinearSegmenter, spec, 3)
    for name in spec.layers:
        kernel = segmenter.kernels[name]
        kernel[...] = jnp.asarray(rng.normal(size=kernel[...].shape), jnp.float32)
    units = classifier.spec.penultimate_units
    kernel = 0.3 * rng.normal(size=(units, generator.spec.w_dim)).astype(np.float32)
    bias = np.zeros(generator.spec.w_dim, np.float32)
    link = build.fill(Link, LinkSpec(units, len(bias), "ols"), {"kernel": kernel, "bias": bias})
    z = rng.normal(size=(BATCH, generator.spec.z_dim)).astype(np.float32)
    return generator, classifier, link, segmenter, generator.mapping(z, np.arange(BATCH) % worlds.CLASSES)


def test_a_sweep_gives_what_plain_pytorch_gives(models):
    from tests.reference import torch_sweep

    generator, classifier, link, segmenter, w = models
    pixels = numerics.to_uint8(generator.synthesis(w))
    r = classifier(classifier.preprocess(pixels)).penultimate
    unit, value = np.arange(BATCH), np.linspace(-1, 2, BATCH).astype(np.float32)
    found = sweep.sweep_step(generator, classifier, link, w, r, pixels, unit, value, segmenter=segmenter)
    given = [torch.from_numpy(np.array(each)) for each in (w, r, jnp.moveaxis(pixels, -1, 1), unit, value)]
    with torch.inference_mode():
        expected = torch_sweep.step(torch_sweep.models_of(generator, classifier, link, segmenter), *given)
    for ours, theirs in zip((found.r, found.logits), expected[:2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-3 * float(theirs.abs().max()))
    metrics = np.asarray(found.metrics)
    assert metrics.shape == expected[2].shape
    for column, name in enumerate(measurements.METRICS):
        ours, theirs = metrics[..., column], expected[2][..., column].numpy()
        # a byte that rounds otherwise, or a pixel at a border
        np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-3, err_msg=name)


def test_a_screening_gives_what_plain_pytorch_derives(models):
    from tests.reference import torch_sweep

    generator, classifier, link, segmenter, w = models
    theirs = torch_sweep.models_of(generator, classifier, link, segmenter)
    one = torch.from_numpy(np.array(w[:1]))
    sums, slopes = torch_sweep.sums_and_slopes(theirs, one, screening.TEMPERATURE, screening.TRIM)
    metrics = jax.vmap(lambda each: screening.soft_metrics(each, 16, 16))
    expected, push = jax.linearize(metrics, jnp.asarray(sums.numpy()))
    found = screening.derivatives(generator, segmenter, w[:1], jnp.eye(w.shape[1]), "reverse")
    np.testing.assert_allclose(found.metrics[0], expected, rtol=1e-4, atol=1e-4)
    derived = jax.vmap(push, -1, -1)(jnp.asarray(slopes.numpy()))
    np.testing.assert_allclose(found.slopes[0], derived, rtol=1e-3, atol=1e-3 * float(jnp.abs(derived).max()))

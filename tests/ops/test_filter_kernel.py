"""The GPU's kernel, in Pallas' interpreter, against the filters it stands for; lowering to a GPU without one."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax import numerics
from linkjax.models import build
from linkjax.models.filter_design import lowpass
from linkjax.models.generator_spec import Progression, stem_spec, superres_spec
from linkjax.models.stylegan_xl import Generator, _synthesise
from linkjax.ops import filter_kernel, resampling
from tests import tolerances

DOWN = lowpass(12, 0.25, 0.2, 2.0)
UP = {2: lowpass(12, 0.25, 0.2, 2.0), 4: lowpass(24, 0.2, 0.1, 2.0)}
# up, padding, height, width, channels: as published; a crop; several tiles along x and channels; one pixel
CASES = [
    (2, (9, 8, 9, 8), 14, 38, 16),
    (4, (-6, -9, -6, -9), 14, 38, 5),
    (2, (-11, -12, 3, 2), 21, 90, 33),
    (4, (11, 8, -3, 0), 12, 61, 3),
    (2, (9, 8, 9, 8), 3, 3, 1),
]


@pytest.fixture
def on_any_machine(monkeypatch):
    """The kernel where it would not run, in the interpreter."""
    monkeypatch.setattr(filter_kernel, "available", lambda: True)
    monkeypatch.setattr(filter_kernel, "in_one_pass", functools.partial(filter_kernel.in_one_pass, interpret=True))


def _given(up, padding, height, width, channels, dtype, clamp=256.0):
    rng = np.random.default_rng(height)
    x = jnp.asarray(rng.normal(size=(2, height, width, channels)), dtype)
    scale = jnp.asarray(rng.uniform(0.5, 2, (2, channels)), jnp.float32)
    bias = jnp.asarray(rng.normal(size=channels), jnp.float32)
    taps = [jnp.asarray(each, jnp.float32) for each in (UP[up], DOWN)]
    how = {"up": up, "down": 2, "padding": padding, "slope": 0.2, "gain": math.sqrt(2), "clamp": clamp}
    return (x, scale, bias, *taps), how


def _by_slices(x, scale, bias, up_taps, down_taps, **how):
    given = x.astype(jnp.float32) * scale[:, None, None] + bias[None, None, None]
    return resampling.filtered_leaky_relu(given, up_taps, down_taps, **how)


@pytest.mark.parametrize(("case", "clamp"), [(case, 256.0) for case in CASES] + [(CASES[-1], 0.1), (CASES[-1], None)])
def test_it_is_the_filtered_leaky_relu(case, clamp):
    arrays, how = _given(*case, jnp.float32, clamp)
    expected = np.asarray(_by_slices(*arrays, **how))
    found = np.asarray(jax.jit(functools.partial(filter_kernel.in_one_pass, **how, interpret=True))(*arrays))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerances.FILTER_KERNEL * np.abs(expected).max()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_rounded_once(dtype):
    arrays, how = _given(*CASES[0], dtype)
    expected = np.asarray(_by_slices(*arrays, **how))
    found = filter_kernel.in_one_pass(*arrays, **how, interpret=True)
    assert found.dtype == dtype
    unit = float(jnp.finfo(dtype).eps) / 2
    bound = tolerances.FILTER_KERNEL * np.abs(expected).max() + unit * np.abs(expected)
    assert np.all(np.abs(np.asarray(found, np.float32) - expected) <= bound)


def test_values_beyond_half_precision_are_clamped_not_infinite():
    (x, *rest), how = _given(*CASES[0], jnp.float32)
    found = np.asarray(filter_kernel.in_one_pass(x * 1e9, *rest, **how, interpret=True))
    assert np.isfinite(found).all()
    assert 256 <= np.abs(found).max() < 512  # the clamp, and what the filter behind it makes of edges


def test_large_batches_are_taken_in_parts(on_any_machine, monkeypatch):
    (x, scale, *rest), how = _given(*CASES[-1], jnp.float32)
    x, scale = jnp.concatenate([x, x[:1] + 1]), jnp.concatenate([scale, scale[:1]])
    whole = filter_kernel.filtered_leaky_relu(x, scale, *rest, **how)
    monkeypatch.setattr(filter_kernel, "MOST_VALUES", 8 * x[0].size)  # two at a time
    assert np.array_equal(filter_kernel.filtered_leaky_relu(x, scale, *rest, **how), whole)


def test_derivatives_are_those_of_the_slices(on_any_machine):
    arrays, how = _given(*CASES[-1], jnp.float32)
    moved = tuple(jnp.ones_like(each) if each.ndim > 1 else jnp.zeros_like(each) for each in arrays)
    run, slices = (functools.partial(each, **how) for each in (filter_kernel.filtered_leaky_relu, _by_slices))
    for found, expected in zip(jax.jvp(run, arrays, moved), jax.jvp(slices, arrays, moved), strict=True):
        assert np.array_equal(found, expected)
    gradients = [
        jax.grad(lambda x, scale, bias, f=f: jnp.sum(f(x, scale, bias, *arrays[3:]) ** 2), (0, 1, 2))(*arrays[:3])
        for f in (run, slices)
    ]
    for found, expected in zip(*gradients, strict=True):
        assert np.abs(found - expected).max() <= tolerances.DERIVATIVES * np.abs(expected).max()


def test_a_synthesis_with_it_errs_as_one_without(on_any_machine, monkeypatch):
    """Of 20 channels, which are no multiple of a tile's."""
    how = Progression(channel_base=2**9, channel_max=20)
    spec = superres_spec(stem_spec(16, 3, how, num_classes=3), 2, 1, how)
    generator = build.random(Generator, spec, 0)
    synthesis = generator.with_precision("bfloat16").synthesis
    w = jax.random.normal(jax.random.key(1), (2, spec.w_dim))
    # compiled anew: what calling it compiles would be found again by whoever draws without the kernel
    drawn, maps = jax.jit(_synthesise.__wrapped__, static_argnames=("wanted", "margins"))(
        synthesis, w, spec.layer_names, margins=False
    )
    monkeypatch.setattr(filter_kernel, "available", lambda: False)
    true, expected = generator.synthesis(w, features=True)
    plain, without = synthesis(w, features=True)
    for one, other, reference in [(drawn, plain, true), *((maps[n], without[n], expected[n]) for n in expected)]:
        assert one.shape == reference.shape and one.dtype == jnp.float32
        errors = [float(jnp.abs(each - reference).max() / jnp.abs(reference).max()) for each in (one, other)]
        assert 0 < errors[0] <= 1.5 * errors[1] + tolerances.FILTER_KERNEL_LAYERS


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("case", CASES[:2])
# JAX 0.11 says that this way to a GPU will go; the versions linkjax allows have it.
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")
def test_it_is_lowered_for_a_gpu_without_one(case, dtype):
    arrays, how = _given(*case, dtype)
    with jax.sharding.use_abstract_mesh(_of_a_gpu()):
        traced = jax.jit(functools.partial(filter_kernel.in_one_pass, **how)).trace(*arrays)
        assert "triton" in traced.lower(lowering_platforms=("cuda",)).as_text()


def _of_a_gpu():
    """JAX 0.11 asks which GPU it lowers for; 0.10 neither asks nor knows of platforms."""
    told = {"device_kind": "NVIDIA H100 80GB HBM3", "num_cores": 132, "platform": "gpu"}
    known = {field.name for field in dataclasses.fields(jax.sharding.AbstractDevice)}
    device = jax.sharding.AbstractDevice(**{name: value for name, value in told.items() if name in known})
    return jax.sharding.AbstractMesh((), (), abstract_device=device)


def test_float32_and_filters_it_was_not_made_for_never_go_there(on_any_machine):
    taps = {"up_taps": jnp.ones(12), "down_taps": jnp.ones(12)}
    half = numerics.policy("bfloat16")
    assert filter_kernel.takes(half, up=2, down=2, **taps)
    assert not filter_kernel.takes(numerics.policy("float32"), up=2, down=2, **taps)
    assert not filter_kernel.takes(half, up=1, down=2, **taps)
    assert not filter_kernel.takes(half, up=4, down=4, **taps)
    assert not filter_kernel.takes(half, up=2, down=2, **{**taps, "down_taps": jnp.ones((12, 12))})
    assert not filter_kernel.takes(half, up=2, down=2, **{**taps, "up_taps": None})

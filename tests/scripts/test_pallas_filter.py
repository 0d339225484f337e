"""The Pallas kernel that bench_layers.py times on accelerators computes what linkjax's filters do."""

import dataclasses
import importlib.util
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.ops import resampling
from tests.tolerances import RESAMPLING

PATH = Path(__file__).parents[2] / "scripts" / "benchmarks" / "pallas_filter.py"


def _kernel():
    spec = importlib.util.spec_from_file_location("pallas_filter", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.filtered_leaky_relu


@pytest.mark.parametrize(
    ("up", "down", "padding"), [(2, 2, (11, 10, 9, 8)), (4, 2, (-3, -5, 2, -1)), (2, 1, (0, 3, 1, 2))]
)
def test_the_kernel_is_the_filtered_leaky_relu(up, down, padding):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 13, 21, 5)), jnp.float32)
    taps = [jnp.asarray(rng.normal(size=6 * factor), jnp.float32) for factor in (up, max(down, 2))]
    how = {"up": up, "down": down, "padding": padding, "slope": 0.2, "gain": math.sqrt(2), "clamp": 3.0}
    expected = np.asarray(resampling.filtered_leaky_relu(x, *taps, **how))
    found = np.asarray(jax.jit(lambda x: _kernel()(x, *taps, **how, interpret=True))(x))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= RESAMPLING * np.abs(expected).max()


def test_reads_that_would_not_be_contiguous_are_refused():
    x, taps = jnp.zeros((1, 8, 40, 1)), jnp.ones(12)
    with pytest.raises(ValueError, match="up 2 and down 4"):
        how = {"up": 2, "down": 4, "padding": (0, 0, 0, 0), "slope": 0.2, "gain": 1.0, "clamp": None}
        _kernel()(x, taps, taps, **how)


# JAX 0.11 says that this way to a GPU will go; the kernel is a candidate of a benchmark, which no stage takes.
@pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning")
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_kernel_is_lowered_for_a_gpu_without_one(dtype):
    taps = jnp.ones(24), jnp.ones(12)
    how = {"up": 4, "down": 2, "padding": (-6, -9, -6, -9), "slope": 0.2, "gain": math.sqrt(2), "clamp": 256.0}
    with jax.sharding.use_abstract_mesh(_of_a_gpu()):
        traced = jax.jit(lambda x: _kernel()(x, *taps, **how)).trace(jax.ShapeDtypeStruct((1, 38, 38, 48), dtype))
        assert "triton" in traced.lower(lowering_platforms=("cuda",)).as_text()


def _of_a_gpu():
    """JAX 0.11 asks which GPU it lowers for; 0.10 neither asks nor knows of platforms."""
    told = {"device_kind": "NVIDIA H100 80GB HBM3", "num_cores": 132, "platform": "gpu"}
    known = {field.name for field in dataclasses.fields(jax.sharding.AbstractDevice)}
    device = jax.sharding.AbstractDevice(**{name: value for name, value in told.items() if name in known})
    return jax.sharding.AbstractMesh((), (), abstract_device=device)

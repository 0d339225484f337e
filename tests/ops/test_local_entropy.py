from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from linkjax.errors import InputError
from linkjax.ops import color
from linkjax.ops.local_entropy import disk_entropy
from tests.reference.region_loops import local_entropy
from tests.tolerances import LOCAL_ENTROPY


@pytest.fixture(scope="module")
def stored():
    """Two grey pictures and scikit-image's `filters.rank.entropy` of them with `morphology.disk(radius)`."""
    with np.load(Path(__file__).parents[1] / "reference" / "local_entropy.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("radius", [0, 2, 5, 8])
@pytest.mark.parametrize("name", ["large", "small"])  # the small one has no pixel whose disk lies wholly inside
def test_local_entropy_is_scikit_images_also_at_the_border(stored, name, radius):
    got = np.asarray(disk_entropy(jnp.asarray(stored[name]), radius))
    assert np.abs(got - stored[f"{name}_{radius}"]).max() < LOCAL_ENTROPY


def test_local_entropy_of_a_batch_is_that_of_the_plain_loops():
    grey = np.random.default_rng(0).integers(0, 12, (2, 9, 14), np.uint8)
    got = np.asarray(jax.vmap(disk_entropy)(jnp.asarray(grey)))
    assert np.abs(got - np.stack([local_entropy(each) for each in grey])).max() < LOCAL_ENTROPY


def test_one_value_alone_has_no_entropy():
    assert (np.asarray(disk_entropy(jnp.full((9, 9), 77))) == 0).all()


def test_grey_bytes_are_pillows():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    np.testing.assert_array_equal(color.luma601_byte(jnp.asarray(pixels / np.float32(255))), expected)


def test_what_is_no_grey_picture_is_refused():
    with pytest.raises(InputError, match="whole grey values"):
        disk_entropy(jnp.zeros((4, 4)))
    with pytest.raises(InputError, match="radius"):
        disk_entropy(jnp.zeros((4, 4), jnp.int32), 9)

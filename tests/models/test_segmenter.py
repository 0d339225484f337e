import jax.numpy as jnp
import pytest

from linkjax.errors import InputError
from linkjax.models import build
from linkjax.models.segmenter import Segmenter, SegmenterSpec
from tests import draws
from tests.tolerances import BATCHING

COMPILED = "as shipped"

SPEC = SegmenterSpec(
    "M", in_channels=5, num_parts=3, widths=(8, 4, 4, 4, 4, 4), part_names=("background", "cap", "stem")
)


def test_scores_have_the_map_s_size_and_do_not_depend_on_the_batch():
    model = build.random(Segmenter, SPEC)
    maps = draws.normal(1, 4, 12, 9, 5)
    scores = model(maps)
    assert scores.shape == (4, 12, 9, 3)
    assert jnp.abs(model(maps[2:3])[0] - scores[2]).max() <= BATCHING * jnp.abs(scores).max()


def test_widths_of_the_size_are_the_default():
    assert SegmenterSpec("S", 20, 6).widths == (128, 64, 64, 32)


def test_wrong_use_is_refused_in_one_sentence():
    for make, said in (
        (lambda: SegmenterSpec("XL", 5, 3), "S, M, L, found 'XL'"),
        (lambda: SegmenterSpec("S", 5, 3, widths=(8,)), "expected 4 widths for S, found 1"),
        (lambda: SegmenterSpec("S", 5, 3, part_names=("background",)), "each of 3 parts, found 1"),
        (lambda: build.random(Segmenter, SPEC)(jnp.zeros((1, 8, 8, 6))), r"width, 5\], found \(1, 8, 8, 6\)"),
    ):
        with pytest.raises(InputError, match=said):
            make()

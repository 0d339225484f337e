import jax
import numpy as np
import pytest

from linkjax.errors import ConversionError
from linkjax_converters.bijection import Ignore, Rule, convert, oi_to_io, oihw_to_hwio

RULES = (
    Rule(r"(conv\d)\.weight", r"\1.kernel", oihw_to_hwio),
    Rule(r"fc\.weight", "head.kernel", oi_to_io),
    Rule(r"(?:fc|head)\.bias", "head.bias"),
    Ignore(r".*\.num_batches_tracked", why="counts training steps"),
)
TARGETS = {
    name: jax.ShapeDtypeStruct(shape, np.float32)
    for name, shape in {"conv1.kernel": (3, 3, 2, 4), "head.kernel": (4, 5), "head.bias": (5,)}.items()
}


def source(**changes):
    good = {
        "conv1.weight": np.random.default_rng(0).normal(size=(4, 2, 3, 3)).astype(np.float32),
        "fc.weight": np.ones((5, 4), np.float32),
        "fc.bias": np.zeros(5, np.float32),
        "bn.num_batches_tracked": np.array(7),
    }
    return {key: value for key, value in (good | changes).items() if value is not None}


def test_every_key_is_used_or_ignored_with_its_reason():
    arrays, ignored = convert(source(), TARGETS, RULES, what="net")
    assert set(arrays) == set(TARGETS)
    assert ignored == {"bn.num_batches_tracked": "counts training steps"}
    assert arrays["conv1.kernel"][1, 2, 0, 3] == source()["conv1.weight"][3, 0, 1, 2]


def test_all_that_is_wrong_comes_in_one_message():
    wrong = source(
        **{
            "conv1.weight": None,
            "conv2.weight": np.zeros((4, 2, 3, 3)),
            "stranger": np.zeros(3),
            "fc.weight": np.zeros((5, 9)),
            "head.bias": np.zeros(5),
        }
    )
    with pytest.raises(ConversionError) as caught:
        convert(wrong, TARGETS, RULES, what="net")
    message = str(caught.value)
    assert message.startswith("these weights do not fit net: 1 missing, 2 unexpected, 2 mis-shaped")
    for line in (
        "missing: conv1.kernel (3, 3, 2, 4)",
        "unexpected: conv2.weight (4, 2, 3, 3)",
        "unexpected: stranger (3,)",
        "mis-shaped: fc.weight (5, 9) gives head.kernel (9, 5), expected (4, 5)",
        "given twice: head.bias, by fc.bias and by head.bias",
    ):
        assert line in message


@pytest.mark.parametrize("bad", [np.zeros(4, np.float32), np.zeros((5, 4), np.int64), np.full((5, 4), np.nan)])
def test_an_array_of_another_rank_or_kind_or_without_numbers_is_named(bad):
    with pytest.raises(ConversionError, match=r"fc\.weight"):
        convert(source(**{"fc.weight": bad}), TARGETS, RULES, what="net")

import jax.numpy as jnp
import numpy as np
import pytest

import linkjax
from linkjax.errors import InputError
from linkjax.models import build
from linkjax.models.linear_segmenter import LinearSegmenter, LinearSegmenterSpec
from linkjax.ops.resize import filter_weights
from linkjax.storage import checkpoint
from tests import draws, tolerances

SPEC = LinearSegmenterSpec(("low", "other", "high"), (5, 4, 3), 16, 3, ("background", "cap", "stem"))


def model():
    rng = np.random.default_rng(0)
    shapes = build.shapes(LinearSegmenter, SPEC)
    return build.fill(
        LinearSegmenter, SPEC, {k: rng.normal(size=v.shape).astype(np.float32) for k, v in shapes.items()}
    )


def maps(batch=2):
    sizes = {"low": (4, 5), "other": (4, 4), "high": (16, 3)}
    return {
        name: draws.normal(index, batch, size, size, channels)
        for index, (name, (size, channels)) in enumerate(sizes.items())
    }


def test_scores_are_those_of_joined_maps_resized_first():
    features, head = maps(), model()
    joined, kernels = [], []
    for name, x in features.items():
        rows = filter_weights(x.shape[1], 16)
        joined.append(np.einsum("ih,bhwc,jw->bijc", rows, np.asarray(x, np.float64), rows))
        kernels.append(np.asarray(head.kernels[name][...], np.float64))
    expected = np.concatenate(joined, -1) @ np.concatenate(kernels) + np.asarray(head.bias[...])
    assert np.abs(np.asarray(head(features)) - expected).max() < tolerances.SEGMENTER * np.abs(expected).max()


def test_scores_do_not_depend_on_the_batch():
    features, head = maps(4), model()
    scores = head(features)
    alone = head({name: x[2:3] for name, x in features.items()})
    assert scores.shape == (4, 16, 16, 3)
    assert jnp.abs(alone[0] - scores[2]).max() <= tolerances.BATCHING * jnp.abs(scores).max()


def test_load_gives_back_the_same_scores(tmp_path):
    head, features = model(), maps()
    checkpoint.save_model(tmp_path / "head", head, source={"file": "random"})
    loaded = linkjax.load(tmp_path / "head")
    assert isinstance(loaded, LinearSegmenter) and loaded.spec == SPEC
    np.testing.assert_array_equal(loaded(features), head(features))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LinearSegmenterSpec(("a",), (1, 2), 8, 2), "different layers with their channels"),
        (lambda: LinearSegmenterSpec(("a", "a"), (1, 2), 8, 2), "different layers with their channels"),
        (lambda: LinearSegmenterSpec(("a",), (1,), 8, 1), "two parts or more"),
        (lambda: LinearSegmenterSpec(("a",), (1,), 8, 2, ("only",)), "a name for each of 2 parts, found 1"),
        (lambda: model()({"low": maps()["low"]}), "other: missing"),
        (lambda: model()({**maps(), "high": maps()["low"]}), r"high: \[2, 4, 4, 5\]"),
    ],
)
def test_wrong_use_is_refused_in_one_sentence(make, said):
    with pytest.raises(InputError, match=said):
        make()

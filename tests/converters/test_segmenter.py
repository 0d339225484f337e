import numpy as np
import pytest

from linkjax.errors import ConversionError, InputError
from linkjax.models.segmenter import DILATIONS
from linkjax.storage import checkpoint
from linkjax_converters.segmenter import convert_segmenter, segmenter_from_state_dict
from linkjax_converters.state_dict import read_state_dict
from tests.tolerances import SEGMENTER

COMPILED = "as shipped"

pytest.importorskip("torch")


@pytest.mark.parametrize("size", ["S", "M", "L"])
def test_scores_and_labels_are_those_of_the_original(parity, size):
    expected = np.load(parity / f"fewshot_{size}.npz")
    assert DILATIONS[size] == tuple(expected["dilations"])
    model = segmenter_from_state_dict(read_state_dict(parity / f"fewshot_{size}.pth"), size)
    features = expected["x"].transpose(0, 2, 3, 1)
    scores = np.asarray(model(features)).transpose(0, 3, 1, 2)
    assert np.abs(scores - expected["y"]).max() < SEGMENTER * np.abs(expected["y"]).max()
    np.testing.assert_array_equal(scores.argmax(axis=1), expected["argmax"])
    first = np.asarray(model.layers[0](features[:1]))[..., :8].transpose(0, 3, 1, 2)
    assert np.abs(first - expected["conv0_out"]).max() < SEGMENTER * np.abs(expected["conv0_out"]).max()


@pytest.mark.parametrize(("file", "size"), [("S", "L"), ("L", "S"), ("S", "M")])
def test_another_size_is_refused_by_name(parity, file, size):
    with pytest.raises(ConversionError, match=rf"do not fit segmenter {size}"):
        segmenter_from_state_dict(read_state_dict(parity / f"fewshot_{file}.pth"), size)


def test_a_converted_segmenter_loads_again(parity, tmp_path):
    convert_segmenter(parity / "fewshot_S.pth", tmp_path / "out", "S")
    model, manifest = checkpoint.load_model(tmp_path / "out", ("segmenter",))
    assert (model.spec.in_channels, model.spec.num_parts) == (20, 6)
    assert manifest["source"]["file"] == "fewshot_S.pth"
    with pytest.raises(InputError, match="S, M, L, found 'XL'"):
        convert_segmenter(parity / "fewshot_S.pth", tmp_path / "other", "XL")

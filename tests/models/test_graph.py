"""Graphs as data: what is allowed, what is refused, and values whose axes lie in another order."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax import numerics
from linkjax.errors import InputError
from linkjax.models import build
from linkjax.models.classifier_spec import Preprocessing
from linkjax.models.graph import program, view
from linkjax.models.graph.classifier import GraphClassifier, GraphSpec
from linkjax.storage import checkpoint
from tests.graphs import GRAPH, classifier, images, read
from tests.tolerances import BATCHING


def test_a_graph_is_written_as_it_was_read():
    made = read()
    assert program.read(made.text) == made and json.loads(made.text) == GRAPH
    assert made != read(nodes__0__arguments__padding=[0, 0], nodes__0__shape=["B", 8, 4, 4])
    assert made.layers() == {"stem.conv": "maps", "stem": "up", "stem.act": "up", "head": "scores"}


HOSTILE = {
    "a later node": {"nodes__0__arguments__input": {"value": "scores"}},
    "itself": {"nodes__1__arguments__input": {"value": "up"}},
    "no such array": {"nodes__0__arguments__weight": {"array": "os.system"}},
    "no such operation": {"nodes__1__operation": "__import__"},
    "an attribute": {"nodes__1__operation": "relu.__globals__"},
    "too much": {"nodes__1__arguments__alpha": 1.0},
    "too little": {"nodes__1__arguments": {}},
    "another kind": {"nodes__2__arguments__dim": ["2"]},
    "a bomb of a shape": {"nodes__1__shape": ["B", 1 << 14, 1 << 14]},
    "a bomb of an array": {"arrays__1__shape": [1 << 20, 1 << 20]},
    "many axes": {"nodes__1__shape": ["B"] * 9},
    "a negative length": {"nodes__1__shape": ["B", -1]},
    "an odd length": {"nodes__1__shape": ["B+1", 8]},
    "a negative array": {"arrays__1__shape": [-8, 4]},
    "an order that is none": {"arrays__1__order": [0, 0]},
    "a type of pickles": {"arrays__1__dtype": "object"},
    "twice a name": {"nodes__1__name": "maps"},
    "the image's name": {"nodes__1__name": "image"},
    "a name of escapes": {"nodes__1__name": "\x1b[2J"},
    "nested lists": {"nodes__2__arguments__dim": [[[[2]]]]},
    "a large number": {"nodes__0__arguments__padding": [1 << 40, 0]},
    "not a number": {"nodes__2__arguments__keepdim": float("nan")},
    "no result": {"result": "image"},
    "a future version": {"version": 2},
    "large images": {"image": ["B", 3, 1 << 20, 6]},
    "another program": {"format": "onnx"},
    "more entries": {"code": "import os"},
    "a node that is a list": {"nodes__1": []},
}


@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_graph_is_refused_in_one_sentence(changes):
    with pytest.raises(InputError) as refused:
        read(**changes)
    assert 0 < len(str(refused.value)) < 400 and "\n" not in str(refused.value)


def test_damaged_json_and_files_beyond_the_limit_are_refused():
    for text in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"format": "linkjax graph"}', json.dumps(GRAPH)[:-40]):
        with pytest.raises(InputError, match="expected"):
            program.read(text)
    with pytest.raises(InputError, match="at most"):
        program.read(b" " * (program.MOST_BYTES + 1))


def test_a_node_whose_operation_does_not_fit_is_named_before_anything_is_computed():
    for changes, match in (
        ({"nodes__1__shape": ["B", 8, 6, 7]}, "up .* gives"),
        ({"nodes__0__arguments__groups": 3}, "maps .*does not fit"),
        ({"nodes__2__arguments__dim": [7]}, "mean .*does not fit"),
    ):
        spec = GraphSpec("tiny", read(**changes), "mean", 1, num_classes=4)
        with pytest.raises(InputError, match=match):
            build.random(GraphClassifier, spec)(images(2))


def test_an_imported_classifier_is_saved_with_its_graph_and_both_are_checked(tmp_path):
    model, x = classifier(), images(3)
    checkpoint.save_model(tmp_path / "own", model, source={})
    loaded, manifest = checkpoint.load_model(tmp_path / "own")
    assert loaded.spec == model.spec and hash(loaded.spec) == hash(model.spec)
    np.testing.assert_array_equal(loaded(x).logits, model(x).logits)
    other = build.fill(GraphClassifier, GraphSpec("tiny", read(), "up", 1, "mean", 4), build.leaves(model))
    checkpoint.save_model(tmp_path / "other", other, source={})
    assert checkpoint.load_model(tmp_path / "other")[1]["sha256"] != manifest["sha256"]  # other r, same arrays
    file = tmp_path / "own" / "graph.json"
    file.write_text(file.read_text().replace('"relu"', '"tanh"'))
    with pytest.raises(InputError, match="SHA-256 differs"):
        checkpoint.load_model(tmp_path / "own")
    file.write_text("{}")
    with pytest.raises(InputError, match=r"graph\.json: expected a linkjax graph"):
        checkpoint.load_model(tmp_path / "own")
    file.unlink()
    with pytest.raises(InputError, match=r"graph\.json: expected a graph, found none"):
        checkpoint.load_model(tmp_path / "own")


def test_an_imported_classifier_can_be_compiled_mapped_and_split_over_devices():
    model, x = classifier(), images(8)
    expected = model(x)
    own = jax.vmap(lambda image: model(image[None]).logits[0])(x)
    assert jnp.abs(own - expected.logits).max() <= BATCHING * jnp.abs(expected.logits).max()
    mesh = jax.make_mesh((2,), ("item",), devices=jax.devices()[:2], axis_types=(jax.sharding.AxisType.Auto,))
    split = jax.device_put(x, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("item")))
    shared = jax.device_put(model, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    found = jax.jit(lambda model, x: model(x).logits)(shared, split)
    assert jnp.abs(found - expected.logits).max() <= BATCHING * jnp.abs(expected.logits).max()
    moved, tangent = jax.jvp(lambda x: model(x).logits, (x,), (jnp.ones_like(x),))
    assert moved.shape == tangent.shape and jnp.isfinite(tangent).all()


def test_bytes_are_prepared_as_for_other_classifiers():
    model = classifier(preprocessing=Preprocessing(resize=8, crop=6))
    pixels = np.random.default_rng(1).integers(0, 256, (2, 9, 9, 3), np.uint8)
    prepared = model.preprocess(jnp.asarray(pixels))
    assert prepared.shape == (2, 6, 6, 3)
    np.testing.assert_array_equal(prepared, model.preprocess(numerics.from_uint8(jnp.asarray(pixels))))
    with pytest.raises(InputError, match="6, 6, 3"):
        model(images(2)[:, :5])


def test_views_are_the_arrays_they_stand_for(monkeypatch):
    monkeypatch.setattr(view, "jnp", np)  # which has no need to compile
    random = np.random.default_rng(0)
    shapes = [(2, 3, 4, 4), (2, 1, 12, 4), (1, 2, 48), (2, 3, 2, 2, 2, 2), (96,), (2, 12, 4, 1), (4, 1, 1, 24)]
    for _ in range(200):
        plain = random.standard_normal(shapes[0]).astype(np.float32)
        order = tuple(int(axis) for axis in random.permutation(4))
        own = view.View(plain.transpose(view.inverse(order)), order)
        for _ in range(4):
            if random.random() < 0.5:
                axes = tuple(int(axis) for axis in random.permutation(plain.ndim))
                own, plain = own.permuted(axes), plain.transpose(axes)
            else:
                shape = shapes[random.integers(len(shapes))]
                own, plain = own.reshaped(shape), plain.reshape(shape)
            assert own.shape == plain.shape
        np.testing.assert_array_equal(own.plain(), plain)


def test_a_map_that_lies_channels_last_becomes_tokens_without_moving():
    maps = view.View(jnp.zeros((2, 4, 5, 3)), (0, 3, 1, 2))  # [2, 3, 4, 5], as PyTorch counts
    tokens = maps.reshaped((2, 3, 20)).permuted((0, 2, 1))
    assert tokens.array.shape == tokens.shape == (2, 20, 3)

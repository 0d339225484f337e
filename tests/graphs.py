"""A small imported classifier, its graph written by hand: a convolution, ReLU, the mean, and a last layer."""

import copy
import json

import jax.numpy as jnp
import numpy as np

from linkjax.models import build
from linkjax.models.classifier_spec import Preprocessing
from linkjax.models.graph import program
from linkjax.models.graph.classifier import GraphClassifier, GraphSpec

GRAPH = {
    "format": "linkjax graph",
    "version": 1,
    "image": ["B", 3, 6, 6],
    "arrays": [
        {"name": "stem", "shape": [3, 3, 3, 8], "order": [3, 2, 0, 1], "dtype": "float32", "trained": True},
        {"name": "last", "shape": [8, 4], "order": [1, 0], "dtype": "float32", "trained": True},
        {"name": "shift", "shape": [4], "order": [0], "dtype": "float32", "trained": False},
    ],
    "nodes": [
        {
            "name": "maps",
            "operation": "conv2d",
            "arguments": {"input": {"value": "image"}, "weight": {"array": "stem"}, "padding": [1, 1]},
            "shape": ["B", 8, 6, 6],
            "module": "stem.conv",
        },
        {
            "name": "up",
            "operation": "relu",
            "arguments": {"input": {"value": "maps"}},
            "shape": ["B", 8, 6, 6],
            "module": "stem.act",
        },
        {
            "name": "mean",
            "operation": "mean",
            "arguments": {"input": {"value": "up"}, "dim": [2, 3]},
            "shape": ["B", 8],
            "module": "",
        },
        {
            "name": "scores",
            "operation": "linear",
            "arguments": {"input": {"value": "mean"}, "weight": {"array": "last"}, "bias": {"array": "shift"}},
            "shape": ["B", 4],
            "module": "head",
        },
    ],
    "result": "scores",
}


def graph(**changes):
    made = copy.deepcopy(GRAPH)
    for path, value in changes.items():
        place, *keys = path.split("__")
        at = made
        for key in (place, *keys[:-1]) if keys else ():
            at = at[int(key)] if key.isdigit() else at[key]
        at[int(keys[-1]) if keys and keys[-1].isdigit() else (keys or [place])[-1]] = value
    return made


def read(**changes):
    return program.read(json.dumps(graph(**changes)))


def classifier(layer="mean", pool="none", preprocessing=None, side=6):
    how = preprocessing or Preprocessing(resize=None, crop=None)
    maps = ["B", 8, side, side]
    made = read(image=["B", 3, side, side], nodes__0__shape=maps, nodes__1__shape=maps)
    return build.random(GraphClassifier, GraphSpec("tiny", made, layer, 1, pool, 4, how))


def images(count):
    return jnp.asarray(np.random.default_rng(0).standard_normal((count, 6, 6, 3)), jnp.float32)

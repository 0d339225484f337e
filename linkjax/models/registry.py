"""Which kind of artifact is which model class; imported lazily, so that `import linkjax` stays light."""

import importlib
from typing import Any

_CLASSES = {
    "generator": ("linkjax.models.stylegan_xl", "Generator", "linkjax.models.generator_spec", "GeneratorSpec"),
    "classifier": ("linkjax.models.classifier", "Classifier", "linkjax.models.classifier", "ClassifierSpec"),
    "graph_classifier": (
        "linkjax.models.graph.classifier",
        "GraphClassifier",
        "linkjax.models.graph.classifier",
        "GraphSpec",
    ),
    "segmenter": ("linkjax.models.segmenter", "Segmenter", "linkjax.models.segmenter", "SegmenterSpec"),
    "linear_segmenter": (
        "linkjax.models.linear_segmenter",
        "LinearSegmenter",
        "linkjax.models.linear_segmenter",
        "LinearSegmenterSpec",
    ),
    "link": ("linkjax.models.link", "Link", "linkjax.models.link", "LinkSpec"),
    "mlp_link": ("linkjax.models.link", "MLPLink", "linkjax.models.link", "LinkSpec"),
}

#: Kinds of model that a folder of weights can hold.
KINDS = tuple(_CLASSES)


def classes(kind: str) -> tuple[type, type]:
    """Model class and spec class of a kind."""
    module, name, spec_module, spec_name = _CLASSES[kind]
    return getattr(importlib.import_module(module), name), getattr(importlib.import_module(spec_module), spec_name)


def kind_of(model: Any) -> str:
    """The kind a model is saved as."""
    for kind, (module, name, _, _) in _CLASSES.items():
        if (type(model).__module__, type(model).__name__) == (module, name):
            return kind
    raise TypeError(f"{type(model).__name__} is not a model linkjax saves")

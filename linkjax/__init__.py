"""linkjax: see and measure what an image classifier has learned.

Public names are imported on first use, so that `import linkjax` starts no device and stays fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linkjax.analysis.links.fit import fit_link
    from linkjax.analysis.metrics.regions import measure_regions
    from linkjax.demo.study import demo_study, demo_truth
    from linkjax.devices import compile_cache
    from linkjax.devices.parallel import using
    from linkjax.models.classifier_spec import Preprocessing
    from linkjax.models.foreign import Foreign
    from linkjax.numerics import from_uint8, to_uint8
    from linkjax.storage.loading import load
    from linkjax.storage.opening import open
    from linkjax.study import figures
    from linkjax.study.models import Study
    from linkjax.study.starts import anchors, sample
    from linkjax.study.verbs import counterfactual, draw, screen, select, sweep

_HOMES = {
    "Foreign": "linkjax.models.foreign",
    "Preprocessing": "linkjax.models.classifier_spec",
    "Study": "linkjax.study.models",
    "anchors": "linkjax.study.starts",
    "counterfactual": "linkjax.study.verbs",
    "demo_study": "linkjax.demo.study",
    "demo_truth": "linkjax.demo.study",
    "draw": "linkjax.study.verbs",
    "fit_link": "linkjax.analysis.links.fit",
    "from_uint8": "linkjax.numerics",
    "load": "linkjax.storage.loading",
    "measure_regions": "linkjax.analysis.metrics.regions",
    "open": "linkjax.storage.opening",
    "sample": "linkjax.study.starts",
    "screen": "linkjax.study.verbs",
    "select": "linkjax.study.verbs",
    "sweep": "linkjax.study.verbs",
    "to_uint8": "linkjax.numerics",
    "using": "linkjax.devices.parallel",
}

_MODULES = {"compile_cache": "linkjax.devices.compile_cache", "figures": "linkjax.study.figures"}

__all__ = [
    "Foreign", "Preprocessing", "Study", "anchors", "compile_cache", "counterfactual", "demo_study", "demo_truth",
    "draw", "figures", "fit_link", "from_uint8", "load", "measure_regions", "open", "sample", "screen", "select",
    "sweep", "to_uint8", "using",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'linkjax' has no attribute '{name}'")
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

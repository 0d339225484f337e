"""linkjax: see and measure what an image classifier has learned.

Public names are imported on first use, so that `import linkjax` starts no device and stays fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linkjax.analysis.fit import fit_link
    from linkjax.analysis.regions import measure_regions
    from linkjax.analysis.selection import select
    from linkjax.loading import load
    from linkjax.numerics import from_uint8, to_uint8
    from linkjax.opening import open

__all__ = ["fit_link", "from_uint8", "load", "measure_regions", "open", "select", "to_uint8"]

_HOMES = {
    "fit_link": "linkjax.analysis.fit",
    "from_uint8": "linkjax.numerics",
    "load": "linkjax.loading",
    "measure_regions": "linkjax.analysis.regions",
    "open": "linkjax.opening",
    "select": "linkjax.analysis.selection",
    "to_uint8": "linkjax.numerics",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'linkjax' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

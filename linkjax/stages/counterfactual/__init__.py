"""`linkjax counterfactual`: settings, searches, the walks to the boundary, and what is told of them."""

from linkjax.stages.counterfactual.settings import Config, workload
from linkjax.stages.counterfactual.stage import run

__all__ = ["Config", "run", "workload"]

"""`linkjax counterfactual`: settings, searches, paths to the boundary, and the summary."""

from linkjax.stages.counterfactual.settings import Config, workload
from linkjax.stages.counterfactual.stage import run

__all__ = ["Config", "run", "workload"]

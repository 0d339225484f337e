"""`linkjax counterfactual`: the stage, and the walks to the boundary that it stores."""

from linkjax.stages.counterfactual.stage import Config, run, workload

__all__ = ["Config", "run", "workload"]

"""`linkjax link`: the stage, pairs on disk as its problem, sums over them, and steering directions."""

from linkjax.stages.link.stage import Config, run, workload

__all__ = ["Config", "run", "workload"]

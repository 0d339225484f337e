"""`linkjax link`: the stage, and what it is made of: rows of pairs, their moments, fits that need more than moments."""

from linkjax.stages.link.stage import Config, run, workload

__all__ = ["Config", "run", "workload"]

"""`linkjax sweep`: the stage, and what it is made of: compiled programs, values asked, result arrays, pictures."""

from linkjax.stages.sweep.stage import Config, run, workload

__all__ = ["Config", "run", "workload"]

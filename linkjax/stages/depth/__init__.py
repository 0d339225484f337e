"""`linkjax depth`: the stage, and the sums of several layers from one pass over the images."""

from linkjax.stages.depth.stage import Config, run, workload

__all__ = ["Config", "run", "workload"]

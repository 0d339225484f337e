"""`linkjax compare`: the stage, the samples it reads, and the similarity of effects from sweeps."""

from linkjax.stages.compare.stage import Config, run

__all__ = ["Config", "run"]

"""`linkjax compare`: the stage, and what it says of sweeps."""

from linkjax.stages.compare.stage import Config, run

__all__ = ["Config", "run"]

"""`linkjax pairs`: the stage, the arrays it writes, and pairs of the latents of others."""

from linkjax.stages.pairs.stage import Config, labels, run, workload

__all__ = ["Config", "labels", "run", "workload"]

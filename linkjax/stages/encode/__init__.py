"""`linkjax encode`: the stage, and the reference that photographs are compared with."""

from linkjax.stages.encode.stage import Config, run, source_of

__all__ = ["Config", "run", "source_of"]

"""`linkjax select`: settings, the work, the stage."""

from linkjax.stages.select.settings import Config
from linkjax.stages.select.stage import run

__all__ = ["Config", "run"]

"""`linkjax name`: settings, compiled programs, the order of the work."""

from linkjax.stages.name.settings import Config
from linkjax.stages.name.stage import run

__all__ = ["Config", "run"]

"""`linkjax sweep`: settings, schedule, compiled programs, arrays, pictures."""

from linkjax.stages.sweep.settings import Config, workload
from linkjax.stages.sweep.stage import run

__all__ = ["Config", "run", "workload"]

"""What JAX compiles meanwhile, by its own log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import jax


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith("Compiling "):
            self.names.append(message.split()[1])


@contextmanager
def compilations() -> Iterator[list[str]]:
    """A list that grows by the name of every program compiled, also of those found in the cache on disk."""
    logger, listener = logging.getLogger("jax"), _Listener()
    before = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [listener], False  # counted, not printed
    try:
        with jax.log_compiles(True):
            yield listener.names
    finally:
        logger.handlers, logger.propagate = before

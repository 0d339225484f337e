"""The errors a user meets. Each message is one sentence or list: what was expected, what was found, how to mend it."""

import errno

#: Codes of the system for a file that did not find room.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LinkjaxError(Exception):
    """A run failed for a reason linkjax can name; the command line prints the message and exits with `exit_code`."""

    exit_code = 1
    already_reported = False  # by another process of the job, whose error it is


class InputError(LinkjaxError):
    """Wrong use or unusable input (a flag, a file, an array, artifacts that do not fit together)."""

    exit_code = 2


class UnsafeFileError(InputError):
    """A file from outside that asks for something a weight file has no reason to ask for; nothing of it was run."""


class ConversionError(InputError):
    """Weights that do not fit the architecture; the message lists every missing, unexpected and mis-shaped key."""


def shown(text: object, limit: int = 80) -> str:
    """Text from a file made fit for a message: one line, printable ASCII, short."""
    plain = str(text)[: limit + 1].encode("ascii", "backslashreplace").decode()
    plain = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in plain)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"

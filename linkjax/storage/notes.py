"""Notes of finished work: lines of JSON, each of which tells whether it was damaged."""

import json
import zlib
from typing import Any


def sealed(content: Any) -> bytes:
    """A line of JSON that tells whether it was damaged: the content, and the CRC-32 of its text."""
    text = json.dumps(content)
    return f"[{text}, {zlib.crc32(text.encode())}]\n".encode()


def unsealed(line: bytes) -> Any:
    """The content.

    Raises: ValueError if the line was damaged.
    """
    content, checksum = json.loads(line)
    if zlib.crc32(json.dumps(content).encode()) != checksum:
        raise ValueError
    return content

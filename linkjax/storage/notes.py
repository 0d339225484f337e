"""Notes of finished work: lines of JSON with a checksum each."""

import json
import zlib
from typing import Any


def sealed(content: Any) -> bytes:
    """A line of JSON with the CRC-32 of its content."""
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

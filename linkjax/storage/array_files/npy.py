"""Read the header of a NumPy file before memory is taken for its array."""

from typing import IO

import numpy as np

from linkjax.errors import InputError

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the array that begins here; the file stands behind its header.

    Raises: InputError for another format, without the file's name; of a damaged header whatever NumPy raises.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise InputError(f"expected NumPy format 1 or 2, found {version}; save it again with NumPy")
    shape, _, dtype = _HEADERS[version](file)
    return shape, dtype

"""How many units a sweep stores together."""

import math

_BATCHES = 8  # between two notes of what is done, at least: a chunk is whole units
# And so many pixels, where the stage chose the batch: to store a chunk takes as long as to draw 15 images of 64 × 64.
_PIXELS = 512 * 64 * 64


def units_of(batch: int, images_a_unit: int, resolution: int, chosen: bool) -> int:
    """Units of a chunk; results do not depend on it.

    Args:
      batch: images drawn at once.
      images_a_unit: anchors times steps.
      resolution: side of an image in pixels.
      chosen: whether the stage chose the batch itself; a batch that was asked for also says how often to store.
    """
    images = max(_BATCHES * batch, _PIXELS // resolution**2) if chosen else _BATCHES * batch
    return math.ceil(images / images_a_unit)

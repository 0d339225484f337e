"""Rows of W+ that a step enters: one for the generator's input, then one for each of its layers.

0-9, 0-3,7               rows by number
coarse, middle, fine     by the sampling rate at which a layer works: thirds of the octaves from the lowest rate to
                         the image's; the input is coarse
"""

import re

import numpy as np
from jaxtyping import Bool

from linkjax.errors import InputError
from linkjax.models.generator_spec import GeneratorSpec

BANDS = ("coarse", "middle", "fine")
_ROWS = re.compile(r"\d{1,4}(-\d{1,4})?")


def band_rows(spec: GeneratorSpec) -> dict[str, list[int]]:
    """Rows of each of `BANDS`; a generator of few rates may have none of one."""
    rates = [layer.in_sampling_rate for layer in spec.layers]
    rates = [min(rates), *rates]
    octave = np.log2(np.asarray(rates) / min(rates))
    octaves = np.log2(max(spec.resolution / min(rates), 1.0)) + 1.0
    place = np.minimum((3.0 * octave / octaves).astype(int), 2)
    return {band: np.flatnonzero(place == i).tolist() for i, band in enumerate(BANDS)}


def mask(words: str, spec: GeneratorSpec) -> Bool[np.ndarray, "num_ws"]:
    """Whether a step enters each row of W+, as some words joined by commas say.

    Raises: InputError for a row that the generator does not have, a band without rows, or another word.
    """
    bands, chosen = band_rows(spec), np.zeros(spec.num_ws, bool)
    for word in (each.strip() for each in words.split(",")):
        if word in BANDS:
            if not bands[word]:
                known = ", ".join(f"{band} {rows[0]}-{rows[-1]}" for band, rows in bands.items() if rows)
                raise InputError(f"layers: this generator has no {word} ones, by sampling rate; it has {known}")
            chosen[bands[word]] = True
            continue
        low, _, high = word.partition("-") if _ROWS.fullmatch(word) else ("1", "", "0")
        first, last = int(low), int(high or low)
        if first > last:
            raise InputError(f"layers: expected rows as 0-9 or 3, or {', '.join(BANDS)}, found {word[:40]!r}")
        if last >= spec.num_ws:
            raise InputError(f"layers: expected rows from 0 to {spec.num_ws - 1} of W+, found {word}")
        chosen[first : last + 1] = True
    return chosen

"""Numbers as a reader wants them: three digits, units, true minus signs, and – where there is none.

A unit hangs on to its number by a no-break space.
"""

import math
from typing import Any

import numpy as np

NONE = "–"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SHARES = {"share", "fraction", "%", "percent"}


def number(value: Any, unit: str = "", digits: int = 3) -> str:
    """A number with its unit; whole numbers in full, others to `digits` digits; – for None, NaN and what is no number.

    A share (unit "share" or "fraction", 0 … 1) is shown in percent; units "1" and "" are not shown.
    """
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, int | float) or (isinstance(value, float) and math.isnan(value)):
        return NONE
    if unit in _SHARES:
        return percent(value if unit not in ("%", "percent") else value / 100)
    text = _digits(value, digits)
    return f"{text}\u00a0{unit}" if unit not in ("", "1") else text


def percent(value: Any) -> str:
    """A share from 0 to 1 in percent; never rounded to 0 % or 100 % when it is neither."""
    if value is None or not math.isfinite(value):
        return NONE
    scaled = 100 * float(value)
    for decimals in (1, 2, 3):
        text = f"{scaled:.{decimals}f}"
        if not (float(text) in (0.0, 100.0) and scaled != float(text)):
            break
    text = text.rstrip("0").rstrip(".") if float(text) in (0.0, 100.0) else text
    return f"{text.replace('-', '−')}\u00a0%"


def with_error(value: Any, error: Any, unit: str = "") -> str:
    """A number and its standard error, to the error's two leading digits, with their unit."""
    if value is None or not math.isfinite(value):
        return NONE
    value = float(value)
    if error is None or not math.isfinite(error) or not 1e-6 < error < 1e6:
        return number(value, unit)
    decimals = max(0, 1 - math.floor(math.log10(error)))
    text = f"{value:.{decimals}f} ± {error:.{decimals}f}".replace("-", "−")
    return f"{text}\u00a0{unit}" if unit not in ("", "1") else text


def plain(value: Any) -> str:
    """A setting as text: numbers in full, lists joined, – for None."""
    if value is None or value == [] or value == ():
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        shown = [plain(item) for item in value[:24]]
        return ", ".join(shown) + (f", … ({len(value)} in all)" if len(value) > 24 else "")
    if isinstance(value, dict):
        return ", ".join(f"{key}: {plain(item)}" for key, item in value.items())
    if isinstance(value, float):
        return NONE if math.isnan(value) else f"{value:g}".replace("-", "−")
    return str(value)


def short_hash(value: Any) -> str:
    """The first 12 characters of a SHA-256."""
    return str(value)[:12] if value else NONE


def wilson(successes: float, tried: float) -> tuple[float, float]:
    """95 % interval of a share, by Wilson's score; (NaN, NaN) if nothing was tried.

    (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n), with p the share seen and z = 1.96.
    """
    if not tried:
        return math.nan, math.nan
    z, share = 1.959964, successes / tried
    middle = share + z * z / (2 * tried)
    spread = z * math.sqrt(share * (1 - share) / tried + z * z / (4 * tried * tried))
    scale = 1 + z * z / tried
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def _digits(value: int | float, digits: int) -> str:
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if isinstance(value, int) or (value == round(value) and size < 1e5) or 10**digits <= size < 1e6:
        grouped = f"{round(value):,}" if size >= 1e4 else str(round(value))
        return grouped.replace(",", "\u202f").replace("-", "−")
    if size >= 1e6 or size < 1e-3:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}".replace("-", "−")
    return f"{value:#.{digits}g}".rstrip(".").replace("-", "−")

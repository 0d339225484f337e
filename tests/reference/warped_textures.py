"""Pictures that ship with scikit-image, moved by displacements that are known: what optical flow is tested on."""

from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage import color, data, transform

TEXTURES = ("camera", "astronaut", "brick", "grass", "gravel", "coffee", "chelsea", "moon")
MARGIN = 1.5  # pictures are so many times as large as what is shown, so that what moves in was there


class Case(NamedTuple):
    """A pair of pictures and the truth: second(x + displacement(x)) = first(x)."""

    texture: str
    motion: str
    first: np.ndarray  # [H, W] luma of 256 grey levels, 0 … 1
    second: np.ndarray
    displacement: np.ndarray  # [2, H, W] pixels, (y, x)
    seen: np.ndarray  # [H, W] whether the pixel is within the second picture


def texture(name: str, size: int) -> np.ndarray:
    """A square grey picture MARGIN · size pixels a side, in [0, 1]."""
    picture = getattr(data, name)()
    grey = color.rgb2gray(picture) if picture.ndim == 3 else picture / 255.0
    side = min(grey.shape)
    whole = round(MARGIN * size)
    return transform.resize(grey[:side, :side], (whole, whole), order=3, anti_aliasing=True).clip(0.0, 1.0)


def motions(size: int) -> dict[str, np.ndarray]:
    """Displacements [2, size, size] of 0.5 to 8 pixels at 128 pixels: shifts, turns with a change of size, bumps."""
    y, x = np.mgrid[:size, :size].astype(np.float64)
    centre, k = (size - 1) / 2, size / 128

    def shift(down: float, right: float) -> np.ndarray:
        return np.stack([np.full_like(y, down), np.full_like(y, right)])

    def turn(angle: float, scale: float) -> np.ndarray:
        c, s = scale * np.cos(angle) - 1, scale * np.sin(angle)
        return np.stack([c * (y - centre) - s * (x - centre), s * (y - centre) + c * (x - centre)])

    def bump(at: tuple[float, float], width: float, down: float, right: float) -> np.ndarray:
        height = np.exp(-((y - at[0] * size) ** 2 + (x - at[1] * size) ** 2) / (2 * (width * size) ** 2))
        return np.stack([down * height, right * height])

    return {
        "shift 0.6": shift(0.5, -0.4),
        "shift 4": shift(3.0 * k, 2.6 * k),
        "shift 8": shift(-6.0 * k, 5.3 * k),
        "turn 3°, × 1.03": turn(0.05, 1.03),
        "turn 6°, × 0.95": turn(-0.1, 0.95),
        "bump 0.5": bump((0.5, 0.5), 0.1, 0.5, 0.0),
        "bump 3": bump((0.4, 0.6), 0.12, -1.8 * k, 2.4 * k),
        "bumps 5 and 4": bump((0.35, 0.35), 0.12, 4.0 * k, 3.0 * k) + bump((0.7, 0.7), 0.1, -4.0 * k, 0.0),
    }


def cases(size: int, textures: tuple[str, ...] = TEXTURES, names: tuple[str, ...] | None = None) -> list[Case]:
    """Every texture moved in every way."""
    y, x = np.mgrid[:size, :size]
    made = []
    for name in textures:
        whole = texture(name, size)
        border = (len(whole) - size) // 2
        for motion, moved in motions(size).items():
            if names is not None and motion not in names:
                continue
            at = np.stack([y + moved[0], x + moved[1]])
            second = whole[border : border + size, border : border + size]
            first = ndimage.map_coordinates(whole, at + border, order=5, mode="mirror")
            pair = (np.round(255 * each.clip(0.0, 1.0)).astype(np.float32) / 255 for each in (first, second))
            made.append(Case(name, motion, *pair, moved, ((at >= 0) & (at <= size - 1)).all(0)))
    return made


def errors(case: Case, flow: np.ndarray) -> tuple[float, float]:
    """Mean and 90th percentile of the endpoint error, pixels, where the second picture shows the pixel."""
    each = np.hypot(*(flow - case.displacement))[case.seen]
    return float(each.mean()), float(np.percentile(each, 90))

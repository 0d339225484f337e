"""Region metrics the plain way: NumPy, float64, one image and one part at a time."""

import numpy as np

XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)


def lab(encoded: np.ndarray) -> np.ndarray:
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    t = linear @ XYZ_FROM_RGB.T / XYZ_FROM_RGB.sum(axis=1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def measure(image: np.ndarray, labels: np.ndarray, num_parts: int) -> dict[str, np.ndarray]:
    """The fields of `Regions` for one byte image [H, W, 3]."""
    encoded = image / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    luma = encoded @ np.array([0.2126, 0.7152, 0.0722])
    light = linear @ np.array([0.2126, 0.7152, 0.0722])
    lab_values = lab(encoded)
    bins = (image.astype(np.int64) @ np.array([2126, 7152, 722]) + 5000) // 10000
    rows = [_part(labels == part, luma, light, lab_values, bins) for part in range(num_parts)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def local_entropy(grey: np.ndarray, radius: int = 5) -> np.ndarray:
    """Bits of the histogram of the grey values within `radius` of each pixel."""
    y, x = np.mgrid[: grey.shape[0], : grey.shape[1]]
    out = np.zeros(grey.shape)
    for row, column in np.ndindex(grey.shape):
        share = np.bincount(grey[(y - row) ** 2 + (x - column) ** 2 <= radius**2])
        share = share[share > 0] / share.sum()
        out[row, column] = -(share * np.log2(share)).sum()
    return out


def _part(inside, luma, light, lab_values, bins) -> dict[str, float]:
    area = inside.sum()
    names = "luminance luminance_linear lightness red_green yellow_blue entropy centroid_y centroid_x eccentricity"
    names += " orientation axis_major axis_minor height width slant"
    out = {"area": float(area), "area_share": area / inside.size} | dict.fromkeys(names.split(), np.nan)
    if not area:
        return out
    share = np.bincount(bins[inside], minlength=256) / area
    share = share[share > 0]
    y, x = np.nonzero(inside)
    dy, dx = y - y.mean(), x - x.mean()
    yy, xy, xx = (dy * dy).mean(), (dy * dx).mean(), (dx * dx).mean()
    small, large = np.maximum(np.linalg.eigvalsh([[yy, xy], [xy, xx]]), 0)
    mean_lab = lab_values[inside].mean(axis=0)
    return out | {
        "luminance": 255 * luma[inside].mean(),
        "luminance_linear": light[inside].mean(),
        "lightness": mean_lab[0],
        "red_green": mean_lab[1],
        "yellow_blue": mean_lab[2],
        "entropy": -(share * np.log2(share)).sum() + 0.0,
        "centroid_y": y.mean(),
        "centroid_x": x.mean(),
        "eccentricity": np.sqrt(1 - small / large) if large > 0 else 0.0,
        "orientation": 0.5 * np.arctan2(2 * xy, yy - xx),
        "axis_major": 4 * np.sqrt(large),
        "axis_minor": 4 * np.sqrt(small),
        "height": 4 * np.sqrt(yy),
        "width": 4 * np.sqrt(xx),
        "slant": 2 * xy / (yy + xx) if yy + xx > 0 else 0.0,
    }

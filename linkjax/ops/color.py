"""Colour of sRGB images: grey values, luminance, CIE L*a*b*. Last axis R, G, B in [0, 1]; any batch axes before it.

"Encoded" is what a file holds (gamma-compressed); "linear" is proportional to light. Luma is a weighted sum of
encoded values, luminance the same sum of linear ones; they are not each other's gamma curve.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from linkjax import numerics

#: Linear sRGB → CIE XYZ: primaries and white of Rec. 709 to six digits. Its middle row rounds to (0.2126, 0.7152,
#: 0.0722), which `luma709` and `luminance` use as the standard prints them; L* differs between the two by up to 0.003.
XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
#: XYZ of R = G = B = 1, the D65 white of sRGB, so that greys have a* = b* = 0.
WHITE = XYZ_FROM_RGB.sum(axis=1)
_REC709 = (2126, 7152, 722)  # ten-thousandths
_REC601 = (19595, 38470, 7471)  # 65536ths
_DELTA = 6.0 / 29.0
_PIXELS = 16


def linear_from_srgb(encoded: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Encoded sRGB values as linear light: v / 12.92 up to 0.04045, ((v + 0.055) / 1.055)^2.4 above.

    Args:
      encoded: values in [0, 1], any shape; below 0 the straight piece goes on.
    Returns: linear values in [0, 1].
    Numerics: the power is exp(2.4 · log), four times as fast as `power` on the CPU; relative error below 1e-6.
    Reference: IEC 61966-2-1:1999.
    """
    low = encoded <= 0.04045
    power = jnp.exp(2.4 * jnp.log((jnp.where(low, 1.0, encoded) + 0.055) / 1.055))
    return jnp.where(low, encoded / 12.92, power)


def luma709(encoded: Float[Array, "*batch 3"]) -> Float[Array, "*batch"]:
    """Rec. 709 luma: 0.2126 R + 0.7152 G + 0.0722 B of encoded values; in [0, 1] like them.

    Reference: ITU-R BT.709-6, item 3.2.
    """
    return 0.2126 * encoded[..., 0] + 0.7152 * encoded[..., 1] + 0.0722 * encoded[..., 2]


def luma601(encoded: Float[Array, "*batch 3"]) -> Float[Array, "*batch"]:
    """Rec. 601 luma ("grey"): 0.299 R + 0.587 G + 0.114 B of encoded values; in [0, 1] like them.

    Deviations: the original divides this sum by 3 once more, so that white is 85 of 255.
    Reference: ITU-R BT.601-7, item 2.5.1.
    """
    return 0.299 * encoded[..., 0] + 0.587 * encoded[..., 1] + 0.114 * encoded[..., 2]


def luma709_bin(encoded: Float[Array, "*batch 3"]) -> Int[Array, "*batch"]:
    """The byte of the Rec. 709 luma: floor(255 · luma + 1/2), in 0…255.

    Numerics: the luma is first rounded to 0.0001 of a byte, its grain on byte images, in whole numbers; so the bin
    of a byte image is exact (ties upwards) whatever the float type, the compiler or the division by 255 did.
    """
    scaled = 255.0 * jnp.clip(encoded, 0.0, 1.0)
    red, green, blue = _REC709
    grains = jnp.floor(red * scaled[..., 0] + green * scaled[..., 1] + blue * scaled[..., 2] + 0.5).astype(jnp.int32)
    # truncated, which is rounded down: there are no negative grains
    return jnp.clip(jax.lax.div(grains + 5000, jnp.int32(10000)), 0, 255)


def luma601_byte(encoded: Float[Array, "*batch 3"]) -> Int[Array, "*batch"]:
    """The byte of the Rec. 601 luma, 0.299 R + 0.587 G + 0.114 B of encoded values, in 0…255: a picture's usual grey.

    Numerics: of the nearest bytes of R, G and B in whole numbers, weights in 65536ths, halves upwards; so it is the
      grey of image libraries (Pillow's mode L) for byte images, whatever the float type or the compiler did.
    """
    red, green, blue = _REC601
    pixels = jnp.floor(255.0 * jnp.clip(encoded, 0.0, 1.0) + 0.5).astype(jnp.int32)
    return (red * pixels[..., 0] + green * pixels[..., 1] + blue * pixels[..., 2] + 32768) // 65536


def luminance(encoded: Float[Array, "*batch 3"]) -> Float[Array, "*batch"]:
    """Relative luminance Y: Rec. 709 weights on linear values; 0 black, 1 white."""
    return luma709(linear_from_srgb(encoded))


def xyz_from_linear(linear: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """CIE 1931 XYZ over that of the D65 white, (X / Xn, Y / Yn, Z / Zn), each in [0, 1], of linear RGB.

    Numerics: a product at the reference precision rather than written-out sums, because it makes the compiler keep
    the linear values; it otherwise computes three powers per pixel anew for each output. Up to 16 pixels make a row
    of one block-diagonal product, whose zeros add nothing (but a value that is not finite spoils its row): five times
    as fast on a CPU as rows of three.
    """
    matrix = (XYZ_FROM_RGB / WHITE[:, None]).T
    pixels = math.gcd(linear.size // 3, _PIXELS)
    blocks = jnp.asarray(np.kron(np.eye(pixels), matrix), linear.dtype)
    return jnp.matmul(linear.reshape(-1, 3 * pixels), blocks, precision=numerics.PRECISION).reshape(linear.shape)


def lab_response(relative: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """CIE's compression f(t) = t^(1/3) above (6/29)³, t / (3 (6/29)²) + 4/29 below.

    L* = 116 f(Y) − 16, a* = 500 (f(X) − f(Y)), b* = 200 (f(Y) − f(Z)): linear in f, so means may be taken of f.

    Numerics: exp(log / 3) with one Newton step, 4 times as fast as `cbrt` on the CPU; finite gradient at 0.
    """
    low = relative <= _DELTA**3
    safe = jnp.where(low, 1.0, relative)
    guess = jnp.exp(jnp.log(safe) / 3.0)
    root = guess - (guess - safe / (guess * guess)) / 3.0
    return jnp.where(low, relative / (3.0 * _DELTA**2) + 4.0 / 29.0, root)


def lab_from_response(response: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """L*, a*, b* from f(X / Xn), f(Y / Yn), f(Z / Zn) (see `lab_response`)."""
    fx, fy, fz = (response[..., i] for i in range(3))
    return jnp.stack([116.0 * fy - 16.0, 500.0 * (fx - fy), 200.0 * (fy - fz)], axis=-1)


def squared_difference(response: Float[Array, "*batch 3"]) -> Float[Array, "*batch"]:
    """ΔE*ab², the squared distance in L*a*b*, of two colours whose responses f(X, Y, Z) differ by so much.

    (116 Δf(Y))² + (500 (Δf(X) − Δf(Y)))² + (200 (Δf(Y) − Δf(Z)))².
    """
    dx, dy, dz = (response[..., i] for i in range(3))
    return (116.0 * dy) ** 2 + (500.0 * (dx - dy)) ** 2 + (200.0 * (dy - dz)) ** 2


def lab(encoded: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """CIE 1976 L*a*b* under D65: L* in 0…100, a* (green to red) and b* (blue to yellow) about −110…110.

    Reference: CIE 15:2004, section 8.2.1.
    """
    return lab_from_response(lab_response(xyz_from_linear(linear_from_srgb(encoded))))


def chroma(lab_values: Float[Array, "*batch 3"]) -> Float[Array, "*batch"]:
    """C*ab = √(a*² + b*²), 0 for greys; its gradient there is 0."""
    square = lab_values[..., 1] ** 2 + lab_values[..., 2] ** 2
    grey = square == 0
    return jnp.where(grey, 0.0, jnp.sqrt(jnp.where(grey, 1.0, square)))


def histogram_entropy(counts: Float[Array, "*batch bins"]) -> Float[Array, "*batch"]:
    """Shannon entropy in bits of a histogram: −Σ p log₂ p with p = counts / Σ counts; NaN for an empty one.

    Numerics: a share above 1/2 takes its logarithm from what is missing to 1, log1p(−rest / total), which keeps the
    small entropy of an almost uniform region accurate.
    """
    total = jnp.sum(counts, axis=-1, keepdims=True)
    share = numerics.safe_ratio(counts, jnp.broadcast_to(total, counts.shape))
    rest = numerics.safe_ratio(total - counts, jnp.broadcast_to(total, counts.shape))
    large = share > 0.5
    some = jnp.where(large | (share <= 0), 1.0, share)
    logarithm = jnp.where(large, jnp.log1p(-jnp.where(large, rest, 0.0)), jnp.log(some))
    # 0 − Σ rather than −Σ: the entropy of one value is 0, not −0
    return 0.0 - jnp.sum(share * logarithm, axis=-1) / jax.numpy.log(jnp.asarray(2.0, counts.dtype))

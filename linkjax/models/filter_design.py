"""Low-pass filters of the synthesis layers, for models that are made rather than read."""

import math

import numpy as np

from linkjax.models.generator_spec import LayerSpec


def _kaiser_beta(taps: int, width: float) -> float:
    """Kaiser's β for a transition band `width`, relative to the Nyquist rate, with that many taps."""
    attenuation = 2.285 * (taps - 1) * math.pi * width + 7.95
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return 0.0


def _bessel_j1(x: np.ndarray) -> np.ndarray:
    """J₁(x) = (1/π) ∫₀^π cos(t − x sin t) dt, by the midpoint rule, which is spectrally exact here."""
    t = (np.arange(256) + 0.5) * (math.pi / 256)
    return np.mean(np.cos(t - np.multiply.outer(x, np.sin(t))), axis=-1)


def lowpass(taps: int, cutoff: float, width: float, rate: float, radial: bool = False) -> np.ndarray | None:
    """Windowed low-pass filter with unit gain at zero frequency.

    Separable: sinc × Kaiser window, [taps]. Radial: jinc(r) × the product of two Kaiser windows, [taps, taps].

    Args:
      taps: length; 1 means no filter.
      cutoff: half-amplitude frequency.
      width: of the transition band, in the units of `cutoff` and `rate`.
      rate: sampling rate.
    """
    if taps == 1:
        return None
    window = np.kaiser(taps, _kaiser_beta(taps, width / (rate / 2)))
    x = (np.arange(taps) - (taps - 1) / 2) / rate
    if radial:
        r = np.hypot(x[:, None], x[None, :])
        if taps % 2:
            r[taps // 2, taps // 2] = 1e-9 / rate  # jinc's limit, where the formula is 0/0
        kernel = _bessel_j1(2 * math.pi * cutoff * r) / (math.pi * r) * np.outer(window, window)
    else:
        kernel = np.sinc(2 * cutoff * x) * window
    return kernel / kernel.sum()


def layer_filters(layer: LayerSpec) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The upsampling and the downsampling filter of a layer."""
    rate = layer.tmp_sampling_rate
    return (
        lowpass(layer.up_taps, layer.in_cutoff, 2 * layer.in_half_width, rate),
        lowpass(layer.down_taps, layer.out_cutoff, 2 * layer.out_half_width, rate, layer.down_radial),
    )

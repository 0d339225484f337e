"""The architecture of StyleGAN3 and StyleGAN-XL generators as data, and the published ones by resolution.

A converted file states its layers itself; the functions here say what the original constructors would have built, for
random-weight models, for planning and for checking files.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

#: Sampling rate at which the leaky ReLU runs, relative to the faster side of a layer.
LRELU_UPSAMPLING = 2
#: Low-pass filter taps per sample of the slower side.
FILTER_SIZE = 6


@dataclasses.dataclass(frozen=True)
class LayerSpec:
    """One synthesis layer: modulated convolution, then bias, upsampling, leaky ReLU, clamp and downsampling.

    Rates, cutoffs and half widths are in cycles or samples per image side; sizes in samples, margins included.
    """

    name: str
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    in_sampling_rate: float
    out_sampling_rate: float
    tmp_sampling_rate: float  # where the nonlinearity acts
    in_cutoff: float
    out_cutoff: float
    in_half_width: float
    out_half_width: float
    conv_kernel: int = 3
    conv_clamp: float | None = 256.0  # None: no clamp
    up_factor: int = 2
    down_factor: int = 2
    up_taps: int = 12  # 1: no filter
    down_taps: int = 12
    down_radial: bool = False  # a 2-D jinc filter instead of two 1-D ones
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)  # x low, x high, y low, y high after zero insertion; < 0 crops
    is_torgb: bool = False
    is_critically_sampled: bool = False
    use_fp16: bool = False  # how the original runs it on CUDA; linkjax follows its own dtype

    @property
    def margin(self) -> int:
        """Samples beyond the picture on each side of the layer's output."""
        return max(0, (self.out_size - int(self.out_sampling_rate)) // 2)

    @property
    def bytes_at_once(self) -> int:
        """Bytes read and written by the layer's largest filter pass, that along x in float32, over one image."""
        height, _ = self.mid_size
        return 4 * self.out_channels * height * (self.in_size + self.conv_kernel - 1 + self.out_size)

    @property
    def mid_size(self) -> tuple[int, int]:
        """Height and width of the grid on which the nonlinearity acts."""
        full = (self.in_size + self.conv_kernel - 1) * self.up_factor - (self.up_taps - 1)
        return full + self.padding[2] + self.padding[3], full + self.padding[0] + self.padding[1]


@dataclasses.dataclass(frozen=True)
class GeneratorSpec:
    """A whole generator. `layers` runs from the first to the ToRGB layer, names as in the file."""

    resolution: int
    layers: tuple[LayerSpec, ...]
    z_dim: int = 64
    w_dim: int = 512
    num_ws: int = 0  # rows of w the synthesis takes: one for the input and one a layer
    num_classes: int = 0  # 0: unconditional
    embed_dim: int = 320  # width of the class embedding
    embed_projected: bool = True  # StyleGAN-XL projects the embedding to z_dim; StyleGAN3 uses it as it is
    class_truncation: bool = True  # w_avg has a row per class (StyleGAN-XL)
    mapping_layers: int = 2
    mapping_lr_multiplier: float = 0.01
    img_channels: int = 3
    output_scale: float = 0.25
    margin: int = 10
    input_channels: int = 0
    input_size: int = 0
    input_sampling_rate: float = 0.0
    input_bandwidth: float = 0.0

    def __post_init__(self) -> None:
        """Derive the input's numbers from the first layer where they are not given."""
        first = self.layers[0]
        derived = {
            "num_ws": len(self.layers) + 1,
            "input_channels": first.in_channels,
            "input_size": first.in_size,
            "input_sampling_rate": first.in_sampling_rate,
            "input_bandwidth": first.in_cutoff,
        }
        for name, value in derived.items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the synthesis layers, in order."""
        return tuple(layer.name for layer in self.layers)

    @property
    def bytes_at_once(self) -> int:
        """Bytes read and written by the largest pass of any layer over one image."""
        return max(layer.bytes_at_once for layer in self.layers)

    @property
    def mapping_in(self) -> int:
        """Width of what enters the first mapping layer."""
        return self.z_dim + (self.num_classes > 0) * (self.z_dim if self.embed_projected else self.embed_dim)


def layer_spec(
    index: int,
    *,
    channels: tuple[int, int],
    sizes: tuple[int, int],
    rates: tuple[float, float],
    cutoffs: tuple[float, float],
    half_widths: tuple[float, float],
    is_torgb: bool,
    is_critically_sampled: bool,
    use_fp16: bool = False,
    conv_kernel: int = 3,
    radial: bool = False,
    conv_clamp: float | None = 256.0,
) -> LayerSpec:
    """A layer from its input and output sides (given as pairs): factors, taps and padding follow.

    The padding centres the sample grids: with n = (out − 1)·down + 1 + taps − 2 − (in + k − 1)·up samples to add in
    all, ⌊(n + up)/2⌋ go in front.
    """
    tmp_rate = max(rates) * (1 if is_torgb else LRELU_UPSAMPLING)
    kernel = 1 if is_torgb else conv_kernel
    up, down = round(tmp_rate / rates[0]), round(tmp_rate / rates[1])
    up_taps = FILTER_SIZE * up if up > 1 and not is_torgb else 1
    down_taps = FILTER_SIZE * down if down > 1 and not is_torgb else 1
    total = (sizes[1] - 1) * down + 1 - (sizes[0] + kernel - 1) * up + up_taps + down_taps - 2
    low = (total + up) // 2
    return LayerSpec(
        name=f"L{index}_{sizes[1]}_{channels[1]}",
        in_channels=channels[0],
        out_channels=channels[1],
        in_size=sizes[0],
        out_size=sizes[1],
        in_sampling_rate=rates[0],
        out_sampling_rate=rates[1],
        tmp_sampling_rate=tmp_rate,
        in_cutoff=cutoffs[0],
        out_cutoff=cutoffs[1],
        in_half_width=half_widths[0],
        out_half_width=half_widths[1],
        conv_kernel=kernel,
        conv_clamp=conv_clamp,
        up_factor=up,
        down_factor=down,
        up_taps=up_taps,
        down_taps=down_taps,
        down_radial=radial and not is_critically_sampled,
        padding=(low, total - low, low, total - low),
        is_torgb=is_torgb,
        is_critically_sampled=is_critically_sampled,
        use_fp16=use_fp16,
    )


@dataclasses.dataclass(frozen=True)
class Progression:
    """Parameters of a stack of layers: bands grow geometrically up to the image's, channels fall as they do."""

    channel_base: int = 65536
    channel_max: int = 1024
    num_critical: int = 2  # layers at the end that sample at their band's limit
    first_cutoff: float = 2.0
    first_stopband: float = 2.0**2.1
    last_stopband_rel: float = 2.0**0.3  # relative to the last cutoff
    margin: int = 10
    num_fp16_res: int = 4
    conv_kernel: int = 3
    radial: bool = False  # "r" configuration: radial downsampling filters, normally with conv_kernel 1
    conv_clamp: float | None = 256.0


def _stack(
    progression: Progression,
    resolution: int,
    num_layers: int,
    first_index: int,
    first_band: tuple[float, float],
    first_rate: float | None,
    first_channels: int | None,
    img_channels: int,
) -> tuple[LayerSpec, ...]:
    """The layers `first_index` … `first_index + num_layers`, the last being ToRGB."""
    cutoff0, stopband0 = first_band
    last_cutoff = resolution / 2
    exponents = np.minimum(np.arange(num_layers + 1) / (num_layers - progression.num_critical), 1)
    cutoffs = cutoff0 * (last_cutoff / cutoff0) ** exponents
    stopbands = stopband0 * (last_cutoff * progression.last_stopband_rel / stopband0) ** exponents
    rates = np.exp2(np.ceil(np.log2(np.minimum(stopbands * 2, resolution))))
    if first_rate is not None:
        rates[0] = first_rate
    half_widths = np.maximum(stopbands, rates / 2) - cutoffs
    sizes = rates + 2 * progression.margin
    sizes[-2:] = resolution
    channels = np.rint(np.minimum(progression.channel_base / 2 / cutoffs, progression.channel_max))
    if first_channels is not None:
        channels[0] = first_channels
    channels[-1] = img_channels

    def sides(values: np.ndarray, index: int, kind: type = float) -> Any:
        return kind(values[max(index - 1, 0)]), kind(values[index])

    return tuple(
        layer_spec(
            first_index + i,
            channels=sides(channels, i, int),
            sizes=sides(sizes, i, int),
            rates=sides(rates, i),
            cutoffs=sides(cutoffs, i),
            half_widths=sides(half_widths, i),
            is_torgb=i == num_layers,
            is_critically_sampled=i >= num_layers - progression.num_critical,
            use_fp16=bool(rates[i] * 2**progression.num_fp16_res > resolution),
            conv_kernel=progression.conv_kernel,
            radial=progression.radial,
            conv_clamp=progression.conv_clamp,
        )
        for i in range(num_layers + 1)
    )


def stem_spec(
    resolution: int, num_layers: int = 14, progression: Progression = Progression(), **fields: Any
) -> GeneratorSpec:
    """A generator built in one piece, as the original constructor does.

    Args:
      resolution: image side, a power of two.
      num_layers: synthesis layers without ToRGB.
      progression: bands, channels, kernel; Progression() has StyleGAN-XL's values for ImageNet.
      fields: the other fields of `GeneratorSpec` (z_dim, w_dim, num_classes, …).
    """
    layers = _stack(
        progression,
        resolution,
        num_layers,
        0,
        (progression.first_cutoff, progression.first_stopband),
        None,
        None,
        fields.get("img_channels", 3),
    )
    return GeneratorSpec(resolution=resolution, layers=layers, margin=progression.margin, **fields)


def superres_spec(
    stem: GeneratorSpec, up_factor: int = 2, head_layers: int = 7, progression: Progression = Progression()
) -> GeneratorSpec:
    """`stem` without its critically sampled layers, and `head_layers` + ToRGB new ones to `up_factor` times its size.

    Heads number on from the layers kept plus one, as in the original: L7, L9 at the first seam, none skipped later.
    Their layers have 3×3 kernels and separable filters there, whatever the stem has.
    """
    kept = tuple(layer for layer in stem.layers if not layer.is_critically_sampled)
    last = kept[-1]
    resolution = stem.resolution * up_factor
    head = _stack(
        dataclasses.replace(progression, conv_kernel=3, radial=False, conv_clamp=256.0),
        resolution,
        head_layers,
        len(kept) + 1,
        (last.out_cutoff, last.out_half_width + last.out_cutoff),
        last.out_sampling_rate,
        last.out_channels,
        stem.img_channels,
    )
    return dataclasses.replace(stem, resolution=resolution, layers=kept + head, num_ws=len(kept) + len(head) + 1)


def imagenet_spec(resolution: int) -> GeneratorSpec:
    """The published ImageNet model of 16, 32, …, 1024 pixels: a stem of 11 layers, then one head per doubling.

    Heads have 7 layers and a ToRGB (5 for the last, 1024).
    """
    if resolution not in (16, 32, 64, 128, 256, 512, 1024):
        raise ValueError(f"ImageNet models exist at 16, 32, 64, 128, 256, 512 and 1024 pixels, not {resolution}")
    spec = stem_spec(16, num_layers=10, num_classes=1000)
    for size in (2**k for k in range(5, int(math.log2(resolution)) + 1)):
        spec = superres_spec(spec, up_factor=2, head_layers=5 if size == 1024 else 7)
    return spec


def conv_flops(layers: Sequence[LayerSpec]) -> int:
    """Operations (2 per multiply-add) of the layers' convolutions for one image, over their full output."""
    return sum(
        2 * (s.in_size + s.conv_kernel - 1) ** 2 * s.conv_kernel**2 * s.in_channels * s.out_channels for s in layers
    )

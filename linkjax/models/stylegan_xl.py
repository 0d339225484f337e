"""The generators of StyleGAN-XL and StyleGAN3: z → w → image."""

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from linkjax import numerics
from linkjax.errors import InputError
from linkjax.models.build import Buffer
from linkjax.models.filter_design import layer_filters
from linkjax.models.generator_spec import GeneratorSpec, LayerSpec
from linkjax.ops import filter_kernel
from linkjax.ops.activations import leaky_relu
from linkjax.ops.chunked import map_in_cache
from linkjax.ops.conv import dense
from linkjax.ops.fourier import fourier_features, rigid_transform
from linkjax.ops.modulated_conv import modulated_conv, scaled_conv
from linkjax.ops.resampling import filtered_leaky_relu

#: Bytes of one pass over an image above which derivatives compute the inside of each layer anew, and keep its input
#: alone: a search through the image at 256² then needs 7.9 instead of 25 GiB, for one more forward pass a gradient.
KEPT_BYTES = 64 << 20


class Affine(nnx.Module):
    """y = x · kernel · (lr_multiplier / √in) + bias · lr_multiplier: weights as trained, scaled when used."""

    def __init__(
        self, inputs: int, outputs: int, *, rngs: nnx.Rngs, lr_multiplier: float = 1.0, bias: float = 0.0
    ) -> None:
        self.lr_multiplier = lr_multiplier
        self.kernel = nnx.Param(jax.random.normal(rngs.params(), (inputs, outputs)) / lr_multiplier)
        self.bias = nnx.Param(jnp.full((outputs,), bias / lr_multiplier))

    def __call__(self, x: Float[Array, "B I"]) -> Float[Array, "B O"]:
        """Apply to a batch."""
        kernel = self.kernel[...] * (self.lr_multiplier / math.sqrt(self.kernel[...].shape[0]))
        return dense(x, kernel, self.bias[...] * self.lr_multiplier)


def _unit_second_moment(x: Float[Array, "B C"]) -> Float[Array, "B C"]:
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=1, keepdims=True) + 1e-8)


class Mapping(nnx.Module):
    """z and a class to w."""

    def __init__(self, spec: GeneratorSpec, *, rngs: nnx.Rngs) -> None:
        self.spec = spec
        if spec.num_classes:
            self.embed = Buffer(jax.random.normal(rngs.params(), (spec.num_classes, spec.embed_dim)))
            if spec.embed_projected:
                self.embed_proj = Affine(spec.embed_dim, spec.z_dim, rngs=rngs)
        widths = [spec.mapping_in] + [spec.w_dim] * spec.mapping_layers
        self.fc = nnx.List(
            [Affine(i, o, rngs=rngs, lr_multiplier=spec.mapping_lr_multiplier) for i, o in itertools.pairwise(widths)]
        )
        per_class = spec.num_classes > 0 and spec.class_truncation
        self.w_avg = Buffer(jnp.zeros((spec.num_classes, spec.w_dim) if per_class else (spec.w_dim,)))

    def __call__(
        self,
        z: Float[Array, "B Z"],
        label: Int[Array, "B"] | None = None,
        truncation: float | Float[Array, ""] = 1.0,
    ) -> Float[Array, "B W"]:
        """w = w_avg + truncation · (f(z, label) − w_avg), w_avg being the class's own mean where the model has it.

        Args:
          z: standard normal, [B, z_dim]; float64 is rounded to float32.
          label: class indices, [B]; only and always for conditional models.
          truncation: 1 leaves w as it is, 0 gives the mean.
        Errors: InputError for a missing, needless or out-of-range label, or a z of another width.
        """
        z, label = _checked_latents(self.spec, z, label)
        return _map(self, z, label, jnp.asarray(truncation, jnp.float32))


def _checked_latents(spec: GeneratorSpec, z: Any, label: Any) -> tuple[Array, Array | None]:
    z = jnp.asarray(z, jnp.float32)
    if z.ndim != 2 or z.shape[1] != spec.z_dim:
        raise InputError(f"z must be [batch, {spec.z_dim}], found {list(z.shape)}")
    if not spec.num_classes:
        if label is not None:
            raise InputError("this generator is unconditional: leave the label out")
        return z, None
    if label is None:
        raise InputError(f"this generator is conditional: give a label from 0 to {spec.num_classes - 1} for each z")
    try:
        host = np.asarray(label)
    except jax.errors.TracerArrayConversionError:  # inside a compiled function there are no values to look at
        host = np.zeros(0, np.int32)
    if host.size and not np.issubdtype(host.dtype, np.integer):
        raise InputError(f"labels must be integers, found {host.dtype}")
    if host.size and (host.min() < 0 or host.max() >= spec.num_classes):
        found = host.min() if host.min() < 0 else host.max()
        raise InputError(f"labels must be from 0 to {spec.num_classes - 1}, found {found}")
    label = jnp.asarray(label, jnp.int32)
    if label.shape != z.shape[:1]:
        raise InputError(f"labels must be [{z.shape[0]}], one for each z, found {list(label.shape)}")
    return z, label


@jax.jit
def _map(mapping: Mapping, z: Array, label: Array | None, truncation: Array) -> Array:
    spec = mapping.spec
    x = _unit_second_moment(z)
    if label is not None:
        y = mapping.embed[...][label]
        if spec.embed_projected:
            y = leaky_relu(mapping.embed_proj(y))
        x = jnp.concatenate([x, _unit_second_moment(y)], axis=1)
    for layer in mapping.fc:
        x = leaky_relu(layer(x))
    mean = mapping.w_avg[...]
    mean = mean[label] if mean.ndim == 2 else jnp.broadcast_to(mean, x.shape)
    return jnp.where(truncation == 1, x, mean + truncation * (x - mean))


class Input(nnx.Module):
    """Fourier features, moved and turned by w, mixed by a learned matrix."""

    def __init__(self, spec: GeneratorSpec, *, rngs: nnx.Rngs) -> None:
        self.spec = spec
        channels = spec.input_channels
        freqs = jax.random.normal(rngs.params(), (channels, 2))
        radii = jnp.linalg.norm(freqs, axis=1, keepdims=True)
        # A radius of exp(-r²/4)-like decay makes the draw uniform on the disc of the bandwidth.
        self.freqs = Buffer(freqs / (radii * jnp.exp(jnp.square(radii) / 4)) * spec.input_bandwidth)
        self.phases = Buffer(jax.random.uniform(rngs.params(), (channels,)) - 0.5)
        self.transform = Buffer(jnp.eye(3))
        self.kernel = nnx.Param(jax.random.normal(rngs.params(), (channels, channels)))
        self.affine = Affine(spec.w_dim, 4, rngs=rngs)
        self.affine.kernel[...] = jnp.zeros((spec.w_dim, 4))
        self.affine.bias[...] = jnp.asarray([1.0, 0.0, 0.0, 0.0])

    def __call__(self, w: Float[Array, "B W"]) -> Float[Array, "B S S C"]:
        """Features on the first layer's grid, margins included."""
        placed = rigid_transform(self.affine(w))
        transform = jnp.einsum("bij,jk->bik", placed, self.transform[...], precision=jax.lax.Precision.HIGHEST)
        x = fourier_features(
            self.freqs[...],
            self.phases[...],
            transform,
            size=self.spec.input_size,
            sampling_rate=self.spec.input_sampling_rate,
            bandwidth=self.spec.input_bandwidth,
        )
        return dense(x, self.kernel[...] * (1 / math.sqrt(self.spec.input_channels)))


class Layer(nnx.Module):
    """One synthesis layer; see `LayerSpec`."""

    def __init__(self, spec: LayerSpec, w_dim: int, *, rngs: nnx.Rngs) -> None:
        self.spec = spec
        k = spec.conv_kernel
        self.affine = Affine(w_dim, spec.in_channels, rngs=rngs, bias=1.0)
        self.kernel = nnx.Param(jax.random.normal(rngs.params(), (k, k, spec.in_channels, spec.out_channels)))
        self.bias = nnx.Param(jnp.zeros((spec.out_channels,)))
        self.magnitude_ema = Buffer(jnp.ones(()))
        up, down = layer_filters(spec)
        if up is not None:
            self.up_filter = Buffer(jnp.asarray(up, jnp.float32))
        if down is not None:
            self.down_filter = Buffer(jnp.asarray(down, jnp.float32))

    def __call__(
        self,
        x: Float[Array, "B H W I"],
        w: Float[Array, "B W"],
        policy: numerics.Policy = numerics.POLICIES["float32"],
    ) -> Float[Array, "B h w O"]:
        """Feature maps, margins included: float32, and rounded as `policy` says only where they are next used.

        Where `filter_kernel` makes them they are rounded already, and filled up with channels of zeros.
        """
        spec = self.spec
        styles = self.affine(w)
        if spec.is_torgb:
            styles = styles * (1 / math.sqrt(spec.in_channels * spec.conv_kernel**2))
        how: dict[str, Any] = {
            "up_taps": jax.lax.stop_gradient(self.up_filter[...]) if spec.up_taps > 1 else None,
            "down_taps": jax.lax.stop_gradient(self.down_filter[...]) if spec.down_taps > 1 else None,
            "up": spec.up_factor,
            "down": spec.down_factor,
            "padding": spec.padding,
            "slope": 1.0 if spec.is_torgb else 0.2,
            "gain": 1.0 if spec.is_torgb else math.sqrt(2.0),
            "clamp": spec.conv_clamp,
        }
        kernel, bias, input_gain = self.kernel[...], self.bias[...], jax.lax.rsqrt(self.magnitude_ema[...])
        if not spec.is_torgb and filter_kernel.takes(policy, **how):
            x, after = scaled_conv(x, kernel, styles, input_gain, policy=policy, multiple=filter_kernel.CHANNELS)
            assert after is not None  # there are scales where there is demodulation
            return filter_kernel.filtered_leaky_relu(x, after, bias, **how)
        x = x[..., : spec.in_channels]  # the kernel's maps may have more, of zeros
        x = modulated_conv(x, kernel, styles, bias, input_gain, demodulate=not spec.is_torgb, policy=policy)
        return filtered_leaky_relu(x, **how, dtype=jnp.float32 if spec.is_torgb else policy.dtype)


class Synthesis(nnx.Module):
    """w to an image, layer by layer, in the precision its field of that name says."""

    def __init__(self, spec: GeneratorSpec, *, rngs: nnx.Rngs) -> None:
        self.spec = spec
        self.precision: numerics.Precision = "float32"  # not in the spec: what the weights are, whatever they run in
        self.input = Input(spec, rngs=rngs)
        self.layers = nnx.Dict({layer.name: Layer(layer, spec.w_dim, rngs=rngs) for layer in spec.layers})

    def __call__(
        self,
        w: Float[Array, "B W"] | Float[Array, "B N W"],
        features: bool | tuple[str, ...] = False,
        margins: bool = False,
    ) -> Any:
        """Images [B, H, W, 3] about [-1, 1]; with features also {layer name: [B, h, w, c]}.

        Args:
          w: [B, w_dim] for all layers, or [B, num_ws, w_dim], a row for the input and for each layer.
          features: all layers' outputs, or those of the named layers.
          margins: leave their margins on, which are not of the image; else they are cropped.
        Errors: InputError for a w of another shape or an unknown layer name.
        """
        spec = self.spec
        w = jnp.asarray(w, jnp.float32)
        if w.shape[1:] not in ((spec.w_dim,), (spec.num_ws, spec.w_dim)):
            raise InputError(
                f"w must be [batch, {spec.w_dim}] or [batch, {spec.num_ws}, {spec.w_dim}], found {list(w.shape)}"
            )
        wanted = spec.layer_names if features is True else tuple(features or ())
        unknown = sorted(set(wanted) - set(spec.layer_names))
        if unknown:
            raise InputError(f"no layer named {', '.join(unknown)}; this generator has {', '.join(spec.layer_names)}")
        images, maps = _synthesise(self, w, wanted, margins)
        # A compiled function returns a dict with its keys sorted: put the layers back in order.
        return (images, {name: maps[name] for name in spec.layer_names if name in maps}) if features else images


def layer_outputs(synthesis: Synthesis, w: Float[Array, "B N W"] | Float[Array, "B W"]) -> dict[str, Array]:
    """Outputs of the input and of every layer, margins included, before the output scale; not compiled by itself.

    Returns: as `Layer` gives them.
    """
    policy = numerics.policy(synthesis.precision)
    rows = w if w.ndim == 3 else jnp.broadcast_to(w[:, None, :], (w.shape[0], synthesis.spec.num_ws, w.shape[1]))
    x = synthesis.input(rows[:, 0])
    outputs = {"input": x}
    call = _call if synthesis.spec.bytes_at_once <= KEPT_BYTES else jax.checkpoint(_call, static_argnums=3)
    # In the order of the spec: a Dict comes back from a compiled call with its keys sorted, L10 before L2.
    for i, name in enumerate(synthesis.spec.layer_names, start=1):
        outputs[name] = x = call(synthesis.layers[name], x, rows[:, i], policy)
    return outputs


def _call(layer: Layer, x: Array, w: Array, policy: numerics.Policy) -> Array:
    return layer(x, w, policy)


def _images(synthesis: Synthesis, w: Array) -> Array:
    return layer_outputs(synthesis, w)[synthesis.spec.layer_names[-1]] * synthesis.spec.output_scale


@functools.partial(jax.jit, static_argnames=("wanted", "margins"))
def _synthesise(
    synthesis: Synthesis, w: Array, wanted: tuple[str, ...], margins: bool
) -> tuple[Array, dict[str, Array]]:
    spec = synthesis.spec
    if not wanted:
        return map_in_cache(_images, synthesis, w, spec.bytes_at_once), {}
    outputs = layer_outputs(synthesis, w)
    maps = {}
    for layer in spec.layers:
        if layer.name in wanted:
            margin = 0 if margins else layer.margin
            inner = slice(margin, layer.out_size - margin)
            maps[layer.name] = outputs[layer.name][:, inner, inner, : layer.out_channels].astype(jnp.float32)
    return outputs[spec.layers[-1].name] * spec.output_scale, maps


class Generator(nnx.Module):
    """A generator: `mapping` gives w, `synthesis` draws it.

    Both are compiled when called, and may be called inside other compiled functions.

    Reference: Sauer, Schwarz, Geiger, "StyleGAN-XL: Scaling StyleGAN to Large Diverse Datasets", 2022; Karras et al.,
    "Alias-Free Generative Adversarial Networks", 2021.
    """

    def __init__(self, spec: GeneratorSpec, *, rngs: nnx.Rngs) -> None:
        self.spec = spec
        self.mapping = Mapping(spec, rngs=rngs)
        self.synthesis = Synthesis(spec, rngs=rngs)

    @property
    def precision(self) -> numerics.Precision:
        """What `synthesis` runs in."""
        return self.synthesis.precision

    def with_precision(self, precision: numerics.Precision) -> "Generator":
        """This generator, sharing its weights, with a synthesis that runs in `precision`: see `numerics.Policy`.

        What goes in and comes out stays float32, feature maps too. Compiled functions that take it as an argument are
        compiled anew, for the precision is part of its structure.
        Errors: InputError for an unknown precision.
        """
        numerics.policy(precision)
        other = nnx.merge(*nnx.split(self))
        other.synthesis.precision = precision
        return other

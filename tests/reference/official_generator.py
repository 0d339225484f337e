"""Generators with random weights in the official layout, at any size: what a snapshot file would hold."""

import dataclasses
import math
import zlib

import numpy as np

from linkjax.models.filter_design import layer_filters
from linkjax.models.generator_spec import GeneratorSpec, LayerSpec
from tests.reference.official_pickle import LazyArray, Module, Network


def official_network(spec: GeneratorSpec, seed: int = 0, class_name: str = "SuperresGenerator") -> Network:
    """A conditional or unconditional StyleGAN-XL generator with the original's initial weights.

    Arrays are made when they are written, from a seed of their own, so that a full-size network costs no memory.
    """
    arrays: dict[str, LazyArray] = {}
    modules: dict[str, Module] = {}

    def normal(name: str, *shape: int, scale: float = 1.0, shift: float = 0.0) -> None:
        key = (seed, zlib.crc32(name.encode()))

        def make() -> np.ndarray:
            array = np.random.default_rng(key).standard_normal(shape, np.float32)
            return array if (scale, shift) == (1, 0) else array * np.float32(scale) + np.float32(shift)

        arrays[name] = LazyArray(shape, make)

    def constant(name: str, value: np.ndarray | float) -> None:
        array = np.asarray(value, np.float32)
        arrays[name] = LazyArray(array.shape, lambda: array)

    def dense(
        path: str, inputs: int, outputs: int, *, activation: str = "linear", rate: float = 1.0, bias: float = 0.0
    ):
        modules[path] = Module(
            "FullyConnectedLayer",
            {
                "in_features": inputs,
                "out_features": outputs,
                "activation": activation,
                "weight_gain": np.float64(rate / math.sqrt(inputs)),
                "bias_gain": rate,
            },
        )
        normal(f"{path}.weight", outputs, inputs, scale=1 / rate)
        constant(f"{path}.bias", np.full(outputs, bias / rate))

    shared = {"w_dim": spec.w_dim, "num_ws": spec.num_ws}
    image = {"img_resolution": spec.resolution, "img_channels": spec.img_channels}
    modules[""] = Module(class_name, {"z_dim": spec.z_dim, "c_dim": spec.num_classes, **shared, **image})

    modules["synthesis"] = Module(
        "SynthesisNetwork",
        {**shared, **image, "margin_size": spec.margin, "output_scale": spec.output_scale, "num_critical": 2}
        | {"layer_names": list(spec.layer_names)},
    )
    modules["synthesis.input"] = Module(
        "SynthesisInput",
        {
            "w_dim": spec.w_dim,
            "channels": spec.input_channels,
            "size": np.array([spec.input_size] * 2),
            "sampling_rate": np.float64(spec.input_sampling_rate),
            "bandwidth": np.float64(spec.input_bandwidth),
        },
    )
    rng = np.random.default_rng((seed, 1))
    angles, radii = rng.uniform(0, 2 * math.pi, spec.input_channels), np.sqrt(rng.uniform(0, 1, spec.input_channels))
    normal("synthesis.input.weight", spec.input_channels, spec.input_channels)
    constant("synthesis.input.transform", np.eye(3))
    waves = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (radii * spec.input_bandwidth)[:, None]
    constant("synthesis.input.freqs", waves)
    constant("synthesis.input.phases", rng.uniform(-0.5, 0.5, spec.input_channels))
    dense("synthesis.input.affine", spec.w_dim, 4)
    constant("synthesis.input.affine.bias", np.array([1.0, 0.0, 0.0, 0.0]))

    for layer in spec.layers:
        path = f"synthesis.{layer.name}"
        modules[path] = Module("SynthesisLayer", {"w_dim": spec.w_dim, **_attributes(layer)})
        normal(f"{path}.weight", layer.out_channels, layer.in_channels, layer.conv_kernel, layer.conv_kernel)
        constant(f"{path}.bias", np.zeros(layer.out_channels))
        constant(f"{path}.magnitude_ema", 1.0)
        for name, kernel in zip(("up_filter", "down_filter"), layer_filters(layer), strict=True):
            if kernel is not None:
                constant(f"{path}.{name}", kernel)
        dense(f"{path}.affine", spec.w_dim, layer.in_channels, bias=1.0)

    modules["mapping"] = Module(
        "MappingNetwork",
        {"z_dim": spec.z_dim, "c_dim": spec.num_classes, **shared, "num_layers": spec.mapping_layers},
    )
    if spec.num_classes:
        modules["mapping.embed"] = Module("Embedding", {"num_embeddings": spec.num_classes})
        normal("mapping.embed.weight", spec.num_classes, spec.embed_dim)
        dense("mapping.embed_proj", spec.embed_dim, spec.z_dim, activation="lrelu")
    for i in range(spec.mapping_layers):
        inputs = spec.w_dim if i else spec.mapping_in
        dense(f"mapping.fc{i}", inputs, spec.w_dim, activation="lrelu", rate=spec.mapping_lr_multiplier)
    averages = (spec.num_classes, spec.w_dim) if spec.num_classes else (spec.w_dim,)
    normal("mapping.w_avg", *averages, scale=0.1)
    return Network(arrays, modules)


def _attributes(layer: LayerSpec) -> dict[str, object]:
    """A layer's attributes with the types the original leaves them in."""
    found = {field.name: getattr(layer, field.name) for field in dataclasses.fields(layer) if field.name != "name"}
    found |= {name: np.array([found[name]] * 2) for name in ("in_size", "out_size")}
    found |= {name: np.float64(value) for name, value in found.items() if isinstance(value, float)}
    return found | {"padding": list(layer.padding)}

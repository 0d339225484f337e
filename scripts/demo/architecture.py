"""The demo generator's architecture: StyleGAN-XL's, small."""

import dataclasses

from linkjax.demo import factors
from linkjax.models.generator_spec import GeneratorSpec, Progression, stem_spec


def generator_spec(
    channels: tuple[int, ...] = (64, 64, 64, 48, 32), num_critical: int = 1, margin: int = 2
) -> GeneratorSpec:
    """A 64×64 generator with one channel count for each layer before ToRGB.

    A first band of 4 cycles a picture with a stopband of 6.4 (instead of 2 and 4.3): animals stand where the Fourier
    features say, and their eyes need the higher frequencies early.
    """
    how = Progression(
        channel_max=channels[0], first_cutoff=4.0, first_stopband=6.4, margin=margin, num_critical=num_critical
    )
    spec = stem_spec(
        64,
        len(channels),
        how,
        z_dim=factors.Z_DIM,
        w_dim=64,
        num_classes=len(factors.BREEDS),
        embed_dim=16,
        mapping_layers=3,
        mapping_lr_multiplier=1.0,
    )
    layers, inputs = [], channels[0]
    for layer, outputs in zip(spec.layers, (*channels, 3), strict=True):
        name = f"{layer.name.rsplit('_', 1)[0]}_{outputs}"
        layers.append(dataclasses.replace(layer, in_channels=inputs, out_channels=outputs, name=name))
        inputs = outputs
    return dataclasses.replace(spec, layers=tuple(layers), input_channels=channels[0])

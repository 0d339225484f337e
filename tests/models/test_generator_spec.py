"""Layer arithmetic against the parity files' own, and filter design against SciPy's."""

import json

import numpy as np
import pytest
import scipy.signal
import scipy.special

from linkjax.models.filter_design import layer_filters, lowpass
from linkjax.models.generator_spec import Progression, imagenet_spec, stem_spec, superres_spec

SMALL = Progression(channel_base=1024, channel_max=26)
STEM = stem_spec(16, 6, SMALL, num_classes=7, z_dim=16, w_dim=32, embed_dim=24)
SPECS = {
    "gen_stem16": STEM,
    "gen_superres64": superres_spec(STEM, up_factor=4, head_layers=5, progression=SMALL),
    "gen_uncond16": stem_spec(16, 7, Progression(512, 24, num_fp16_res=0), z_dim=12, w_dim=24, mapping_layers=3),
}


@pytest.mark.parametrize("name", SPECS)
def test_layers_computed_from_arguments_are_those_of_the_original(name, parity):
    meta = json.loads(str(np.load(parity / f"{name}.npz")["meta_json"]))
    spec = SPECS[name]
    assert spec.layer_names == tuple(meta["layer_names"])
    assert (spec.num_ws, spec.resolution, spec.w_dim) == (meta["num_ws"], meta["img_resolution"], meta["w_dim"])
    for layer, facts in zip(spec.layers, meta["layers"], strict=True):
        for field, value in facts.items():
            value = value[0] if field in ("in_size", "out_size") else value
            found = list(layer.padding) if field == "padding" else getattr(layer, field)
            same = found == value or (isinstance(value, float) and found == pytest.approx(value, rel=1e-12))
            assert same, (layer.name, field)


@pytest.mark.parametrize("resolution", [16, 32, 64, 128, 256, 512, 1024])
def test_every_published_size_chains_from_input_to_image(resolution):
    spec = imagenet_spec(resolution)
    assert len(spec.layers) == {16: 11, 1024: 39}.get(resolution, 11 + 5 * int(np.log2(resolution) - 4))
    assert len(set(spec.layer_names)) == len(spec.layers)
    for before, after in zip(spec.layers[:-1], spec.layers[1:], strict=True):
        assert (before.out_size, before.out_channels) == (after.in_size, after.in_channels)
    for layer in spec.layers:
        for mid in layer.mid_size:
            assert (mid - layer.down_taps) // layer.down_factor + 1 == layer.out_size
    assert spec.layers[-1].out_size == resolution and spec.layers[-1].is_torgb


def test_one_index_is_skipped_at_the_first_seam():
    numbers = [int(name[1:].split("_")[0]) for name in imagenet_spec(64).layer_names]
    assert set(range(numbers[-1] + 1)) - set(numbers) == {8}  # heads count from the layers kept, plus one


@pytest.mark.parametrize(("taps", "cutoff", "width", "rate"), [(12, 2.0, 12.0, 32.0), (24, 5.66, 4.7, 64.0)])
def test_filters_are_scipys(taps, cutoff, width, rate):
    expected = scipy.signal.firwin(taps, cutoff, width=width, fs=rate)
    assert np.abs(lowpass(taps, cutoff, width, rate) - expected).max() < 1e-12
    x = (np.arange(taps) - (taps - 1) / 2) / rate
    r = np.hypot(*np.meshgrid(x, x))
    window = np.kaiser(taps, scipy.signal.kaiser_beta(scipy.signal.kaiser_atten(taps, width / (rate / 2))))
    jinc = scipy.special.j1(2 * np.pi * cutoff * r) / (np.pi * r) * np.outer(window, window)
    assert np.abs(lowpass(taps, cutoff, width, rate, radial=True) - jinc / jinc.sum()).max() < 1e-12


@pytest.mark.parametrize("name", ["gen_stem16", "gen_superres64"])
def test_designed_filters_are_those_in_the_file(name, parity):
    from linkjax_converters.reader.snapshot import read_snapshot

    arrays = read_snapshot(parity / f"{name}.pkl").arrays
    for layer in SPECS[name].layers:
        for side, taps in zip(("up", "down"), layer_filters(layer), strict=True):
            stored = arrays.get(f"synthesis.{layer.name}.{side}_filter")
            assert (stored is None) == (taps is None)
            if taps is not None:
                assert np.abs(stored - taps).max() < 1e-7


def test_an_unpublished_size_is_refused():
    with pytest.raises(ValueError, match="not 48"):
        imagenet_spec(48)

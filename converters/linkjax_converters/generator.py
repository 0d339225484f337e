"""StyleGAN-XL and StyleGAN3 snapshots as linkjax generators.

What a layer is comes from `layer_names` and from each layer's own attributes and filters: the arguments a network was
made with are those of its stem, and its layer count skips an index at every seam.
"""

import dataclasses
import hashlib
import math
import numbers
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.errors import ConversionError
from linkjax.models import build
from linkjax.models.generator_spec import GeneratorSpec, LayerSpec
from linkjax.models.stylegan_xl import Generator
from linkjax.storage.checkpoint import save_model
from linkjax.storage.claim import Claim
from linkjax_converters.bijection import Ignore, Rule, convert, oi_to_io, oihw_to_hwio
from linkjax_converters.reader.snapshot import ModuleRecord, Snapshot, read_snapshot

LICENCE_NOTE = "the snapshot states no licence; the terms of whoever published these weights hold for this copy too"

RULES: tuple[Rule | Ignore, ...] = (
    Rule(r"mapping\.embed\.weight", "mapping.embed"),
    Rule(r"mapping\.embed_proj\.weight", "mapping.embed_proj.kernel", oi_to_io),
    Rule(r"mapping\.embed_proj\.bias", "mapping.embed_proj.bias"),
    Rule(r"mapping\.fc(\d+)\.weight", r"mapping.fc.\1.kernel", oi_to_io),
    Rule(r"mapping\.fc(\d+)\.bias", r"mapping.fc.\1.bias"),
    Rule(r"mapping\.w_avg", "mapping.w_avg"),
    Rule(r"synthesis\.input\.weight", "synthesis.input.kernel", oi_to_io),
    Rule(r"synthesis\.input\.(freqs|phases|transform)", r"synthesis.input.\1"),
    Rule(r"synthesis\.input\.affine\.weight", "synthesis.input.affine.kernel", oi_to_io),
    Rule(r"synthesis\.input\.affine\.bias", "synthesis.input.affine.bias"),
    Rule(r"synthesis\.(L\w+)\.weight", r"synthesis.layers.\1.kernel", oihw_to_hwio),
    Rule(r"synthesis\.(L\w+)\.(bias|magnitude_ema|up_filter|down_filter)", r"synthesis.layers.\1.\2"),
    Rule(r"synthesis\.(L\w+)\.affine\.weight", r"synthesis.layers.\1.affine.kernel", oi_to_io),
    Rule(r"synthesis\.(L\w+)\.affine\.bias", r"synthesis.layers.\1.affine.bias"),
)
UNUSED_EMBEDDING = Ignore(r"mapping\.embed\..*", "unconditional models carry a class embedding they never use")


def convert_generator(src: Path, out: Path) -> list[str]:
    """Convert a snapshot's G_ema and save it as a linkjax model.

    Args:
      src: StyleGAN-XL or StyleGAN3 `.pkl`.
      out: folder to make.
    Returns: what its user should know of the conversion, in sentences; the manifest says the same.
    Errors: InputError and UnsafeFileError as `read_snapshot`; ConversionError with all that does not fit.
    """
    src = Path(src)
    with Claim(out, resumable=False) as claim:
        snapshot = read_snapshot(src)
        class_name = snapshot.modules[""].class_name
        generator, ignored, notes = _convert(snapshot)
        spec = generator.spec
        with src.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        source = {
            "file": src.name,
            "sha256": digest,
            "network": "G_ema",
            "class_name": class_name,
            "architecture": f"{len(spec.layers)} layers, {spec.resolution}×{spec.resolution}, "
            + (f"{spec.num_classes} classes" if spec.num_classes else "unconditional"),
            "ignored": ignored,
            "notes": notes,
            "licence": LICENCE_NOTE,
        }
        save_model(Path(out), generator, source=source, claim=claim)
    return notes


def generator_from_snapshot(snapshot: Snapshot) -> Generator:
    """The generator in a snapshot, in memory; the snapshot's arrays are taken out of it on the way."""
    return _convert(snapshot)[0]


def _convert(snapshot: Snapshot) -> tuple[Generator, dict[str, str], list[str]]:
    """The generator, source key → why it was left out, and what its user should know."""
    spec = spec_from_snapshot(snapshot)
    rules = RULES if spec.num_classes else (UNUSED_EMBEDDING, *RULES)
    arrays = dict(_with_class_table(snapshot.arrays, spec))
    unused = _without_unused_rows(arrays, spec)
    spec, notes = _drawing_colours(arrays, spec)
    converted = convert(
        arrays, build.shapes(Generator, spec), rules, what=f"a {spec.resolution}×{spec.resolution} generator"
    )
    snapshot.arrays.clear()
    return build.fill(Generator, spec, converted.arrays), converted.ignored | unused, [*unused.values(), *notes]


def _without_unused_rows(arrays: dict[str, np.ndarray], spec: GeneratorSpec) -> dict[str, str]:
    """Leave out, from `arrays`, rows of the class embedding beyond the classes; which, and why.

    StyleGAN-XL copies its table from a classifier of 1000 classes whatever it is trained on, and looks class i up in
    row i: further rows were never seen in training.
    """
    table = arrays.get("mapping.embed.weight")
    if not spec.num_classes or not spec.embed_projected or table is None or table.ndim != 2:
        return {}
    rows = len(table)
    if rows <= spec.num_classes:
        return {}
    arrays["mapping.embed.weight"] = table[: spec.num_classes]
    return {
        f"mapping.embed.weight[{spec.num_classes}:{rows}]": f"the class embedding has {rows} rows and the network "
        f"{spec.num_classes} classes: class i uses row i, the rows beyond were never trained"
    }


def _drawing_colours(arrays: dict[str, np.ndarray], spec: GeneratorSpec) -> tuple[GeneratorSpec, list[str]]:
    """A specification that draws red, green and blue; a grey network's last layer, in `arrays`, is repeated for each.

    Raises: ConversionError for other numbers of channels.
    """
    if spec.img_channels == 3:
        return spec, []
    if spec.img_channels != 1:
        raise ConversionError(
            f"this generator draws {spec.img_channels} channels; expected 3 (red, green, blue) or 1 (grey), which is "
            "what the classifiers here can see. Train it on RGB images (without transparency)"
        )
    last = spec.layers[-1]
    for name in ("weight", "bias"):
        key = f"synthesis.{last.name}.{name}"
        if key in arrays:
            arrays[key] = np.repeat(arrays[key], 3, axis=0)
    layers = (*spec.layers[:-1], dataclasses.replace(last, out_channels=3))
    note = "the network draws grey images: its one channel is repeated as red, green and blue"
    return dataclasses.replace(spec, img_channels=3, layers=layers), [note]


def _with_class_table(arrays: Mapping[str, np.ndarray], spec: GeneratorSpec) -> Mapping[str, np.ndarray]:
    """StyleGAN3 embeds a class by a dense layer on its one-hot code, which is a table: weightᵀ/√classes + bias."""
    if not spec.num_classes or spec.embed_projected:
        return arrays
    arrays = dict(arrays)
    weight, bias = arrays["mapping.embed.weight"], arrays.pop("mapping.embed.bias")
    arrays["mapping.embed.weight"] = weight.T * np.float32(1 / math.sqrt(spec.num_classes)) + bias
    return arrays


class _Attributes:
    """A module's attributes, with everything that is missing or of the wrong kind noted in one list."""

    def __init__(self, snapshot: Snapshot, path: str, problems: list[str]) -> None:
        self.path = path or "the network"
        self.problems = problems
        record = snapshot.modules.get(path)
        if record is None:
            problems.append(f"missing: module {path}")
        self.record = record or ModuleRecord("", {})

    def get(self, name: str, kind: type, default: Any = ...) -> Any:
        """The attribute as `kind`; pairs of equal numbers (sizes) count as one number."""
        value = self.record.attributes.get(name, default)
        if value is ...:
            self.problems.append(f"missing: {self.path}.{name}")
            return kind(1)
        if value is None and default is None:
            return None
        try:
            found = np.asarray(value)
            if found.ndim:
                if found.size != 2 or found[0] != found[1]:
                    raise ValueError
                found = found[0]
            if kind is int and int(found) != found:
                raise ValueError
            return kind(found)
        except (TypeError, ValueError, OverflowError):
            self.problems.append(
                f"{self.path}.{name}: expected {kind.__name__} (square where a size), found {value!r:.80}"
            )
            return kind(1)

    def expect(self, name: str, value: Any) -> None:
        """Note a problem unless the attribute is absent or about `value`."""
        found = self.record.attributes.get(name, value)
        same = (
            found == value
            if isinstance(value, str)
            else isinstance(found, numbers.Real) and math.isclose(float(found), value, rel_tol=1e-6)
        )
        if not same:
            self.problems.append(f"{self.path}.{name}: expected {value}, found {found!r:.80}")


def spec_from_snapshot(snapshot: Snapshot) -> GeneratorSpec:
    """The architecture of a snapshot's network, from its modules' attributes and its filters' shapes.

    Errors: ConversionError with all that is missing or not what this architecture has.
    """
    problems: list[str] = []
    mapping = _Attributes(snapshot, "mapping", problems)
    synthesis = _Attributes(snapshot, "synthesis", problems)
    first = _Attributes(snapshot, "synthesis.input", problems)
    names = synthesis.record.attributes.get("layer_names")
    if problems or not isinstance(names, list | tuple) or not names or not all(isinstance(n, str) for n in names):
        found = snapshot.modules[""].class_name if "" in snapshot.modules else "nothing"
        raise ConversionError(
            f"this network ({found}) is no StyleGAN3 or StyleGAN-XL generator: it has no mapping, synthesis.input and "
            "synthesis.layer_names; give a snapshot of one of those (StyleGAN2 is another architecture)"
        )
    classes = mapping.get("c_dim", int)
    embedding = snapshot.arrays.get("mapping.embed.weight")
    projected = "mapping.embed_proj" in snapshot.modules
    w_avg = snapshot.arrays.get("mapping.w_avg")
    lr_multiplier = (
        float(snapshot.modules["mapping.fc0"].attributes.get("bias_gain", 0.01))
        if ("mapping.fc0" in snapshot.modules)
        else 0.01
    )
    layers = tuple(_layer(snapshot, name, problems) for name in names)
    fields: dict[str, Any] = {}
    if classes and embedding is not None and embedding.ndim == 2:
        fields["embed_dim"] = embedding.shape[1] if projected else embedding.shape[0]
    spec = GeneratorSpec(
        resolution=synthesis.get("img_resolution", int),
        layers=layers,
        z_dim=mapping.get("z_dim", int),
        w_dim=mapping.get("w_dim", int),
        num_ws=synthesis.get("num_ws", int),
        num_classes=classes,
        embed_projected=projected or not classes,
        class_truncation=w_avg is None or w_avg.ndim == 2 or not classes,
        mapping_layers=mapping.get("num_layers", int),
        mapping_lr_multiplier=lr_multiplier,
        img_channels=synthesis.get("img_channels", int),
        output_scale=synthesis.get("output_scale", float, 0.25),
        margin=synthesis.get("margin_size", int, 10),
        input_channels=first.get("channels", int),
        input_size=first.get("size", int),
        input_sampling_rate=first.get("sampling_rate", float),
        input_bandwidth=first.get("bandwidth", float),
        **fields,
    )
    _check_chain(spec, problems)
    for path, record in snapshot.modules.items():
        if record.class_name == "FullyConnectedLayer":
            _check_dense(_Attributes(snapshot, path, problems), spec)
    if problems:
        raise ConversionError("this generator is not one linkjax can run:\n  " + "\n  ".join(problems))
    return spec


def _layer(snapshot: Snapshot, name: str, problems: list[str]) -> LayerSpec:
    path = f"synthesis.{name}"
    layer = _Attributes(snapshot, path, problems)
    up = snapshot.arrays.get(f"{path}.up_filter")
    down = snapshot.arrays.get(f"{path}.down_filter")
    padding: Any = layer.record.attributes.get("padding")
    if not isinstance(padding, list | tuple) or len(padding) != 4 or not all(isinstance(p, int) for p in padding):
        problems.append(f"{path}.padding: expected four integers, found {padding!r:.80}")
        padding = (0, 0, 0, 0)
    if up is not None and up.ndim != 1:
        problems.append(f"{path}.up_filter: expected one dimension, found {list(up.shape)}")
    return LayerSpec(
        name=name,
        **{field: layer.get(field, int) for field in ("in_channels", "out_channels", "in_size", "out_size")},
        **{
            f"{side}_{what}": layer.get(f"{side}_{what}", float)
            for side in ("in", "out")
            for what in ("sampling_rate", "cutoff", "half_width")
        },
        tmp_sampling_rate=layer.get("tmp_sampling_rate", float),
        conv_kernel=layer.get("conv_kernel", int),
        conv_clamp=layer.get("conv_clamp", float, None),
        up_factor=layer.get("up_factor", int),
        down_factor=layer.get("down_factor", int),
        up_taps=1 if up is None else up.shape[0],
        down_taps=1 if down is None else down.shape[0],
        down_radial=down is not None and down.ndim == 2,
        padding=tuple(padding),
        is_torgb=layer.get("is_torgb", bool),
        is_critically_sampled=layer.get("is_critically_sampled", bool),
        use_fp16=layer.get("use_fp16", bool, False),
    )


def _check_chain(spec: GeneratorSpec, problems: list[str]) -> None:
    """Each layer takes what the one before gives, and its paddings and filters give its size."""
    if len(set(spec.layer_names)) != len(spec.layers):
        problems.append("synthesis.layer_names: the same name comes twice")
    if spec.num_ws != len(spec.layers) + 1:
        problems.append(f"synthesis.num_ws: expected {len(spec.layers) + 1} (input and layers), found {spec.num_ws}")
    size, channels = spec.input_size, spec.input_channels
    for layer in spec.layers:
        if (layer.in_size, layer.in_channels) != (size, channels):
            problems.append(
                f"synthesis.{layer.name}: takes {layer.in_channels} channels of {layer.in_size}², "
                f"but is given {channels} of {size}²"
            )
        size, channels = layer.out_size, layer.out_channels
        sides = {(mid - layer.down_taps) // max(layer.down_factor, 1) + 1 for mid in layer.mid_size}
        if sides != {layer.out_size}:
            problems.append(f"synthesis.{layer.name}: padding {list(layer.padding)} does not give {layer.out_size}²")
    if (size, channels) != (spec.resolution, spec.img_channels):
        problems.append(
            f"the last layer gives {channels} channels of {size}², expected {spec.img_channels} of {spec.resolution}²"
        )


def _check_dense(layer: _Attributes, spec: GeneratorSpec) -> None:
    in_mapping = layer.path.startswith("mapping.fc")
    lr_multiplier = spec.mapping_lr_multiplier if in_mapping else 1.0
    inputs = layer.get("in_features", int)
    layer.expect("bias_gain", lr_multiplier)
    layer.expect("weight_gain", lr_multiplier / math.sqrt(max(inputs, 1)))
    layer.expect("activation", "lrelu" if in_mapping or layer.path.endswith("embed_proj") else "linear")

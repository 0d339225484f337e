"""How a classifier wants its images: from flags, from a file of timm or Hugging Face, from its weights, or assumed."""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from linkjax.errors import InputError, shown
from linkjax.models.classifier_spec import Preprocessing

MOST_BYTES = 1 << 24
#: Pillow's numbers of its filters, as Hugging Face writes them.
_BY_NUMBER = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
_FLAGS = ("resize", "crop", "interpolation", "mean", "std", "channels", "range")


@dataclasses.dataclass(frozen=True)
class Stated:
    """What a file says: fields of `Preprocessing`, and the classes' names if it has them."""

    fields: dict[str, Any]
    class_names: tuple[str, ...] = ()


def resolve(flags: Mapping[str, Any], file: Stated | None, own: Mapping[str, Any]) -> tuple[Preprocessing, list[str]]:
    """The preprocessing, and in sentences what of it was stated where, and what was assumed.

    Args:
      flags: of the command line, by name; None where it was not given. A resize or crop of 0 stands for none.
      file: what a preprocessing file states.
      own: what the weights themselves hold (mean and std of a normaliser).
    """
    given = {name: value for name in _FLAGS if (value := flags.get(name)) is not None}
    unknown = set(flags) - set(_FLAGS)
    if unknown:
        raise TypeError(f"unknown preprocessing {sorted(unknown)}")
    by_flag = {"value_range" if name == "range" else name: value for name, value in given.items()}
    for side in ("resize", "crop"):
        if side in by_flag:
            by_flag[side] = by_flag[side] or None
    for name in ("mean", "std", "value_range"):
        if name in by_flag:
            by_flag[name] = tuple(map(float, by_flag[name]))
    if "resize" in by_flag and "crop" not in by_flag and not (file and "crop" in file.fields):
        side, usual = by_flag["resize"], Preprocessing().crop or 0
        if side is None or side < usual:  # what is smaller than the usual crop is taken whole
            by_flag["crop"] = side
    if by_flag.get("resize") and file and file.fields.get("squash"):
        by_flag.setdefault("squash", True)
    stated = {**own, **(file.fields if file else {}), **by_flag}
    preprocessing = Preprocessing(**stated)
    where = [(by_flag, "the flags"), (file.fields if file else {}, "the preprocessing file"), (own, "the weights")]
    notes = [f"preprocessing: {described(preprocessing)}"]
    notes += [f"  from {source}: {', '.join(_public(name) for name in names)}" for names, source in where if names]
    assumed = [name for name in ("resize", "crop", "interpolation", "mean", "std", "channels", "value_range")
               if name not in stated]  # fmt: skip
    if assumed:
        notes.append(
            f"  assumed, as torchvision's first ImageNet weights have it: {', '.join(map(_public, assumed))}; "
            "--preprocessing FILE, --mean, --std, --resize, --crop, --interpolation, --channels, --range say otherwise"
        )
    return preprocessing, notes


def _public(name: str) -> str:
    return "range" if name == "value_range" else name


def described(preprocessing: Preprocessing) -> str:
    """One line for people."""
    sides = f"both sides {preprocessing.resize}" if preprocessing.squash else f"shorter side {preprocessing.resize}"
    resize = f"{sides} ({preprocessing.interpolation})" if preprocessing.resize else "no resize"
    crop = f"central {preprocessing.crop}×{preprocessing.crop}" if preprocessing.crop else "no crop"
    low, high = preprocessing.value_range
    return (
        f"{resize}, {crop}, {preprocessing.channels.upper()} in {low:g} … {high:g}, "
        f"minus {_numbers(preprocessing.mean)}, over {_numbers(preprocessing.std)}"
    )


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"


def read_preprocessing(path: Path) -> Stated:
    """What `config.json` of timm or `preprocessor_config.json` of Hugging Face says.

    Raises: InputError in one sentence, for what linkjax cannot do too.
    """
    path = Path(path)
    content = read_json(path, "a config.json of timm or a preprocessor_config.json of Hugging Face")
    try:
        return stated_in(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def stated_in(content: Any) -> Stated:
    """What the settings of timm or of Hugging Face say.

    Raises: InputError in one sentence, for what linkjax cannot do too.
    """
    if not isinstance(content, dict):
        raise InputError(f"expected a table of settings, found {type(content).__name__}")
    own = content.get("pretrained_cfg", content.get("default_cfg"))
    timm = isinstance(own, dict) or ("crop_pct" in content and "input_size" in content)
    if timm:
        merged = {**content, **own} if isinstance(own, dict) else content
        stated = Stated(_timm(merged), _labels(merged))
    elif any(name.startswith(("image_", "do_")) for name in content):
        stated = Stated(_hugging_face(content), _labels(content))
    elif any(name in content for name in ("mean", "std", "input_size", "interpolation")):
        stated = Stated(_timm(content), _labels(content))
    else:
        names = ", ".join(map(str, list(content)[:8]))
        raise InputError(
            f"expected the settings of an image processor (mean, std, input_size …), found {shown(names, 200)}; "
            "Hugging Face keeps them in preprocessor_config.json"
        )
    Preprocessing(**stated.fields)  # what does not go together is said with the file's name
    return stated


def read_json(path: Path, what: str) -> Any:
    """The content of a JSON file, in UTF-8, with or without a byte-order mark.

    Raises: InputError in one sentence.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path}: expected {what}, found a file of {path.stat().st_size} bytes")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path}: expected {what}, found none ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected {what} in UTF-8, found another encoding") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected {what}, found no JSON ({shown(error)})") from None


def _timm(content: Mapping[str, Any]) -> dict[str, Any]:
    fields = _numbers_of(content, mean="mean", std="std")
    size = content.get("test_input_size", content.get("input_size"))
    if size is not None:
        crop = _square(size[1:] if isinstance(size, list) and len(size) == 3 else size, "input_size")
        share = _number(content.get("test_crop_pct", content.get("crop_pct", 0.875)), "crop_pct")
        if not 0 < share <= 1:
            raise InputError(f"crop_pct: expected a share above 0 and at most 1, found {share}")
        fields |= {"resize": math.floor(crop / share), "crop": crop}
        mode = content.get("crop_mode", "center")
        if mode == "squash":
            fields["squash"] = True
        elif mode not in ("center", None):
            raise InputError(f"crop_mode: expected center or squash, found {shown(mode)}")
    if (name := content.get("interpolation")) is not None:
        fields["interpolation"] = _filter(name)
    return fields


def _hugging_face(content: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {"resize": None, "crop": None}
    if content.get("do_resize", True) and (size := content.get("size")) is not None:
        if isinstance(size, dict) and "shortest_edge" in size:
            fields["resize"] = _side(size["shortest_edge"], "size")
            if (share := content.get("crop_pct")) is not None and fields["resize"] < 384:  # ConvNext's processor
                fields["crop"] = fields["resize"]
                fields["resize"] = int(fields["resize"] / _number(share, "crop_pct")) if share else fields["resize"]
            elif "crop_pct" in content:
                fields["squash"] = True
        elif isinstance(size, dict):
            fields |= {"resize": _square([size.get("height"), size.get("width")], "size"), "squash": True}
        else:
            fields["resize"] = _square(size, "size")
    if content.get("do_center_crop") and (size := content.get("crop_size")) is not None:
        sides = [size.get("height"), size.get("width")] if isinstance(size, dict) else size
        fields["crop"] = _square(sides, "crop_size")
    if (number := content.get("resample")) is not None:
        fields["interpolation"] = _filter(number)
    scale = _number(content.get("rescale_factor", 1 / 255), "rescale_factor")
    scale = scale if content.get("do_rescale", True) else 1.0
    if not 0 < scale * 255 < 1e6:
        raise InputError(f"rescale_factor: expected about 1 / 255, found {scale}")
    top = scale * 255
    fields["value_range"] = (0.0, 1.0 if math.isclose(top, 1.0, rel_tol=1e-6) else top)
    if content.get("do_normalize", True):
        return fields | _numbers_of(content, mean="image_mean", std="image_std")
    return {**fields, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def _numbers_of(content: Mapping[str, Any], **names: str) -> dict[str, Any]:
    """Three numbers each; one stands for three."""
    fields = {}
    for field, name in names.items():
        if (values := content.get(name)) is not None:
            values = values if isinstance(values, list) else [values]
            numbers = tuple(_number(value, name) for value in values)
            if len(numbers) not in (1, 3):
                raise InputError(f"{name}: expected 3 numbers, found {len(numbers)}")
            fields[field] = numbers * (3 // len(numbers))
    return fields


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        raise InputError(f"{name}: expected a number, found {shown(value)}")
    return float(value)


def _side(value: Any, name: str) -> int:
    if type(value) is not int or not 0 < value <= 1 << 14:
        raise InputError(f"{name}: expected a side in pixels, 1 … {1 << 14}, found {shown(value)}")
    return value


def _square(value: Any, name: str) -> int:
    sides = value if isinstance(value, list) else [value]
    if not 1 <= len(sides) <= 2:
        raise InputError(f"{name}: expected one side, or height and width, found {shown(value)}")
    first, *rest = (_side(side, name) for side in sides)
    if rest and rest[0] != first:
        raise InputError(f"{name}: expected a square, found {first}×{rest[0]}")
    return first


def _filter(value: Any) -> str:
    name = _BY_NUMBER.get(value, "") if type(value) is int else str(value).lower()
    if name not in _BY_NUMBER.values():
        raise InputError(f"interpolation: expected one of {', '.join(_BY_NUMBER.values())}, found {shown(value)}")
    return name


def _labels(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes where a file has real ones (not LABEL_0 …), in order."""
    names = content.get("id2label", content.get("label_names"))
    if isinstance(names, dict) and all(str(place) in names for place in range(len(names))):
        names = [names[str(place)] for place in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return ()
    if any(name == f"LABEL_{place}" for place, name in enumerate(names)) or len(set(names)) < len(names):
        return ()
    return tuple(names)

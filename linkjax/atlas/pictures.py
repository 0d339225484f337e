"""Every unit's pictures: a sheet of anchors × steps each, drawn as the sweep draws, and small ones of all units."""

import base64
import functools
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, features

from linkjax.analysis.units import sweep
from linkjax.atlas import shards
from linkjax.devices import drawing, parallel
from linkjax.ops.chunked import share_of
from linkjax.stages.sweep import programs
from linkjax.storage import manifest as manifests

_SMALL = 48  # pixels, of the pictures in the list and on the map
_SMALL_COLUMNS, _SMALL_ROWS = 8, 16  # units of a sheet of small pictures
_KEY = 12  # characters


class Plan(NamedTuple):
    """What is drawn: which units at which values, in which anchors."""

    units: np.ndarray  # [K] numbers
    live: np.ndarray  # [K] bool: the others have no pictures
    asked: np.ndarray  # [A, K, S] float32
    samples: np.ndarray  # which of the sweep's anchors
    steps: np.ndarray  # which of its steps
    tile: int  # side of a stored picture, pixels
    quality: int  # of the compression, 1 … 100
    made_with: dict[str, Any]  # weights, pairs and settings: pictures of the same are the same
    folder: str = ""  # of the strips, inside the page's data, ending in /

    def strip(self, unit: Any) -> str:
        """Name of a unit's shard of pictures."""
        return f"{self.folder}strips/{int(unit)}"

    def summary(self) -> dict[str, Any]:
        """What the page needs to know of the sheets."""
        return {"tile": self.tile, "samples": self.samples, "steps": self.steps, "folder": self.folder}

    def keys(self) -> list[str]:
        """What each unit's pictures depend on, as a short fingerprint."""
        base = {
            "made_with": self.made_with, "samples": self.samples, "tile": self.tile, "quality": self.quality,
            "format": image_format(),
        }  # fmt: skip
        stem, shown = manifests.fingerprint(base), self.asked[self.samples][:, :, self.steps]
        return [
            manifests.fingerprint([stem, int(unit), [f"{x:.9g}" for x in values.ravel().tolist()]])[:_KEY]
            for unit, values in zip(self.units, shown.swapaxes(0, 1), strict=True)
        ]


def plan_steps(steps: int, most: int) -> np.ndarray:
    """At most so many of a sweep's steps, evenly spread, both ends among them."""
    return np.unique(np.linspace(0, steps - 1, min(most, steps)).round().astype(int))


def image_format() -> str:
    """WEBP, or JPEG where this Pillow cannot write it."""
    return "WEBP" if features.check("webp") else "JPEG"


def stored_key(path: Path) -> str | None:
    """The fingerprint a unit's sheet was stored with; None if there is none, or not a whole one."""
    try:
        content = path.read_text(encoding="ascii")
        return json.loads(content[content.index("{") : content.rindex("}") + 1])["key"]
    except (OSError, ValueError, KeyError):
        return None


def kept(data: Path, name: str, key: str, earlier: Path | None) -> bool:
    """Whether pictures of this name and fingerprint are there, or were taken over from an earlier atlas's data."""
    if stored_key(data / f"{name}.js") == key:
        return True
    if earlier is None or stored_key(earlier / f"{name}.js") != key:
        return False
    (data / f"{name}.js").parent.mkdir(parents=True, exist_ok=True)
    manifests.write_whole(data / f"{name}.js", (earlier / f"{name}.js").read_text(encoding="ascii"))
    return True


def missing(folder: Path, plan: Plan, earlier: Path | None) -> np.ndarray:
    """Rows of live units whose pictures are neither in `folder` nor in an earlier atlas; the latter's are taken over.

    Args:
      folder: of the page's data.
      earlier: folder of the data of an earlier atlas, or None.
    """
    named = enumerate(zip(plan.units, plan.keys(), strict=True))
    rows = [row for row, (unit, key) in named if plan.live[row] and not kept(folder, plan.strip(unit), key, earlier)]
    return np.array(rows, int)


def draw(
    folder: Path, plan: Plan, rows: np.ndarray, generator: Any, link: Any, anchors: dict[str, np.ndarray], *,
    mode: sweep.Mode, batch_size: int, advance: Callable[[int], None],
) -> None:  # fmt: skip
    """Draw the pictures of some units and store a sheet of each, as soon as it is there.

    Args:
      folder: of the page's data.
      rows: of `plan.units`.
      generator, link: models; the link as units are raised along it.
      anchors: `w` and `r` of the sweep's anchors, and `layers`, the rows of W+ that steps enter, where not all are.
      batch_size: images drawn at once; rounded up to the devices.
      advance: told of images drawn.
    """
    mesh = parallel.mesh()
    size = parallel.round_up(batch_size, mesh)
    on_device = {name: anchors[name] for name in ("w", "r", "layers") if name in anchors}
    models = parallel.replicate((generator, None, link, None, None, on_device), mesh)
    share = share_of(generator.spec.resolution)
    swept = functools.partial(programs.swept, mode=mode)
    keys, shape = plan.keys(), (len(plan.samples), len(plan.steps))
    at_once = max(1, -(-4 * size // (shape[0] * shape[1])))
    for start in range(0, len(rows), at_once):
        some = rows[start : start + at_once]
        grid = np.meshgrid(some, plan.samples, plan.steps, indexing="ij")
        row, anchor, step = (index.ravel().astype(np.int32) for index in grid)
        values = plan.asked[anchor, row, step].astype(np.float32)
        items = {"unit": plan.units[row].astype(np.int32), "anchor": anchor, "value": values}
        w = parallel.map_items(swept, models, items, size, mesh, share=share)
        drawn = drawing.pictures(models[0], w, size, mesh)
        images = drawn.reshape(len(some), *shape, *drawn.shape[1:])
        for place, each in enumerate(some):
            store(folder, plan.strip(plan.units[each]), keys[each], images[place], plan.tile, plan.quality)
        advance(len(row))


def store(folder: Path, name: str, key: str, images: np.ndarray, tile: int, quality: int) -> None:
    """Store pictures as one sheet.

    Args:
      name: of the shard.
      key: what they depend on.
      images: bytes [rows, columns, H, W, 3]; of a unit a row an anchor, a column a step.
    """
    rows, columns = images.shape[:2]
    sheet = Image.new("RGB", (columns * tile, rows * tile))
    for y in range(rows):
        for x in range(columns):
            sheet.paste(_resized(Image.fromarray(images[y, x]), tile), (x * tile, y * tile))
    payload = {"key": key, "type": f"image/{image_format().lower()}", "data": _encoded(sheet, quality)}
    shards.write(folder, name, payload)


def write_small(folder: Path, data: Path, plan: Plan) -> dict[str, Any]:
    """Sheets of two small pictures of every unit, at its first and last step in its first anchor, from the strips.

    Args:
      folder: of the page; sheets go to `small/`.
      data: of the page's data.
    Returns: what the page needs to know of all pictures.
    """
    (folder / "small").mkdir(exist_ok=True)
    a_sheet, suffix = _SMALL_COLUMNS * _SMALL_ROWS, image_format().lower()
    has = np.zeros(len(plan.units), bool)
    for start in range(0, len(plan.units), a_sheet):
        sheet = Image.new("RGB", (2 * _SMALL * _SMALL_COLUMNS, _SMALL * _SMALL_ROWS), (128, 128, 128))
        for place, row in enumerate(range(start, min(start + a_sheet, len(plan.units)))):
            sheet_of_unit = read_sheet(data, plan.strip(plan.units[row])) if plan.live[row] else None
            if sheet_of_unit is None:
                continue
            has[row] = True
            x, y = (place % _SMALL_COLUMNS) * 2 * _SMALL, (place // _SMALL_COLUMNS) * _SMALL
            for end, column in enumerate((0, len(plan.steps) - 1)):
                corner = column * plan.tile
                one = sheet_of_unit.crop((corner, 0, corner + plan.tile, plan.tile))
                sheet.paste(_resized(one, _SMALL), (x + end * _SMALL, y))
        with open(folder / "small" / f"{start // a_sheet}.{suffix}", "wb") as file:
            file.write(base64.b64decode(_encoded(sheet, plan.quality)))
    return {
        **plan.summary(),
        "small": {"tile": _SMALL, "columns": _SMALL_COLUMNS, "rows": _SMALL_ROWS, "suffix": suffix},
        "has": shards.pack(has, "u1"),
    }


def read_sheet(data: Path, name: str) -> Image.Image | None:
    """A sheet as stored; None if there is none."""
    try:
        content = (data / f"{name}.js").read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    payload = json.loads(content[content.index("{") : content.rindex("}") + 1])
    return Image.open(io.BytesIO(base64.b64decode(payload["data"]))).convert("RGB")


def chosen_samples(labels: Sequence[int], most: int) -> np.ndarray:
    """Anchors to show, spread over all, so that they are of different classes where there are several."""
    return np.unique(np.linspace(0, len(labels) - 1, min(most, len(labels))).round().astype(int))


def _resized(image: Image.Image, side: int) -> Image.Image:
    return image if image.size == (side, side) else image.resize((side, side), Image.Resampling.LANCZOS)


def _encoded(sheet: Image.Image, quality: int) -> str:
    buffer = io.BytesIO()
    sheet.save(buffer, image_format(), quality=quality, **({"method": 4} if image_format() == "WEBP" else {}))
    return base64.b64encode(buffer.getvalue()).decode("ascii")

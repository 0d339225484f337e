"""The trained world that is shipped inside the package, and the truth that comes with it."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from linkjax.demo import factors, world
from linkjax.errors import InputError
from linkjax.storage import manifest as manifests

KIND = "demo_bundle"
MODELS = ("generator", "breeds", "planted", "segmenter")
UNITS = "planted_units.json"
EMBEDDED = Path(__file__).parent / "bundle"


class Bundle(NamedTuple):
    """An opened bundle; its models lie in `folder` / one of `MODELS`."""

    folder: Path
    manifest: dict[str, Any]  # how it was made, and the gates it passed
    units: list[dict[str, Any]]  # the truth about every unit of `planted`

    def path(self, model: str) -> str:
        """Folder of a model, for `linkjax.load` and the stages."""
        return str(self.folder / model)

    @property
    def embedder(self) -> str | None:
        """Folder of the image–text model; None in a bundle without one."""
        return self.path("embedder") if (self.folder / "embedder").is_dir() else None


def open_bundle(folder: Path = EMBEDDED) -> Bundle:
    """Open a bundle of `scripts/train_demo.py`; by default the embedded one.

    Raises: InputError if it is missing, damaged, of a newer format, or made for another world than this linkjax draws.
    """
    manifest = manifests.read(folder, (KIND,))
    mine = {"parts": world.PARTS, "factors": factors.FACTORS, "breeds": factors.BREEDS}
    for name, expected in mine.items():
        if tuple(manifest.get(name) or ()) != expected:
            raise InputError(
                f"{folder}: was made for a world with other {name} than this linkjax draws; train it again with "
                "scripts/train_demo.py, or use the linkjax it came with"
            )
    missing = [name for name in MODELS if not (folder / name).is_dir()]
    if missing:
        raise InputError(f"{folder}: expected the models {', '.join(MODELS)}, found no {', '.join(missing)}")
    try:
        units = json.loads((folder / UNITS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / UNITS}: missing or damaged ({error}); train the bundle again") from None
    return Bundle(folder, manifest, units)

"""Masks of the demo's pictures to label, drawn by the renderer."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
from PIL import Image

from linkjax.analysis.pairs import named_latents
from linkjax.demo import world
from linkjax.demo.factors import Z_DIM, factors_of
from linkjax.storage import artifacts


def write_masks(pictures: Path, out: Path, count: int) -> None:
    """Write masks of the first pictures as a user would: indexed PNG files of the same names, and parts.txt.

    Args:
      pictures: folder of `linkjax segment --draw`.
      out: folder to make.
      count: how many of the pictures to label.
    """
    drawn = artifacts.Artifact(pictures, "pictures")
    label, sample_id = (drawn.read(name)[:count] for name in ("label", "sample_id"))
    z = named_latents(drawn.manifest["config"]["seed"], label, sample_id, Z_DIM)
    labels = world.render_all(np.asarray(factors_of(jnp.asarray(z), jnp.asarray(label, jnp.int32)))).labels
    with artifacts.whole_folder(out) as folder:
        for number, mask in enumerate(np.asarray(labels).astype(np.uint8)):
            Image.fromarray(mask).save(folder / f"{number:06d}.png")
        (folder / "parts.txt").write_text("\n".join(world.PARTS) + "\n", encoding="utf-8")

"""Draw, link and re-encode latents in batches: small programs that several stages run, compiled once for all."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from linkjax import numerics
from linkjax.devices import parallel
from linkjax.ops.chunked import share_of


def pictures(generator: Any, w: np.ndarray, batch_size: int, mesh: Mesh) -> np.ndarray:
    """Images of latents, as bytes [N, H, W, 3]; arguments as `drawn` takes them."""
    return drawn(generator, w, batch_size, mesh)["image"]


def drawn(
    generator: Any, w: np.ndarray, batch_size: int, mesh: Mesh, advance: Callable[[int], None] | None = None
) -> dict[str, np.ndarray]:
    """Images of latents as bytes, `image` [N, H, W, 3], and whether all of each is `finite` [N], which bytes hide.

    Args:
      generator: replicated on the mesh.
      w: [N, w_dim].
      batch_size: images drawn at once, a multiple of the device count; a share a device on a CPU, where so every batch
        is drawn by one program.
      advance: told after each batch how many images it held.
    """
    share = share_of(generator.spec.resolution)
    size = share * mesh.size or batch_size
    return parallel.map_items(_picture, generator, {"w": w}, size, mesh, advance, share)


def linked(link: Any, r: np.ndarray, batch_size: int, mesh: Mesh) -> np.ndarray:
    """Latents [N, w_dim] of activations [N, units], a row does not depend on its batch.

    Args:
      link: replicated on the mesh.
      r: activations.
      batch_size: rows at once, a multiple of the device count.
    """
    return parallel.map_items(_linked, link, {"r": r}, batch_size, mesh, share=share_of(1))


def reencoded(models: tuple[Any, Any], w: np.ndarray, batch_size: int, mesh: Mesh) -> dict[str, np.ndarray]:
    """What the classifier sees in the images of latents: activations `r` [N, units], and `logits` if it has a head.

    Args:
      models: generator and classifier, replicated on the mesh.
      w: [N, w_dim].
      batch_size: images drawn at once, a multiple of the device count.
    """
    share = share_of(models[0].spec.resolution)
    return parallel.map_items(cycle, models, {"w": w}, batch_size, mesh, share=share)


def cycle(models: tuple[Any, Any], items: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """w → image → r̂ (and logits), item by item."""
    generator, classifier = models
    encoded = classifier(classifier.preprocess(generator.synthesis(items["w"])))
    logits = {} if encoded.logits is None else {"logits": encoded.logits}
    return {"r": encoded.penultimate, **logits}


def _picture(generator: Any, items: dict[str, jax.Array]) -> dict[str, jax.Array]:
    images = generator.synthesis(items["w"])
    return {"image": numerics.to_uint8(images), "finite": jnp.all(jnp.isfinite(images), axis=(1, 2, 3))}


def _linked(link: Any, items: dict[str, jax.Array]) -> jax.Array:
    return link(items["r"])

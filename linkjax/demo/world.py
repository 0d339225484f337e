"""A world with known truth: four-legged animals at 64×64, drawn from named factors, with exact part labels."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linkjax.demo import shapes
from linkjax.demo.factors import FACTORS
from linkjax.devices import parallel

#: Part names by label.
PARTS = ("background", "leg", "body", "tail", "tongue", "eye", "nose", "snout", "ear", "head")
#: Side of a picture, in pixels.
SIZE = 64

_GROUND = 57.5  # y of the soles
_AT_ONCE = 20  # pictures that `render_all` draws together


class RenderedAnimals(NamedTuple):
    """Pictures with their truth; a leading batch dimension where the factors had one."""

    image: Array  # [64, 64, 3], in [-1, 1], as the generator's
    labels: Array  # [64, 64] int32: the topmost part over each pixel's centre
    masks: Array  # [64, 64, 10]: visible share of every part in a pixel; sums to 1


class _Layer(NamedTuple):
    part: str
    distance: Array  # [64, 64], pixels
    color: Array  # [3] or [64, 64, 3], in [0, 1]


def render(factors: Float[Array, "*batch F"]) -> RenderedAnimals:
    """Draw animals.

    Args:
      factors: values in [-1, 1] in the order of `FACTORS`; one animal or any batch of them.
    Returns: image, labels and masks; differentiable in the factors but for the labels.
    """
    batch = factors.shape[:-1]
    drawn = jax.vmap(_draw)(factors.reshape(-1, factors.shape[-1]))
    return jax.tree.map(lambda array: array.reshape(*batch, *array.shape[1:]), drawn)


def _rendered(models: tuple[()], items: dict[str, Array]) -> RenderedAnimals:
    del models
    return render(items["factors"])


def render_all(factors: Float[np.ndarray, "n F"]) -> RenderedAnimals:
    """`render` of any number of animals, as NumPy arrays: one compiled program, whatever their number."""
    items, mesh = {"factors": np.asarray(factors, np.float32)}, parallel.mesh()
    return parallel.map_items(_rendered, (), items, parallel.round_up(_AT_ONCE, mesh), mesh)


def _between(value: Array, low: float, high: float) -> Array:
    return low + (high - low) * (value + 1.0) / 2.0


def _point(x: Array | float, y: Array | float) -> Array:
    return jnp.stack([jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)])


def _tint(hue: Array, chroma: float) -> Array:
    """Red, green and blue of a hue (turns), to be scaled by a lightness."""
    return 1.0 + chroma * jnp.cos(2 * np.pi * (hue - jnp.asarray([0.0, 1 / 3, 2 / 3])))


def _rounded(color: Array, distance: Array, y: Array, top: Array, bottom: Array) -> Array:
    """A color lit from above and darker towards the outline, so that flat shapes look round."""
    height = jnp.clip((y - top) / (bottom - top), 0.0, 1.0)
    rim = jnp.clip(1.0 + distance / 4.0, 0.0, 1.0)
    light = 1.10 - 0.26 * height - 0.10 * rim * rim
    return color[None, None, :] * light[..., None]


def _background(f: dict[str, Array], y: Array) -> Array:
    light = _between(f["background_lightness"], 0.42, 0.88)
    color = light * _tint(_between(f["background_hue"], 0.22, 0.66), 0.16)
    sky = 1.06 - 0.10 * y / SIZE
    ground = 0.80 * jax.nn.sigmoid((y - 49.0) / 1.5)
    return color[None, None, :] * (sky - 0.16 * ground)[..., None]


def _layers(f: dict[str, Array], p: Array) -> list[_Layer]:
    """All shapes, back to front."""
    y = p[..., 1]
    leg_length, leg_radius = _between(f["leg_length"], 8.0, 17.0), _between(f["leg_thickness"], 1.9, 3.3)
    half_length, half_height = _between(f["body_length"], 9.0, 13.5), _between(f["body_height"], 5.4, 8.8)
    head_radius = _between(f["head_size"], 7.0, 10.0)
    belly = _GROUND - leg_length
    middle_y = belly - half_height + 1.0
    middle_x = 27.8 + 2.5 * f["position_x"]
    rump, chest = middle_x - half_length, middle_x + half_length
    head_x, head_y = chest + 2.5, middle_y - half_height - 2.0

    coat = _between(f["body_lightness"], 0.36, 0.78) * _tint(_between(f["body_hue"], -0.13, 0.14), 0.34)
    cream = 0.45 * coat + 0.55 * jnp.asarray([0.93, 0.88, 0.80])

    def leg(x: Array, shade: float) -> _Layer:
        top, sole = _point(x, middle_y + 0.3 * half_height), _point(x, _GROUND - leg_radius)
        distance = shapes.limb(p, top, sole, leg_radius * 1.15, leg_radius)
        return _Layer("leg", distance, _rounded(coat * shade, distance, y, belly, jnp.asarray(_GROUND)))

    near, far = half_length - 2.6, half_length - 8.2
    legs_far = [leg(middle_x - far, 0.66), leg(middle_x + near + 1.2, 0.66)]
    legs_near = [leg(middle_x - near - 0.4, 0.92), leg(middle_x + far, 0.92)]

    angle = _between(f["tail_angle"], 0.15, 1.45)  # above the horizontal, pointing back
    tail_length, tail_radius = _between(f["tail_length"], 7.0, 14.0), _between(f["tail_thickness"], 1.9, 3.6)
    root = _point(rump + 2.2, middle_y - 0.35 * half_height)
    tip = root + tail_length * jnp.stack([-jnp.cos(angle), -jnp.sin(angle)])
    tail_distance = shapes.limb(p, root, tip, tail_radius * 1.1, tail_radius)
    tail = _Layer("tail", tail_distance, _rounded(coat * 0.86, tail_distance, y, tip[1] - 3.0, root[1] + 3.0))

    torso = shapes.limb(
        p,
        _point(rump + half_height * 0.95, middle_y + 0.3),
        _point(chest - half_height, middle_y - 0.3),
        half_height * 0.95,
        half_height,
    )
    neck = shapes.limb(
        p, _point(chest - 4.5, middle_y - 1.0), _point(head_x - 1.0, head_y), half_height * 0.7, head_radius * 0.6
    )
    trunk = jnp.minimum(torso, neck)
    body = _Layer("body", trunk, _rounded(coat, trunk, y, head_y, belly))

    skull = shapes.disc(p, _point(head_x, head_y), head_radius)
    head = _Layer("head", skull, _rounded(coat * 1.08, skull, y, head_y - head_radius, head_y + head_radius))

    snout_radius = 3.0 + 0.16 * head_radius
    snout_y = head_y + 0.30 * head_radius
    reach = head_x + 0.55 * head_radius + _between(f["snout_length"], 3.0, 9.0)
    muzzle = shapes.limb(
        p, _point(head_x + 0.45 * head_radius, snout_y), _point(reach, snout_y + 0.6), snout_radius * 1.08, snout_radius
    )
    snout = _Layer("snout", muzzle, _rounded(cream, muzzle, y, snout_y - snout_radius, snout_y + snout_radius + 1.0))

    hang = _between(f["tongue_length"], 2.6, 7.4)
    lip = _point(reach - 1.6, snout_y + snout_radius - 1.0)
    licked = shapes.limb(p, lip, lip + _point(0.3, hang), jnp.asarray(2.5), jnp.asarray(2.5))
    tongue = _Layer("tongue", licked, _rounded(jnp.asarray([0.90, 0.42, 0.48]), licked, y, lip[1], lip[1] + 8.0))

    tip_of_nose = shapes.turned(p, _point(reach + 0.62 * snout_radius, snout_y - 0.55 * snout_radius), jnp.asarray(0.3))
    button = shapes.ellipse(tip_of_nose, _point(2.9, 2.4))
    nose = _Layer("nose", button, jnp.asarray([0.17, 0.14, 0.16]))

    eye_radius = _between(f["eye_size"], 2.0, 3.8)
    eye_centre = _point(head_x + 0.30 * head_radius, head_y - 0.30 * head_radius)
    iris = shapes.disc(p, eye_centre, eye_radius)
    glint = shapes.coverage(shapes.disc(p, eye_centre + eye_radius * _point(0.35, -0.35), 0.42 * eye_radius) / 1.3)
    dark = jnp.asarray([0.15, 0.11, 0.12])[None, None, :]
    eye = _Layer("eye", iris, dark + (0.95 - dark) * glint[..., None])

    size = _between(f["ear_size"], 0.80, 1.50)
    # From erect (pointing up and a little back) to hanging along the cheek.
    turn = _between(f["ear_droop"], -1.95, -4.15)
    ear_root = _point(head_x - 0.42 * head_radius, head_y - 0.62 * head_radius)
    flap = shapes.ellipse(
        shapes.turned(p, ear_root + 4.6 * size * jnp.stack([jnp.cos(turn), jnp.sin(turn)]), turn),
        _point(6.3 * size, 3.3 * size),
    )
    ear = _Layer(
        "ear", flap, _rounded(coat * jnp.asarray([0.74, 0.62, 0.62]), flap, y, ear_root[1] - 9.0, ear_root[1] + 9.0)
    )

    return [*legs_far, tail, *legs_near, body, head, tongue, snout, nose, eye, ear]


def _shadow(f: dict[str, Array], p: Array) -> Array:
    """How much light the animal takes from the ground below it."""
    centre = _point(28.8 + 2.5 * f["position_x"], _GROUND + 0.3)
    away = (
        shapes.turned(p, centre, jnp.asarray(0.0)) / _point(_between(f["body_length"], 15.0, 19.0), 3.2)[None, None, :]
    )
    return 0.30 * jnp.exp(-jnp.sum(jnp.square(away), axis=-1))


def _draw(factors: Float[Array, "F"]) -> RenderedAnimals:
    f = {name: factors[k] for k, name in enumerate(FACTORS)}
    centres = jnp.arange(SIZE, dtype=jnp.float32) + 0.5
    p = jnp.stack(jnp.meshgrid(centres, centres, indexing="xy"), axis=-1)
    image = _background(f, p[..., 1]) * (1.0 - _shadow(f, p))[..., None]
    labels = jnp.zeros((SIZE, SIZE), jnp.int32)
    masks = jnp.zeros((SIZE, SIZE, len(PARTS))).at[..., 0].set(1.0)
    for layer in _layers(f, p):
        part = PARTS.index(layer.part)
        alpha = shapes.coverage(layer.distance)[..., None]
        image = image + alpha * (jnp.broadcast_to(layer.color, image.shape) - image)
        labels = jnp.where(layer.distance < 0, part, labels)
        masks = masks * (1.0 - alpha) + alpha * jax.nn.one_hot(part, len(PARTS))[None, None, :]
    return RenderedAnimals(2.0 * jnp.clip(image, 0.0, 1.0) - 1.0, labels, masks)

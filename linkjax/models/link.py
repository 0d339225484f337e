"""The link r → w: from a classifier's activations to a generator's latent space, linear or a small network."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NoReturn

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from linkjax.errors import InputError
from linkjax.models.build import Buffer, fill, leaves
from linkjax.ops.conv import dense

#: Which steps raise units: the link's kernel, the paper's; its steering directions (`analysis.links.steering`); what is
#: left of these without the directions that many units share (`analysis.units.shared_directions`).
Directions = Literal["kernel", "steer", "own"]
#: Of a sweep; also steps of every sample alone, from its own Jacobian.
SweepDirections = Literal["kernel", "steer", "own", "local"]
METHODS = ("ols", "ridge", "elastic_net", "mlp")
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}


@dataclasses.dataclass(frozen=True)
class LinkSpec:
    """What is needed to build a link; `method`, `alpha` and `l1_ratio` also record how it was fitted."""

    units: int  # length of r
    w_dim: int  # length of w
    method: Literal["ols", "ridge", "elastic_net", "mlp"] = "ols"
    alpha: float = 0.0  # penalty, in scikit-learn's convention of the method
    l1_ratio: float = 0.0  # elastic net: share of the absolute-value penalty, 0..1
    hidden: tuple[int, ...] = ()  # mlp: widths of the hidden layers
    activation: str = "gelu"  # mlp: relu | gelu | silu | tanh
    rank: int = 0  # of a linear link of reduced rank; 0: as the method gives it
    steered: bool = False  # whether directions that raise single units come with it
    steer_lambda: float | None = None  # of these directions; None: there are none, or an earlier linkjax made them

    def __post_init__(self):
        if self.units < 1 or self.w_dim < 1:
            raise InputError(f"a link needs at least one unit and one w dimension, found {self.units} and {self.w_dim}")
        if self.method not in METHODS:
            raise InputError(f"link method {self.method!r} is not one of {', '.join(METHODS)}")
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation {self.activation!r} is not one of {', '.join(ACTIVATIONS)}")


class Steering(nnx.Module):
    """Directions in W that raise units, and the moments within classes they come from (`analysis.links.steering`)."""

    def __init__(self, spec: LinkSpec):
        def zeros(*shape: int) -> Buffer:
            return Buffer(jnp.zeros(shape, jnp.float32))

        self.steer = zeros(spec.units, spec.w_dim)
        self.covariance = zeros(spec.w_dim, spec.w_dim)
        self.unit_std = zeros(spec.units)
        self.back = zeros(spec.w_dim, spec.units)
        self.r2 = zeros(spec.units)


class _Steered(nnx.Module):
    """What both kinds of link have of it; None of a link without."""

    steering: Steering | None

    @property
    def steer(self) -> Array | None:
        """[units, w_dim] change of w per activation that raises each unit; NaN for one that is constant in classes."""
        return None if self.steering is None else self.steering.steer[...]

    @property
    def covariance(self) -> Array | None:
        """[w_dim, w_dim] covariance of w within classes."""
        return None if self.steering is None else self.steering.covariance[...]

    @property
    def unit_std(self) -> Array | None:
        """[units] standard deviation of r within classes."""
        return None if self.steering is None else self.steering.unit_std[...]

    @property
    def back(self) -> Array | None:
        """[w_dim, units] slopes of r on w within classes."""
        return None if self.steering is None else self.steering.back[...]

    @property
    def r2(self) -> Array | None:
        """[units] share of a unit's variance within classes that w determines; NaN for one that is constant."""
        return None if self.steering is None else self.steering.r2[...]


class Link(_Steered):
    """Linear link: w = r · kernel + bias."""

    def __init__(self, spec: LinkSpec, *, rngs: nnx.Rngs):
        del rngs  # zeros until filled: a link is solved for, not initialised
        self.spec = spec
        self.kernel = nnx.Param(jnp.zeros((spec.units, spec.w_dim), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((spec.w_dim,), jnp.float32))
        self.steering = Steering(spec) if spec.steered else None

    def __call__(self, r: Float[Array, "*batch units"]) -> Float[Array, "*batch w_dim"]:
        """Latent vectors of activations.

        Args:
          r: activations, any leading axes; cast to float32.
        Returns: w, float32.
        Errors: InputError if r does not have the number of units the link was fitted on.
        """
        return _linear(self, _checked(r, self.spec))


class MLPLink(_Steered):
    """Nonlinear link: w = μ_w + σ_w ∘ (x · skip + bias + net(x)), with x = (r − μ_r) / σ_r.

    The straight path `skip` is a linear link; `net` (hidden layers, then a dense layer) adds what a linear link
    cannot say and starts at zero. The means and standard deviations are buffers, measured on the training data.
    """

    def __init__(self, spec: LinkSpec, *, rngs: nnx.Rngs):
        self.spec = spec
        self.r_mean = Buffer(jnp.zeros((spec.units,), jnp.float32))
        self.r_scale = Buffer(jnp.ones((spec.units,), jnp.float32))
        self.w_mean = Buffer(jnp.zeros((spec.w_dim,), jnp.float32))
        self.w_scale = Buffer(jnp.ones((spec.w_dim,), jnp.float32))
        self.skip = nnx.Param(jnp.zeros((spec.units, spec.w_dim), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((spec.w_dim,), jnp.float32))
        widths = (spec.units, *spec.hidden)
        initial = jax.nn.initializers.he_normal()
        self.kernels = nnx.List(
            [nnx.Param(initial(rngs.params(), pair, jnp.float32)) for pair in itertools.pairwise(widths)]
        )
        self.biases = nnx.List([nnx.Param(jnp.zeros((width,), jnp.float32)) for width in spec.hidden])
        self.head = nnx.Param(jnp.zeros((widths[-1], spec.w_dim), jnp.float32))
        self.steering = Steering(spec) if spec.steered else None

    def __call__(self, r: Float[Array, "*batch units"]) -> Float[Array, "*batch w_dim"]:
        """Latent vectors of activations; arguments and errors as `Link`."""
        return _mlp(self, _checked(r, self.spec))

    @property
    def kernel(self) -> NoReturn:
        """Not there: a nonlinear link has another derivative at every r."""
        raise AttributeError("an MLP link has no single kernel; fit with method ols, ridge or elastic_net to have one")


def with_steering(link: Any, arrays: Mapping[str, Any], lam: float) -> Any:
    """The same link (linear or not) with steering directions.

    Args:
      arrays: `steer`, `covariance`, `unit_std`, `back` and `r2`, in the shapes of `Steering`.
      lam: their λ.
    """
    kept = {name: leaf for name, leaf in leaves(link).items() if not name.startswith("steering.")}
    named = {f"steering.{name}": array for name, array in arrays.items()}
    return fill(type(link), dataclasses.replace(link.spec, steered=True, steer_lambda=lam), {**kept, **named})


class AlongSteer(nnx.Module):
    """A link whose units are raised along its steering directions: w as the link gives it, `kernel` their steps.

    A unit without a direction has a row of zeros here: it does not move.

    Args:
      steps: others than the link's steering directions, [units, w_dim]; None: these.
    """

    def __init__(self, link: Any, steps: Any = None):
        self.spec, self.link = link.spec, link
        self.kernel = Buffer(jnp.nan_to_num(jnp.asarray(link.steer if steps is None else steps, jnp.float32)))

    def __call__(self, r: Float[Array, "*batch units"]) -> Float[Array, "*batch w_dim"]:
        """As the link."""
        return self.link(r)


def along(link: Any, directions: Literal["kernel", "steer"] = "steer") -> Any:
    """The link whose `kernel` rows are the steps that raise units by 1: its steering directions, or its own kernel.

    Raises: InputError for the steering directions of a link that has none.
    """
    if directions == "kernel":
        return link
    if link.steer is None:
        raise InputError(
            "expected a link with steering directions, found none (it was made before linkjax had them, or of classes "
            "with one sample each, or without moments); make it again with linkjax link, or ask for --directions kernel"
        )
    return AlongSteer(link)


def link_class(spec: LinkSpec) -> type[Link] | type[MLPLink]:
    """The class that `spec.method` asks for, to be filled by `build.fill(link_class(spec), spec, arrays)`."""
    return MLPLink if spec.method == "mlp" else Link


def standardised(link: MLPLink, x: Float[Array, "batch units"]) -> Float[Array, "batch w_dim"]:
    """The trained part of an MLP link, between standardised activations and standardised latents."""
    activation = ACTIVATIONS[link.spec.activation]
    hidden = x
    for kernel, bias in zip(link.kernels, link.biases, strict=True):
        hidden = activation(dense(hidden, kernel[...], bias[...]))
    out = dense(x, link.skip[...], link.bias[...])
    return out + dense(hidden, link.head[...]) if link.spec.hidden else out


def _checked(r: Float[Array, "*batch units"], spec: LinkSpec) -> Float[Array, "*batch units"]:
    if jnp.ndim(r) == 0 or jnp.shape(r)[-1] != spec.units:
        raise InputError(
            f"this link was fitted on {spec.units} units, but r has shape {jnp.shape(r)}; "
            "use activations of the classifier it was fitted with"
        )
    return jnp.asarray(r, jnp.float32)


@jax.jit
def _linear(link: Link, r: Float[Array, "*batch units"]) -> Float[Array, "*batch w_dim"]:
    return dense(r, link.kernel[...], link.bias[...])


@jax.jit
def _mlp(link: MLPLink, r: Float[Array, "*batch units"]) -> Float[Array, "*batch w_dim"]:
    flat = r.reshape(-1, link.spec.units)
    x = (flat - link.r_mean[...][None]) / link.r_scale[...][None]
    out = link.w_mean[...][None] + link.w_scale[...][None] * standardised(link, x)
    return out.reshape(*r.shape[:-1], link.spec.w_dim)

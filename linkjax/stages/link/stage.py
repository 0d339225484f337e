"""link: fit r → w from streamed moments."""

import dataclasses
import functools
import math
import shutil
from pathlib import Path
from typing import Any, ClassVar, Literal

from linkjax import config as configs
from linkjax import numerics
from linkjax.analysis.links import class_sums, fit, fit_checks, mlp, moments
from linkjax.analysis.links.moments import Products
from linkjax.analysis.links.problem import Fit, Settings
from linkjax.config import PathName, positive
from linkjax.devices import cluster
from linkjax.errors import InputError
from linkjax.stages import Facts, Workload, inputs, rows
from linkjax.stages.link import groups, stable, steer, wide
from linkjax.stages.link.stored import StoredPairs, moments_fit
from linkjax.storage import artifacts, checkpoint, manifest
from linkjax.storage.claim import Claim, must_be_new

_FREE = ("rows",)


@dataclasses.dataclass(frozen=True)
class Config:
    """Fit the link r → w on the training split of pairs; memory does not grow with their number."""

    stage: ClassVar[str] = "link"  # the table of its settings in a TOML

    out: PathName
    """Folder to make."""
    pairs: PathName
    """Folder of `linkjax pairs`."""
    classes: tuple[int, ...] | Literal["all"] = "all"
    """Class ids to fit on: one link for a group of them, or for all that the pairs hold."""
    groups: tuple[str, ...] | None = None
    """Groups of classes that get a link each, in a folder of its own in out: ids and ranges such as 0-4,7 for each
    group (group_0, group_1, …), or `each` for one link a class (class_0, …); none: one link, for classes."""
    method: Literal["ols", "ridge", "elastic_net", "mlp"] = "ols"
    """Least squares; with a squared penalty; with a squared and an absolute one; or a small network."""
    alpha: float = 1.0
    """Penalty of ridge and elastic net, in scikit-learn's convention."""
    alphas: tuple[float, ...] = ()
    """Penalties to choose from on the validation split; overrides alpha."""
    choose: Literal["r2", "stable"] = "r2"
    """By the error on the validation split; or (ridge) of those nearly as good the one of straightest steps in W."""
    r2_loss: float = 0.01
    """How much less R² than the best is nearly as good."""
    l1_ratio: float = 0.5
    """Elastic net: share of the absolute-value penalty, 0 … 1."""
    rank: int = 0
    """ols and ridge: a link of at most this rank, in closed form; 0: full rank. alpha is chosen at full rank."""
    steer_lambda: float | None = None
    """λ of the directions that raise units: the larger, the more of what goes with a unit moves along; none: chosen by
    the length of the steps and the validation split."""
    exclusive: bool = False
    """Directions of what is more each unit's own: steps may be twice as long as the shortest that raises a unit."""
    scaled_by: PathName | None = None
    """Folder of `linkjax sweep --split val`, made with a link of the same pairs and λ: each unit's step is divided by
    the fidelity it has there, to half its length or twice at the least and most."""
    products: Products = "float64"
    """Precision of the products within a block; sums are always float64. float32 is for ridge: see the docs."""
    hidden: tuple[int, ...] = (512,)
    """mlp: units of its hidden layers."""
    epochs: int = 100
    """mlp: passes over the training pairs, at most."""
    seed: int = 0
    """mlp: random seed."""
    moments_gib: float = 16.0
    """Where moments would need more memory than this, the link is fitted without: by the samples' own Gram matrix where
    they are no more than the units and that fits in as much (ols, ridge), else by streamed proximal gradients
    (elastic_net)."""
    rows: int = 8192
    """Pairs per block read from disk; the result does not depend on it but for rounding."""

    def __post_init__(self) -> None:
        positive(rows=self.rows, epochs=self.epochs, moments_gib=self.moments_gib)
        if self.groups == ():
            raise InputError("groups: expected one or more, found none")
        if self.groups and self.classes != "all":
            raise InputError("groups, classes: expected one of them, found both; groups name their classes")
        if self.choose == "stable" and (self.method != "ridge" or len(self.alphas) < 2):
            raise InputError("choose stable: expected ridge and two alphas or more to choose from; add --alphas")
        if self.steer_lambda is not None and not self.steer_lambda >= 0:
            raise InputError(f"steer-lambda: expected 0 or more, found {self.steer_lambda}")
        if self.steer_lambda is not None and self.exclusive:
            raise InputError("steer-lambda, exclusive: expected one of them, found both")
        if not self.r2_loss >= 0:
            raise InputError(f"r2-loss: expected 0 or more, found {self.r2_loss}")


def workload(config: Config, facts: Facts) -> Workload:
    """No images; moments of two splits in memory."""
    units, w_dim = facts.classifier.num_units, facts.generator.w_dim
    links = facts.classes if config.groups == (groups.EACH,) else len(config.groups or (1,))
    return Workload(0, 0, links * 4 * (units + 1) * w_dim, 2 * moments.nbytes(units, w_dim), programs=0)


@numerics.float32_default()
def run(config: Config) -> None:
    """Write the link as a model, its diagnostics in the manifest; of groups one for each."""
    pairs = inputs.pairs(config.pairs)
    if not config.groups:
        _run_one(config, pairs)
        return
    named = groups.read(config.groups, pairs.summary["classes"])
    if (Path(config.out) / manifest.FILE).exists():
        must_be_new(Path(config.out))
    for number, (name, classes) in enumerate(named.items(), 1):
        own = dataclasses.replace(config, out=str(Path(config.out) / name), groups=None, classes=classes)
        some = ", ".join(map(str, classes[:10])) + (", …" if len(classes) > 10 else "")
        print(f"{name} ({number} of {len(named)}): {len(classes)} classes, {some}")
        if cluster.on_first(lambda own=own: _made(own, pairs)):
            print("made before")
        else:
            _run_one(own, pairs)


def _made(config: Config, pairs: artifacts.Artifact) -> bool:
    """Whether an earlier run made this link of a group, from the same pairs and by the same settings.

    Raises: InputError if the folder holds something else.
    """
    if not Path(config.out).exists():
        return False
    source = manifest.read(Path(config.out), ("link", "mlp_link"))["source"]
    now, then = manifest.plain(config), source["config"]
    other = [name for name in now if name not in ("out", "pairs", *_FREE) and now[name] != then.get(name)]
    other += ["pairs"] if source["pairs"] != pairs.id else []
    if other:
        raise InputError(
            f"{config.out} is there already, with other {', '.join(other)}; give another --out, or remove it"
        )
    return True


def _run_one(config: Config, pairs: artifacts.Artifact) -> None:
    ranges = _ranges(config, pairs)
    obtained = None if config.scaled_by is None else steer.obtained_in(config.scaled_by, pairs)
    if obtained is not None and not moments_fit(config, pairs):
        raise InputError("scaled-by: a link without moments has no steering directions; raise --moments-gib")
    precision = pairs.manifest["precision"]
    with artifacts.Writer(
        Path(config.out), "link", config, pairs.manifest["weights"], {"pairs": pairs.id}, _FREE, precision
    ) as writer:
        problem = StoredPairs(config, pairs, ranges, writer.partial / artifacts.WORK)
        if not problem.moments_fit:
            for split in ranges:
                rows.refuse_nonfinite(pairs, split, ranges[split], config.rows)
        link, diagnostics = _fitted(problem)
        if problem.moments_fit:
            within = {split: class_sums.within(each.moments, each.classes) for split, each in problem.sums.items()}
            link, diagnostics["steering"] = steer.attach(link, within["train"], within.get("val"), config, obtained)
        source = {
            "config": dataclasses.asdict(config),
            "pairs": pairs.id,
            **pairs.manifest["weights"],
            "diagnostics": _plain(diagnostics),
            "classes": pairs.summary["classes"] if config.classes == "all" else config.classes,
        }

        def save(claim: Claim) -> None:
            if cluster.first():  # of a run killed while it wrote them
                shutil.rmtree(claim.partial / checkpoint.WEIGHTS, ignore_errors=True)
            settings = functools.partial(_write_settings, config)
            checkpoint.save_model(claim.path, link, source=source, files=settings, claim=claim, precision=precision)

        writer.finish_model(save)
    _print(diagnostics)
    steer.print_summary(diagnostics.get("steering"))


def _ranges(config: Config, pairs: artifacts.Artifact) -> dict[str, list[rows.Range]]:
    """Where the rows of each split to be read lie.

    Raises: InputError for settings that do not fit each other or the pairs.
    """
    splits = pairs.summary["splits"]
    if "val" not in splits and (config.alphas or config.method == "mlp"):
        need = "alphas: choosing one needs" if config.alphas else "method mlp stops early on"
        raise InputError(
            f"{need} a validation split, but {config.pairs} has none; make pairs with --n-val above 0"
            + (", or give one --alpha" if config.alphas else "")
        )
    fit_checks.options(config.method, config.alpha, config.l1_ratio, config.alphas, "val" in splits, config.rank)
    classes = None if config.classes == "all" else config.classes
    ranges = {split: rows.of_classes(pairs, split, classes) for split in ("train", "val") if split in splits}
    if not moments_fit(config, pairs):
        wide.check(config, pairs, ranges)
    return ranges


def _fitted(problem: StoredPairs) -> Fit:
    """The link by the solver that its settings choose; of ridge links with stable steps the one asked for."""
    config: Config = problem.config
    training = mlp.Training(hidden=config.hidden, epochs=config.epochs)
    settings = Settings(config.method, config.alpha, config.l1_ratio, config.alphas, config.rank, training, config.seed)
    fitted = fit.fit(problem, settings)
    if not fitted.diagnostics.get("converged", True):
        print(
            f"linkjax: the elastic net stopped early, KKT residual {fitted.diagnostics['kkt_residual']:.2g}; "
            "raise --alpha"
        )
    if config.method == "ridge" and len(config.alphas) > 1 and problem.moments_fit:
        return stable.measured(problem, settings, fitted)
    return fitted


def _write_settings(config: Config, folder: Path) -> None:
    configs.write_toml(folder / "config.toml", "link", config)


def _plain(diagnostics: dict[str, Any]) -> dict[str, Any]:
    """For a manifest: NaN as None."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value for key, value in diagnostics.items()
    }


def _print(diagnostics: dict[str, Any]) -> None:
    for name in ("method", "alpha", "train_r2", "val_r2", "condition_number", "numerical_rank", "effective_rank",
                 "diverged_in_epoch"):  # fmt: skip
        value = diagnostics.get(name)
        if value is not None:
            print(f"{name.replace('_', ' ')}: {f'{value:.4g}' if isinstance(value, float) else value}")

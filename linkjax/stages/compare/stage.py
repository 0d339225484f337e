"""compare: match units of classifiers that saw the same images, and measure the similarity of the whole."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from linkjax import numerics
from linkjax.analysis.comparisons import cka, matching
from linkjax.analysis.units import selectivity
from linkjax.config import PathName, positive
from linkjax.devices.progress import progress
from linkjax.errors import InputError
from linkjax.stages import inputs
from linkjax.stages.compare import samples
from linkjax.stages.compare.effects import Effects, open_sweeps
from linkjax.stages.compare.flips import Flips, open_searches, used
from linkjax.storage import artifacts

KIND = "side_by_side"
_MIXED = 4096  # samples of all classes whose similarity is told, at most, evenly spread


@dataclasses.dataclass(frozen=True)
class Config:
    """Match the units of classifiers that saw the same images: what they share, and what only one of them has."""

    stage: ClassVar[str] = "compare"  # the table of its settings in a TOML

    out: PathName
    """Folder to make."""
    pairs: PathName
    """Folder of `linkjax pairs`: the first classifier's."""
    other_pairs: tuple[PathName, ...] = ()
    """Folders of pairs of the same latents: other classifiers', made with `linkjax pairs --latents`."""
    sweep: PathName | None = None
    """Folder of `linkjax sweep` of the first classifier, to compare what units do in the image."""
    other_sweeps: tuple[PathName, ...] = ()
    """Folders of sweeps of the other classifiers from the same anchors, in the order of their pairs."""
    counterfactual: PathName | None = None
    """Folder of `linkjax counterfactual` of the first classifier, to compare how samples change their class."""
    other_counterfactuals: tuple[PathName, ...] = ()
    """Folders of counterfactuals of the other classifiers from the same samples, in the order of their pairs."""
    names: tuple[str, ...] = ()
    """What to call the classifiers, the first one first; none: as their folders."""
    split: Literal["train", "val", "test"] = "test"
    """Samples to compare on: one half of each class to match units, the other to measure."""
    least: float = 0.5
    """|Correlation| within classes from which two units are said to share what they say, 0 … 1."""
    draws: int = 200
    """Resamples of classes and samples, for intervals."""
    shuffles: int = 100
    """Shuffles of the samples within their classes, for what chance gives."""
    level: float = 0.95
    """Of intervals, 0 … 1; of the units said to be shared at most the rest may be so by chance."""
    seed: int = 0
    """Random seed of resamples and shuffles."""

    def __post_init__(self) -> None:
        positive(draws=self.draws, shuffles=self.shuffles)
        for name, value in (("least", self.least), ("level", self.level)):
            if not 0 < value < 1:
                raise InputError(f"{name}: expected a number above 0 and below 1, found {value}")
        count = 1 + len(self.other_pairs)
        if self.names and (len(self.names) != count or len(set(self.names)) != count):
            raise InputError(f"names: expected {count} different ones, found {' '.join(self.names)}")
        for name, plural in (("sweep", "sweeps"), ("counterfactual", "counterfactuals")):
            own, others = getattr(self, name), getattr(self, f"other_{plural}")
            given = (own is not None) + len(others)
            if given not in (0, count) or (own is None and others):
                raise InputError(
                    f"{name}, other-{plural}: expected one of each of the {count} classifiers, or none, found {given}"
                )


class Direction(NamedTuple):
    """Units of one network matched with those of another, or of the same: rows of the joint table."""

    network: int
    other: int
    unit: np.ndarray  # [K] of the network
    partner: np.ndarray  # [K] of the other; −1 for none
    found: np.ndarray  # [K] the correlation by which it was matched


@numerics.float32_default()
def run(config: Config) -> None:
    """Write the matches of every two classifiers, units alike within each, and the similarity of the whole."""
    if not config.other_pairs:
        raise InputError("other-pairs: expected one or more, found none; linkjax pairs --latents makes them")
    runs = [inputs.pairs(path) for path in (config.pairs, *config.other_pairs)]
    for path, other in zip(config.other_pairs, runs[1:], strict=True):
        _check_same(path, other, runs[0])
    names = _names(config, runs)
    sweeps, searches = open_sweeps(config, runs), open_searches(config, runs)
    flips = Flips(searches) if searches else None
    told = lambda stem, made: {  # noqa: E731
        stem if not place else f"other_{stem}_{place}": each for place, each in enumerate(made)
    }
    weights = {"generator": runs[0].manifest["weights"]["generator"]}
    weights |= told("classifier", [each.manifest["weights"]["classifier"] for each in runs])
    made_from = told("pairs", [each.id for each in runs]) | told("sweep", [each.id for each in sweeps])
    made_from |= told("counterfactual", [each.id for each in searches])
    with artifacts.Writer(
        Path(config.out), KIND, config, weights, made_from,
        free=("other_pairs", "other_sweeps", "other_counterfactuals"),
        precision=runs[0].manifest["precision"], classes=inputs.class_names(runs[0], None),
    ) as writer:  # fmt: skip
        Comparing(config, writer, runs, sweeps, flips, names).run()


def _check_same(path: str, other: artifacts.Artifact, first: artifacts.Artifact) -> None:
    """Raises: InputError if pairs are of another generator, precision or list of samples; latents are seen later."""
    made_with = first.manifest["weights"]["generator"]
    artifacts.check_weights(other.manifest, "generator", made_with, f"the pairs in {path}")
    artifacts.check_precision(other.manifest, first.manifest["precision"], f"the pairs in {path}")
    listed = [[(g["split"], g["label"], g["first_row"], g["wanted"]) for g in each.summary["groups"]]
              for each in (first, other)]  # fmt: skip
    if listed[0] != listed[1]:
        raise samples.other_samples(path, first)


def _names(config: Config, runs: Sequence[artifacts.Artifact]) -> list[str]:
    """What the classifiers are called, no two alike."""
    if config.names:
        return list(config.names)
    folders = [Path(each.manifest["config"]["classifier"]).name for each in runs]
    return [name if folders.count(name) == 1 else f"{name} {place}" for place, name in enumerate(folders, start=1)]


class Comparing:
    """Matches on one half of each class, measures on the other, then sums up."""

    def __init__(
        self,
        config: Config,
        writer: artifacts.Writer,
        runs: Sequence[artifacts.Artifact],
        sweeps: Sequence[artifacts.Artifact],
        flips: Flips | None,
        names: list[str],
    ):
        self.config, self.writer, self.names = config, writer, names
        self.samples = samples.Samples(runs, config.split)
        self.starts, self.groups = self.samples.starts, self.samples.groups
        self.flips = flips
        self.effects = Effects(sweeps, config.seed, config.level) if sweeps else None
        classes = len(self.groups)
        # of every draw, how often each class is in it
        self.weight = self._rng(0).multinomial(classes, np.full(classes, 1 / classes), config.draws).astype(np.float64)

    def _rng(self, *what: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, *what])

    def run(self) -> None:
        """Everything; of several processes each does the same.

        Partners are noted once they are found: a comparison that was killed after that measures them alone.
        """
        with progress("samples", 2 * self.samples.count) as advance:
            correlation = self._matching(advance)
            directions = self._directions(correlation)
            del correlation
            sums, alike = self._measure(directions, advance)
        found = matching.agreement(
            sums, np.sign(np.concatenate([each.found for each in directions])), self.config.level
        )
        self._finish(directions, found, {"within classes": alike, "all": self._mixed()})

    def _matching(self, advance: Any) -> np.ndarray | None:
        """Correlations within classes over the first half of each; None where partners are known already."""
        if (noted := self.writer.done("partners")) is not None:
            self.samples.tally.add(noted)
            advance(sum(group["accepted"] // 2 for group in self.groups))
            return None
        within = matching.WithinClasses(int(self.starts[-1]))
        for group, _, x in self.samples.blocks(0):
            within.add(x, group["label"])
            advance(len(x))
        return within.correlations()

    def _directions(self, correlation: np.ndarray | None) -> list[Direction]:
        """Of every two networks, and of each with itself, each unit's partner."""
        networks = len(self.samples.units)
        ways = [(a, b) for a in range(networks) for b in range(networks)]
        if correlation is not None:
            found = []
            for a, b in ways:
                part = correlation[self.starts[a] : self.starts[a + 1], self.starts[b] : self.starts[b + 1]]
                found.append(matching.strongest(part, itself=a == b))
            self._put("partner", np.concatenate([each.unit for each in found]).astype(np.int32))
            self._put(
                "matched_by", np.concatenate([each.r for each in found]).astype(np.float32),
                long_name="correlation within classes on the half that matched them",
            )  # fmt: skip
            tally = self.samples.tally
            self.writer.mark("partners", {"count": tally.count, "named": tally.named})
        ends = np.cumsum([self.samples.units[a] for a, _ in ways])[:-1]
        group = self.writer.group
        read = [np.split(np.asarray(group[name][...]), ends) for name in ("partner", "matched_by")]
        return [Direction(a, b, np.arange(len(unit)), unit, r) for (a, b), unit, r in zip(ways, *read, strict=True)]

    def _put(self, name: str, values: np.ndarray, **attributes: Any) -> None:
        self.writer.put(name, ("match",), values, **attributes)

    def _measure(self, directions: Sequence[Direction], advance: Any) -> tuple[matching.PairSums, cka.Hsic]:
        """Sums of the matched pairs over the other half, and the similarity within classes."""
        config = self.config
        first = np.concatenate([self.starts[each.network] + each.unit for each in directions])
        second = np.concatenate([self.starts[each.other] + np.maximum(each.partner, 0) for each in directions])
        sums = matching.PairSums(int(self.starts[-1]), first, second, config.draws, config.shuffles)
        alike = cka.empty(len(self.samples.units), config.draws, config.shuffles)
        places = {group["label"]: place for place, group in enumerate(self.groups)}
        for group, number, x in self.samples.blocks(1):
            weight, named = self.weight[:, places[group["label"]]], (group["label"] + 1, number)
            sums.add(x, weight, self._rng(1, *named))
            if len(x) >= cka.LEAST:
                drawn = weight * self._rng(3, *named).poisson(1.0, config.draws)
                alike = cka.add(alike, self.samples.apart(x), drawn, self._rng(2, *named))
            advance(len(x))
        return sums, alike

    def _mixed(self) -> cka.Hsic:
        """Similarity over samples of all classes together, of a number that does not grow."""
        config = self.config
        rows = np.concatenate([np.arange(g["first_row"], g["first_row"] + g["accepted"]) for g in self.groups])
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MIXED)).round().astype(int))]
        order = self._rng(4).permutation(len(rows))
        alike = cka.empty(len(self.samples.units), config.draws, config.shuffles)
        # all at once: they lie all over the stored chunks
        x, good = self.samples.read(rows, counted=frozenset())  # they were counted by halves
        for number, some in enumerate(np.array_split(order, max(1, len(rows) // samples.BLOCK))):
            mine = x[np.sort(some)][good[np.sort(some)]]
            if len(mine) >= cka.LEAST:
                rng = self._rng(5, number)
                alike = cka.add(alike, self.samples.apart(mine), rng.poisson(1.0, config.draws).astype(np.float64), rng)
        return alike

    def _finish(self, directions: Sequence[Direction], found: matching.Agreement, alike: dict[str, cka.Hsic]) -> None:
        put, lengths = self.writer.put, [len(each.unit) for each in directions]
        ends = np.concatenate([[0], np.cumsum(lengths)])
        kinds, adjusted, rows, lines = [], [], [], []
        use = [] if self.flips is None else [self.flips.use_of_units(each) for each in range(len(self.names))]
        partners = {(each.network, each.other): each.partner for each in directions}
        effects = [
            {} if self.effects is None else self.effects.of((each.network, each.other), each.unit, each.partner)
            for each in directions
        ]
        for number, each in enumerate(directions):
            part = slice(ends[number], ends[number + 1])
            mine = matching.Agreement(found.r[part], found.low[part], found.high[part], found.shuffled[:, part])
            by_chance = _number(matching.chance(mine.shuffled, self.config.level))
            q = np.asarray(selectivity.benjamini_hochberg(jnp.asarray(matching.p_values(mine), jnp.float32)))
            kind = matching.decide(mine, self.config.least, q, 1 - self.config.level)
            both = matching.mutual(each.partner, partners[each.other, each.network])
            kinds.append(kind)
            adjusted.append(q)
            lines.append(both)
            counted = {name: int((kind == code).sum()) for code, name in enumerate(matching.KINDS)}
            rows.append({
                "network": self.names[each.network], "other": self.names[each.other], **counted, "chance": by_chance,
                "mutual": int((both & (kind == matching.SHARED)).sum()),
                "median": float(np.nanmedian(mine.r)) if np.isfinite(mine.r).any() else None,
                **self._effects(each, kind, effects[number]), **(used(use[each.network], kind) if use else {}),
            })  # fmt: skip
        text = np.array(self.names, object)
        put("network", ("match",), np.repeat(text[[each.network for each in directions]], lengths))
        put("other", ("match",), np.repeat(text[[each.other for each in directions]], lengths))
        put("unit", ("match",), np.concatenate([each.unit for each in directions]).astype(np.int32))
        for name, values, what in (
            ("r", np.sign(np.concatenate([each.found for each in directions])) * found.r, "the same on the other half"),
            ("agreement", found.r, "the same, > 0 where it has the sign of the match"),
            ("low", found.low, "low end of its interval"), ("high", found.high, "high end of its interval"),
            ("q", np.concatenate(adjusted), "chance that samples in random order agree as well, adjusted over units"),
            ("shuffled", found.shuffled[0], "what one shuffle within classes gives"),
            *((name, np.concatenate([each[name] for each in effects]), what) for name, what in (
                ("effect_cosine", "cosine of the two units' effects in the image"),
                ("effect_low", "low end of its interval"), ("effect_high", "high end of its interval"),
            ) if self.effects is not None),
        ):  # fmt: skip
            put(name, ("match",), values.astype(np.float32), long_name=what)
        if use:
            shares = np.concatenate([use[each.network] for each in directions]).astype(np.float32)
            put(
                "used",
                ("match",),
                shares,
                long_name="the unit's share of its network's moves to other classes, squared",
            )
        if self.effects is not None:
            nearest = np.concatenate([each["nearest"] for each in effects]).astype(np.int32)
            put("nearest_by_effect", ("match",), nearest, long_name="unit of the other that does most nearly the same")
        put("kind", ("match",), np.concatenate(kinds).astype(np.int8), meanings="0 shared 1 private 2 undecided 3 dead")
        put("mutual", ("match",), np.concatenate(lines), long_name="each is the other's partner")
        summary = {
            "networks": self.names, "units": self.samples.units, "samples": self.samples.count,
            "classes_compared": len(self.groups), "split": self.config.split, "least": self.config.least,
            "level": self.config.level, "rows": rows, "similarity": self._similarities(alike),
            **({} if self.flips is None else {"flips": self.flips.store(self.writer, self.names, self.config)}),
            **self.samples.tally.summary(),
        }  # fmt: skip
        self.writer.finish(summary)
        self.samples.tally.print_summary()
        _tell(summary)

    def _similarities(self, alike: dict[str, cka.Hsic]) -> list[dict[str, Any]]:
        made = []
        for scope, sums in alike.items():
            found = cka.similarity(sums, self.config.level)
            for a in range(len(self.names)):
                for b in range(a + 1, len(self.names)):
                    numbers = {name: _number(values[a, b]) for name, values in found._asdict().items()}
                    made.append({"network": self.names[a], "other": self.names[b], "scope": scope, **numbers})
        return made

    def _effects(self, direction: Direction, kind: np.ndarray, found: dict[str, Any]) -> dict[str, Any]:
        """For the summary: whether shared units do the same in the image."""
        if self.effects is None:
            return {}
        rng = self._rng(6, direction.network, direction.other)
        told = self.effects.together(
            found, kind == matching.SHARED, np.sign(direction.found), rng, 10 * self.config.shuffles
        )
        return {name: _number(value) for name, value in told.items()}


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _tell(summary: dict[str, Any]) -> None:
    for row in summary["rows"]:
        if row["network"] != row["other"]:
            print(
                f"{row['network']} beside {row['other']}: {row['shared']} units shared, {row['private']} private, "
                f"{row['undecided']} undecided, {row['dead']} never vary"
            )
    for row in summary["similarity"]:
        if row["value"] is not None:
            print(
                f"linear CKA of {row['network']} and {row['other']}, {row['scope']}: {row['value']:.3f}"
                + ("" if row["low"] is None else f" ({row['low']:.3f} … {row['high']:.3f})")
            )
    for row in summary.get("flips", []):
        if row["cosine_w_mean"] is not None:
            low, high, least, most = (row[f"cosine_w_{end}"] for end in ("low", "high", "chance_low", "chance_high"))
            print(
                f"{row['both']} counterfactuals of {row['network']} and {row['other']}: mean cosine of the moves "
                f"in w {row['cosine_w_mean']:.3f} ({low:.3f} … {high:.3f}; in random order {least:.3f} … {most:.3f})"
            )

"""pairs: sample z → w → image → r, and keep what the classifier recognises."""

import dataclasses
import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from linkjax import numerics
from linkjax.analysis import finite
from linkjax.analysis import pairs as analysis
from linkjax.config import PathName, positive
from linkjax.devices import drawing, parallel
from linkjax.devices.progress import progress
from linkjax.errors import InputError, LinkjaxError
from linkjax.ops.chunked import share_of
from linkjax.outside import class_map
from linkjax.stages import Facts, Workload, inputs
from linkjax.stages.pairs import arrays, of_latents
from linkjax.storage import artifacts
from linkjax.storage import manifest as manifests

_CHUNK = 8  # batches between two notes of what is done


@dataclasses.dataclass(frozen=True)
class Config:
    """Sample latents, draw their images, and keep (w, r) of those the classifier recognises."""

    stage: ClassVar[str] = "pairs"  # the table of its settings in a TOML

    out: PathName
    """Folder to make."""
    generator: PathName
    """Folder of `linkjax convert generator`."""
    classifier: PathName
    """Folder of `linkjax convert classifier`."""
    latents: PathName | None = None
    """Folder of other pairs: instead of new samples, their stored latents are drawn again and shown to this classifier,
    row by row; classes, counts, truncation, seeds and what was kept are theirs."""
    classes: tuple[int, ...] | Literal["all"] = "all"
    """Class ids to sample (ImageNet's 0 … 999 for the published models)."""
    class_names: tuple[str, ...] = ()
    """Their names, in the same order; numbers if not given."""
    class_map: PathName | Literal["same"] | None = None
    """What the classifier calls these classes: a file of lines GENERATOR,CLASSIFIER (ids, or names where known) or a
    JSON table; same: both have one list. None: by name where both have names, else one list if both are as long."""
    n_train: int = 5000
    """Training pairs per class (paper: 5000)."""
    n_val: int = 500
    """Validation pairs per class, for choosing alpha."""
    n_test: int = 500
    """Test pairs per class, for evaluating."""
    keep: Literal["recognised", "all"] = "recognised"
    """Keep a sample if the classifier's top class is its class, or always."""
    truncation: float = 0.7
    """ψ towards the class's mean w, 0 … 1 (paper: 0.7)."""
    seed: int = 0
    """Random seed."""
    seeding: Literal["named", "original"] = "named"
    """z from (seed, class, sample id), or row by row from NumPy's RandomState as in the original program."""
    max_attempts: int = 20
    """Candidates drawn per wanted pair before a class is given up."""
    precision: numerics.Precision = "float32"
    """What images are drawn in; float32 is the reference. Artifacts used together must have the same precision."""
    nonfinite: finite.Policy = "exclude"
    """Candidates with numbers that are not finite: left out, counted and named, or the end of the run."""
    batch_size: int = 16
    """Images drawn at once, over all devices; results do not depend on it."""

    def __post_init__(self) -> None:
        positive(n_train=self.n_train, max_attempts=self.max_attempts, batch_size=self.batch_size)
        for name, value in (("n-val", self.n_val), ("n-test", self.n_test), ("seed", self.seed)):
            if value < 0:
                raise InputError(f"{name}: expected 0 or more, found {value}")
        if not 0 <= self.truncation <= 1:
            raise InputError(f"truncation: expected a number from 0 to 1, found {self.truncation}")
        if isinstance(self.classes, tuple):
            if not self.classes or len(set(self.classes)) != len(self.classes):
                raise InputError(f"classes: expected one or more different class ids, found {list(self.classes)}")
            twice = [name for name, times in Counter(self.class_names).items() if times > 1]
            if twice:
                raise InputError(
                    f"class-names: expected different names, found {twice[0]!r} twice; photographs are told apart by "
                    "them, so give such classes different ones (ImageNet's crane, the bird and the machine)"
                )
            if self.class_names and len(self.class_names) != len(self.classes):
                raise InputError(
                    f"class-names: expected one name for each of the {len(self.classes)} classes, "
                    f"found {len(self.class_names)}"
                )


@dataclasses.dataclass
class _Group:
    """The samples wanted of one class for one split: a contiguous run of rows, filled in the order of sample ids."""

    split: str
    label: int
    first_row: int
    wanted: int
    accepted: int = 0
    tried: int = 0
    nonfinite: int = 0

    def next_wave(self, max_attempts: int) -> range:
        """Sample ids to try next, from how many were accepted so far; never more than the budget."""
        missing = self.wanted - self.accepted
        if self.tried == 0:
            count = missing
        else:
            # 10 % more than the rate so far asks for, so that few waves are needed; at least doubling while none came
            count = math.ceil(1.1 * missing * self.tried / self.accepted) if self.accepted else 2 * self.tried
        start = analysis.SPLITS[self.split] + self.tried
        return range(start, start + min(count, self.wanted * max_attempts - self.tried))

    def count(self, accepted: int, tried: int, nonfinite: int) -> None:
        """Add what a chunk of candidates gave."""
        self.accepted += accepted
        self.tried += tried
        self.nonfinite += nonfinite


def workload(config: Config, facts: Facts) -> Workload:
    """Images and bytes; how many candidates a class needs is known only afterwards."""
    if config.latents is not None:
        wanted = most = of_latents.count(config.latents)
    else:
        wanted = facts.classes * (config.n_train + config.n_val + config.n_test)
        most = wanted * (config.max_attempts if config.keep == "recognised" else 1)
    row = 4 * (facts.classifier.num_units + facts.generator.w_dim)
    return Workload(wanted, most, wanted * row, config.batch_size * _CHUNK * row, programs=1)


@numerics.float32_default()
def run(config: Config) -> None:
    """Write the pairs: arrays `w`, `r`, `label`, `sample_id`, `split`, `prediction`, `probability` by sample."""
    generator = inputs.model(config.generator, "generator", config.precision)
    classifier = inputs.model(config.classifier, "classifier")
    if config.latents is not None:
        of_latents.run(config, generator, classifier)
        return
    sampled = labels(config, generator.model.spec, classifier.model.spec)
    seen_as = seen(config, sampled, generator.model.spec, classifier.model.spec)
    weights = {"generator": generator.sha256, "classifier": classifier.sha256}
    mapped = {} if config.class_map is None else {"class_map": manifests.fingerprint([sampled, seen_as])}
    with artifacts.Writer(
        Path(config.out), "pairs", config, weights, mapped, free=("batch_size", "max_attempts", "nonfinite")
    ) as writer:
        groups = _groups(config, sampled)
        total = sum(group.wanted for group in groups)
        units, w_dim = classifier.model.spec.num_units, generator.model.spec.w_dim
        arrays.make_arrays(writer, total, units, w_dim)
        with progress("pairs kept", total) as advance:
            called = dict(zip(sampled, seen_as, strict=True))
            sampler = _Sampler(config, writer, groups, generator.model, classifier.model, called)
            sampler.fill(advance)
        named = arrays.called(config.class_names, sampled, seen_as, classifier.model.spec)
        summary = {**named, **_summary(groups, units, w_dim), **sampler.tally.summary()}
        names = [group.split for group in groups]
        writer.put("split", ("sample",), np.repeat(np.array(names, object), [group.wanted for group in groups]))
        writer.finish(summary)
    sampler.tally.print_summary()
    print(f"{total} pairs kept, acceptance {100 * summary['acceptance']:.1f} % of the candidates drawn")


class _Sampler:
    """Draws candidates in waves until every group has what it wants.

    A wave is planned from the counts at its start alone, and the accepted are kept in the order of their sample ids, so
    the pairs do not depend on batch size, devices, or where a run was killed and resumed.
    """

    def __init__(
        self,
        config: Config,
        writer: artifacts.Writer,
        groups: list[_Group],
        generator: Any,
        classifier: Any,
        called: dict[int, int],
    ):
        self.config, self.writer, self.groups, self.called = config, writer, groups, called
        self.mesh = parallel.mesh()
        self.share = share_of(generator.spec.resolution)
        self.size = parallel.round_up(config.batch_size, self.mesh)
        # a resumed run keeps the chunks of the first, on however many devices
        self.chunk = writer.done("candidates per chunk") or self.size * _CHUNK
        writer.mark("candidates per chunk", self.chunk)
        self.models = parallel.replicate((generator, classifier), self.mesh)
        self.z_dim, self.headed = generator.spec.z_dim, bool(classifier.spec.num_classes)
        self.tally = finite.Tally(config.nonfinite, "candidates")

    def fill(self, advance: Callable[[int], None]) -> None:
        """Run waves to the end; a killed run repeats at most one chunk of batches."""
        for wave in itertools.count():
            plan = self._plan()
            if not plan:
                return
            for start in range(0, len(plan), self.chunk):
                name = f"{wave}:{start}"
                note = self.writer.done(name)
                if note is None:
                    note = self._draw_chunk(plan[start : start + self.chunk])
                    self.writer.mark(name, note)
                for number, accepted, tried, nonfinite in note["groups"]:
                    self.groups[number].count(accepted, tried, nonfinite)
                self.tally.add(note["nonfinite"])
                advance(sum(accepted for _, accepted, _, _ in note["groups"]))

    def _plan(self) -> list[tuple[int, int]]:
        """The candidates of the next wave, as (group, sample id).

        Raises: LinkjaxError if a class has used up its candidates.
        """
        plan = []
        for number, group in enumerate(self.groups):
            if group.accepted < group.wanted:
                ids = group.next_wave(self.config.max_attempts)
                if not ids:
                    raise _hopeless(group, self.config)
                plan += [(number, sample_id) for sample_id in ids]
        return plan

    def _draw_chunk(self, plan: list[tuple[int, int]]) -> dict[str, Any]:
        """Draw a chunk of candidates and store the accepted: (group, accepted, tried, non-finite) of each group."""
        items = self._items(plan)
        drawn, label = self._draw(items), items["label"]
        number, ids = np.array([each for each, _ in plan]), np.array([each for _, each in plan], np.int64)
        fields = {**drawn._asdict(), "label": label, "sample_id": ids}
        good = finite.rows(drawn.w, drawn.r)
        if self.headed:  # scores that are not finite recognise nothing
            good &= finite.rows(drawn.probability)
        called = np.array([self.called[each] for each in label.tolist()])
        keep = good & (drawn.prediction == called) if self.config.keep == "recognised" else good
        note, taken, rows = [], [], []
        for each in np.unique(number):
            group = self.groups[each]
            mine = np.flatnonzero(number == each)
            accepted = mine[keep[mine]][: group.wanted - group.accepted]
            taken.append(accepted)
            rows.append(group.first_row + group.accepted + np.arange(len(accepted)))
            note.append((int(each), len(accepted), len(mine), int((~good[mine]).sum())))
        chosen, places = np.concatenate(taken), np.concatenate(rows)  # groups lie in order, so places ascend
        for name, values in fields.items():
            self.writer.group[name].put_rows(places, values[chosen])
        return {"groups": note, "nonfinite": finite.note(good, label, ids)}

    def _draw(self, items: dict[str, np.ndarray]) -> analysis.Pairs:
        """Pairs of candidates, in programs that other stages run too; at most _CHUNK batches, never images."""
        size, mesh, share = self.size, self.mesh, self.share
        latents = functools.partial(analysis.latents, truncation=self.config.truncation)
        w = parallel.map_items(latents, self.models[0], items, size, mesh, share=share)
        seen = drawing.reencoded(self.models, w, size, mesh)
        if "logits" not in seen:
            return analysis.Pairs(w, seen["r"], *map(np.asarray, analysis.unrecognised(len(w))))
        logits = {"logits": seen["logits"]}
        return analysis.Pairs(
            w, seen["r"], *parallel.map_items(analysis.recognised, (), logits, size, mesh, share=share)
        )

    def _items(self, plan: list[tuple[int, int]]) -> dict[str, np.ndarray]:
        label = np.array([self.groups[number].label for number, _ in plan], np.int32)
        ids = np.array([sample_id for _, sample_id in plan], np.int64)
        if self.config.seeding == "original":
            return {"z": analysis.original_latents(self.config.seed, ids, self.z_dim), "label": label}
        return {"z": analysis.named_latents(self.config.seed, label, ids, self.z_dim), "label": label}


def labels(config: Config, generator: Any, classifier: Any) -> tuple[int, ...]:
    """The classes to sample, checked against both models; (−1,) for an unconditional generator."""
    if config.latents is not None:
        return of_latents.classes(config.latents)
    if config.keep == "recognised" and not (classifier.num_classes and generator.num_classes):
        which = "this classifier has no class head" if not classifier.num_classes else "this generator has no classes"
        raise InputError(
            f"keep: 'recognised' compares the classifier's class with the generator's, but {which}; add --keep all"
        )
    if not generator.num_classes:
        if config.classes != "all":
            raise InputError("classes: this generator is unconditional and takes none; leave --classes out")
        return (-1,)
    known = generator.num_classes
    wanted = tuple(range(known)) if config.classes == "all" else config.classes
    outside = [label for label in wanted if not 0 <= label < known]
    if outside:
        raise InputError(f"classes: expected ids from 0 to {known - 1}, which the generator has, found {outside[:5]}")
    return wanted


def seen(config: Config, sampled: tuple[int, ...], generator: Any, classifier: Any) -> tuple[int, ...]:
    """What the classifier calls the sampled classes; −1 where it has no such class, or it is not known.

    Raises: InputError if the map is unusable, or lacks a class that is to be recognised.
    """
    return class_map.of(
        sampled,
        config.class_names,
        generator.num_classes,
        classifier.class_names,
        classifier.num_classes,
        config.class_map,
        needed=config.keep == "recognised",
    )


def _groups(config: Config, labels: tuple[int, ...]) -> list[_Group]:
    groups, row = [], 0
    for split, wanted in (("train", config.n_train), ("val", config.n_val), ("test", config.n_test)):
        for label in labels:
            if wanted:
                groups.append(_Group(split, label, row, wanted))
                row += wanted
    return groups


def _hopeless(group: _Group, config: Config) -> LinkjaxError:
    return LinkjaxError(
        f"class {group.label}, split {group.split}: the classifier recognised {group.accepted} of {group.tried} "
        f"candidates, {group.wanted} are wanted; leave this class out, ask for fewer, raise --max-attempts "
        f"(now {config.max_attempts}), or keep everything with --keep all"
        + (f" ({group.nonfinite} candidates were not finite)" if group.nonfinite else "")
    )


def _summary(groups: list[_Group], units: int, w_dim: int) -> dict[str, Any]:
    return {
        "units": units,
        "w_dim": w_dim,
        "splits": {
            split: [min(rows), max(rows)]
            for split in analysis.SPLITS
            if (rows := [row for g in groups if g.split == split for row in (g.first_row, g.first_row + g.wanted)])
        },
        "groups": [dataclasses.asdict(group) for group in groups],
        "acceptance": sum(g.accepted for g in groups) / sum(g.tried for g in groups),
    }

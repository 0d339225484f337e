"""What the demo runs, in order, and with which settings."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from linkjax.demo.bundle import Bundle
from linkjax.demo.factors import BREEDS
from linkjax.storage import loading

_BATCH = 50


class Step(NamedTuple):
    """A stage of the pipeline, or a piece of the demo's own, and its settings; `out` is the folder it makes."""

    title: str
    name: str
    settings: dict[str, Any]


class Sizes(NamedTuple):
    """How much of everything: the price of the demo."""

    pairs: dict[str, tuple[int, int, int]]  # of each breed: to fit, to choose, to test
    random: int = 12  # random directions of a sweep, in either space
    kernel_units: int = 10  # units of a classifier that are raised along the kernel too
    searches: int = 2  # of a flip of the class, for each pair of breeds
    search_steps: int = 60


FULL = Sizes({"planted": (70, 12, 5), "breeds": (120, 15, 5)})
#: For a first look, and for tests.
FAST = Sizes({"planted": (30, 5, 5)}, random=6, kernel_units=5)


def plan(folder: Path, bundle: Bundle, seed: int, fast: bool) -> list[Step]:
    """The steps: planted units first, whose truth is known, then `breeds`, then the page."""
    made = _Plan(folder, bundle, seed, FAST if fast else FULL)
    planted = "" if fast else "planted-"  # before the names of its folders
    parts = {"segmenter": bundle.path("segmenter")}
    if not fast:
        made.pictures()
    linked = made.linked("planted", planted)
    made.raised("planted", planted, {**linked, **parts}, made.carrying())
    made.scored(planted, {**linked, **parts}, fast)
    main, chosen = ("planted", linked) if fast else ("breeds", made.linked("breeds", ""))
    made.evaluated(main, chosen, fast)
    if not fast:
        made.screened(main, {**chosen, **parts})
        made.raised(main, "", {**chosen, **parts}, tuple(range(loading.load(bundle.path(main)).spec.num_units)))
    made.flipped(main, {**chosen, **parts}, fast)
    if not fast:
        made.atlases()
    made.page(fast)
    return made.steps


class _Plan:
    def __init__(self, folder: Path, bundle: Bundle, seed: int, sizes: Sizes):
        self.folder, self.bundle, self.seed, self.sizes = folder, bundle, seed, sizes
        self.steps: list[Step] = []

    def out(self, name: str) -> str:
        return str(self.folder / name)

    def add(self, title: str, name: str, out: str, /, **settings: Any) -> str:
        """A step; returns the folder it makes."""
        self.steps.append(Step(title, name, {**settings, "out": self.out(out)}))
        return self.out(out)

    def alike(self) -> dict[str, Any]:
        """What sweeps have in common: of equal shapes, those of one classifier are one compiled program.

        Of the values that a unit takes in a breed the ends are drawn, which decide the slopes.
        """
        return {"samples": 1, "steps": 2, "low": 2.5, "high": 97.5, "random_directions": self.sizes.random}

    def seen(self) -> dict[str, str]:
        """The embedder is shown the images of sweeps, for a fortieth of what drawing costs.

        Those along the kernel too, by which nothing is named, so that they are the same program.
        """
        return {} if self.bundle.embedder is None else {"embedder": self.bundle.embedder}

    def carrying(self) -> tuple[int, ...]:
        """Planted units that carry factors."""
        return tuple(row["unit"] for row in self.bundle.units if row["kind"] != "noise")

    def pictures(self) -> None:
        """Something to look at while the rest is made."""
        drawing = {"generator": self.bundle.path("generator"), "batch_size": _BATCH, "truncation": 1.0}
        self.add("pictures of the generator", "segment", "pictures", **drawing, seed=self.seed, draw=30)

    def linked(self, classifier: str, prefix: str) -> dict[str, Any]:
        """Pairs and a link; returns what the stages after them are told."""
        models = {"generator": self.bundle.path("generator"), "classifier": self.bundle.path(classifier)}
        counts = dict(zip(("n_train", "n_val", "n_test"), self.sizes.pairs[classifier], strict=True))
        pairs = self.add(
            f"{classifier}: pairs", "pairs", f"{prefix}pairs", **models, **counts, class_names=BREEDS,
            classes=tuple(range(len(BREEDS))), truncation=1.0, batch_size=_BATCH, seed=self.seed,
        )  # fmt: skip
        alphas = tuple(float(alpha) for alpha in np.logspace(-3, 3, 13))
        link = self.add(f"{classifier}: link", "link", f"{prefix}link", pairs=pairs, method="ridge", alphas=alphas)
        return {**models, "pairs": pairs, "link": link, "batch_size": _BATCH}

    def raised(self, classifier: str, prefix: str, linked: dict[str, Any], beside: tuple[int, ...]) -> None:
        """Every unit raised along its steering direction, some along the kernel too; what is significant.

        Args:
          beside: units of which some, evenly spread, are raised along the kernel.
        """
        spread = np.linspace(0, len(beside) - 1, min(self.sizes.kernel_units, len(beside))).round().astype(int)
        beside = tuple(beside[place] for place in spread)
        planted = classifier == "planted"
        steer, kernel = {"picture_units": 8}, {"picture_units": 0, "units": beside}
        for directions, after, settings in (("steer", "", steer), ("kernel", "-kernel", kernel)):
            swept = {**linked, **settings, **self.seen(), **self.alike(), "directions": directions}
            title = f"{classifier}: sweep along {'the kernel' if after else 'steering directions'}"
            sweep = self.add(title, "sweep", f"{prefix}sweep{after}", **swept)
            ablation = {} if not planted and not after else {"ablation": False}
            self.add(f"{classifier}: select", "select", f"{prefix}selection{after}", sweep=sweep, **ablation)
        found = {name: self.out(prefix + name) for name in ("sweep", "selection")}
        beside_it = {f"kernel_{name}": f"{path}-kernel" for name, path in found.items()}
        self.add(
            f"{classifier}: both directions side by side", "compare", f"{prefix}comparison", classifier=classifier,
            pictures=9 if planted else 6, **found, **beside_it,
        )  # fmt: skip
        self.named(classifier, prefix)

    def named(self, classifier: str, prefix: str) -> None:
        """Words for the units by what raising them adds: from the sweep alone, no picture is drawn."""
        if self.bundle.embedder is not None:
            words = {"embedder": self.bundle.embedder, "images": 0}
            self.add(f"{classifier}: name", "name", f"{prefix}names", sweep=self.out(f"{prefix}sweep"), **words)

    def scored(self, prefix: str, linked: dict[str, Any], fast: bool) -> None:
        """The planted units against the truth, and what one who knows the factors would reach."""
        known = {name: linked[name] for name in ("pairs", "link")}
        found = {name: self.out(prefix + name) for name in ("sweep", "selection")}
        if not fast:
            oracle = self.add("planted: directions of one who knows", "oracle", "oracle-link", **known)
            alone = {"picture_units": 0, "units": self.carrying(), **self.seen()}
            swept = {**linked, **alone, **self.alike(), "link": oracle, "directions": "steer"}
            found["oracle"] = self.add("planted: sweep along those", "sweep", "oracle-sweep", **swept)
        self.add("planted: recovery", "recovery", "recovery", **found, **known)

    def evaluated(self, classifier: str, linked: dict[str, Any], fast: bool) -> None:
        """How good the link is, and how straight."""
        self.add(f"{classifier}: evaluate", "evaluate", "evaluation", **linked, shuffled_samples=50, pictures=10)
        if not fast:
            network = {"method": "mlp", "hidden": (64,), "epochs": 30, "seed": self.seed}
            other = self.add(
                f"{classifier}: a small network as link", "link", "mlp-link", pairs=linked["pairs"], **network
            )
            walked = {"other_link": other, "paths": 10, "steps": 5}
            self.add(f"{classifier}: congruence", "congruence", "congruence", **linked, **walked)

    def screened(self, classifier: str, linked: dict[str, Any]) -> None:
        """First-order effect of every unit, from derivatives."""
        small = {"samples": 1, "batch_size": 10, "directions": "steer"}
        self.add(f"{classifier}: screen", "screen", "screening", **{**linked, **small})

    def flipped(self, classifier: str, linked: dict[str, Any], fast: bool) -> None:
        """Counterfactuals between every two of a few breeds, with samples enough to speak of their boundary."""
        few = (0, 1, 2, 3)
        methods = ("original",) if fast else ("original", "closed_form_whitened", "head_l2")
        self.add(
            f"{classifier}: counterfactual", "counterfactual", "counterfactual", **linked, origins=few, targets=few,
            samples=self.sizes.searches, max_steps=self.sizes.search_steps, path_points=5, path_beyond=2,
            check_every=5, step_size=0.1, start="zero", pictures=9, methods=methods,
        )  # fmt: skip

    def atlases(self) -> None:
        """Every unit of either classifier, to search and look at."""
        self.add("breeds: atlas", "atlas", "atlas", run=str(self.folder), title="linkjax demo: breeds")
        planted = {"sweep": self.out("planted-sweep"), "title": "linkjax demo: planted units"}
        self.add("planted: atlas", "atlas", "atlas-planted", run=str(self.folder), **planted)

    def page(self, fast: bool) -> None:
        """The report on the classifier at hand, and on the planted units."""
        names = ["pairs", "link", "evaluation", "sweep", "selection", "counterfactual", "recovery", "comparison"]
        if not fast:
            names += ["congruence", "screening"]
        results = {name: self.out(name) for name in names}
        if not fast:
            results["planted_comparison"] = self.out("planted-comparison")
        self.add("report", "report", "report", **results, title="linkjax demo")

"""Units raised along steering directions, their own remainders and local steps: what is obtained, and what is found.

    python scripts/methods/compare_own_and_local.py [--classifiers breeds planted] [--ways steer own local] [--units 40]
        [--seeds 201] [--fit 0] [--json docs/figures/own_and_local.json]

Animals are new ones, one of each breed; values are the ends of what each breed shows (2.5th and 97.5th percentile),
with 12 random directions in each space, made as the directions are. Tests are those of `linkjax select`, at 5 % false
discoveries. About 8000 images of 64 × 64: three minutes on an idle core.

The links are the bundle's, or with `--fit 70` one of 70 new animals of each breed for every seed, by the same λ. Of
planted units, along steering directions and own remainders, what is called is held against the renderer
(`linkjax.demo.truth`), and what is not true against the directions of one who knows the factors, from the same animals:
80 CPU-seconds a seed for both ways. Of own remainders the truth is each unit's without the directions that the link
finds shared; beside it, "by the factors' own", without those that the true steps share, and "by the steps", of steering
directions. The file keeps figures that are not measured again.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import linkjax
from linkjax.analysis import pairs
from linkjax.analysis.links import steering
from linkjax.analysis.units.shared_directions import shared_directions
from linkjax.analysis.units.sweep_table import of_sweep
from linkjax.demo import oracle, score, truth
from linkjax.demo.bundle import open_bundle
from linkjax.demo.factors import Z_DIM, factors_of
from linkjax.devices import compile_cache
from linkjax.models.link import with_steering
from linkjax.stages import inputs
from linkjax.study.starts import map_study

_WAYS = ("steer", "own", "local")
_FDR = 0.05
_MOST = ", where half of the step or more is left"


def told(swept: xr.Dataset, table: xr.Dataset) -> dict[str, Any]:
    """Summary of a sweep and its tests."""
    live = np.flatnonzero(swept["flag"].values == 0)
    swept = swept.isel(unit=live)
    asked, obtained = (np.diff(swept[name].values, axis=2)[..., 0] for name in ("value", "obtained"))
    own = obtained[asked != 0] / asked[asked != 0]
    fidelity = swept["fidelity"].values.astype(np.float64)
    response = np.nan_to_num(swept["response"].values.astype(np.float64))
    response[np.arange(len(live)), swept["unit"].values] = 0.0
    side = np.sqrt(np.sum(response**2, axis=1) / (response.shape[1] - 1)) / np.maximum(np.abs(fidelity), 0.05)
    called = np.nan_to_num(table["q"].values, nan=1.0) <= _FDR
    found = {
        "units with a direction": len(live), "fidelity, median": np.median(fidelity),
        "within 0.8 ... 1.2": np.mean(np.abs(fidelity - 1) <= 0.2), "picture: error of own change, median":
        np.median(np.abs(own - 1)), "side effects per own change": np.median(side),
        "length": np.median(swept["step_mahalanobis"].values), "still": np.mean(asked == 0),
        "units with a significant effect": int(called.any(axis=(1, 2)).sum()), "significant effects": int(called.sum()),
    }  # fmt: skip
    return {name: round(float(value), 3) for name, value in found.items()}


def strongest(table: xr.Dataset) -> dict[int, tuple[int, int]]:
    """By unit the place of its strongest effect, of those that are significant."""
    size = np.abs(table["effect"].values / table["spread"].values)
    size = np.where(np.nan_to_num(table["q"].values, nan=1.0) <= _FDR, np.nan_to_num(size), 0.0)
    places = {}
    for unit, rows in zip(table["unit"].values, size, strict=True):
        if rows.any():
            part, metric = np.unravel_index(np.argmax(rows), rows.shape)
            places[int(unit)] = int(part), int(metric)
    return places


@dataclasses.dataclass(frozen=True)
class Seen:
    """New animals, the same number of each breed, beside their factors."""

    factors: np.ndarray  # [n, factors]
    w: np.ndarray  # [n, w_dim]
    r: np.ndarray  # [n, units]
    label: np.ndarray  # [n]


def animals(study: linkjax.Study, seed: int, each: int) -> Seen:
    """To fit a link on, and to regress w on the factors."""
    label = np.repeat(np.arange(10, dtype=np.int32), each)
    # Numbers from those of another split on: none of the animals that are swept.
    z = pairs.named_latents(seed, label, pairs.SPLITS["val"] + np.tile(np.arange(each), 10), Z_DIM)
    drawn = map_study(pairs.draw, (study.generator, study.classifier), {"z": z, "label": label}, truncation=1.0)
    factors = np.asarray(factors_of(jnp.asarray(z), jnp.asarray(label)))
    return Seen(factors, np.asarray(drawn.w), np.asarray(drawn.r), label)


def changes(way: str, link: Any, seen: Seen, rows: Any) -> dict[str, np.ndarray]:
    """What a way truly asks of the factors, [units, factors], and of own remainders by the factors' own."""
    lam = link.spec.steer_lambda
    if way == "steer":
        return {"": truth.raising(rows, lam)}
    taken = oracle.taken_off(link, seen.factors, seen.w, seen.label)
    mine, by_own = (np.nan_to_num(truth.own_remainders(rows, lam, each)) for each in (taken, None))
    return {"": mine, ", by the factors' own": by_own, ", by the steps": truth.raising(rows, lam)}


def judged(
    swept: xr.Dataset, table: xr.Dataset, knowing: xr.Dataset, asked: dict[str, np.ndarray], factors: np.ndarray,
    left: np.ndarray, rows: Any,
) -> dict[str, Any]:  # fmt: skip
    """Effects that are called against the truth.

    Args:
      knowing: effects along the directions of one who knows.
      asked: of `changes`.
      factors: of the anchors.
      left: of all units, the share of the squared length of the step that is raised along.
    """
    swept = swept.isel(unit=np.flatnonzero(swept["flag"].values == 0))
    units = swept["unit"].values
    told_rows = [rows[unit] for unit in units]
    own = swept["r"].values[:, units]
    of_anchors = factors, swept["value"].values, own, swept["unit_std"].values[units].astype(np.float64)
    effect, spread, q = (table.sel(unit=units)[name].values.astype(np.float64) for name in ("effect", "spread", "q"))
    known = knowing["effect"].reindex(unit=units).values.astype(np.float64)
    found: dict[str, Any] = {}
    for name, each in asked.items():
        true = truth.true_effects(each[units], *of_anchors)
        counted = score.significance(told_rows, true, effect, spread, q, _FDR)
        counted |= score.shown_by_oracle(told_rows, true, effect, spread, q, _FDR, known)
        counted |= score.told_apart(told_rows, true, effect, spread)
        of_noise, of_selective = (counted[f"false_effects_of_{kind}_units"] for kind in ("noise", "selective"))
        found |= {
            f"not true{name}": of_noise + of_selective,
            f"not true, of selective units{name}": of_selective,
            f"not true, of noise units{name}": of_noise,
            f"noise units called falsely{name}": counted["false_noise_units"],
            f"sign right{name}": counted["sign_right"],
        }
        if not name:
            first = score.strongest_effects(told_rows, true, effect, spread)
            found |= {
                "not true, shown by one who knows": counted["false_effects_that_one_who_knows_shows"],
                "effects called of noise units": counted["significant_effects_of_noise_units"],
                "area under the ROC curve": counted["auc"],
                "... by the strongest effects in truth": counted["auc_of_truth"],
                "strongest effect first, or tied": first["true_effect_first_or_tied"],
            }
            of_most = np.flatnonzero(left[units] >= 0.5)
            some = [told_rows[row] for row in of_most], true[of_most], effect[of_most], spread, q[of_most], _FDR
            counted = score.significance(*some) | score.shown_by_oracle(*some, known[of_most])
            found |= {
                f"effects called{_MOST}": counted["significant_effects"],
                f"not true{_MOST}": sum(counted[f"false_effects_of_{kind}_units"] for kind in ("noise", "selective")),
                f"noise units{_MOST}": sum(row["kind"] == "noise" for row in some[0]),
            }
    return {name: round(float(value), 3) for name, value in found.items()}


def measure(classifier: str, ways: list[str], most: int, seed: int, fit: int) -> dict[str, Any]:
    """All ways of one classifier, from the same animals."""
    study = linkjax.demo_study(classifier)  # pyright: ignore[reportArgumentType]
    count = study.classifier.spec.num_units
    units = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist()
    anchors = linkjax.sample(study, jax.random.key(seed), range(10))
    settings = {"steps": 2, "low": 2.5, "high": 97.5, "random_directions": 12, "picture_units": 0, "batch_size": 50}
    planted, rows = classifier == "planted", open_bundle().units
    lam = study.link.spec.steer_lambda
    found: dict[str, Any] = {"lambda": lam}
    seen = animals(study, seed, fit or 70) if fit or planted else None
    if fit and seen is not None:
        link = linkjax.fit_link(seen.r, seen.w, "ridge", labels=seen.label, steer_lambda=lam)
        study = dataclasses.replace(study, link=link)
    first = {}
    for way in ways:
        swept = linkjax.sweep(study, anchors, units, directions=way, seed=seed, **settings)  # pyright: ignore[reportArgumentType]
        table = of_sweep(swept)
        found[way], first[way] = told(swept, table), strongest(table)
        if planted and seen is not None:
            kind = linkjax.demo_truth()["kind"].values[list(first[way])]
            noise = int((kind == "noise").sum())
            found[way] |= {"selective units found, of 20": len(kind) - noise, "noise units called, of 16": noise}
            if way != "local":
                asked = changes(way, study.link, seen, rows)
                knowing = one_who_knows(study, seen, asked[""], anchors, rows, settings)
                swept["r"] = ("sample", "unit_of_r"), anchors["r"].values
                left = inputs.shared(inputs.steered_by(study.link)).own_share if way == "own" else np.ones(count)
                found[way] |= judged(swept, table, knowing, asked, factors_at(anchors, seed), left, rows)
                if way == "own":
                    taken = oracle.taken_off(study.link, seen.factors, seen.w, seen.label)
                    found[way] |= shared(taken, lam, rows)
        elif "steer" in first:
            both = first["steer"].keys() & first[way].keys()
            found[way]["also found along steer"] = len(both)
            found[way]["of these, with the same strongest effect"] = sum(
                first["steer"][u] == first[way][u] for u in both
            )
        print(f"{classifier}, seed {seed}, {way}: {found[way]}", flush=True)
    return found


_SUMMED = (
    "significant effects", "not true", "not true, shown by one who knows", "not true, of selective units",
    "effects called of noise units", "not true, of noise units", "noise units called, of 16",
    "noise units called falsely", "selective units found, of 20", "not true, by the factors' own",
    "not true, by the steps", f"effects called{_MOST}", f"not true{_MOST}",
)  # fmt: skip


def together(seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of all seeds whose effects were held against the truth, by way, and the share that is not true."""
    found: dict[str, Any] = {}
    for way in _WAYS:
        held = [seed[way] for seed in seeds if "not true" in seed.get(way, {})]
        if held:
            sums: dict[str, Any] = {name: sum(each[name] for each in held) for name in _SUMMED if name in held[0]}
            sums["share not true"] = round(sums["not true"] / max(sums["significant effects"], 1), 4)
            sums["share not true, of noise units"] = round(
                sums["not true, of noise units"] / max(sums["effects called of noise units"], 1), 4
            )
            found[way] = {"seeds": len(held), **sums}
    return found


def factors_at(anchors: xr.Dataset, seed: int) -> np.ndarray:
    """Factors of the animals that `linkjax.sample` draws by this seed."""
    label, number = anchors["label"].values, anchors["sample_id"].values
    z = pairs.named_latents(int(jax.random.bits(jax.random.key(seed), dtype="uint32")), label, number, Z_DIM)
    return np.asarray(factors_of(jnp.asarray(z), jnp.asarray(label, jnp.int32)))


def one_who_knows(
    study: linkjax.Study, seen: Seen, asked: np.ndarray, anchors: xr.Dataset, rows: Any, settings: dict[str, Any]
) -> xr.Dataset:
    """Effects of the selective units along the true changes, w moved by its regression on the factors."""
    link, lam = study.link, study.link.spec.steer_lambda
    kept = {name: np.asarray(getattr(link, name)) for name in ("covariance", "unit_std", "back", "r2")}
    steps = oracle.directions(rows, seen.factors, seen.w, seen.label, lam, asked)
    knowing = dataclasses.replace(study, link=with_steering(link, {**kept, "steer": steps}, lam))
    carrying = [row["unit"] for row in rows if row["kind"] != "noise"]
    return of_sweep(linkjax.sweep(knowing, anchors, carrying, **{**settings, "random_directions": 0}))


def shared(taken: truth.TakenOff, lam: float, rows: Any) -> dict[str, Any]:
    """What the link finds shared beside what the true steps share."""
    mine = shared_directions(steering.spectrum(truth.within_breeds(rows)), lam)
    cosines = truth.shared_agreement(rows, lam, taken)
    return {
        "shared directions": len(taken.directions),
        "shared by the true steps": len(mine.directions),
        "cosines of the angles between them": [round(float(each), 2) for each in cosines],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classifiers", nargs="+", default=["breeds", "planted"])
    parser.add_argument("--ways", nargs="+", default=list(_WAYS), choices=_WAYS)
    parser.add_argument("--units", type=int, default=40, help="of each classifier, evenly spread, at most")
    parser.add_argument("--seeds", nargs="+", type=int, default=[201], help="of animals and random directions")
    parser.add_argument("--fit", type=int, default=0, help="animals of each breed for a link a seed; 0: the bundle's")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    compile_cache.enable()
    begin, spent = time.perf_counter(), time.process_time()
    found: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        found = json.loads(arguments.json.read_text(encoding="utf-8"))
    for classifier in arguments.classifiers:
        called = f"{classifier}, links of {arguments.fit} of each breed" if arguments.fit else classifier
        kept = found.setdefault(called, {})
        for seed in arguments.seeds:
            new = measure(classifier, arguments.ways, arguments.units, seed, arguments.fit)
            kept[str(seed)] = {**kept.get(str(seed), {}), **new}
        if classifier == "planted":
            kept["all seeds"] = together([kept[seed] for seed in kept if seed != "all seeds"])
            print(f"{called}: {kept['all seeds']}")
    print(f"{time.perf_counter() - begin:.0f} s, {time.process_time() - spent:.0f} CPU-seconds")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

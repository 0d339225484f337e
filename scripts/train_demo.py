"""Make the bundle of `linkjax demo` from nothing: train the generator and both classifiers, and measure them.

    python scripts/train_demo.py --out bundle                        # everything, or what a killed run left to do
    python scripts/train_demo.py --out bundle --minutes 120          # trains the generator on from its last checkpoint
    XLA_FLAGS=--xla_force_host_platform_device_count=2 python …      # two CPU devices: batches are split over them
    python scripts/train_demo.py --out world-a --world a --seed 1    # other planted units: their classifier alone
    python scripts/train_demo.py --out bundle --stages parts         # the segmentation head anew, in a finished bundle

OUT/generator, OUT/breeds, OUT/planted   models, as `linkjax.load` reads them
OUT/segmenter                            a linear head on the generator's features, from labelled pictures
OUT/manifest.json                        how they were made, and every gate
OUT/planted_units.json                   the truth about every unit of `planted`
OUT.work/                                checkpoints and the judges' weights; not part of the bundle

Every network is trained on all devices of JAX's default platform and saved with Orbax as it goes; the same command goes
on where it was stopped, and passes over networks that are finished. Remove OUT.work/checkpoints to start anew. The
linear head is fitted in seconds and has no checkpoint.

Another world (--world) keeps the embedded generator, `breeds` and segmenter, and trains a planted classifier of units
that carry other factors, from the embedded one's weights: what is learned is the table of units, not to see animals.
With --random-weights it begins as the embedded one did, from random weights of the seed, and takes as long.

Ends with exit code 1 if a gate fails; the bundle and the table are written all the same.
"""

import argparse
import dataclasses
import json
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import numpy as np

from linkjax.demo import bundle, factors, world
from linkjax.errors import InputError
from linkjax.storage import manifest as manifests
from linkjax.storage.checkpoint import load_model, save_model
from scripts.demo import (
    architecture,
    classifier_training,
    gates,
    generator_training,
    parts_training,
    planted,
    segmentation_training,
)


def main() -> int:
    """Run the stages asked for; 0 if every gate is passed."""
    arguments = _arguments()
    out, work = arguments.out, arguments.out.with_name(arguments.out.name + ".work")
    out.mkdir(parents=True, exist_ok=True)
    checkpoints = work / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    if arguments.world != planted.EMBEDDED:
        return _other_world(out, checkpoints, arguments)
    if "generator" in arguments.stages:
        settings = generator_training.Settings(
            minutes=arguments.minutes,
            steps=arguments.steps,
            batch_size=arguments.batch_size,
            coarse=arguments.coarse,
            seed=arguments.seed,
        )
        spec = architecture.generator_spec(tuple(arguments.channels))
        generator, how = generator_training.train(spec, settings, checkpoints / "generator")
        _save(out / "generator", generator, {"settings": dataclasses.asdict(settings), **how})
    for goal in ("breeds", "planted", "factors"):
        if goal in arguments.stages:
            minutes = arguments.planted_minutes if goal == "planted" else arguments.classifier_minutes
            settings = classifier_training.Settings(
                goal, minutes=minutes, steps=arguments.classifier_steps, seed=arguments.seed
            )
            generator, folder = None, checkpoints / goal
            if goal == "planted":  # which sees this generator's pictures: another one's checkpoint is no use
                generator, manifest = load_model(out / "generator")
                folder = checkpoints / f"planted-{manifest['sha256'][:12]}"
            path = (work if goal == "factors" else out) / goal
            _save(path, *classifier_training.train(settings, folder, generator))
    if "parts" in arguments.stages:
        generator, manifest = load_model(out / "generator")
        head, how = parts_training.train(generator, arguments.seed, arguments.labelled)
        how = {"weights": {"generator": manifest["sha256"]}, **how}
        _save(out / "segmenter", head, how)
        if (out / "manifest.json").exists():
            _tell_parts(out, how, gates.pictures(generator, arguments.seed, arguments.pictures))
    if "judge" in arguments.stages:
        weights, how = segmentation_training.train(
            arguments.classifier_minutes, arguments.classifier_steps, checkpoints / "judge", arguments.seed
        )
        np.savez(work / "judge.npz", **weights)
        (work / "judge.json").write_text(json.dumps(how))
    return _measure(out, work, arguments.seed, arguments.pictures) if "gates" in arguments.stages else 0


def _tell_parts(out: Path, how: dict[str, Any], data: dict[str, np.ndarray]) -> None:
    """A finished bundle is told of its new segmentation head; all else about it stays."""
    told = manifests.read(out, (bundle.KIND,))
    told["segmentation head"] = _heads_overlap(out, data)
    told["training"]["segmenter"] = how
    manifests.write(out, told)
    print("segmentation head:", told["segmentation head"])


def _heads_overlap(out: Path, data: dict[str, np.ndarray]) -> dict[str, Any]:
    """Intersection over union on held-out pictures, of every part and their mean."""
    found = parts_training.iou(load_model(out / "generator")[0], load_model(out / "segmenter")[0], data)
    return {"mean IoU": float(np.mean(list(found.values()))), "IoU": found}


def _other_world(out: Path, checkpoints: Path, arguments: argparse.Namespace) -> int:
    """A bundle of other planted units; 0 if their classifier names the breeds as the gates ask."""
    for name in ("generator", "breeds", "segmenter"):
        shutil.copytree(bundle.EMBEDDED / name, out / name, dirs_exist_ok=True)
    generator, made = load_model(out / "generator")
    settings = classifier_training.Settings(
        "planted", minutes=arguments.planted_minutes, steps=arguments.classifier_steps, seed=arguments.seed,
        world=arguments.world,
    )  # fmt: skip
    begin, embedded = (None, None) if arguments.random_weights else load_model(bundle.EMBEDDED / "planted")
    model, how = classifier_training.train(settings, checkpoints / "planted", generator, begin)
    begun = "random weights" if embedded is None else embedded["sha256"]
    _save(out / "planted", model, {"begun with": begun, **how})
    data = gates.pictures(generator, arguments.seed, arguments.pictures)
    rows, accuracy = _planted_units(model, data, arguments.world)
    (out / bundle.UNITS).write_text(json.dumps(rows, indent=1) + "\n")
    content = {
        "parts": world.PARTS, "factors": factors.FACTORS, "breeds": factors.BREEDS, "seed": arguments.seed,
        "world": arguments.world, "planted accuracy": {gate.name: gate.value for gate in accuracy},
        "training": {"generator": made["source"], "planted": how},
        "note": "generator, breeds and segmenter are the embedded world's; the planted units are others, their "
        f"classifier was trained from {'random weights' if embedded is None else 'those of the embedded one'}.",
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }  # fmt: skip
    manifests.write(out, manifests.build(bundle.KIND, **content))
    carrying = [row["learned"] for row in rows if row["kind"] != "noise"]
    print(gates.table(accuracy))
    print(f"R² of selective units against their targets: median {np.median(carrying):.3f}, least {min(carrying):.3f}")
    return 0 if all(gate.passed for gate in accuracy) else 1


def _planted_units(model: Any, data: dict[str, np.ndarray], named: str) -> tuple[list[dict], list[gates.Gate]]:
    """The truth about every planted unit with how well it is learned, and how many breeds they tell apart."""
    units = {kind: gates.responses(model, data[kind])[0] for kind in ("render", "generated")}
    rows = planted.truth(units["render"], data["factors"], named)
    for row in rows:
        a, b = (units[kind][:, row["unit"]] for kind in ("render", "generated"))
        row["render_to_generated"] = round(float(np.corrcoef(a, b)[0, 1]), 4)
    return rows, gates.accuracy_gates(model, data, "planted")


def _measure(out: Path, work: Path, seed: int, count: int) -> int:
    models = {name: load_model(out / name) for name in bundle.MODELS}
    regressor, regressor_manifest = load_model(work / "factors")
    with np.load(work / "judge.npz") as file:
        judge = {name: jax.numpy.asarray(file[name]) for name in file.files}
    data = gates.pictures(models["generator"][0], seed, count)
    table, judges = gates.generator_gates(data, judge, regressor)
    table += gates.accuracy_gates(models["breeds"][0], data, "breeds")
    rows, accuracy = _planted_units(models["planted"][0], data, planted.EMBEDDED)
    (out / bundle.UNITS).write_text(json.dumps(rows, indent=1) + "\n")
    content = {
        "parts": world.PARTS,
        "factors": factors.FACTORS,
        "breeds": factors.BREEDS,
        "seed": seed,
        "gates": [dataclasses.asdict(gate) | {"passed": gate.passed} for gate in table],
        "planted accuracy": {gate.name: gate.value for gate in accuracy},
        "segmentation head": _heads_overlap(out, data),
        "judges": judges | {"segmenter": json.loads((work / "judge.json").read_text())},
        "training": {name: manifest["source"] for name, (_, manifest) in models.items()}
        | {"judge of factors": regressor_manifest["source"]},
        "note": "w was trained with a weak penalty that keeps it near linear in the factors (settings.straight), "
        "which makes it easier to link than a real generator's.",
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
    manifests.write(out, manifests.build(bundle.KIND, **content))
    print(gates.table(table + accuracy))
    print("segmentation head:", content["segmentation head"])
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    print(f"bundle: {size:.1f} MB in {out}")
    return 0 if all(gate.passed for gate in table) and size <= 12 else 1


def _save(path: Path, model: Any, how: dict[str, Any]) -> None:
    shutil.rmtree(path, ignore_errors=True)
    save_model(path, model, source=how)


def _arguments() -> argparse.Namespace:
    stages = ("generator", "breeds", "planted", "parts", "factors", "judge", "gates")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--stages", nargs="+", choices=stages, default=stages, help="which to run (all)")
    parser.add_argument("--minutes", type=float, default=48.0, help="of training the generator, earlier runs included")
    parser.add_argument("--steps", type=int, default=10**9, help="or so many steps, whichever ends first")
    parser.add_argument("--batch-size", type=int, default=8, help="pictures a step, over all devices")
    parser.add_argument("--coarse", type=float, default=0.0, help="share of it on half-size pictures")
    parser.add_argument("--classifier-minutes", type=float, default=4.0, help="of training each other network")
    parser.add_argument("--planted-minutes", type=float, default=9.0, help="of training the planted classifier")
    parser.add_argument("--classifier-steps", type=int, default=10**9, help="or so many steps")
    parser.add_argument(
        "--channels", type=int, nargs="+", default=(64, 64, 64, 48, 32), help="of the generator's layers"
    )
    parser.add_argument(
        "--labelled", type=int, default=parts_training.LABELLED, help="pictures the segmentation head is trained from"
    )
    parser.add_argument("--pictures", type=int, default=512, help="held-out pictures that the gates are measured on")
    parser.add_argument("--seed", type=int, default=0)
    worlds = (planted.EMBEDDED, *planted.OTHERS)
    parser.add_argument("--world", choices=worlds, default=planted.EMBEDDED, help="whose planted units to train")
    parser.add_argument(
        "--random-weights", action="store_true", help="with --world: begin from random weights, not the embedded ones"
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"train_demo: {error}")

"""A ViT and a ConvNeXt with planted units for the embedded world: trained, imported, taken through all, and scored.

    python scripts/train_imported.py WORK [--networks convnext vit] [--minutes 4] [--json docs/figures/imported.json]

Both are small PyTorch networks (`demo/torch_networks.py`, under 1 MB each) that learn the embedded world's table of
planted units (`demo/planted.py`) from renders and from the generator's pictures, half and half, as the embedded
planted classifier did. `linkjax convert module` imports them, `linkjax demo --fast` takes each through pairs, link,
sweep, select, evaluate and counterfactual and scores its units against the renderer, and `linkjax depth` looks into
its layers. Beside them stands the embedded planted classifier, a ResNet, by the same samples. The minutes are the
processor's, for each network; WORK keeps the pictures, the weights and the runs, and the same command goes on from what
is there; none of it is in the package.
Last, the ViT's latents are shown to the ConvNeXt, and `linkjax compare` holds their units and their counterfactuals of
the same samples against each other. Training apart, a network takes two minutes of the processor.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import numpy as np

import linkjax
from linkjax.cli import main as command
from linkjax.demo import bundle, factors, steps, world
from linkjax.demo import run as demo
from linkjax.storage import artifacts
from scripts.demo import planted

NETWORKS = {"convnext": "scripts.demo.torch_networks:ConvNeXt", "vit": "scripts.demo.torch_networks:Transformer"}
PICTURES, HELD_OUT, BATCH = 16_384, 1024, 64
MEAN, STD = 0.5, 0.25
_TOLD = (
    "auc", "sign_right", "true_effect_first_or_tied", "significant_selective_units", "significant_noise_units",
    "false_noise_units", "fidelity_within_20_percent_of_all", "median_fidelity", "doubles_named",
    "others_named_doubles", "area_within_25_percent_per_obtained_change",
)  # fmt: skip


def pictures(work: Path) -> dict[str, np.ndarray]:
    """Renders and generated pictures, in turn, with factors and breeds: made once."""
    path = work / "pictures.npz"
    if not path.exists():
        generator = linkjax.load(bundle.EMBEDDED / "generator")

        @jax.jit
        def drawn(key: jax.Array) -> tuple[jax.Array, ...]:
            z, breed = factors.sample(key, BATCH)
            truth, half = factors.factors_of(z, breed), BATCH // 2
            made = generator.synthesis(generator.mapping(z[half:], breed[half:]))
            images = jnp.concatenate([world.render(truth[:half]).image, jnp.clip(made, -1.0, 1.0)])
            return jnp.round((images + 1) * 127.5).astype(jnp.uint8), truth, breed

        keys = jax.random.split(jax.random.key(11), (PICTURES + HELD_OUT) // BATCH)
        made = [jax.device_get(drawn(key)) for key in keys]
        named = zip(("images", "factors", "breed"), zip(*made, strict=True), strict=True)
        arrays: dict[str, Any] = {name: np.concatenate(parts) for name, parts in named}
        np.savez(path.with_suffix(".part.npz"), **arrays)
        path.with_suffix(".part.npz").rename(path)
    with np.load(path) as file:
        return dict(file)


def train(name: str, data: dict[str, np.ndarray], path: Path, minutes: float) -> dict[str, Any]:
    """A network's weights at `path`, as a state dict; what was reached on pictures held out."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)  # threads that wait for each other on a busy machine count as work
    net = _network(name)
    images = torch.from_numpy(data["images"]).permute(0, 3, 1, 2)
    aims = torch.from_numpy(np.array(planted.targets(jnp.asarray(data["factors"]))))
    breed = torch.from_numpy(data["breed"].astype(np.int64))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)
    begin, step, share = time.process_time(), 0, 0.0
    while share < 1:
        rows = torch.randint(0, PICTURES, (BATCH,))
        x = images[rows].float() / 255
        blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        x = x + 0.6 * torch.rand(BATCH, 1, 1, 1) * (blurred - x)
        x = (x + 0.02 * torch.rand(BATCH, 1, 1, 1) * torch.randn_like(x)).clip(0, 1)
        units = net.features((x - MEAN) / STD)
        error = torch.nn.functional.mse_loss(units, aims[rows])
        loss = 10 * error + 0.2 * torch.nn.functional.cross_entropy(net.head(units.detach()), breed[rows])
        share = min((time.process_time() - begin) / (60 * minutes), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 100) * 0.5 * (1 + np.cos(np.pi * share))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if step % 500 == 0:
            print(f"{name}: {100 * share:.0f} %, step {step}, error {error.item():.4f}", flush=True)
        step += 1
    net.eval()
    held = slice(PICTURES, None)
    with torch.no_grad():
        _refit(net, images[:PICTURES], aims[:PICTURES])
        units = net.features((images[held].float() / 255 - MEAN) / STD)
        right = float((net.head(units).argmax(dim=1) == breed[held]).float().mean())
    torch.save(net.state_dict(), path)
    learned = 1 - ((units - aims[held]) ** 2).mean(dim=0) / aims[held].var(dim=0, unbiased=False)
    kinds = np.array([unit.kind for unit in planted.units()])
    told = {
        "minutes": minutes,
        "parameters": sum(each.numel() for each in net.parameters()),
        "steps": step,
        "images": step * BATCH,
    }
    return told | {
        "breeds named, held out": round(right, 4),
        "R² of selective units, median": round(float(np.median(learned.numpy()[kinds != "noise"])), 4),
        "R² of selective units, least": round(float(learned.numpy()[kinds != "noise"].min()), 4),
    }


def _refit(net: Any, images: Any, aims: Any) -> None:
    """The last step to the units anew, by least squares over all pictures, where few steps leave it behind the rest."""
    import torch

    kept: list[Any] = []
    hook = net.units.register_forward_pre_hook(lambda _, given: kept.append(given[0].double()))
    for some in images.split(256):
        net.features((some.float() / 255 - MEAN) / STD)
    hook.remove()
    x = torch.cat(kept)
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    found = torch.linalg.solve(x.T @ x + 1e-3 * torch.eye(x.shape[1], dtype=x.dtype), x.T @ aims.double())
    net.units.weight.copy_(found[:-1].T)
    net.units.bias.copy_(found[-1])


def _network(name: str) -> Any:
    import importlib

    module, _, factory = NETWORKS[name].partition(":")
    return getattr(importlib.import_module(module), factory)()


def imported(name: str, work: Path, weights: Path) -> Path:
    """A bundle for `linkjax demo` whose planted classifier is the imported network."""
    made = work / f"bundle-{name}"
    if made.exists():
        return made
    partial = work / f"bundle-{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(bundle.EMBEDDED, partial, ignore=shutil.ignore_patterns("planted"))
    (work / "breeds.txt").write_text("\n".join(factors.BREEDS) + "\n", encoding="utf-8")
    seen = ["--resize", 0, "--crop", 0, "--input-size", world.SIZE, "--mean", *[MEAN] * 3, "--std", *[STD] * 3]
    words = ["convert", "module", NETWORKS[name], partial / "planted", "--weights", weights, *seen]
    assert command([str(word) for word in [*words, "--class-names", work / "breeds.txt"]]) == 0
    model = linkjax.load(partial / "planted", check=True)
    drawn = np.load(work / "pictures.npz")
    x, truth = drawn["images"][PICTURES:], drawn["factors"][PICTURES:]
    half = np.arange(len(x)) % BATCH < BATCH // 2  # the renders
    units = np.asarray(model(model.preprocess(jnp.asarray(x[half], jnp.float32) / 127.5 - 1)).penultimate)
    rows = planted.truth(units, truth[half])
    (partial / bundle.UNITS).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    partial.rename(made)
    return made


def run(name: str, work: Path, world_of: Path | None) -> dict[str, Any]:
    """`linkjax demo --fast` of a bundle, and its main numbers."""
    out = work / f"demo-{name}"
    words = ["demo", "--fast", "--out", out, *(() if world_of is None else ("--bundle", world_of))]
    assert command([str(word) for word in words]) == 0
    found = artifacts.Artifact(out / "recovery", "recovery").summary
    evaluation = artifacts.Artifact(out / "evaluation", "evaluation").summary
    searches = artifacts.Artifact(out / "counterfactual", "counterfactual").summary["methods"][0]["outcomes"]
    link = next(row for row in evaluation["rows"] if row["name"] == "link")
    told = {key: found[key] for key in _TOLD if key in found}
    told |= {"link R² on held-out pairs": link["r2"], "searches that flip the class": searches.get("reached", 0)}
    return told | {"searches": sum(searches.values())}


def layers(name: str, work: Path, classifier: Path) -> list[dict[str, Any]]:
    """How deep the link of a network reaches, from the demo's pairs; the figure is WORK/depth-NAME-page/figures."""
    out, pairs, page = work / f"depth-{name}", work / f"demo-{name}" / "pairs", work / f"depth-{name}-page"
    if not out.exists():
        words = ["--generator", bundle.EMBEDDED / "generator", "--classifier", classifier, "--pairs", pairs]
        assert command([str(word) for word in ["depth", *words, "--batch-size", 48, "--out", out]]) == 0
    if not page.exists():
        assert command(["report", "--depth", str(out), "--out", str(page)]) == 0
    told = ("layer", "units", "r2", "r2_low", "r2_high", "fidelity", "distances", "within", "effective_rank")
    return [{key: row[key] for key in told} for row in artifacts.Artifact(out, "depth").summary["rows"]]


def fidelities(name: str, work: Path, world_of: Path) -> dict[str, list[float]]:
    """Median fidelity of selective and of noise units: as `depth` predicts it of r, and as the sweep found it."""
    noise = np.array([row["kind"] == "noise" for row in bundle.open_bundle(world_of).units])
    reached = artifacts.Artifact(work / f"depth-{name}", "depth")
    last = reached.read("of_layer") == len(reached.summary["rows"]) - 1
    swept = artifacts.Artifact(work / f"demo-{name}" / "sweep", "sweep").read("fidelity")
    told = {}
    for what, each in (("predicted", reached.read("own")[last]), ("found", swept)):
        medians = [round(float(np.median(each[which])), 3) for which in (~noise, noise)]
        told[f"fidelity of selective and noise units, {what}"] = medians
    return told


def beside(one: str, other: str, work: Path) -> dict[str, Any]:
    """Two networks on the first one's latents: units matched, and counterfactuals of the same samples held together."""
    folder, first = work / f"{one}-beside-{other}", work / f"demo-{one}"
    worlds = {name: bundle.open_bundle(work / f"bundle-{name}") for name in (one, other)}
    folder.mkdir(exist_ok=True)
    for name, of in worlds.items():
        planned = {step.name: step.settings for step in steps.plan(folder, of, 0, True)}
        pairs, link = (first / "pairs", first / "link") if name == one else (folder / "pairs", folder / "link")
        taken = {"generator": planned["pairs"]["generator"], "classifier": planned["pairs"]["classifier"]}
        asked = {
            "pairs": {**taken, "latents": first / "pairs", "out": pairs, "batch_size": 50},
            "link": {**planned["link"], "pairs": pairs, "out": link},
            "counterfactual": {
                **planned["counterfactual"], "pairs": pairs, "link": link, "samples": 5,
                "out": folder / f"flips-{name}",
            },
        }  # fmt: skip
        for stage, settings in asked.items():
            if not Path(settings["out"]).exists():
                told = {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}
                demo.take(stage, told, of)
    out = folder / "side_by_side"
    if not out.exists():
        words = ["--pairs", first / "pairs", "--other-pairs", folder / "pairs", "--names", one, other]
        words += ["--counterfactual", folder / f"flips-{one}", "--other-counterfactuals", folder / f"flips-{other}"]
        assert command([str(word) for word in ["compare", *words, "--split", "train", "--out", out]]) == 0
    if not (folder / "page").exists():
        words = ["report", "--side-by-side", out, "--pairs", first / "pairs", "--out", folder / "page"]
        assert command([str(word) for word in words]) == 0
    found = artifacts.Artifact(out, "side_by_side")
    data, summary = found.open(), found.summary
    apart, q = (found.read(name)[0, 1] for name in ("use_difference", "use_q"))
    names = [
        [f"{part} {metric}" for metric in artifacts.names(data, "metric")] for part in artifacts.names(data, "part")
    ]
    sure = np.argwhere(np.nan_to_num(q, nan=1.0) <= 0.05).tolist()
    more = {
        names[p][m]: round(float(apart[p, m]), 4) for p, m in sorted(sure, key=lambda at: -abs(apart[tuple(at)]))[:12]
    }
    return {"of": [one, other], **{key: summary[key] for key in ("rows", "similarity", "flips")}, "share, less": more}


def processor() -> str:
    lines = subprocess.run(["lscpu"], capture_output=True, text=True).stdout.splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("Model name")), "unknown processor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=4.0, help="of the processor, for each network")
    parser.add_argument("--networks", nargs="+", choices=tuple(NETWORKS), default=tuple(NETWORKS))
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    given = parser.parse_args()
    given.work.mkdir(exist_ok=True)
    data, figures = pictures(given.work), {"device": processor(), "networks": {}}
    for name in (*given.networks, "resnet"):
        told, made = {}, None
        if name != "resnet":
            weights, how = given.work / f"{name}.pth", given.work / f"{name}.json"
            if not how.exists():
                how.write_text(json.dumps(train(name, data, weights, given.minutes)), encoding="utf-8")
            made = imported(name, given.work, weights)
            told = {"MB": round(weights.stat().st_size / 1e6, 2), **json.loads(how.read_text(encoding="utf-8"))}
        told |= run(name, given.work, made)
        told["layers"] = layers(name, given.work, (made or bundle.EMBEDDED) / "planted")
        told |= fidelities(name, given.work, made or bundle.EMBEDDED)
        figures["networks"][name] = told
        text = json.dumps(figures, indent=1, ensure_ascii=False)
        if given.json:  # what there is so far, for a network takes long
            given.json.write_text(text + "\n", encoding="utf-8")
    if set(given.networks) == set(NETWORKS):
        figures["beside"] = beside("vit", "convnext", given.work)
    text = json.dumps(figures, indent=1, ensure_ascii=False)
    print(text)
    if given.json:
        given.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""The whole chain at full size, on random weights: the imagenet256 architecture and a full-width ResNet-50.

    python scripts/speed/full_size.py --work /some/large/folder --out docs/figures/full_size.json

Makes files of the published formats (0.94 GB and 0.1 GB), runs every command on a handful of images, each in a process
of its own, and prints wall time and peak memory beside what `linkjax plan` predicted. Half an hour on 2 cores.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
PAIRS = {"classes": "[207, 281]", "n_train": 3, "n_val": 1, "n_test": 1, "keep": '"all"', "batch_size": 2}
SWEEP = {"units": "[0, 1]", "samples": 1, "range": '"link"', "steps": 2, "picture_units": 1, "picture_samples": 1,
         "random_directions": 0, "batch_size": 2}  # fmt: skip
EVALUATE = {"shuffled_samples": 0, "pictures": 1, "batch_size": 2}
COUNTERFACTUAL = {"samples": 1, "max_steps": 2, "check_every": 2, "pictures": 1, "batch_size": 2, "start": '"zero"',
                  "path_points": 2, "path_beyond": 0}  # fmt: skip


def random_resnet50(path: Path) -> None:
    """A state dict with the names and shapes of torchvision's ResNet-50, He-initialised."""
    import torch

    torch.manual_seed(0)
    shapes = json.loads((ROOT / "tests/parity/cls_fullsize_state_dicts.json").read_text())["resnet50"]
    state = {}
    for key, shape in shapes.get("state_dict", shapes.get("keys", shapes)).items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(0)
        elif len(shape) == 4:
            state[key] = torch.randn(shape) * (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        elif len(shape) == 2:
            state[key] = torch.randn(shape) * 0.02
        else:  # normalisation: unit scale and variance, smaller at the end of a block so that depth does not explode
            one = key.endswith(("running_var", "weight"))
            scale = 0.3 if key.endswith("bn3.weight") else 1.0
            state[key] = torch.full(shape, scale) if one else torch.zeros(shape)
    torch.save(state, path)


def measured(name: str, command: list[str]) -> dict[str, object]:
    """Run a command in a process of its own; seconds, peak resident memory, and what it printed."""
    before = time.perf_counter()
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout is not None
    said = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - before
    code = os.waitstatus_to_exitcode(status)
    row = {"stage": name, "seconds": seconds, "peak_gib": usage.ru_maxrss / 2**20, "exit_code": code}
    print(f"{name}: {seconds:.0f} s, {row['peak_gib']:.2f} GiB, exit code {code}", flush=True)
    if code:
        print(said)
        raise SystemExit(f"{name} failed")
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for 4 GB of files; must not exist")
    parser.add_argument("--out", type=Path, help="JSON to write")
    options = parser.parse_args()
    work: Path = options.work.absolute()
    work.mkdir(parents=True)
    python, linkjax = sys.executable, [sys.executable, "-m", "linkjax.cli"]
    random_resnet50(work / "resnet50.pth")
    rows = [measured("make the .pkl", [python, "scripts/files/make_snapshot.py", "256", str(work / "imagenet256.pkl")])]
    tables = {"pairs": PAIRS, "sweep": SWEEP, "evaluate": EVALUATE, "counterfactual": COUNTERFACTUAL}
    shared = {name: work / name for name in ("generator", "classifier", "pairs", "link")}
    lines = ["[shared]", *(f'{name} = "{path}"' for name, path in shared.items())]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in table.items())]
    experiment = work / "experiment.toml"
    experiment.write_text("\n".join(lines) + "\n")
    config = ["--config", str(experiment)]
    commands = {
        "convert generator": ["convert", "generator", str(work / "imagenet256.pkl"), str(work / "generator")],
        "convert classifier": [
            *("convert", "classifier", str(work / "resnet50.pth"), str(work / "classifier"), "--arch", "resnet50")
        ],
        "plan": ["plan", *config, "--out", str(work / "plan")],
        **{
            name: [name, *config, "--out", str(work / name)]
            for name in ("pairs", "link", "evaluate", "sweep", "counterfactual")
        },
        "report": [
            *("report", *config, "--evaluation", str(work / "evaluate"), "--sweep", str(work / "sweep")),
            *("--counterfactual", str(work / "counterfactual"), "--out", str(work / "report")),
        ],
    }
    rows += [measured(name, [*linkjax, *command]) for name, command in commands.items()]
    plan = json.loads((work / "plan" / "plan.json").read_text())
    for row in rows:
        row["planned"] = plan["stages"].get(row["stage"])
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "rows": rows,
        "plan": plan["measured"],
        "peak_of_this_script_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    show(result)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def show(result: dict) -> None:
    table = Table(title=f"imagenet256 architecture and ResNet-50, random weights ({result['machine']})")
    for column in ("stage", "seconds", "planned s", "images", "peak GiB"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for row in result["rows"]:
        planned = row["planned"] or {}
        table.add_row(
            row["stage"],
            f"{row['seconds']:.0f}",
            f"{planned['seconds']:.0f}" if "seconds" in planned else "–",
            str(planned.get("images", "–")),
            f"{row['peak_gib']:.2f}",
        )
    Console().print(table)
    print(json.dumps(result["plan"]))


if __name__ == "__main__":
    main()

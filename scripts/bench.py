"""What linkjax's programs cost, against plain PyTorch and others, and how near they come to what the machine can do.

    python scripts/bench.py                                  # all but imagenet256: some 10 minutes on 2 cores
    python scripts/bench.py --only synthesis256 sweep256 --full-size --repeats 1   # over 14 minutes
    python scripts/bench.py --full-size --precision float32 tf32 bfloat16 float16 --batches 1 4 8 16 32 64  # on a GPU

Everything is measured in one run: the machine's ceilings (matrix products in each precision, memory, copies between
host and device), then every case with its opponents in turns, after a warm-up, waiting for each result; the median of
the repeats counts, the best and the processor time are kept beside it. Compilation is timed apart. A limit is the
longer of operations ÷ matrix rate and bytes ÷ memory rate; the share is limit ÷ seconds. Opponents: plain PyTorch
layers (`tests/reference`) on the same weights and the same kind of device, in the same precision, without TF32 unless
that is what is measured, on a GPU also through `torch.compile`; scikit-learn for the link; Pillow for preprocessing;
NumPy loops for part metrics. Sides that are not installed are left out.

On a GPU `--batches` searches the batch of synthesis that gives most images a second, and other cases take the largest.
Writes docs/figures/bench_<machine>.json; cases and precisions of an earlier run stay there if they
are not run again, so a long job may be run in parts.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs memory of the same GPU

import jax

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(1, str(Path(__file__).parents[1] / "converters"))

from scripts.speed.benchmarks import encode, links, machine, record, sweeps, synthesis

ROOT = Path(__file__).parents[1]
#: In the order in which they run; those of 256² with --full-size only.
CASES = (
    "synthesis64",
    "synthesis64wide",
    "synthesis256",
    "encode",
    "sweep",
    "sweep256",
    "screening",
    "regions",
    "link",
)


def rows_of(case: str, given: argparse.Namespace) -> tuple[list[record.Row], dict]:
    """One case: its rows, and what else it found."""
    rows: list[record.Row] = []
    if case in synthesis.ARCHITECTURES:
        for precision in given.precision:
            rows += synthesis.measure(case, precision, given)
    elif case == "encode":
        for arch in given.archs:
            rows += encode.measure(arch, given.batches, given.repeats, given.skip_torch, given.tiny)
    elif case == "sweep":
        for precision in given.precision:
            rows += sweeps.program(given.repeats, given.batches, precision, skip_torch=given.skip_torch)
        size = (
            {"units": 1, "samples": 1, "repeats": 1, "train": 4}
            if given.tiny
            else {"units": 128, "samples": 2, "repeats": max(2, given.repeats // 2)}
        )
        more, notes = sweeps.stage(**size)
        return rows + more, notes
    elif case == "sweep256":
        for precision in given.precision:
            rows += sweeps.program(given.repeats, given.batches, precision, True, given.skip_torch)
        size = (1, 1, 1) if jax.default_backend() == "cpu" else (16, 1, 1)  # units, samples, repeats
        more, notes = sweeps.stage(*size, full_size=True, precision=given.precision[-1])
        return rows + more, notes
    elif case == "screening":
        rows = sweeps.screened(given.repeats, given.tiny, given.skip_torch)
    elif case == "regions":
        rows = sweeps.regions(given.repeats, given.tiny)
    else:
        rows = links.measure(*((200, 16, 4) if given.tiny else (given.samples, 2048, 512)), repeats=given.repeats)
    return rows, {}


def _allowed(case: str, given: argparse.Namespace) -> bool:
    toy = given.tiny and case in synthesis.ARCHITECTURES
    return given.full_size or toy or not case.endswith("256")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=CASES, help="these cases; all, if not given")
    parser.add_argument("--full-size", action="store_true", help="the imagenet256 architecture too: 6 GB of memory")
    parser.add_argument("--precision", nargs="+", default=["float32"], choices=tuple(machine.BYTES))
    parser.add_argument("--batches", nargs="+", type=int, default=[], help="batches to try; one fit for a CPU if none")
    parser.add_argument("--torch-batches", nargs="+", type=int, help="those of them that PyTorch tries too; all")
    parser.add_argument("--archs", nargs="+", default=list(encode.ARCHITECTURES), help="classifiers of encode")
    parser.add_argument("--samples", type=int, default=30_000, help="pairs the link is fitted to")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--skip-torch", action="store_true")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to see whether everything runs")
    parser.add_argument("--out", type=Path, help="JSON; docs/figures/bench_<machine>.json if not given")
    given = parser.parse_args(arguments)
    cases = [case for case in CASES if case in (given.only or CASES) and _allowed(case, given)]
    if not cases:
        parser.error("synthesis256 and sweep256 need --full-size: 6 GB of memory, and minutes of PyTorch on a CPU")
    ceilings = machine.ceilings(given.precision, given.tiny)
    about = {"machine": machine.name(), "versions": machine.versions(), "ceilings": ceilings}
    print(f"{about['machine']}, {about['versions']}, load {os.getloadavg()[0]:.1f}, {jax.default_backend()}")
    for name, rates in (("matrix products, XLA", "matrix"), ("matrix products, PyTorch", "matrix_torch")):
        print(name, *(f"{precision} {rate / 1e9:.0f} GFLOP/s" for precision, rate in ceilings[rates].items()), sep=", ")
    copies = (f"{name.replace('_', ' ')} {ceilings[name] / 1e9:.1f} GB/s" for name in ceilings if "matrix" not in name)
    print(*copies, sep=", ", flush=True)
    rows: list[record.Row] = []
    notes: dict = {}
    out = given.out or ROOT / "docs" / "figures" / f"bench_{machine.file_name()}.json"
    for case in cases:
        found, more = rows_of(case, given)
        record.complete(found, ceilings)
        rows += found
        notes |= more
        record.store(out, about, found, notes)  # after each case: a long run that breaks off keeps what it has
        print(case, "done", flush=True)
    record.show(rows, f"{about['machine']}: medians of {given.repeats}, an item")
    print(f"written to {out}")


if __name__ == "__main__":
    main()

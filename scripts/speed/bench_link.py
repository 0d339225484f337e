"""Seconds to fit a link, against scikit-learn where it is installed, in one run.

  python scripts/speed/bench_link.py [--samples 30000] [--units 2048] [--w-dim 512] [--repeats 3]
    [--json docs/figures/link_cpu.json]
  python scripts/speed/bench_link.py --steering [--json docs/figures/link_steering.json]   # what steering adds

About three minutes and 2 GB at the defaults on 2 cores. Every line is the best of the repeats, taken in turns so that
other work on the machine falls on all alike; "cpu" is processor seconds over the number of cores, which such work
disturbs less. OpenBLAS takes the processor for what OPENBLAS_CORETYPE says: unset it.
"""

import argparse
import gc
import json
import os
import platform
import resource
import time
from pathlib import Path

import jax
import numpy as np

from linkjax.analysis.links import class_sums, elastic_net, linear, moments, steering
from linkjax.analysis.links.fit import fit_link
from linkjax.analysis.links.problem import BLOCK, accumulate
from linkjax.stages.link import summing


def data(samples: int, units: int, w_dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs like a classifier's: non-negative activations of unequal spread whose variances fall off, and noise."""
    random = np.random.default_rng(0)
    common = random.standard_normal((samples, 64), np.float32) @ random.standard_normal((64, units), np.float32) / 8
    r = np.maximum(common + random.standard_normal((samples, units), np.float32), 0)
    r *= np.exp(0.5 * random.standard_normal(units, np.float32))
    w = r @ (random.standard_normal((units, w_dim), np.float32) / units**0.5)
    return r, w + random.standard_normal((samples, w_dim), np.float32)


def in_turns(candidates: dict, repeats: int) -> dict[str, tuple[float, float, object]]:
    """Best wall and processor seconds of each candidate, and its last result; one round to compile comes first."""
    best: dict = {}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for turn in range(repeats + 1):
        for name, run in candidates.items():
            gc.collect()
            cpu, wall = time.process_time(), time.perf_counter()
            result = jax.block_until_ready(run())
            spent = time.perf_counter() - wall, (time.process_time() - cpu) / cores
            if turn:
                known = best.get(name, (np.inf, np.inf, None))
                best[name] = (min(known[0], spent[0]), min(known[1], spent[1]), result)
    return best


def report(candidates: dict, repeats: int) -> dict:
    found = in_turns(candidates, repeats)
    for name, (wall, cpu, _) in found.items():
        print(f"{name:40} {wall:8.2f} {cpu:8.2f}", flush=True)
    return found


def streamed_peak(units: int, w_dim: int) -> dict[str, int]:
    """Peak memory of this process, MiB, after so many pairs went through the sums that `linkjax link` makes."""
    r, w = data(BLOCK, units, w_dim)
    sums = summing.HostSums(summing.nothing(units, w_dim, 10), "float32")
    place, found = np.arange(BLOCK) * 10 // BLOCK, {}
    for block in range(1, 41):
        sums.add(r, w, place)
        if block in (4, 40):
            found[str(block * BLOCK)] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return found


def steering_share(r: np.ndarray, w: np.ndarray, repeats: int) -> dict:
    """Seconds of what steering directions need, and their share of a fit, by processor seconds; ten equal classes.

    A fit of one given penalty is moments and a Cholesky solution; `linkjax link` with penalties to choose from has
    moments, a decomposition, and the held-out errors of 25 penalties.
    """
    place = np.arange(len(r)) * 10 // len(r)
    total = accumulate(r, w)
    decomposed, alphas = linear.decompose(total), np.logspace(-2, 4, 25)
    within = class_sums.within_of(r, w, place, total)
    assert within is not None
    spectrum = steering.spectrum(within)
    parts = {"solve": lambda: linear.solve_ridge(total, 1.0), "decomposition": lambda: linear.decompose(total),
             "validation errors": lambda: linear.validation_errors(total, total, alphas, decomposed),
             "spectrum": lambda: steering.spectrum(within), "lambda": lambda: steering.choose(spectrum, within),
             "directions": lambda: steering.arrays(spectrum, within, 1.0)}  # fmt: skip
    for products in ("float64", "float32"):
        parts[f"moments, {products}"] = lambda products=products: accumulate(r, w, products)
        parts[f"sums by class, {products}"] = lambda products=products: class_sums.within_of(
            r, w, place, total, products
        )
    found = report(parts, repeats)
    cpu = {name: spent for name, (_, spent, _) in found.items()}
    shares = {}
    for products in ("float64", "float32"):
        steered = cpu[f"sums by class, {products}"] + cpu["spectrum"] + cpu["lambda"] + cpu["directions"]
        summed = cpu[f"moments, {products}"]
        chosen = summed + cpu["decomposition"] + cpu["validation errors"]
        shares |= {f"{products}, one penalty": steered / (summed + cpu["solve"]),
                   f"{products}, a penalty chosen of 25": steered / chosen}  # fmt: skip
    sizes = (r.shape[1], w.shape[1])
    summary = {
        "cpu seconds": {name: round(spent, 4) for name, spent in cpu.items()},
        "steering adds": {name: round(share, 4) for name, share in shares.items()},
        "bytes of moments": moments.nbytes(*sizes),
        "bytes of sums by class": {str(classes): class_sums.nbytes(classes, *sizes) for classes in (10, 1000)},
    }
    for name, value in summary.items():
        print(f"{name}: {value}")
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("samples", 30_000), ("units", 2048), ("w-dim", 512), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--steering", action="store_true", help="measure what steering directions add, and no more")
    options = parser.parse_args()
    for name in {"OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"} & set(os.environ):
        print(f"{name} is set: OpenBLAS, which both sides use, is tuned for another processor than this one")
    peaks = streamed_peak(options.units, options.w_dim) if options.steering else {}  # first: a peak does not fall
    r, w = data(options.samples, options.units, options.w_dim)
    device = jax.devices()[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {device.platform}"
    shape = {"samples": options.samples, "units": options.units, "w_dim": options.w_dim}
    if options.steering:
        found = {
            "machine": machine,
            **shape,
            "load average": os.getloadavg(),
            "peak MiB after pairs": peaks,
            **steering_share(r, w, options.repeats),
        }
        print(f"peak MiB after so many pairs: {peaks}")
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return
    total = accumulate(r, w)
    spectrum = linear.decompose(total)
    alphas = np.logspace(-2, 4, 25)

    print(f"{options.samples} samples, {options.units} units → {options.w_dim}, float32 data, {device.platform}")
    print(f"{'':40} {'wall s':>8} {'cpu s':>8}", flush=True)

    def arrays(link):
        return np.asarray(link.kernel), np.asarray(link.bias)

    fits = {
        "fit_link ols": lambda: arrays(fit_link(r, w, "ols")),
        "fit_link ols, float32 products": lambda: arrays(fit_link(r, w, "ols", products="float32")),
        "fit_link ridge": lambda: arrays(fit_link(r, w, "ridge", 1.0)),
        "fit_link ridge, float32 products": lambda: arrays(fit_link(r, w, "ridge", 1.0, products="float32")),
    }
    try:
        from sklearn.linear_model import LinearRegression, Ridge
    except ImportError:
        print("scikit-learn is not installed: its lines are left out")
    else:

        def fitted(model):
            model.fit(r, w)
            return model.coef_.T, model.intercept_

        fits["scikit-learn LinearRegression"] = lambda: fitted(LinearRegression())
        fits["scikit-learn Ridge"] = lambda: fitted(Ridge(alpha=1.0))
    found = report(fits, options.repeats)
    parts = {
        "  moments": lambda: accumulate(r, w),
        "  moments, float32 products": lambda: accumulate(r, w, "float32"),
        "  solve, Cholesky": lambda: linear.solve_ridge(total, 1.0),
        "  decomposition": lambda: linear.decompose(total),
        "  solve, decomposed": lambda: linear.solve_ridge(total, 1.0, spectrum),
        f"  validation error of {alphas.size} alphas": lambda: linear.validation_errors(total, total, alphas, spectrum),
        "  elastic net, 10 steps": lambda: elastic_net.solve_elastic_net(total, 0.01, 0.5, max_iterations=10),
    }
    found |= report(parts, 3)
    if options.json:
        seconds = {
            name.strip(): {"wall": round(wall, 3), "cpu": round(cpu, 3)} for name, (wall, cpu, _) in found.items()
        }
        options.json.write_text(json.dumps({"machine": machine, **shape, "seconds": seconds}, indent=1) + "\n")
    if "scikit-learn Ridge" in found:
        print(f"\n{'scikit-learn over linkjax':40} {'wall':>8} {'cpu':>8}  largest difference of the kernels")
        for method, reference in (("ols", "scikit-learn LinearRegression"), ("ridge", "scikit-learn Ridge")):
            for kind in ("", ", float32 products"):
                mine, theirs = found[f"fit_link {method}{kind}"], found[reference]
                kernel, expected = mine[2][0], theirs[2][0]
                apart = np.abs(kernel - expected).max() / np.abs(expected).max()
                ratios = f"{theirs[0] / mine[0]:8.2f} {theirs[1] / mine[1]:8.2f}"
                print(f"{method + kind:40} {ratios}  {apart:.1e} of the largest")


if __name__ == "__main__":
    main()

"""How exact and how fast optical flow is, beside scikit-image's, on real textures moved by known displacements.

    python scripts/methods/compare_motion.py [--sizes 64 128] [--json docs/figures/motion.json]

Run time: about 4 minutes on 2 cores. Prints mean and 90th percentile endpoint errors in pixels over all cases, by
motion and by texture, and milliseconds a pair. scikit-image is run with its defaults and with three other settings; its
best is the setting of least mean error over all cases of a size. "best of each" takes its best setting for each group.
Last, what motion costs beside drawing: milliseconds a pair (both directions, affine part, parts) and an image, of the
demo's generator.
"""

import argparse
import functools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from skimage.registration import optical_flow_ilk, optical_flow_tvl1

sys.path.insert(0, str(Path(__file__).parents[2]))
import linkjax
from linkjax.analysis.metrics.motion import measure_motion
from linkjax.analysis.metrics.optical_flow import optical_flow
from linkjax.demo.bundle import EMBEDDED, open_bundle
from tests.reference.warped_textures import Case, cases, errors

PEERS: dict[str, Callable[..., np.ndarray]] = {
    "scikit-image TV-L1": optical_flow_tvl1,
    "scikit-image TV-L1, median filter": functools.partial(optical_flow_tvl1, prefilter=True),
    "scikit-image TV-L1, attachment 30, longer": functools.partial(
        optical_flow_tvl1, attachment=30, num_warp=10, num_iter=20
    ),
    "scikit-image iterative Lucas–Kanade": optical_flow_ilk,
    "scikit-image iterative Lucas–Kanade, Gauss": functools.partial(optical_flow_ilk, gaussian=True, prefilter=True),
}


def _one_by_one(flow: Callable[..., np.ndarray], of: list[Case]) -> tuple[list[np.ndarray], float]:
    start = time.perf_counter()
    flows = [flow(case.first, case.second) for case in of]
    return flows, (time.perf_counter() - start) / len(of)


def _batched(of: list[Case]) -> tuple[list[np.ndarray], float]:
    first, second = (jnp.asarray(np.stack([getattr(case, name) for case in of])) for name in ("first", "second"))
    jax.block_until_ready(optical_flow(first, second))
    start = time.perf_counter()
    flows = np.asarray(optical_flow(first, second))
    return list(flows), (time.perf_counter() - start) / len(of)


def _row(of: list[Case], flows: list[np.ndarray], seconds: float) -> dict[str, Any]:
    each = np.array([errors(case, flow) for case, flow in zip(of, flows, strict=True)])

    def by(field: str) -> dict[str, list[float]]:
        groups = [getattr(case, field) for case in of]
        return {
            name: [round(float(v), 4) for v in each[[group == name for group in groups]].mean(0)]
            for name in dict.fromkeys(groups)
        }

    mean, ninetieth = each.mean(0)
    return {
        "mean": round(float(mean), 4),
        "ninetieth": round(float(ninetieth), 4),
        "milliseconds": round(1000 * seconds, 1),
        "by_motion": by("motion"),
        "by_texture": by("texture"),
    }


def _cost() -> dict[str, float]:
    """Milliseconds a pair of measure_motion, and an image drawn, in batches of 16 of the demo's generator."""
    generator = linkjax.load(open_bundle(EMBEDDED).path("generator"))
    z = np.random.default_rng(0).normal(size=(32, generator.spec.z_dim)).astype(np.float32)
    w = generator.mapping(z, label=np.arange(32) % generator.spec.num_classes)
    draw = jax.jit(lambda model, w: (model.synthesis(w) + 1.0) / 2.0)
    first, second = (draw(generator, rows) for rows in (w[:16], w[16:]))

    def milliseconds(function: Callable[..., Any], *arguments: Any) -> float:
        jax.block_until_ready(function(*arguments))
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        return round(1000 * (time.perf_counter() - start) / 16, 1)

    return {"pair": milliseconds(measure_motion, first, second), "image": milliseconds(draw, generator, w[:16])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    found: dict[str, Any] = {"cores": os.cpu_count(), "jax": jax.__version__, "sizes": {}}
    for size in arguments.sizes:
        of = cases(size)
        rows = {"linkjax": _row(of, *_batched(of))}
        rows |= {name: _row(of, *_one_by_one(flow, of)) for name, flow in PEERS.items()}
        found["sizes"][str(size)] = rows
        print(f"{size}², {len(of)} pairs: mean endpoint error, 90th percentile (pixels), ms a pair")
        for name, row in rows.items():
            print(f"  {name:44s}{row['mean']:8.3f}{row['ninetieth']:8.3f}{row['milliseconds']:8.0f}")
        best = min((row for name, row in rows.items() if name != "linkjax"), key=lambda row: row["mean"])
        ours = rows["linkjax"]
        ratio = [ours[key] / best[key] for key in ("mean", "ninetieth")]
        print(f"  linkjax / best of scikit-image: {ratio[0]:.2f}, {ratio[1]:.2f}")
        for group in ("by_motion", "by_texture"):
            for name in ours[group]:
                peers = min(row[group][name][0] for key, row in rows.items() if key != "linkjax")
                print(f"    {name:20s} linkjax {ours[group][name][0]:.3f}, best of each here {peers:.3f}")
    found["cost"] = _cost()
    print("motion of a pair {pair} ms, drawing an image {image} ms".format(**found["cost"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""How XLA compiles the stages' programs on a CPU: processor seconds to compile and to run, by choice of its options.

`python scripts/speed/bench_compiling.py [--json FILE]`. Each choice is a process of its own without a cache: a sweep of
the embedded world (96 images) and one image of a generator of 256² with an eighth of ImageNet's channels, each done
once, then three times more; the least of these is what it takes to run, the rest of the first is the compiler's.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

CHOICES = {
    "as XLA has it": {},
    "without fusion emitters": {"xla_cpu_use_fusion_emitters": False},
    "and in one piece": {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1},
}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(options: dict[str, bool | int]) -> dict[str, tuple[float, float]]:
    """CPU-seconds to compile and to run, by program."""
    import numpy as np

    import linkjax
    from linkjax.devices import parallel
    from linkjax.models import build
    from linkjax.models.generator_spec import Progression, stem_spec
    from linkjax.models.stylegan_xl import Generator

    parallel._compiler_options = lambda mesh: options
    study = linkjax.demo_study("planted")
    anchors = linkjax.sample(study, 3, classes=range(8))
    spec = stem_spec(256, progression=Progression(channel_base=8192, channel_max=128), num_classes=0)
    generator, mesh = build.random(Generator, spec, 0), parallel.mesh()
    items = {"w": np.random.default_rng(0).normal(size=(1, spec.w_dim)).astype(np.float32)}

    def draw(generator, items):
        return {"image": generator.synthesis(items["w"])}

    def sweep():
        linkjax.sweep(study, anchors, units=range(4), steps=3, random_directions=0, picture_units=0)

    def large():
        list(parallel.map_batches(draw, parallel.replicate(generator, mesh), iter([items]), 1, mesh, 1))

    found = {}
    for name, work in (("sweep, 96 images", sweep), ("256², one image", large)):
        spent = []
        for _ in range(4):
            before = _cpu()
            work()
            spent.append(_cpu() - before)
        found[name] = (round(spent[0] - min(spent[1:]), 2), round(min(spent[1:]), 2))
    return found


def main() -> None:
    """Each choice, printed and written."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--json", type=Path)
    given.add_argument("--choice", help="measure this one, here")
    chosen = given.parse_args()
    if chosen.choice:
        print(json.dumps(measure(CHOICES[chosen.choice])))
        return
    found = {}
    for name in CHOICES:
        command = [sys.executable, __file__, "--choice", name]
        environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
        said = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[name] = json.loads(said.splitlines()[-1])
        for program, (compiled, run) in found[name].items():
            print(f"{name}: {program}: {compiled:.1f} CPU-seconds to compile, {run:.2f} to run", flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

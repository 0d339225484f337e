"""`linkjax doctor`: what this installation runs on, and whether it still computes the numbers it should.

The self-check draws with a tiny generator, classifies and measures the images and solves a link, all from NumPy's fixed
random numbers, and compares with numbers stored here. They were computed in float32 on a CPU. Of folders of models it
says whether their weights are whole, and of imported classifiers whether they give the original program's numbers.
"""

import math
import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from linkjax import numerics
from linkjax.analysis.links.fit import fit_link
from linkjax.analysis.metrics.regions import measure_regions
from linkjax.errors import LinkjaxError
from linkjax.models import build
from linkjax.models.classifier import Classifier
from linkjax.models.classifier_spec import ClassifierSpec, Preprocessing
from linkjax.models.generator_spec import Progression, stem_spec
from linkjax.models.stylegan_xl import Generator
from linkjax.storage import loading, manifest

#: Of the largest stored value. Float32 in another order of sums stays below 1e-5; TF32 or bfloat16 products do not.
TOLERANCE = 5e-5

#: What `measure` gives: eight values, evenly spaced, of each array.
STORED: dict[str, tuple[float, ...]] = {
    "w": (1.265609, -0.0632302, -0.0383355, 0.1368555, 1.443723, 0.1765294, -0.1879769, -0.293299),
    "images": (
        -0.01561972,
        -6.92475e-05,
        -0.04376303,
        7.727448e-06,
        0.006335621,
        -0.002888667,
        -0.007360885,
        0.2154061,
    ),
    "r": (0, 0.02586402, 0.1849838, 0, 0.03472804, 0.4965441, 0, 0),
    "scores": (-0.09419309, -0.1797472, -0.2116861, -0.08776961, -0.1760665, -0.3121609),
    "part luminance": (132.7735, 128.8376, 129.6655, 132.7139),
    "part axes": (10.32796, 21.62958, 20.61632, 8),
    "link": (-0.3808782, -0.7284771, -0.3326693, -0.976202, 0.4795375, -1.637238, 0.005167213, -0.5613642),
}


def run(folders: tuple[Path, ...] = ()) -> None:
    """Print versions, devices, precision, memory and caches, then the self-check, then checks of models.

    Raises: LinkjaxError (exit code 1) if a number of the self-check or of a model is off.
    """
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in facts().items():
        table.add_row(name, value)
    console.print(table)
    start = time.perf_counter()
    console.print("self-check: about ten seconds, less once its programs are in the compile cache")
    errors = deviations(measure())
    for name, error in errors.items():
        console.print(f"{'ok ' if error <= TOLERANCE else 'OFF'} {name}: {error:.1e} of the largest value")
    wrong = [name for name, error in errors.items() if not error <= TOLERANCE]
    if wrong:
        raise LinkjaxError(
            f"the self-check is off in {', '.join(wrong)}: expected the stored numbers within {TOLERANCE:.0e} of the "
            "largest value; check for flags that lower the precision (XLA_FLAGS), and the driver and JAX versions above"
        )
    console.print(f"self-check passed in {time.perf_counter() - start:.0f} s, tolerance {TOLERANCE:.0e}")
    for folder in folders:
        console.print(f"ok {folder}: {check(folder)}")


def check(folder: Path) -> str:
    """What there is to say for a folder of weights: that it is whole, and as exact as the program it came from.

    Raises: InputError if it is damaged; LinkjaxError if its numbers are off.
    """
    model, made = loading.load_with_manifest(folder)
    errors = loading.check_numbers(folder, model, made)
    kept = ", ".join(f"{name} within {error:.1e} of the original's largest" for name, error in errors.items())
    return f"{made['kind']}, weights as its manifest names them" + (f", {kept}" if kept else "")


def facts() -> dict[str, str]:
    """Name → value of everything about this installation that can move a number or a time."""
    device = jax.local_devices()[0]
    settings: Any = jax.config  # its names are made at run time
    return {
        "versions": ", ".join(f"{name} {version}" for name, version in manifest.versions().items()),
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "devices": f"{jax.device_count()} × {device.device_kind} ({jax.default_backend()}), "
        f"{jax.process_count()} process(es)",
        "precision": f"{numerics.policy('float32').description}; on request {', '.join(list(numerics.POLICIES)[1:])}; "
        f"64-bit values {'on' if settings.jax_enable_x64 else 'off'}",
        "memory": f"{_host_memory()} in this machine, {_device_memory(device)} on a device",
        "disk": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB free in {Path.cwd()}",
        "compile cache": _compile_cache(settings),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS") or "none",
    }


def _compile_cache(settings: Any) -> str:
    """Where compiled programs are kept, and how many there are."""
    folder = settings.jax_compilation_cache_dir
    if not (folder and settings.jax_enable_compilation_cache):
        return "off; every run compiles anew"
    sizes = [file.stat().st_size for file in Path(folder).glob("*-cache")]
    return f"{folder}, {len(sizes)} programs, {sum(sizes) / 2**20:.0f} MiB"


def _host_memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    except (AttributeError, ValueError, OSError):  # not on every system
        return "unknown memory"


def _device_memory(device: Any) -> str:
    statistics = device.memory_stats() or {}
    if "bytes_limit" not in statistics:
        return "the same memory" if device.platform == "cpu" else "unknown memory"
    used, limit = statistics.get("bytes_in_use", 0) / 2**30, statistics["bytes_limit"] / 2**30
    return f"{limit - used:.1f} of {limit:.1f} GiB free"


def _fixed(random: np.random.RandomState, name: str, leaf: np.ndarray) -> np.ndarray:
    """A leaf of a model with NumPy's numbers where it holds random ones, for JAX's depend on the device."""
    last = name.rsplit(".", 1)[-1]
    if last not in ("kernel", "embed", "freqs", "phases") or not np.any(leaf):
        return leaf
    scale = 1.0
    if name.startswith("mapping.fc"):
        scale = 100.0  # undone by the layers' learning-rate multiplier of 0.01
    elif name.startswith(("network", "last")):
        scale = math.sqrt(2 / math.prod(leaf.shape[:-1]))
    return (random.standard_normal(leaf.shape) * scale).astype(np.float32)


def _model(cls: type, spec: object, seed: int):
    random = np.random.RandomState(seed)
    leaves = {name: np.asarray(leaf) for name, leaf in build.leaves(build.random(cls, spec)).items()}
    return build.fill(cls, spec, {name: _fixed(random, name, leaf) for name, leaf in sorted(leaves.items())})


def measure() -> dict[str, np.ndarray]:
    """The arrays of the self-check: w, images, r, scores, part metrics, and a link's coefficients."""
    progression = Progression(channel_base=256, channel_max=16)
    generator = _model(Generator, stem_spec(16, 4, progression, z_dim=8, w_dim=16, num_classes=3), 0)
    # Images as they are: rounded to bytes, a rounding of another device could move a whole level.
    as_is = Preprocessing(resize=None, crop=None, quantise=False)
    spec = ClassifierSpec("doctor", "resnet", (8, 16), (1, 1), expansion=1, num_classes=3, preprocessing=as_is)
    classifier = _model(Classifier, spec, 1)
    random = np.random.RandomState(2)
    w = generator.mapping(random.standard_normal((2, 8)).astype(np.float32), np.array([0, 2]), 0.7)
    images = generator.synthesis(w)
    found = classifier(classifier.preprocess(images))
    labels = np.add.outer(np.arange(16) // 6, np.arange(16) // 9).astype(np.int32)
    regions = measure_regions(jnp.clip((images[0] + 1) / 2, 0, 1), jnp.asarray(labels), 4)
    r = random.standard_normal((64, 12))
    link = fit_link(r, r @ random.standard_normal((12, 5)) + random.standard_normal((64, 5)), method="ridge")
    return {
        "w": np.asarray(w),
        "images": np.asarray(images),
        "r": np.asarray(found.penultimate),
        "scores": np.asarray(found.logits),
        "part luminance": np.asarray(regions.luminance),
        "part axes": np.asarray(regions.axis_major),
        "link": np.asarray(link.kernel),  # pyright: ignore[reportAttributeAccessIssue]
    }


def sample(values: np.ndarray) -> np.ndarray:
    """Eight values of an array, evenly spaced (fewer if it has fewer)."""
    flat = np.ravel(values)
    return flat[np.linspace(0, flat.size - 1, min(8, flat.size)).astype(int)]


def deviations(measured: dict[str, np.ndarray]) -> dict[str, float]:
    """Name → largest difference from the stored numbers, relative to the largest of them; infinite where not finite."""
    errors = {}
    for name, stored in STORED.items():
        expected = np.asarray(stored, np.float64)
        difference = np.abs(sample(measured[name]).astype(np.float64) - expected).max() / np.abs(expected).max()
        errors[name] = float(difference) if np.isfinite(measured[name]).all() else math.inf
    return errors

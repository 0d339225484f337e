"""report: one self-contained HTML page from stored results; no model is loaded."""

import dataclasses
import os
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from linkjax import config as configs
from linkjax.config import PathName
from linkjax.devices import cluster
from linkjax.errors import InputError
from linkjax.report.finding import results_in
from linkjax.storage import artifacts
from linkjax.storage import manifest as manifests

_RESULTS = (
    "pairs",
    "link",
    "evaluation",
    "congruence",
    "depth",
    "encoding",
    "segmenter",
    "screening",
    "sweep",
    "selection",
    "counterfactual",
    "side_by_side",
    "recovery",
    "comparison",
    "planted_comparison",
)


@dataclasses.dataclass(frozen=True)
class Config:
    """One page with tables and pictures, from any of the results that belong together; none named: all of a run."""

    stage: ClassVar[str] = "report"  # the table of its settings in a TOML

    out: PathName
    """Folder to make: index.html (complete in itself) and figures/*.png. If no result is named, the page shows those
    that lie beside it; of the folder of a run, it is made inside, as report."""
    pairs: PathName | None = None
    """Folder of `linkjax pairs`."""
    link: PathName | None = None
    """Folder of `linkjax link`."""
    evaluation: PathName | None = None
    """Folder of `linkjax evaluate`."""
    congruence: PathName | None = None
    """Folder of `linkjax congruence`."""
    depth: PathName | None = None
    """Folder of `linkjax depth`."""
    encoding: PathName | None = None
    """Folder of `linkjax encode`."""
    segmenter: PathName | None = None
    """Folder of `linkjax segment`."""
    screening: PathName | None = None
    """Folder of `linkjax screen`."""
    sweep: PathName | None = None
    """Folder of `linkjax sweep`."""
    selection: PathName | None = None
    """Folder of `linkjax select`."""
    counterfactual: PathName | None = None
    """Folder of `linkjax counterfactual`."""
    side_by_side: PathName | None = None
    """Folder of `linkjax compare`."""
    recovery: PathName | None = None
    """Folder of the demo's score on planted units."""
    comparison: PathName | None = None
    """Folder of the demo's two ways to raise units, side by side."""
    planted_comparison: PathName | None = None
    """The same of its planted units."""
    atlas: PathName | None = None
    """Folder of `linkjax atlas`, which the page leads to; none: the one beside the page, if there is one."""
    title: str = "linkjax report"
    """Heading of the page."""


def run(config: Config) -> None:
    """Write the page and its pictures, and print where the page lies; of several processes the first does it."""
    cluster.on_first(lambda: _write(complete(config)))


def complete(config: Config) -> Config:
    """The settings with the results that lie in the run's folder, if none is named.

    Raises: InputError if there are none, or if it is not clear which of several is meant.
    """
    from linkjax.report.sections import SECTIONS

    if any(getattr(config, name) is not None for name in _RESULTS):
        return config
    kinds = {kind.role: kind.kinds for kind in SECTIONS}
    out = Path(config.out)
    run = out if out.is_dir() and not (out / manifests.FILE).exists() else out.absolute().parent
    found = results_in(run, {name: kinds[name] for name in _RESULTS}) if run.is_dir() else {}
    if not found:
        raise InputError(
            f"expected at least one result to report in {run}, found none; give --out beside the results of a run, or "
            + " or ".join(f"--{name.replace('_', '-')} DIR" for name in _RESULTS)
        )
    out = out / "report" if run == out else out
    print(f"reported: {', '.join(sorted(path.name for path in found.values()))}")
    return dataclasses.replace(config, out=str(out), **{name: str(path) for name, path in found.items()})


def _write(config: Config) -> None:
    from linkjax.report import page  # Matplotlib and Jinja are needed for this stage only
    from linkjax.report.sections import SECTIONS
    from linkjax.report.source import Source, check_together

    kinds, given = {kind.role: kind.kinds for kind in SECTIONS}, {name: getattr(config, name) for name in _RESULTS}
    sources = [Source(name, path, kinds[name]) for name, path in given.items() if path is not None]
    check_together(sources)
    with artifacts.whole_folder(Path(config.out)) as folder:
        made = page.render(config.title, page.compose(sources), _atlas(config))
        (folder / "index.html").write_text(made.html, encoding="utf-8")
        (folder / "figures").mkdir()
        for name, content in made.pictures.items():
            (folder / "figures" / name).write_bytes(content)
        weights = {role: sha256 for source in sources for role, sha256 in source.weights.items()}
        made_from = {"weights": weights, "inputs": {source.role: source.id for source in sources}}
        summary = {"sections": [source.role for source in sources], "pictures": sorted(made.pictures)}
        identity = manifests.fingerprint({**made_from, "title": config.title})
        content = {"config": config, **made_from, "summary": summary, "id": identity}
        configs.write_toml(folder / "config.toml", "report", config)
        manifests.write(folder, manifests.build("report", computed=False, **content))
    print(Path(config.out) / "index.html")


def _atlas(config: Config) -> str | None:
    """Address of the atlas as seen from the page, where there is one.

    Raises: InputError if the folder that was named holds none.
    """
    out = Path(config.out).absolute()
    folder = out.parent / "atlas" if config.atlas is None else Path(config.atlas).absolute()
    if config.atlas is None and not (folder / manifests.FILE).is_file():
        return None
    manifests.read(folder, ("atlas",))
    return quote(Path(os.path.relpath(folder / "index.html", out)).as_posix())

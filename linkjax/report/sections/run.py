"""What was run: models, results, devices, versions, settings."""

from pathlib import Path
from typing import Any

from linkjax.errors import InputError
from linkjax.report.content import Notice, Section, Table, Term, Text
from linkjax.report.numbers import NONE, number, plain, short_hash
from linkjax.report.source import LINKS, SEGMENTERS, Context, Source
from linkjax.storage import manifest as manifests


def section(context: Context) -> Section:
    """The models behind all results of the page, and how each result was made."""
    sources = list(context.sources.values())
    models, remarks = _models(sources)
    blocks: list[Any] = [Notice(text) for text in remarks + _mismatches(sources)]
    blocks.append(models)
    precisions = {source.precision for source in sources if source.precision}
    if precisions:
        blocks.insert(len(remarks), Text(f"All numbers were computed in {' and '.join(sorted(precisions))}."))
    return Section(
        key="run",
        title="What was run",
        blocks=blocks,
        more=[_results(sources), _versions(sources), _settings(sources)],
        terms=[
            Term(
                "SHA-256, id",
                "Fingerprints, shortened to 12 characters. Weights with the same fingerprint are the same to the last "
                "bit; results with the same id come from the same settings, weights and inputs.",
                spelled=("SHA-256", "id"),
            )
        ],
    )


def _models(sources: list[Source]) -> tuple[Table, list[str]]:
    weights = {role: sha256 for source in sources for role, sha256 in source.weights.items()}
    rows, remarks = [], []
    for role in ("generator", "classifier", *sorted(set(weights) - {"generator", "classifier"})):
        if role not in weights:
            continue
        manifest = _model_manifest(role, weights[role], sources)
        origin = manifest.get("source") or {}
        rows.append(
            [
                role,
                _what(manifest),
                short_hash(weights[role]),
                number(manifest.get("parameters")),
                plain(origin.get("file") or origin.get("file_name")),
                plain(origin.get("licence") or origin.get("license") or origin.get("licence_note")),
            ]
        )
        if origin.get("note"):
            remarks.append(f"{role.capitalize()}: {origin['note']}")
    return (
        Table(
            "Models",
            ("role", "architecture", "weights, SHA-256", "parameters", "converted from", "licence of the weights"),
            rows,
            note=f"{NONE} where the model's folder was not at hand when this page was made.",
            numeric=(3,),
        ),
        remarks,
    )


def _model_manifest(role: str, sha256: str, sources: list[Source]) -> dict[str, Any]:
    """What a model's folder says of itself, if it still lies where the results were made from."""
    for source in sources:
        if (role == "link" and source.kind in LINKS) or (role == "segmenter" and source.kind in SEGMENTERS):
            return source.manifest
        folder = source.settings.get(role)
        if not isinstance(folder, str):
            continue
        try:
            found = manifests.read(Path(folder))
        except (InputError, OSError):
            continue
        if found.get("sha256") == sha256:
            return found
    return {}


def _what(manifest: dict[str, Any]) -> str:
    spec = manifest.get("spec") or {}
    told = (manifest.get("source") or {}).get("architecture")
    if told and manifest.get("kind") == "generator":
        return str(told)
    name = told or spec.get("arch") or spec.get("architecture") or spec.get("method") or manifest.get("kind")
    size = spec.get("resolution") or spec.get("img_resolution")
    return NONE if not name else f"{name}, {size} × {size} pixels" if size else str(name)


def _results(sources: list[Source]) -> Table:
    rows = []
    for source in sources:
        device = source.manifest.get("device") or {}
        count = device.get("count")
        where = f"{device.get('kind', NONE)}" + (f" × {count}" if isinstance(count, int) and count > 1 else "")
        made = (source.manifest.get("versions") or {}).get("linkjax")
        rows.append([source.role, source.path.name, short_hash(source.id), where, plain(made)])
    return Table("Results on this page", ("result", "folder", "id", "device", "linkjax"), rows, numeric=())


def _versions(sources: list[Source]) -> Table:
    found = [source.manifest.get("versions") or {} for source in sources]
    packages = list(dict.fromkeys(name for versions in found for name in versions))
    rows = [
        [name, ", ".join(dict.fromkeys(str(versions[name]) for versions in found if name in versions))]
        for name in packages
    ]
    return Table("Versions", ("package", "version"), rows, numeric=())


def _settings(sources: list[Source]) -> Table:
    rows = [[source.role, name, plain(value)] for source in sources for name, value in source.settings.items()]
    return Table("Settings", ("result", "setting", "value"), rows, numeric=())


def _mismatches(sources: list[Source]) -> list[str]:
    """Results of the same models that were not made from one another, or with other versions: allowed, but said."""
    by_role = {source.role: source for source in sources}
    found = [
        f"The {source.role} was made from other {role} (id {identity[:12]}) than those shown here "
        f"(id {by_role[role].id[:12]})."
        for source in sources
        for role, identity in source.inputs.items()
        if role in by_role and by_role[role].id and by_role[role].id != identity
    ]
    versions = {tuple(sorted((source.manifest.get("versions") or {}).items())) for source in sources}
    if len(versions) > 1:
        found.append("These results were not all made with the same versions; see Versions below.")
    return found

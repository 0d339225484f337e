"""Pairs of the latents of other pairs, as another classifier sees them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.analysis import finite
from linkjax.analysis import pairs as analysis
from linkjax.devices import parallel
from linkjax.devices.progress import progress
from linkjax.errors import InputError
from linkjax.ops.chunked import share_of
from linkjax.outside import class_map
from linkjax.stages import inputs
from linkjax.stages.pairs.arrays import called, make_arrays
from linkjax.storage import artifacts, coordinates
from linkjax.storage import manifest as manifests

_CHUNK = 8  # batches between two notes of what is done
#: Settings of pairs that say which samples they hold: with latents of others, theirs.
DRAWN = ("classes", "class_names", "n_train", "n_val", "n_test", "keep", "truncation", "seed", "seeding")


def count(path: str) -> int:
    """How many latents some pairs hold."""
    return sum(group["wanted"] for group in artifacts.Artifact(Path(path), "pairs").summary["groups"])


def classes(path: str) -> tuple[int, ...]:
    """The generator's classes that some pairs hold."""
    return tuple(artifacts.Artifact(Path(path), "pairs").summary["classes"])


def run(config: Any, generator: inputs.Model, classifier: inputs.Model) -> None:
    """Write pairs of the same samples as others, row by row, as another classifier sees them.

    w, class, sample id and split are copied, bit by bit. All rows are kept: one whose numbers are not finite is stored
    so, counted and named, since the rows of both must stay the same.

    Raises: InputError if the others were made with another generator or precision, or if a setting asks for other
      samples than theirs.
    """
    others = inputs.pairs(config.latents, generator)
    _check_settings(config, others)
    known = others.summary
    names = _names(others)
    seen_as = class_map.of(
        known["classes"], names, generator.model.spec.num_classes, classifier.model.spec.class_names,
        classifier.model.spec.num_classes, config.class_map, needed=False,
    )  # fmt: skip
    weights = {"generator": generator.sha256, "classifier": classifier.sha256}
    made_from = {"latents": others.id}
    if config.class_map is not None:
        made_from["class_map"] = manifests.fingerprint([known["classes"], seen_as])
    free = ("batch_size", "max_attempts", "nonfinite", *DRAWN)
    with artifacts.Writer(Path(config.out), "pairs", config, weights, made_from, free=free) as writer:
        units, w_dim = classifier.model.spec.num_units, known["w_dim"]
        total = sum(group["wanted"] for group in known["groups"])
        make_arrays(writer, total, units, w_dim)
        tally = finite.Tally(config.nonfinite, "samples")
        recognised = _encode(config, writer, others, (generator.model, classifier.model), tally, seen_as)
        writer.put("split", ("sample",), others.read("split"))
        writer.finish(
            {
                **called(names, known["classes"], seen_as, classifier.model.spec),
                **{name: known[name] for name in ("w_dim", "splits", "groups", "acceptance")},
                "units": units,
                "recognised": recognised,
                "drawn": {name: others.manifest["config"].get(name) for name in DRAWN},
                **tally.summary(),
            }
        )
    if tally.count:
        print(f"kept as they are, so that rows stay the same: {tally.describe()}")
    seen = "" if recognised is None else f", {100 * recognised:.1f} % of them recognised by this classifier"
    print(f"{total} pairs of the latents in {config.latents}{seen}")


def _check_settings(config: Any, others: artifacts.Artifact) -> None:
    """Raises: InputError for a setting that asks for other samples than those of the pairs given."""
    theirs = others.manifest["config"]
    for field in dataclasses.fields(config):
        name, asked = field.name, manifests.plain(getattr(config, field.name))
        if name in DRAWN and asked != manifests.plain(field.default) and asked != theirs.get(name):
            raise InputError(
                f"{name.replace('_', '-')}: expected none beside --latents, or that of the pairs in {config.latents} "
                f"({theirs.get(name)}), found {asked}; leave it out"
            )


def _encode(
    config: Any,
    writer: artifacts.Writer,
    others: artifacts.Artifact,
    models: tuple[Any, Any],
    tally: finite.Tally,
    seen_as: Sequence[int],
) -> float | None:
    """Fill the arrays in noted chunks; returns the share of recognised samples, None where no class is known."""
    mesh = parallel.mesh()
    size = parallel.round_up(config.batch_size, mesh)
    chunk = writer.done("samples per chunk") or size * _CHUNK
    writer.mark("samples per chunk", chunk)
    share, headed = share_of(models[0].spec.resolution), bool(models[1].spec.num_classes)
    models = parallel.replicate(models, mesh)
    total = count(config.latents)
    as_seen = dict(zip(others.summary["classes"], seen_as, strict=True))
    with_class = recognised = 0
    with progress("samples", total) as advance:
        for start in range(0, total, chunk):
            rows = slice(start, min(start + chunk, total))
            note = writer.done(f"{start}")
            if note is None:
                w, label, ids = (others.read(name, rows) for name in ("w", "label", "sample_id"))
                found = parallel.map_items(analysis.encode, models, {"w": w}, size, mesh, share=share)
                fields = {**found._asdict(), "w": w, "label": label, "sample_id": ids}
                for name, values in fields.items():
                    writer.group[name][rows] = values
                good = finite.rows(w, found.r)
                if headed:
                    good &= finite.rows(found.probability)
                named = np.array([as_seen[each] for each in label.tolist()])
                note = {
                    "nonfinite": finite.note(good, label, ids),
                    "with_class": int((named >= 0).sum()),
                    "recognised": int(((named >= 0) & (named == found.prediction)).sum()),
                }
                writer.mark(f"{start}", note)
            tally.add(note["nonfinite"])
            with_class, recognised = with_class + note["with_class"], recognised + note["recognised"]
            advance(rows.stop - rows.start)
    return recognised / with_class if with_class else None


def _names(others: artifacts.Artifact) -> tuple[str, ...]:
    """What the classes of pairs are called; none where they are known by their numbers alone."""
    ids, names = others.summary["classes"], tuple(others.summary["class_names"])
    return () if names == tuple(coordinates.called(ids, {})) else names

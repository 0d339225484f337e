"""sweep: set units to values, draw, re-encode, measure."""

from pathlib import Path

from linkjax import numerics
from linkjax.stages import inputs, layers, readouts
from linkjax.stages.linked import opened
from linkjax.stages.sweep.schedule import Sweep
from linkjax.stages.sweep.settings import Config
from linkjax.storage import artifacts

_RANGE_ROWS = 8192  # training samples a unit's range is read from, evenly spread


@numerics.float32_default()
def run(config: Config) -> None:
    """Write the sweep: metrics by (sample, unit, step, part, metric), fidelity, responses, side effects, pictures."""
    loaded = opened(config)
    generator, classifier, link, pairs = loaded
    segmenter = None if config.segmenter is None else inputs.segmenter(config.segmenter, generator)
    raising = inputs.raising(link, config.link, config.directions)
    if config.layers is not None:  # a typing error need not wait for the work
        layers.mask(config.layers, generator.model.spec)
    steered = None if config.directions == "kernel" else inputs.steered(link)
    named = inputs.readouts(config.readouts, classifier, link, pairs) if config.readouts else None
    units = inputs.units(config.units, pairs.summary["units"] if named is None else len(named.names))
    weights = loaded.weights
    if segmenter is not None:
        weights["segmenter"] = segmenter.sha256
    embedder = None if config.embedder is None else inputs.embedder(config.embedder)
    if embedder is not None:
        weights["embedder"] = embedder.sha256
    encoding = inputs.encoding(config.encoding, weights, pairs) if config.encoding else None
    of_readouts = {} if named is None else {"readouts": named.sha256}
    screening = None
    if config.screening:
        screening = inputs.screening(config.screening, weights, pairs, config.directions, of_readouts)
    optional = {"encoding": encoding, "screening": screening}
    made_from = {"pairs": pairs.id, **{role: made.id for role, made in optional.items() if made is not None}}
    made_from |= of_readouts
    if screening is not None and config.candidates is not None:
        units = inputs.candidates(screening, units, config.candidates)
    classes = inputs.classes(config.classes, link, config.link, pairs)
    anchors = inputs.anchors(pairs, encoding, config.samples, classes, config.split)
    fitted = inputs.fitted_classes(link, config.link, pairs)
    trained = {name: inputs.spread_rows(pairs, name, "train", _RANGE_ROWS, fitted) for name in ("r", "label")}
    of_anchors = inputs.rows_of_anchors(pairs, anchors["label"], encoding is not None, _RANGE_ROWS)
    seen, reading = classifier.model, None
    if named is not None and steered is not None:
        reading = readouts.reading(named, steered, trained["r"], trained["label"])
        readouts.print_summary(reading)
        trained, of_anchors, anchors = (reading.of(each) for each in (trained, of_anchors, anchors))
        seen, raising = reading.seen_by(seen), reading.steps
    models = (generator.model, seen, raising, None if segmenter is None else segmenter.model)
    with artifacts.Writer(
        Path(config.out),
        "sweep",
        config,
        weights,
        made_from,
        free=("batch_size", "nonfinite"),
        classes=inputs.class_names(pairs, None),
    ) as writer:
        shown_to = None if embedder is None else embedder.model
        given = (config, writer, (trained, of_anchors), anchors, screening, models, units, steered, reading, shown_to)
        Sweep(*given).run()

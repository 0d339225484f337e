"""counterfactual: shift r until the drawn image flips its class, by the paper's recipe or as little as possible."""

from pathlib import Path

from linkjax import numerics
from linkjax.analysis import finite
from linkjax.devices import parallel
from linkjax.stages import inputs
from linkjax.stages.counterfactual import walks
from linkjax.stages.counterfactual.outcome import store_pictures, summary_of
from linkjax.stages.counterfactual.searches import covariance_of, floor_of, roots_from, search_all, searches_of
from linkjax.stages.counterfactual.settings import Config
from linkjax.stages.linked import opened
from linkjax.storage import artifacts


@numerics.float32_default()
def run(config: Config) -> None:
    """Write the counterfactuals: shift, outcome, distances and path by search, boundaries by pair, and pictures."""
    loaded = opened(config, needs_classes=True)
    generator, classifier, link, pairs = loaded
    weights = loaded.weights
    segmenter = None if config.segmenter is None else inputs.segmenter(config.segmenter, generator)
    if segmenter is not None:
        weights["segmenter"] = segmenter.sha256
    encoding = inputs.encoding(config.encoding, weights, pairs) if config.encoding else None
    items = searches_of(config, link, pairs, encoding, classifier.model.spec.num_classes)
    made_from = {"pairs": pairs.id, **({} if encoding is None else {"encoding": encoding.id})}
    shrunk = covariance_of(config, pairs)
    with artifacts.Writer(
        Path(config.out), "counterfactual", config, weights, made_from, free=("batch_size", "nonfinite")
    ) as writer:
        mesh = parallel.mesh()
        roots = roots_from(shrunk)
        models = parallel.replicate((generator.model, classifier.model, link.model, *roots), mesh)
        tally = finite.Tally(config.nonfinite, "searches", ("class", "sample", "to class"))
        search_all(config, writer, items, models, floor_of(pairs), mesh, tally)
        store_pictures(config, writer, items, models, mesh)
        summary = summary_of(config, writer, items, pairs, None if shrunk is None else shrunk.shrinkage)
        if config.path_points:
            parts = None if segmenter is None else segmenter.model
            summary["paths"] = walks.walk_all(config, writer, items, pairs, (*models[:3], parts), mesh)
        writer.finish({**summary, **tally.summary()})
    tally.print_summary()

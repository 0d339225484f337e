"""One module for each kind of result: `section(source, context)` turns it into a part of the page.

To add a kind of result, write its module and give it a row in `SECTIONS`; the page's order is theirs. Before them comes
what was found (`findings`), which reads several results, and after them what was run (`run`).
"""

from collections.abc import Callable
from typing import NamedTuple

from linkjax.report.content import Section
from linkjax.report.sections import (
    congruence,
    counterfactual,
    depth,
    encode,
    evaluation,
    link,
    pairs,
    recovery,
    screening,
    segmenter,
    selection,
    side_by_side,
    sweep,
)
from linkjax.report.source import LINKS, SEGMENTERS, Context, Source


class Kind(NamedTuple):
    """A kind of result the report can show."""

    role: str
    kinds: tuple[str, ...]
    section: Callable[[Source, Context], Section] | None  # none: it is shown among what was found


SECTIONS = (
    Kind("comparison", ("comparison",), None),
    Kind("planted_comparison", ("comparison",), None),
    Kind("recovery", ("recovery",), recovery.section),
    Kind("selection", ("selection",), selection.section),
    Kind("sweep", ("sweep",), sweep.section),
    Kind("screening", ("screening",), screening.section),
    Kind("counterfactual", ("counterfactual",), counterfactual.section),
    Kind("encoding", ("encoding",), encode.section),
    Kind("side_by_side", ("side_by_side",), side_by_side.section),
    Kind("evaluation", ("evaluation",), evaluation.section),
    Kind("congruence", ("congruence",), congruence.section),
    Kind("depth", ("depth",), depth.section),
    Kind("segmenter", SEGMENTERS, segmenter.section),
    Kind("link", LINKS, link.section),
    Kind("pairs", ("pairs",), pairs.section),
)

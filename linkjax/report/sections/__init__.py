"""One module for each kind of result: `section(source, context)` turns it into a part of the page.

To add a kind of result, write its module and give it a row in `SECTIONS`; the page's order is theirs.
"""

from collections.abc import Callable
from typing import NamedTuple

from linkjax.report.content import Section
from linkjax.report.sections import (
    congruence,
    counterfactual,
    encode,
    evaluation,
    link,
    pairs,
    recovery,
    screening,
    segmenter,
    selection,
    sweep,
)
from linkjax.report.source import LINKS, SEGMENTERS, Context, Source


class Kind(NamedTuple):
    """A kind of result the report can show."""

    role: str
    kinds: tuple[str, ...]
    section: Callable[[Source, Context], Section]


SECTIONS = (
    Kind("pairs", ("pairs",), pairs.section),
    Kind("link", LINKS, link.section),
    Kind("evaluation", ("evaluation",), evaluation.section),
    Kind("congruence", ("congruence",), congruence.section),
    Kind("encoding", ("encoding",), encode.section),
    Kind("segmenter", SEGMENTERS, segmenter.section),
    Kind("screening", ("screening",), screening.section),
    Kind("sweep", ("sweep",), sweep.section),
    Kind("selection", ("selection",), selection.section),
    Kind("counterfactual", ("counterfactual",), counterfactual.section),
    Kind("recovery", ("recovery",), recovery.section),
)

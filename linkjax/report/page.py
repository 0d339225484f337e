"""Sections to one HTML page that needs nothing beside itself: no network, no script, pictures inline."""

import base64
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jinja2

from linkjax.errors import InputError
from linkjax.report import figures
from linkjax.report.content import Plot, Row, Section
from linkjax.report.glossary import Words
from linkjax.report.sections import SECTIONS, findings, run
from linkjax.report.source import Context, Source


class Page(NamedTuple):
    """What a report consists of."""

    html: str
    pictures: dict[str, bytes]  # file name → PNG, the same as those in the page


def compose(sources: Iterable[Source]) -> list[Section]:
    """The sections of the given results, in the page's order.

    Raises: InputError naming the result that does not hold what its kind should.
    """
    context = Context(sources)
    found: list[Section | None] = []
    for source, make in _parts(context):
        try:
            found.append(make())
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"{source.path}: does not hold what this linkjax expects of a {source.kind} "
                f"({type(error).__name__}: {error}); make it again"
            ) from error
    return [section for section in found if section is not None] + [run.section(context)]


def _parts(context: Context) -> Iterator[tuple[Source, Callable[[], Section | None]]]:
    """What makes each section, and the result to blame where it cannot."""
    telling = [context.sources[role] for role in (*findings.COMPARISONS, "selection") if role in context.sources]
    if telling:
        yield telling[0], lambda: findings.section(context)
    for kind in SECTIONS:
        if kind.section is not None and kind.role in context.sources:
            source = context.sources[kind.role]
            yield source, functools.partial(kind.section, source, context)


def render(title: str, sections: Sequence[Section], atlas: str | None = None) -> Page:
    """The page of these sections.

    Args:
      title: the page's heading.
      sections: in order; their limits and terms are gathered at the end, before the last of them.
      atlas: address of the run's atlas as seen from the page, or None; units in pictures lead to their cards in it.
    Returns: HTML and PNG files; the same sections give the same bytes.
    """
    pictures: dict[str, bytes] = {}
    for section in sections:
        for block in [*section.blocks, *section.more]:
            for plot in block.plots if isinstance(block, Row) else ():
                assert _file(plot) not in pictures, plot.name
                pictures[_file(plot)] = figures.png(plot.figure)

    def inline(plot: Plot) -> str:
        return "data:image/png;base64," + base64.b64encode(pictures[_file(plot)]).decode("ascii")

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("linkjax.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = Words(term for section in sections for term in section.terms)
    html = environment.get_template("page.html").render(
        title=title, sections=list(sections[:-1]), last=sections[-1], words=words, inline=inline, atlas=atlas,
        facts=[fact for each in sections for fact in each.facts],
        size=lambda plot: figures.size_in_page(plot.figure),
    )  # fmt: skip
    return Page(html, pictures)


def _file(plot: Plot) -> str:
    return f"{plot.name}.png"

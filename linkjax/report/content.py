"""What a section of the report is made of. Everything is plain text here: the page escapes it."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, TypeVar

from linkjax.report.figures import Figure

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Cell:
    """A table's cell: its text, a smaller remark below it, and whether it stands out.

    `unit` is the unit of the run's own sweep that it names, which has a card in the run's atlas.
    """

    text: str
    remark: str = ""
    strong: bool = False
    unit: int | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of cells; the first column names the row.

    `numeric` says which columns hold numbers (aligned right): all but the first unless told.
    """

    block: ClassVar[str] = "table"
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    note: str = ""
    numeric: Sequence[int] | None = None

    def aligned_right(self, column: int) -> bool:
        """Whether a column holds numbers."""
        return column > 0 if self.numeric is None else column in self.numeric


@dataclasses.dataclass(frozen=True)
class Plot:
    """A figure, with the stem of its file's name, a caption, and a text for those who cannot see it.

    `unit` is the unit of the run's own sweep that it shows, which has a card in the run's atlas.
    """

    name: str
    figure: Figure
    caption: str
    alt: str
    unit: int | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """Tables, then figures, side by side where the page is wide enough."""

    block: ClassVar[str] = "row"
    plots: Sequence[Plot]
    tables: Sequence[Table] = ()


@dataclasses.dataclass(frozen=True)
class Text:
    """A paragraph."""

    block: ClassVar[str] = "text"
    text: str


@dataclasses.dataclass(frozen=True)
class InAtlas:
    """A paragraph that leads to where the run's atlas shows all of something; without an atlas there is none."""

    block: ClassVar[str] = "atlas"
    text: str
    state: str = ""  # of the atlas's page, as in its address


@dataclasses.dataclass(frozen=True)
class Notice:
    """A paragraph that a reader must not miss."""

    block: ClassVar[str] = "notice"
    text: str


@dataclasses.dataclass(frozen=True)
class Fact:
    """A main number, shown after what was found."""

    label: str
    value: str
    remark: str = ""


@dataclasses.dataclass(frozen=True)
class Term:
    """A number of this section explained: in words, and as a formula.

    `meaning` is empty where the glossary has the word. `spelled` is what else it is called in this section.
    """

    name: str
    meaning: str = ""
    formula: str = ""
    spelled: Sequence[str] = ()


Block = Table | Row | Text | InAtlas | Notice


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page about one stored result.

    `blocks` are seen at once, `more` when a reader opens them. `facts` go below what was found, `terms` and `limits` to
    the page's end.
    """

    key: str
    title: str
    blocks: Sequence[Block]
    more: Sequence[Block] = ()
    facts: Sequence[Fact] = ()
    terms: Sequence[Term] = ()
    limits: Sequence[str] = ()


def clipped(rows: Sequence[T], most: int, what: str) -> tuple[Sequence[T], str]:
    """The first `most` rows, and a remark on how many are not shown."""
    if len(rows) <= most:
        return rows, ""
    return rows[:most], f"The first {most} of {len(rows)} {what}; the rest is in the stored result."

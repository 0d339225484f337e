"""The pages say what the code says: every page is in the site, every message and every metric is the code's own."""

import re
from pathlib import Path

from linkjax.analysis.metrics.measurements import METRICS
from linkjax.atlas.words import WORDS
from linkjax.report.glossary import GLOSSARY

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def rows(page, first="`"):
    """Cells of the tables of a page, by row, of rows that begin so."""
    lines = [line for line in (DOCS / page).read_text(encoding="utf-8").splitlines() if line.startswith(f"| {first}")]
    return [[cell.strip().replace("\\*", "*") for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_page_is_in_the_sites_contents():
    contents = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(contents) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert link.startswith("http") or (page.parent / link).exists(), (page.name, link)


def test_metrics_are_explained_as_the_code_has_them():
    found = {cells[0]: cells[2:] for cells in rows("metrics.md") if len(cells) == 4}
    assert found == {
        f"`{name}`": [metric.unit.replace("1", "–"), metric.description] for name, metric in METRICS.items()
    }
    words = {cells[0].strip("`"): tuple(cells[1:]) for cells in rows("glossary.md")}
    assert words == {name: WORDS[name] for name in METRICS if name in WORDS}


def test_the_glossary_is_that_of_the_reports_page():
    found = [
        [re.sub(r" \(\[[^\]]+\]\([^)]+\)\)|[*`]", "", cell) for cell in cells] for cells in rows("glossary.md", "**")
    ]
    assert found == [[", ".join(entry.names), entry.meaning] for entry in GLOSSARY]


def test_messages_that_are_explained_are_ones_that_linkjax_gives():
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "linkjax").rglob("*.py")]
    said = re.sub(r'"\s*\n\s*(?:\+ )?f?"', "", "\n".join(sources))  # a sentence over several lines
    said = re.sub(r"\{[^{}\n]*\}", "…", said)  # whatever is filled in
    cells = [row[0] for row in rows("troubleshooting.md")]
    messages = [message for cell in cells for message in re.findall(r"`([^`]{12,})`", cell)]
    assert len(messages) > 20
    missing = [
        message
        for message in messages
        if not all(piece.strip(" ;,") in said for piece in message.split("…") if len(piece) > 3)
    ]
    assert missing == []

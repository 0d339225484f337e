"""The glossary: what linkjax's words mean. `docs/glossary.md` is the same table, held to this one by a test."""

import re
from collections.abc import Iterable
from typing import NamedTuple

import markupsafe

from linkjax.report.content import Term


class Entry(NamedTuple):
    """A row of the glossary: the words it explains, what they mean, and what else they look like in a text.

    `spelled` are regular expressions; case counts. None: the words themselves. Empty: too common a word to be found.
    """

    names: tuple[str, ...]
    meaning: str
    spelled: tuple[str, ...] | None = None


GLOSSARY = (
    Entry(("r",), "penultimate activations of the classifier, one number a unit"),
    Entry(
        ("w", "W"),
        "a latent of the generator after its mapping network, and the space of them; W+ has a row a layer",
        ("w", r"W\+?"),
    ),
    Entry(("link",), "the linear map r → w, and what was fitted with it", (r"[Ll]inks?",)),
    Entry(
        ("kernel",), "the link's matrix; its row of a unit predicts w from that unit. The paper raises units along it"
    ),
    Entry(
        ("steering direction", "steer"),
        "the step in W that raises a unit by 1, by how w and r vary together within classes",
        (r"[Ss]teering directions?",),
    ),
    Entry(("own remainder",), "what is left of a unit's step without the directions that many units share"),
    Entry(("local steps",), "steps of one sample, from its own slopes of r"),
    Entry(
        ("readout",),
        "anything linear in r that is raised in the place of a unit: a class score, a probe, a latent of a sparse "
        "autoencoder",
        (r"[Rr]eadouts?",),
    ),
    Entry(
        ("pairs",),
        "samples with their w, r and class: a training, a validation and a test split that share no sample",
        (r"[Pp]airs(?! of)", r"(?:training|test) pairs"),
    ),
    Entry(("anchor",), "a sample that units are raised in", (r"[Aa]nchors?", "anchor images")),
    Entry(("σ",), "standard deviation of a unit's activation over the training pairs; effects are per σ"),
    Entry(("step",), "one of the values that a unit is set to in a sweep", ()),
    Entry(
        ("asked", "obtained"),
        "the value that a unit is set to, and the one found when the drawn image is shown to the classifier again",
    ),
    Entry(
        ("fidelity",),
        "slope of obtained on asked values: 1 is as asked, 0 is not at all",
        (r"[Ff]idelit(?:y|ies)",),
    ),
    Entry(("off range",), "share of asked values that the sample's class never shows in training"),
    Entry(
        ("caution",),
        "most values asked are off range, or fidelity is surely outside 0.5 … 1.5",
        (r"[Cc]autions?", r"[Bb]eware"),
    ),
    Entry(
        ("effect",),
        "slope of a measurement on the asked value, per σ, mean over anchors",
        (r"[Ee]ffects?",),
    ),
    Entry(("per σ obtained",), "the same per σ that was obtained", (r"per σ obtained", r"[Pp]er change obtained")),
    Entry(("side effect",), "change of another unit, in its σ, when this one is raised", (r"[Ss]ide effects?",)),
    Entry(
        ("double",),
        "a unit that the picture can hardly tell from another (or from its opposite); doubles form a cluster, of which "
        "one is the representative",
        (r"[Dd]oubles?",),
    ),
    Entry(("significant", "surely"), "q ≤ the selection's fdr", (r"[Ss]ignificant", "surely")),
    Entry(
        ("q",),
        "share of false discoveries to expect if this effect and all surer ones of the same measurement are believed",
    ),
    Entry(
        ("part",),
        "a region of the image that the segmenter knows, such as ear; image is all of it",
        (r"[Pp]arts?(?! of)",),
    ),
    Entry(
        ("name",),
        "a word of a list: towards it pictures move when the unit is raised, or it fits those in which the unit is "
        "high",
        (),
    ),
    Entry(("embedder",), "the image tower of an image–text model, with vectors of words"),
    Entry(
        ("screening",),
        "first-order effects of all units by derivatives, without drawing them",
        (r"[Ss]creening",),
    ),
    Entry(
        ("ablation", "without it"),
        "what happens to class scores when a unit is held at 0 or at its mean; no image is drawn",
        (r"[Aa]blations?", r"without a unit"),
    ),
    Entry(
        ("counterfactual",),
        "the least change of r found after which the drawn image is another class",
        (r"[Cc]ounterfactuals?",),
    ),
    Entry(
        ("transition unit",),
        "a unit among those that change most on the way between two classes, more often than chance",
        (r"[Tt]ransition units?",),
    ),
    Entry(
        ("boundary width",),
        "distance in r over which the probability of the target rises",
        ("boundary width", "width in r", "[Ww]idth of the boundary"),
    ),
    Entry(("re-encoding",), "showing a drawn image to the classifier again"),
    Entry(
        ("manifest",),
        "manifest.json beside every result: weights by SHA-256, settings, versions, device, main numbers",
    ),
    Entry(("chunk",), "a piece of a stored array; a killed run goes on after the last whole one", ()),
)


class Explained(NamedTuple):
    """An entry of a page's own list of words: the glossary's, or one of a section, with a formula if there is one."""

    anchor: str
    name: str
    meaning: str
    formula: str


class Words:
    """The words of one page: leads from a text to their meaning, and knows which were met.

    Args:
      terms: of the page's sections; of several with one name the first is taken. A term that the glossary has adds its
        formula to that entry, and its own meaning in the place of the glossary's if it has one.
    """

    def __init__(self, terms: Iterable[Term]):
        self._known: dict[str, Explained] = {}
        spelled: dict[str, str] = {}
        for entry in GLOSSARY:
            anchor = _anchor(entry.names[0])
            self._known[anchor] = Explained(anchor, ", ".join(entry.names), entry.meaning, "")
            own = map(re.escape, entry.names) if entry.spelled is None else entry.spelled
            spelled |= dict.fromkeys(own, anchor)
        self._met: set[str] = set()
        own_terms: set[str] = set()
        for term in terms:
            anchor = _anchor(term.name)
            if anchor in own_terms:
                continue
            own_terms.add(anchor)
            known = self._known.get(anchor)
            meaning = term.meaning or (known.meaning if known else "")
            self._known[anchor] = Explained(anchor, known.name if known else term.name, meaning, term.formula)
            self._met.add(anchor)
            for text in (term.name, *term.spelled) if not known else term.spelled:
                spelled.setdefault(_either_case(text), anchor)
        longest = sorted(spelled, key=len, reverse=True)
        self._anchor_of = [spelled[each] for each in longest]
        # a group each, so that the match tells which; not inside another word, and not before a hyphen
        self._pattern = re.compile(r"(?<![\w\-–’'])(?:" + "|".join(f"({each})" for each in longest) + r")(?![\w\-²’'])")
        self._here: set[str] = set()

    def enter(self) -> str:
        """A new section begins, in which every word leads to its meaning once more; nothing is written."""
        self._here = set()
        return ""

    def linked(self, text: str) -> markupsafe.Markup:
        """The text, escaped, with the first of each known word since `enter` as a link to its meaning."""
        found, end = markupsafe.Markup(), 0
        for match in self._pattern.finditer(text):
            assert match.lastindex is not None
            anchor = self._anchor_of[match.lastindex - 1]
            if anchor in self._here:
                continue
            self._here.add(anchor)
            self._met.add(anchor)
            found += markupsafe.escape(text[end : match.start()])
            found += markupsafe.Markup('<a class="word" href="#{}">{}</a>').format(anchor, match[0])
            end = match.end()
        return found + markupsafe.escape(text[end:])

    def met(self) -> list[Explained]:
        """What was led to, and all terms of the sections, by name."""
        return sorted((self._known[anchor] for anchor in self._met), key=lambda each: (each.name.lower(), each.name))


def _anchor(name: str) -> str:
    return "word-" + re.sub(r"[^\w]+", "-", name.lower()).strip("-")


def _either_case(text: str) -> str:
    """A pattern of a term that begins a sentence or does not; one that is a symbol is taken as it is."""
    first, rest = text[0], re.escape(text[1:])
    return f"[{first.upper()}{first.lower()}]{rest}" if first.isalpha() and len(text) > 1 else re.escape(text)

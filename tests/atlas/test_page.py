"""The atlas as a reader meets it: in a browser, from disk, without a network."""

import csv
import io
import json

import numpy as np
import pyarrow.parquet
import pytest

from linkjax.analysis.units import query as queries
from linkjax.analysis.units import selection
from linkjax.atlas.read import Results
from linkjax.errors import InputError
from linkjax.outside.photographs.folder import Folder
from linkjax.storage import artifacts
from tests.atlas.conftest import UNITS

QUERIES = (
    "ear.area > 0",
    "ear.area",
    "abs(hind_leg.axis_major) > 0.5",
    "not ear.area",
    "ear.area < 0 or hind_leg.area > 0",
    "ear.area > 0 and fidelity > 0.5 or not representative",
    "(image.luminance or ear.red_green) and not off_range >= 0.3",
    "0 < ear.axis_major < 30",
    "0.1 < fidelity <= .95 and consistency == 1",
    "ear.area and hind_leg.area and consistency > 0.9",
    "unit >= 10 and unit != 0x10 and unit < 1_0e1",
    "fidelity > -fidelity and abs(-1) == 1",
    "representative == True and cluster >= +0",
    "not not ear.area and not (unit < 5 or unit > 50)",
    "ear . area > - 1e3",
    "side_effect > 0.1 and step_w < 1",
    "1 < 2",
    "fidelity != fidelity",
    "ear.area.per_obtained > 1",
    "abs(ear.area.per_obtained) > 20 or hind_leg . area . per_obtained < 0 and first_stage > 10",
    "ear.axis_major.per_obtained",
)
REFUSED = (
    "ear.are > 0", "ears.area > 0", "fidelity", "1", "ear > 0", "ear.area +", "ear.area > 0 and", "fidelity + 1 > 0",
    "abs(ear.area, 2) > 0", "max(ear.area) > 0", "ear.area.real > 0", "ear.area > 012", "ear.area > 1e40", "()",
    "ear.area > 0 ear.area", "ear.area is 1", "a < not b", "'x' < 1", "ear.area > 1__0", "not", "abs(ear.area)",
    "fidelity > nothing", "ear.area >> 1", "[ear.area] > 0",
    "ear.area.per_obtained.per_obtained > 0", "ear.area.per_asked > 0", "ear.per_obtained > 0",
    "ear.are.per_obtained > 0",
)  # fmt: skip


@pytest.fixture(scope="module")
def table(made):
    paths = {role: made / "run" / role for role in ("sweep", "selection", "pairs")}
    return Results(paths).table


def shown(browser):
    """Numbers of the units found, in order."""
    return browser.run("Atlas.found().rows.map((row) => Atlas.index.unit[row])")


def ask(browser, text):
    browser.run("document.getElementById('text').select()")
    browser.type(text)
    browser.run("new Promise((done) => setTimeout(done, 30))")
    return browser


def test_it_opens_from_disk_says_nothing_and_asks_nothing_of_a_network(page):
    browser = page()
    assert browser.run("document.title") == "Matrix · Dogs & <others>"
    assert shown(browser) and len(shown(browser)) == UNITS
    for view in ("map", "compare", "pairs", "guide", "unit"):
        browser.run(f"Atlas.go({{view: '{view}', unit: 3}}, true)")
        browser.run("new Promise((done) => setTimeout(done, 60))")
        assert browser.run("document.getElementById('look').innerText.length") > 20, view
    assert browser.messages == []
    assert [each for each in browser.requests if not each.startswith(("file:", "data:"))] == []


def test_names_in_the_results_are_text_and_nothing_else(page, made):
    browser = page("unit=3")
    browser.wait("document.querySelectorAll('#look table').length > 1")
    assert browser.run("document.querySelectorAll('#look b, #look others').length") == 0
    assert "<b>whippet</b>" in browser.run("document.getElementById('look').textContent")
    html = (made / "atlas" / "index.html").read_text()
    assert "default-src 'none'" in html and "unsafe" not in html and "http" not in html.replace("http-equiv", "")
    for tag in ("<style", "onclick", "onload", "style="):
        assert tag not in html


def test_a_query_finds_what_select_finds_in_the_same_order(page, table):
    browser = page()
    for text in QUERIES:
        browser.run(f"Atlas.go({{q: {json.dumps(text)}}})")
        browser.wait(f"Atlas.found().query?.text === {json.dumps(text)}")
        found = list(dict.fromkeys(selection.select(table, text, fdr=0.1)["unit"].values.tolist()))
        if not browser.run(
            "Atlas.found().query.effects.length"
        ):  # select lists significant effects, of which a unit may have none
            assert [unit for unit in shown(browser) if unit in found] == found, text
            found = _answer(table, text)
            assert sorted(shown(browser)) == found, text
        else:
            assert shown(browser) == found, text


def _answer(table, text):
    names = [table[name].values.tolist() for name in ("part", "metric")]
    asked = queries.parse(text, *names, selection.known_columns(table))
    effect, q = table["effect"].values, table["q"].values
    columns = selection.columns_of(table, asked, np.nan_to_num(_in_sd(table), nan=-1.0))
    significant = np.nan_to_num(q, nan=np.inf) <= 0.1
    return np.flatnonzero(queries.answer(asked, effect, significant, *names, columns)).tolist()


def test_what_select_refuses_the_page_refuses(page, table):
    names = [table[name].values.tolist() for name in ("part", "metric")]
    browser = page()
    known = selection.known_columns(table)
    for text in REFUSED:
        with pytest.raises(InputError):
            queries.parse(text, *names, known)
        refused = browser.run(
            f"(() => {{ try {{ Atlas.parseQuery({json.dumps(text)}, Atlas.known()); return ''; }} "
            "catch (error) { return error instanceof Atlas.QueryError ? error.message : 'crash ' + error; } })()"
        )
        assert refused and not refused.startswith("crash"), (text, refused)
    ask(browser, "ear.are > 0")
    assert "did you mean ‘area’" in browser.run("document.getElementById('problem').innerText")
    assert len(shown(browser)) == UNITS  # what was found before stays


def test_a_card_tells_effects_per_change_obtained(page, table):
    q = np.nan_to_num(table["q"].values, nan=1.0).reshape(UNITS, -1)
    strong = np.nan_to_num(table["first_stage"].values) >= 10
    cells = "[...document.querySelectorAll('#look tr:not(.unsure) td.obtained')].map((each) => each.innerText)"
    for known, unit in ((True, np.flatnonzero((q.min(axis=1) <= 0.1) & strong)[0]),
                        (False, np.flatnonzero((q.min(axis=1) <= 0.1) & ~strong)[0])):  # fmt: skip
        browser = page(f"unit={unit}")
        browser.wait("document.querySelectorAll('#look td.obtained').length > 3")
        assert all(("…" in text) == known and ("too little" in text) != known for text in browser.run(cells)), unit


def test_a_card_shows_the_other_directions_and_the_images_in_which_a_unit_is_highest(page, made):
    browser = page("unit=0")
    browser.wait("document.querySelectorAll('.beside .tile').length === 6")
    text = browser.run("document.querySelector('.beside').innerText")
    assert "Along the link’s kernel, beside" in text and "and by" in text and "along steering directions" in text
    aloud = browser.run(
        "[...document.querySelectorAll('.beside .tile')].map((each) => each.getAttribute('aria-label'))"
    )
    assert aloud[0].startswith("dachshund with unit 0 at step 1 of 3") and aloud[3].endswith("along the link’s kernel")
    browser.wait("document.querySelectorAll('.film .tile').length === 8")
    assert "in which unit 0 is" in browser.run("document.querySelector('.film .tile').getAttribute('aria-label')")
    photographs = artifacts.Artifact(made / "run" / "encoding", "encoding").read("r")[:, 0]
    best = np.argsort(-np.nan_to_num(photographs, nan=-9.0))[:4]
    seen = browser.run(
        "[...document.querySelectorAll('.photographs .tile')].map((each) => each.getAttribute('aria-label'))"
    )
    names = Folder(made / "photographs").names
    assert [text.split(",")[0] for text in seen] == [f"Photograph {names[row]}" for row in best]
    assert float(seen[0].rsplit(" ", 1)[1]) == pytest.approx(photographs[best[0]], abs=0.05)
    page("unit=1").wait("document.querySelector('.photographs').innerText.includes('the same in all photographs')")
    page("unit=20").wait("document.querySelector('#look').innerText.includes('was not raised along the link’s kernel')")


def test_a_card_tells_a_units_partners_in_other_classifiers(page):
    browser = page("unit=3")
    browser.wait("document.querySelector('.others tbody')")
    assert "% of this classifier’s moves to other classes" in browser.run("document.querySelector('.others').innerText")
    assert browser.run("document.querySelector('.others tbody').innerText").startswith("vit\tunit 56\t+0.")
    assert browser.run("document.querySelector('.others tbody').innerText").rstrip().endswith("shared\tno")
    assert {unit % 3 for unit in shown(ask(browser, "private vit"))} == {1}


def test_readouts_are_called_by_their_names(page):
    browser = page()
    browser.run("Atlas.index.names = Array.from(Atlas.index.unit, (unit) => `pug less <b>${unit}</b>`)")
    browser.run("Atlas.go({view: 'unit', unit: 3, q: 'pug'}, true)")
    browser.wait("document.querySelector('#look h2')?.innerText === 'pug less <b>3</b>'")
    browser.wait("document.querySelector('#count').innerText.endsWith('readouts')")
    assert "unit 3" not in browser.run("document.querySelector('.sentence').innerText")


def test_words_find_units_by_what_is_sure_of_them(page, table):
    browser = page()
    assert (np.nan_to_num(table["q"].values, nan=1.0) <= 0.1).sum(axis=(1, 2)).max() > 6  # more than the list tells
    for words, part, metric, sign in (("ear larger", "ear", "area", 1), ("leg shorter", "hind leg", "axis_major", -1)):
        q, effect = (table[name].sel(part=part, metric=metric).values for name in ("q", "effect"))
        expected = np.flatnonzero((np.nan_to_num(q, nan=1.0) <= 0.1) & (sign * effect > 0)).tolist()
        assert sorted(shown(ask(browser, words))) == expected and expected
    assert shown(ask(browser, "#42")) == [42]
    assert shown(ask(browser, "nothing of that kind")) == []


def test_units_are_ordered_by_any_effect_and_filtered_by_caution(page, table):
    browser = page("e=hind_leg.area&sort=effect&caution=none")
    scaled = table["effect"].sel(part="hind leg", metric="area").values
    kept = np.flatnonzero((table["caution"].values == 0) & np.isfinite(table["fidelity"].values))
    expected = kept[np.argsort(-scaled[kept], kind="stable")].tolist()
    assert shown(browser) == expected
    browser.run("document.getElementById('turn').click()")
    browser.run("new Promise((done) => setTimeout(done, 30))")
    assert shown(browser)[0] == expected[-1]


def test_the_keyboard_is_enough(page):
    browser = page()
    browser.press("/")
    assert browser.run("document.activeElement.id") == "text"
    browser.type("ear")
    browser.press("Enter")
    assert browser.run("document.activeElement.id") == "list"
    found = shown(browser)
    browser.press("ArrowDown", "ArrowDown", "p", "ArrowUp", "p", "Enter")
    browser.wait("document.querySelector('#look h2')?.innerText.startsWith('Unit ')")
    assert browser.run("Atlas.state.unit") == found[1]
    assert browser.run("Atlas.state.pins") == [found[2], found[1]]
    assert browser.run("document.getElementById('list').getAttribute('aria-activedescendant')") == f"row-{found[1]}"
    browser.press("Escape", "c")
    browser.wait("document.querySelectorAll('.compare thead th').length === 2")


def test_the_address_holds_the_whole_state(page):
    browser = page()
    state = {"q": "ear.area > 0", "sort": "fidelity", "turned": True, "unit": 3, "view": "unit", "pins": [9, 3]}
    browser.run(f"Atlas.go({json.dumps(state)}, true)")
    browser.wait("location.hash.includes('pins')")
    address = browser.run("location.hash")
    again = page(address.lstrip("#"))
    assert {name: again.run(f"Atlas.state.{name}") for name in state} == state
    again.wait("document.querySelector('#look h2')?.innerText === 'Unit 3'")
    again.run("history.back()") if again.run("history.length") > 2 else None
    page("unit=99999").wait("document.getElementById('look').innerText.trimEnd().endsWith('not swept in this run.')")


def test_class_pairs_show_their_boundary_their_units_and_a_path(page):
    browser = page("view=pairs")
    names = browser.run("[...document.querySelectorAll('#look tbody th')].map((each) => each.innerText)")
    assert "class 207 → class 208" in names
    pair = names.index("class 207 → class 208")
    browser.run(f"document.querySelectorAll('#look tbody a')[{pair}].click()")
    browser.wait("document.querySelector('#look .chart')")
    assert browser.run("document.querySelector('#look h2').innerText") == "class 207 → class 208"
    browser.wait("document.querySelectorAll('.film .tile').length > 2")
    frames = browser.run("[...document.querySelectorAll('.film .tile')].map((each) => each.getAttribute('aria-label'))")
    assert frames[0].startswith("t = 0: probability of class 207")
    unit = browser.run("Atlas.index.flips.units[0][0]")
    browser.run(f"Atlas.openUnit({unit})")
    browser.wait("document.querySelector('#look').innerText.includes('among the units that change most in')")


def test_units_are_found_by_words_and_their_page_says_both_names(page):
    browser = page("view=unit&unit=12")
    text = browser.run("document.querySelector('.named').textContent")
    assert "Raising it adds “long legs” (q = 0.0010)" in text and "random directions" in text
    assert "In the pictures in which it is highest" in text and ("disagree" in text or "say the same" in text)
    other = page("view=unit&unit=13")
    assert "no name; the nearest word, “short legs”" in other.run("document.querySelector('.named').textContent")
    assert "named" in other.run("document.querySelector('.named').className")
    ask(browser, "long legs")
    found = shown(browser)
    assert set(range(0, UNITS, 12)) - {49} <= set(found)
    assert found[0] % 6 == 0 and found[1] % 6 == 0  # the nearest first, whatever they are called
    ask(browser, "red coat named")
    assert {8, 20, 32, 44, 56} <= set(shown(browser)) and 13 not in shown(browser)
    page("view=unit&unit=16")
    assert "<b>" in browser.run("document.querySelector('.named').textContent")  # text, never elements


def test_seven_units_are_not_compared(page):
    browser = page("pins=1,2,3,4,5,6&view=compare")
    browser.run("Atlas.togglePin(7)")
    assert browser.run("Atlas.state.pins.length") == 6
    assert "unpin one first" in browser.run("document.getElementById('foot').innerText")


def test_a_card_tells_what_is_known_and_when_nothing_is(page, table):
    q = np.nan_to_num(table["q"].values, nan=1.0).reshape(UNITS, -1)
    live = np.isfinite(table["fidelity"].values)
    known, unknown = (int(np.flatnonzero(live & each)[0]) for each in (q.min(axis=1) <= 0.1, q.min(axis=1) > 0.1))
    sentence = "document.querySelector('.sentence').innerText"
    assert page(f"unit={known}").run(sentence).startswith(f"Raising unit {known} makes")
    assert page(f"unit={unknown}").run(sentence).startswith(f"Nothing is known for sure of what unit {unknown} does")
    assert "was not swept" in page("unit=49").run(sentence)
    place = np.unravel_index(np.nanargmax(np.where(q[known] <= 0.1, _in_sd(table)[known].ravel(), np.nan)), (3, 6))
    low = float(table["low"].values[known][place])
    assert f"{abs(low):.2g}"[:3] in page(f"unit={known}").run(sentence)


def _in_sd(table):
    return np.abs(table["effect"].values / table["spread"].values[None])


def test_what_is_taken_away_is_what_is_shown(page, table):
    browser = page("q=ear.area&e=ear.area")
    rows = list(csv.DictReader(io.StringIO(browser.run("Atlas.csv()"))))
    assert [int(row["unit"]) for row in rows] == shown(browser)
    for row in rows:
        unit = int(row["unit"])
        assert float(row["ear.area.effect"]) == pytest.approx(
            float(table["effect"].sel(part="ear", metric="area").values[unit]), rel=1e-6
        )
        assert float(row["fidelity"]) == pytest.approx(float(table["fidelity"].values[unit]), rel=1e-6)
    file = "new Blob(Atlas.parquet(Atlas.table())).arrayBuffer().then((all) => [...new Uint8Array(all)])"
    stored = pyarrow.parquet.read_table(pyarrow.BufferReader(bytes(browser.run(file))))
    assert stored.num_rows == len(rows) and stored.column_names == list(rows[0])
    types = {name: str(stored.schema.field(name).type) for name in ("unit", "fidelity", "representative", "strongest")}
    assert types == {"unit": "int32", "fidelity": "float", "representative": "bool", "strongest": "string"}
    for name, values in stored.to_pydict().items():
        told = [row[name] for row in rows]
        if stored.schema.field(name).type == "string":
            assert values == told
        else:
            np.testing.assert_array_equal(values, [np.nan if each == "" else float(each) for each in told], name)
    assert browser.run("Atlas.unitList([5, 3, 4, 9, 11, 10])") == "3-5,9-11"
    # pictures of a page from disk can be read back: the canvas is not tainted
    assert browser.run("Atlas.png([0, 3]).then((blob) => [blob.type, blob.size > 500])") == ["image/png", True]


def test_the_lines_of_python_give_the_numbers_shown(page, table):
    browser = page("q=" + "ear.area > 0")
    *before, last = browser.run("Atlas.pythonOfSearch()").strip().split("\n")
    scope = {}
    exec("\n".join(before), scope)
    found = eval(last, scope)
    assert list(dict.fromkeys(found["unit"].tolist())) == shown(browser)
    *before, last = browser.run("Atlas.pythonOf([7, 3])").strip().split("\n")
    exec("\n".join(before), scope)
    np.testing.assert_array_equal(eval(last, scope)["q"].values, table["q"].values[[7, 3]])


def test_steps_play_while_a_row_is_hovered(page):
    browser = page()
    browser.hover(".row")
    browser.wait("document.querySelector('.row .tile')")
    first = browser.run("document.querySelector('.row .tile').style.backgroundPosition")
    browser.wait(f"document.querySelector('.row .tile').style.backgroundPosition !== {json.dumps(first)}")


def test_it_is_usable_at_400_pixels(page):
    browser = page(width=400, height=800)
    assert browser.run("document.getElementById('list').clientHeight") > 250
    for view in ("list", "matrix", "map", "unit", "compare", "guide"):
        browser.run(f"Atlas.go({{view: '{view}', unit: 3, pins: [3, 9]}}, true)")
        browser.run("new Promise((done) => setTimeout(done, 60))")
        assert browser.run("document.documentElement.scrollWidth") <= 400, view
    browser.press("Escape")
    assert browser.run("document.activeElement.id") == "list"


def test_pictures_and_charts_are_told_in_words(page):
    browser = page("unit=3")
    browser.wait("document.querySelectorAll('#look table').length > 1")
    images = "[...document.querySelectorAll('[role=img], img, canvas, svg')]"
    images += ".filter((each) => !each.closest('[aria-hidden]'))"
    assert browser.run(f"{images}.length") > 10
    assert browser.run(f"{images}.filter((each) => !each.getAttribute('aria-label')).length") == 0
    named = "each.innerText || each.getAttribute('aria-label') || each.labels?.length"
    nameless = f"[...document.querySelectorAll('button, select, input')].filter((each) => !({named})).length"
    assert browser.run(nameless) == 0
    assert browser.run("document.querySelectorAll('[role=option] button').length") == 0


@pytest.mark.parametrize("dark", [False, True])
def test_contrast_is_aa(page, dark):
    browser = page(dark=dark)
    names = ("ground", "raised", "open", "warn-ground", "ink", "soft", "accent", "up", "down", "warn")
    style = "getComputedStyle(document.documentElement)"
    colour = {name: browser.run(f"{style}.getPropertyValue('--{name}').trim()") for name in names}
    text = [
        (name, ground) for name in ("ink", "soft", "accent", "up", "down") for ground in ("ground", "raised", "open")
    ]
    for name, ground in [*text, ("ink", "warn-ground"), ("warn", "ground"), ("warn", "open"), ("warn", "raised")]:
        assert _contrast(colour[name], colour[ground]) >= 4.5, (name, ground)


def _contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio of two colours #rrggbb."""

    def luminance(text: str) -> float:
        values = np.array([int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)

"""What a page calls sorted is sorted, and captions count what is shown."""

import numpy as np
import pytest

from linkjax.report import page
from linkjax.report.content import Row, Table
from linkjax.report.source import Source
from tests.report import synthetic


def parts(role, folder):
    [section] = [each for each in page.compose([Source(role, folder, (role,))]) if each.key == role]
    blocks = [*section.blocks, *section.more]
    tables = {block.title: block for block in blocks if isinstance(block, Table)}
    rows = [block for block in blocks if isinstance(block, Row)]
    tables |= {table.title: table for row in rows for table in row.tables}
    return tables, [plot for row in rows for plot in row.plots]


def units(table):
    return [int(getattr(row[0], "text", row[0]).removeprefix("unit ")) for row in table.rows]


def names_from_the_top(plot):
    axes = plot.figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    return names if axes.yaxis_inverted() else names[::-1]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = synthetic.sweep(tmp_path_factory.mktemp("order") / "sweep")
    source = Source("sweep", folder, ("sweep",))
    spread = source.array("baseline", "sample", "part", "metric").astype(float).std(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.abs(source.array("effect", "unit", "part", "metric") / spread).reshape(40, -1)
    unit = source.array("unit", "unit").tolist()
    size[source.array("flag", "unit") == 1] = np.nan  # dead units have no rank
    return *parts("sweep", folder), dict(zip(unit, size, strict=True)), source


def test_units_and_pictures_of_a_sweep_stand_strongest_effect_first(swept):
    tables, plots, size, source = swept
    largest = {unit: np.max(each[np.isfinite(each)], initial=-1) for unit, each in size.items()}
    ranked = sorted((unit for unit in largest if largest[unit] >= 0), key=lambda unit: -largest[unit])
    assert units(tables["Units by effect"]) == ranked[:10]
    [heat] = [plot for plot in plots if plot.name == "effects"]
    rows = [int(text) for text in names_from_the_top(heat)]
    assert rows == ranked[: len(rows)] and heat.caption.startswith(f"What {len(rows)} units change, strongest first")
    shown = [int(plot.name.removeprefix("unit_")) for plot in plots if plot.name.startswith("unit_")]
    pictured = source.array("picture_unit", "picture_unit").tolist()
    assert shown == [unit for unit in ranked if unit in pictured]


def test_units_stand_most_faithful_first_where_asked_is_set_against_obtained(swept):
    _, plots, _, _ = swept
    [small] = [plot for plot in plots if plot.name == "asked_obtained"]
    told = [float(axes.get_title().rsplit(" ", 1)[1]) for axes in small.figure.axes if axes.get_title()]
    assert len(told) == 8 and told == sorted(told, reverse=True)


def test_the_caption_of_a_strip_tells_the_values_it_was_drawn_at(swept):
    _, plots, _, source = swept
    unit, value = source.array("unit", "unit"), source.asked()
    rows = source.array("picture_sample", "picture_sample")
    for plot in plots:
        if plot.name.startswith("unit_"):
            number = int(plot.name.removeprefix("unit_"))
            asked = value[rows, int(np.flatnonzero(unit == number)[0])].mean(axis=0)
            assert plot.alt == f"Samples as unit {number} goes from {asked[0]:.3g} to {asked[-1]:.3g}."


def test_the_rows_of_screenings_heat_map_are_those_of_its_table(tmp_path):
    tables, plots = parts("screening", synthetic.screening(tmp_path / "screening"))
    ranked = units(tables["Units by first-order effect"])
    [heat] = [plot for plot in plots if plot.name == "screened_effects"]
    assert [int(text) for text in names_from_the_top(heat)][: len(ranked)] == ranked and len(ranked) > 3


def test_acceptance_stands_lowest_first(tmp_path):
    _, plots = parts("pairs", synthetic.pairs(tmp_path / "pairs"))
    [bars] = [plot for plot in plots if "lowest first" in plot.caption]
    expected = sorted(synthetic.NAMES, key=lambda name: -synthetic.NAMES.index(name))  # tried grows with the class
    assert names_from_the_top(bars) == expected

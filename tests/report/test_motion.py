import numpy as np

from linkjax.report import figures
from linkjax.report.sections import motion
from linkjax.report.source import Context, Source
from tests.report import synthetic
from tests.report.synthetic import animal


def test_arrows_start_where_a_pixel_was_and_go_where_it_goes_by_one_scale():
    pictures = np.stack([animal(0, 0, 0)] * 6).reshape(3, 2, 64, 64, 3)
    fields = np.zeros((3, 2, 2, 16, 16), np.float32)
    fields[0, 1, :, 4, 2] = 3.0, -4.0
    fields[2, 0, 1] = np.nan
    figure = figures.motion_arrows(pictures, fields, titles=["unit 1", "unit 2", "unit 3"], rows=["cat", "dog"])
    [moved] = [each for axes in figure.axes for each in axes.collections if getattr(each, "N", 0) == 1]
    assert moved.X[0] == 9.5 and moved.Y[0] == 17.5  # the middle of a cell of 4 pixels
    stretch = moved.U[0] / -4.0
    assert stretch >= 1 and moved.V[0] == 3.0 * stretch and moved.get_array()[0] == 5.0
    assert f"{stretch:.2g} times" in figure.axes[-1].get_xlabel() or "to scale" in figure.axes[-1].get_xlabel()
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["unit 1", "unit 2", "unit 3"]
    assert {text.get_text() for axes in figure.axes for text in axes.texts} == {"cat", "dog"}
    assert figures.png(figure) and figures.size_in_page(figure)[0] <= 830


def test_nothing_that_moves_and_nothing_known_are_drawn_too():
    picture = animal(0, 0, 0)[None, None]
    for value in (0.0, np.nan):
        assert figures.png(figures.motion_arrows(picture, np.full((1, 1, 2, 8, 8), value), titles=["$unit"]))


def test_the_page_tells_how_far_every_part_of_the_shown_units_moves(tmp_path):
    source = Source("sweep", synthetic.sweep(tmp_path / "sweep"), ("sweep",))
    ids = source.array("picture_unit", "picture_unit")
    _, row, table = motion.blocks(source, Context([source]), ids[::-1])
    assert [cells[0] for cells in table.rows] == [f"unit {unit}" for unit in ids[::-1]]
    each = source.array("picture_motion", "picture_unit", "picture_sample", "part", "axis")[-1, :, 0]
    cell = table.rows[0][1]
    assert cell.text == f"{each[:, 0].mean():+.2f}, {each[:, 1].mean():+.2f}".replace("-", "−")
    assert cell.remark == f"± {(each.std(axis=0, ddof=1) / np.sqrt(3)).max():.2f}"
    assert table.columns == ("unit", "image") and row.plots[0].name == "motion"
    bare = Source("sweep", synthetic.sweep(tmp_path / "bare", pictures=0), ("sweep",))
    assert motion.blocks(bare, Context([bare]), ids) == []

import numpy as np
import pytest

from linkjax.report import figures
from tests.report.synthetic import animal


def plane(title="r", shift=0.0):
    """Two clouds, two paths between them and the line in the middle."""
    rng = np.random.default_rng(1)
    cloud = rng.normal(size=(40, 2)) + np.repeat([[-3.0, 0.0], [3.0, 0.0]], 20, axis=0)
    moved = np.linspace([-3.0, 0.0], [2.0, 1.0], 5)[None] + np.zeros((2, 1, 1)) + shift
    return figures.PlanePaths(title, cloud, np.repeat([4, 7], 20), moved, moved + 0.2, moved[:, 0], (0.0, np.eye(2)[0]))


def charts():
    rng = np.random.default_rng(0)
    values = rng.normal(size=40)
    table = rng.normal(size=(5, 4))
    return {
        "histogram": figures.histogram(values, xlabel="fidelity", reference=1.0, reference_name="as asked"),
        "heat map": figures.heat_map(
            table, rows=list("abcde"), columns=list("wxyz"), xlabel="metric", ylabel="unit", colour_label="effect"
        ),
        "bars": figures.bars(values[:5], list("abcde"), xlabel="share", ylabel="class", low=values[:5] - 1,
                             high=values[:5] + 1),
        "steering": figures.steering_curve(
            np.array([10.0, 0.1, 1.0]), {"own change": np.ones(3), "length in W": np.arange(3.0)}, chosen=1.0
        ),
        "validation": figures.validation_curve(
            np.array([0.0, 0.1, 1.0]), np.array([0.5, 0.6, 0.7]), train=np.array([0.9, 0.8, 0.75]), chosen=1.0
        ),
        "paths": figures.along_and_across(
            np.linspace(0, 1.5, 4), {"origin": rng.random((6, 4)), "target": rng.random((6, 4))}, 0.9,
            np.linspace(-1, 1, 3), {"all": tuple(np.linspace(0, 1, 3) for _ in range(3))},
        ),
        "planes": figures.plane_paths([plane(), plane()], (4, 7), ("cat", "dog"), 3),
        "asked": figures.asked_obtained(values[:24].reshape(4, 2, 3), rng.normal(size=(4, 2, 3)), ["a", "b"]),
    }  # fmt: skip


def pixels(figure) -> np.ndarray:
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(figures.png(figure))).convert("RGB"))


@pytest.mark.parametrize("name", list(charts()))
def test_every_chart_has_labelled_axes_and_becomes_a_png(name):
    figure = charts()[name]
    shown = [axes for axes in figure.axes if axes.axison]
    assert shown and shown[0].get_ylabel()
    assert shown[-1].get_xlabel() or shown[0].get_xlabel()
    assert figures.png(figure).startswith(b"\x89PNG")
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook asks for


def test_the_same_figure_gives_the_same_bytes():
    assert figures.png(charts()["bars"]) == figures.png(charts()["bars"])


def test_pyplot_knows_nothing_of_these_figures():
    import matplotlib.pyplot

    charts()
    assert matplotlib.pyplot.get_fignums() == []


def test_charts_take_values_that_are_missing_infinite_or_all_the_same():
    for values in ([], [np.nan, np.nan], [np.nan, np.inf, 1.0], [0.25] * 7, [1946.1301, 1946.1302]):
        assert figures.png(figures.histogram(np.array(values), xlabel="x"))
    missing = np.full((2, 3), np.nan)
    names = {"xlabel": "x", "ylabel": "y", "colour_label": "z"}
    for table in (missing, np.zeros((2, 3)), np.where(np.eye(2, 3) > 0, -np.inf, 3.0)):
        assert figures.png(figures.heat_map(table, rows=["a", "b"], columns=list("xyz"), **names))
    bars = figures.bars(np.array([np.nan, 0.5]), ["a", "b"], xlabel="x", low=missing[0, :2], high=missing[0, :2])
    assert figures.png(bars)
    assert figures.png(figures.validation_curve(np.zeros(1), np.array([np.nan])))
    nothing = {"origin": np.full((2, 3), np.nan)}
    bare = (missing[0], missing[0], missing[0])
    assert figures.png(figures.along_and_across(np.arange(3.0), nothing, np.nan, np.arange(3.0), {"all": bare}))
    assert figures.png(figures.plane_paths([plane(shift=np.nan)], (4, 7), ("a", "b"), 4))
    assert figures.png(figures.asked_obtained(np.zeros((2, 1, 3)), np.full((2, 1, 3), np.nan), ["u"]))


def test_names_are_taken_literally_not_as_formulas_and_are_cut_where_there_is_no_room():
    hostile = "$\\frac{$ _^ 日本 " + "long " * 30
    picture = animal(0, 0, 0)[None]
    assert figures.png(figures.image_pairs(picture, picture, labels=[hostile], notes=[hostile], agree=[False]))
    assert figures.png(figures.bars(np.ones(2), [hostile, "b"], xlabel="x"))
    assert figures.png(figures.plane_paths([plane(hostile)], (4, 7), (hostile, "b"), 4))
    curve = tuple(np.ones(2) for _ in range(3))
    assert figures.png(figures.along_and_across(np.arange(2.0), {}, None, np.arange(2.0), {"a": curve, hostile: curve}))
    strip = figures.sweep_strip(picture[None], [np.nan], title=hostile, rows=[hostile])
    assert figures.png(strip)
    assert all(len(text.get_text()) < 80 for text in strip.axes[0].texts)


def test_a_pair_is_drawn_above_each_other_pixel_by_pixel():
    first, second = np.full((1, 64, 64, 3), 200, np.uint8), np.full((1, 64, 64, 3), 50, np.uint8)
    drawn = pixels(figures.image_pairs(first, second))
    rows = drawn[:, drawn.shape[1] // 2, 0]
    assert (rows == 200).sum() == (rows == 50).sum() == 256  # 64 enlarged four times
    assert np.flatnonzero(rows == 200).max() < np.flatnonzero(rows == 50).min()


@pytest.mark.parametrize("shape", [(16, 16), (64, 64), (256, 256), (48, 96), (512, 512)])
def test_pictures_of_any_size_fit_the_page(shape):
    many = np.zeros((13, *shape, 3), np.uint8)
    for figure in (
        figures.image_pairs(many, many, labels=["a"] * 13),
        figures.sweep_strip(many[:6].reshape(2, 3, *shape, 3), [0, 1, 2], title="unit 1"),
    ):
        width, _ = figures.size_in_page(figure)
        assert width <= 830
        assert figure.axes[0].get_images()[0].get_array().shape[1] == round(figure.get_size_inches()[0] * 144)


def test_a_sweep_names_its_unit_its_samples_and_the_values_asked():
    pictures = np.stack([animal(0, 0, tone) for tone in (-1, 0, 1, -1, 0, 1)]).reshape(2, 3, 64, 64, 3)
    strip = figures.sweep_strip(pictures, [-0.5, 0.0, 1.25], title="unit 420", rows=["cat", "dog"])
    texts = [text.get_text() for text in strip.axes[0].texts]
    assert texts == ["unit 420", "−0.5", "0", "1.2", "value asked of the unit", "cat", "dog"]


def test_colours_of_signed_values_are_centred_on_zero():
    figure = figures.heat_map(
        np.array([[0.0, 3.0], [-1.0, np.nan]]), rows=["a", "b"], columns=["c", "d"], xlabel="x", ylabel="y",
        colour_label="z",
    )  # fmt: skip
    norm = figure.axes[0].get_images()[0].norm
    assert norm.vmin == -norm.vmax

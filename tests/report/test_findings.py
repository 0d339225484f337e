"""The page begins with what was found: pictures, and a sentence for each unit."""

import numpy as np
import pytest

from linkjax.report import page
from linkjax.report.source import Source
from linkjax.report.words import effects_in_words, sentence
from linkjax.storage import artifacts
from tests.report import synthetic

PARTS, METRICS = ("image", "leg", "body"), ("lightness", "area", "area_share", "centroid_y", "axis_major", "change")


def effects(**values):
    found = np.zeros((len(PARTS), len(METRICS)))
    for name, value in values.items():
        part, metric = name.split("__")
        found[PARTS.index(part), METRICS.index(metric)] = value
    return found


def test_a_unit_is_told_in_one_sentence_strongest_effect_first():
    effect = effects(leg__axis_major=1.5, body__centroid_y=-0.8, body__lightness=0.2, leg__lightness=-0.6)
    words = effects_in_words(effect, np.abs(effect) > 0.5, PARTS, METRICS)
    assert sentence(12, words, 0.97) == "unit 12: leg longer and darker, body higher; fidelity 0.970"
    assert sentence(3, effects_in_words(effect, np.zeros(effect.shape, bool), PARTS, METRICS), 0.5) == (
        "unit 3: nothing significant; fidelity 0.500"
    )


def test_metrics_that_say_the_same_of_a_part_are_told_once_and_unknown_ones_by_their_name():
    effect = effects(leg__area=2.0, leg__area_share=1.9, body__area=-1.0, image__change=0.5)
    assert effects_in_words(effect, effect != 0, PARTS, METRICS) == "leg larger, body smaller, image more change"
    effect[1, 1] = np.nan
    assert effects_in_words(effect, effect != 0, PARTS, METRICS, most=1) == "leg larger"


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared") / "comparison"
    arms = [
        {
            "directions": name, "units": 2, "anchors": 10, "random_directions": 4, "median_fidelity": fidelity,
            "fidelity_within_20_percent": 0.5, "median_side_effect": 0.1, "median_side_effect_per_own_change": None,
            "significant_units": 1,
        }
        for name, fidelity in (("kernel", 0.0625), ("steer", 0.875))
    ]  # fmt: skip
    config = synthetic.Config(str(folder))
    with artifacts.Writer(folder, "comparison", config, {"generator": synthetic.WEIGHTS["generator"]}) as writer:
        pictures = np.stack([np.stack([np.stack([synthetic.animal(x, 0, t) for x in (-1, 0, 1)])] * 2) for t in (0, 1)])
        writer.put("picture", ("unit", "direction", "level", "y", "x", "rgb"), pictures)
        writer.put("truth", ("unit", "level", "y", "x", "rgb"), pictures[:, 0])
        effect = np.stack([effects(leg__area=1.0), effects(body__lightness=-2.0)]).astype(np.float32)
        writer.put("effect_sd", ("unit", "part", "metric"), effect)
        writer.put("significant", ("unit", "part", "metric"), (effect != 0).astype(np.int8))
        writer.put("part", ("part",), PARTS)
        writer.put("metric", ("metric",), METRICS)
        writer.put("unit", ("unit",), np.array([4, 7], np.int32))
        writer.put("fidelity", ("unit", "direction"), np.array([[0.1, 0.9], [0.0, 0.8]], np.float32))
        writer.put("direction", ("direction",), ("kernel", "steer"))
        writer.finish({"classifier": "planted", "sigma": 2.0, "directions": arms})
    return folder


def test_both_directions_stand_side_by_side_before_any_bookkeeping(compared, tmp_path):
    pairs = synthetic.pairs(tmp_path / "pairs")
    sources = [Source("pairs", pairs, ("pairs",)), Source("comparison", compared, ("comparison",))]
    sections = page.compose(sources)
    assert [section.key for section in sections] == ["findings", "pairs", "run"]
    made = page.render("a page", sections)
    first = made.html[: made.html.index('id="pairs"')]
    for said in ("unit 4: leg larger; fidelity 0.900", "unit 7: body darker; fidelity 0.800", "0.0625", "0.875"):
        assert said in first, said
    assert {"found_planted_4.png", "found_planted_7.png"} <= set(made.pictures)
    assert made.html.index("What was found") < made.html.index('class="facts"') < made.html.index('id="run"')

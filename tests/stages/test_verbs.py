"""The verbs in memory give what the stages store: one science."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

import linkjax
from linkjax.errors import InputError


@pytest.fixture(scope="module")
def study(world, segmenter):
    return linkjax.Study(*(linkjax.load(path) for path in (world.generator, world.classifier, world.link, segmenter)))


@pytest.fixture(scope="module")
def anchors(world):
    return linkjax.anchors(linkjax.open(world.pairs), each=1)


@pytest.fixture(scope="module")
def swept(study, anchors):
    whole = linkjax.Study(study.generator, study.classifier, study.link)
    return linkjax.sweep(
        whole, anchors, steps=3, motion="pictures", picture_units=2, picture_samples=2, random_directions=4
    )


def same(found, stored, names):
    for name in names:
        np.testing.assert_array_equal(found[name].values, stored[name].values, err_msg=name)


def test_a_sweep_in_memory_is_the_stored_one_to_the_bit(world, swept):
    stored = linkjax.open(world.sweep)
    assert set(stored.variables) == set(swept.variables)
    numbers = [name for name in stored.data_vars if stored[name].dtype.kind in "fiu"]
    same(swept, stored, numbers)
    assert swept.attrs["summary"]["median_fidelity"] == stored.attrs["summary"]["median_fidelity"]
    assert swept["measured"].sel(metric="lightness").dims == ("sample", "unit", "step", "part")


def test_a_screening_in_memory_is_the_stored_one(world, screening, study):
    anchors = linkjax.anchors(linkjax.open(world.pairs), each=2)
    found = linkjax.screen(study, anchors, path_units=2, path_points=1, batch_size=8)
    same(found, linkjax.open(screening), ("effect", "effect_se", "baseline", "path_effect"))
    with pytest.raises(InputError, match="study with a segmenter"):
        linkjax.screen(linkjax.Study(study.generator, study.classifier, study.link), anchors)


def test_a_search_in_memory_is_the_stored_one(world, study, anchors):
    stored = linkjax.open(world.counterfactual)
    target = int(anchors["label"].values[-1])
    found = linkjax.counterfactual(study, anchors, target, max_steps=20, check_every=5, start="zero", pictures=0)
    mine = stored["target"].values == target
    for name in ("shift", "w", "outcome", "distance_w"):
        np.testing.assert_allclose(found[name].values, stored[name].values[mine], atol=1e-6)
    with pytest.raises(InputError, match="target: expected a class from 0 to"):
        linkjax.counterfactual(study, anchors, 1000)


def test_a_question_to_a_sweep_is_answered_as_to_the_stored_selection(world, selection, swept):
    settings = {"draws": 50, "flips": 200, "against": ("sign",)}
    found, stored = (linkjax.select(given, fdr=0.3, **more) for given, more in ((swept, settings), (selection, {})))
    same(found, stored, ("unit", "part", "metric", "effect", "p_sign", "q"))
    assert found.sizes["row"] > 0
    followed = linkjax.select(swept, f"fidelity > {float(np.nanmedian(swept['fidelity']))}", 0.3, **settings)
    assert 0 < len(np.unique(followed["unit"])) < len(np.unique(found["unit"]))


def test_pictures_of_latents_are_bytes_with_their_parts(study, anchors):
    images, labels = linkjax.draw(study, anchors["w"])
    side = study.generator.spec.resolution
    assert images.shape == (anchors.sizes["sample"], side, side, 3) and images.dtype == np.uint8
    assert labels is not None and labels.shape == images.shape[:3] and labels.max() < 3
    with pytest.raises(InputError, match="w: expected latents"):
        linkjax.draw(study, anchors["r"])


def test_new_samples_depend_on_key_class_and_number_alone(study):
    both = linkjax.sample(study, jax.random.key(1), (0, 1), each=2, range_samples=2)
    one = linkjax.sample(study, 1, (1,), each=1, range_samples=3)
    np.testing.assert_array_equal(one["w"].values[0], both["w"].values[2])
    np.testing.assert_array_equal(one["r"].values[0], both["r"].values[2])
    assert both["trained_r"].shape[0] == 4 and both["label"].values.tolist() == [0, 0, 1, 1]
    with pytest.raises(InputError, match="classes: expected one or more"):
        linkjax.sample(study, jax.random.key(1), (99,))


def test_anchors_are_of_the_classes_and_the_split_asked_for(world):
    pairs = linkjax.open(world.pairs)
    label = int(pairs["label"].values[0])
    found = linkjax.anchors(pairs, each=2, classes=[label])
    test = pairs.isel(sample=np.flatnonzero((pairs["label"].values == label) & (pairs["split"].values == "test")))
    np.testing.assert_array_equal(found["r"].values, test["r"].values[:2])
    assert (found["trained_label"].values == label).all()
    for wrong, said in (({"each": 1000}, "each: expected at most"), ({"classes": [999]}, "classes: expected some of")):
        with pytest.raises(InputError, match=said):
            linkjax.anchors(pairs, **wrong)
    with pytest.raises(InputError, match="expected pairs"):
        linkjax.anchors(linkjax.open(world.sweep))


def test_a_study_is_a_pytree_that_tells_what_it_holds_and_refuses_what_does_not_fit(study):
    assert "directions that raise units" in repr(study) and "parts: background" in repr(study)
    assert len(repr(study).splitlines()) < 8
    again = jax.tree.unflatten(*reversed(jax.tree.flatten(study)))
    assert again.generator.spec == study.generator.spec
    other = linkjax.fit_link(np.eye(5, dtype=np.float32), np.eye(5, dtype=np.float32))
    with pytest.raises(InputError, match="expected a link of"):
        linkjax.Study(study.generator, study.classifier, other)


def test_figures_of_a_sweep_show_the_units_whose_pictures_were_kept(swept):
    unit = int(swept["picture_unit"].values[0])
    assert linkjax.figures.strip(swept, unit).axes and linkjax.figures.fidelity(swept).axes
    picture = swept["picture"].values[0, 0]
    assert linkjax.figures.pictures(picture, np.zeros(picture.shape[:3], np.uint8)).axes
    with pytest.raises(InputError, match="whose pictures were kept"):
        linkjax.figures.strip(swept, 10_000)


def test_the_examples_of_the_api_page_run_and_name_every_public_function(world, study, anchors):
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
    for name in linkjax.__all__:
        assert f"`{name}`" in page, name
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.S):
        # The small world of the tests has other names.
        block = block.replace("runs/dogs", str(world.folder)).replace("ear", "left")
        exec(compile(block, __file__, "exec"), names)  # as a test's own code, whose products are its own affair
    assert names["swept"].sizes["unit"] == 3 and names["own"].steer.shape == study.link.steer.shape

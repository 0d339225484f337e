"""The embedded bundle is what it says it is; another one is refused with a sentence."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linkjax
from linkjax.analysis.metrics.parts import draw_with_parts
from linkjax.demo import bundle, factors, world
from linkjax.errors import InputError

COMPILED = "as shipped"


def test_the_embedded_bundle_passed_every_gate_and_fits_in_the_wheel():
    opened = bundle.open_bundle()
    gates = opened.manifest["gates"]
    assert len(gates) > 30 and all(gate["passed"] and gate["value"] >= gate["least"] for gate in gates)
    assert {gate["name"] for gate in gates} >= {f"R² {name}" for name in factors.FACTORS}
    assert opened.manifest["segmentation head"]["mean IoU"] > 0.8
    assert sum(path.stat().st_size for path in opened.folder.rglob("*") if path.is_file()) < 12e6
    assert [unit["unit"] for unit in opened.units] == list(range(len(opened.units)))


def test_the_embedded_links_know_their_lambda_though_one_was_made_when_its_manifest_alone_told_it():
    assert [linkjax.demo_study(name).link.spec.steer_lambda for name in ("breeds", "planted")] == [10.0, 1.0]


def test_the_generator_draws_the_renderers_animals_and_the_classifiers_know_them():
    opened = bundle.open_bundle()
    generator, breeds, segmenter = (linkjax.load(opened.path(name)) for name in ("generator", "breeds", "segmenter"))
    z = jax.random.normal(jax.random.key(77), (20, factors.Z_DIM))
    breed = jnp.arange(20) % 10
    truth = world.render(factors.factors_of(z, breed))
    images, scores = draw_with_parts(generator, segmenter, generator.mapping(z, breed))
    error = np.mean(np.square(np.clip(images, -1, 1) - np.asarray(truth.image)))
    assert 10 * np.log10(4 / error) > 34
    agree = np.asarray(jnp.argmax(scores, axis=-1) == truth.labels)
    assert agree.mean() > 0.95
    said = breeds(breeds.preprocess(images))
    assert np.mean(np.asarray(said.logits).argmax(1) == np.asarray(breed)) >= 0.95
    assert said.penultimate.shape == (20, 128)


def _copy(tmp_path):
    return shutil.copytree(bundle.EMBEDDED, tmp_path / "bundle")


def _edit(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format_version": 99}, "newer than this linkjax"),
        ({"kind": "generator"}, "expected demo_bundle"),
        ({"factors": ["ear_size"]}, "other factors"),
    ],
)
def test_a_bundle_of_another_version_kind_or_world_is_refused(tmp_path, changes, sentence):
    folder = _copy(tmp_path)
    _edit(folder, **changes)
    with pytest.raises(InputError, match=sentence):
        bundle.open_bundle(folder)


def test_a_bundle_with_a_model_or_the_truth_missing_is_refused(tmp_path):
    folder = _copy(tmp_path)
    (folder / bundle.UNITS).write_text("[")
    with pytest.raises(InputError, match="damaged"):
        bundle.open_bundle(folder)
    shutil.rmtree(folder / "planted")
    with pytest.raises(InputError, match="no planted"):
        bundle.open_bundle(folder)

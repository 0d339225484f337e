"""The README's job from files of the published formats, on the small random weights of `parity/`."""

import json
import re

import jax
import numpy as np
import pytest

import linkjax
from linkjax import artifacts
from linkjax.cli import main
from tests.stages.conftest import do


@pytest.fixture(scope="module")
def run(tmp_path_factory, parity):
    """Every command of the README, in its order, once."""
    return job(tmp_path_factory.mktemp("job"), parity)


def job(folder, parity, last="report"):
    pytest.importorskip("torch")
    at = {name: str(folder / name) for name in ("generator", "classifier", "pairs", "link", "evaluation", "sweep")}
    at |= {name: str(folder / name) for name in ("counterfactual", "report")}
    do("convert", "generator", parity / "gen_stem16.pkl", at["generator"])
    do("convert", "classifier", parity / "cls_resnet18.pth", at["classifier"], "--arch", "resnet18")
    models = ["--generator", at["generator"], "--classifier", at["classifier"]]
    names = ["--class-names", "a<b>", "two", "three"]
    sizes = ["--n-train", "20", "--n-val", "8", "--n-test", "8", "--batch-size", "24"]
    do("plan", *models, "--no-measure")
    do("pairs", *models, "--classes", "0", "2", "5", *names, "--keep", "all", *sizes, "--out", at["pairs"])
    do("link", "--pairs", at["pairs"], "--method", "ridge", "--alphas", "0.1", "10", "--out", at["link"])
    linked = [*models, "--pairs", at["pairs"], "--link", at["link"], "--batch-size", "24"]
    do("evaluate", *linked, "--shuffled-samples", "8", "--pictures", "4", "--out", at["evaluation"])
    if last == "evaluate":
        return folder
    units = ["--units", "0", "1", "63", "--samples", "2", "--steps", "3", "--picture-units", "2"]
    units += ["--random-directions", "4"]
    do("sweep", *linked, *units, "--out", at["sweep"])
    searches = ["--samples", "2", "--max-steps", "6", "--check-every", "3", "--targets", "1", "4"]
    do("counterfactual", *linked, *searches, "--out", at["counterfactual"])
    results = [
        word for name in ("pairs", "link", "evaluation", "sweep", "counterfactual") for word in (f"--{name}", at[name])
    ]
    do("report", *results, "--out", at["report"])
    return folder


def test_the_page_is_whole_and_self_contained(run):
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= 6
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert "a&lt;b&gt;" in page and "a<b>" not in page
    for section in ("Pairs", "Link", "Evaluation", "Sweep", "Counterfactual"):
        assert section.lower() in page.lower()


def test_every_output_says_what_made_it(run):
    for name in ("pairs", "evaluation", "sweep", "counterfactual", "report"):
        manifest = json.loads((run / name / "manifest.json").read_text())
        assert manifest["versions"]["linkjax"] and manifest["weights"]["generator"], name
        assert (run / name / "config.toml").read_text().startswith("[")
    for name in ("generator", "classifier"):
        source = json.loads((run / name / "manifest.json").read_text())["source"]
        assert re.fullmatch(r"[0-9a-f]{64}", source["sha256"]), name


def test_nothing_unfinished_is_left(run):
    assert not list(run.glob("*.partial"))


def test_the_readmes_python_works_on_what_was_made(run):
    generator, classifier, link = (linkjax.load(run / name) for name in ("generator", "classifier", "link"))
    z = jax.random.normal(jax.random.key(0), (4, generator.spec.z_dim))
    w = generator.mapping(z, label=np.full(4, 2), truncation=0.7)
    images = generator.synthesis(w)
    r = classifier(classifier.preprocess(images)).penultimate
    raised = generator.synthesis(w + 2.0 * link.kernel[42][None])  # tests broadcast no rank silently
    assert images.shape == raised.shape == (4, 16, 16, 3) and r.shape == (4, 64)
    assert float(np.abs(images - raised).max()) > 0


def test_with_64_bit_values_on_every_folder_is_the_same(run, tmp_path, parity):
    jax.config.update("jax_enable_x64", True)
    try:
        job(tmp_path, parity, last="evaluate")
        generator, classifier = (linkjax.load(tmp_path / name) for name in ("generator", "classifier"))
        seen = classifier(
            classifier.preprocess(generator.synthesis(generator.mapping(np.zeros((2, 16)), np.arange(2))))
        )
        assert seen.logits.dtype == np.float32 and jax.config.jax_enable_x64
    finally:
        jax.config.update("jax_enable_x64", False)
    again = classifier(classifier.preprocess(generator.synthesis(generator.mapping(np.zeros((2, 16)), np.arange(2)))))
    np.testing.assert_array_equal(seen.logits, again.logits)
    for name in ("generator", "classifier", "link"):
        assert _manifest(run / name)["sha256"] == _manifest(tmp_path / name)["sha256"], name
    for name in ("pairs", "evaluation"):
        assert _manifest(run / name)["summary"] == _manifest(tmp_path / name)["summary"], name
        first, second = (
            artifacts.Artifact(where / name, _manifest(run / name)["kind"]).open() for where in (run, tmp_path)
        )
        assert set(first.variables) == set(second.variables)
        for each in first.variables:
            assert first[each].dtype == second[each].dtype, (name, each)
            np.testing.assert_array_equal(first[each].values, second[each].values, err_msg=f"{name}/{each}")


def _manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_the_resolved_settings_can_be_fed_back(run, tmp_path):
    do("pairs", "--config", run / "pairs" / "config.toml", "--out", tmp_path / "pairs")
    ids = [json.loads((where / "pairs" / "manifest.json").read_text())["id"] for where in (run, tmp_path)]
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["convert", "generator", "{parity}/cls_resnet18.pth", "{out}"], "convert classifier"),
        (["convert", "classifier", "{parity}/gen_stem16.pkl", "{out}", "--arch", "resnet18"], "convert generator"),
        (["convert", "classifier", "{parity}/cls_vgg16.pth", "{out}", "--arch", "resnet18"], "missing"),
        (["convert", "classifier", "{parity}/cls_vgg16.pth", "{out}", "--arch", "resnet81"], "resnet18"),
        (["convert", "generator", "{parity}/nothing.pkl", "{out}"], "nothing.pkl"),
        (["convert", "something"], "generator, classifier or segmenter"),
        (["convert", "generator", "{parity}/gen_stem16.pkl", "{run}/link"], "exists already"),
    ],
)
def test_a_wrong_conversion_exits_with_2_and_leaves_nothing(run, parity, tmp_path, capsys, command, said):
    out = tmp_path / "out"
    assert main([word.format(parity=parity, out=out, run=run) for word in command]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["gen_stem16.pkl", "cls_vgg16.pth"])
def test_loading_a_raw_file_says_how_to_convert_it(parity, name):
    with pytest.raises(linkjax.errors.InputError, match="linkjax convert"):
        linkjax.load(parity / name)

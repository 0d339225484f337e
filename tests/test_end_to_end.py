"""The README's job from files of the published formats, on the small random weights of `parity/`."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest

import linkjax
from linkjax.atlas import run as atlas
from linkjax.cli import main
from linkjax.commands import experiment
from linkjax.report.source import Source
from linkjax.stages import report
from linkjax.storage import artifacts, manifest
from tests.stages.conftest import do

COMPILED, DEVICES = "for many runs", 2


@pytest.fixture(scope="module")
def run(tmp_path_factory, parity):
    """Every command of the README, in its order, once."""
    return job(tmp_path_factory.mktemp("job"), parity, "--skip", "congruence")


EXPERIMENT = """
[shared]
generator = "generator"
classifier = "classifier"
batch_size = 24

[pairs]
classes = "0,2,5"
class_names = ["a<b>", "two", "three"]
keep = "all"
n_train = 20
n_val = 8
n_test = 8

[link]
method = "ridge"
alphas = [0.1, 10]

[evaluate]
shuffled_samples = 8
pictures = 4

[sweep]
units = ["0-1", 63]
samples = 2
steps = 3
picture_units = 2
random_directions = 4

[select]
draws = 20
flips = 50
against = ["sign"]
ablation = false

[counterfactual]
samples = 2
max_steps = 6
check_every = 3
targets = [1, 4]
"""


def job(folder, parity, *flags):
    do("convert", "generator", parity / "gen_stem16.pkl", folder / "generator")
    do("convert", "classifier", parity / "cls_resnet18.pth", folder / "classifier", "--arch", "resnet18")
    (folder / "experiment.toml").write_text(EXPERIMENT, encoding="utf-8")
    do("plan", "--config", folder / "experiment.toml", "--no-measure")
    do("run", "--config", folder / "experiment.toml", "--out", folder, *flags)
    return folder


def asked_for(run, text=EXPERIMENT, **more):
    (run / "changed.toml").write_text(text, encoding="utf-8")
    return experiment.plan(experiment.Config(out=str(run), experiment=str(run / "changed.toml"), **more))


def differ(run, planned):
    found = report.complete(report.Config(str(run)))
    kinds = {"link": ("link",)}
    return {
        name: experiment.differences(Source(role, getattr(found, role), kinds.get(name, (role,))), planned[name])
        for name, role in {
            "pairs": "pairs",
            "link": "link",
            "sweep": "sweep",
            "counterfactual": "counterfactual",
        }.items()
    }


def test_a_run_knows_what_it_has_finished_wherever_it_lies_and_names_what_was_made_otherwise(run, monkeypatch):
    nothing = {name: [] for name in ("pairs", "link", "sweep", "counterfactual")}
    assert differ(run, asked_for(run)) == nothing
    monkeypatch.chdir(run)
    assert differ(run, asked_for(run.relative_to(run))) == nothing
    assert differ(run, asked_for(run, EXPERIMENT.replace("batch_size = 24", "batch_size = 8"))) == nothing
    assert differ(run, asked_for(run, EXPERIMENT.replace("steps = 3", "steps = 5", 1))) == {
        **nothing, "sweep": ["steps: 3 there, 5 now"]
    }  # fmt: skip
    changed = asked_for(run)
    changed["counterfactual"] = dataclasses.replace(changed["counterfactual"], classifier=str(run / "generator"))
    changed["sweep"] = dataclasses.replace(changed["sweep"], pairs=str(run / "evaluation"))
    assert differ(run, changed) == {
        **nothing,
        "counterfactual": ["of another classifier"],
        "sweep": ["of another pairs"],
    }


def test_a_run_goes_on_where_it_was_and_refuses_what_was_made_otherwise(run, capsys):
    flags = ["--skip", "congruence", "--out", str(run)]
    made = (run / "sweep" / "manifest.json").stat().st_mtime_ns
    assert main(["run", "--config", str(run / "experiment.toml"), *flags]) == 0
    said = capsys.readouterr().out
    assert said.count("there already") == 7 and said.strip().endswith("index.html")
    assert (run / "sweep" / "manifest.json").stat().st_mtime_ns == made
    (run / "changed.toml").write_text(EXPERIMENT.replace("n_val = 8", "n_val = 9"), encoding="utf-8")
    assert main(["run", "--config", str(run / "changed.toml"), *flags]) == 2
    assert "holds a pairs made otherwise (n-val: 8 there, 9 now); remove it" in capsys.readouterr().err


def test_a_run_ends_with_an_atlas_that_its_page_leads_to_and_that_is_made_anew_of_other_results(run, tmp_path):
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert 'href="../atlas/index.html"' in page and (run / "atlas" / "index.html").is_file()
    units = set(re.findall(r'href="\.\./atlas/index\.html#unit=(\d+)"', page))
    selected = artifacts.Artifact(run / "selection", "selection").summary["selected"]
    assert units and {str(unit) for unit in selected[:2]} <= units

    settings = atlas.Config(str(run), str(tmp_path / "atlas"))
    assert atlas.refresh(dataclasses.replace(settings, pictures_from=str(run / "atlas")))  # nothing to draw
    assert not atlas.refresh(settings)
    before = manifest.read(tmp_path / "atlas", ("atlas",))
    (tmp_path / "atlas" / manifest.FILE).write_text(json.dumps({**before, "inputs": {}}), encoding="utf-8")
    assert atlas.refresh(settings)
    assert manifest.read(tmp_path / "atlas", ("atlas",))["inputs"] == before["inputs"]
    assert [path.name for path in tmp_path.iterdir()] == ["atlas"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('generator = "generator"', ""), 'add generator = "…" under [shared]'),
        (("[link]", '[link]\ngroups = ["0", "2"]'), "a run has one link"),
        (("steps = 3", "stepps = 3"), "did you mean 'steps'"),
        (("n_train = 20", "n_train = -1"), "n-train: expected a number above 0"),
    ],
)
def test_a_run_with_unusable_settings_ends_before_any_work(run, tmp_path, capsys, change, said):
    text = EXPERIMENT.replace('"classifier"', f'"{run / "classifier"}"').replace(*change)
    (tmp_path / "wrong.toml").write_text(text, encoding="utf-8")
    assert main(["run", "--config", str(tmp_path / "wrong.toml"), "--out", str(tmp_path / "run")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_stages_that_need_more_are_run_where_it_is_given(run, tmp_path):
    assert list(asked_for(run)) == [
        "pairs", "link", "evaluate", "congruence", "sweep", "select", "counterfactual", "report"
    ]  # fmt: skip
    parts = asked_for(
        run, EXPERIMENT + '[segment]\nimages = "pictures"\nmasks = "masks"\n[encode]\nphotographs = "p"\n'
    )
    assert list(parts)[3:7] == ["congruence", "encode", "segment", "screen"]
    assert parts["sweep"].segmenter == parts["screen"].segmenter == str(run / "segmenter")
    assert parts["sweep"].screening == str(run / "screening") and parts["sweep"].encoding is None
    assert parts["report"].encoding == str(run / "encoding")
    assert parts["segment"].masks == str(run / "masks")
    assert "select" not in asked_for(run, skip=("sweep",))


def test_the_page_is_whole_and_self_contained(run):
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") >= 6
    outside = re.findall(r'(?:src|href)="(?!data:|#)([^"]*)', page)
    assert {address.partition("#")[0] for address in outside} == {"../atlas/index.html"}  # to go on to, not needed
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


def test_with_64_bit_values_on_and_settings_fed_back_every_folder_is_the_same(run, tmp_path, parity):
    jax.config.update("jax_enable_x64", True)
    try:
        do("pairs", "--config", run / "pairs" / "config.toml", "--out", tmp_path / "pairs")
        job(tmp_path, parity, "--skip", "congruence")  # keeps these pairs: they are of the weights converted here
        generator, classifier = (linkjax.load(tmp_path / name) for name in ("generator", "classifier"))
        seen = classifier(
            classifier.preprocess(generator.synthesis(generator.mapping(np.zeros((2, 16)), np.arange(2))))
        )
        assert seen.logits.dtype == np.float32 and jax.config.jax_enable_x64
    finally:
        jax.config.update("jax_enable_x64", False)
    again = classifier(classifier.preprocess(generator.synthesis(generator.mapping(np.zeros((2, 16)), np.arange(2)))))
    np.testing.assert_array_equal(seen.logits, again.logits)
    assert _manifest(run / "pairs")["id"] == _manifest(tmp_path / "pairs")["id"]
    for name in ("generator", "classifier", "link"):
        assert _manifest(run / name)["sha256"] == _manifest(tmp_path / name)["sha256"], name
    for name in ("pairs", "evaluation", "sweep", "selection", "counterfactual"):
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


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["convert", "generator", "{parity}/cls_resnet18.pth", "{out}"], "convert classifier"),
        (["convert", "classifier", "{parity}/gen_stem16.pkl", "{out}", "--arch", "resnet18"], "convert generator"),
        (["convert", "classifier", "{parity}/cls_vgg16.pth", "{out}", "--arch", "resnet18"], "missing"),
        (["convert", "classifier", "{parity}/cls_vgg16.pth", "{out}", "--arch", "resnet81"], "resnet18"),
        (["convert", "generator", "{parity}/nothing.pkl", "{out}"], "nothing.pkl"),
        (["convert", "something"], "generator, classifier, module, embedder, segmenter"),
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

import json
from pathlib import Path

import numpy as np
import pytest

import linkjax
from linkjax import artifacts
from linkjax.cli import main
from tests import tolerances
from tests.stages.conftest import do


def splits(world):
    made = artifacts.Artifact(world.pairs, "pairs")
    data = made.open()
    return {
        split: tuple(made.read(data, name, slice(*rows)) for name in ("r", "w"))
        for split, rows in made.summary["splits"].items()
    }


@pytest.mark.parametrize(
    "flags",
    [["--method", "ols"], ["--method", "ridge", "--alpha", "3"], ["--method", "elastic_net", "--alpha", "0.01"]],
)
def test_the_streamed_link_is_the_one_fitted_in_memory(world, tmp_path, flags):
    do("link", "--pairs", world.pairs, "--out", tmp_path / "link", "--rows", "32", *flags)
    streamed = linkjax.load(tmp_path / "link")
    r, w = splits(world)["train"]
    alpha = float(flags[3]) if len(flags) > 2 else 1.0
    whole = linkjax.fit_link(r, w, method=flags[1], alpha=alpha)
    for name in ("kernel", "bias"):
        expected = np.asarray(getattr(whole, name)[...])
        found = np.asarray(getattr(streamed, name)[...])
        assert np.abs(found - expected).max() < tolerances.STAGE_LINK * np.abs(expected).max()


def test_a_penalty_of_straighter_steps_is_chosen_where_asked_and_all_are_told(world, tmp_path):
    flags = ["link", "--pairs", world.pairs, "--method", "ridge", "--alphas", "0.1", "1", "10", "100"]
    do(*flags, "--choose", "stable", "--r2-loss", "10", "--out", tmp_path / "stable")
    do(*flags, "--out", tmp_path / "best")
    found, best = (artifacts.manifests.read(tmp_path / name)["source"]["diagnostics"] for name in ("stable", "best"))
    assert found["steps"] == best["steps"] and (found["chosen_by"], best["chosen_by"]) == ("stable", "r2")
    assert [row["alpha"] for row in found["steps"]] == [0.1, 1, 10, 100]
    lengths = [row["length"] for row in found["steps"]]
    assert lengths == sorted(lengths, reverse=True) and lengths[-1] > 0
    [taken] = [row for row in found["steps"] if row["alpha"] == found["alpha"]]
    assert taken["directness"] == max(row["directness"] for row in found["steps"])
    assert found["val_r2"] == taken["r2"] <= best["val_r2"]
    assert len(found["validation"]) == 4
    link, (r, w) = linkjax.load(tmp_path / "stable"), splits(world)["train"]
    expected = linkjax.fit_link(r, w, method="ridge", alpha=found["alpha"])
    np.testing.assert_allclose(link.kernel[...], expected.kernel[...], atol=tolerances.STAGE_LINK)
    assert link.spec.alpha == found["alpha"]


def test_choosing_by_steps_needs_penalties_to_choose_from(world, tmp_path, capsys):
    flags = ["link", "--pairs", world.pairs, "--out", str(tmp_path / "link"), "--choose", "stable"]
    assert main(flags) == 2 and main([*flags, "--method", "elastic_net", "--alphas", "1", "2"]) == 2
    assert "choose stable: expected ridge" in capsys.readouterr().err


def test_alpha_is_the_best_on_the_validation_split(world):
    manifest = json.loads((Path(world.link) / "manifest.json").read_text())
    diagnostics = manifest["source"]["diagnostics"]
    parts = splits(world)
    errors = {}
    for alpha in (0.1, 1.0, 10.0):
        link = linkjax.fit_link(*parts["train"], method="ridge", alpha=alpha)
        errors[alpha] = float(np.mean((np.asarray(link(parts["val"][0])) - parts["val"][1]) ** 2))
    assert diagnostics["alpha"] == min(errors, key=errors.__getitem__)
    assert dict(map(tuple, diagnostics["validation"])) == pytest.approx(errors, rel=1e-4)
    assert diagnostics["numerical_rank"] <= 16 and diagnostics["condition_number"] > 1


def test_an_mlp_link_is_trained_saved_and_loaded(world, tmp_path):
    do("link", "--pairs", world.pairs, "--out", tmp_path / "link", "--method", "mlp", "--epochs", "3", "--hidden", "8")
    link = linkjax.load(tmp_path / "link")
    assert link(splits(world)["test"][0]).shape == (40, 12)
    with pytest.raises(AttributeError, match="no single kernel"):
        _ = link.kernel


def test_what_does_not_fit_is_refused(world, tmp_path, capsys):
    assert main(["link", "--pairs", world.sweep, "--out", str(tmp_path / "link")]) == 2
    assert "expected pairs, found sweep" in capsys.readouterr().err
    assert main(["link", "--pairs", world.pairs, "--out", world.link]) == 2
    assert "exists already" in capsys.readouterr().err
    assert not (tmp_path / "link").exists()

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

import linkjax
from linkjax.analysis.links import dual, host_moments
from linkjax.analysis.links.problem import Settings
from linkjax.cli import main
from linkjax.errors import InputError
from linkjax.stages import inputs, rows
from linkjax.stages.link import stage as link_stage
from linkjax.stages.link import stored, summing, wide
from linkjax.storage import artifacts, checkpoint
from tests import tolerances
from tests.stages.conftest import do


def splits(world):
    made = artifacts.Artifact(world.pairs, "pairs")
    return {
        split: tuple(made.read(name, slice(*rows)) for name in ("r", "w"))
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


@pytest.mark.parametrize("flags", [["--method", "ols"], ["--method", "mlp", "--epochs", "3", "--hidden", "8"]])
def test_one_device_and_two_give_the_link_of_eight(world, tmp_path, flags, on_devices):
    links = {}
    for count in (8, 2, 1):
        on_devices(count)
        do("link", "--pairs", world.pairs, "--out", tmp_path / str(count), "--rows", "32", *flags)
        links[count] = linkjax.load(tmp_path / str(count))
    r, _ = splits(world)["test"]
    found = {count: np.asarray(link(r)) for count, link in links.items()}
    for count in (1, 2):
        assert np.abs(found[count] - found[8]).max() < tolerances.STAGE_DEVICES * np.abs(found[8]).max()


@pytest.fixture
def read_and_killed(monkeypatch):
    """`read_and_killed(n)`: the next run is stopped when it asks for its (n + 1)-th block; rows of the blocks read."""
    read: list[int] = []
    original = rows.read
    monkeypatch.setattr(stored, "_SAVE_SECONDS", 0.0)
    monkeypatch.setattr(summing, "MERGED", 2)  # sums are kept where nothing waits to be added: every other block here
    monkeypatch.setattr(host_moments, "PENDING", 2)

    def arm(most):
        read.clear()

        def stopping(pairs, wanted):
            for block in original(pairs, wanted):
                if len(read) == most:
                    raise KeyboardInterrupt
                read.append(len(block[0]))
                yield block

        monkeypatch.setattr(rows, "read", stopping)
        return read

    return arm


@pytest.mark.parametrize("devices", [1, 8])
def test_a_killed_link_goes_on_from_its_sums_with_the_same_bits(
    world, tmp_path, capsys, read_and_killed, devices, on_devices, monkeypatch
):
    on_devices(devices)
    out = tmp_path / "link"
    command = ["link", "--pairs", world.pairs, "--out", str(out), "--method", "ridge", "--rows", "16"]
    read_and_killed(6)
    assert main(command) == 1 and "goes on where it was" in capsys.readouterr().err
    assert not out.exists()
    read = read_and_killed(10**6)
    assert main(command) == 0
    assert sum(read) == 160 - 6 * 16  # 5 classes of 24 + 8 pairs: no finished block is read again
    assert not (tmp_path / "link.partial").exists() and not (out / "work").exists()
    expected = np.asarray(linkjax.fit_link(*splits(world)["train"], method="ridge").kernel[...])
    found = np.asarray(linkjax.load(out).kernel[...])
    assert np.abs(found - expected).max() < tolerances.STAGE_LINK * np.abs(expected).max()
    monkeypatch.setattr(stored, "_SAVE_SECONDS", 1e9)
    do(*command[:3], "--out", tmp_path / "whole", *command[5:])
    assert np.array_equal(found, np.asarray(linkjax.load(tmp_path / "whole").kernel[...]))


def test_damaged_sums_are_named(world, tmp_path, capsys, read_and_killed):
    command = ["link", "--pairs", world.pairs, "--out", str(tmp_path / "link"), "--rows", "16"]
    read_and_killed(3)
    assert main(command) == 1
    (path,) = (tmp_path / "link.partial" / "work").glob("train-*.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert main(command) == 2 and f"{path.name}: these sums of an unfinished run are damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("mlp", ["--method", "mlp", "--epochs", "4", "--hidden", "8"]),
        ("elastic_net", ["--method", "elastic_net", "--alpha", "0.05", "--moments-gib", "1e-9"]),
    ],
)
def test_a_killed_training_ends_with_the_bits_of_one_that_was_not(world, tmp_path, monkeypatch, capsys, name, flags):
    command = ["link", "--pairs", world.pairs, "--seed", "3", *flags]
    do(*command, "--out", tmp_path / "whole")
    original, saved = checkpoint.save_state, []

    def killed(folder, step, arrays, note):
        original(folder, step, arrays, note)
        saved.append(step)
        if saved == [1, 2]:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_state", killed)
    assert main([*command, "--out", str(tmp_path / "killed")]) == 1
    state = tmp_path / "killed.partial" / "work" / name / "2"
    sound = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    largest = max(sound, key=lambda path: len(sound[path]))
    for damaged, content in (
        (largest, sound[largest][: len(sound[largest]) // 2]),
        (state / "note" / "metadata", b"{"),
    ):
        damaged.write_bytes(content)
        capsys.readouterr()
        assert main([*command, "--out", str(tmp_path / "killed")]) == 2
        assert f"{state}: this checkpoint of an unfinished training is damaged" in capsys.readouterr().err
        damaged.write_bytes(sound[damaged])
    do(*command, "--out", tmp_path / "killed")
    whole, resumed = (json.loads((tmp_path / each / "manifest.json").read_text()) for each in ("whole", "killed"))
    assert saved == list(range(1, 1 + whole["source"]["diagnostics"]["epochs"])) and len(saved) > 3
    assert whole["sha256"] == resumed["sha256"]
    assert whole["source"]["diagnostics"] == resumed["source"]["diagnostics"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_training_begun_on_eight_devices_goes_on_with_fewer(world, tmp_path, monkeypatch, on_devices, count):
    command = ["link", "--pairs", world.pairs, "--method", "mlp", "--epochs", "3", "--hidden", "8"]
    on_devices(8)
    do(*command, "--out", tmp_path / "whole")
    original, saved = checkpoint.save_state, []

    def killed(folder, step, arrays, note):
        original(folder, step, arrays, note)
        saved.append(step)
        if saved == [1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save_state", killed)
    assert main([*command, "--out", str(tmp_path / "killed")]) == 1
    on_devices(count)
    do(*command, "--out", tmp_path / "killed")
    assert saved == [1, 2, 3]
    r, _ = splits(world)["test"]
    whole, resumed = (np.asarray(linkjax.load(tmp_path / each)(r)) for each in ("whole", "killed"))
    assert np.abs(resumed - whole).max() < tolerances.STAGE_DEVICES * np.abs(whole).max()


def test_a_link_is_fitted_on_some_classes(world, tmp_path, capsys):
    made = artifacts.Artifact(world.pairs, "pairs")
    train = slice(*made.summary["splits"]["train"])
    chosen = np.isin(made.read("label", train), (0, 3))
    expected = linkjax.fit_link(made.read("r", train)[chosen], made.read("w", train)[chosen], method="ridge")
    do("link", "--pairs", world.pairs, "--out", tmp_path / "link", "--method", "ridge", "--classes", "0", "3")
    found, size = (
        np.asarray(linkjax.load(tmp_path / "link").kernel[...]),
        np.abs(np.asarray(expected.kernel[...])).max(),
    )
    assert np.abs(found - np.asarray(expected.kernel[...])).max() < tolerances.STAGE_LINK * size
    source = json.loads((tmp_path / "link" / "manifest.json").read_text())["source"]
    assert source["classes"] == [0, 3] and source["diagnostics"]["count"] == 48
    assert main(["link", "--pairs", world.pairs, "--out", str(tmp_path / "no"), "--classes", "0", "77"]) == 2
    assert "found [77]" in capsys.readouterr().err and not (tmp_path / "no.partial").exists()


def test_a_reduced_rank_is_asked_for_and_reported(world, tmp_path, capsys):
    do("link", "--pairs", world.pairs, "--out", tmp_path / "link", "--method", "ridge", "--rank", "3")
    found = linkjax.load(tmp_path / "link")
    assert found.spec.rank == 3 and np.linalg.matrix_rank(np.asarray(found.kernel[...]), tol=1e-4) == 3
    r, w = splits(world)["val"]
    diagnostics = json.loads((tmp_path / "link" / "manifest.json").read_text())["source"]["diagnostics"]
    assert diagnostics["val_mse"] == pytest.approx(float(np.mean((np.asarray(found(r)) - w) ** 2)), rel=1e-4)
    assert main(["link", "--pairs", world.pairs, "--out", str(tmp_path / "no"), "--method", "mlp", "--rank", "3"]) == 2
    assert "closed form for ols and ridge only" in capsys.readouterr().err


def test_an_elastic_net_of_units_too_many_for_moments_is_streamed(world, tmp_path):
    flags = ["--pairs", world.pairs, "--method", "elastic_net", "--alpha", "0.05"]
    do("link", *flags, "--out", tmp_path / "moments")
    do("link", *flags, "--moments-gib", "1e-9", "--out", tmp_path / "without")
    r, w = splits(world)["val"]
    exact, streamed = (np.asarray(linkjax.load(tmp_path / name)(r)) for name in ("moments", "without"))
    nothing, exact_error, error = (((a - w) ** 2).mean() for a in (splits(world)["train"][1].mean(0), exact, streamed))
    # It stops by these very pairs, while slow directions may still be on their way.
    assert nothing - error > 0.8 * (nothing - exact_error) > 0
    found = json.loads((tmp_path / "without" / "manifest.json").read_text())["source"]["diagnostics"]
    assert found["val_mse"] == pytest.approx(float(((streamed - w) ** 2).mean()), rel=1e-4)
    assert found["val_r2"] == pytest.approx(1 - float(((streamed - w) ** 2).sum() / ((w - w.mean(0)) ** 2).sum()))


@pytest.mark.parametrize("method", ["ols", "ridge"])
def test_fewer_pairs_than_units_are_linked_without_moments(world, tmp_path, method):
    made = artifacts.Artifact(world.pairs, "pairs")
    config = link_stage.Config("", world.pairs, method=method, alphas=(0.1, 3.0) if method == "ridge" else (), rows=5)
    ranges = {"train": [(0, 7), (40, 45)], "val": rows.of_classes(made, "val")}
    wide.check(config, made, ranges)
    settings = Settings(method, config.alpha, config.l1_ratio, config.alphas)
    found, diagnostics = dual.fit(stored.StoredPairs(config, made, ranges, tmp_path), settings)
    r, w = (np.concatenate([made.read(name, slice(*part)) for part in ranges["train"]]) for name in ("r", "w"))
    expected = linkjax.fit_link(r, w, method, validation=splits(world)["val"], alphas=config.alphas)
    lam = expected.spec.steer_lambda
    assert (
        dataclasses.replace(found.spec, steered=True, steer_lambda=lam) == expected.spec and diagnostics["count"] == 12
    )
    size = np.abs(np.asarray(expected.kernel[...])).max()
    assert np.abs(np.asarray(found.kernel[...]) - np.asarray(expected.kernel[...])).max() < tolerances.STAGE_LINK * size


def test_a_gram_matrix_larger_than_moments_may_be_is_refused(world):
    made = artifacts.Artifact(world.pairs, "pairs")
    config = link_stage.Config("", world.pairs, moments_gib=24 * 12**2 / 2**30)
    wide.check(config, made, {"train": [(0, 12)]})
    with pytest.raises(InputError, match="so does the Gram matrix of 13 pairs"):
        wide.check(config, made, {"train": [(0, 13)]})


def test_what_cannot_be_fitted_without_moments_is_refused_before_anything_is_made(world, tmp_path, capsys):
    for flags, message in (
        (["--method", "ridge"], "120 pairs are more than the units"),
        (["--method", "mlp"], "which method mlp starts from"),
        (["--method", "elastic_net", "--alphas", "0.1", "1"], "needs one --alpha"),
    ):
        command = ["link", "--pairs", world.pairs, *flags, "--moments-gib", "1e-9", "--out", str(tmp_path / "no")]
        assert main(command) == 2 and message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_is_refused(world, tmp_path, capsys):
    assert main(["link", "--pairs", world.sweep, "--out", str(tmp_path / "link")]) == 2
    assert "expected pairs, found sweep" in capsys.readouterr().err
    assert main(["link", "--pairs", world.pairs, "--out", world.link]) == 2
    assert "exists already" in capsys.readouterr().err
    assert not (tmp_path / "link").exists()


def test_a_link_has_the_directions_that_its_training_pairs_give(world, tmp_path, capsys):
    out = tmp_path / "link"
    assert main(["link", "--pairs", world.pairs, "--method", "ridge", "--out", str(out), "--rows", "7"]) == 0
    said = capsys.readouterr().out
    found = json.loads((out / "manifest.json").read_text())["source"]["diagnostics"]["steering"]
    assert f"steering lambda: {found['lambda']:.4g}" in said and found["curve"] and "held-out" in found["criterion"]
    link, (r, w) = linkjax.load(out), splits(world)["train"]
    made = artifacts.Artifact(world.pairs, "pairs")
    label = made.read("label", slice(*made.summary["splits"]["train"]))
    expected = linkjax.fit_link(r, w, "ridge", labels=label, steer_lambda=found["lambda"])
    for name in ("steer", "covariance", "unit_std", "back", "r2"):
        wanted = np.asarray(getattr(expected, name))
        error = np.abs(np.asarray(getattr(link, name)) - wanted)
        assert np.nanmax(error) <= tolerances.STAGE_LINK * np.nanmax(np.abs(wanted)), name
    assert set(found["constant"]) == set(np.flatnonzero(np.isnan(link.steer).any(axis=1)))


def test_steps_are_scaled_by_what_an_earlier_sweep_obtained(world, tmp_path, capsys):
    flags = ["link", "--pairs", world.pairs, "--out"]
    assert main([*flags, str(tmp_path / "scaled"), "--scaled-by", world.sweep]) == 0
    swept = linkjax.open(world.sweep)
    link, scaled = (np.asarray(linkjax.load(path).steer) for path in (world.link, tmp_path / "scaled"))
    seen = np.where(swept["flag"] == 0, swept["fidelity"].values, 1.0)
    expected = link[swept["unit"].values] / np.clip(seen, 0.5, 2.0)[:, None]
    np.testing.assert_allclose(scaled[swept["unit"].values], expected, rtol=1e-4, atol=1e-5)
    capsys.readouterr()
    assert main([*flags, str(tmp_path / "other"), "--scaled-by", world.sweep, "--steer-lambda", "0"]) == 2
    assert "are not those of this link" in capsys.readouterr().err
    pairs = artifacts.Artifact(world.pairs, "pairs")
    validation, test = (set(inputs.anchors(pairs, None, 1, None, split)["sample_id"]) for split in ("val", "test"))
    assert validation and not validation & test
    assert not (tmp_path / "other").exists()

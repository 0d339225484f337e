"""The demo: the whole job on the embedded world, offline, with a score against the truth."""

import shutil
import socket

import linkjax
from linkjax.cli import main
from linkjax.demo import names
from linkjax.demo.bundle import open_bundle
from linkjax.storage.artifacts import Artifact

COMPILED = "in one piece"


def test_the_demo_ends_with_a_page_and_finds_what_is_true_without_any_network(
    tmp_path, capsys, monkeypatch, one_device
):
    def refuse(*address):
        raise AssertionError(f"the demo asked for the network: {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert main(["demo", "--fast", "--out", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out
    assert "index.html" in said and "planted" in said
    page = (tmp_path / "demo" / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") > 5 and "Recovery of planted units" in page
    found = Artifact(tmp_path / "demo" / "recovery", "recovery").summary
    # The full run's targets are held by the committed figures; with a fifth of its pairs these must hold.
    assert found["auc"] >= 0.97 and found["sign_right"] >= 0.95 and found["rank_correlation"] > 0.8
    assert found["selective_units"] == 20 and found["noise_units"] == 16
    assert found["directions"] == "steer" and found["doubles_named"] == found["doubles"] == 2
    assert found["fidelity_within_20_percent_of_all"] >= 0.85 and found["significant_selective_units"] >= 15
    assert found["significant_effects_that_are_real"] >= 0.85
    named = names.score(linkjax.open(tmp_path / "demo" / "names"), open_bundle().units)
    assert named["named"] >= 16 and named["named_right"] >= 0.6 * named["named"] and named["noise_units_named"] <= 1
    beside = Artifact(tmp_path / "demo" / "sweep-kernel", "sweep").summary
    assert beside["directions"] == "kernel" and beside["units"] == 5
    # One that is finished tells where its page lies, one that was stopped goes on; another demo is refused.
    assert main(["demo", "--fast", "--out", str(tmp_path / "demo")]) == 0
    assert "done before; look at" in capsys.readouterr().out
    for name in ("report", "recovery"):
        shutil.rmtree(tmp_path / "demo" / name)
    assert main(["demo", "--fast", "--out", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out
    assert "planted: pairs: done before" in said and "planted: recovery: done before" not in said
    assert (tmp_path / "demo" / "report" / "index.html").read_text(encoding="utf-8") == page
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 2
    assert "exists already, of a demo with another fast" in capsys.readouterr().err


def test_a_folder_of_something_else_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    assert main(["demo", "--out", str(tmp_path / "mine")]) == 2
    assert "exists already" in capsys.readouterr().err and not list((tmp_path / "mine").iterdir())


def test_a_place_one_cannot_write_to_is_named_before_any_work(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file" / "demo")]) == 2
    assert "cannot write in" in capsys.readouterr().err


def test_another_folder_is_no_bundle(tmp_path, capsys):
    assert main(["demo", "--bundle", str(tmp_path), "--out", str(tmp_path / "demo")]) == 2
    assert "demo_bundle" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()

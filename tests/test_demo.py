"""The demo: the whole job on the embedded world, offline, with a score against the truth."""

import socket

from linkjax.artifacts import Artifact
from linkjax.cli import main

COMPILED_AS_SHIPPED = True


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
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_place_one_cannot_write_to_is_named_before_any_work(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file" / "demo")]) == 2
    assert "cannot write in" in capsys.readouterr().err


def test_another_folder_is_no_bundle(tmp_path, capsys):
    assert main(["demo", "--bundle", str(tmp_path), "--out", str(tmp_path / "demo")]) == 2
    assert "demo_bundle" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()

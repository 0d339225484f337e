from linkjax.cli import main


def test_the_demo_runs_says_that_its_weights_are_random_and_ends_with_a_page(tmp_path, capsys):
    assert main(["demo", "--fast", "--out", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out
    assert "Random weights" in said and "index.html" in said
    page = (tmp_path / "demo" / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") > 5
    assert main(["demo", "--out", str(tmp_path / "demo")]) == 2
    assert "exists already" in capsys.readouterr().err

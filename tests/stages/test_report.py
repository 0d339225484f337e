import base64
import hashlib
import html.parser
import json
import re
import shutil

import numpy as np
import pytest

from linkjax import cli
from linkjax.errors import InputError
from linkjax.stages import report
from linkjax.storage import artifacts, manifest
from tests.report import synthetic

HOSTILE = ("<script>alert(1)</script>", '" onerror="x', "{{ 7 * 7 }}", "a & b")


class Reader(html.parser.HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.attributes, self.text, self.headings, self._open = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        self._open.append(tag)

    def handle_data(self, data):
        self.text.append(data)
        if self._open and self._open[-1] == "h2":
            self.headings.append(data)

    def handle_endtag(self, tag):
        self._open.append("")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return synthetic.everything(tmp_path_factory.mktemp("results"), names=(*synthetic.NAMES[:3], HOSTILE[0]))


@pytest.fixture(scope="module")
def whole(results, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "report"
    report.run(report.Config(str(out), **results, title="Dogs & <others>"))
    return out


@pytest.fixture(scope="module")
def page(whole):
    return (whole / "index.html").read_text(encoding="utf-8")


def make(out, **results):
    report.run(report.Config(str(out), **results))
    return (out / "index.html").read_text(encoding="utf-8")


def test_a_page_of_all_results_has_all_sections_in_order(page):
    assert Reader(page).headings == [
        "Sweep", "Screening", "Counterfactuals", "Photographs", "Evaluation", "Congruence", "Parts", "Link", "Pairs",
        "Limits", "Words", "What was run",
    ]  # fmt: skip


def test_the_page_tells_where_classes_flip_and_which_units_and_parts_moved(page):
    for said in ("Paths by method", "The boundary by pair of classes", "Transition units by pair of classes",
                 "Do pairs of classes share their transition units?", "Matrix of changes of parts", "Decision line",
                 "Paths between two clouds"):  # fmt: skip
        assert said in page, said


def test_searches_without_paths_are_reported_without_them(tmp_path):
    made = str(synthetic.counterfactual(tmp_path / "counterfactual", walked=False))
    page = make(tmp_path / "page", counterfactual=made)
    assert "Counterfactuals" in page and "Paths by method" not in page and "Decision line" not in page


def test_the_page_is_complete_in_itself(page):
    reader = Reader(page)
    assert not {"script", "link", "iframe", "object", "embed"} & set(reader.tags)
    for tag, key, value in reader.attributes:
        if key in ("src", "href", "srcset", "data", "action"):
            assert value.startswith("#") or (tag == "img" and value.startswith("data:image/png;base64,")), value[:60]
        assert not key.startswith("on")
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert "http://" not in page and "https://" not in page


def test_words_lead_to_their_meaning_on_the_page_once_a_section(page):
    found = Reader(page).attributes
    ids = [value for _, key, value in found if key == "id"]
    led_to = [value.removeprefix("#") for _, key, value in found if key == "href"]
    assert len(ids) == len(set(ids)) and set(led_to) <= set(ids)
    for section in re.findall(r"<section.*?</section>", page, re.DOTALL):
        words = re.findall(r'class="word" href="#([^"]+)"', section)
        assert len(words) == len(set(words))
    assert {"word-fidelity", "word-r", "word-transition-unit", "word-flip-point", "word-overlap-iou"} <= set(led_to)
    text = page[page.index('id="words"') :]
    assert "1 is as asked, 0 is not at all" in text and "obtained = α(sample) + fidelity · asked" in text
    assert text.index('id="words"') < text.index('id="run"')  # settings last


def test_units_lead_to_their_cards_where_there_is_an_atlas(results, page, tmp_path):
    run = tmp_path / "run"
    (run / "atlas").mkdir(parents=True)
    (run / "sweep").symlink_to(results["sweep"])
    manifest.write(run / "atlas", manifest.build("atlas", sha256="d4" * 32))
    units = artifacts.Artifact(results["sweep"], "sweep").read("unit").tolist()
    found = re.findall(r'href="../atlas/index.html#unit=(\d+)"', make(run / "report"))
    assert len(found) >= 10 and set(map(int, found)) <= set(units)
    assert "index.html#unit" not in page


def test_every_picture_of_the_page_lies_beside_it_and_is_described(whole, page):
    inline = {
        hashlib.sha256(base64.b64decode(text)).hexdigest()
        for text in re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    }
    beside = {manifest.file_sha256(path) for path in (whole / "figures").glob("*.png")}
    assert inline == beside and len(inline) >= 14
    images = [value for tag, key, value in Reader(page).attributes if tag == "img" and key == "alt"]
    assert len(images) == len(inline) and all(images)


def test_numbers_of_the_results_are_on_the_page(page):
    text = " ".join("".join(Reader(page).text).split())
    for number in (
        "97.2 %",
        "0.861",
        "golden retriever",
        "a1a1a1a1a1a1",
        "23 513",
        "16.7 %",
        "17.4 of 64",
        "max steps",
        "Found badly or never: <tail>",
        "0.947",
    ):
        assert number in text, number


def test_text_from_files_is_escaped(results, whole, page, tmp_path):
    assert HOSTILE[0] not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Dogs &amp; &lt;others&gt;" in page
    folder = synthetic.pairs(tmp_path / "pairs", names=HOSTILE)
    other = make(tmp_path / "out", pairs=str(folder))
    reader = Reader(other)
    assert "script" not in reader.tags and "49" not in [text.strip() for text in reader.text]
    assert all(name in "".join(reader.text) for name in HOSTILE)


def test_what_is_missing_is_a_dash_and_never_nan(page, tmp_path):
    bare = make(
        tmp_path / "out",
        link=str(synthetic.link(tmp_path / "link", full=False)),
        evaluation=str(synthetic.evaluation(tmp_path / "evaluation", pictures=0)),
        encoding=str(synthetic.encoding(tmp_path / "encoding", pictures=0, compared=False)),
        segmenter=str(synthetic.segmenter(tmp_path / "segmenter", measured=False, overlays=0)),
        screening=str(synthetic.screening(tmp_path / "screening", dead=True)),
        sweep=str(synthetic.sweep(tmp_path / "sweep", pictures=0, units=3)),  # all dead
        counterfactual=str(synthetic.counterfactual(tmp_path / "counterfactual", pictures=0, reached=False)),
    )
    for each in (page, bare):
        text = "".join(Reader(each).text)
        assert "–" in text
        assert not re.search(r"\b(nan|NaN|None|inf|nan %)\b", text), re.search(
            r".{40}\b(nan|NaN|None|inf)\b.{40}", text
        )


@pytest.mark.parametrize(
    "role", ["pairs", "link", "evaluation", "encoding", "segmenter", "screening", "sweep", "counterfactual"]
)
def test_any_result_alone_makes_a_page(role, results, tmp_path):
    page = make(tmp_path / "out", **{role: results[role]})
    assert len(Reader(page).headings) == 4  # itself, limits, words, what was run


def test_results_of_different_models_are_refused(results, tmp_path, capsys):
    for role in ("generator", "classifier"):
        other = synthetic.sweep(tmp_path / role, pictures=0, weights={**synthetic.WEIGHTS, role: "f" * 64})
        with pytest.raises(InputError, match=f"different {role} weights .SHA-256 .*… and ffffffffffff…") as error:
            make(tmp_path / "out", pairs=results["pairs"], sweep=str(other))
        assert "\n" not in str(error.value) and str(other) in str(error.value)
    linked = synthetic.evaluation(tmp_path / "linked", pictures=0, weights={**synthetic.WEIGHTS, "link": "0" * 64})
    assert (
        cli.main(["report", "--out", str(tmp_path / "out"), "--link", results["link"], "--evaluation", str(linked)])
        == 2
    )
    assert "different link weights" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.partial").exists()


def test_results_of_other_pairs_are_pointed_out(results, tmp_path):
    other = synthetic.link(tmp_path / "link", of_pairs="9" * 64)
    page = make(tmp_path / "out", pairs=results["pairs"], link=str(other))
    assert "The link was made from other pairs (id 999999999999)" in "".join(Reader(page).text)


def test_the_models_tell_where_they_come_from_if_their_folder_is_at_hand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = tmp_path / "models" / "generator"
    generator.mkdir(parents=True)
    source = {"file": "imagenet256.pkl", "licence": "of its authors", "note": "a <b>note</b>"}
    content = {"sha256": "d4" * 32, "spec": {"resolution": 16}, "parameters": 12345, "source": source}
    manifest.write(generator, manifest.build("generator", **content))
    folder = synthetic.pairs(tmp_path / "pairs", weights={**synthetic.WEIGHTS, "generator": "d4" * 32})
    text = "".join(Reader(make(tmp_path / "out", pairs=str(folder))).text)
    for each in ("imagenet256.pkl", "of its authors", "16 × 16 pixels", "12\u202f345", "Generator: a <b>note</b>"):
        assert each in text
    replaced = synthetic.pairs(tmp_path / "others")  # the folder holds other weights by now
    assert "imagenet256.pkl" not in make(tmp_path / "out2", pairs=str(replaced))


def test_settings_can_be_fed_back_and_give_the_same_bytes(results, whole, tmp_path, capsys):
    made = manifest.read(whole, ("report",))
    assert made["weights"] == {**synthetic.WEIGHTS, "link": "c3" * 32, "segmenter": "e5" * 32}
    assert set(made["inputs"]) == set(results)
    assert made["inputs"]["pairs"] == artifacts.Artifact(results["pairs"], "pairs").id
    out = str(tmp_path / "again")
    assert cli.main(["report", "--config", str(whole / "config.toml"), "--out", out]) == 0
    assert capsys.readouterr().out.strip() == f"{out}/index.html"
    assert (tmp_path / "again" / "index.html").read_bytes() == (whole / "index.html").read_bytes()


def test_results_of_a_run_are_found_by_what_they_are(results, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    for name, folder in {"pairs": "pairs", "link": "my-link", "sweep": "sweep"}.items():
        (run / folder).symlink_to(results[name])
    (run / "sweep.partial").mkdir()
    (run / "notes.txt").write_text("of mine")
    report.run(report.Config(str(run)))
    assert "reported: my-link, pairs, sweep" in capsys.readouterr().out
    assert set(manifest.read(run / "report", ("report",))["inputs"]) == {"pairs", "link", "sweep"}
    make(run / "again")  # beside them; a page is no result to report
    assert (run / "again" / "index.html").read_bytes() == (run / "report" / "index.html").read_bytes()
    (run / "old-sweep").symlink_to(results["sweep"])  # the one that bears the name is meant
    make(run / "third")
    (run / "sweep").rename(run / "new-sweep")
    with pytest.raises(InputError, match="expected one sweep, found new-sweep, old-sweep; say which with --sweep"):
        make(run / "fourth")


def test_one_sentence_for_each_wrong_use(results, tmp_path, whole):
    with pytest.raises(InputError, match="at least one result"):
        make(tmp_path / "out")
    with pytest.raises(InputError, match="expected sweep, found pairs"):
        make(tmp_path / "out", sweep=results["pairs"])
    with pytest.raises(InputError, match="exists already"):
        make(whole, pairs=results["pairs"])
    with pytest.raises(InputError, match="nothing there"):
        make(tmp_path / "out", pairs=str(tmp_path / "nowhere"))


def test_a_damaged_result_is_named_and_nothing_is_left(results, tmp_path):
    def broken(name, damage):
        folder = tmp_path / name
        shutil.copytree(results["sweep"], folder)
        damage(folder)
        with pytest.raises(InputError, match=f"{name}.*make (it|this sweep) again"):
            make(tmp_path / "out", sweep=str(folder))
        assert not list(tmp_path.glob("out*"))

    broken("without_arrays", lambda folder: shutil.rmtree(folder / artifacts.DATA))
    broken("without_one", lambda folder: shutil.rmtree(folder / artifacts.DATA / "fidelity"))

    def flip(folder):
        chunk = next(path for path in (folder / artifacts.DATA / "picture" / "c").rglob("*") if path.is_file())
        data = bytearray(chunk.read_bytes())
        data[len(data) // 2] ^= 1
        chunk.write_bytes(data)

    broken("flipped", flip)

    def forget(folder):
        content = json.loads((folder / manifest.FILE).read_text())
        content["summary"] = [1, 2]
        (folder / manifest.FILE).write_text(json.dumps(content))

    broken("other_summary", forget)

    def turned(folder):
        shutil.rmtree(folder / artifacts.DATA / "value")
        import zarr

        zarr.open_group(folder / artifacts.DATA).create_array(
            "value", data=np.zeros((5, 40), np.float32), dimension_names=("step", "unit")
        )

    broken("turned", turned)


def test_a_damaged_overlay_is_named(tmp_path):
    folder = synthetic.segmenter(tmp_path / "segmenter")
    (folder / "overlays" / "labelled_000001.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"labelled_000001\.png: this overlay is damaged"):
        make(tmp_path / "out", segmenter=str(folder))


def test_a_killed_report_leaves_nothing_that_is_taken_for_whole(results, tmp_path, monkeypatch):
    from linkjax.report import page

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(page, "render", killed)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "out", pairs=results["pairs"])
    assert not list(tmp_path.iterdir())

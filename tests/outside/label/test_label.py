import http.client
import socket
import struct
import threading

import numpy as np
import pytest
from PIL import Image

from linkjax.cli import main
from linkjax.errors import InputError
from linkjax.outside import masks
from linkjax.outside.label.server import TOKEN, Server
from linkjax.outside.label.store import Store
from tests.outside.label import browser as driven
from tests.outside.label.pictures import SIZE, pictures

NAMES = ("background", "cap", "stem")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("label") / "pictures")


@pytest.fixture
def store(drawn, tmp_path):
    return Store(drawn, tmp_path / "masks", NAMES)


class Taught:
    """In the place of a learner: predicts part 2 of the second picture, once a mask was stored."""

    def __init__(self):
        self.changes = 0

    def changed(self):
        self.changes += 1

    def state(self):
        told = {"by": "masks", "masks": 1, "iou": 0.5, "next": "000001"} if self.changes else {"by": "", "next": None}
        return {"iou": None, "said": "", "learning": False, "version": int(self.changes > 0), **told}

    def prediction(self, stem):
        return bytes([2]) * SIZE**2 if stem == "000001" and self.changes else None


@pytest.fixture
def server(store):
    with Server(store, learner=Taught()) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(server, path, method="GET", body=None, host=None, token=None):
    """Status and content of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    headers = {TOKEN: server.token if token is None else token, "Host": host or f"127.0.0.1:{server.server_port}"}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def labels():
    made = np.zeros((SIZE, SIZE), np.uint8)
    made[2:5, 3:9], made[7], made[9] = 1, 2, 255
    return made


def test_a_stored_mask_is_an_indexed_png_that_the_segment_stage_reads(server, store):
    assert ask(server, "/mask/000001", "PUT", labels().tobytes())[0] == 200
    with Image.open(store.folder / "000001.png") as image:
        assert image.mode == "P"
        np.testing.assert_array_equal(np.asarray(image), labels())
    read = masks.read(store.folder, store.stems, SIZE)
    assert read.part_names == NAMES and list(read.labels) == ["000001"]
    np.testing.assert_array_equal(read.labels["000001"], np.where(labels() == 255, -1, labels().astype(int)))
    assert ask(server, "/mask/000001") == (200, labels().tobytes())
    assert ask(server, "/mask/000000") == (200, b"")
    assert b'"labelled": true' in ask(server, "/state")[1]
    assert ask(server, "/mask/000001", "DELETE")[0] == 200 and not store.labelled("000001")


def test_nothing_is_served_without_the_token_or_under_another_name(server):
    for path in ("/state", "/picture/000000", "/mask/000000", "/learnt", "/prediction/000000"):
        assert ask(server, path, token="")[0] == 403
        assert ask(server, path, token="wrong")[0] == 403
    assert ask(server, "/mask/000000", "PUT", labels().tobytes(), token="wrong")[0] == 403
    assert ask(server, "/mask/000000", "DELETE", token="wrong")[0] == 403
    assert ask(server, "/state", host="evil.example")[0] == 403
    assert ask(server, "/", host="evil.example")[0] == 403
    status, page = ask(server, "/", token="")  # holds no secret: it is for a tab that was given the token before
    assert status == 200 and server.token.encode() not in page
    assert server.server_address[0] == "127.0.0.1" and len(server.token) >= 32


@pytest.mark.parametrize("stem", ["../../etc/passwd", "000002", "..%2f000000", "000000.png", ""])
def test_only_the_pictures_themselves_can_be_named(server, stem):
    assert ask(server, f"/picture/{stem}")[0] == 404
    assert ask(server, f"/mask/{stem}")[0] == 404
    assert ask(server, f"/prediction/{stem}")[0] == 404
    assert ask(server, f"/mask/{stem}", "PUT", labels().tobytes())[0] == 404


def test_a_body_that_is_no_mask_is_refused_and_stores_nothing(server, store):
    assert ask(server, "/mask/000000", "PUT", b"short")[0] == 400
    assert ask(server, "/mask/000000", "PUT", bytes([3]) * SIZE**2)[0] == 400
    assert not store.labelled("000000") and sorted(path.name for path in store.folder.iterdir()) == ["parts.txt"]
    (store.folder / "000000.png").write_bytes(b"damaged")
    assert ask(server, "/mask/000000")[0] == 400


def test_what_nobody_painted_is_not_labelled_where_asked(drawn, tmp_path):
    store = Store(drawn, tmp_path / "masks", NAMES, unpainted=255)
    store.write("000000", np.full(SIZE**2, 255, np.uint8).tobytes())
    assert not store.labelled("000000") and store.read("000000") is None
    some = np.full(SIZE**2, 255, np.uint8)
    some[5] = 0
    store.write("000000", some.tobytes())  # background that was painted counts
    assert store.labelled("000000") and store.read("000000") == some.tobytes()


def test_wrong_use_is_one_sentence(drawn, tmp_path, capsys):
    assert main(["label", "--help"]) == 0
    flags = ["label", "--pictures", str(drawn), "--masks", str(tmp_path / "masks")]
    assert main(flags) == 2
    assert "--part-names background" in capsys.readouterr().err
    assert main([*flags, "--part-names", "a", "--no-open"]) == 2
    assert "from 2 to 64 different names" in capsys.readouterr().err
    assert main([*flags, "--port", "70000"]) == 2
    assert main([*flags, "--part-names", *NAMES, "--no-learn", "--segmenter", "s", "--no-open"]) == 2
    assert main(["label", "--pictures", str(tmp_path), "--masks", str(tmp_path / "masks")]) == 2
    Store(drawn, tmp_path / "masks", NAMES)
    assert Store(drawn, tmp_path / "masks").part_names == NAMES  # from parts.txt
    with pytest.raises(InputError, match="were drawn with background, cap, stem"):
        Store(drawn, tmp_path / "masks", ("background", "other"))


@pytest.mark.skipif(not (driven.DRIVER and driven.CHROMIUM), reason="needs Debian's chromium and chromium-driver")
def test_a_stroke_painted_in_a_browser_becomes_a_mask(server, store, tmp_path):
    with driven.browser(tmp_path / "profile") as page:
        page.open(server.url)
        page.until("document.querySelectorAll('nav button').length === 2 && labels !== null")
        assert server.token not in page.run("return location.href;")
        assert "cap" in page.run("return document.body.innerText;")
        page.until("document.getElementById('learnt-by').innerText.startsWith('Nothing is predicted yet')")
        thumbnail = "document.querySelector('nav canvas').getContext('2d').getImageData(0, 0, 9, 9).data"
        page.until(f"{thumbnail}.some((each) => each)")
        left, top, side = page.run(
            "const b = document.getElementById('canvas').getBoundingClientRect(); return [b.left, b.top, b.width];"
        )
        cell = side / SIZE
        page.run("document.getElementById('brush').value = 1;")
        page.press("2")
        page.drag([(left + (column + 0.5) * cell, top + 4.5 * cell) for column in (2, 12)])
        page.until("state.pictures[0].labelled")
        painted = np.asarray(Image.open(store.folder / "000000.png"))
        expected = np.zeros((SIZE, SIZE), np.uint8)
        expected[4, 2:13] = 2
        np.testing.assert_array_equal(painted, expected)

        # below the stroke everything is connected: fill it, take it back, and go on to the next picture
        page.press("1")
        page.press("f")
        page.drag([(left + 8.5 * cell, top + 12.5 * cell)] * 2)
        page.until("labels[0] === 1")
        page.press("z")
        page.until("labels[0] === 0")
        page.press("\ue014")  # right arrow
        page.until("place === 1 && labels.every((each) => each === 0)")
        page.press("\ue012")  # left arrow
        page.until("place === 0 && labels[4 * size + 2] === 2")
        np.testing.assert_array_equal(np.asarray(Image.open(store.folder / "000000.png")), expected)

        # undone before the other picture was looked at, and done again after it
        page.press("y")
        page.until("labels[0] === 1")
        page.press("z")
        page.until("labels[0] === 0")

        # the page is loaded again without the token in its address
        page.run("location.reload();")
        page.until(
            "document.querySelectorAll('nav button').length === 2 && labels !== null && labels[4 * size + 2] === 2"
        )

        # a polygon, corner by corner: its pixels are those whose centres lie inside
        page.press("1")
        page.press("g")
        corners = [(4.0, 8.0), (10.0, 8.0), (10.0, 12.0), (4.0, 12.0)]
        for x, y in corners:
            page.drag([(left + x * cell, top + y * cell)] * 2)
        page.until("corners.length === 4")
        page.press("\ue007")  # Enter
        page.until("state.pictures[0].labelled && corners.length === 0 && labels[8 * size + 4] === 1")
        page.run("return saving.then(() => 0);")
        expected[8:12, 4:10] = 1
        np.testing.assert_array_equal(np.asarray(Image.open(store.folder / "000000.png")), expected)

        # nearer, what is under the mouse stays there and is painted; Home shows the whole picture again
        page.press("g")
        page.run("zoom_by(4, [12, 12]); document.getElementById('brush').value = 1;")
        page.until("view.zoom === 4 && view.x === 9")
        page.drag([(left + 0.5 * cell, top + 0.5 * cell)] * 2)
        page.until("labels[9 * size + 9] === 1")
        page.press("\ue011")  # Home
        page.until("view.zoom === 1 && view.x === 0")
        page.press("z")
        page.until("labels[9 * size + 9] === 1")  # of the polygon; before the dab it was that too

        # the prediction of the picture to paint next is shown, and where it is painted over it begins the mask
        page.until("document.getElementById('learnt-by').innerText.includes('held-out masks 0.50')")
        page.press("x")
        page.until("place === 1 && seeing && labels.every((each) => each === 0)")
        page.press("1")
        page.drag([(left + 0.5 * cell, top + 0.5 * cell)] * 2)
        page.until("state.pictures[1].labelled && labels[0] === 1 && labels[17] === 2 && !seeing")
        page.press("z")
        page.until("labels.every((each) => each === 0)")
        page.press("t")
        page.until("labels.every((each) => each === 2)")
        page.press("z")
        page.press("z")  # here is nothing more to undo: it was the other picture that was painted before
        page.until("place === 0 && document.getElementById('said').innerText.includes('000000')")
        np.testing.assert_array_equal(np.asarray(Image.open(store.folder / "000000.png")), expected)
        assert not (store.folder / "000001.png").exists()

        # parts are found by their names
        page.run("document.getElementById('find').hidden = false;")
        page.press("/")
        page.until("document.activeElement.id === 'find'")
        page.run("document.getElementById('find').value = 'ST'; document.getElementById('find').oninput();")
        page.until("document.querySelectorAll('#parts button:not([hidden])').length === 1")
        page.press("\ue007")
        page.until("part === 2 && document.querySelectorAll('#parts button:not([hidden])').length === 4")

        # on a narrow window nothing is cut off
        page.narrow(400, 800)
        page.until("document.documentElement.scrollWidth <= 400 && canvas.getBoundingClientRect().width > 300")
        assert page.errors() == []


@pytest.mark.parametrize("reset", [True, False])
def test_a_browser_that_hangs_up_during_an_upload_prints_nothing_and_changes_no_mask(server, store, capfd, reset):
    for sent in (b"", b"\1" * 5):
        with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
            head = f"PUT /mask/000000 HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n{TOKEN}: {server.token}\r\n"
            connection.sendall(f"{head}Content-Length: {SIZE**2}\r\n\r\n".encode() + sent)
            if reset:  # the other side sees an error, not an end
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ask(server, "/mask/000000") == (200, b"")  # and goes on answering
    server.shutdown()
    assert capfd.readouterr() == ("", "") and not store.labelled("000000")

"""The labelling page's server: for this machine alone, and only with the token."""

import http.server
import importlib.resources
import json
import secrets
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from linkjax.errors import InputError
from linkjax.outside.label.learning import Learner
from linkjax.outside.label.store import Store

HOST = "127.0.0.1"  # never another: masks are drawn on this machine
TOKEN = "X-Linkjax-Token"
SCRIPTS = ("view.js", "paint.js", "pictures.js", "main.js")  # of the page, in this order


class Server(http.server.ThreadingHTTPServer):
    """Serves one `Store`, and what is learnt from its masks if anything is; `url` opens the page.

    Every request must name this host, so that no name of another site can be made to point here, and all but the bare
    page must carry the token in a header, which a page of another site cannot send. The page itself holds no secret: it
    takes the token from the address that was printed and keeps it for its tab, so that it may be loaded again.

    Args:
      port: 0 takes a free one.
    Raises: InputError if the port is taken.
    """

    daemon_threads = True

    def __init__(self, store: Store, port: int = 0, learner: Learner | None = None):
        self.store, self.learner, self.token = store, learner, secrets.token_urlsafe(24)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise InputError(f"port: cannot listen on {port} ({error}); give another, or none") from None
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        self.url = f"http://{HOST}:{self.server_port}/?token={self.token}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a page that was closed while it was answered."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _read(name: str) -> str:
    """A piece of the page."""
    return (importlib.resources.files("linkjax.outside.label") / "page" / name).read_text(encoding="utf-8")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version, sys_version = "linkjax", ""
    timeout = 30

    def do_GET(self) -> None:
        """The page, its state, a picture or a mask."""
        path, store = urlsplit(self.path), self.server.store
        if path.path == "/":
            if self._here():
                self._page()
        elif self._allowed(self.headers.get(TOKEN, "")):
            kind, _, stem = path.path.removeprefix("/").partition("/")
            if kind == "state":
                pictures = [self._state(each) for each in store.stems]
                about = {"size": store.size, "parts": store.parts(), "pictures": pictures}
                self._json({**about, "unpainted": store.unpainted, "learns": self.server.learner is not None})
            elif kind == "picture":
                self._try(lambda: self._send(store.picture(stem), "image/png"))
            elif kind == "mask":
                self._try(lambda: self._send(store.read(stem) or b"", "application/octet-stream"))
            elif kind == "learnt" and self.server.learner is not None:
                self._json(self.server.learner.state())
            elif kind == "prediction" and (learner := self.server.learner) is not None:
                self._try(lambda: self._send(learner.prediction(store.known(stem)) or b"", "application/octet-stream"))
            else:
                self._fail(HTTPStatus.NOT_FOUND, "nothing here")

    def do_PUT(self) -> None:
        """Store a mask."""
        if self._allowed(self.headers.get(TOKEN, "")) and (stem := self._stem()) is not None:
            length, most = self.headers.get("Content-Length", ""), self.server.store.size**2
            if not length.isdecimal() or int(length) != most:
                self._fail(HTTPStatus.BAD_REQUEST, f"expected {most} bytes of labels")
                return
            content = self.rfile.read(most)
            if len(content) < most:  # whoever sent it has gone
                self.close_connection = True
                return
            self._try(lambda: (self.server.store.write(stem, content), self._changed(stem)))

    def do_DELETE(self) -> None:
        """Forget a mask."""
        if self._allowed(self.headers.get(TOKEN, "")) and (stem := self._stem()) is not None:
            self._try(lambda: (self.server.store.remove(stem), self._changed(stem)))

    def _changed(self, stem: str) -> None:
        self._json(self._state(stem))
        if self.server.learner is not None:
            self.server.learner.changed()

    def _state(self, stem: str) -> dict[str, object]:
        return {"stem": stem, "labelled": self.server.store.labelled(stem)}

    def _stem(self) -> str | None:
        kind, _, stem = urlsplit(self.path).path.removeprefix("/").partition("/")
        if kind == "mask":
            return stem
        self._fail(HTTPStatus.NOT_FOUND, "nothing here")
        return None

    def _allowed(self, token: str) -> bool:
        return self._here(secrets.compare_digest(token.encode(), self.server.token.encode()))

    def _here(self, known: bool = True) -> bool:
        """Whether this host was asked, by one who is known."""
        if known and self.headers.get("Host", "") in self.server.hosts:
            return True
        self._fail(HTTPStatus.FORBIDDEN, "open the address that linkjax label printed")
        return False

    def _try(self, answer: Callable[[], object]) -> None:
        try:
            answer()
        except KeyError:
            self._fail(HTTPStatus.NOT_FOUND, "no such picture")
        except InputError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except ConnectionError:
            raise
        except OSError as error:
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, f"cannot read or write: {error.strerror}")

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(16)
        page = _read("index.html").replace("{{nonce}}", nonce).replace("{{style}}", _read("style.css"))
        page = page.replace("{{script}}", "\n".join(map(_read, SCRIPTS)))
        policy = f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'"
        self._send(page.encode(), "text/html; charset=utf-8", policy + "; base-uri 'none'; frame-ancestors 'none'")

    def _json(self, content: object) -> None:
        self._send(json.dumps(content).encode(), "application/json")

    def _fail(self, status: HTTPStatus, why: str) -> None:
        self.close_connection = True
        self._send(why.encode(), "text/plain; charset=utf-8", status=status)

    def _send(
        self, content: bytes, kind: str, policy: str = "default-src 'none'", status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Content-Security-Policy", policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal is for the address."""

"""A headless Chromium, driven over a pipe by its DevTools protocol: what a reader of the atlas would do and see."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
KEYS = {
    "Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowUp": 38, "ArrowLeft": 37, "ArrowRight": 39, "Tab": 9, "Home": 36,
    "End": 35,
}  # fmt: skip


def program() -> str | None:
    """Where a Chromium is installed; None if none is."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


# The browser reads commands from 3 and writes answers to 4.
_START = """
import os, sys
for descriptor, place in zip(sys.argv[1:3], (30, 31)):
    os.dup2(int(descriptor), place)
for place, last in ((30, 3), (31, 4)):
    os.dup2(place, last)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page of a headless Chromium without a network; `messages` and `requests` gather what it says and asks for."""

    def __init__(self, profile: Path):
        found = program()
        assert found is not None
        to_browser, own_end = os.pipe()
        from_browser, its_end = os.pipe()
        flags = (
            "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
            "--disable-extensions", "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND", "--force-color-profile=srgb",
            f"--user-data-dir={profile}", "about:blank",
        )  # fmt: skip

        # a process of its own gives the pipes their numbers: a fork of this one would disturb JAX's threads
        ends = (to_browser, its_end)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START, *map(str, ends), found, *flags], pass_fds=ends, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(its_end)
        self._write, self._read = own_end, from_browser
        self._buffer, self._count, self._session = b"", 0, None
        self.messages: list[str] = []
        self.requests: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters):
        """A command's result."""
        self._count += 1
        command = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._note(answer)

    def open(self, address: str) -> None:
        """Open a page and wait until it is ready."""
        self.send("Page.navigate", url="about:blank")
        self.messages.clear()
        self.requests.clear()
        self.send("Page.navigate", url=address)
        self.wait("document.body && document.body.dataset.ready === '1'")

    def run(self, expression: str):
        """The value of a JavaScript expression; a promise's result."""
        found = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = 20.0) -> None:
        """Wait until an expression is true."""
        until = time.monotonic() + seconds
        while not self.run(f"Boolean({expression})"):
            assert time.monotonic() < until, f"waited in vain for {expression}; {self.messages}"
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            about = {"key": key, "windowsVirtualKeyCode": KEYS.get(key, ord(key[0].upper()))}
            text = "\r" if key == "Enter" else key if len(key) == 1 else None
            self.send("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text else {}))
            self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.send("Input.insertText", text=text)

    def resize(self, width: int, height: int, dark: bool = False) -> None:
        """Give the window a size, and a light or dark scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def hover(self, selector: str) -> None:
        """Move the mouse over the first element that fits a selector."""
        box = self.run(f"(({{left, top, width, height}}) => [left + width / 2, top + height / 2])"
                       f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())")  # fmt: skip
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])

    def picture(self) -> bytes:
        """What is seen, as a PNG."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])

    def open_beside(self, address: str, seconds: float = 20.0) -> None:
        """Open a page in a tab of its own and leave it there; this object goes on with the first."""
        self._session, own = None, self._session
        target = self.send("Target.createTarget", url=address)["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.wait("document.body && document.body.dataset.ready === '1'", seconds)
        self._session = own

    def renderer_memory(self, all_pages: bool = False) -> int:
        """Bytes of memory that the page's process holds (Linux), or those of all pages together."""
        self._session, own = None, self._session
        processes = self.send("SystemInfo.getProcessInfo")["processInfo"]
        self._session = own
        held = []
        for process in processes:
            if process["type"] == "renderer":
                lines = Path(f"/proc/{process['id']}/status").read_text().splitlines()
                held += [1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS")]
        return sum(held) if all_pages else max(held)

    def close(self) -> None:
        """End the browser."""
        self._session = None
        self.send("Browser.close")
        self.process.wait(20)
        os.close(self._write)
        os.close(self._read)

    def _next(self):
        while b"\0" not in self._buffer:
            more = os.read(self._read, 1 << 20)
            assert more, "the browser ended"
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def _note(self, event) -> None:
        about = event.get("params", {})
        match event.get("method"):
            case "Runtime.consoleAPICalled":
                self.messages.append(" ".join(str(each.get("value")) for each in about["args"]))
            case "Runtime.exceptionThrown":
                self.messages.append(str(about["exceptionDetails"]))
            case "Log.entryAdded":
                self.messages.append(about["entry"]["text"] + " " + about["entry"].get("url", ""))
            case "Network.requestWillBeSent":
                self.requests.append(about["request"]["url"][:200])

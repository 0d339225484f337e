"""A headless Chromium, driven through ChromeDriver by the WebDriver protocol's few calls that the tests need."""

import contextlib
import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1300,900",
)  # fmt: skip
DRIVER, CHROMIUM = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")


def call(url: str, content=None, method: str | None = None):
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["value"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(error.read().decode()) from None


class Browser:
    """One page."""

    def __init__(self, session: str):
        self.session = session

    def open(self, url: str) -> None:
        call(f"{self.session}/url", {"url": url})

    def run(self, script: str):
        return call(f"{self.session}/execute/sync", {"script": script, "args": []})

    def until(self, script: str, seconds: float = 20):
        """The value of a JavaScript expression as soon as it is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(f"return {script};"):
                return value
            time.sleep(0.1)
        raise TimeoutError(
            f"{script} is still {self.run(f'return {script};')!r}; {self.run('return document.body.innerText')}"
        )

    def drag(self, points) -> None:
        """Press the mouse at the first point of the window, move over the others, let go."""
        moves = [{"type": "pointerMove", "duration": 20, "x": int(x), "y": int(y)} for x, y in points]
        down, up = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        mouse = {"type": "pointer", "id": "mouse", "actions": [moves[0], down, *moves[1:], up]}
        call(f"{self.session}/actions", {"actions": [mouse]})

    def press(self, key: str) -> None:
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        call(f"{self.session}/actions", {"actions": [{"type": "key", "id": "keys", "actions": keys}]})

    def narrow(self, width: int, height: int) -> None:
        """A page of this size, as on a phone."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        call(f"{self.session}/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})

    def errors(self) -> list[str]:
        """What the page wrote to its console as errors."""
        return [
            entry["message"]
            for entry in call(f"{self.session}/se/log", {"type": "browser"})
            if entry["level"] == "SEVERE"
        ]


@contextlib.contextmanager
def browser(folder):
    """A fresh Chromium with an empty profile in `folder`."""
    assert DRIVER and CHROMIUM
    driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert driver.stdout is not None
        port = next(found[1] for line in driver.stdout if (found := re.search(r"successfully on port (\d+)", line)))
        options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={folder}"]}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}
        made = call(f"http://127.0.0.1:{port}/session", {"capabilities": wanted})
        session = f"http://127.0.0.1:{port}/session/{made['sessionId']}"
        try:
            yield Browser(session)
        finally:
            call(session, method="DELETE")
    finally:
        driver.terminate()
        driver.wait(10)
        driver.stdout.close()

"""A page in headless Chromium, driven through DevTools over a pipe: no port, no package beyond the standard library."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",  # containers have no namespaces to build one from
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# Chromium reads commands at 3 and writes at 4; its launcher may be a shell script, so they are put there before it.
_LAUNCH = (
    "import os, sys; i, o = map(int, sys.argv[1:3]); os.dup2(i, 3); os.dup2(o, 4); os.execvp(sys.argv[3], sys.argv[3:])"
)


def found() -> str | None:
    """Where a browser is; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


# What waits for a second and more waits for a quarter of that: tests watch the page ask again and again.
_HURRY = """
const later = window.setTimeout;
window.setTimeout = (act, delay = 0, ...given) => later(act, delay < 1000 ? delay : delay / 4, ...given);
"""


def text(selector: str) -> str:
    """An expression for an element's text."""
    return f"document.querySelector({selector!r}).textContent"


class Page:
    """One page.

    Attributes
    ----------
    events
        What DevTools told: (method, parameters).
    """

    def __init__(self, width: int = 1280, height: int = 1000) -> None:
        program = found()
        assert program is not None
        self._folder = tempfile.TemporaryDirectory(prefix="fastroute-browser-", ignore_cleanup_errors=True)
        ours, theirs = os.pipe(), os.pipe()  # (read, write)
        # Above 4, so that neither is overwritten by the other's copy.
        given = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (ours[0], theirs[1])]
        command = [program, *FLAGS, f"--user-data-dir={self._folder.name}", f"--window-size={width},{height}"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, *map(str, given), *command, "about:blank"],
            pass_fds=given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for each in (*given, ours[0], theirs[1]):
            os.close(each)
        self._write, self._read = ours[1], theirs[0]
        self._buffer, self._number, self._session = b"", 0, ""
        self.events: list[tuple[str, dict[str, Any]]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Audits"):
            self.call(f"{domain}.enable")
        self.call("Page.addScriptToEvaluateOnNewDocument", source=_HURRY)
        self.size(width, height)

    def size(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def scheme(self, name: str) -> None:
        """Ask for light or dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def call(self, method: str, seconds: float = 30, **parameters: Any) -> dict[str, Any]:
        """Give a command and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + seconds
        while True:
            got = self._next(deadline)
            assert got is not None, f"{method}: no answer"
            if got.get("id") == self._number:
                assert "error" not in got, (method, got["error"])
                return dict(got["result"])

    def listen(self, seconds: float) -> None:
        """Take events for a while."""
        deadline = time.monotonic() + seconds
        while self._next(deadline) is not None:
            pass

    @contextlib.contextmanager
    def prepared(self, script: str) -> Iterator[None]:
        """Run a script in each new document before what is in it."""
        added = self.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        try:
            yield
        finally:
            self.call("Page.removeScriptToEvaluateOnNewDocument", **added)

    def renew(self) -> None:
        """Be a page without a past."""
        self.open("about:blank")
        self.listen(0.1)
        self.scheme("light")
        self.size(1280, 1000)
        self.events.clear()

    def requests(self, path: str) -> list[dict[str, Any]]:
        """The requests of a path that were sent."""
        sent = [parameters["request"] for method, parameters in self.events if method == "Network.requestWillBeSent"]
        return [request for request in sent if urlsplit(request["url"]).path == path]

    def wait_for_requests(self, path: str, count: int, seconds: float = 20) -> None:
        """Take events until so many requests of a path were sent, those before among them."""
        deadline = time.monotonic() + seconds
        while len(self.requests(path)) < count:
            assert self._next(deadline) is not None, f"never: {count} requests of {path}"

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript; a promise is awaited."""
        got = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in got, (script, got["exceptionDetails"])
        return got["result"].get("value")

    def wait(self, script: str, seconds: float = 20) -> Any:
        """Wait until an expression is true, and return it."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(AssertionError):  # the page is still being made
                value = self.run(script)
                if value:
                    return value
            assert time.monotonic() < deadline, f"never: {script}; the page: {self.run('document.body.innerText')}"
            self.listen(0.05)

    def type(self, selector: str, text: str) -> None:
        """Put text in a field as a keyboard would, in place of what is there."""
        self.run(f"(e => {{ e.focus(); e.select(); }})(document.querySelector({json.dumps(selector)}))")
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key and let it go; `text` is what it types, a return for Enter."""
        for kind in ("keyDown" if text else "rawKeyDown", "keyUp"):
            typed = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **typed)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Save a PNG, of the whole page or of what is seen."""
        content = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(content))

    def visit(self, port: int) -> None:
        """Open the playground of a server, and wait until it shows what is."""
        self.open(f"http://127.0.0.1:{port}/")
        self.wait("document.body.classList.contains('live')")

    def __enter__(self) -> Page:  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(AssertionError, OSError):
            self._session = ""
            self.call("Browser.close", 5)
        os.close(self._write)
        os.close(self._read)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._folder.cleanup()

    def _next(self, deadline: float) -> dict[str, Any] | None:
        """One message, kept if it is an event; None once time is up."""
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                return None
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        got: dict[str, Any] = json.loads(message)
        if "method" in got:
            self.events.append((got["method"], got.get("params", {})))
        return got

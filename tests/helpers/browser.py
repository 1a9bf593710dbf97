"""A page in headless Chromium, driven by its DevTools protocol over a pipe: mouse, keys, scripts and pictures."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-sync", "--disable-component-update", "--hide-scrollbars"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
SECONDS = 90.0  # that the page may take for anything, on a busy machine
FIND = """(() => {{
  const shown = [...document.querySelectorAll({selector})].filter(
    e => e.getClientRects().length && ({text} === null || e.innerText.trim().toLowerCase() === {text}));
  if (shown.length !== 1 || shown[0].disabled) return null;
  const box = shown[0].getBoundingClientRect();
  return [box.left, box.top, box.width, box.height];
}})()"""


class Page:
    """One tab. Each method waits for the browser's answer, and fails with what the page shows."""

    def __init__(self, browser: subprocess.Popen[bytes], pictures: Path) -> None:
        assert browser.stdin and browser.stdout
        self._to, self._from = browser.stdin, browser.stdout
        self._pictures = pictures
        self._rest, self._number = b"", 0
        self._session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol; what it answers."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        deadline = time.monotonic() + SECONDS
        while True:
            answer = self._next(deadline, method)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                found: dict[str, Any] = answer["result"]
                return found

    def _next(self, deadline: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{method}: the browser gave no answer within {SECONDS} s"
            content = os.read(self._from.fileno(), 1 << 20)
            assert content, f"{method}: the browser has ended"
            self._rest += content
        message, self._rest = self._rest.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(message)
        return answer

    def evaluate(self, script: str) -> Any:
        """The value of an expression of JavaScript."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{script}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def until(self, script: str, what: str) -> Any:
        """Wait until an expression is true; its value."""
        deadline = time.monotonic() + SECONDS
        while not (value := self.evaluate(script)):
            if time.monotonic() > deadline:
                self.picture("failed")
                shown = self.evaluate("document.body && document.body.innerText")
                raise AssertionError(f"{what}: not within {SECONDS} s on {self.evaluate('location.href')}: {shown}")
            time.sleep(0.2)
        return value

    def open(self, url: str) -> None:
        """Go to an address, and wait until its document is there."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'", url)

    def place(self, selector: str, text: str | None = None) -> tuple[float, float, float, float]:
        """Left, top, width and height of the only such element that is shown and enabled, once there is one."""
        script = FIND.format(selector=json.dumps(selector), text=json.dumps(text and text.lower()))
        left, top, width, height = self.until(script, f"{selector} {text or ''}")
        return left, top, width, height

    def press(self, selector: str, text: str | None = None) -> None:
        """Click on the middle of an element."""
        left, top, width, height = self.place(selector, text)
        self.drag([(left + width / 2, top + height / 2)])

    def write(self, selector: str, text: str) -> None:
        """Type into a field."""
        self.press(selector)
        self.call("Input.insertText", text=text)

    def drag(self, path: Sequence[tuple[float, float]]) -> None:
        """Press the button at the first point, and release it at the last; a click where there is one point."""
        self._mouse("mouseMoved", path[0], "none")
        self._mouse("mousePressed", path[0], "left")
        for point in path[1:]:
            self._mouse("mouseMoved", point, "left")
        self._mouse("mouseReleased", path[-1], "left")

    def _mouse(self, kind: str, point: tuple[float, float], button: str) -> None:
        held = int(button == "left" and kind != "mouseReleased")
        where = {"x": point[0], "y": point[1], "button": button, "buttons": held}
        self.call("Input.dispatchMouseEvent", type=kind, clickCount=int(kind != "mouseMoved"), **where)

    def picture(self, name: str) -> Path:
        """Save what the page shows."""
        path = self._pictures / f"{name}.png"
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return path


@contextlib.contextmanager
def page(folder: Path, size: tuple[int, int] = (1400, 1000)) -> Iterator[Page]:
    """Start a browser with one empty tab; it is ended with the block.

    Args:
        folder: for its profile and pictures.
        size: of the window, pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = [*QUIET, f"--window-size={size[0]},{size[1]}", f"--user-data-dir={folder / 'profile'}"]
    piped = 'exec "$@" 3<&0 4>&1 </dev/null >&2'  # where --remote-debugging-pipe reads and writes
    command = ["sh", "-c", piped, "sh", str(CHROMIUM), *options, "--remote-debugging-pipe", "about:blank"]
    with (folder / "browser.log").open("wb") as log:
        browser = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    try:
        yield Page(browser, folder)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(browser.pid, signal.SIGKILL)
        browser.communicate()

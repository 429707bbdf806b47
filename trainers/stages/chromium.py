"""A page in headless Chromium, by the Chrome DevTools Protocol through a pair of pipes."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_SECONDS = 60.0
_END = b"\0"


def find_chromium() -> str | None:
    """Path of the browser; None where there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Chromium:
    """One page of a browser that runs.

    Attributes:
        events: what the browser told of itself, as the protocol has it, in order.

    Protocol: https://chromedevtools.github.io/devtools-protocol/
    """

    def __init__(self, reads: int, writes: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._reads = reads
        self._writes = writes
        self._received = b""
        self._count = 0
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "DOM", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result.

        Raises:
            RuntimeError: it failed.
            TimeoutError: there was no answer within a minute.
        """
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        _write(self._writes, json.dumps(message).encode() + _END)
        deadline = time.monotonic() + _SECONDS
        while (answer := self._message(deadline)).get("id") != self._count:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript in the page; of a promise what it comes to.

        Raises:
            RuntimeError: the expression raised an error.
        """
        result = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, condition: str) -> None:
        """Returns once an expression of JavaScript is true. See `send` for what it raises."""
        self.evaluate(
            f"new Promise((done) => {{ const look = () => ({condition}) ? done() : setTimeout(look, 20); look(); }})"
        )

    def open(self, address: str) -> None:
        """Goes to a page and waits until it is loaded."""
        self.send("Page.navigate", url=address)
        self.wait(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(address)})")

    def choose_file(self, selector: str, path: Path) -> None:
        """Gives a file to an `<input type=file>`, as its user would."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path.absolute())])

    def resize(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        """Gives the page a size in CSS pixels, and the screen's mode."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        self.send("Emulation.setTouchEmulationEnabled", enabled=phone)
        mode = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[mode, {"name": "prefers-reduced-motion", "value": "reduce"}])

    def screenshot(self) -> bytes:
        """The page as it is seen, as a PNG file."""
        return base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])

    def _message(self, deadline: float) -> dict[str, Any]:
        while _END not in self._received:
            if not select.select([self._reads], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium did not answer within {_SECONDS:.0f} seconds")
            part = os.read(self._reads, 1 << 20)
            if not part:
                raise RuntimeError("Chromium ended")
            self._received += part
        first, _, self._received = self._received.partition(_END)
        message: dict[str, Any] = json.loads(first)
        return message


@contextmanager
def chromium(program: str) -> Iterator[Chromium]:
    """Starts the browser with an empty profile, and ends it.

    Args:
        program: of `find_chromium`.
    """
    theirs_reads, writes = os.pipe()
    reads, theirs_writes = os.pipe()
    # It reads file 3 and writes file 4, whatever their numbers are here.
    started = f'exec "$@" 3<&{theirs_reads} 4>&{theirs_writes}'
    with tempfile.TemporaryDirectory(prefix="chromium", ignore_cleanup_errors=True) as profile:
        command = ["bash", "-c", started, "bash", program, *_flags(profile)]
        browser = subprocess.Popen(
            command, pass_fds=(theirs_reads, theirs_writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs_reads)
        os.close(theirs_writes)
        try:
            yield Chromium(reads, writes)
        finally:
            os.close(writes)
            os.close(reads)
            browser.terminate()
            browser.wait()


def _flags(profile: str) -> list[str]:
    return [
        "--headless",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
        # Containers and root have no sandbox of it; nothing but pages of our own server is opened.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--hide-scrollbars",
    ]


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]

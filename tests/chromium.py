"""Debian's chromium without a window, driven through a pipe: JSON over two descriptors, without a driver.

Messages end with a zero byte (`--remote-debugging-pipe`); what they mean is the Chrome DevTools Protocol.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium")
_BROWSER_SECONDS = 60.0


class Chromium:
    """One browser with one tab. `with` it; its profile goes into `folder`."""

    def __init__(self, folder: Path, *options: str) -> None:
        assert PROGRAM is not None
        ours, theirs = os.pipe(), os.pipe()  # what it reads is its descriptor 3, what it writes its 4
        words = [
            PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
            "--disable-dev-shm-usage", "--disable-background-networking", "--disable-extensions",
            "--disable-component-update", "--force-color-profile=srgb", "--remote-debugging-pipe",
            f"--user-data-dir={folder}/profile", *options, "about:blank",
        ]  # fmt: skip
        shell = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
        numbers = str(ours[0]), str(theirs[1])
        self._program = subprocess.Popen(
            ["bash", "-c", shell, "bash", *numbers, *words], pass_fds=(ours[0], theirs[1]),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder), "DBUS_SESSION_BUS_ADDRESS": "disabled:"},
        )  # fmt: skip
        os.close(ours[0])
        os.close(theirs[1])
        self._out, self._in = ours[1], theirs[0]
        self._number, self._rest, self._session = 0, b"", ""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Chromium:
        pages = [each for each in self("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        target = pages[0]["targetId"] if pages else self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")
        return self

    def __exit__(self, *_exc: object) -> None:
        self._session = ""
        try:
            self("Browser.close")
        except OSError:
            pass
        finally:
            for fd in (self._out, self._in):
                os.close(fd)
            try:
                self._program.wait(60)
            except subprocess.TimeoutExpired:
                self._program.kill()
                self._program.wait()

    def __call__(self, method: str, **params: Any) -> Any:
        """Call a method of the protocol and give what it answers."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + _BROWSER_SECONDS
        while b"\0" not in self._rest:
            if not select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._in, 1 << 20)
            if not data:
                raise OSError("the browser is gone")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))

    def wait(self, event: str) -> dict[str, Any]:
        """The next event of that name, also one that has come already."""
        while True:
            for index, each in enumerate(self.events):
                if each.get("method") == event:
                    return dict(self.events.pop(index)["params"])
            self.events.append(self._receive())

    def go(self, url: str) -> None:
        """Load a page, to its end."""
        self.events = [each for each in self.events if each.get("method") != "Page.loadEventFired"]
        self("Page.navigate", url=url)
        self.wait("Page.loadEventFired")

    def run(self, script: str) -> Any:
        """The value of a script, awaited if it is a promise."""
        answer = self("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Return when the script gives what is true."""
        deadline = time.monotonic() + _BROWSER_SECONDS
        while not self._holds(script):
            assert time.monotonic() < deadline, script

    def _holds(self, script: str) -> bool:
        """While another page comes, nothing does."""
        answer = self("Runtime.evaluate", expression=script, returnByValue=True)
        return "exceptionDetails" not in answer and bool(answer["result"].get("value"))

    def key(self, name: str, text: str = "") -> None:
        """Press a key."""
        code = {"Tab": 9, "Enter": 13}.get(name, 0)
        common = {"key": name, "code": name, "windowsVirtualKeyCode": code, "text": text}
        self("Input.dispatchKeyEvent", type="keyDown", **common)
        self("Input.dispatchKeyEvent", type="keyUp", **common)

    def look(self, *, dark: bool = False, width: int = 1200, height: int = 800, phone: bool = False) -> None:
        """Colours and size of the window from here on."""
        scheme = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self("Emulation.setEmulatedMedia", features=scheme)
        size = {"width": width, "height": height, "mobile": phone}
        self("Emulation.setDeviceMetricsOverride", deviceScaleFactor=2 if phone else 1, **size)

    def picture(self, **more: Any) -> bytes:
        """The window as it is seen, as WebP unless another format is named."""
        wanted = {"format": "webp", "quality": 82, **more}
        return base64.b64decode(self("Page.captureScreenshot", **wanted)["data"])

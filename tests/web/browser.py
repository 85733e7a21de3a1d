"""A real browser without a screen, spoken to by WebDriver: Chromium, as the distribution has it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import free_port

ENTER, ESCAPE, TAB = "\ue007", "\ue00c", "\ue004"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One window."""

    def __init__(self, driver: str) -> None:
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        options = {"goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "ALL"}}
        made = _send("POST", f"{driver}/session", {"capabilities": {"alwaysMatch": options}})
        self._session = f"{driver}/session/{made['sessionId']}"

    def open(self, url: str) -> None:
        self._do("url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script in the page returns, a promise too."""
        return self._do("execute/sync", {"script": script, "args": arguments})

    def waits_for(self, script: str, seconds: float = 60) -> Any:
        """Return what a script returns as soon as that is something: pages do much of what is asked a moment later."""
        deadline = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < deadline, f"not within {seconds} s: {script}"
            time.sleep(0.05)
        return found

    def type(self, text: str) -> None:
        """Press keys, wherever the page has its focus."""
        keys = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self._do("actions", {"actions": [{"type": "key", "id": "keys", "actions": keys}]})

    def click(self, selector: str) -> None:
        found = self._do("element", {"using": "css selector", "value": selector})
        self._do(f"element/{found[_ELEMENT]}/click", {})

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._devtools("Emulation.setEmulatedMedia", {"features": scheme})

    def allow_clipboard(self, origin: str) -> None:
        kinds = ["clipboardReadWrite", "clipboardSanitizedWrite"]
        self._devtools("Browser.grantPermissions", {"origin": origin, "permissions": kinds})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(_send("GET", f"{self._session}/screenshot")))

    def complaints(self) -> list[str]:
        """Return what the browser has said of the page since it was asked last: scripts refused, things not found."""
        return [entry["message"] for entry in self._do("se/log", {"type": "browser"})]

    def close(self) -> None:
        _send("DELETE", self._session)

    def _devtools(self, command: str, parameters: dict[str, Any]) -> None:
        self._do("goog/cdp/execute", {"cmd": command, "params": parameters})

    def _do(self, what: str, body: dict[str, Any]) -> Any:
        return _send("POST", f"{self._session}/{what}", body)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that ends with the block."""
    program = shutil.which("chromedriver")
    assert program, "There is no chromedriver: scripts/setup browser"
    port = free_port()
    with subprocess.Popen([program, f"--port={port}"], stdout=subprocess.DEVNULL) as driver:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(address)
            browser = Browser(address)
            try:
                yield browser
            finally:
                browser.close()
        finally:
            driver.terminate()


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if _send("GET", f"{address}/status")["ready"]:
                return
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, "chromedriver does not answer"
        time.sleep(0.1)


def _send(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(json.load(error)["value"]["message"]) from None

"""What Compose says while it works, as short messages for people; and the reason when it gives up."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from ikoma.kernel.redaction import scrub
from ikoma.model import Secret
from ikoma.ports import Progress

_BUILD_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_NOISE = ("Building", "Built")
_KEEP = 40


class ComposeOutput:
    """Takes Compose's lines one by one: JSON events, and the plain output of the classic builder."""

    def __init__(self, project: str, progress: Progress, secrets: Sequence[Secret]) -> None:
        self._project = project
        self._progress = progress
        self._secrets = secrets
        self._said: set[str] = set()
        self.error: str | None = None
        """Compose's own reason, scrubbed."""
        self.building: str | None = None
        """The service whose image is being built."""
        self.build_lines: list[str] = []
        self.reached_containers = False
        """Whether images and networks are done with, so that what is wrong is a container."""

    def line(self, text: str) -> None:
        text = scrub(text, self._secrets)
        if text.startswith("{"):
            try:
                self._event(json.loads(text))
                return
            except json.JSONDecodeError:
                pass
        self._build_line(text)

    def _event(self, event: dict[str, object]) -> None:
        if event.get("error"):
            self.error = str(event.get("message", "")).strip()
            return
        kind, _, name = str(event.get("id", "")).partition(" ")
        text = str(event.get("text") or event.get("status") or "")
        if kind == "Image":
            self._image(name, text, event)
        elif kind == "Container":
            self.reached_containers = True
            self._say(f"{self._service(name)}: {text.lower()}")
        elif kind in ("Network", "Volume"):
            self._say(f"{kind.lower()} {name}: {text.lower()}")

    def _image(self, name: str, text: str, event: dict[str, object]) -> None:
        if text in _NOISE:
            self.building = self._service(name) if text == "Building" else None
            self._say(f"image {name}: {text.lower()}")
            return
        percent = event.get("percent")
        known = isinstance(percent, int | float) and percent > 0
        self._say(f"image {name}: {text.lower()}", float(str(percent)) / 100 if known else None)

    def _build_line(self, text: str) -> None:
        if not text.strip() or text.startswith(("time=", " --->", "Removing intermediate", "DEPRECATED")):
            return
        self.build_lines = [*self.build_lines[-_KEEP:], text]
        if step := _BUILD_STEP.match(text):
            number, total = int(step[1]), int(step[2])
            self._say(f"build: step {number} of {total}: {step[3][:100]}", (number - 1) / total)

    def _say(self, message: str, fraction: float | None = None) -> None:
        if message not in self._said or fraction is not None:
            self._said.add(message)
            self._progress(message, fraction)

    def _service(self, name: str) -> str:
        """`myapp-web-1` and `myapp-web` are the service web."""
        inner = name.removeprefix(f"{self._project}-")
        return re.sub(r"-\d+$", "", inner)

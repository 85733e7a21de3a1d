"""Compose's own output while it works, as short messages for people; and the reason when it gives up.

Compose speaks JSON events on one stream; the classic builder speaks plain text on the other, BuildKit JSON again.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from ikoma.kernel.redaction.redaction import KnownSecrets, redact
from ikoma.ports.progress import BUILD_LINE, Progress
from ikoma.readable import make_readable

_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_VERTEX = re.compile(r"\[(?:.*\s)?(\d+)/(\d+)\] ")
_QUIET = ("time=", " --->", "Removing intermediate", "DEPRECATED", "Sending build context")
_RUNNING = re.compile(r" ---> Running in ([0-9a-f]{12})$")
_OF_SERVICE = re.compile(r"service:(.+):\d+")
_KEEP = 40
_LONGEST = 160
_LINE_SECONDS = 1.0
"""For so long a step has said nothing before a line of what it does is told."""


class ComposeOutput:
    """Takes Compose's lines one by one.

    Args:
        known: what no message may hold.
        services: name of each service by the name of its image and by the default one.
    """

    def __init__(
        self, project: str, progress: Progress, known: KnownSecrets, services: Mapping[str, str] | None = None
    ) -> None:
        self._project = project
        self._progress = progress
        self._known = known
        self._services = services or {}
        self._said: set[tuple[str, float | None]] = set()
        self._layers: dict[str, dict[str, tuple[int, int]]] = {}
        self._percent: dict[str, int] = {}
        self._told = time.monotonic()
        self.error: str | None = None
        """Compose's own reason, scrubbed."""
        self.building: list[str] = []
        """Services whose images are being built, in the order they were begun."""
        self.pulling: list[str] = []
        """Services whose images are being pulled."""
        self.not_pulled: str | None = None
        """The service whose image could not be pulled."""
        self.build_lines: deque[str] = deque(maxlen=_KEEP)
        self.step_containers: set[str] = set()
        """Those in which the classic builder ran steps, and that it has not removed, by what it says itself."""
        self.reached_containers = False
        """Whether images and networks are done with, so that what is wrong is a container."""
        self.not_created: str | None = None
        """The service of which no container could be made."""
        self.unstartable: str | None = None
        """The container, by id, that the engine itself could not start."""

    @property
    def reason(self) -> str | None:
        """The reason why Compose gave up: what it said as its error, else its last plain words."""
        return self.error or (self.build_lines[-1] if self.build_lines else None)

    def note_not_started(self, container: str, reason: str) -> None:
        """The engine itself could not start a container."""
        self.unstartable = container
        self.error = self._clean(reason)
        self.reached_containers = True

    def read_line(self, text: str) -> None:
        event = _parsed(text)
        if event is None:
            self._build_line(text)
        elif "vertexes" in event or "logs" in event:
            self._buildkit(event)
        else:
            self._event(event)

    def _event(self, event: Mapping[str, Any]) -> None:
        if event.get("error"):
            message = self._clean(str(event.get("message", ""))).strip()
            self.error = "\n".join(dict.fromkeys(message.splitlines()))  # the engine's reason comes twice
            return
        kind, _, name = str(event.get("id", "")).partition(" ")
        if event.get("status") == "Error" and (found := _OF_SERVICE.fullmatch(kind)):
            self.not_created = found[1]
        text = str(event.get("text") or event.get("status") or "")
        if "parent_id" in event:
            self._layer(event)
        elif kind == "Image":
            self._image(name, text, str(event.get("status")))
        elif kind == "Container":
            self.reached_containers = True
            self._say(f"{self._service(name)}: {text.lower()}")
        elif kind in ("Network", "Volume"):
            self._say(f"{kind.lower()} {name}: {text.lower()}")

    def _image(self, name: str, text: str, status: str) -> None:
        service = self._service(name)
        running = {"Building": self.building, "Built": self.building}.get(text, self.pulling)
        if text in ("Building", "Pulling"):
            running.extend([service] if service not in running else [])
        elif status == "Error":
            self.not_pulled = service
        elif service in running:
            running.remove(service)
        self._say(f"image {name}: {text.lower()}")

    def _layer(self, event: Mapping[str, Any]) -> None:
        """One layer of an image that is being pulled: it counts half when it is here and half when it is unpacked."""
        image = str(event["parent_id"]).removeprefix("Image ")
        layers = self._layers.setdefault(image, {})
        identity, text = str(event.get("id")), event.get("text")
        current, total = int(event.get("current") or 0), int(event.get("total") or 0)
        if text == "Downloading":
            layers[identity] = (current, max(current, total))
        elif text == "Extracting":
            layers[identity] = (total + current, max(current, total))
        elif identity in layers and text in ("Download complete", "Pull complete"):
            whole = layers[identity][1]
            layers[identity] = (whole * (2 if text == "Pull complete" else 1), whole)
        if sizes := list(layers.values()):
            percent = 5 * int(10 * sum(done for done, _ in sizes) / (sum(whole for _, whole in sizes) or 1))
            self._pulled(image, percent)

    def _pulled(self, image: str, percent: int) -> None:
        """Say how much is pulled. The figure never goes back, though the sizes of further layers may become known."""
        if percent > self._percent.get(image, -1):
            self._percent[image] = percent
            self._say(f"pulling {image}: {percent}%", percent / 100)

    def _build_line(self, text: str) -> None:
        if begun := _RUNNING.match(text.rstrip()):
            self.step_containers.add(begun[1])
        elif text.startswith("Removing intermediate container "):
            self.step_containers.discard(text.split()[3])
        text = self._clean(text)
        if not text.strip() or text.startswith(_QUIET):
            return
        self.build_lines.append(text)
        if step := _STEP.match(text):
            number, total = int(step[1]), int(step[2])
            self._say(f"build: step {number} of {total}: {step[3]}", (number - 1) / total)
        elif time.monotonic() - self._told >= _LINE_SECONDS:
            self._say(f"{BUILD_LINE}{text.splitlines()[-1]}")

    def _buildkit(self, status: Mapping[str, Any]) -> None:
        for vertex in status.get("vertexes") or []:
            name, step = self._clean(str(vertex.get("name", ""))), _VERTEX.match(str(vertex.get("name", "")))
            if step and vertex.get("started") and not vertex.get("completed"):
                self._say(f"build: {name}", (int(step[1]) - 1) / int(step[2]))
        for log in status.get("logs") or []:
            for line in _decoded(log.get("data")).splitlines():
                self._build_line(line)

    def _say(self, message: str, fraction: float | None = None) -> None:
        message = redact(_printable(message), self._known.certain)[:_LONGEST]  # names of services and images are in it
        if (message, fraction) not in self._said:
            self._said.add((message, fraction))
            self._told = time.monotonic()
            self._progress(message, fraction)

    def _clean(self, text: str) -> str:
        return redact(_printable(text), self._known.texts)

    def _service(self, name: str) -> str:
        """The service of an image or of a container: `myapp-web-1` and `myapp-web` are the service web."""
        inner = name.removeprefix(f"{self._project}-")
        return self._services.get(name) or re.sub(r"-\d+$", "", inner)


def _parsed(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        event = json.loads(text)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _printable(text: str) -> str:
    return text if "\x1b" not in text and text.isprintable() else _lines(text)


def _lines(text: str) -> str:
    return "\n".join(make_readable(line) for line in text.splitlines())


def _decoded(text: object) -> str:
    try:
        return base64.b64decode(str(text or "")).decode(errors="replace")
    except (binascii.Error, ValueError):
        return ""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from ikoma.engines.compose import failure
from ikoma.engines.compose.progress import ComposeOutput
from ikoma.kernel.redaction.redaction import KnownSecrets, list_encodings
from ikoma.model import Secret


class Heard:
    """Compose's lines go in, what a person hears comes out."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self.said: list[tuple[str, float | None]] = []
        known = KnownSecrets.of(list_encodings(map(Secret, secrets)))
        services = failure.map_images("my-app", {"services": {"web": {}, "db": {"image": "postgres:18"}}})
        self.output = ComposeOutput("my-app", self._progress, known, services)

    def _progress(self, message: str, fraction: float | None = None) -> None:
        self.said.append((message, fraction))

    def event(self, **event: Any) -> None:
        self.output.read_line(json.dumps(event))


def test_containers_are_called_by_their_service_and_nothing_is_said_twice() -> None:
    heard = Heard()
    for _ in range(2):
        heard.event(id="Container my-app-web-1", status="Working", text="Starting")
    heard.event(id="Container my-app-web-1", status="Done", text="Healthy")
    assert heard.said == [("web: starting", None), ("web: healthy", None)]
    assert heard.output.reached_containers


def test_steps_of_the_classic_builder_have_a_fraction() -> None:
    heard = Heard()
    for line in ("Sending build context to Docker daemon 3kB", "Step 3/5 : COPY . .", " ---> 1234", "hello"):
        heard.output.read_line(line)
    assert heard.said == [("build: step 3 of 5: COPY . .", 0.4)]
    assert list(heard.output.build_lines) == ["Step 3/5 : COPY . .", "hello"]
    assert not heard.output.reached_containers


def test_steps_of_buildkit_have_a_fraction() -> None:
    heard = Heard(["s3cr3t-value"])
    vertex = {"digest": "sha256:1", "name": "[web 2/4] COPY . .", "started": "2026-01-01T00:00:00Z"}
    heard.event(vertexes=[{"digest": "sha256:0", "name": "[internal] load build definition"}, vertex])
    heard.event(vertexes=[{**vertex, "completed": "2026-01-01T00:00:01Z"}])
    heard.event(logs=[{"vertex": "sha256:1", "data": base64.b64encode(b"one\ns3cr3t-value\n").decode()}])
    assert heard.said == [("build: [web 2/4] COPY . .", 0.25)]
    assert list(heard.output.build_lines) == ["one", "***"]


def test_a_pull_is_said_in_steps_and_never_goes_back() -> None:
    heard = Heard()
    layer = {"parent_id": "Image postgres:18", "status": "Working"}
    heard.event(id="Image postgres:18", status="Working", text="Pulling")
    heard.event(**layer, id="a", text="Downloading", current=50, total=100)
    heard.event(**layer, id="b", text="Downloading", current=0, total=1000)
    heard.event(**layer, id="a", text="Download complete")
    heard.event(**layer, id="b", text="Download complete")
    for name in "ab":
        heard.event(**layer, id=name, text="Pull complete")
    heard.event(id="Image postgres:18", status="Done", text="Pulled")
    assert [fraction for _, fraction in heard.said if fraction is not None] == [0.25, 0.5, 1.0]
    assert heard.output.pulling == []


def test_the_service_of_an_image_that_cannot_be_pulled_is_known() -> None:
    heard = Heard()
    heard.event(id="Image postgres:18", status="Working", text="Pulling")
    heard.event(id="Image postgres:18", status="Error", text="Error", details="no such host")
    heard.event(error=True, message="no such host\nno such host")
    error = failure.describe_other(heard.output)
    assert error.message == "The image of db could not be pulled: no such host."
    assert error.audit_message == "The image of db could not be pulled."
    assert error.details["service"] == "db"


def test_a_failed_build_is_blamed_on_the_only_one_that_was_running() -> None:
    heard = Heard()
    for name in ("Image my-app-web", "Image postgres:18"):
        heard.event(id=name, status="Working", text="Building")
    heard.event(error=True, message="boom")
    assert failure.describe_other(heard.output).details["service"] is None
    heard.event(id="Image postgres:18", status="Done", text="Built")
    assert failure.describe_other(heard.output).details["service"] == "web"


def test_buildkit_says_itself_which_build_failed() -> None:
    heard = Heard()
    for name in ("Image my-app-web", "Image postgres:18"):
        heard.event(id=name, status="Working", text="Building")
    heard.event(error=True, message="target db: failed to solve: process did not complete: exit code: 7")
    assert failure.describe_other(heard.output).details["service"] == "db"


def test_secrets_and_terminal_codes_are_in_nothing_that_is_kept() -> None:
    heard = Heard(["hunter2hunter2", 'with <quotes> & "more"'])
    heard.output.read_line("\x1b[91mStep 1/2 : RUN echo hunter2hunter2\x1b[0m")
    heard.event(error=True, message='failed: with <quotes> & "more" and hunter2hunter2')
    heard.output.read_line('{"error":true,"message":"with \\u003cquotes\\u003e \\u0026 \\"more\\""}')
    assert heard.said == [("build: step 1 of 2: RUN echo ***", 0.0)]
    assert list(heard.output.build_lines) == ["Step 1/2 : RUN echo ***"]
    assert heard.output.error == "***"


def test_lines_that_are_nearly_json_do_no_harm() -> None:
    heard = Heard()
    for line in ("{", "{}", "[1]", '{"id": 3}', '{"logs": [{"data": "%"}]}', '{"parent_id": "Image x"}', "null"):
        heard.output.read_line(line)
    assert heard.output.reason == "null"


def test_a_long_step_is_followed_line_by_line_but_not_by_each(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("ikoma.engines.compose.progress.time.monotonic", lambda: now)
    heard = Heard()
    for seconds, line in ((0, "Step 1/2 : RUN make"), (0.1, "first"), (1.2, "second"), (0.5, "third"), (0.6, "fourth")):
        now += seconds
        heard.output.read_line(line)
    said = [message for message, _ in heard.said]
    assert said == ["build: step 1 of 2: RUN make", "build | second", "build | fourth"]

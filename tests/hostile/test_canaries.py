"""A thousand secrets, put where secrets are put, and looked for everywhere else: each by its exact value.

The app that has them says them aloud: its container prints its environment, its healthcheck too, its files quote them,
its SQL fails with them. Every capability is called through every door meanwhile.
"""

from __future__ import annotations

import json
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from ikoma import capabilities
from ikoma.model import Effect
from tests.hostile.doors import DOORS
from tests.hostile.fitting_arguments import arguments_of
from tests.images import busybox_image
from tests.support import Server, paths_below

APP = "canary-app"
COUNT = 1000
NAMES = ("PASSWORD", "TOKEN", "KEY", "CONFIG", "VALUE")
CANARY = re.compile(r"(?=(canary-[0-9a-f]{24}))")
COMPOSE = """\
services:
  web:
    image: IMAGE
    env_file: [.env]
    command: ["sh", "-c", "env; while true; do sleep 1; env | head -n 50; done"]
    stop_grace_period: 1s
    healthcheck: {test: [CMD-SHELL, "env | tail -n 20"], interval: 1s}
"""


@pytest.fixture(scope="module")
def canaries(house: Server) -> Iterator[Mapping[str, str]]:
    """Names and values of the secrets, which are set and deployed."""
    # Each looks drawn by lot, also where the rest has its letters on one side and its digits on the other.
    made = {f"{NAMES[number % len(NAMES)]}_{number}": f"canary-{secrets.token_hex(10)}0a1b" for number in range(COUNT)}
    house.do("apps.init", {"appName": APP})
    house.do("db.create", {"appName": APP})
    folder = house.apps / APP
    (folder / "docker-compose.yml").write_text(COMPOSE.replace("IMAGE", busybox_image()))
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in list(made.items())[:-20]))
    for name, value in list(made.items())[-20:-10]:  # the last of them come in through a door
        house.do("env.set", {"appName": APP, "name": name, "value": value})
    (folder / "src" / "notes.txt").write_text("\n".join(made.values()))
    given = dict(list(made.items())[-10:])
    house.do("deploy.up", {"appName": APP, "env": given, "timeout": 240})
    yield made
    house.do("deploy.down", {"appName": APP})


@pytest.fixture
def processes() -> Iterator[set[str]]:
    """The command lines and titles of all processes while the test runs."""
    seen: set[str] = set()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            for process in psutil.process_iter(["cmdline", "name"]):
                seen.add(" ".join(process.info["cmdline"] or [process.info["name"] or ""]))
            stop.wait(0.05)  # what a look costs is missing elsewhere

    watching = threading.Thread(target=watch)
    watching.start()
    yield seen
    stop.set()
    watching.join()


def calls(canaries: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every capability, and some calls that provoke the secrets."""
    for item in capabilities.load():
        if item.effect is Effect.DESTROYS or item.name == "deploy.down":
            continue
        yield item.name, arguments_of(item, APP)
    some = list(canaries.values())[::97]
    for value in some:
        yield "apps.logs", {"appName": APP, "grep": value}
        yield "files.read", {"appName": APP, "path": "src/notes.txt"}
        yield "db.query", {"appName": APP, "sql": f"SELECT '{value}' AS {'x'}, 1/0"}
        yield "db.query", {"appName": APP, "sql": f"SELECT '{value}' AS x"}
        yield "db.migrate", {"appName": APP, "sql": f"SELECT nothing_{value.replace('-', '_')}, '{value}'"}
        yield "db.seed", {"appName": APP, "sql": f"DO $$BEGIN RAISE EXCEPTION 'failed with {value}'; END$$"}
        yield "apps.status", {"appName": value}
        yield "source.clone", {"appName": APP, "url": f"https://me:{value}@example.org/x.git"}
        yield "files.write", {"appName": APP, "path": f"src/{value}.txt", "content": value}
        yield "keys.revoke", {"id": value}


@pytest.mark.timeout(1800)
def test_none_of_a_thousand_secrets_is_said_anywhere(
    house: Server, canaries: Mapping[str, str], processes: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for name, door in DOORS.items():
        for capability, arguments in calls(canaries):
            outcome = door(house, capability, arguments)
            said.append((f"{name} {capability}", outcome.text))
    assert any("***" in text for _, text in said)
    known = set(canaries.values())
    assert known == set(CANARY.findall("".join(known))), "they are found where they are"
    state = b"".join(path.read_bytes() for path in (house.folder / "state").glob("state.db*"))
    places = [
        *said,
        ("the audit log", house.audit_log.read_text()),
        ("the server's log", house.log()),
        ("state.db", state.decode(errors="replace")),
        ("the processes", "\n".join(processes)),
        ("the runbook", (house.apps / APP / "RUNBOOK.md").read_text()),
    ]
    found = [(place, value) for place, text in places for value in CANARY.findall(text) if value in known]
    with capsys.disabled():
        print(f"\n{len(canaries)} secrets looked for in {len(places)} places: {len(found)} found")
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        f'network_mode: "{"x" * 40}${{PART_TOKEN}}"',
        f'pid: "{"x" * 45}${{PART_TOKEN}}"',
        f'security_opt: ["{"x" * 45}${{PART_TOKEN}}"]',
        f'image: "sha256:{"a" * 55}${{PART_TOKEN}}"',
        f'ports: [{{target: 80, published: "{"1" * 25}${{PART_TOKEN}}"}}]',
        'mem_limit: "${PART_TOKEN}"',
        'ports: ["80/${PART_TOKEN}"]',
    ],
)
def test_no_part_of_a_secret_is_said_where_a_value_of_it_is_refused(house: Server, line: str) -> None:
    app, value = "canary-parts", "Zq9kLm2PwX7vB4nT8sR1dF6gH3jY5cA0eU"
    if not (house.apps / app).exists():
        house.do("apps.init", {"appName": app})
        house.do("env.set", {"appName": app, "name": "PART_TOKEN", "value": value})
    image = "" if line.startswith("image") else f"image: {busybox_image()}\n    "
    (house.apps / app / "docker-compose.yml").write_text(f"services:\n  web:\n    {image}{line}\n")
    answers = [house.call(name, {"appName": app}) for name in ("apps.validate", "deploy.up", "artifact.verify_release")]
    assert [answer.status == 200 for answer in answers] == [True, False, True]
    said = (json.dumps([answer.body for answer in answers]) + house.audit_log.read_text() + house.log()).lower()
    assert [value[begin : begin + 6] for begin in range(29) if value[begin : begin + 6].lower() in said] == []


def test_a_generated_secret_is_shown_to_nobody_and_reaches_the_container(house: Server, canaries: object) -> None:
    answers = [
        house.call("env.generate", {"appName": APP, "name": "GENERATED", "form": form, "replace": True})
        for form in ("base64url", "hex")
    ]
    assert house.call("env.generate", {"appName": APP, "name": "GENERATED"}).code == "variable_exists"
    value = (house.apps / APP / ".env").read_text().rpartition("GENERATED=")[2].strip()
    assert len(value) == 64
    assert value not in json.dumps([answer.body for answer in answers]) + house.audit_log.read_text()


def test_what_holds_secrets_is_the_servers_alone(house: Server, canaries: object) -> None:
    folder = house.apps / APP
    # What containers mount, and files as they were before, have their own modes, in folders that are closed to others.
    mounted = ("tree", "given", "objects")
    kept = [path for path in paths_below(folder / ".ikoma") if not {*path.parent.parts} & {*mounted}]
    kept = [path for path in kept if path.name != "kept" or "history" not in path.parts]
    assert {path.name for path in kept} >= {"tree", "objects"}
    private = [folder / ".env", folder / ".ikoma", *kept, house.home / ".env"]
    private += [house.home / "api-key.txt", house.audit_log, house.folder / "state" / "state.db"]
    for path in private:
        if path in kept and not path.exists():  # what the server itself was writing
            continue
        status = path.stat()
        assert status.st_mode & 0o077 == 0, path
        assert status.st_uid == Path("/proc/self").stat().st_uid

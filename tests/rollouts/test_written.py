"""Files that containers write are there after a deploy, byte for byte, whatever becomes of the folder they are in."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import busybox_image
from tests.rollouts.live_app import LiveApp
from tests.support import Server, eventually

WRITER = """services:
  web:
    image: {image}
    command: [sh, -c, "while :; do echo line >> /config/log; sleep 0.05; done"]
    volumes: ["./config:/config", "./src/uploads:/uploads", "./page.html:/page.html"{more}]
    init: true
    stop_grace_period: 1s
    environment: {{N: "{number}"}}
x-ikoma: {{watch: 0s{block}}}
"""


@pytest.fixture
def app(server: Server, request: pytest.FixtureRequest) -> Iterator[LiveApp]:
    name = f"w-{request.node.name[5:40].strip('_').replace('_', '-')}"
    server.do("apps.init", {"appName": name})
    found = LiveApp(server, name)
    shutil.rmtree(found.folder / "src")
    (found.folder / "src").mkdir()
    (found.folder / "page.html").write_text("first")
    yield found
    server.do("deploy.down", {"appName": name})


def deploy(app: LiveApp, number: int = 0, *, more: str = "", block: str = "") -> None:
    text = WRITER.format(image=busybox_image(), number=number, more=more, block=block)
    (app.folder / "docker-compose.yml").write_text(text)
    app.server.do("deploy.up", {"appName": app.name, "timeout": 60})


def within(app: LiveApp, command: str) -> str:
    """Return what a command says inside the container that serves."""
    [container] = [item.id for item in app.containers() if item.state == "running"]
    return subprocess.check_output(["docker", "exec", container, "sh", "-c", command], text=True)


def serving(app: LiveApp) -> Path:
    stored = json.loads((app.folder / ".ikoma" / "serving.json").read_text())
    return app.folder / ".ikoma" / "releases" / str(stored["release"])


def test_folders_are_kept_and_files_go_on(app: LiveApp) -> None:
    deploy(app)
    within(app, "head -c 100000 /dev/zero > /uploads/photo; echo written >> /page.html; cp /config/log /config/early")
    early = within(app, "cat /config/early").count("line")
    deploy(app, 1)
    assert (app.folder / "src" / "uploads" / "photo").stat().st_size == 100_000
    assert within(app, "wc -c < /uploads/photo").strip() == "100000"
    assert within(app, "cat /page.html") == "firstwritten\n"
    assert within(app, "cat /config/log").count("line") > early > 0
    assert within(app, "grep -vc '^line$' /config/log || true").strip() == "0"


def test_a_changed_file_replaces_its_service_and_a_rollback_brings_it_back(app: LiveApp) -> None:
    deploy(app)
    before = app.containers()
    app.server.do("files.write", {"appName": app.name, "path": "page.html", "content": "second"})
    plan = app.server.do("deploy.plan", {"appName": app.name})
    [change] = plan["changes"]
    assert change["action"] == "replace"
    assert "page.html has changed" in change["reasons"]
    deploy(app)
    assert within(app, "cat /page.html") == "second"
    assert app.containers() != before
    app.server.do("deploy.rollback", {"appName": app.name})
    assert within(app, "cat /page.html") == "first"
    (app.folder / "page.html").write_text("third, written in place")
    deploy(app)
    assert within(app, "cat /page.html") == "third, written in place"


def test_the_variables_that_a_service_mounts_are_the_releases(app: LiveApp) -> None:
    app.server.do("env.set", {"appName": app.name, "name": "GREETING", "value": "first"})
    more = ', "./.env:/app/.env:ro", "/etc/localtime:/etc/localtime:ro", "/dev/urandom:/dev/random:ro"'
    deploy(app, more=more)
    assert "GREETING=first" in within(app, "cat /app/.env")
    app.server.do("env.set", {"appName": app.name, "name": "GREETING", "value": "second"})
    assert "GREETING=first" in within(app, "cat /app/.env")
    deploy(app, more=more)
    assert "GREETING=second" in within(app, "cat /app/.env")
    app.server.do("deploy.rollback", {"appName": app.name})
    assert "GREETING=first" in within(app, "cat /app/.env")


def test_a_read_only_folder_below_one_that_is_written_is_a_copy(app: LiveApp) -> None:
    (app.folder / "config" / "certs").mkdir()
    (app.folder / "config" / "certs" / "key").write_text("secret")
    deploy(app, more=', "./config/certs:/certs:ro", "./src:/all:ro"')
    assert within(app, "cat /certs/key") == "secret"
    within(app, "rm -r /config/certs && ln -s /etc /config/certs; echo up > /uploads/new")
    assert within(app, "cat /certs/key") == "secret"
    assert within(app, "cat /all/uploads/new") == "up\n", "data below a folder is there too"
    refused = app.server.call("deploy.up", {"appName": app.name, "timeout": 60})
    assert refused.code == "policy_violation"


def test_what_an_earlier_version_kept_in_its_release_is_in_the_folder_after_the_next_deploy(app: LiveApp) -> None:
    """That version mounted src/ and config/ from a copy that containers wrote, as `source` does now."""
    deploy(app, block=", source: [config, src]")
    within(app, "head -c 100000 /dev/zero > /uploads/photo")
    first = serving(app)
    record = json.loads((first / "release.json").read_text())
    record["extension"].pop("source")
    (first / "release.json").write_text(json.dumps(record))
    model = json.loads((first / "model.json").read_text())
    model["x-ikoma"].pop("source")
    (first / "model.json").write_text(json.dumps(model))
    assert not (app.folder / "src" / "uploads" / "photo").exists()
    (app.folder / "config" / "mine").write_text("mine")
    lines = within(app, "cat /config/log").count("line")

    broken = WRITER.format(image=busybox_image(), number=1, more="", block="")
    broken = broken.replace(
        "    init: true", "    init: true\n    healthcheck: {test: [CMD, 'false'], interval: 1s, retries: 1}"
    )
    (app.folder / "docker-compose.yml").write_text(broken)
    failed = app.server.call("deploy.up", {"appName": app.name, "timeout": 20})
    assert failed.code == "deploy_failed"
    eventually(lambda: len(app.running("web")) == 1, "what served runs again")
    assert within(app, "wc -c < /uploads/photo").strip() == "100000", "what served goes on with what it wrote"

    deploy(app, 1)
    assert (app.folder / "src" / "uploads" / "photo").stat().st_size == 100_000
    assert within(app, "cat /config/mine") == "mine"
    log = (app.folder / "config" / "log").read_text()
    assert log.count("line") > lines
    assert set(log.split()) == {"line"}
    app.server.do("deploy.rollback", {"appName": app.name})
    assert within(app, "wc -c < /uploads/photo").strip() == "100000"
    assert within(app, "cat /config/log").count("line") > lines

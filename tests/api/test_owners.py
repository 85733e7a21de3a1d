"""Folders and volumes that containers write belong to whom these run as, where they are new."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import busybox_image
from tests.support import Server

DOCKERFILE = f"""FROM {busybox_image.__name__}
RUN mkdir -p /etc && echo 'root:x:0:0::/:/bin/sh' > /etc/passwd && echo 'node:x:1234:2345::/:/bin/sh' >> /etc/passwd
RUN echo 'staff:x:3456:' > /etc/group && mkdir /has && touch /has/it
USER node
"""
COMPOSE = """services:
  web:
    image: owners-web
    build: ./src
    command: [sleep, "600"]
    init: true
    stop_grace_period: 1s
    volumes: ["./data/deep:/data", "named:/named", "filled:/has", "./there:/there", "./full:/full"]
  staff:
    image: owners-web
    user: "node:staff"
    command: [sleep, "600"]
    init: true
    stop_grace_period: 1s
    volumes: ["./staff:/data"]
  number:
    image: {image}
    user: "777"
    read_only: true
    command: [sleep, "600"]
    init: true
    stop_grace_period: 1s
    volumes: ["./number:/data", "./closed:/closed", "sealed:/sealed"]
  root:
    image: {image}
    command: [sleep, "600"]
    init: true
    stop_grace_period: 1s
    volumes: ["./root:/data"]
volumes: {{named: {{}}, filled: {{}}, sealed: {{}}}}
x-ikoma: {{watch: 0s}}
"""


@pytest.fixture(scope="module")
def folder(server: Server) -> Iterator[Path]:
    server.do("apps.init", {"appName": "owners"})
    made = server.apps / "owners"
    (made / "src" / "Dockerfile").write_text(DOCKERFILE.replace(busybox_image.__name__, busybox_image()))
    (made / "docker-compose.yml").write_text(COMPOSE.format(image=busybox_image()))
    (made / "there").mkdir(mode=0o755)
    (made / "full").mkdir()
    (made / "full" / "file").write_text("root's")
    (made / "closed").mkdir(mode=0o700)
    yield made
    server.do("deploy.down", {"appName": "owners"})


def owner(path: Path) -> tuple[int, int, int]:
    status = os.lstat(path)
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def within(service: str, command: str) -> str:
    label = "label=com.docker.compose.service="
    argv = [
        "docker",
        "ps",
        "-q",
        "--filter",
        "label=com.docker.compose.project=owners",
        "--filter",
        f"{label}{service}",
    ]
    [container] = subprocess.check_output(argv, text=True).split()
    return subprocess.check_output(["docker", "exec", container, "sh", "-c", command], text=True).strip()


def test_what_cannot_be_written_is_said_before_anything_is_built(server: Server, folder: Path) -> None:
    expected = {
        "web runs as node, and there belongs to 0:0 with mode 755: it cannot write there.",
        "web runs as node, and full belongs to 0:0 with mode 755: it cannot write there.",
    }
    assert said(server, "owners") == expected
    assert not any("is new, and" in text for text in problems(server, "owners"))
    server.do("deploy.up", {"appName": "owners", "timeout": 120})
    assert said(server, "owners") == expected


def problems(server: Server, name: str) -> list[str]:
    return [item["problem"] for item in server.do("apps.validate", {"appName": name})["warnings"]]


def said(server: Server, name: str) -> set[str]:
    return {text for text in problems(server, name) if "runs as" in text}


def test_what_is_new_and_for_two_users_is_said_before_the_deploy(server: Server) -> None:
    made = server.apps / "owners-two"
    made.mkdir()
    (made / "old").mkdir()
    mounts = "volumes: ['./both:/both', 'shared:/shared', './old:/old:ro']"
    service = f"image: {busybox_image()}\n    command: [sleep, '600']\n    init: true\n    stop_grace_period: 1s\n"
    compose = (
        f"services:\n  web:\n    {service}    user: '777'\n    {mounts}\n"
        f"  job:\n    {service}    user: '888:777'\n    {mounts}\n"
        f"  root:\n    {service}    {mounts}\n"
        f"  twin:\n    {service}    user: '777:5'\n    {mounts}\n"
        "volumes: {shared: {}}\nx-ikoma: {service: false, watch: 0s}\n"
    )
    (made / "docker-compose.yml").write_text(compose)
    both = [text for text in problems(server, "owners-two") if "is new, and" in text]
    assert [text.partition(" is new")[0] for text in both] == ["The folder both", "The volume shared"]
    assert all("and job (as 888:777), twin (as 777:5) and web (as 777) write to it" in text for text in both)
    plan = server.do("deploy.plan", {"appName": "owners-two"})
    assert sum("is new, and" in str(item) for item in plan["findings"]) == 2
    server.do("deploy.up", {"appName": "owners-two", "timeout": 120})
    assert not any("is new, and" in text for text in problems(server, "owners-two")), "they are there now"
    (made / "docker-compose.yml").write_text(compose.replace("888:777", "777:888").replace("both", "new"))
    assert not any("is new, and" in text for text in problems(server, "owners-two")), "it is one user"
    server.do("apps.remove", {"appName": "owners-two"})


def test_new_folders_and_volumes_belong_to_whom_the_container_runs_as(server: Server, folder: Path) -> None:
    server.do("deploy.up", {"appName": "owners", "timeout": 120})
    assert owner(folder / "data" / "deep") == (1234, 2345, 0o755)
    assert owner(folder / "data") == (0, 0, 0o755)
    assert owner(folder / "staff") == (1234, 3456, 0o755)
    assert owner(folder / "number") == (777, 0, 0o755)
    assert owner(folder / "root") == (0, 0, 0o755)
    assert owner(folder / "closed") == (777, 0, 0o755), "as an earlier version has left it"
    assert within("web", "touch /data/x /named/x && stat -c %u /named") == "1234"
    assert within("web", "stat -c %u /has/it") == "0"
    assert within("number", "touch /sealed/x && stat -c %u /sealed") == "777"
    assert within("staff", "touch /data/x && ls /data") == "x"


def test_what_exists_stays_as_it_is(server: Server, folder: Path) -> None:
    server.do("deploy.up", {"appName": "owners", "timeout": 120})
    assert owner(folder / "there") == (0, 0, 0o755)
    assert owner(folder / "full") == (0, 0, 0o755)
    assert owner(folder / "full" / "file")[:2] == (0, 0)
    assert not (folder / ".ikoma" / "new-folders.json").exists()


def test_a_single_file_of_another_owner_is_to_be_mounted_read_only(server: Server) -> None:
    made = server.apps / "owners-file"
    made.mkdir()
    (made / "app.conf").write_text("on")
    mount = "./app.conf:/app.conf"
    compose = f"services:\n  web:\n    image: {busybox_image()}\n    user: '777'\n    volumes: ['{mount}']\n"
    (made / "docker-compose.yml").write_text(compose)
    warnings = server.do("apps.validate", {"appName": "owners-file"})["warnings"]
    [found] = [item for item in warnings if "cannot write" in item["problem"]]
    assert found["fix"].startswith("Write :ro at the end of the mount")
    (made / "docker-compose.yml").write_text(compose.replace(mount, f"{mount}:ro"))
    warnings = server.do("apps.validate", {"appName": "owners-file"})["warnings"]
    assert [item for item in warnings if "cannot write" in item["problem"]] == []


def test_whom_a_dockerfile_names_by_a_variable_without_a_value_is_not_guessed(server: Server) -> None:
    made = server.apps / "owners-arg"
    (made / "data").mkdir(parents=True)
    (made / "data" / "file").touch()
    (made / "Dockerfile").write_text(f"FROM {busybox_image()}\nARG WHO\nUSER ${{WHO}}\n")
    compose = (
        "services:\n  web:\n    build:\n      context: .\n      args: {OTHER: '1'}\n    volumes: ['./data:/data']\n"
    )
    (made / "docker-compose.yml").write_text(compose)
    [text] = said(server, "owners-arg")
    assert text.startswith("web runs as ${WHO}, whoever that is, and data belongs to 0:0")
    assert text.endswith("it cannot write there unless that is root.")
    (made / "docker-compose.yml").write_text(compose.replace("OTHER: '1'", "WHO: '4321'"))
    assert said(server, "owners-arg") == {
        "web runs as 4321, and data belongs to 0:0 with mode 755: it cannot write there."
    }
    (made / "docker-compose.yml").write_text(compose.replace("OTHER: '1'", "WHO: '0'"))
    assert said(server, "owners-arg") == set()

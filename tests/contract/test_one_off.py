"""An Engine's promises of a command that runs once: made like another container, and gone after it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from ikoma.engines.docker.containers import CommandResult, ContainerNotStarted
from tests.contract.project import Project, a_project, docker, shell

SERVICE: dict[str, Any] = {
    "environment": {"WORD": "hello $$HOME"},
    "user": "1000:1000",
    "mem_limit": "64m",
    "pids_limit": 50,
    "cap_drop": ["ALL"],
    "read_only": True,
    "tmpfs": ["/scratch"],
    "ports": ["127.0.0.1::3000"],
    "healthcheck": {"test": ["CMD", "/bin/busybox", "true"], "interval": "1s"},
    "restart": "unless-stopped",
    "networks": {"inner": None, "outer": None},
    "volumes": [
        {"type": "volume", "source": "store", "target": "/data", "volume": {}},
        {"type": "volume", "target": "/unnamed", "volume": {}},
        {"type": "bind", "source": "/usr/share", "target": "/shared", "read_only": True},
    ],
}
MORE: dict[str, Any] = {"volumes": {"store": {}}, "networks": {"inner": {"internal": True}, "outer": {}}}


@pytest.fixture
def project() -> Iterator[Project]:
    with a_project() as made:
        yield made


def run(
    project: Project, like: str, command: Sequence[str], timeout: float = 30, used: set[str] | None = None
) -> tuple[CommandResult, list[str]]:
    """Run it; what it says.

    Args:
        used: gets the volumes that it has while it speaks.
    """
    lines: list[str] = []

    async def hear(line: str) -> None:
        lines.append(line)
        if used is not None:
            used.update(volumes_of(f"{project.app}-once"))

    name = f"{project.app}-once"
    work = project.engine.run_once(project.app, like, command, name=name, on_line=hear, timeout=timeout)
    return project.do(work), lines


def everyone(project: Project) -> set[str]:
    """All containers and volumes of the project."""
    label = f"label=com.docker.compose.project={project.app}"
    containers = docker("ps", "-aq", "--no-trunc", "--filter", label)
    return {*containers, *docker("volume", "ls", "-q", "--filter", label)}


def volumes_of(container: str) -> set[str]:
    """Volumes of a container, those without a name too: no label says whose they are."""
    mounts = json.loads("".join(docker("inspect", container)))[0]["Mounts"]
    return {mount["Name"] for mount in mounts if mount["Type"] == "volume"}


@pytest.mark.parametrize("state", ["running", "exited", "created"])
def test_a_command_finds_all_that_the_other_container_has_and_leaves_nothing(project: Project, state: str) -> None:
    service = shell("chmod 777 /unnamed; echo kept > /unnamed/note; sleep 1000", **{**SERVICE, "user": "0"})
    [web] = project.up({"web": service}, **MORE)
    if state == "exited":
        docker("stop", "-t", "0", web.id)
    like = web.id
    if state == "created":
        made = (
            "--network",
            f"{project.app}_outer",
            "--volumes-from",
            web.id,
            "-e",
            "WORD=hello $HOME",
            "--memory",
            "64m",
        )
        [like] = docker("create", *made, web.image, "/bin/busybox")
    before, kept, used = everyone(project), volumes_of(like), set[str]()
    script = (
        "echo $WORD; cat /unnamed/note; touch /shared/x; cat /sys/fs/cgroup/memory/memory.limit_in_bytes"
        " /sys/fs/cgroup/memory.max; ls /sys/class/net; exit 7"
    )
    ended, lines = run(project, like, ["/bin/busybox", "sh", "-c", script], used=used)
    assert ended == CommandResult(7)
    assert {"hello $HOME", "kept", str(64 << 20), "eth0"} <= set(lines)
    assert any("Read-only file system" in line for line in lines)
    assert ("eth1" in lines) == (state != "created"), "it is in both networks"
    assert everyone(project) == before
    assert (used | kept) & set(docker("volume", "ls", "-q")) == kept
    if state == "created":
        docker("rm", "-f", like)


def test_nobody_takes_it_for_a_container_of_the_app(project: Project) -> None:
    [web] = project.up({"web": shell("sleep 1000", **SERVICE)}, **MORE)
    seen: list[Any] = []

    async def look(line: str) -> None:
        seen.extend(
            [
                *await project.engine.list_containers(project.app),
                *(await project.engine.list_all_containers())[project.app],
            ]
        )
        shown = json.loads("".join(docker("inspect", f"{project.app}-once")))[0]
        seen.extend([shown["HostConfig"]["PortBindings"], shown["HostConfig"]["RestartPolicy"]["Name"]])
        seen.append(shown["HostConfig"]["CapDrop"])
        seen.append([network["Aliases"] for network in shown["NetworkSettings"]["Networks"].values()])

    name = f"{project.app}-once"
    work = project.engine.run_once(
        project.app, web.id, ["/bin/busybox", "echo", "here"], name=name, on_line=look, timeout=30
    )
    assert project.do(work) == CommandResult(0)
    first, second, ports, restarts, dropped, aliases = seen
    assert (first.id, second.id) == (web.id, web.id)
    assert (ports or {}, restarts, dropped) == ({}, "no", ["ALL"])
    assert not any("web" in (names or []) for names in aliases)


def test_the_last_line_comes_also_without_an_end(project: Project) -> None:
    [web] = project.up({"web": shell("sleep 1000")})
    _, lines = run(project, web.id, ["/bin/busybox", "sh", "-c", "printf zero >&2; echo one; printf two"])
    assert sorted(lines) == ["one", "two", "zero"]


def test_one_that_takes_too_long_is_ended_and_gone(project: Project) -> None:
    [web] = project.up({"web": shell("sleep 1000")})
    before, began = everyone(project), time.monotonic()
    with pytest.raises(TimeoutError):
        run(project, web.id, ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"], timeout=1)
    assert time.monotonic() - began < 90  # it would go on for ever
    assert everyone(project) == before


def test_one_that_cannot_be_started_says_why(project: Project) -> None:
    [web] = project.up({"web": shell("sleep 1000", init=False)})
    before = everyone(project)
    with pytest.raises(ContainerNotStarted, match="no-such-program"):
        run(project, web.id, ["no-such-program"])
    assert everyone(project) == before


def test_many_lines_come_whole_and_in_order(project: Project) -> None:
    [web] = project.up({"web": shell("sleep 1000")})
    ended, lines = run(project, web.id, ["/bin/busybox", "seq", "5000"])
    assert (ended, lines) == (CommandResult(0), [str(number) for number in range(1, 5001)])

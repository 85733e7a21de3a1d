"""Every command of README, docs/ and examples/ runs, in the order of its page, and prints what the page says.

`IKOMA_WRITE_PAGES=FOLDER` goes on where something else is printed, and writes the page as it would be into the folder.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ikoma.engines.docker.docker_api import DockerApi
from scripts.images import ensure
from tests.docs.not_run import NOT_RUN, reason
from tests.docs.page import PAGES, ROOT, Page, Step, apps, differs, groups, name_of, with_names
from tests.docs.shell import Shell
from tests.frameworks.packages import npm_registry, write_wheels
from tests.git_host import GitHost, git_host
from tests.support import DOCKER_HOST, Server, free_port, make_server, remove

OTHERWISE = {
    "runbook.md": "tests/install runs it, on a machine that install.sh made ready",
    "recovery.md": "tests/faults/test_recovery.py runs it, on a machine that burned down",
}
IMAGES = ("python:3.13-slim", "node:22-alpine", "caddy:2-alpine")
WRITES = os.environ.get("IKOMA_WRITE_PAGES")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHost]:
    with git_host(tmp_path_factory.mktemp("githost") / "host") as started:
        _fill(started)
        yield started


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    asyncio.run(ensure(IMAGES))
    with npm_registry(asyncio.run(bridge())) as url:
        yield url


async def bridge() -> str:
    """The address at which builds reach this machine."""
    api = DockerApi(DOCKER_HOST)
    try:
        return str((await api.read_version()).server_address)
    finally:
        await api.close()


@pytest.fixture
def server(host: GitHost) -> Iterator[Server]:
    """A server as it is installed, but that its folders lie under a root of their own."""
    made = make_server(PROXY_HTTPS_PORT=str(free_port()), PROXY_TLS="internal")
    places = {
        "APPS_ROOT": "srv/apps",
        "IKOMA_HOME": "opt/ikoma",
        "IKOMA_STATE": "var/lib/ikoma",
        "AUDIT_LOG": "var/log/ikoma/audit.jsonl",
        "BACKUPS_ROOT": "var/backups/ikoma",
    }
    made.env |= {name: f"{made.folder}/{place}" for name, place in places.items()}
    made.env |= {"SOURCE_HOSTS": "localhost", "SOURCE_CA_FILE": str(host.ca_file)}
    made.audit_log.parent.mkdir(parents=True)
    try:
        made.start()
        yield made
    finally:
        remove(made)


def _runs(path: Path) -> bool:
    return path.name not in OTHERWISE and any(not reason(step.command) for step in Page.read(path).steps)


@pytest.mark.timeout(1800)  # some install frameworks, which is work for minutes where others work too
@pytest.mark.parametrize("path", [path for path in PAGES if _runs(path)], ids=name_of)
def test_the_commands_of_a_page_run_and_print_what_it_says(
    path: Path, server: Server, host: GitHost, registry: str, tmp_path: Path
) -> None:
    page = Page.read(path)
    home = tmp_path / "home"
    home.mkdir()
    for name, text in page.files.items():
        (home / "page" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "page" / name).write_text(text)
    shell = Shell(server, home, _addresses(host))
    names: dict[str, str] = {}
    otherwise: dict[int, str] = {}
    for number, step in enumerate(page.steps):
        if reason(step.command):
            continue
        _bring_packages(server, step.command, registry)
        code, printed = _take(step, shell, names)
        where = f"{path.name}, line {step.line}: {step.command}\n{printed}\n"
        difference = differs(step.shown, printed, names) if step.shown is not None else ""
        if WRITES and difference:
            otherwise[number] = printed
            differs(tuple(printed.splitlines()), printed, names)
            page.write(otherwise, Path(WRITES) / f"{name_of(path).replace('/', '-')}.md")
            continue
        assert code == 0 or step.may_fail, f"{where}exit code {code}\n{server.log()[-1500:]}"
        assert difference == "", f"{where}{difference}"


def _take(step: Step, shell: Shell, names: dict[str, str]) -> tuple[int, str]:
    """Do what the step says: its exit code, and what it printed."""
    if step.bare in ("make up", "ikoma up"):
        while "Audit:" not in shell.server.log():
            time.sleep(0.05)
        return 0, shell.shown(shell.server.log())
    if "logs" in step.command and "--follow" in step.command:
        return 0, shell.run(with_names(step.command, names), until=lambda printed: _is_shown(step, printed, names))[1]
    return shell.run(with_names(step.command, names))


def _is_shown(step: Step, printed: str, names: dict[str, str]) -> bool:
    return bool(printed) if step.shown is None else not differs(step.shown, printed, dict(names))


def _addresses(host: GitHost) -> dict[str, str]:
    return {
        "https://github.com/you/": f"{host.address}/",
        "git@github.com:you/": f"ssh://root@localhost:{host.ssh_port}{host.folder}/repositories/",
        "github.com/you": "localhost",
    }


def _fill(host: GitHost) -> None:
    """The repositories that pages name: their source, and another state of it."""
    source = (ROOT / "examples" / "hello-node" / "src" / "server.js").read_text()
    for name in ("shop", "myapp"):
        host.make(name, {"server.js": source})
        for branch in ("feature/search", "v1.3"):
            host.branch(name, branch, {"README.md": f"{branch}\n"})


def _bring_packages(server: Server, command: str, registry: str) -> None:
    """Bring what a build fetches from a registry from this machine: wheels, and an npm registry that .npmrc names."""
    if not (named := re.match(r"ikoma (?:deploy|validate|plan|preview) ([\w-]+)", command)):
        return
    source = server.apps / named[1] / "src"
    if (source / "requirements.txt").is_file():
        write_wheels(source / "requirements.txt", source / "wheels")
    if (source / "package.json").is_file():
        (source / ".npmrc").write_text(f"registry={registry}\nfetch-retries=0\n")


def test_what_does_not_run_is_on_a_page_and_is_little() -> None:
    steps = [step for path in PAGES for step in Page.read(path).steps]
    unused = [pattern for pattern in NOT_RUN if not any(re.match(pattern, step.command) for step in steps)]
    assert unused == []
    left = [step.command for step in steps if reason(step.command)]
    assert len(NOT_RUN) <= 14
    assert len(left) <= len(steps) * 0.15, left


def test_pages_that_make_the_same_app_are_of_one_group() -> None:
    """They would take it from each other: their groups run side by side."""
    group = groups(PAGES)
    assert len(set(group.values())) > 5
    together = [(one, other) for one in PAGES for other in PAGES if apps(one) & apps(other)]
    assert together
    assert [pair for pair in together if group[pair[0]] != group[pair[1]]] == []

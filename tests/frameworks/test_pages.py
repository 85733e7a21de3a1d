"""The pages of docs/frameworks run: their own commands, in their order, on the images that the templates name.

A block of `text` after a block of commands is what the last of them prints. What a build fetches from a registry comes
from this machine: wheels in src/wheels/, and an npm registry that src/.npmrc names.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ikoma.engines.docker_api import DockerApi
from tests.frameworks.packages import npm_registry, write_wheels
from tests.runbook.document import commands
from tests.support import DOCKER_HOST, IKOMA, Server

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "frameworks").glob("*.md"))
BLOCK = re.compile(r"^```(bash|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def registry() -> Iterator[str]:
    with npm_registry(asyncio.run(bridge())) as url:
        yield url


async def bridge() -> str:
    """The address at which builds reach this machine."""
    api = DockerApi(DOCKER_HOST)
    try:
        return str((await api.version()).gateway)
    finally:
        await api.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run_and_print_what_it_says(
    page: Path, server: Server, registry: str, tmp_path: Path
) -> None:
    shell = {
        **server.env,
        "HOME": str(tmp_path),
        "PATH": f"{IKOMA.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "API_KEY": server.key,
    }
    printed = ""
    for kind, block in BLOCK.findall(page.read_text()):
        if kind == "text":
            assert block.strip() in printed, f"{printed}\n{_logs(server)}"
            continue
        for command in commands(block):
            if command.startswith(("ikoma deploy", "ikoma validate")):
                _bring_packages(server, command.split()[2], registry)
            printed = _run(command, server, shell)


def _run(command: str, server: Server, shell: dict[str, str]) -> str:
    here = command.replace("/srv/apps", str(server.apps))
    here = here.replace(".localhost/", f".localhost:{server.env['PROXY_HTTP_PORT']}/")
    finished = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", here],
        cwd=shell["HOME"],
        env=shell,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{server.log()[-2000:]}"
    return finished.stdout


def _logs(server: Server) -> str:
    """The last lines of all apps."""
    apps = [item["name"] for item in server.do("apps.list")["apps"]]
    return "\n".join(line for app in apps for line in server.do("apps.logs", {"appName": app, "tail": 40})["lines"])


def _bring_packages(server: Server, app: str, registry: str) -> None:
    source = server.apps / app / "src"
    if (source / "requirements.txt").is_file():
        write_wheels(source / "requirements.txt", source / "wheels")
    if (source / "package.json").is_file():
        (source / ".npmrc").write_text(f"registry={registry}\nfetch-retries=0\n")

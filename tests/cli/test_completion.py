"""Completion in the shell: the real one of bash, zsh and fish, as their scripts ask for it.

It offers nothing rather than keep a person waiting for a slow machine, and is asked again here until it does.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.apps import make_app
from tests.support import IKOMA, Server, eventually

APP = "offered"


@pytest.fixture(scope="module", autouse=True)
def app(server: Server) -> Iterator[None]:
    make_app(server, APP)
    server.do("deploy.up", {"appName": APP})
    server.do("env.set", {"appName": APP, "name": "GREETING", "value": "x"})
    server.do("domain.add", {"appName": APP, "domain": "offered.example.com"})
    yield
    server.do("apps.remove", {"appName": APP})


def offered(server: Server, line: str) -> set[str]:
    """The words for the last of this line."""
    typed = {"_IKOMA_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = subprocess.run([IKOMA], env=server.env | typed, capture_output=True, text=True, check=False)
    assert not done.stderr
    return {item.partition(",")[2] for item in done.stdout.splitlines()}


def test_names_on_the_server_are_offered(server: Server) -> None:
    release = server.do("release.list", {"appName": APP})["releases"][0]["id"]
    operation = server.do("operations.list", {"appName": APP})["operations"][0]["id"]
    key = server.do("keys.create", {"name": "offered", "role": "observer"})["id"]
    server.do("env.set", {"appName": APP, "name": "GREETING", "value": "y"})
    former = server.do("env.history", {"appName": APP})["versions"][0]["version"]
    for line, wanted in {
        "ikoma dep": "deploy",
        "ikoma status ": APP,
        "ikoma status off": APP,
        "ikoma status --app off": APP,
        f"ikoma scale {APP} ": "web",
        f"ikoma logs {APP} --service ": "web",
        f"ikoma rollback {APP} ": release,
        f"ikoma rollback {APP} --to ": release,
        f"ikoma release {APP} {release[:4]}": release,
        f"ikoma pin {APP} ": release,
        "ikoma wait ": operation,
        "ikoma cancel ": operation,
        "ikoma keys revoke ": key,
        "ikoma keys ": "create",
        f"ikoma domain-remove {APP} ": "offered.example.com",
        f"ikoma env-unset {APP} ": "GREETING",
        f"ikoma env-restore {APP} ": "GREETING",
        f"ikoma env-restore {APP} GREETING ": former,
        f"ikoma cat {APP} src/": "src/ok",
        f"ikoma cat {APP} docker": "docker-compose.yml",
        "ikoma call deploy.": "deploy.up",
        f"ikoma init {APP} --template st": "static",
    }.items():
        eventually(lambda line=line, wanted=wanted: wanted in offered(server, line), f"{wanted} for {line!r}")


def test_it_is_silent_without_a_server(server: Server, tmp_path: object) -> None:
    env = server.env | {"HTTP_PORT": "1", "IKOMA_STATE": str(tmp_path), "_IKOMA_COMPLETE": "bash_complete"}
    env |= {"COMP_WORDS": "ikoma status ", "COMP_CWORD": "2"}
    done = subprocess.run([IKOMA], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_for_that_shell(server: Server, shell: str) -> None:
    script = server.cli("completion", shell).stdout
    assert f"_IKOMA_COMPLETE={shell}_complete" in script
    if program := shutil.which(shell):
        checked = subprocess.run([program, "-n"], input=script, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr


def test_bash_itself_completes_with_it(server: Server) -> None:
    program = (
        'eval "$(ikoma completion bash)"; COMP_WORDS=(ikoma status off); COMP_CWORD=2; _ikoma_completion ikoma; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = server.env | {"PATH": f"{IKOMA.parent}:{server.env['PATH']}"}

    def completed() -> list[str]:
        done = subprocess.run(["bash", "-c", program], env=env, capture_output=True, text=True, check=False)
        return done.stdout.splitlines()

    eventually(lambda: completed() == [APP], f"{APP} alone")

"""The runbooks run: their own commands, as they stand, on the real paths and port, against a started server.

What is executed: phases 1 to 5, the operational procedures, the health checks, key rotation and the audit review.
Commands of the platform compose flavour are listed at the end, each with its reason, and so are the sections that
are not run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runbook.document import Section, sections
from tests.support import DOCKER_HOST, Server, remove

ROOT = Path(__file__).parents[2]
DOCUMENTS = [path for path in (ROOT.parent / "shared" / "runbook.md", ROOT / "docs" / "runbook.md") if path.is_file()]
REAL = [Path(path) for path in ("/srv/apps", "/opt/ikoma", "/var/lib/ikoma", "/var/log/ikoma", "/var/backups/ikoma")]
SOURCE = Path("/path/to/source")

RUN = re.compile(r"Phase [1-5]|Operational Procedures|^Health Checks|Rotate|Review", re.IGNORECASE)
PLATFORM_FLAVOUR = "/opt/ikoma/docker-compose.yml"
MIGRATION = "CREATE TABLE visits (\n\tid bigserial PRIMARY KEY,\n\tseen timestamptz NOT NULL DEFAULT now()\n);\n"


@pytest.fixture(scope="module")
def shell_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a person's shell has: curl, jq, and `docker compose`, here the one that IKOMA itself brings."""
    from ikoma.engines.compose.argv import find_compose_program

    config = tmp_path_factory.mktemp("docker")
    (config / "cli-plugins").mkdir()
    (config / "cli-plugins" / "docker-compose").symlink_to(find_compose_program())
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/root"),
        "DOCKER_CONFIG": str(config),
        "DOCKER_HOST": DOCKER_HOST,
    }


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Server]:
    """An installed IKOMA: the real paths, port 3000, settings by default."""
    there = [path for path in REAL if path.exists() and any(path.iterdir())]
    with socket.socket() as probe:
        busy = probe.connect_ex(("127.0.0.1", 3000)) == 0
    if there or busy:
        message = f"an IKOMA is installed here ({', '.join(map(str, there)) or 'port 3000'}): this test would harm it"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/root"), "DOCKER_HOST": DOCKER_HOST}
    env["PROXY_HOST"] = "127.0.0.1"  # no test listens for everyone
    SOURCE.mkdir(parents=True)
    shutil.copytree(ROOT / "examples" / "hello-node" / "src", SOURCE, dirs_exist_ok=True)
    server = Server(tmp_path, 3000, env)
    try:
        server.start()
        yield server
    finally:
        if server.process is not None:
            remove(server)
        for path in (*REAL, Path("/path")):
            shutil.rmtree(path, ignore_errors=True)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_runbook_runs(
    document: Path, platform: Server, shell_env: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    outputs: dict[str, list[str]] = {}
    not_run: list[str] = []
    for section in sections(document):
        if not section.blocks:
            continue
        if not RUN.search(section.title):
            not_run.append(f"{section.title}: {_reason(section)}")
            continue
        for block in section.blocks:
            wanted = [command for command in block if PLATFORM_FLAVOUR not in command]
            not_run += [f"{command!r}: platform compose flavour" for command in block if command not in wanted]
            _prepare(section)
            outputs.setdefault(section.title, []).extend(_execute(wanted, platform, shell_env))
    with capsys.disabled():
        print(f"\n{document.name}: {sum(map(len, outputs.values()))} commands ran; not run yet:")
        for line in not_run:
            print(f"  - {line}")
    _check_expectations(outputs, platform)


def _prepare(section: Section) -> None:
    """What the runbook takes for granted at this point: the person has written a migration."""
    if "Phase 3" in section.title:
        Path("/srv/apps/myapp/migrations/001_init.sql").write_text(MIGRATION)


def _execute(wanted: list[str], platform: Server, env: dict[str, str]) -> list[str]:
    """Run a block in one shell, as a person pastes it; the output of each command."""
    mark = "--8<-- next command"
    script = "\n".join(f"echo '{mark}'\n{command}\necho \"exit $?\"" for command in wanted)
    follows = any("logs -f" in command for command in wanted)
    process = subprocess.Popen(
        ["bash", "-c", script],
        env=env | {"API_KEY": platform.key},
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=6 if follows else 240)
    except subprocess.TimeoutExpired:
        assert follows, f"{wanted} did not end"
        os.killpg(process.pid, 15)
        stdout, stderr = process.communicate()
        return [stdout]
    outputs = stdout.split(mark + "\n")[1:]
    for command, output in zip(wanted, outputs, strict=True):
        body, _, code = output.rpartition("exit ")
        assert int(code) == 0, f"{command}\n{output}\n{stderr}"
        if "curl -X POST" in command and "-r '.result'" not in command and not command.startswith("MIGRATION"):
            assert json.loads(body)["success"] is True, f"{command}\n{body}"
    return [output.rpartition("exit ")[0] for output in outputs]


def _check_expectations(outputs: dict[str, list[str]], platform: Server) -> None:
    """What the runbook says a person will see."""

    def of(title: str) -> list[str]:
        return next(lines for name, lines in outputs.items() if re.search(title, name, re.IGNORECASE))

    structure = of("Phase 1")[1]
    for name in ("config", "migrations", "seeds", "docker-compose.yml"):
        assert name in structure
    assert re.search(r"^PORT=3000$", of("Phase 2")[0], re.MULTILINE)
    database = [json.loads(text)["result"] for text in of("Phase 3") if text.startswith("{")]
    assert database[0]["exists"] is True
    assert database[-1]["tables"] == ["visits"]
    assert database[-1]["migrations"] == {"applied": ["001_init.sql"], "pending": []}
    deployed = [json.loads(text)["result"] for text in of("Phase 4")]
    assert deployed[0]["valid"] is True
    assert any("POSTGRES_USER" in item["problem"] for item in deployed[0]["warnings"])
    assert deployed[2]["health"] == "healthy"
    verified, health, ikoma = (json.loads(text) for text in of("Phase 5"))
    assert verified["result"]["verified"] is True
    assert health["result"]["health"] == "healthy"
    assert ikoma["status"] == "healthy"
    check = json.loads(next(text for text in of("Platform Health") if text.startswith("{")))["result"]
    assert check["healthy"] is True
    assert check["checks"] == {"docker": True, "postgres": True, "appsRoot": True}
    backups = list(Path("/var/backups/ikoma").glob("myapp-*.sql"))
    assert backups
    assert Path("/opt/ikoma/api-key.txt").stat().st_mode & 0o777 == 0o600
    old, platform.key = platform.key, Path("/opt/ikoma/api-key.txt").read_text().strip()
    assert old != platform.key
    assert platform.call("platform.info", key=old).status == 401
    assert platform.call("platform.info").status == 200
    review = "".join(of("Review"))
    assert '"deploy.up"' in review
    assert "secure_password_here" not in Path("/var/log/ikoma/audit.jsonl").read_text()


def _reason(section: Section) -> str:
    everything = "\n".join(command for block in section.blocks for command in block)
    if PLATFORM_FLAVOUR in everything:
        return "needs the platform compose flavour, which a later issue brings"
    return "advice for when something is broken, not a procedure to run"


def test_there_is_a_runbook_to_run() -> None:
    assert DOCUMENTS

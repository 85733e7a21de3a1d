"""The runbooks run, from their first command to their last, as printed, on a machine that install.sh made ready.

Also the commands that stand in the text run, such as `docker logs ikoma-postgres` in a list of solutions. What no shell
can run is the escalation table. What the machine lacks is replaced, and said by name in the output.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.install.machine import ROOT, Machine
from tests.install.platform import HOME, install, is_well, purge
from tests.runbook.document import sections
from tests.runbook.inline import inline_commands

DOCUMENTS = [path for path in (ROOT.parent / "shared" / "runbook.md", ROOT / "docs" / "runbook.md") if path.is_file()]
MIGRATION = "CREATE TABLE visits (\n\tid bigserial PRIMARY KEY,\n\tseen timestamptz NOT NULL DEFAULT now()\n);\n"
BACKUP = "myapp-20260101.sql"
MARK = "--8<-- next command"
STATE = "/tmp/shell"
FOLLOWED_SECONDS = 20
"""How long a person looks at `logs -f`, which ends by Ctrl-C alone."""

SYSTEMCTL = """#!/bin/sh
# Does what systemd would do for `systemctl restart docker`.
[ "$*" = "restart docker" ] || exit 1
former=$(cat /var/run/docker.pid)
kill "$former"
while [ -e "/proc/$former" ]; do sleep 0.2; done
setsid --fork dockerd </dev/null >>/var/log/dockerd.log 2>&1
until docker version >/dev/null 2>&1; do sleep 0.2; done
"""
REPLACED = {
    "systemctl": "no systemd runs here: dockerd is stopped and started",
    "<PORT>": "3000",
    "what `docker system prune -a` removed": "no registry answers here: the images that a build pulls are loaded again",
}


@dataclass
class Person:
    """Somebody at the machine's shell, who pastes one block after another."""

    machine: Machine
    images: tuple[str, ...]
    printed: dict[str, list[str]] = field(default_factory=dict)
    complaints: str = ""
    ran: int = 0

    @property
    def key(self) -> str:
        return self.machine.path(f"{HOME}/api-key.txt").read_text().strip()

    def paste(self, title: str, commands: tuple[str, ...]) -> None:
        """Run a block; each command must succeed, and each call too."""
        self.printed.setdefault(title, []).extend(self._run(commands))
        self.ran += len(commands)

    def _run(self, commands: tuple[str, ...]) -> list[str]:
        begin = f"set -a; [ ! -f {STATE} ] || . {STATE}; cd /; API_KEY=$(cat {HOME}/api-key.txt)"
        body = "\n".join(f"echo '{MARK}'\n{command}\necho \"exit $?\"" for command in commands)
        follows = any("logs -f" in command for command in commands)
        process = subprocess.Popen(
            self.machine.command("bash", "-c", f"{begin}\n{body}\nexport -p >{STATE}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate("y\n", timeout=FOLLOWED_SECONDS if follows else 600)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGTERM)
            stdout, stderr = process.communicate()
            assert follows, f"{commands} did not end\n{stdout}\n{stderr}"
            return [stdout]
        self.complaints += stderr
        outputs = stdout.split(f"{MARK}\n")[1:]
        for command, output in zip(commands, outputs, strict=True):
            answer, _, code = output.rpartition("exit ")
            assert int(code) == 0, f"{command}\n{output}\n{stderr}"
            if "curl -X POST" in command and "-r '.result'" not in command:
                assert json.loads(answer)["success"] is True, f"{command}\n{answer}"
        return [output.rpartition("exit ")[0] for output in outputs]

    def call(self, capability: str, **arguments: Any) -> Any:
        """Do what the person does besides, by curl."""
        address = f"http://localhost:3000/execute/{capability}"
        body = json.dumps({"appName": "myapp", **arguments})
        said = self.machine.do("curl", "-s", address, "-H", f"X-Api-Key: {self.key}", "-d", body)
        answer = json.loads(said)
        assert answer["success"] is True, answer
        return answer["result"]

    def status(self, key: str) -> str:
        address = "http://localhost:3000/execute/platform.info"
        asking = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", address, "-d", "{}", "-H", f"X-Api-Key: {key}")
        return self.machine.do(*asking)

    def psql(self, sql: str) -> str:
        return self.machine.do("docker", "exec", "ikoma-postgres", "psql", "-U", "ikoma", "-d", "myapp", "-tAc", sql)

    def shell(self, script: str) -> None:
        self.machine.do("bash", "-ec", script)

    def wait(self) -> None:
        """Look until the platform is well again, after something that restarts it."""
        deadline = time.monotonic() + 300
        while not is_well(self.machine):
            assert time.monotonic() < deadline, self.machine.run("docker", "ps", "-a").stdout
            time.sleep(0.5)


@pytest.fixture
def person(small: Machine, images: tuple[str, ...]) -> Iterator[Person]:
    """An installed IKOMA without apps, and a source to deploy."""
    small.do("rm", "-f", STATE)
    purge(small)
    install(small)
    small.do("sh", "-c", "mkdir -p /path/to/source && cp /ikoma/examples/hello-node/src/* /path/to/source/")
    small.put("/usr/local/bin/systemctl", SYSTEMCTL)
    yield Person(small, images)
    small.do("rm", "/usr/local/bin/systemctl")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_runbook_runs(document: Path, person: Person, capsys: pytest.CaptureFixture[str]) -> None:
    inline = inline_commands(document)
    first = person.key
    for section in sections(document):
        for number, block in enumerate(section.blocks):
            prepare(person, section.title, number)
            person.paste(section.title, block)
            person.wait()
        for command in inline.pop(section.path[-1] if section.path else "Runbook", []):
            person.paste(f"{section.title}, text", (command.replace("<PORT>", "3000"),))
            if "prune" in command:
                person.machine.load(person.images)
            person.wait()
    with capsys.disabled():
        print(f"\n{document.name}: {person.ran} commands ran as printed, none was left out. Replaced:")
        for what, why in REPLACED.items():
            print(f"  - {what}: {why}")
    assert inline == {}
    check_expectations(person, first)


def prepare(person: Person, title: str, number: int) -> None:
    """Do what the runbook takes for granted at this point."""
    if "Phase 3" in title:
        person.machine.do("tee", "/srv/apps/myapp/migrations/001_init.sql", input=MIGRATION)
    elif is_about_logs(title):  # "Stop" is the section before: the person has the app run again
        person.call("deploy.up")
    elif "In one call" in title:  # a release to go back from, the second time with a change of the database
        for _ in range(2 - number):
            person.shell("echo '// another' >>/srv/apps/myapp/src/server.js")
            if number:
                person.shell("echo 'CREATE TABLE later (n int);' >/srv/apps/myapp/migrations/002_later.sql")
            person.call("deploy.up")
    elif re.search(r"Emergency Rollback|By hand", title) and number == 0:  # a backup, and a source under git
        person.call("db.backup", backupName=BACKUP)
        person.shell(
            "cd /srv/apps/myapp/src; git init -q .; git add .; "
            "git -c user.name=me -c user.email=me@example.org commit -qm first; git tag previous-release-tag"
        )
        person.psql("INSERT INTO visits DEFAULT VALUES; CREATE TABLE since (n int)")


def is_about_logs(title: str) -> bool:
    return title.lower().endswith(" logs")


def check_expectations(person: Person, first: str) -> None:
    """Check that a person sees what the runbook says."""

    def of(title: str) -> list[str]:
        return next(lines for name, lines in person.printed.items() if re.search(title, name, re.IGNORECASE))

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
    assert "Listening on port 3000" in of(" logs$")[0], "`logs -f` shows what the app says"
    check = json.loads(next(text for text in of("Platform Health") if text.startswith("{")))["result"]
    assert check["healthy"] is True
    assert check["checks"] == {"docker": True, "postgres": True, "appsRoot": True}
    assert "1 row" in of("database connection fails$")[-1]
    assert ":3000" in of("won't start, text")[0]
    assert "database system is ready" in person.complaints, "docker logs tells what the container said to stderr there"
    assert "/srv/apps/myapp" in of("Disk")[1]
    assert person.psql("SELECT count(*) FROM visits").strip() == "0", "the restore has taken back what came since"
    assert person.psql("SELECT to_regclass('since') IS NULL").strip() == "t"
    assert person.machine.path(f"{HOME}/api-key.txt").stat().st_mode & 0o777 == 0o600
    assert person.key != first
    assert (person.status(first), person.status(person.key)) == ("401", "200")
    review = "".join(of("Review"))
    assert '"deploy.up"' in review
    assert "secure_password_here" not in person.machine.path("/var/log/ikoma/audit.jsonl").read_text()


def test_there_is_a_runbook_to_run() -> None:
    assert DOCUMENTS

"""A call asks once for what it needs: what one deploy asks of Compose, Docker and PostgreSQL is counted here.

Nothing is timed. Work of the server's own goes on meanwhile, but asks for none of this, or opens other files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps import make_app
from tests.rollouts.recording_server import COMMAND, FILE
from tests.support import Server, server, stop_apps

APP = "counted"


@pytest.fixture(scope="module")
def counted() -> Iterator[Server]:
    with server(command=COMMAND) as made:
        yield made
        stop_apps(made)


def ask(counted: Server, capability: str, app: str = APP) -> Counter[str]:
    """Return what is asked in one call, in the order in which it is asked first."""
    file = Path(counted.env["IKOMA_STATE"]) / FILE
    file.write_text("")
    counted.do(capability, {"appName": app})
    return Counter(file.read_text().splitlines())


def test_a_deploy_asks_once(counted: Server) -> None:
    folder = make_app(counted, APP)
    counted.do("db.create", {"appName": APP})
    compose = folder / "docker-compose.yml"
    for number, migrated in enumerate((True, False, True)):
        compose.write_text(compose.read_text() + f"# {number}\n")
        if migrated:
            (folder / "migrations" / f"00{number + 1}_things.sql").write_text(f"CREATE TABLE t{number} (id int);\n")
        asked = ask(counted, "deploy.up")
        found = {question: count for question, count in asked.items() if not question.startswith("open ")}
        found.pop("list own networks", None)  # of what was replaced, where something was
        found.pop("remove a network", None)
        # For validation, before a change, and after it where there was one: a session of the last second serves again.
        assert found.pop("log in for the ledger", 0) <= (3 if migrated else 2)
        assert found == {
            "resolve": 1,
            "read YAML": 1,
            "parse": 1,
            "read a migration": len(list((folder / "migrations").iterdir())),
            "judge": 2,  # what was validated, and what will run
            "judge what is made": 1,
            "redact": 1,
            "wait for old requests": 1,
            # For validation, for what will run, and at the creation: others make them meanwhile.
            "list volumes and networks": 3,
            **({"connect for a migration": 1, "connect for a backup": 1} if migrated else {}),
        }, number
        assert asked["list own networks"] <= 1


def test_what_stood_by_goes_while_old_requests_end(counted: Server) -> None:
    compose = make_app(counted, "counted-standby") / "docker-compose.yml"
    text = compose.read_text()
    for number in range(3):  # the last one ends what was kept of the first
        compose.write_text(text.replace("    restart:", f"    environment: {{NUMBER: '{number}'}}\n    restart:"))
        asked = ask(counted, "deploy.up", "counted-standby")
    assert (asked["wait for old requests"], asked["remove a network"]) == (1, 1)
    order = list(asked)
    assert order.index("wait for old requests") < order.index("remove a network")


def test_status_and_health_open_no_file_twice(counted: Server) -> None:
    for capability in ("apps.status", "apps.health"):
        ask(counted, capability)  # what is remembered of releases is so from here on
        calls = [ask(counted, capability) for _ in range(5)]  # in one of them nothing else looks at the app
        opened = [
            {file: count for file, count in call.items() if file.startswith("open ") and count > 1} for call in calls
        ]
        assert {} in opened, opened
        assert all(call["redact"] == 1 for call in calls)

"""Losses for good are put before the person at the terminal; a script says --yes."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support import IKOMA, Server

APP = "asked-app"


@pytest.fixture(autouse=True)
def app(server: Server) -> Iterator[None]:
    server.do("apps.init", {"appName": APP})
    server.do("db.create", {"appName": APP})
    server.do("db.migrate", {"appName": APP, "sql": "CREATE TABLE notes (a int); INSERT INTO notes VALUES (1), (2)"})
    yield
    server.call("apps.remove", {"appName": APP})


def at_terminal(server: Server, *arguments: str, types: str) -> tuple[int, str]:
    """A command of a person at a terminal, who types this when asked: the exit code, and what was shown."""
    ours, theirs = pty.openpty()
    ran = subprocess.Popen([IKOMA, *arguments], env=server.env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown, typed, ends = "", False, time.monotonic() + 120
    with suppress(OSError):  # a terminal that its process has left
        while time.monotonic() < ends:
            if not select.select([ours], [], [], 0.2)[0]:
                continue
            piece = os.read(ours, 4096)
            if not piece:
                break
            shown += piece.decode(errors="replace")
            if not typed and re.search(r"(to go on: |\[y/N\]: )$", shown):
                os.write(ours, f"{types}\n".encode())
                typed = True
    os.close(ours)
    return ran.wait(timeout=60), shown


def test_remove_shows_what_goes_and_wants_the_name(server: Server) -> None:
    code, shown = at_terminal(server, "remove", APP, types="another")
    assert code == 1
    for part in ("Lost:", "notes (2 rows)", "Kept:", f"Type the name, {APP}", "Nothing was changed."):
        assert part in shown, shown
    assert (server.apps / APP).is_dir()
    code, shown = at_terminal(server, "remove", APP, types=APP)
    assert code == 0, shown
    assert not (server.apps / APP).exists()


def test_other_calls_are_asked_with_yes_or_no(server: Server) -> None:
    made = server.do("keys.create", {"name": "doomed", "role": "observer"})
    code, shown = at_terminal(server, "keys", "revoke", made["id"], types="n")
    assert (code, "key doomed" in shown, "Nothing was changed." in shown) == (1, True, True)
    assert server.call("platform.info", key=made["key"]).status == 200
    code, shown = at_terminal(server, "call", "keys.revoke", "--arg", f"id={made['id']}", types="y")
    assert code == 0, shown
    assert server.call("platform.info", key=made["key"]).code == "unauthenticated"


def test_a_script_without_yes_is_refused_with_2_and_changes_nothing(server: Server) -> None:
    refused = server.cli("remove", APP, input=f"{APP}\n")
    assert refused.returncode == 2
    assert "notes (2 rows)" in refused.stderr
    assert "--yes" in refused.stderr
    as_json = server.cli("call", "apps.remove", "--app", APP, "--json")
    assert as_json.returncode == 2
    assert json.loads(as_json.stdout)["code"] == "confirmation_needed"
    assert (server.apps / APP).is_dir()
    agreed = server.cli("remove", APP, "--yes")
    assert agreed.returncode == 0, agreed.stderr
    assert not (server.apps / APP).exists()


def test_what_can_be_brought_back_is_not_asked_for(server: Server) -> None:
    server.do("env.set", {"appName": APP, "name": "TOKEN", "value": "former-value"})
    for command in (
        ("env-unset", APP, "--name", "TOKEN"),
        ("env-restore", APP, "TOKEN"),
        ("rm", APP, "--path", "src/README.md"),
        ("domain-add", APP, "--domain", "asked.example.com"),
        ("domain-remove", APP, "--domain", "asked.example.com"),
        ("migrate", APP, "--sql", "CREATE TABLE empty (a int); DROP TABLE empty"),
        ("down", APP),
    ):
        ran = server.cli(*command)
        assert ran.returncode == 0 or "file_missing" in ran.stderr, (command, ran.stderr)
    assert (server.apps / APP / ".env").read_text().endswith("TOKEN=former-value\n")
    shown = server.cli("env-history", APP, "--json").stdout
    assert "TOKEN" in shown
    assert "former-value" not in shown


def test_a_migration_that_takes_rows_is_asked_for_and_one_that_does_not_is_not(server: Server) -> None:
    refused = server.cli("migrate", APP, "--sql", "ALTER TABLE notes DROP COLUMN a")
    assert (refused.returncode, "the column notes.a, of 2 rows" in refused.stderr) == (2, True)
    assert server.cli("seed", APP, "--sql", "DELETE FROM notes").returncode == 2
    assert server.do("db.query", {"appName": APP, "sql": "SELECT count(a) FROM notes"})["rows"] == [[2]]
    assert server.cli("seed", APP, "--sql", "INSERT INTO notes VALUES (3)").returncode == 0
    assert server.cli("migrate", APP, "--sql", "ALTER TABLE notes DROP COLUMN a", "--yes").returncode == 0


@pytest.mark.parametrize(
    "misspelt", [("remov", APP), ("env-unse", APP), ("proxy-sto",), ("keys", "revok", "x"), ("remove", APP, "--ye")]
)
def test_no_suggestion_names_what_takes_away(server: Server, misspelt: tuple[str, ...]) -> None:
    ran = server.cli(*misspelt)
    assert ran.returncode == 2
    assert "mean" not in ran.stderr
    assert "mean" in server.cli("statu", APP).stderr


def test_a_misspelt_app_is_not_guessed_where_it_would_be_removed(server: Server) -> None:
    for capability in ("apps.remove", "deploy.down", "files.delete", "env.unset"):
        more = {"files.delete": {"path": "x"}, "env.unset": {"name": "X"}}.get(capability, {})
        refused = server.call(capability, {"appName": APP[:-1], **more})
        assert refused.code == "app_not_found"
        assert APP not in json.dumps(refused.body).replace(APP[:-1] + "'", "")
    assert server.call("apps.status", {"appName": APP[:-1]}).status in (200, 404)
    assert server.call("apps.validate", {"appName": APP[:-1]}).body["hint"] == f"Did you mean {APP}?"

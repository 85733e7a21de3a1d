"""What the command line shows in a terminal of 80 columns, and what it takes for wrong usage."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest
from click.testing import CliRunner

from ikoma.cli import brief, output
from ikoma.cli.audit import _row
from ikoma.cli.run import run
from ikoma.cli.verbs import verb_command

RELEASE = {
    "id": "20261125-173855-1841",
    "state": "succeeded",
    "current": False,
    "caller": "admin",
    "startedAt": "2026-11-25T17:38:55.120Z",
    "finishedAt": "2026-11-25T17:38:59.120Z",
    "commit": "a" * 40,
    "cause": None,
    "reason": "A new colour for\nthe [front] page, as it was asked for",
    "servedAt": "2026-11-25T17:38:58.120Z",
    "pinned": False,
    "compatible": True,
    "backup": None,
}
PREVIEW = {
    "preview": "myapp--feature-search-38e7a3",
    "ref": "feature/search",
    "commit": "b" * 40,
    "health": "healthy",
    "urls": ["http://127.0.0.1:28333", "http://feature-search-38e7a3.myapp.localhost"],
    "database": True,
    "caller": "admin",
    "createdAt": "2026-11-25T17:38:55Z",
    "expiresAt": "2026-11-28T17:38:55Z",
}
SERVICE = {
    "name": "web",
    "container": "myapp-web-1",
    "state": "running",
    "health": "healthy",
    "exitCode": None,
    "image": "ikoma-app/myapp/web:20261125-173855-1841",
    "createdAt": "2026-11-25T17:38:55Z",
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, result: Any, where: io.StringIO | None = None) -> list[str]:
    """The lines that a person sees."""
    monkeypatch.setenv("TERM", "dumb")  # 80 columns, no colours
    with contextlib.redirect_stdout(where or Terminal()) as written:
        output.show(result, as_json=False)
    return [line.rstrip() for line in written.getvalue().splitlines() if line.strip()]


def test_a_release_is_one_line_with_its_whole_id(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = RELEASE | {"state": "failed", "cause": "The service web exited with code 4", "current": True}
    lines = shown(monkeypatch, brief.of("release.list", {"releases": [RELEASE, failed]}))
    assert max(map(len, lines)) <= 80
    [one, two] = lines[-2:]
    assert one.split("   ")[:3] == [" 20261125-173855-1841", "succeeded", "2026-11-25 17:38"]
    assert one.endswith("A new colour for the [f…")
    assert "failed *" in two
    assert "The service web exi" in two


def test_an_app_without_releases_has_none() -> None:
    assert brief.of("release.list", {"releases": []}) == {"releases": []}


def test_a_plan_says_what_changes_besides_services(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"plan": "f" * 64, "rest": ["x-ikoma: hold: 15 → 20"], "rollback": None}
    assert "other changes  x-ikoma: hold: 15 → 20" in shown(monkeypatch, brief.of("deploy.plan", found))


@pytest.mark.parametrize(
    ("name", "row", "whole", "left"),
    [
        ("previews", PREVIEW, ("preview", "ref", "health", "expiresAt"), ("commit", "urls")),
        ("services", SERVICE, ("name", "container", "state", "health"), ("image", "createdAt")),
    ],
)
def test_a_table_that_is_too_wide_leaves_columns_out_and_says_so(
    monkeypatch: pytest.MonkeyPatch, name: str, row: dict[str, Any], whole: tuple[str, ...], left: tuple[str, ...]
) -> None:
    text = "\n".join(lines := shown(monkeypatch, {name: [row]}))
    assert max(map(len, lines)) <= 80
    assert all(row[column] in text for column in whole)
    assert all(str(row[column]) not in text for column in left)
    assert "--json" in text
    assert all(column in text for column in left)


FINDING = {
    "file": "docker-compose.yml",
    "line": 12,
    "problem": "The network proxy is shared with others: the app gets one of its own, for its services [alone].",
    "fix": "Leave `external` out.",
    "rule": None,
    "place": "networks.proxy",
}


def test_findings_are_sentences_with_their_place_and_their_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"valid": False, "errors": [FINDING | {"line": None}], "warnings": [FINDING], "folders": []}
    lines = shown(monkeypatch, found)
    assert max(map(len, lines)) <= 80
    assert lines[-3].startswith("warning: docker-compose.yml:12: The network proxy is shared with others: the")
    assert lines[-1] == "  fix: Leave `external` out."
    whole = shown(monkeypatch, found, io.StringIO())
    assert f"error: docker-compose.yml: {FINDING['problem']}" in whole
    assert f"warning: docker-compose.yml:12: {FINDING['problem']}" in whole


def test_migrations_of_a_plan_fit_although_a_release_command_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    command = {"name": "release command of web: python -c " + "x " * 60, "compatible": True, "reasons": [], "locks": []}
    planned = {"plan": "f" * 64, "rollback": None, "migrations": [command | {"warnings": ["Nobody can judge it."]}]}
    lines = shown(monkeypatch, brief.of("deploy.plan", planned))
    assert max(map(len, lines)) <= 80
    assert lines[-1].endswith("- Nobody can judge it.")


def test_a_value_without_spaces_is_folded_and_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, {"backupPath": f"/var/{'b' * 150}.sql"})
    assert max(map(len, lines)) <= 80
    assert "".join(line.removeprefix("backupPath").strip() for line in lines) == f"/var/{'b' * 150}.sql"


def test_a_file_is_printed_as_it_is_and_its_versions_can_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "services:\n  web: {}\n"
    found = {"content": text, "encoding": "utf-8", "sha256": "f" * 64, "size": 21, "truncated": False}
    assert brief.of("files.read", found) == text
    assert brief.of("files.read", found | {"truncated": True})["content"] == text
    version = {"version": "20261130T003448152115Z-18b7cb099a9ea3f5-41bbfe", "path": "src/index.js", "kind": "file"}
    more = {"happened": "overwritten", "at": "2026-11-30T00:34:48Z", "size": 6, "sha256": "f" * 64}
    lines = shown(monkeypatch, {"versions": [version | more]})
    assert max(map(len, lines)) <= 80
    assert any(version["version"] in line for line in lines)


def test_a_public_key_is_copied_as_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    key = f"ssh-ed25519 {'A' * 68} ikoma:shop"
    assert f"publicKey  {key}" in shown(monkeypatch, {"publicKey": key, "created": True})


def test_a_diff_is_shown_line_by_line_with_what_to_do_next(monkeypatch: pytest.MonkeyPatch) -> None:
    diff = f"--- compose.yaml\n+++ compose.yaml\n+{'x' * 90}\n"
    found = {"changes": [], "files": [{"path": "compose.yaml", "diff": diff}], "left": [], "sha256": "f" * 64}
    lines = shown(monkeypatch, brief.of("apps.adapt", found | {"written": False}))
    assert lines[0].startswith("✓ This is what it would become; --write")
    assert lines[-3:] == diff.splitlines()
    nothing = shown(monkeypatch, brief.of("apps.adapt", found | {"files": [], "sha256": None, "written": False}))
    assert nothing[0] == "✓ The compose file needs no change for its routes."


def test_operations_and_entries_of_the_audit_log_are_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = {
        "id": "8fa3747dd6e950351a9d5d16",
        "state": "succeeded",
        "capability": "deploy.rollback",
        "appName": "hello",
        "caller": "admin",
        "startedAt": "2026-11-30T00:10:40.710Z",
        "finishedAt": None,
        "step": "web: waiting for /health",
    }
    lines = shown(monkeypatch, brief.of("operations.list", {"operations": [operation]}))
    assert max(map(len, lines)) <= 80
    assert " 8fa3747dd6e950351a9d5d16   succeeded   deploy.rollback   hello   11-30 00:10" in lines
    entry = {"timestamp": "2026-11-30T00:14:57.100Z", "caller": "admin", "role": "admin", "capability": "deploy.up"}
    entry |= {"arguments": {"appName": "hello"}, "result": "error", "code": "deploy_failed", "duration": 3422.1}
    with contextlib.redirect_stdout(Terminal()):
        row = _row(entry)
    lines = shown(monkeypatch, {"audit": [row] * 2})
    assert max(map(len, lines)) <= 80
    assert " 11-30 00:14:57   admin    deploy.up    hello   error    deploy_failed" in lines


def test_an_option_of_a_command_to_run_is_told_where_it_belongs() -> None:
    done = CliRunner().invoke(run, ["shop", "python", "-c", "1"])
    assert done.exit_code == 2
    assert "Put -- before the command: ikoma run APP -- COMMAND" in done.output


def test_an_identifier_is_whole_also_where_the_terminal_is_too_narrow_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "a" * 63 + "--" + "b" * 20
    text = "\n".join(shown(monkeypatch, {"previews": [PREVIEW | {"preview": long}]}))
    assert long in text
    assert "healthy" in text


def test_a_pipe_gets_all_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ikoma-app/myapp/web:20261125" in "\n".join(shown(monkeypatch, {"services": [SERVICE]}, io.StringIO()))


def test_maintenance_must_say_on_or_off() -> None:
    done = CliRunner().invoke(verb_command("maintenance"), ["shop"])
    assert done.exit_code == 2
    assert "Missing option '--on' / '--off'" in done.output

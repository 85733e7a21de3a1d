"""Each command in a terminal of 80 columns: what a person sees is kept in golden/, and was looked at.

    IKOMA_GOLDEN=write .venv/bin/python -m pytest tests/cli/test_golden.py    writes the files anew

What differs from run to run, times, ids, ports, sizes, is compared by its form; ids are kept as others of the same
length, so that tables stay tables.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from ikoma.cli import main
from tests.apps import COMPOSE, SERVE, make_app
from tests.cli.terminal import Terminal
from tests.git_host import GitHost
from tests.images import busybox_image
from tests.support import Server, eventually
from tests.support import server as started_server

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden")
WRITES = os.environ.get("IKOMA_GOLDEN") == "write"
SHOWN_ELSEWHERE = {"up", "mcp", "psql", "completion", "proxy-stop", "upgrade", "backup-download", "recover"}
"""Commands without a page: servers, psql's own output, a shell's script, a file that is fetched, a new server."""

_IDS = [
    (re.compile(r"\d{8}-\d{6}-\d{6}\b"), "20260102-030405-067890"),
    (re.compile(r"\d{8}-\d{6}-([0-9a-f]{4})\b"), "20260102-030405-abcd"),
    (re.compile(r"\bsha256:[0-9a-f]{12}\b"), "sha256:0123456789ab"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "0123456789abcdef" * 4),
    (re.compile(r"\b[0-9a-f]{40}\b"), "0123456789" * 4),
    (re.compile(r"\b[0-9a-f]{24}\b"), "0123456789abcdef01234567"),
    (re.compile(r"\bikoma_[A-Za-z0-9_-]{43}"), "ikoma_shown-once-and-kept-nowhere-0123456789abcdefg"),
    (re.compile(r"\b(key|approval|waiver)_[0-9a-f]{12}\b"), r"\1_0123456789ab"),
    (re.compile(r"\bwhsec_\S{44}"), "whsec_shown-once-and-kept-nowhere-0123456789abcdefg="),
    (re.compile(r"AAAA[A-Za-z0-9+/]{64}"), "AAAA" + "0123456789abcdef" * 4),
    (re.compile(r"\d{8}T\d{12}Z-[0-9a-f]{16}-[0-9a-f]{6}"), "20260102T030405678901Z-0123456789abcdef-012345"),
    (re.compile(r"\b(\w+)-\d{8}-\d{6}\.sql"), r"\1-20260102-030405.sql"),
    (re.compile(r"/tmp/ikoma-golden-\w{8}"), "/tmp/ikoma-golden-00000000"),
    (re.compile(r"(127\.0\.0\.1|localhost|example\.com):\d{5}\b"), r"\1:12345"),
    (re.compile(r"\bport \d{5}\b"), "port 12345"),
]
"""Replaced when they are written down, by others of their length."""

_FORMS = [
    (re.compile(r"^DNS  .*?(?=^certificate)", re.M | re.S), "DNS <what the name servers of this place say>\n"),
    (re.compile(r"\w{3}, \d\d \w{3} \d{4} [0-9:]{8} GMT"), "<value>"),
    (re.compile(r'"[0-9a-f]{6,}-[0-9a-f]+"'), "<value>"),
    (
        re.compile(
            r"\b(in )?\d+(\.\d+)? ?(B|[KMGT]iB|ms|s|min|h|days?)\b( \d+ (s|min)\b)?( ago)?"
            r"|\bnow\b|\b\d{4}-\d\d-\d\d(T[0-9:.]+Z)?\b"
        ),
        "<value>",
    ),
    (re.compile(r"\b\d+ (entries|anchors?)\b"), "<value>"),
    (re.compile(r"(127\.0\.0\.1|localhost):\d+"), "<address>"),
    (re.compile(r"\b\d+\.\d+\b"), "<value>"),
    (re.compile(r" {2,}"), "  "),
    (re.compile(r"-{3,}"), "---"),
    (re.compile(r"(?m)^(  \| .*\n)\1+"), r"\1"),  # as often as it was started until it was looked at
    (re.compile(r"\bstate  (running|restarting|exited)\b"), "state  <value>"),
]


Step = tuple[str, list[str]] | tuple[str, list[str], str]
"""The name of its page, the arguments, and what is typed where something is asked."""


def steps(server: Server, host: GitHost) -> Iterator[Step]:
    """A life of an app and its neighbours, command by command; what stands between is made by hand."""
    yield "doctor", ["doctor"]
    yield "check", ["check"]
    yield "info", ["info"]
    yield "list-empty", ["list"]
    yield "trash-empty", ["trash"]
    yield "operations-empty", ["operations", "deli"]
    yield "init", ["init", "deli", "--template", "python"]
    folder = server.apps / "deli"
    write_app(folder)
    yield "status-stopped", ["status", "deli"]
    yield "put", ["put", "deli", "src/p.md", str(folder / "src" / "ok")]
    yield "edit", ["edit", "deli", "src/p.md", "ok", "well"]
    yield "cat", ["cat", "deli", "docker-compose.yml"]
    yield "files", ["files", "deli"]
    yield "rm", ["rm", "deli", "src/p.md"]
    yield "history", ["history", "deli"]
    yield "unrm", ["unrm", "deli", "src/p.md"]
    yield "env-example", ["env-example", "deli"]
    yield "env-set", ["env-set", "deli", "GREETING", "hello"]
    yield "env-generate", ["env-generate", "deli", "SESSION_KEY"]
    (server.folder / "more.env").write_text("MAIL_FROM=shop@example.com\nGREETING=hi\n")
    yield "env-import", ["env-import", "deli", str(server.folder / "more.env")]
    yield "env-unset", ["env-unset", "deli", "MAIL_FROM"]
    yield "env-list", ["env-list", "deli"]
    yield "env-history", ["env-history", "deli"]
    yield "env-restore", ["env-restore", "deli", "MAIL_FROM"]
    yield "validate", ["validate", "deli"]
    yield "db-create", ["db-create", "deli"]
    yield "db-status", ["db-status", "deli"]
    yield "migrate-dry-run", ["migrate", "deli", "--dry-run"]
    yield "migrate", ["migrate", "deli"]
    yield "seed", ["seed", "deli"]
    yield "query", ["query", "deli", "SELECT id, name, price, made FROM items ORDER BY id"]
    yield "query-wide", ["query", "deli", WIDE]
    yield "query-empty", ["query", "deli", "SELECT * FROM items WHERE false"]
    yield "query-failed", ["query", "deli", "SELECT nothing FROM items"]
    yield "plan", ["plan", "deli"]
    yield "deploy", ["deploy", "deli", "--reason", "the first one"]
    yield "list", ["list"]
    yield "status", ["status", "deli"]
    yield "open", ["open", "deli"]
    yield "health", ["health", "deli"]
    yield "request", ["request", "deli", "/ok"]
    yield "verify", ["verify", "deli"]
    yield "run", ["run", "deli", "--", "echo", "a line of the command"]
    yield "top", ["top", "--once"]
    yield "domain-add", ["domain-add", "deli", "shop.example.com"]
    yield "domain-platform", ["domain-platform"]
    yield "domains", ["domains", "deli"]
    yield "domain-remove", ["domain-remove", "deli", "shop.example.com"]
    yield "backup", ["backup", "deli", "before-the-sale.sql"]
    (folder / "src" / "ok").write_text("ok, but other\n")
    (folder / "migrations" / "002_colour.sql").write_text("ALTER TABLE items ADD COLUMN colour text;\n")
    yield "plan-changed", ["plan", "deli"]
    yield "deploy-again", ["deploy", "deli", "--reason", "a colour for each item"]
    yield "releases", ["releases", "deli"]
    yield "release", ["release", "deli"]
    yield "diff", ["diff", "deli"]
    yield "pin", ["pin", "deli", latest(server, "deli")]
    yield "scale", ["scale", "deli", "web", "2"]
    yield "image", ["image", "deli", "web", busybox_image()]
    yield "plan-rollback", ["plan", "deli", "--rollback"]
    yield "rollback", ["rollback", "deli"]
    yield "restart", ["restart", "deli"]
    yield "logs-none", ["logs", "deli"]
    yield "maintenance", ["maintenance", "deli", "on"]
    yield "list-maintenance", ["list"]
    yield "maintenance-off", ["maintenance", "deli", "off"]
    make_app(server, "falters", command=FAILS)
    yield "deploy-failed", ["deploy", "falters"]
    yield "logs", ["logs", "falters", "--tail", "1"]
    yield "release-failed", ["release", "falters", latest(server, "falters")]
    (server.apps / "falters" / "docker-compose.yml").write_text(REFUSED)
    yield "validate-failed", ["validate", "falters"]
    yield "deploy-refused", ["deploy", "falters"]
    yield "waive", ["waive", "falters", "privileged", "it is tried out", in_a_month()]
    rule = server.do("apps.validate", {"appName": "falters"})["errors"][0]["rule"]
    waived = server.do(
        "policy.waive", {"appName": "falters", "rule": rule, "reason": "it is tried out", "expires": in_a_month()}
    )
    yield "validate-waived", ["validate", "falters"]
    yield "unwaive", ["unwaive", "falters", waived["id"]]
    yield from repository(server, host)
    yield "operations", ["operations"]
    yield "operations-of", ["operations", "deli"]
    operation = server.do("operations.list", {"appName": "deli", "limit": 1})["operations"][0]["id"]
    yield "wait", ["wait", deployed(server)]
    failed = server.do("operations.list", {"appName": "falters", "limit": 20})["operations"]
    yield "wait-failed", ["wait", next(item["id"] for item in failed if item["state"] == "failed")]
    yield "cancel", ["cancel", operation]
    yield from people(server)
    yield "down", ["down", "deli"]
    yield "db-restore", ["db-restore", "deli", "before-the-sale.sql", "--plan"]
    yield "db-restore-done", ["db-restore", "deli", "before-the-sale.sql", "--yes"]
    yield "db-status-undo", ["db-status", "deli"]
    yield "db-restore-time", ["db-restore", "deli", "--time", "2026-01-02T03:04:05Z"]
    yield "backup-create", ["backup-create", "deli", "all-of-it.backup"]
    yield "backups", ["backups", "deli", "--limit", "1"]
    yield "backup-verify", ["backup-verify", "deli", "all-of-it.backup"]
    yield "backup-delete", ["backup-delete", "deli", "before-the-sale.sql", "--yes"]
    yield "schedule-set", ["schedule-set", "deli", "nightly", "0 3 * * *", "--zone", "Europe/Berlin"]
    yield "schedule-run", ["schedule-run", "deli", "nightly"]
    yield "schedules", ["schedules", "deli", "--runs", "0"]
    eventually(lambda: schedule_has_run(server, "deli"), "the schedule's run has ended")
    yield "schedule-remove", ["schedule-remove", "deli", "nightly"]
    yield "remove-asked", ["remove", "deli"], "del\r"
    yield "remove", ["remove", "deli"], "deli\r"
    yield "trash", ["trash"]
    yield "call", ["call", "platform.info"]
    yield "usage", ["status"]
    yield "no-app", ["status", "delii"]
    yield "no-command", ["deplyo", "deli"]
    yield "no-server", ["list"]
    yield "restore", ["restore", "deli"]
    yield "import", ["import", str(write_project(server.folder / "brought")), "--as", "bought", "--yes"]
    assert server.cli("remove", "deli", "--yes").returncode == 0
    entry = str(server.do("trash.list")["entries"][0]["id"])
    yield "trash-delete", ["trash-delete", entry, "--yes"]


def write_project(folder: Path) -> Path:
    """A project as a person has it under plain Compose."""
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "ok").write_text("ok\n")
    (folder / ".env").write_text("GREETING=hello\n")
    text = COMPOSE.format(image=busybox_image(), command=SERVE, health="/ok").replace("./src", "./site")
    (folder / "compose.yaml").write_text(text.replace("    init: true", "    init: true\n    privileged: true"))
    return folder


def repository(server: Server, host: GitHost) -> Iterator[Step]:
    """An app whose source is in git, with a webhook and a preview."""
    host.make("diary", {"ok": "first"})
    make_app(server, "diary")
    yield "clone", ["clone", "diary", host.url("diary"), "--overwrite"]
    host.branch("diary", "new-look", {"ok": "new look"})
    yield "checkout", ["checkout", "diary", "main"]
    yield "source-key", ["source-key", "diary"]
    yield "source-token", ["source-token", "diary", "localhost", "--token", "token-of-the-host"]
    yield "adapt", ["adapt", "diary"]
    yield "hook-none", ["hook", "diary"]
    yield "hook-create", ["hook-create", "diary"]
    yield "hook", ["hook", "diary"]
    yield "hook-remove", ["hook-remove", "diary", "--yes"]
    yield "deploy-blog", ["deploy", "diary"]
    yield "previews-none", ["previews", "diary"]
    yield "preview", ["preview", "diary", "new-look"]
    yield "previews", ["previews", "diary"]
    yield "preview-remove", ["preview-remove", "diary", "new-look"]
    yield "release-abandon", ["release-abandon", "diary"]
    yield "runbook", ["runbook", "diary"]


def people(server: Server) -> Iterator[Step]:
    """Keys, approvals, the audit log."""
    yield "keys-none", ["keys", "list"]
    yield "keys-wrong", ["keys", "create", "ci", "--role", "boss"]
    yield "keys-create", ["keys", "create", "ci", "--role", "operator", "--apps", "deli", "--needs-approval"]
    identity = server.do("keys.list")["keys"][0]["id"]
    yield "keys", ["keys", "list"]
    yield "keys-rotate", ["keys", "rotate", identity], "y\r"
    yield "approvals-none", ["approvals", "list"]
    made = server.do("keys.create", {"name": "agent", "role": "admin", "needsApproval": True})
    assert server.call("apps.remove", {"appName": "diary"}, key=made["key"]).code == "approval_needed"
    yield "approvals", ["approvals", "list"]
    yield "approvals-deny", ["approvals", "deny", server.do("approvals.list")["approvals"][0]["id"]]
    yield "keys-revoke-asked", ["keys", "revoke", identity], "n\r"
    yield "keys-revoke", ["keys", "revoke", identity, "--yes"]
    yield "audit", ["audit", "--result", "error", "--limit", "2"]
    yield "audit-verify", ["audit", "verify"]


def write_app(folder: Path) -> None:
    """A web server with a table, instead of what the template has made."""
    compose = COMPOSE.format(image=busybox_image(), command=SERVE, health="/ok")
    (folder / "docker-compose.yml").write_text(compose)
    (folder / "src" / "ok").write_text("ok\n")
    (folder / "migrations" / "001_items.sql").write_text(
        "CREATE TABLE items (id int PRIMARY KEY, name text, price numeric, made date);\n"
    )
    (folder / "seeds" / "001_items.sql").write_text(
        "INSERT INTO items VALUES (1, 'a blue bowl', 12.5, '2026-01-02'), (2, 'a cup', 4, NULL);\n"
    )


def deployed(server: Server) -> str:
    found = server.do("operations.list", {"appName": "deli", "limit": 50})["operations"]
    return str(next(item["id"] for item in found if item["capability"] == "deploy.up"))


def in_a_month() -> str:
    return (datetime.now(UTC) + timedelta(days=29, hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


def latest(server: Server, app: str) -> str:
    return str(server.do("release.list", {"appName": app})["releases"][0]["id"])


def schedule_has_run(server: Server, app: str) -> bool:
    [schedule] = server.do("schedules.list", {"appName": app})["schedules"]
    return schedule["recent"][0]["outcome"] not in ("asked", "running")


ASKS = {"remove": "to go on:", "keys": "[y/N]:"}
WIDE = (
    "SELECT 1 AS id, repeat('a long text ', 12) AS description, repeat('b', 70) AS checksum, now()::date AS day, "
    '\'{"colour": "blue", "sizes": [1, 2, 3]}\'::jsonb AS properties FROM items'
)
FAILS = '["sh", "-c", "echo the database is not there; exit 4"]'
REFUSED = """services:
  web:
    image: busybox:1.37
    privileged: true
    ports: ["80:80"]
    volumes: ["/etc:/host"]
"""


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose name has the same length wherever this runs: lines are wrapped where they were."""
    folder = Path(tempfile.mkdtemp(prefix="ikoma-golden-", dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def folders(root: Path) -> dict[str, str]:
    names = {"APPS_ROOT": "apps", "IKOMA_HOME": "home", "IKOMA_STATE": "state", "BACKUPS_ROOT": "backups"}
    return {name: str(root / part) for name, part in names.items()} | {"AUDIT_LOG": str(root / "audit.jsonl")}


@pytest.mark.timeout(1800)
def test_every_command_is_shown_as_it_was_looked_at(host: GitHost, tmp_path: Path, short_folder: Path) -> None:
    if WRITES:
        for path in GOLDEN.glob("*.txt"):
            path.unlink()
    settings = {"SOURCE_HOSTS": "localhost", "SOURCE_CA_FILE": str(host.ca_file), **folders(short_folder)}
    wrong: list[str] = []
    seen: set[str] = set()
    with started_server(**settings) as server:
        for name, arguments, *typed in steps(server, host):
            env = dict(server.env)
            if name == "no-server":
                env |= {"HTTP_PORT": "1", "IKOMA_STATE": str(tmp_path)}
            with Terminal(arguments, env) as terminal:
                if typed:
                    terminal.until(ASKS[arguments[0]])
                    terminal.type(typed[0].encode())
                code = terminal.end()
            seen.add(arguments[0] if name != "no-command" else "deploy")
            wrong += compared(name, page(server, arguments, terminal.screen(), code))
    assert not wrong, "\n\n".join(wrong)
    assert set(main.list_commands(click.Context(main))) == seen | SHOWN_ELSEWHERE
    assert {path.stem for path in GOLDEN.glob("*.txt")} >= {"list", "status"}


def page(server: Server, arguments: list[str], screen: str, code: int) -> str:
    """A capture with its command line, and with other ids of the same length for those of this run."""
    text = f"$ ikoma {subprocess.list2cmdline(arguments)}\n{screen}" + (f"[exit code {code}]\n" if code else "")
    text = text.replace(str(server.folder), "/tmp/folder").replace(str(ROOT), "/checkout")
    for pattern, other in _IDS:
        text = pattern.sub(other, text)
    return text


def compared(name: str, made: str) -> Iterator[str]:
    """Say what is wrong with a capture: it is another than its golden file, or wider than the terminal."""
    path = GOLDEN / f"{name}.txt"
    if WRITES:
        path.write_text(made)
        return
    wanted = path.read_text() if path.exists() else ""
    if name == "doctor":  # how it is differs from machine to machine; what is looked at does not
        wanted, made = ("\n".join(re.findall(r"(?m)^[✓✗–] (\S+(?: \S+)*)  ", text)) for text in (wanted, made))
    if not are_alike(form(wanted), form(made)):
        yield f"{name}: wanted\n{wanted}\nbut was\n{made}"


def are_alike(wanted: str, made: str) -> bool:
    """Whether two pages are equal; where a longer age beside it has cut a cell of one, by what is left of it."""
    lines = [[line.split("  ") for line in text.split("\n")] for text in (wanted, made)]
    if [len(line) for line in lines[0]] != [len(line) for line in lines[1]]:
        return False
    return all(_fit(*pair) for line in zip(*lines, strict=True) for pair in zip(*line, strict=True))


def _fit(one: str, other: str) -> bool:
    if one.endswith("…") == other.endswith("…"):
        return one == other or one.endswith("…")
    cut, whole = (one, other) if one.endswith("…") else (other, one)
    return whole.startswith(cut.removesuffix("…").rpartition(" ")[0] or cut.removesuffix("…"))


def form(text: str) -> str:
    for pattern, word in _FORMS:
        text = pattern.sub(word, text)
    return text

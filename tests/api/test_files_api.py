"""Files and variables by HTTP and command line: what goes in comes out, and secrets do not."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import support
from tests.apps import make_app
from tests.support import Server

SECRET = "hunter2-it's-$ecret"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with support.server() as started:
        started.do("apps.init", {"appName": "files-a"})
        yield started


def folder(server: Server) -> Path:
    return server.apps / "files-a"


def test_text_and_bytes_go_in_and_come_out(server: Server) -> None:
    for content in ("héllo\n", base64.b64encode(os.urandom(3000)).decode()):
        binary = not content.startswith("h")
        asked = {"appName": "files-a", "path": "src/x/y.bin", "content": content}
        written = server.do("files.write", asked | ({"encoding": "base64"} if binary else {}))
        raw = base64.b64decode(content) if binary else content.encode()
        assert (written["size"], written["sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())
        read = server.do("files.read", {"appName": "files-a", "path": "src/x/y.bin"})
        assert (read["content"], read["encoding"]) == (content, "base64" if binary else "utf-8")


def test_a_large_file_is_read_piece_by_piece(server: Server) -> None:
    text = "é" * 50_000
    server.do("files.write", {"appName": "files-a", "path": "src/large.txt", "content": text})
    pieces, offset = [], 0
    while offset is not None:
        asked = {"appName": "files-a", "path": "src/large.txt", "offset": offset, "limit": 33_333}
        piece = server.do("files.read", asked)
        pieces.append(piece["content"])
        offset = piece["nextOffset"]
    assert "".join(pieces) == text
    assert len(pieces) > 2


def test_content_over_the_limit_is_refused_before_it_is_read(server: Server) -> None:
    asked = {"appName": "files-a", "path": "src/huge", "content": "x" * (13 << 20)}
    with pytest.raises((AssertionError, OSError)) as raised:  # the server closes while we still send
        server.do("files.write", asked)
    assert not isinstance(raised.value, AssertionError) or "413" in str(raised.value)
    assert not (folder(server) / "src" / "huge").exists()


def test_what_is_no_file_of_the_app_is_refused(server: Server) -> None:
    for path in ("../files-b/x", "/etc/passwd", ".env", ".ikoma/database.json", "src/../../x", "src/a\0b", "-rf/../x"):
        for call in ("files.read", "files.write", "files.delete"):
            asked = {"appName": "files-a", "path": path} | ({"content": "x"} if call == "files.write" else {})
            assert server.call(call, asked).code == "invalid_arguments", path
    (folder(server) / "src" / "link").symlink_to("/etc/passwd")
    assert server.call("files.read", {"appName": "files-a", "path": "src/link"}).code == "path_outside"
    missing = server.call("files.read", {"appName": "files-a", "path": "src/none"})
    assert (missing.status, missing.code) == (404, "file_missing")
    assert server.call("files.list", {"appName": "files-none"}).code == "app_not_found"
    listed = {entry["path"] for entry in server.do("files.list", {"appName": "files-a", "recursive": True})["entries"]}
    assert not any(path.startswith((".ikoma", ".env")) for path in listed)


def test_a_write_that_expects_another_content_is_refused(server: Server) -> None:
    first = server.do("files.write", {"appName": "files-a", "path": "src/once", "content": "1"})
    asked = {"appName": "files-a", "path": "src/once", "content": "2", "sha256": first["sha256"]}
    server.do("files.write", asked)
    assert server.call("files.write", asked).code == "file_changed"


def test_deleting_takes_files_and_folders(server: Server) -> None:
    server.do("files.write", {"appName": "files-a", "path": "src/d/a", "content": "1"})
    assert server.call("files.delete", {"appName": "files-a", "path": "src/d"}).code == "not_a_file"
    asked = {"appName": "files-a", "path": "src/d", "recursive": True}
    server.do("files.delete", asked, headers={"X-Confirm": "ask"})  # nobody is asked: it can be brought back
    assert not (folder(server) / "src" / "d").exists()
    (kept, *_) = server.do("files.history", {"appName": "files-a", "path": "src/d"})["versions"]
    assert (kept["kind"], kept["happened"]) == ("folder", "deleted")
    restored = server.do("files.restore", {"appName": "files-a", "path": "src/d"})
    assert restored["version"] == kept["version"]
    assert (folder(server) / "src" / "d" / "a").read_text() == "1"
    again = server.call("files.restore", {"appName": "files-a", "path": "src/d", "version": kept["version"]})
    assert (again.status, again.code) == (404, "version_not_found")


def test_a_text_is_replaced_where_it_stands_once(server: Server) -> None:
    asked = {"appName": "files-a", "path": "src/edit.txt"}
    first = server.do("files.write", {**asked, "content": "port = 3000\n"})
    edited = server.do("files.edit", {**asked, "old": "3000", "new": "4000", "sha256": first["sha256"]})
    assert (folder(server) / "src" / "edit.txt").read_text() == "port = 4000\n"
    assert server.call("files.edit", {**asked, "old": "3000", "new": "1"}).code == "text_not_found"
    assert (
        server.call("files.edit", {**asked, "old": "port =", "new": "1", "sha256": first["sha256"]}).code
        == "file_changed"
    )
    assert server.do("files.read", asked)["sha256"] == edited["sha256"]
    assert "port =" not in server.audit_log.read_text()


def test_variables_are_set_listed_and_unset_and_never_shown(server: Server) -> None:
    asked = {"appName": "files-a", "name": "TOKEN", "value": SECRET}
    assert server.do("env.set", asked)["names"] == ["TOKEN"]
    assert (folder(server) / ".env").stat().st_mode & 0o777 == 0o600
    typed = server.cli("env-set", "files-a", "--name", "OTHER", "--json", input=f"{SECRET}\n")
    assert typed.returncode == 0, typed.stderr
    assert server.do("env.list", {"appName": "files-a"}, role="observer")["names"] == ["TOKEN", "OTHER"]
    for wrong in ("1A", "A B", "A=B", "", "é"):
        assert server.call("env.set", {**asked, "name": wrong}).code == "invalid_arguments"
    unset = server.call("env.unset", {"appName": "files-a", "name": "TOKNE"})
    assert (unset.code, unset.body["hint"]) == ("variable_missing", "env.list shows the names.")
    assert server.do("env.unset", {"appName": "files-a", "name": "TOKEN"})["names"] == ["OTHER"]
    for place in (server.audit_log.read_text(), server.log(), server.cli("operations").stdout):
        assert "hunter2" not in place
    assert b"hunter2" not in (server.folder / "state" / "state.db").read_bytes()


def test_the_command_line_puts_and_prints_files(server: Server, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("<h1>Hello</h1>\n")
    put = server.cli("put", "files-a", "--path", "src/index.html", "--content", f"@{tmp_path / 'page'}")
    assert put.returncode == 0, put.stderr
    assert "<h1>Hello</h1>" in server.cli("cat", "files-a", "--path", "src/index.html").stdout
    assert "src/index.html" in server.cli("files", "files-a", "--recursive").stdout


def test_names_that_are_no_utf8_are_told_and_refused_where_they_would_be_kept(server: Server) -> None:
    make_app(server, "files-odd")
    server.do("db.create", {"appName": "files-odd"})
    for name in (b"src/odd\xff.txt", b"seeds/001_\xff.sql", b"migrations/001_\xff.sql"):
        (server.apps / "files-odd" / os.fsdecode(name)).write_text("SELECT 1;\n")
    found = server.do("files.list", {"appName": "files-odd", "recursive": True})
    assert "src/odd\\xff.txt" in {item["path"] for item in found["entries"]}
    plan = server.do("deploy.plan", {"appName": "files-odd"})
    told = "migrations/001_\\xff.sql: The name of migrations/001_\\xff.sql is not UTF-8. Rename the file."
    assert (plan["valid"], plan["findings"]) == (False, [told])
    for capability in ("db.seed", "db.migrate", "db.status", "deploy.up"):
        answer = server.call(capability, {"appName": "files-odd"})
        assert (answer.code, answer.status) == ("sql_failed", 422), capability
        assert "001_\\xff.sql" in answer.body["error"], capability
    listed = server.do("operations.list", {"appName": "files-odd"})["operations"]
    assert {item["state"] for item in listed} == {"succeeded", "failed"}
    for folder_name in ("seeds", "migrations"):
        (server.apps / "files-odd" / folder_name / os.fsdecode(b"001_\xff.sql")).unlink()
    plan = server.do("deploy.plan", {"appName": "files-odd"})
    assert "src/odd\\xff.txt" in plan["source"]["added"]
    assert server.do("deploy.up", {"appName": "files-odd"})["success"] is True
    shown = server.do("release.list", {"appName": "files-odd"})["releases"]
    assert [item["state"] for item in shown] == ["succeeded"], "what the plan knew began no release"


def test_a_variables_file_that_is_no_utf8_hides_what_it_holds_and_is_explained(server: Server) -> None:
    server.do("apps.init", {"appName": "files-latin"})
    server.do("db.create", {"appName": "files-latin"})
    password = json.loads((server.apps / "files-latin" / ".ikoma" / "database.json").read_text())["password"]
    (server.apps / "files-latin" / ".env").write_bytes(f"TOKEN={SECRET}\n".encode() + b"LATIN=p\xe4ss\n")
    asked = {"appName": "files-latin", "sql": f"SELECT $q${password}$q$ AS one, $q${SECRET}$q$ AS two"}
    assert server.do("db.query", asked)["rows"] == [["***", "***"]]
    for capability, more in {
        "env.list": {},
        "env.set": {"name": "MORE", "value": "x"},
    }.items():
        refused = server.call(capability, {"appName": "files-latin", **more})
        assert (refused.code, refused.status) == ("env_unreadable", 422), capability
        assert "Line 2" in refused.body["error"]
    report = server.do("apps.validate", {"appName": "files-latin"})
    assert [(item["file"], item["line"]) for item in report["errors"]] == [(".env", 2)]
    assert server.do("deploy.plan", {"appName": "files-latin"})["valid"] is False
    refused = server.call("deploy.up", {"appName": "files-latin"})
    assert (refused.code, refused.status) == ("invalid_compose", 422)
    assert "Line 2" in refused.body["error"]
    for capability in ("apps.logs", "apps.status", "apps.health", "artifact.verify_release", "apps.env.example"):
        assert server.call(capability, {"appName": "files-latin"}).status in (200, 422), capability

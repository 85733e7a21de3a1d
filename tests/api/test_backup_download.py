"""A backup is fetched to another machine: whole, in parts, by who may, for an hour, and on record."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tests.apps import make_app
from tests.support import Server

APP = "fetched"


def get(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_both_kinds_are_fetched_whole_and_in_parts(server: Server, tmp_path: Path) -> None:
    folder = make_app(server, APP)
    (folder / "uploads").mkdir()
    (folder / "uploads" / ("a" * 120)).write_bytes(bytes(range(256)) * 3000)
    server.do("db.create", {"appName": APP})
    server.do("db.migrate", {"appName": APP, "sql": "CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) n"})
    dump = Path(server.do("db.backup", {"appName": APP, "backupName": "fetched-a.sql"})["backupPath"])
    whole = Path(server.do("backup.create", {"appName": APP, "backupName": "fetched-b.backup"})["path"])

    offered = server.do("backup.download", {"appName": APP, "backupName": dump.name})
    assert (offered["name"], offered["size"]) == (dump.name, dump.stat().st_size)
    status, headers, body = get(server, offered["path"])
    assert (status, body) == (200, dump.read_bytes())
    assert headers["etag"] == f'"{offered["sha256"]}"'
    assert headers["cache-control"] == "no-store"

    offered = server.do("backup.download", {"appName": APP, "backupName": whole.name})
    _, headers, body = get(server, offered["path"])
    assert (len(body), hashlib.sha256(body).hexdigest()) == (offered["size"], offered["sha256"])
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        held = {item.name: archive.extractfile(item).read() for item in archive if item.isreg()}  # type: ignore[union-attr]
    found = {
        f"{whole.name}/{path.relative_to(whole)}": path.read_bytes() for path in whole.rglob("*") if path.is_file()
    }
    assert held == found

    size = len(body)
    parts = {
        "bytes=0-0": (0, 1),
        "bytes=500-1600": (500, 1601),
        f"bytes={size - 700}-": (size - 700, size),
        "bytes=-1025": (size - 1025, size),
        f"bytes=3-{size * 2}": (3, size),
    }
    for asked, (start, end) in parts.items():
        status, headers, part = get(server, offered["path"], Range=asked)
        assert (status, part) == (206, body[start:end]), asked
        assert headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
    for asked in (f"bytes={size}-", "bytes=-0", "bytes=5-2"):
        assert get(server, offered["path"], Range=asked)[0] == 416, asked
    for ignored in ("bytes=-", "bytes=0-1,3-4", "lines=0-1"):
        assert len(get(server, offered["path"], Range=ignored)[2]) == size, ignored
    assert len(get(server, offered["path"], Range="bytes=0-1", If_Range='"other"')[2]) == size
    status, headers, nothing = get(server, offered["path"], "HEAD")
    assert (status, headers["content-length"], nothing) == (200, str(size), b"")
    assert get(server, offered["path"], "POST")[0] == 405

    target = tmp_path / "here.tar"
    done = server.cli("backup-download", APP, whole.name, "--to", str(target))
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == body
    assert oct(target.stat().st_mode & 0o777) == "0o600"
    again = server.cli("backup-download", APP, whole.name, "--to", str(target))
    assert again.returncode == 1
    assert "exists already" in again.stderr


def test_only_who_may_gets_an_address_and_no_record_has_it(server: Server) -> None:
    given = {"appName": APP, "backupName": "fetched-a.sql"}
    for scope in ({"role": "builder"}, {"role": "admin", "apps": ["elsewhere"]}, {"role": "admin", "readOnly": True}):
        key = server.do("keys.create", {"name": "narrow", **scope})["key"]
        assert server.call("backup.download", given, key=key).status == 403, scope
    for name, code in (("none.sql", "backup_missing"), ("../a.sql", "invalid_arguments")):
        assert server.call("backup.download", {**given, "backupName": name}).code == code
    path = server.do("backup.download", given)["path"]
    token = path.rpartition("/")[2]
    for wrong in (token[:-1], token.swapcase(), "", "../state.db", f"{token}/x"):
        assert get(server, f"/downloads/{wrong}")[0] == 404, wrong
    entries = [line for line in server.audit() if line["capability"] == "backup.download"]
    assert {"success", "error"} <= {line["result"] for line in entries}
    assert token not in json.dumps(server.audit())
    assert token not in json.dumps(server.do("operations.list", {"appName": APP, "limit": 20}))
    assert token not in server.log()


def test_what_is_not_as_it_was_made_is_not_given_out(server: Server) -> None:
    dump = server.backups / "fetched-a.sql"
    content = dump.read_bytes()
    dump.write_bytes(content.replace(b"1000", b"1001", 1))
    assert server.call("backup.download", {"appName": APP, "backupName": dump.name}).code == "backup_damaged"
    dump.write_bytes(content)
    folder = server.backups / "fetched-b.backup" / "folder.tar"
    content = folder.read_bytes()
    for other in (content[:-1], content + b"x", b""):
        folder.write_bytes(other)
        refused = server.call("backup.download", {"appName": APP, "backupName": "fetched-b.backup"})
        assert refused.code == "backup_damaged"
    folder.write_bytes(content)
    path = server.do("backup.download", {"appName": APP, "backupName": "fetched-b.backup"})["path"]
    folder.unlink()
    assert get(server, path)[0] == 409
    folder.write_bytes(content)

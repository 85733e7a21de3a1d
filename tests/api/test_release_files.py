"""Files as they were in a release: listed, read, and put back with nothing lost of what stands there now."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.apps import COMPOSE, make_app
from tests.mcp.client import over_http, refused, talk
from tests.support import Server

APP = "as-it-was"
OLD_SECRET = "Zk3v9QpL7xW2mN8rT4bY"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with support.server() as started:
        yield started


@pytest.fixture(scope="module")
def folder(server: Server) -> Path:
    made = make_app(server, APP, compose=COMPOSE + "  watch: 0s\n")
    source = made / "src"
    (source / "page.html").write_text("<p>one</p>\n")
    (source / "gone.txt").write_text("was here\n")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "deep").mkdir()
    (source / "deep" / "er.txt").write_text("deep\n")
    (source / "raw.bin").write_bytes(b"\xff\xfe\x00raw")
    (source / "link").symlink_to("page.html")
    (source / "key.txt").write_text(f"token {OLD_SECRET}\n")
    (source / ".env").write_text("A=1\n")
    server.do("env.set", {"appName": APP, "name": "API_TOKEN", "value": OLD_SECRET})
    return made


@pytest.fixture(scope="module")
def first(server: Server, folder: Path) -> str:
    """The id of a release after which much has changed."""
    release: str = server.do("deploy.up", {"appName": APP})["details"]["release"]
    source = folder / "src"
    (source / "page.html").write_text("<p>two</p>\n")
    (source / "gone.txt").unlink()
    (source / "run.sh").chmod(0o644)
    (source / "deep" / "er.txt").unlink()
    (source / "deep").rmdir()
    (source / "deep").write_text("a file now\n")
    (source / "link").unlink()
    (source / "link").write_text("no link\n")
    (source / "new.txt").write_text("new\n")
    (source / "raw.bin").unlink()
    (source / "raw.bin").mkdir()
    (source / "raw.bin" / "inside").write_text("mine\n")
    (folder / "docker-compose.yml").write_text((folder / "docker-compose.yml").read_text() + "# changed\n")
    server.do("env.set", {"appName": APP, "name": "API_TOKEN", "value": "another-" + OLD_SECRET[::-1]})
    server.do("deploy.up", {"appName": APP})
    return release


def read(server: Server, path: str | None, release: str, **more: Any) -> Any:
    asked = {"appName": APP, "release": release, **more} | ({"path": path} if path else {})
    return server.do("files.read", asked, role="builder")


def refusal(server: Server, capability: str, role: str = "builder", **arguments: Any) -> tuple[str, int]:
    answer = server.call(capability, {"appName": APP, **arguments}, role=role)
    return answer.code, answer.status


def test_a_file_is_read_as_it_was(server: Server, first: str) -> None:
    assert read(server, "src/page.html", first)["content"] == "<p>one</p>\n"
    assert server.do("files.read", {"appName": APP, "path": "src/page.html"})["content"] == "<p>two</p>\n"
    assert read(server, "src/gone.txt", first)["content"] == "was here\n"
    assert read(server, "src/raw.bin", first)["encoding"] == "base64"
    part = read(server, "src/page.html", first, offset=3, limit=3)
    assert (part["content"], part["truncated"], part["nextOffset"], part["size"]) == ("one", True, 6, 11)
    compose = read(server, None, first)["content"]
    assert "services:" in compose
    assert "# changed" not in compose
    assert read(server, "docker-compose.yml", first)["content"] == compose


def test_a_secret_of_then_is_hidden_too(server: Server, first: str) -> None:
    assert OLD_SECRET not in json.dumps(read(server, "src/key.txt", first))


def test_its_files_are_listed(server: Server, first: str) -> None:
    found = server.do("files.list", {"appName": APP, "release": first, "recursive": True})
    kinds = {item["path"]: item["type"] for item in found["entries"]}
    assert kinds["src/deep/er.txt"] == "file"
    assert kinds["src/link"] == "link"
    assert kinds["src/deep"] == "folder"
    assert "docker-compose.yml" in kinds
    assert "src/new.txt" not in kinds
    assert not any(path.startswith((".env", ".ikoma")) for path in kinds)
    top = {item["path"] for item in server.do("files.list", {"appName": APP, "release": first})["entries"]}
    assert "src" in top
    assert not any("/" in path for path in top)
    inside = server.do("files.list", {"appName": APP, "release": first, "path": "src/deep"})["entries"]
    assert [item["path"] for item in inside] == ["src/deep/er.txt"]


@pytest.mark.parametrize(
    ("path", "code", "status"),
    [
        ("src/new.txt", "file_missing", 404),
        ("src", "not_a_file", 409),
        ("src/link", "not_a_file", 409),
        ("../x", "invalid_arguments", 422),
        (".env", "invalid_arguments", 422),
        (".ikoma/port", "invalid_arguments", 422),
        ("/etc/passwd", "invalid_arguments", 422),
        ("src/page.html/x", "file_missing", 404),
    ],
)
def test_what_it_does_not_have_is_refused(server: Server, first: str, path: str, code: str, status: int) -> None:
    assert refusal(server, "files.read", path=path, release=first) == (code, status)


def test_what_is_missing_leads_to_the_list_of_that_release(server: Server, first: str) -> None:
    missing = server.call("files.read", {"appName": APP, "path": "src/new.txt", "release": first})
    lead = missing.body["next"]
    assert lead == {"capability": "files.list", "arguments": {"appName": APP, "release": first}}
    assert server.do(lead["capability"], lead["arguments"])["entries"]


def test_of_a_release_that_never_served_nothing_is_kept_and_that_is_said(
    server: Server, folder: Path, first: str
) -> None:
    compose = folder / "docker-compose.yml"
    good = compose.read_text()
    compose.write_text(good.replace("httpd", "no-such-program"))
    assert server.call("deploy.up", {"appName": APP}).code == "deploy_failed"
    compose.write_text(good)
    failed = server.do("release.list", {"appName": APP})["releases"][0]["id"]
    assert server.do("files.list", {"appName": APP, "release": failed})["entries"] == []
    missing = server.call("files.read", {"appName": APP, "path": "src/page.html", "release": failed})
    assert (missing.code, missing.body["hint"]) == ("file_missing", "Nothing is kept of its files: it never served.")
    for capability in ("files.restore", "release.diff"):
        assert server.call(capability, {"appName": APP, "release": failed}).code == "release_not_found"


def test_other_roles_and_unknown_releases(server: Server, first: str) -> None:
    for capability in ("files.read", "files.list", "files.restore"):
        assert refusal(server, capability, role="operator", release=first)[0] == "role_too_low"
        assert refusal(server, capability, release="20200101-000000-0000") == ("release_not_found", 404)
        assert refusal(server, capability, release="../../x") == ("invalid_arguments", 422)
    assert refusal(server, "files.restore") == ("invalid_arguments", 422)
    assert refusal(server, "files.restore", release=first, version="x") == ("invalid_arguments", 422)
    assert refusal(server, "files.restore", release=first, path="src/never") == ("file_missing", 404)


def test_over_mcp_it_is_marked_and_refused_alike(server: Server, first: str) -> None:
    async def conversation(client: Any) -> None:
        result = await client.call_tool("files_read", {"appName": APP, "path": "src/page.html", "release": first})
        assert "<untrusted-" in result.content[0].text.partition("<p>one</p>")[0]
        assert "<p>one</p>" in result.content[0].text
        wrong = await refused(client, "files_read", appName=APP, path="src/new.txt", release=first)
        assert wrong["code"] == "file_missing"

    talk(over_http(server), conversation)


def test_one_path_is_put_back_and_the_rest_stays(server: Server, folder: Path, first: str) -> None:
    done = server.do("files.restore", {"appName": APP, "release": first, "path": "src/page.html"})
    assert (done["restored"], done["count"]) == (["src/page.html"], 1)
    assert (folder / "src" / "page.html").read_text() == "<p>one</p>\n"
    assert not (folder / "src" / "gone.txt").exists()
    server.do("files.restore", {"appName": APP, "path": "src/page.html"})
    assert (folder / "src" / "page.html").read_text() == "<p>two</p>\n"


def test_all_of_it_is_put_back_and_nothing_is_lost(server: Server, folder: Path, first: str) -> None:
    source = folder / "src"
    done = server.do("files.restore", {"appName": APP, "release": first}, role="builder")
    assert done["others"] == ["src/new.txt", "src/raw.bin/inside"]
    assert {"docker-compose.yml", "src/deep", "src/deep/er.txt", "src/gone.txt", "src/link", "src/page.html"} | {
        "src/raw.bin",
        "src/run.sh",
    } == {*done["restored"]}
    assert (source / "page.html").read_text() == "<p>one</p>\n"
    assert (source / "deep" / "er.txt").read_text() == "deep\n"
    assert (source / "raw.bin").read_bytes() == b"\xff\xfe\x00raw"
    assert os.readlink(source / "link") == "page.html"
    assert os.access(source / "run.sh", os.X_OK)
    assert (source / "new.txt").read_text() == "new\n"
    assert "# changed" not in (folder / "docker-compose.yml").read_text()
    again = server.do("files.restore", {"appName": APP, "release": first})
    assert (again["restored"], again["count"], again["others"]) == ([], 0, ["src/new.txt"])
    for path, content in {"src/page.html": "<p>two</p>\n", "src/link": "no link\n"}.items():
        server.do("files.restore", {"appName": APP, "path": path})
        assert (folder / path).read_text() == content
    server.do("files.restore", {"appName": APP, "path": "src/raw.bin"})
    assert (source / "raw.bin" / "inside").read_text() == "mine\n"
    server.do("files.restore", {"appName": APP, "release": first})
    assert server.do("deploy.up", {"appName": APP})["success"]


def test_a_folder_that_is_a_link_by_now_becomes_one_again(server: Server, folder: Path, first: str) -> None:
    (folder / "src").rename(folder / "elsewhere")
    (folder / "src").symlink_to("elsewhere")
    (folder / "elsewhere" / "page.html").write_text("<p>mine</p>\n")
    server.do("files.restore", {"appName": APP, "release": first})
    assert not (folder / "src").is_symlink()
    assert (folder / "src" / "page.html").read_text() == "<p>one</p>\n"
    assert (folder / "elsewhere" / "page.html").read_text() == "<p>mine</p>\n"
    versions = server.do("files.history", {"appName": APP, "path": "src"})["versions"]
    assert versions[0]["kind"] == "link"


def test_the_commands_take_a_release(server: Server, folder: Path, first: str) -> None:
    (folder / "src" / "page.html").write_text("<p>three</p>\n")
    shown = server.cli("cat", APP, "--path", "src/page.html", "--release", first)
    assert shown.stdout == "<p>one</p>\n"
    assert "src/deep" in server.cli("files", APP, "--release", first, "--path", "src").stdout
    done = server.cli("unrm", APP, "--release", first)
    assert done.returncode == 0, done.stderr
    assert (folder / "src" / "page.html").read_text() == "<p>one</p>\n"


def test_a_restore_that_is_killed_is_gone_on_with(server: Server, folder: Path, first: str) -> None:
    many = folder / "src" / "many"
    many.mkdir()
    for number in range(300):
        (many / f"{number}.txt").write_text(f"old {number}\n")
    release = server.do("deploy.up", {"appName": APP})["details"]["release"]
    for number in range(300):
        (many / f"{number}.txt").write_text(f"new {number}\n")

    def begin() -> None:
        with pytest.raises(OSError, match=r"."):
            server.call("files.restore", {"appName": APP, "release": release})

    asking = threading.Thread(target=begin)
    asking.start()
    deadline = time.monotonic() + 60
    while (many / "0.txt").read_text() != "old 0\n" and time.monotonic() < deadline:
        time.sleep(0.005)
    server.kill()
    asking.join()
    held = {number: (many / f"{number}.txt").read_text() for number in range(300)}
    assert all(text in (f"old {number}\n", f"new {number}\n") for number, text in held.items())
    assert any(text.startswith("new") for text in held.values()), "it was killed too late to tell anything"
    server.start()
    assert server.do("files.restore", {"appName": APP, "release": release})["count"] > 0
    assert all((many / f"{number}.txt").read_text() == f"old {number}\n" for number in range(300))
    kept = server.do("files.history", {"appName": APP, "limit": 1000})["versions"]
    assert {f"src/many/{number}.txt" for number in range(300)} <= {item["path"] for item in kept}

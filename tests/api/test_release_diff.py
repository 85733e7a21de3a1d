"""release.diff: the lines that two releases differ in, bounded, and without what is secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.apps import COMPOSE, make_app
from tests.mcp.client import do, over_http, talk
from tests.support import Server

APP = "line-by-line"
SECRET, FORMER, WRITTEN = "Zk3v9QpL7xW2mN8rT4bY", "aQ7w2E9r4T6y1U3i8O5p", "sk-4f9aB2c8D1e7F3g5H6i9J0k2"
SECOND = COMPOSE.replace("    init: true\n", "    init: true\n    environment: {{COLOUR: a-blue-one, GONE: '1'}}\n")


def edited(text: str) -> str:
    return text.replace("a-blue-one", "a-red-one").replace(", GONE: '1'", ", NEW: '2'") + "# a remark\n"


@pytest.fixture(scope="module")
def two(server: Server) -> Iterator[tuple[Path, str, str]]:
    folder = make_app(server, APP, compose=SECOND + "  watch: 0s\n")
    source = folder / "src"
    (source / "page.txt").write_text("".join(f"line {number}\n" for number in range(100)))
    (source / "old.txt").write_text("old\n")
    (source / "raw.bin").write_bytes(b"\0\1")
    (source / "tool").write_text("#!/bin/sh\n")
    (source / "settings.env").write_text('STAGE=first\nSAME=1\nTEXT="one\nand-more"\n#OLD=was-first\n')
    (source / "[red]\x1b[31m.txt").write_text("odd\n")
    (source / "huge.txt").write_text("x\n" * 200_000)
    server.do("db.create", {"appName": APP})
    server.do("env.set", {"appName": APP, "name": "API_TOKEN", "value": FORMER})
    (source / "page.txt").open("a").write(f"token {FORMER}\n")
    first = server.do("deploy.up", {"appName": APP})["details"]["release"]
    text = (source / "page.txt").read_text().replace("line 50\n", "line fifty\n").replace(FORMER, SECRET)
    (source / "page.txt").write_text(text + f'api_key = "{WRITTEN}"\n')
    (source / "old.txt").unlink()
    (source / "new.txt").write_text("new, without an end of line")
    (source / "raw.bin").write_bytes(b"\0\1\2")
    (source / "tool").chmod(0o755)
    (source / "settings.env").write_text('STAGE=second\nSAME=1\nTEXT="one\nand-else"\n#OLD=was-second\n')
    (source / "[red]\x1b[31m.txt").write_text("odder\n")
    (source / "huge.txt").write_text("y\n" * 200_000)
    (folder / "migrations" / "001_shop.sql").write_text("CREATE TABLE shop (id int);\n")
    (folder / "docker-compose.yml").write_text(edited((folder / "docker-compose.yml").read_text()))
    server.do("env.set", {"appName": APP, "name": "API_TOKEN", "value": SECRET})
    server.do("env.set", {"appName": APP, "name": "LATE", "value": "a-late-one"})
    second = server.do("deploy.up", {"appName": APP})["details"]["release"]
    yield folder, first, second
    server.do("apps.remove", {"appName": APP})


def diff(server: Server, **more: Any) -> Any:
    return server.do("release.diff", {"appName": APP, **more}, role="observer")


def test_lines_of_source_and_compose_file_are_shown(server: Server, two: Any) -> None:
    found = diff(server)
    assert found["truncated"] is False
    text = found["diff"]
    assert text.startswith("--- a/docker-compose.yml\n+++ b/docker-compose.yml\n")
    assert "+# a remark" in text
    assert " line 49\n-line 50\n+line fifty\n line 51\n" in text
    assert "--- a/src/old.txt\n+++ /dev/null\n@@ -1 +0,0 @@\n-old\n" in text
    assert "+new, without an end of line\n\\ No newline at end of file" in text
    assert "+++ b/src/raw.bin\n# Not shown, since it is no text or too large: 2 bytes → 3 bytes" in text
    assert "+++ b/src/huge.txt\n# Not shown" in text
    assert "# file, mode 644, owner 0:0 → file, mode 755, owner 0:0" in text
    assert "+CREATE TABLE shop (id int);" in text
    assert (found["migrations"], found["migrationsGone"]) == (["001_shop.sql"], [])


def test_of_variables_names_alone_are_said(server: Server, two: Any) -> None:
    found = diff(server)
    names = found["variables"]
    assert {"API_TOKEN", "COLOUR"} <= {*names["changed"]}
    assert {"LATE", "NEW"} <= {*names["added"]}
    assert "GONE" in names["removed"]
    assert "+++ b/src/settings.env\n# It differs in values that are not shown." in found["diff"]
    whole = json.dumps(found)
    for value in (
        "a-blue-one",
        "a-red-one",
        "a-late-one",
        SECRET,
        FORMER,
        WRITTEN,
        "STAGE=first",
        "STAGE=second",
        "and-",
    ):
        assert value not in whole
    assert "COLOUR: ***" in found["diff"]


def test_it_goes_both_ways_and_is_empty_against_itself(server: Server, two: Any) -> None:
    _, first, second = two
    back = diff(server, release=first, to=second)
    assert "-line fifty\n+line 50\n" in back["diff"]
    assert (back["migrations"], back["migrationsGone"]) == ([], ["001_shop.sql"])
    same = diff(server, release=first, to=first)
    assert (same["diff"], same["truncated"], same["variables"]) == (
        "",
        False,
        {"added": [], "changed": [], "removed": []},
    )


def test_a_path_and_a_limit_bound_it(server: Server, two: Any) -> None:
    one = diff(server, path="src/page.txt")
    assert one["diff"].count("+++ ") == 1
    assert "docker-compose.yml" not in diff(server, path="src")["diff"]
    assert diff(server, path="docker-compose.yml")["diff"].count("+++ ") == 1
    assert diff(server, path="nowhere")["diff"] == ""
    short = diff(server, limit=100)
    assert short["truncated"] is True
    assert len(short["diff"]) <= 100
    assert (diff(server, limit=0)["diff"], diff(server, limit=0)["truncated"]) == ("", True)
    for wrong in ({"limit": -1}, {"limit": 2_000_000}, {"path": "../x"}, {"path": ".env"}, {"to": "x"}):
        assert server.call("release.diff", {"appName": APP, **wrong}).code == "invalid_arguments"


def test_a_model_gets_it_marked(server: Server, two: Any) -> None:
    async def conversation(client: Any) -> None:
        found = await do(client, "release_diff", appName=APP)
        before = list(found)[: list(found).index("diff")]
        assert any(name.startswith("<untrusted-") for name in before)
        assert "\x1b" not in found["diff"]

    talk(over_http(server, role="observer"), conversation)


def test_the_command_prints_it_for_people(server: Server, two: Any) -> None:
    shown = server.cli("diff", APP)
    assert shown.returncode == 0, shown.stderr
    assert "\n-line 50\n+line fifty\n" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert "[red]" in shown.stdout
    assert server.cli("diff", APP, "--path", "src/page.txt").stdout.count("+++ ") == 1

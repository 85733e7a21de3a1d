"""Scripts rely on this: bytes, exit codes, plain lines in pipes, JSON everywhere, arguments in their places."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps import make_app
from tests.cli.terminal import CTRL_D, Terminal
from tests.support import IKOMA, Server
from tests.support import server as started_server

APP = "scripted"
BYTES = {
    "binary": bytes(range(256)) * 5,
    "no newline": b"the end",
    "crlf": b"one\r\ntwo\r\n\r\n",
    "empty": b"",
    "utf-8": "Übergröße ✓ \U0001f680".encode(),
    "latin-1": "Übergröße".encode("latin-1"),
    "nul": b"a\0b",
    "bom": b"\xef\xbb\xbfa\n",
    "large": os.urandom(3 << 20),
    "large text": "größer\n".encode() * 300_000,
}


@pytest.fixture(scope="module", autouse=True)
def app(server: Server) -> Iterator[None]:
    make_app(server, APP)
    server.do("db.create", {"appName": APP})
    server.do("deploy.up", {"appName": APP})
    yield
    server.do("apps.remove", {"appName": APP})


def ikoma(server: Server, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [IKOMA, *arguments], env=server.env, input=given, capture_output=True, check=False, timeout=120
    )


@pytest.mark.parametrize("content", BYTES.values(), ids=BYTES)
def test_put_and_cat_keep_each_byte(server: Server, tmp_path: Path, content: bytes) -> None:
    put = ikoma(server, "put", APP, "src/piece", given=content)
    assert put.returncode == 0, put.stderr
    assert (server.apps / APP / "src" / "piece").read_bytes() == content
    assert ikoma(server, "cat", APP, "src/piece").stdout == content
    (tmp_path / "local").write_bytes(content)
    assert ikoma(server, "put", APP, "src/other", str(tmp_path / "local")).returncode == 0
    assert ikoma(server, "cat", APP, "--path", "src/other").stdout == content


def test_cat_prints_a_part_and_says_nothing_else(server: Server) -> None:
    ikoma(server, "put", APP, "src/part", given=b"0123456789")
    assert ikoma(server, "cat", APP, "src/part", "--offset", "3", "--limit", "4").stdout == b"3456"
    missing = ikoma(server, "cat", APP, "src/nothing")
    assert (missing.returncode, missing.stdout) == (1, b"")
    assert json.loads(ikoma(server, "cat", APP, "src/part", "--json").stdout)["content"] == "0123456789"


def test_the_answer_no_is_exit_code_1_and_wrong_usage_2(server: Server) -> None:
    make_app(server, "refused", command='["sh", "-c", "exit 3"]')
    (server.apps / "refused" / "docker-compose.yml").write_text("services: {web: {image: x, privileged: true}}\n")
    codes = {
        ("validate", APP): 0,
        ("verify", APP): 0,
        ("health", APP): 0,
        ("plan", APP): 0,
        ("check",): 0,
        ("audit", "verify"): 0,
        ("validate", "refused"): 1,
        ("verify", "refused"): 1,
        ("health", "refused"): 1,
        ("plan", "refused"): 1,
        ("status", "nothing-there"): 1,
        ("call", "apps.validate", "--app", "refused"): 1,
        ("status",): 2,
        ("status", APP, "more"): 2,
        ("scale", APP, "web", "many"): 2,
        ("wait",): 2,
        ("nothing",): 2,
        ("status", APP, "--nothing"): 2,
    }
    found = {arguments: ikoma(server, *arguments).returncode for arguments in codes}
    assert found == codes
    assert ikoma(server, "validate", "refused", "--json").returncode == 1
    failed = ikoma(server, "deploy", "refused")
    assert failed.returncode == 1
    operation = server.do("operations.list", {"appName": "refused", "limit": 1})["operations"][0]["id"]
    assert ikoma(server, "wait", operation).returncode == 1
    server.do("apps.remove", {"appName": "refused"})


def test_doctor_ends_with_1_where_something_is_missing(server: Server) -> None:
    env = server.env | {"DOCKER_HOST": "unix:///nowhere.sock"}
    done = subprocess.run([IKOMA, "doctor", "--json"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    found = {item["check"]: item for item in json.loads(done.stdout)}
    assert found["docker"]["ok"] is False
    assert "systemctl start docker" in found["docker"]["fix"]
    assert not found["python"]["fix"]
    assert {"compose", "git", "DNS", "time", "server"} <= found.keys()


PAGES = [
    ["list"], ["status", APP], ["validate", APP], ["operations"], ["releases", APP], ["release", APP],
    ["files", APP, "--recursive"], ["plan", APP], ["domains", APP], ["env-list", APP], ["db-status", APP],
    ["keys", "list"], ["approvals", "list"], ["audit"], ["health", APP], ["verify", APP], ["check"], ["info"], ["top"],
    ["trash"], ["doctor"], ["hook", APP], ["previews", APP], ["history", APP], ["logs", APP], ["open", APP],
    ["query", APP, "SELECT 1 AS one"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", PAGES, ids=" ".join)
def test_a_pipe_gets_whole_lines_and_json_where_it_is_asked_for(server: Server, arguments: list[str]) -> None:
    done = ikoma(server, *arguments)
    assert done.returncode == 0, done.stderr
    plain = done.stdout.decode()
    assert "\x1b" not in plain
    assert "…" not in plain
    assert not re.search(r"\b(\d+ (s|min|h|days?) ago|in \d+ (s|min|h|days?)|now(?!\.))\b", plain)
    assert not re.search(r"\b\d+(\.\d)? (KiB|MiB)\b", plain)
    as_json = ikoma(server, *arguments, "--json")
    assert as_json.returncode == 0, as_json.stderr
    for text in as_json.stdout.decode().splitlines() if arguments[0] in ("logs", "audit") else [as_json.stdout]:
        json.loads(text)


def test_sizes_are_counted_in_bytes_in_a_pipe_however_large(server: Server) -> None:
    ikoma(server, "put", APP, "src/large", given=BYTES["large"])
    plan = ikoma(server, "plan", APP).stdout.decode()
    size = json.loads(ikoma(server, "plan", APP, "--json").stdout)["source"]["bytes"]
    assert size >= 3 << 20
    assert re.search(rf"^new content +{size}$", plan, re.M), plan


def test_a_text_is_typed_for_all_to_see(server: Server) -> None:
    ikoma(server, "put", APP, "src/typed", given=b"one two three\n")
    with Terminal(["edit", APP, "src/typed", "two"], server.env) as terminal:
        terminal.until("Type the new text; Ctrl-D ends it.")
        terminal.type(b"2\n" + CTRL_D)
        assert terminal.end() == 0, terminal.screen()
        assert "\n2\n" in terminal.screen()
    assert ikoma(server, "cat", APP, "src/typed").stdout == b"one 2 three\n"


def test_a_failure_that_is_waited_for_names_the_app_as_it_did_at_once(server: Server) -> None:
    make_app(server, "waited")
    (server.apps / "waited" / "docker-compose.yml").write_text("services: {web: {image: x, privileged: true}}\n")
    at_once = ikoma(server, "deploy", "waited").stderr.decode()
    operation = server.do("operations.list", {"appName": "waited", "limit": 1})["operations"][0]["id"]
    later = ikoma(server, "wait", operation).stdout.decode()
    assert "`ikoma waive waited`" in at_once
    assert at_once.partition("error: ")[2] in later
    server.do("apps.remove", {"appName": "waited"})


def test_columns_keep_their_places_in_a_pipe_though_they_are_empty(server: Server) -> None:
    head, *rows = ikoma(server, "list").stdout.decode().splitlines()
    assert head.split() == ["APP", "HEALTH", "RELEASE", "ADDRESS"]
    row = next(row for row in rows if row.startswith(APP))
    assert len(row.split()) == 4


@pytest.mark.parametrize("off", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {}], ids=str)
def test_colours_are_on_a_terminal_alone_and_mean_something(server: Server, off: dict[str, str]) -> None:
    with Terminal(["list"], server.env, colours=True, more=off) as terminal:
        assert terminal.end() == 0
        assert (b"\x1b[32mhealthy" in terminal.written) == (not off)
        assert (b"\x1b" in terminal.written) == (not off)


def test_what_must_be_given_needs_no_name_and_may_have_one(server: Server) -> None:
    for arguments in (
        ["domain-add", APP, "one.example.com"],
        ["domain-add", APP, "--domain", "two.example.com"],
        ["domain-add", "--app", APP, "--domain", "three.example.com"],
        ["domain-add", "--app", APP, "four.example.com"],
        ["env-set", APP, "ONE", "1"],
        ["env-set", APP, "--name", "TWO", "--value", "2"],
        ["maintenance", APP, "on"],
        ["maintenance", APP, "--off"],
        ["query", APP, "SELECT 1"],
        ["query", APP, "--sql", "SELECT 1"],
        ["env-set", APP, "ONE", "other"],
        ["env-restore", APP, "ONE"],
    ):
        done = ikoma(server, *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
    names = {item["name"] for item in server.do("domain.list", {"appName": APP})["domains"]}
    assert {f"{name}.example.com" for name in ("one", "two", "three", "four")} <= names
    assert {"ONE", "TWO"} <= set(server.do("env.list", {"appName": APP})["names"])
    assert "ONE=1\n" in (server.apps / APP / ".env").read_text()
    version = server.do("env.history", {"appName": APP, "name": "ONE"})["versions"][0]["version"]
    assert ikoma(server, "env-restore", APP, "ONE", version).returncode == 0
    assert "ONE=other\n" in (server.apps / APP / ".env").read_text()
    twice = ikoma(server, "domain-add", APP, "a.example.com", "--domain", "b.example.com")
    assert (twice.returncode, b"unexpected extra argument" in twice.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["init", "No Name"], "error: APP: 1 to 63 of"),
        (["rollback", APP, "back"], "error: RELEASE: a release id"),
        (["scale", APP, "web", "21"], "error: REPLICAS: input should be"),
        (["logs", APP, "--tail", "0"], "error: --tail: input should be"),
        (["keys", "create", "", "--role", "observer", "--expires", "later"], "; --expires: is no time"),
        (["clone", APP, "ftp://host/x"], "error: URL: begins with ftp://"),
        (["unrm", APP], 'error: say a "path"'),
    ],
)
def test_what_does_not_fit_is_named_as_it_is_typed(server: Server, arguments: list[str], said: str) -> None:
    failure = server.cli(*arguments).stderr
    assert said in failure
    assert " takes appName" not in failure
    words = arguments[:2] if arguments[0] == "keys" else arguments[:1]
    assert f"`ikoma {' '.join(words)} --help`" in failure or "hint:  Give https://" in failure
    for name in ("appName", "needsApproval", "body:"):
        assert name not in failure


def test_what_never_ends_is_read_as_far_as_it_could_be_taken(server: Server) -> None:
    with Path("/dev/zero").open("rb") as zeros:
        done = subprocess.run(
            [IKOMA, "put", APP, "src/endless"], env=server.env, stdin=zeros, capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert "code:  body_too_large" in done.stderr
    assert ikoma(server, "put", APP, "src/endless", "/dev/zero").returncode == 1


def test_a_value_that_is_left_out_comes_from_stdin_or_is_asked_for_unseen(server: Server) -> None:
    assert ikoma(server, "env-set", APP, "PIPED", given=b"from a pipe\n").returncode == 0
    with Terminal(["env-set", APP, "TYPED"], server.env) as terminal:
        terminal.until("Value")
        terminal.type(b"never-shown\r")
        assert terminal.end() == 0
        assert b"never-shown" not in terminal.written
    kept = (server.apps / APP / ".env").read_text()
    assert "from a pipe" in kept
    assert "never-shown" in kept
    tokens = server.apps / APP / ".ikoma" / "source-tokens.json"
    assert ikoma(server, "source-token", APP, "localhost", given=b"token-of-a-pipe\n").returncode == 0
    assert '"token-of-a-pipe"' in tokens.read_text()
    with Terminal(["source-token", APP, "localhost/typed"], server.env) as terminal:
        terminal.until("Token")
        terminal.type(b"token-unseen\r")
        assert terminal.end() == 0
        assert b"token-unseen" not in terminal.written
    assert '"token-unseen"' in tokens.read_text()
    for place in ("localhost", "localhost/typed"):  # nothing is asked for
        assert ikoma(server, "source-token", APP, place, "--remove", "--yes").returncode == 0
    assert "token-" not in tokens.read_text()
    with Terminal(["query", APP], server.env) as terminal:
        terminal.until("Ctrl-D ends it")
        terminal.type(b"SELECT 40 + 2 AS answer\r" + CTRL_D)
        assert terminal.end() == 0
        assert "42" in terminal.screen()


def test_rows_cannot_steer_the_terminal(server: Server) -> None:
    with Terminal(["query", APP, "SELECT E'\\x1b[31mred\\x07' AS colour"], server.env) as terminal:
        assert terminal.end() == 0
        assert b"\x1b" not in terminal.written
        assert "\\x1b[31mred\\x07" in terminal.screen()


def test_open_run_top_and_trash(server: Server) -> None:
    assert re.fullmatch(
        rf"http://{APP}\.localhost:\d+\n|http://one\.example\.com:\d+\n", ikoma(server, "open", APP).stdout.decode()
    )
    ran = ikoma(server, "run", APP, "--", "sh", "-c", "echo said; exit 7")
    assert (ran.returncode, ran.stdout) == (7, b"said\n")
    told = json.loads(ikoma(server, "run", APP, "--json", "--", "echo", "said").stdout)
    assert (told["exitCode"], told["lines"]) == (0, ["said"])
    services = json.loads(ikoma(server, "top", APP, "--json").stdout)["services"]
    assert [(item["app"], item["service"]) for item in services] == [(APP, "web")]
    assert 0 < services[0]["memoryBytes"] < services[0]["memoryLimitBytes"]
    make_app(server, "gone")
    server.do("apps.remove", {"appName": "gone"})
    entry = json.loads(ikoma(server, "trash", "--json").stdout)["entries"][0]
    assert (entry["app"], entry["caller"], entry["holds"]) == ("gone", "admin", ["folder"])
    assert entry["size"] > 0


def test_deploy_follow_shows_the_logs_afterwards(server: Server) -> None:
    make_app(server, "tells", command='["sh", "-c", "echo it has begun; exec httpd -f -p 3000 -h /www"]')
    with Terminal(["deploy", "tells", "--follow"], server.env) as terminal:
        terminal.until("it has begun")
        assert "serves release" in terminal.screen()
        terminal.type(b"\x03")
        assert terminal.end() == 0
    server.do("apps.remove", {"appName": "tells"})


def test_a_strange_server_is_told_apart(tmp_path: Path) -> None:
    with started_server() as server:
        pass
    env = server.env | {"IKOMA_URL": "http://127.0.0.1:9", "IKOMA_API_KEY": "x"}
    done = subprocess.run([IKOMA, "list", "--json"], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["code"]) == (1, "no_server")

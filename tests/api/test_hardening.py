"""The server's defence against those who mean it no good: headers on every answer, bounds on every connection."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.impatient_server import COMMAND, FEW_CONNECTIONS, LIMITS
from tests.support import IKOMA, Server, eventually
from tests.support import server as started_server

EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@pytest.fixture(scope="module")
def impatient() -> Iterator[Server]:
    """A server whose patience ends after less than a second."""
    with started_server(command=COMMAND) as started:
        yield started


def ask(server: Server, request: bytes, timeout: float = 60) -> tuple[int, dict[str, str], bytes]:
    """Send these bytes and read what comes until the end: status, headers, body."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as connection:
        connection.sendall(request)
        return read(connection, request.split(b" ", 1)[0].decode())


def read(connection: socket.socket, method: str = "POST") -> tuple[int, dict[str, str], bytes]:
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def answer_to_endless(connection: socket.socket, piece: bytes) -> bytes:
    """Send the same again and again, until an answer comes."""
    connection.settimeout(0.05)
    for _ in range(200):
        connection.sendall(piece)
        try:
            return connection.recv(65536)
        except TimeoutError:
            continue
    raise AssertionError("no answer")


def is_ended(connection: socket.socket) -> bool:
    """Waits for the end of what the server sends, and says that it came."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def head(server: Server, *lines: str, first: str = "POST /execute/platform.info HTTP/1.1") -> bytes:
    return "\r\n".join([first, "Host: localhost", f"X-Api-Key: {server.key}", *lines, "", ""]).encode()


# --- headers ---


@pytest.mark.parametrize(
    ("first", "status"),
    [
        ("GET / HTTP/1.1", 307),
        ("GET /docs HTTP/1.1", 200),
        ("GET /health HTTP/1.1", 200),
        ("HEAD /health HTTP/1.1", 200),
        ("GET /openapi.json HTTP/1.1", 200),
        ("GET /capabilities HTTP/1.1", 200),
        ("GET /.well-known/oauth-protected-resource HTTP/1.1", 200),
        ("GET /nothing HTTP/1.1", 404),
        ("GET /execute/platform.info HTTP/1.1", 405),
        ("POST /health HTTP/1.1", 405),
        ("POST /execute/platform.info HTTP/1.1", 200),
        ("POST /execute/no.such HTTP/1.1", 404),
        ("DELETE /mcp HTTP/1.1", 400),
        ("POST /mcp HTTP/1.1", 400),
        ("GET / HTTP/9.9", 400),
        ("this is not HTTP", 400),
        (f"GET /{'x' * 9000} HTTP/1.1", 414),
    ],
)
def test_every_answer_carries_the_headers(server: Server, first: str, status: int) -> None:
    answered, headers, _ = ask(server, head(server, "Connection: close", first=first))
    assert answered == status
    assert {name: headers.get(name) for name in EVERYWHERE} == EVERYWHERE
    assert "permissions-policy" in headers
    assert ("'sha256-" in headers["content-security-policy"]) == first.startswith("GET /docs")
    if not first.startswith("GET /docs"):
        assert headers["content-security-policy"] == NOTHING
    assert "server" not in headers
    assert not any("uvicorn" in value.lower() for value in headers.values())


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["Host: evil.example"], 421),
        (["Origin: https://evil.example"], 403),
        (["X-Api-Key: wrong"], 401),
        (["X-Role: king"], 400),
        (["Content-Length: 99999999"], 413),
        (["Content-Length: 1", "Content-Length: 2"], 400),
        (["Transfer-Encoding: chunked", "Content-Length: 2"], 400),
    ],
)
def test_every_refusal_carries_them_and_the_envelope(server: Server, lines: list[str], status: int) -> None:
    answered, headers, body = ask(server, head(server, *lines, "Connection: close"))
    assert answered == status
    assert {name: headers.get(name) for name in EVERYWHERE} == EVERYWHERE
    assert headers["content-security-policy"] == NOTHING
    refusal = json.loads(body)
    assert refusal["success"] is False
    assert refusal["code"]
    assert refusal["hint"]
    assert refusal["requestId"]


def test_streams_carry_them(server: Server) -> None:
    body = json.dumps(INITIALIZE).encode()
    lines = [f"Content-Length: {len(body)}", "Accept: application/json, text/event-stream", "Connection: close"]
    lines += ["Content-Type: application/json"]
    answered, headers, _ = ask(server, head(server, *lines, first="POST /mcp HTTP/1.1") + body)
    assert answered == 200
    assert headers["cache-control"].startswith("no-store")
    assert {name: headers.get(name) for name in EVERYWHERE} | {"cache-control": "no-store"} == EVERYWHERE
    assert headers["content-security-policy"] == NOTHING


def test_the_policy_of_the_reference_allows_exactly_what_stands_in_it(server: Server) -> None:
    with urllib.request.urlopen(f"{server.url}/docs") as response:
        policy, page = response.headers["Content-Security-Policy"], response.read().decode()
    inline = re.findall(r"<(style|script)[^>]*>(.*?)</\1>", page, re.DOTALL)
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for _, text in inline]
    assert hashes
    assert re.findall(r"'sha256-[^']+'", policy) == hashes
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"<[^>]+\s(style|on\w+)=", page)  # these the policy does not allow


def peers(server: Server) -> set[tuple[str, int]]:
    """The clients' ends of the connections that a server has."""
    assert server.process is not None
    return {tuple(found.raddr) for found in psutil.Process(server.process.pid).net_connections("tcp") if found.raddr}


# --- sizes ---


def test_headers_have_a_size(server: Server) -> None:
    fits = head(server, *[f"X-{number}: {'x' * 500}" for number in range(60)], "Connection: close")
    assert ask(server, fits)[0] == 200
    answered, headers, body = ask(server, head(server, *[f"X-{number}: {'x' * 500}" for number in range(70)]))
    assert (answered, json.loads(body)["code"]) == (431, "headers_too_large")
    assert headers["connection"] == "close"


def test_headers_have_a_number(server: Server) -> None:
    assert ask(server, head(server, *[f"X-{number}: x" for number in range(97)], "Connection: close"))[0] == 200
    assert ask(server, head(server, *[f"X-{number}: x" for number in range(99)]))[0] == 431


def test_a_header_without_end_is_refused_while_it_comes(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Flood: ")
        for _ in range(33):
            connection.sendall(b"x" * 1024)
        assert read(connection)[0] == 431


def test_the_address_has_a_length(server: Server) -> None:
    assert ask(server, head(server, "Connection: close", first=f"GET /health?{'x' * 8000} HTTP/1.1"))[0] == 200
    answered, _, body = ask(server, head(server, first=f"GET /health?{'x' * 8200} HTTP/1.1"))
    assert (answered, json.loads(body)["code"]) == (414, "url_too_long")


def test_requests_in_one_piece_are_counted_one_by_one(server: Server) -> None:
    one = head(server, f"X-Long: {'x' * 20_000}", first="GET /health HTTP/1.1")
    last = head(server, "Connection: close", first="GET /health HTTP/1.1")
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(one * 4 + last)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert received.count(b"HTTP/1.1 200 ") == 5


def test_what_stands_after_a_chunked_body_is_bounded_and_no_header_of_the_request(server: Server) -> None:
    chunked = head(server, "Transfer-Encoding: chunked", "Connection: close") + b"2\r\n{}\r\n0\r\n"
    assert ask(server, chunked + b"X-Role: king\r\nX-Api-Key: wrong\r\n\r\n")[0] == 200
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(head(server, "Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\nX-Flood: ")
        assert answer_to_endless(connection, b"x" * 8192).startswith(b"HTTP/1.1 431 ")


# --- times ---


def test_a_head_that_comes_slowly_is_cut_off(impatient: Server) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=60) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        received = answer_to_endless(connection, b"x")  # each byte comes in time, the whole does not
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_too_slow"' in received


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"\r\n\r\n\r\n"])
def test_a_connection_without_a_request_is_closed(impatient: Server, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=60) as connection:
        connection.sendall(sent)
        assert is_ended(connection)


def test_a_connection_that_is_kept_is_closed_when_idle(impatient: Server) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=60) as connection:
        for _ in range(2):
            connection.sendall(head(impatient))
            assert read(connection)[0] == 200
        assert is_ended(connection)


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("first", ["POST /execute/apps.status HTTP/1.1", "POST /mcp HTTP/1.1"])
def test_a_body_that_stalls_is_cut_off(impatient: Server, framing: str, first: str) -> None:
    part = b'5\r\n{"app\r\n' if "chunked" in framing else b'{"app'
    lines = [framing, "Content-Type: application/json", "Accept: application/json, text/event-stream"]
    answered, headers, body = ask(impatient, head(impatient, *lines, first=first) + part)
    assert (answered, json.loads(body)["code"]) == (408, "request_too_slow")
    assert {name: headers.get(name) for name in EVERYWHERE} == EVERYWHERE


def test_a_body_that_trickles_is_cut_off(impatient: Server) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=60) as connection:
        connection.sendall(head(impatient, "Content-Length: 100000") + b"{")
        received = answer_to_endless(connection, b" ")  # it never stalls, and never ends either
    assert received.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_keeps_coming_may_take_its_time(impatient: Server) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=60) as connection:
        connection.sendall(head(impatient, "Content-Length: 20002", "Connection: close") + b"{")
        for _ in range(20):
            connection.sendall(b" " * 1000)
            time.sleep(LIMITS.body_seconds / 10)
        connection.sendall(b"}")
        assert read(connection)[0] == 200


def test_a_client_that_asks_before_it_sends_is_told_to(impatient: Server) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=60) as connection:
        connection.sendall(head(impatient, "Content-Length: 2", "Expect: 100-continue", "Connection: close"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"{}")
        assert read(connection)[0] == 200


def test_an_answer_that_is_not_read_is_dropped(impatient: Server) -> None:
    with urllib.request.urlopen(f"{impatient.url}/openapi.json") as response:
        size = int(response.headers["Content-Length"])  # read more slowly than it likes, the rest would not come
    asked = (64 << 20) // size  # far more than the kernel keeps for us
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", impatient.port))
        connection.sendall(head(impatient, first="GET /openapi.json HTTP/1.1") * asked)
        assert connection.recv(1)
        ours = connection.getsockname()
        eventually(lambda: ours not in peers(impatient), "the connection is given up")
        received = 1
        try:
            while piece := connection.recv(1 << 20):
                received += len(piece)
        except ConnectionError:
            pass  # the end comes as one or the other
    assert received < asked * size
    assert impatient.call("platform.info").status == 200


def test_a_stream_may_be_silent_for_as_long_as_it_likes(impatient: Server) -> None:
    body = json.dumps(INITIALIZE).encode()
    accepting = ["Accept: application/json, text/event-stream", "Content-Type: application/json"]
    request = head(impatient, f"Content-Length: {len(body)}", *accepting, first="POST /mcp HTTP/1.1") + body
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=60) as connection:
        connection.sendall(request)
        session = read(connection)[1]["mcp-session-id"]
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=60) as connection:
        lines = [f"Mcp-Session-Id: {session}", "Mcp-Protocol-Version: 2025-06-18", accepting[0]]
        connection.sendall(head(impatient, *lines, first="GET /mcp HTTP/1.1"))
        assert b" 200 " in connection.recv(65536)
        connection.settimeout(4 * max(LIMITS.idle_seconds, LIMITS.write_seconds))
        with pytest.raises(TimeoutError):  # neither a byte nor the end
            while connection.recv(65536):
                pass


# --- how many ---


def test_idle_connections_do_not_keep_a_good_client_out(impatient: Server) -> None:
    with ExitStack() as stack:
        for _ in range(4 * LIMITS.connections):
            stack.enter_context(socket.create_connection(("127.0.0.1", impatient.port), timeout=60))
            assert impatient.call("platform.info").status == 200


def test_where_all_connections_are_at_work_another_is_told_so() -> None:
    with started_server(command=FEW_CONNECTIONS) as few, ExitStack() as stack:
        for _ in range(LIMITS.connections):
            busy = stack.enter_context(socket.create_connection(("127.0.0.1", few.port), timeout=60))
            busy.sendall(head(few, "Content-Length: 100000", "Expect: 100-continue"))
            assert b" 100 " in busy.recv(65536)
        answer = few.call("platform.info")
        assert (answer.status, answer.code) == (503, "too_many_connections")
        assert "retry-after" in {name.lower() for name in answer.headers}
        assert few.cli("call", "platform.info").returncode == 0  # by the unix socket


# --- files ---


def test_what_the_server_makes_is_closed_to_others(server: Server) -> None:
    server.do("apps.init", {"appName": "modes"})
    server.do("db.create", {"appName": "modes"})
    server.do("files.write", {"appName": "modes", "path": "src/deep/er/file", "content": "x"})
    server.do("db.backup", {"appName": "modes"})
    state = Path(server.env["IKOMA_STATE"])
    secret = [server.home / ".env", server.home / "api-key.txt", server.audit_log, *state.glob("state.db*")]
    secret += [state / "postgres" / "password", state / "postgres" / "start.log", *server.backups.glob("modes-*")]
    secret += [path for path in (server.apps / "modes" / ".ikoma").rglob("*") if path.is_file()]
    secret += list((server.apps / ".ikoma" / "locks").iterdir())
    assert len(secret) >= 9
    assert {str(path): oct(path.stat().st_mode & 0o077) for path in secret if path.stat().st_mode & 0o077} == {}


def test_what_containers_read_is_open_to_their_users(server: Server) -> None:
    server.do("apps.init", {"appName": "open"})
    server.do("files.write", {"appName": "open", "path": "src/deep/er/file", "content": "x"})
    app = server.apps / "open"
    for path in (app, *app.rglob("*")):
        if ".ikoma" not in path.parts[len(app.parts) :]:
            assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


@pytest.mark.parametrize("name", ["home/.env", "home/api-key.txt", "state/state.db", "state/postgres/password"])
@pytest.mark.parametrize("mode", [0o604, 0o602, 0o640])
def test_a_secret_file_that_is_open_to_others_stops_the_start(stopped: Server, name: str, mode: int) -> None:
    path = stopped.folder / name
    path.chmod(mode)
    try:
        refused = stopped.cli("up")
        found = json.loads(stopped.cli("doctor", "--json").stdout)
    finally:
        path.chmod(0o600)
    assert refused.returncode != 0
    assert "start_refused" in refused.stderr
    assert f"chmod 600 {path}" in refused.stderr.replace("\n", " ")
    secrets = next(item for item in found if item["check"] == "secrets")
    assert secrets["ok"] is False
    assert str(path) in secrets["fix"]


@pytest.mark.parametrize("name", ["home", "state", "apps", "backups"])
def test_a_folder_that_everybody_can_write_stops_the_start(stopped: Server, name: str) -> None:
    path = stopped.folder / name
    before = path.stat().st_mode & 0o777
    path.chmod(0o777)
    try:
        refused = stopped.cli("up")
    finally:
        path.chmod(before)
    assert refused.returncode != 0
    assert "start_refused" in refused.stderr
    assert f"chmod go-w {path}" in refused.stderr.replace("\n", " ")


def test_a_key_for_ssh_that_is_open_to_others_stops_the_start(stopped: Server) -> None:
    key = stopped.folder / "ssh-key"
    key.write_text("key\n")
    key.chmod(0o644)
    stopped.env["SOURCE_SSH_KEY"] = str(key)
    try:
        refused = stopped.cli("up")
    finally:
        del stopped.env["SOURCE_SSH_KEY"]
    assert refused.returncode != 0
    assert "start_refused" in refused.stderr


def test_secrets_of_apps_are_closed_at_the_start(stopped: Server) -> None:
    app = stopped.apps / "lax"
    (app / ".ikoma").mkdir(parents=True)
    (app / ".ikoma").chmod(0o755)
    (app / ".env").write_text("TOKEN=x\n")
    (app / ".env").chmod(0o644)
    elsewhere = stopped.folder / "elsewhere"
    elsewhere.write_text("x")
    elsewhere.chmod(0o644)
    linked = stopped.apps / "linked"
    linked.mkdir()
    (linked / ".env").symlink_to(elsewhere)
    stopped.start()
    log = stopped.log()
    stopped.stop()
    assert (app / ".env").stat().st_mode & 0o777 == 0o600
    assert (app / ".ikoma").stat().st_mode & 0o777 == 0o700
    assert str(app / ".env") in log
    assert elsewhere.stat().st_mode & 0o777 == 0o644


@pytest.fixture(scope="module")
def stopped() -> Iterator[Server]:
    """A server that has run and does not now."""
    with started_server() as made:
        made.stop()
        yield made


def test_it_takes_the_descriptors_that_it_may_have() -> None:
    with started_server(command=("prlimit", "--nofile=512:8192", str(IKOMA), "up")) as started:
        assert started.process is not None
        limits = Path(f"/proc/{started.process.pid}/limits").read_text()
    assert re.search(r"Max open files +8192 +8192 ", limits)

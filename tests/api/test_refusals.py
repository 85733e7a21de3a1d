"""Bad input, and what it gets: the right status, a stable code, a hint, and nothing touched."""

from __future__ import annotations

import http.client
import json
import os
import socket
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.support import Server
from tests.support import server as started_server

HOSTILE = ["../x", "a/b", "-rf", "a" * 300, "ünïcode", "; rm", "", "a b", "a\0b", "A", "..", "a\n"]


def key_of_role(server: Server, role: str, **scope: object) -> str:
    return server.do("keys.create", {"name": f"test-{role}", "role": role, **scope})["key"]


@pytest.mark.parametrize("key", [None, "wrong", "ikoma_" + "x" * 43])
def test_no_key_or_a_wrong_one_is_401(server: Server, key: str | None) -> None:
    answer = server.call("platform.info", key=key)
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert answer.body["hint"]
    assert "www-authenticate" in {name.lower() for name in answer.headers}


def test_a_key_is_asked_for_before_anything_else_is_told(server: Server) -> None:
    assert server.call("no.such", key=None).status == 401
    assert server.call("apps.status", b"{", key=None).status == 401


@pytest.mark.parametrize("role", ["observer", "operator", "builder"])
def test_a_key_never_raises_its_role_by_asking(server: Server, role: str) -> None:
    key = key_of_role(server, role)
    for wanted in ("operator", "builder", "admin"):
        answer = server.call("platform.info", key=key, role=wanted)
        allowed = ["observer", "operator", "builder", "admin"].index(wanted) <= [
            "observer",
            "operator",
            "builder",
        ].index(role)
        assert answer.status == (200 if allowed else 403)
    assert server.call("keys.list", key=key).code == "role_too_low"


def test_the_role_header_lowers_the_role(server: Server) -> None:
    assert server.call("keys.list", role="builder").code == "role_too_low"
    assert server.call("keys.list", role="ADMIN").status == 200
    assert server.call("keys.list", role="root").code == "unknown_role"


def test_the_role_of_each_capability_is_checked_at_the_call(server: Server) -> None:
    ranks = ["observer", "operator", "builder", "admin"]
    keys = {role: key_of_role(server, role) for role in ranks[:3]}
    for item in server.get("/capabilities").body["capabilities"]:
        for role in ranks[:3]:
            if ranks.index(role) < ranks.index(item["role"]):
                answer = server.call(item["name"], {"appName": "none"}, key=keys[role])
                assert answer.code == "role_too_low", item["name"]


def test_a_scoped_key_reaches_its_apps_only(server: Server) -> None:
    server.call("apps.init", {"appName": "scope-a"})
    server.call("apps.init", {"appName": "scope-b"})
    key = key_of_role(server, "builder", apps=["scope-a*"], capabilities=["apps.*"])
    assert server.call("apps.env.example", {"appName": "scope-a"}, key=key).status == 200
    assert server.call("apps.env.example", {"appName": "scope-b"}, key=key).code == "out_of_scope"
    assert server.call("apps.status", {"appName": "scope-none"}, key=key).code == "out_of_scope"
    assert server.call("db.status", {"appName": "scope-a"}, key=key).code == "out_of_scope"
    assert [app["name"] for app in server.do("apps.list", key=key)["apps"]] == ["scope-a"]
    hint = server.call("apps.status", {"appName": "scope-ab"}, key=key).body["hint"]
    assert "scope-b" not in hint


def test_a_read_only_key_changes_nothing(server: Server) -> None:
    key = key_of_role(server, "admin", readOnly=True)
    assert server.call("apps.init", {"appName": "never"}, key=key).code == "out_of_scope"
    assert not (server.apps / "never").exists()


def test_a_revoked_key_ends_at_once(server: Server) -> None:
    made = server.do("keys.create", {"name": "short", "role": "observer"})
    assert server.call("platform.info", key=made["key"]).status == 200
    server.do("keys.revoke", {"id": made["id"]})
    assert server.call("platform.info", key=made["key"]).status == 401
    assert server.call("keys.revoke", {"id": made["id"]}).status == 404


def test_keys_are_shown_once_and_stored_hashed(server: Server) -> None:
    made = server.do("keys.create", {"name": "once", "role": "observer"})
    assert made["key"] not in json.dumps(server.call("keys.list").body)
    for path in (server.folder / "state").glob("state.db*"):
        assert made["key"].encode() not in path.read_bytes()


@pytest.mark.parametrize("expires", ["2020-01-01T00:00:00Z", "soon"])
def test_a_key_cannot_begin_expired(server: Server, expires: str) -> None:
    assert server.call("keys.create", {"name": "x", "role": "observer", "expires": expires}).status == 422


def test_an_unknown_capability_is_404_with_the_nearest_name(server: Server) -> None:
    answer = server.call("apps.statos", {"appName": "x"})
    assert (answer.status, answer.code) == (404, "unknown_capability")
    assert "apps.status" in answer.body["hint"]


def test_an_unknown_app_is_404_with_the_nearest_name(server: Server) -> None:
    server.call("apps.init", {"appName": "bakery"})
    for capability in ("apps.status", "apps.health", "db.status", "deploy.up", "db.create"):
        answer = server.call(capability, {"appName": "bakerie"})
        assert (answer.status, answer.code) == (404, "app_not_found"), capability
        assert "bakery" in answer.body["hint"], capability
    removing = server.call("apps.remove", {"appName": "bakerie"})
    assert (removing.status, removing.code) == (404, "app_not_found")
    assert "bakery" not in removing.body["hint"]  # who did not write it may not have meant it


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"appName": "x",}', "line 1, column"),
        (b'{\n "appName" "x"}', "line 2, column 12"),
        (b"appName=x", "line 1, column 1"),
        (b'{"appName": "\xff"}', "byte"),
    ],
)
def test_malformed_json_is_400_with_its_position(server: Server, body: bytes, place: str) -> None:
    answer = server.call("apps.status", body)
    assert (answer.status, answer.code) == (400, "malformed_request")
    assert place in answer.body["error"]


@pytest.mark.parametrize(
    "body", [b"[]", b'"x"', b"1", b"null", b"[" * 100_000, b'{"a": ' * 5000, b'{"a": NaN}', b'{"a": "\\ud800"}']
)
def test_json_that_is_no_object_or_no_json_is_400(server: Server, body: bytes) -> None:
    assert server.call("apps.status", body).code == "malformed_request"


def test_the_content_type_does_not_matter_and_raw_newlines_are_taken(server: Server) -> None:
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/json"):
        answer = server.call("apps.init", b'{"appName":\t"typeless"}', headers={"Content-Type": kind})
        assert answer.status == 200
    answer = server.call("apps.status", b'{"appName":"type\nless"}')
    assert answer.code == "invalid_arguments"


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({}, ["appName"]),
        ({"appName": 5}, ["appName"]),
        ({"appName": None}, ["appName"]),
        ({"appName": "x", "colour": "red", "size": 1}, ["colour", "size"]),
        ({"appname": "x"}, ["appName", "appname"]),
        ({"app_name": "x"}, ["appName", "app_name"]),
    ],
)
def test_wrong_arguments_are_422_naming_each(server: Server, arguments: dict[str, object], names: list[str]) -> None:
    answer = server.call("apps.status", arguments)
    assert (answer.status, answer.code) == (422, "invalid_arguments")
    assert sorted(item["argument"] for item in answer.body["details"]["arguments"]) == sorted(names)
    assert all(name in answer.body["error"] for name in names)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_422_and_nothing_is_touched(server: Server, name: str) -> None:
    before = sorted(os.listdir(server.apps)), sorted(os.listdir(server.folder))
    for capability in ("apps.init", "apps.remove", "deploy.up", "db.create", "db.backup"):
        assert server.call(capability, {"appName": name}).status == 422, capability
    assert (sorted(os.listdir(server.apps)), sorted(os.listdir(server.folder))) == before


@pytest.mark.parametrize("name", ["ikoma", "postgres", "template1"])
def test_the_platforms_own_names_are_refused(server: Server, name: str) -> None:
    for capability in ("apps.init", "db.create", "apps.remove"):
        assert server.call(capability, {"appName": name}).status == 422


@pytest.mark.parametrize("name", ["../x.sql", "a/b.sql", "-x.sql", ".x.sql", "x", "x.sql/", "x.txt", "ü.sql"])
def test_hostile_names_of_files_are_422(server: Server, name: str) -> None:
    server.call("apps.init", {"appName": "files"})
    assert server.call("db.backup", {"appName": "files", "backupName": name}).status == 422
    assert server.call("db.migrate", {"appName": "files", "file": name}).status == 422
    assert server.call("db.seed", {"appName": "files", "file": name}).status == 422


@pytest.mark.parametrize(("capability", "limit"), [("apps.status", 1 << 20), ("db.migrate", 32 << 20)])
def test_a_body_over_the_limit_is_413_before_it_is_read(server: Server, capability: str, limit: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.putrequest("POST", f"/execute/{capability}")
    connection.putheader("X-Api-Key", server.key)
    connection.putheader("Content-Length", str(limit + 1))
    connection.endheaders()  # not one byte of the body is sent
    response = connection.getresponse()
    assert response.status == 413
    assert json.loads(response.read())["code"] == "body_too_large"
    connection.close()


def test_a_chunked_body_over_the_limit_is_413(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        head = f"POST /execute/apps.status HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {server.key}\r\n"
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            for _ in range(17):
                connection.sendall(chunk)
        except OSError:
            pass  # the server may answer and close before all is sent
        assert b" 413 " in connection.recv(65536).split(b"\r\n", 1)[0] + b" "


def test_other_methods_and_paths_answer_in_the_same_form(server: Server) -> None:
    answer = server.get("/execute/platform.info")
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    answer = server.get("/nothing/here")
    assert (answer.status, answer.code) == (404, "not_found")


def test_too_many_requests_are_429_with_the_time_to_wait() -> None:
    with started_server(RATE_LIMIT_MAX_REQUESTS="3", RATE_LIMIT_WINDOW_MS="60000") as limited:
        answers = [limited.call("platform.info") for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert int({name.lower(): value for name, value in answers[3].headers.items()}["retry-after"]) >= 1
        assert limited.audited(0, code="rate_limited")


def test_every_refusal_is_in_the_audit_log(server: Server) -> None:
    refused = [
        server.call("platform.info", key="wrong"),
        server.call("keys.list", role="observer"),
        server.call("no.such.capability"),
        server.call("apps.status", b"{"),
        server.call("apps.status", {"appName": "../x"}),
        server.call("apps.status", {"appName": "not-there"}),
    ]
    entries = {entry["requestId"]: entry for entry in server.audit()}
    for answer in refused:
        entry = entries[answer.body["requestId"]]
        assert entry["result"] == "error"
        assert entry["code"] == answer.code
        names = "timestamp requestId capability role caller key arguments result error code duration seq prev"
        assert " ".join(entry) == names


def test_secrets_in_arguments_do_not_reach_the_audit_log(server: Server) -> None:
    server.call("apps.init", {"appName": "hush"})
    server.do("db.create", {"appName": "hush"})
    server.do("db.migrate", {"appName": "hush", "sql": "CREATE TABLE t (p text DEFAULT 'hunter2-in-sql')"})
    server.call("db.migrate", {"appName": "hush", "sql": "SELECT 'hunter2-in-failing-sql'::int"})
    server.call("deploy.up", {"appName": "hush", "env": {"TOKEN": "hunter2-in-env"}})
    server.call("deploy.up", {"appName": "hush", "password": "hunter2-in-unknown"})
    server.call("deploy.up", {"appName": {"x": "hunter2-in-object"}, "env": "hunter2-in-string"})
    text = server.audit_log.read_text()
    assert "hunter2" not in text
    assert '"TOKEN":"[redacted]"' in text
    assert '"appName":"hush"' in text


def test_a_pasted_api_key_is_shown_by_no_answer_and_no_log(server: Server) -> None:
    made = server.do("keys.create", {"name": "pasted", "role": "observer"})
    key = made["key"]
    assert server.do("platform.info", key=key)["version"]
    said = [
        server.call("keys.revoke", {"id": key}),
        server.call("apps.status", {"appName": key}),
        server.call("policy.waive", {"appName": "hush", "rule": key, "reason": f"{key}!", "expires": "2000-01-01"}),
        server.call(key),
        server.call(key, key=None),
        server.call("platform.info", role=key),
        server.call("keys.revoke", {"id": server.key}),
    ]
    shown = json.dumps([answer.body for answer in said]) + server.audit_log.read_text() + server.log()
    shown += json.dumps(server.do("operations.list", {"limit": 100}))
    assert key[6:40] not in shown
    assert server.key[6:40] not in shown
    rotated = server.do("keys.rotate", {"id": made["id"]})["key"]
    assert server.do("platform.info", key=rotated)["version"]
    server.do("keys.revoke", {"id": made["id"]})


@pytest.mark.parametrize("expires", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "banana", "2020-01-01"])
def test_an_end_that_is_no_time_to_come_is_refused(server: Server, expires: str) -> None:
    for capability, arguments in {
        "keys.create": {"name": "timeless", "role": "observer"},
        "policy.waive": {"appName": "hush", "rule": "capabilities", "reason": "to see"},
    }.items():
        answer = server.call(capability, {**arguments, "expires": expires})
        assert (answer.status, answer.code) == (422, "invalid_arguments"), capability


def test_a_waiver_ends_within_a_year(server: Server) -> None:
    asked = {"appName": "waived", "rule": "capabilities", "reason": "to see"}
    server.call("apps.init", {"appName": "waived"})
    now = datetime.now(UTC)
    refused = server.call("policy.waive", {**asked, "expires": (now + timedelta(days=367)).isoformat()})
    assert (refused.status, refused.code) == (422, "invalid_arguments")
    assert "366 days" in refused.body["error"]
    example = refused.body["details"]["arguments"][0]["example"]
    for end in ((now + timedelta(days=365)).isoformat(), example):
        assert server.do("policy.waive", {**asked, "expires": end})["id"]


def test_a_line_that_ikoma_did_not_write_keeps_nobody_from_asking_the_audit_log() -> None:
    with started_server() as server:
        server.do("platform.info")
        with server.audit_log.open("ab") as file:
            file.write(b'{"timestamp":"2026-01-01","capability":"x","arguments":[],"caller":null,"result":"error"}\n')
        answer = server.do("audit.query", {"capability": "platform.info"})
        assert (len(answer["entries"]), answer["odd"]) == (1, 1)
        assert server.do("audit.verify")["valid"] is False


def test_the_audit_log_is_asked_by_time_in_any_zone(server: Server) -> None:
    def found(**asked: object) -> list[str]:
        entries = server.do("audit.query", {"capability": "platform.check", **asked})["entries"]
        return [entry["requestId"] for entry in entries]

    before = datetime.now(UTC)
    mine = server.call("platform.check").body["requestId"]
    zone = timezone(timedelta(hours=2))
    assert mine in found(since=before.astimezone(zone).isoformat(), result="success")
    assert mine not in found(until=before.astimezone(zone).isoformat())
    assert mine in found(until=(before + timedelta(minutes=1)).isoformat())
    assert mine not in found(since=(before + timedelta(minutes=1)).isoformat())
    for wrong in ({"since": "banana"}, {"until": "banana"}, {"result": "banana"}):
        assert server.call("audit.query", wrong).code == "invalid_arguments", wrong

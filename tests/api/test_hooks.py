"""POST /hooks/APP: a push to a real git host deploys, and nothing else does."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import stat
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests import support
from tests.apps import COMPOSE, make_app
from tests.git_host import GitHost
from tests.support import Answer, Server, eventually, fetch

MAIN = "refs/heads/main"
SLOW = '["sh", "-c", "until [ -e /gate/open ]; do sleep 0.1; done; exec httpd -f -p 3000 -h /www"]'
GATED = COMPOSE.replace('"./src:/www:ro"', '"./src:/www:ro", "./gate:/gate"')


@pytest.fixture(scope="module")
def server(host: GitHost) -> Iterator[Server]:
    settings = {"SOURCE_HOSTS": "localhost", "SOURCE_CA_FILE": str(host.ca_file), "AUTH_MAX_FAILURES": "1000"}
    with support.server(**settings) as started:
        yield started


@dataclass
class Hooked:
    """An app with a webhook, and the git host that posts to it."""

    server: Server
    host: GitHost
    app: str
    secret: str

    def push(self, text: str) -> str:
        """A commit whose `ok` says this; the commit's id."""
        return self.host.make(self.app, {"ok": text}, message=text)

    def told(self, commit: str | None = None, ref: str = MAIN, **more: Any) -> bytes:
        """A body such as git hosts send; no two are the same."""
        return json.dumps({"ref": ref, "after": commit or "1" * 40, "at": str(uuid4()), **more}).encode()

    def github(self, body: bytes, *, event: str = "push", identity: str | None = None, secret: str = "") -> Answer:
        headers = {
            "X-Hub-Signature-256": f"sha256={signature(secret or self.secret, body)}",
            "X-GitHub-Delivery": identity or str(uuid4()),
            "X-GitHub-Event": event,
        }
        return self.post(body, headers)

    def gitea(self, body: bytes, *, identity: str | None = None) -> Answer:
        headers = {
            "X-Gitea-Signature": signature(self.secret, body),
            "X-Gitea-Delivery": identity or str(uuid4()),
            "X-Gitea-Event": "push",
        }
        return self.post(body, headers)

    def ours(self, body: bytes, *, at: int | None = None) -> Answer:
        moment = int(time.time()) if at is None else at
        signed = signature(self.secret, f"{moment}.".encode() + body)
        return self.post(body, {"X-Ikoma-Signature": f"t={moment},v1={signed}"})

    def post(self, body: bytes, headers: Mapping[str, str], *, app: str | None = None) -> Answer:
        url = f"{self.server.url}/hooks/{self.app if app is None else app}"
        return fetch(urllib.request.Request(url, data=body, headers=dict(headers), method="POST"))

    def end(self, answer: Answer) -> dict[str, Any]:
        """The operation that a push began, when it has ended."""
        assert answer.status == 202, answer.body
        identity = answer.body["result"]["operationId"]
        ended: dict[str, Any] = self.server.do("operations.wait", {"operationId": identity, "seconds": 120})
        return ended

    def begun(self, answer: Answer) -> bool:
        """Whether the operation that a push began does something already."""
        known = self.server.do("operations.get", {"operationId": answer.body["result"]["operationId"]})
        return bool(known["steps"])

    def deployed(self, answer: Answer) -> str:
        """The commit that a push deployed."""
        ended = self.end(answer)
        assert ended["state"] == "succeeded", ended
        commit: str = ended["result"]["commit"]
        return commit

    def served(self) -> str:
        apps = self.server.do("apps.list")["apps"]
        address = next(found for app in apps if app["name"] == self.app for found in app["urls"] if "//127." in found)
        with urllib.request.urlopen(f"{address}/ok", timeout=60) as answer:
            text: str = answer.read().decode()
        return text

    def shown(self) -> Any:
        return self.server.do("hook.show", {"appName": self.app, "limit": 50})


def signature(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def hooked(server: Server, host: GitHost, app: str, **more: Any) -> Hooked:
    folder = make_app(server, app, **more)
    host.make(app, {"ok": "first"})
    (folder / "src" / "ok").unlink()
    server.do("source.clone", {"appName": app, "url": host.url(app)})
    made = server.do("hook.create", {"appName": app})
    assert (made["url"], made["branch"]) == (f"/hooks/{app}", "main")
    return Hooked(server, host, app, made["secret"])


@pytest.fixture(scope="module")
def quiet(server: Server, host: GitHost) -> Hooked:
    """For deliveries that deploy nothing."""
    return hooked(server, host, "hook-quiet")


@pytest.fixture(scope="module")
def shop(server: Server, host: GitHost) -> Hooked:
    return hooked(server, host, "hook-shop")


def test_a_push_deploys_in_each_of_the_forms(shop: Hooked) -> None:
    for way, text in ((shop.github, "by github"), (shop.gitea, "by gitea"), (shop.ours, "by hand")):
        commit = shop.push(text)
        assert shop.deployed(way(shop.told(commit))) == commit
        assert shop.served() == text
        assert shop.server.do("release.list", {"appName": shop.app})["releases"][0]["commit"] == commit
    last = shop.shown()["last"]
    assert (last["event"], last["deployed"], last["state"], last["reason"]) == ("push", True, "succeeded", None)
    entries = [entry for entry in shop.server.audit() if entry["caller"] == f"hook:{shop.app}"]
    assert {entry["capability"] for entry in entries} == {"hook.deploy"}
    assert {entry["role"] for entry in entries} == {"builder"}
    assert entries[-1]["arguments"] == {"appName": shop.app, "commit": commit}


def test_a_delivery_is_taken_once(shop: Hooked) -> None:
    body = shop.told(shop.push("once"))
    shop.deployed(shop.github(body, identity="one"))
    assert shop.github(body, identity="one").code == "hook_replayed"
    assert shop.github(body, identity="two").code == "hook_replayed"
    assert shop.gitea(body, identity="three").code == "hook_replayed"
    assert shop.github(shop.told(), identity="one").code == "hook_replayed"
    moment = int(time.time())
    shop.deployed(shop.ours(body, at=moment))
    refused = shop.ours(body, at=moment)
    assert (refused.status, refused.code) == (409, "hook_replayed")


def test_a_delivery_is_taken_once_across_a_restart(shop: Hooked) -> None:
    body = shop.told(shop.push("lasting"))
    shop.deployed(shop.github(body))
    shop.server.kill()
    shop.server.start()
    assert shop.github(body).code == "hook_replayed"


def test_a_webhook_comes_back_with_its_app_and_takes_nothing_again(shop: Hooked) -> None:
    body = shop.told(shop.push("kept"))
    shop.deployed(shop.github(body))
    shop.server.do("apps.remove", {"appName": shop.app})
    assert shop.github(body).status == 401
    assert shop.server.do("apps.restore", {"appName": shop.app})["details"]["left"] == []
    assert shop.github(body).code == "hook_replayed"
    commit = shop.push("back")
    assert shop.deployed(shop.github(shop.told(commit))) == commit


def test_what_is_deployed_is_what_the_branch_holds(shop: Hooked) -> None:
    old = shop.push("old")
    new = shop.push("new")
    ended = shop.end(shop.github(shop.told(old)))
    assert ended["result"]["commit"] == new
    assert old in ended["result"]["message"]
    assert shop.served() == "new"


def test_one_deploys_at_a_time_and_of_those_that_wait_the_newest(server: Server, host: GitHost) -> None:
    slow = hooked(server, host, "hook-slow", command=SLOW, compose=GATED)
    gate = server.apps / slow.app / "gate"
    gate.mkdir()
    answers = []
    for text in ("1", "2", "3", "4"):
        commit = slow.push(text)
        answers.append(slow.github(slow.told(commit)))
        if text == "1":
            eventually(lambda: slow.begun(answers[0]), "the first one deploys", seconds=120)
    (gate / "open").touch()
    states = [slow.end(answer)["state"] for answer in answers]
    assert states == ["succeeded", "cancelled", "cancelled", "succeeded"]
    assert slow.served() == "4"
    failure = slow.end(answers[1])
    assert "newer" in json.dumps(failure)


def test_a_failed_deploy_is_told_and_the_old_release_serves(shop: Hooked) -> None:
    before = shop.served()
    compose = shop.server.apps / shop.app / "docker-compose.yml"
    sound = compose.read_text()
    compose.write_text(sound.replace("httpd", "exit-at-once"))
    try:
        ended = shop.end(shop.github(shop.told(shop.push("broken"))))
    finally:
        compose.write_text(sound)
    assert ended["state"] == "failed"
    last = shop.shown()["last"]
    assert (last["deployed"], last["state"]) == (True, "failed")
    assert last["reason"]
    assert shop.served() == before


def test_rows_that_a_failed_deploy_quotes_are_hidden_from_observers(shop: Hooked) -> None:
    shop.server.do("db.create", {"appName": shop.app})
    migration = shop.server.apps / shop.app / "migrations" / "001_cast.sql"
    migration.parent.mkdir(exist_ok=True)
    migration.write_text("SELECT '4111-1111'::integer;\n")
    try:
        ended = shop.end(shop.github(shop.told(shop.push("cast"))))
    finally:
        migration.unlink()
    assert ended["failure"]["code"] == "sql_failed"
    assert "4111-1111" in shop.shown()["last"]["reason"]
    key = shop.server.do("keys.create", {"name": "hook-observer", "role": "observer"})["key"]
    reason = shop.server.do("hook.show", {"appName": shop.app}, key=key)["last"]["reason"]
    assert reason.endswith("InvalidTextRepresentation (22P02).")


def test_nobody_without_the_secret_is_told_anything(quiet: Hooked, server: Server) -> None:
    make_app(server, "hook-none")
    body = quiet.told()
    right = f"sha256={signature(quiet.secret, body)}"
    deliveries: list[tuple[str, bytes, dict[str, str]]] = [
        (quiet.app, body, {"X-Hub-Signature-256": f"sha256={signature('wrong', body)}", "X-GitHub-Event": "push"}),
        (quiet.app, body, {"X-GitHub-Event": "push"}),
        (quiet.app, body + b" ", {"X-Hub-Signature-256": right, "X-GitHub-Event": "push"}),
        (quiet.app, body, {"X-Hub-Signature": "sha1=" + "0" * 40}),
        (quiet.app, body, {"X-Gitlab-Token": f"{quiet.secret}x", "X-Gitlab-Event": "Push Hook"}),
        (quiet.app, body, {"X-Hub-Signature": f"sha256={signature('wrong', body)}", "X-Event-Key": "repo:push"}),
        (quiet.app, body, {"webhook-id": "1", "webhook-timestamp": str(int(time.time())), "webhook-signature": "v1,x"}),
        (quiet.app, body, {"X-Ikoma-Signature": f"t={int(time.time())},v1={signature(quiet.secret, body)}"}),
        (quiet.app, body, {"X-Ikoma-Signature": "t=-1,v1=x"}),
        (quiet.app, body, {"X-Api-Key": server.key}),
        ("hook-none", body, {"X-Hub-Signature-256": right}),
        ("no-such-app", body, {"X-Hub-Signature-256": right}),
        ("", body, {"X-Hub-Signature-256": right}),
        ("..%2F..%2Fetc", body, {"X-Hub-Signature-256": right}),
    ]
    seen = set()
    for app, sent, headers in deliveries:
        answer = quiet.post(sent, headers, app=app)
        told = {name: value for name, value in answer.headers.items() if name.lower() != "date"}
        told["content-length"] = ""
        answer.body.pop("requestId")
        seen.add((answer.status, json.dumps(answer.body), len(told)))
    assert len(seen) == 1, seen
    assert next(iter(seen))[0] == 401
    assert quiet.shown()["last"] is None


def test_what_is_no_push_to_the_branch_deploys_nothing(quiet: Hooked) -> None:
    before = quiet.server.do("operations.list", {"appName": quiet.app})["operations"]
    for body, event in (
        (b'{"zen":"Keep it logically awesome."}', "ping"),
        (quiet.told(), "workflow_run"),
        (quiet.told(ref="refs/heads/other"), "push"),
        (quiet.told(ref="refs/tags/main"), "push"),
        (quiet.told(ref="main"), "push"),
        (quiet.told("0" * 40, deleted=True), "push"),
    ):
        answer = quiet.github(body, event=event)
        assert answer.result["deployed"] is False
        assert quiet.shown()["last"]["reason"] == answer.result["reason"]
    assert quiet.server.do("operations.list", {"appName": quiet.app})["operations"] == before


@pytest.mark.parametrize(
    "ref",
    [
        "--upload-pack=x",
        "refs/heads/../x",
        "",
        "refs/heads/a b",
        "refs/heads/main\n",
        f"{MAIN}:x",
        "refs/heads/x.lock",
        7,
        None,
    ],
)
def test_hostile_refs_are_refused(quiet: Hooked, ref: Any) -> None:
    answer = quiet.github(quiet.told(ref=ref))
    assert (answer.status, answer.code) == (422, "invalid_arguments")


@pytest.mark.parametrize("after", ["--upload-pack=x", "main", 7, "A" * 40, ["x"]])
def test_hostile_commits_are_refused(quiet: Hooked, after: Any) -> None:
    body = json.dumps({"ref": MAIN, "after": after}).encode()
    assert quiet.github(body).status == 422


@pytest.mark.parametrize("body", [b"payload=%7B%7D", b"[]", b"\xff", b'{"ref":', b"[" * 100_000])
def test_a_signed_body_that_is_no_object_is_refused(quiet: Hooked, body: bytes) -> None:
    assert quiet.github(body).status == 400


def test_a_signed_body_of_our_form_is_none_of_theirs(quiet: Hooked) -> None:
    body = quiet.told()
    at = int(time.time())
    signed = signature(quiet.secret, f"{at}.".encode() + body)
    headers = {"X-Hub-Signature-256": f"sha256={signed}", "X-GitHub-Event": "push"}
    assert quiet.post(f"{at}.".encode() + body, headers).status == 400


@pytest.mark.parametrize("off", [-301, -86_400 * 8, 400])
def test_a_signature_of_another_time_is_refused(quiet: Hooked, off: int) -> None:
    answer = quiet.ours(quiet.told(), at=int(time.time()) + off)
    assert (answer.status, answer.code) == (409, "hook_replayed")


@pytest.mark.parametrize("app", ["hook-quiet", "no-such-app"])
def test_a_huge_body_is_refused_whosever_it_is(quiet: Hooked, app: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", quiet.server.port, timeout=60)
    connection.request("POST", f"/hooks/{app}", headers={"Content-Length": str((25 << 20) + 1)})  # and nothing of it
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "body_too_large")
    connection.close()


def test_a_body_may_be_as_large_as_a_git_hosts_is(quiet: Hooked) -> None:
    body = quiet.told(ref="refs/heads/other", commits=["x" * 100] * 9000)
    assert quiet.github(body).result["deployed"] is False


def test_only_post_delivers(quiet: Hooked) -> None:
    assert fetch(urllib.request.Request(f"{quiet.server.url}/hooks/{quiet.app}")).code == "method_not_allowed"


def test_a_new_secret_ends_the_former_and_removal_ends_both(server: Server, host: GitHost) -> None:
    one = hooked(server, host, "hook-ends")
    former = one.secret
    one.secret = server.do("hook.create", {"appName": one.app, "branch": "other"})["secret"]
    body = one.told()
    assert one.github(body, secret=former).code == "hook_refused"
    assert one.github(body).result["reason"] == "refs/heads/main is not refs/heads/other."
    server.do("hook.remove", {"appName": one.app})
    assert one.github(one.told(ref="refs/heads/other")).code == "hook_refused"
    assert one.shown() == {"exists": False, "branch": None, "createdAt": None, "statuses": False, "last": None} | {
        "deliveries": [],
        "refused": 0,
        "refusedAt": None,
        "truncated": False,
    }
    assert server.call("hook.remove", {"appName": one.app}).code == "not_found"
    assert server.call("hook.deploy", {"appName": one.app}).code == "not_found"


def test_a_removed_app_has_no_webhook(server: Server, host: GitHost) -> None:
    gone = hooked(server, host, "hook-gone")
    trash = server.do("apps.remove", {"appName": gone.app})["details"]["trash"]
    assert list(Path(trash).rglob("hook.json"))  # it comes back with the app
    assert gone.github(gone.told()).code == "hook_refused"


def test_a_webhook_needs_a_repository_and_a_branch(server: Server, quiet: Hooked) -> None:
    make_app(server, "hook-bare")
    assert server.call("hook.create", {"appName": "hook-bare"}).code == "source_missing"
    for branch in ("refs/heads/main", "--upload-pack=x", "a..b", "x" * 251, ""):
        refused = server.call("hook.create", {"appName": quiet.app, "branch": branch})
        assert refused.code == "invalid_arguments", branch


def test_the_secret_is_shown_once_and_nowhere_else(server: Server, host: GitHost) -> None:
    one = hooked(server, host, "hook-secret")
    again = server.do("hook.create", {"appName": one.app, "idempotencyKey": "twice"})["secret"]
    assert server.do("hook.create", {"appName": one.app, "idempotencyKey": "twice"})["secret"] == "[shown once]"
    assert one.secret != again
    said = json.dumps(server.call("deploy.up", {"appName": one.app, "reason": f"said {again}"}).body)
    commit = one.push(again)
    one.secret = again
    answer = one.github(one.told(commit))
    said += json.dumps(one.end(answer)) + json.dumps(one.shown())
    said += json.dumps(server.do("operations.list", {"appName": one.app, "limit": 100}))
    said += json.dumps(server.do("audit.query", {"appName": one.app, "limit": 1000}))
    said += json.dumps(server.do("release.list", {"appName": one.app}))
    said += server.log() + server.audit_log.read_text()
    assert again not in said
    place = server.apps / one.app / ".ikoma" / "hook.json"
    assert stat.S_IMODE(os.stat(place).st_mode) == 0o600
    for path in (server.folder / "state").iterdir():
        if path.is_file():
            assert again.encode() not in path.read_bytes(), path


def test_guessing_is_slowed_down_and_the_git_host_beside_it_is_not(host: GitHost) -> None:
    settings = {"SOURCE_HOSTS": "localhost", "SOURCE_CA_FILE": str(host.ca_file), "AUTH_MAX_FAILURES": "3"}
    with support.server(**settings) as server:
        one = hooked(server, host, "hook-guess")
        codes = [one.github(one.told(), secret="guess").code for _ in range(8)]
        assert codes[:3] == ["hook_refused"] * 3
        assert "too_many_failures" in codes[3:]
        assert one.github(b"{}", event="ping").result["deployed"] is False
        refused = [entry for entry in server.audit() if entry["capability"] == f"/hooks/{one.app}"]
        assert {entry["code"] for entry in refused} == {"hook_refused", "too_many_failures"}

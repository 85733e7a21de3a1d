"""POST /hooks/APP as GitLab and Bitbucket send it, large deliveries, what is kept of them, and commit statuses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests import support
from tests.api.test_hooks import MAIN, Hooked, hooked, signature
from tests.git_host import GitHost
from tests.support import Answer, Server

STATUS_TOKEN = "token-that-may-write-statuses"


@pytest.fixture(scope="module")
def server(host: GitHost) -> Iterator[Server]:
    settings = {"SOURCE_HOSTS": "localhost", "SOURCE_CA_FILE": str(host.ca_file), "AUTH_MAX_FAILURES": "1000"}
    with support.server(**settings) as started:
        yield started


@pytest.fixture(scope="module")
def shop(server: Server, host: GitHost) -> Hooked:
    return hooked(server, host, "host-shop")


@pytest.fixture(scope="module")
def quiet(server: Server, host: GitHost) -> Hooked:
    """For deliveries that deploy nothing."""
    return hooked(server, host, "host-quiet")


def gitlab(
    one: Hooked, body: bytes, *, identity: str | None = None, at: int | None = None, event: str = "Push Hook"
) -> Answer:
    identity, moment = identity or str(uuid4()), str(int(time.time()) if at is None else at)
    key = base64.b64decode(one.secret.removeprefix("whsec_"))
    made = hmac.new(key, f"{identity}.{moment}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "webhook-id": identity,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{base64.b64encode(made).decode()}",
        "X-Gitlab-Event": event,
    }
    return one.post(body, headers)


def bitbucket(one: Hooked, told: dict[str, Any], *, event: str = "repo:push") -> Answer:
    body = json.dumps({**told, "at": str(uuid4())}).encode()
    headers = {
        "X-Hub-Signature": f"sha256={signature(one.secret, body)}",
        "X-Event-Key": event,
        "X-Request-UUID": str(uuid4()),
    }
    return one.post(body, headers)


def changed(name: str, commit: str) -> dict[str, Any]:
    new = {"type": "branch", "name": name, "target": {"hash": commit}}
    return {"push": {"changes": [{"new": new, "old": None}]}}


def test_a_push_deploys_in_the_forms_of_gitlab_and_bitbucket(shop: Hooked) -> None:
    commit = shop.push("by gitlab")
    body = shop.told(commit, object_kind="push")
    assert shop.deployed(gitlab(shop, body, identity="one")) == commit
    assert shop.served() == "by gitlab"
    assert gitlab(shop, shop.told(object_kind="push"), identity="one").code == "hook_replayed"
    commit = shop.push("by the older token")
    body = shop.told(commit, object_kind="push")
    headers = {"X-Gitlab-Token": shop.secret, "X-Gitlab-Event": "Push Hook", "X-Gitlab-Event-UUID": "u-1"}
    assert shop.deployed(shop.post(body, headers)) == commit
    assert shop.post(body, {**headers, "X-Gitlab-Event-UUID": "u-2"}).code == "hook_replayed"
    commit = shop.push("by bitbucket")
    assert shop.deployed(bitbucket(shop, changed("main", commit))) == commit
    commit = shop.push("by a data center")
    center = {"changes": [{"ref": {"id": MAIN}, "toHash": commit, "type": "UPDATE"}]}
    assert shop.deployed(bitbucket(shop, center, event="repo:refs_changed")) == commit
    assert shop.served() == "by a data center"
    shown = shop.shown()["deliveries"]
    assert [item["host"] for item in shown if item["deployed"]] == ["bitbucket", "bitbucket", "gitlab", "gitlab"]
    assert [item["code"] for item in shown if not item["deployed"]] == ["hook_replayed", "hook_replayed"]
    assert (shown[0]["commit"], shown[0]["ref"], shown[0]["state"]) == (commit, MAIN, "succeeded")


@pytest.mark.parametrize("off", [-301, 400])
def test_a_signature_of_gitlab_is_good_for_five_minutes(quiet: Hooked, off: int) -> None:
    answer = gitlab(quiet, quiet.told(object_kind="push"), at=int(time.time()) + off)
    assert (answer.status, answer.code) == (409, "hook_replayed")
    assert quiet.shown()["last"]["code"] == "hook_replayed"


def test_why_nothing_was_deployed_is_told_of_each_delivery(quiet: Hooked) -> None:
    gone = {"push": {"changes": [{"new": None, "old": {"type": "branch", "name": "main"}}]}}
    tag = quiet.told(object_kind="tag_push", ref="refs/tags/v1")
    deliveries: list[tuple[Callable[[], Answer], str]] = [
        (lambda: bitbucket(quiet, gone), "refs/heads/main was deleted."),
        (
            lambda: bitbucket(quiet, {"test": True}, event="diagnostics:ping"),
            "The event is diagnostics:ping, not repo:push.",
        ),
        (lambda: gitlab(quiet, tag, event="Tag Push Hook"), "refs/tags/v1 is not refs/heads/main."),
        (
            lambda: gitlab(quiet, b'{"object_kind":"issue"}', event="Issue Hook"),
            "The event is Issue Hook, not push.",
        ),
    ]
    for deliver, reason in deliveries:
        assert deliver().result == {"deployed": False, "reason": reason}
        last = quiet.shown()["last"]
        assert (last["deployed"], last["reason"], last["operationId"]) == (False, reason, None)
    assert quiet.github(b"[]").status == 400
    assert quiet.shown()["last"]["code"] == "malformed_request"


def test_the_last_fifty_deliveries_are_kept_across_a_restart(quiet: Hooked) -> None:
    for number in range(55):
        quiet.github(quiet.told(ref=f"refs/heads/number-{number}"), identity=f"delivery {number}")
    quiet.server.kill()
    quiet.server.start()
    shown = quiet.shown()["deliveries"]
    assert [item["delivery"] for item in shown] == [f"delivery {number}" for number in range(54, 4, -1)]
    assert shown[0]["ref"] == "refs/heads/number-54"


def test_deliveries_with_a_wrong_secret_are_counted(quiet: Hooked) -> None:
    before = quiet.shown()["refused"]
    quiet.github(quiet.told(), secret="another one than that")
    shown = quiet.shown()
    assert shown["refused"] == before + 1
    assert shown["refusedAt"]


def test_a_body_of_25_mib_deploys_in_bounded_memory(shop: Hooked) -> None:
    commit = shop.push("by a large body")
    filler = json.dumps({"id": "b" * 40, "message": "m" * 400, "added": ["a"]}) + ","
    count = (24 << 20) // len(filler)
    body = json.dumps({"ref": MAIN, "after": commit, "at": str(uuid4())})[:-1].encode()
    body += b',"commits":[' + (filler * count).encode() + b'{"id":"last"}]}'
    assert 24 << 20 < len(body) <= 25 << 20
    assert shop.server.process is not None
    status = f"/proc/{shop.server.process.pid}/status"
    peaks: list[int] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.01):
            with open(status) as file:
                peaks.append(next(int(line.split()[1]) << 10 for line in file if line.startswith("RssAnon:")))

    watching = threading.Thread(target=look)
    watching.start()
    try:
        answers: list[Answer] = []
        wrong = {"X-Hub-Signature-256": f"sha256={'0' * 64}", "X-GitHub-Event": "push"}
        posting = [threading.Thread(target=lambda: answers.append(shop.post(body, wrong))) for _ in range(4)]
        for thread in posting:
            thread.start()
        for thread in posting:
            thread.join()
        assert [answer.code for answer in answers] == ["hook_refused"] * 4
        answer = shop.github(body)
    finally:
        ended.set()
        watching.join()
    assert shop.deployed(answer) == commit
    assert max(peaks) - peaks[0] < 24 << 20  # five bodies of 24 MiB went through
    assert shop.served() == "by a large body"
    assert not [name for name in os.listdir(shop.server.folder / "state") if name.startswith("tmp")]


def test_a_larger_body_is_refused_and_on_record(quiet: Hooked) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", quiet.server.port, timeout=60)
    connection.request("POST", f"/hooks/{quiet.app}", headers={"Content-Length": str((25 << 20) + 1)})
    assert connection.getresponse().status == 413
    connection.close()
    deadline = time.monotonic() + 90
    while not any(entry.get("code") == "body_too_large" for entry in quiet.server.audit()):
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("branch", ["feature/größe", "fix#12/日本語"])
def test_a_branch_of_any_name_deploys(server: Server, host: GitHost, branch: str) -> None:
    app = f"host-branch-{len(branch)}"
    one = hooked(server, host, app)
    made = server.do("hook.create", {"appName": app, "branch": branch})
    one.secret = made["secret"]
    commit = host.branch(app, branch, {"ok": branch})
    assert one.deployed(one.github(one.told(commit, ref=f"refs/heads/{branch}"))) == commit
    assert one.served() == branch
    assert one.github(one.told()).result["reason"] == f"{MAIN} is not refs/heads/{branch}."
    assert server.do("source.checkout", {"appName": app, "ref": branch})["commit"] == commit


def test_a_secret_that_the_git_host_has_made_is_taken(server: Server, quiet: Hooked) -> None:
    own = "whsec_" + base64.b64encode(b"made by the git host, 32 bytes..").decode()
    asked = {"appName": quiet.app, "secret": own}
    assert server.do("hook.create", asked)["secret"] == own
    quiet.secret = own
    assert gitlab(quiet, quiet.told(object_kind="push", ref="refs/heads/x")).result["deployed"] is False
    assert server.call("hook.create", {"appName": quiet.app, "secret": "short"}).code == "invalid_arguments"


@pytest.mark.parametrize("kind", ["github", "gitea", "gitlab", "bitbucket"])
def test_the_git_host_is_told_what_became_of_a_push(server: Server, host: GitHost, kind: str) -> None:
    app = f"host-status-{kind}"
    one = hooked(server, host, app)
    asked = {"appName": app, "statusToken": STATUS_TOKEN}
    one.secret = server.do("hook.create", asked)["secret"]
    host.statuses.clear()

    def deliver(commit: str) -> Answer:
        if kind == "gitlab":
            return gitlab(one, one.told(commit, object_kind="push"))
        if kind == "bitbucket":
            return bitbucket(one, changed("main", commit))
        return getattr(one, kind)(one.told(commit))  # type: ignore[no-any-return]

    commit = one.push("told")
    assert one.deployed(deliver(commit)) == commit
    path, header, value, states = {
        "github": (f"/api/v3/repos/{app}/statuses/{commit}", "Authorization", f"Bearer {STATUS_TOKEN}", "state"),
        "gitea": (f"/api/v1/repos/{app}/statuses/{commit}", "Authorization", f"token {STATUS_TOKEN}", "state"),
        "gitlab": (f"/api/v4/projects/{app}/statuses/{commit}", "PRIVATE-TOKEN", STATUS_TOKEN, "state"),
        "bitbucket": (
            f"/2.0/repositories/{app}/commit/{commit}/statuses/build",
            "Authorization",
            f"Bearer {STATUS_TOKEN}",
            "state",
        ),
    }[kind]
    ways = {
        "github": ["pending", "success"],
        "gitea": ["pending", "success"],
        "gitlab": ["running", "success"],
        "bitbucket": ["INPROGRESS", "SUCCESSFUL"],
    }[kind]
    assert [told["path"] for told in host.statuses] == [path, path]
    assert [told["headers"][header] for told in host.statuses] == [value, value]
    assert [told["body"][states] for told in host.statuses] == ways
    if kind == "bitbucket":
        assert host.statuses[-1]["body"]["url"].startswith("https://")
    last = one.shown()["last"]
    assert (last["status"], one.shown()["statuses"]) == ("Sent: success.", True)
    if kind == "github":
        compose = server.apps / app / "docker-compose.yml"
        compose.write_text(compose.read_text().replace("httpd", "exit-at-once"))
        assert one.end(deliver(one.push("fails")))["state"] == "failed"
        assert host.statuses[-1]["body"]["state"] == "failure"
    said = json.dumps(server.do("audit.query", {"appName": app, "limit": 100})) + json.dumps(one.shown())
    said += server.log() + server.audit_log.read_text() + json.dumps(server.do("operations.list", {"appName": app}))
    assert STATUS_TOKEN not in said


def test_a_host_that_cannot_be_told_holds_no_deploy_up(server: Server, host: GitHost) -> None:
    one = hooked(server, host, "host-untold")
    for url, why in (
        ("https://169.254.169.254/api/v3", "not among the hosts"),
        ("https://localhost:1/api/v3", "does not answer"),
        (f"{host.address}/no-such-api", "status 404"),
    ):
        asked = {"appName": one.app, "statusToken": STATUS_TOKEN, "statusUrl": url}
        one.secret = server.do("hook.create", asked)["secret"]
        commit = one.push(url)
        assert one.deployed(one.github(one.told(commit))) == commit
        assert why in one.shown()["last"]["status"]
    for url in ("http://localhost/api", "https://user:pw@localhost/api", "file:///etc", "https://localhost/a?b"):
        refused = server.call("hook.create", {"appName": one.app, "statusToken": STATUS_TOKEN, "statusUrl": url})
        assert refused.code == "invalid_arguments"
    assert server.call("hook.create", {"appName": one.app, "statusUrl": host.address}).code == "invalid_arguments"

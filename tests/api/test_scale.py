"""More containers of a service, and fewer, while requests are under way."""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.apps import COMPOSE, SERVE, make_app
from tests.faults.server_observations import Background
from tests.images import busybox_image
from tests.support import Server, eventually
from tests.traffic import steady

APP = "scaled"
CLIENTS = 4
CGI = "#!/bin/sh\nsleep 3\necho 'Content-Type: text/plain'\necho\nhostname\n"
NAME = "#!/bin/sh\necho 'Content-Type: text/plain'\necho \"Content-Length: $(hostname | wc -c)\"\necho\nhostname\n"
MANY = COMPOSE.replace(
    "\nx-ikoma:",
    "\n  worker:\n    image: {image}\n    command: [sleep, infinity]\n    init: true\n"
    "  keeper:\n    image: {image}\n    command: [sleep, infinity]\n    init: true\n    volumes: ['kept:/data']\n"
    "volumes: {{kept: {{}}}}\nx-ikoma:",
)


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[str]:
    folder = make_app(server, APP, compose=MANY)
    (folder / "src" / "cgi-bin").mkdir()
    for name, text in (("slow", CGI), ("name", NAME)):
        script = folder / "src" / "cgi-bin" / name
        script.write_text(text)
        script.chmod(0o755)
    server.do("deploy.up", {"appName": APP})
    yield APP
    server.do("apps.remove", {"appName": APP})


def url(server: Server, path: str) -> str:
    port = (server.apps / APP / ".ikoma" / "port").read_text()
    return f"http://127.0.0.1:{port}{path}"


def running(server: Server, service: str) -> int:
    services = server.do("apps.status", {"appName": APP})["services"]
    return sum(item["name"] == service and item["state"] == "running" for item in services)


def scale(server: Server, service: str, replicas: int) -> dict[str, object]:
    done = server.do("deploy.scale", {"appName": APP, "service": service, "replicas": replicas}, role="operator")
    details: dict[str, object] = done["details"]
    assert (details["service"], details["replicas"]) == (service, replicas)
    return details


def test_a_web_service_grows_and_shrinks_without_losing_a_request(server: Server, app: str) -> None:
    slow: list[str] = []

    def ask_slowly() -> None:
        with urllib.request.urlopen(url(server, "/cgi-bin/slow"), timeout=60) as answer:
            slow.append(answer.read().decode())

    scale(server, "web", 3)
    assert running(server, "web") == 3
    with steady(url(server, "/cgi-bin/name"), rate=20, clients=CLIENTS) as traffic:
        eventually(lambda: len(traffic.answers) == 3, "each of them answers", seconds=60)
        asking = [threading.Thread(target=ask_slowly) for _ in range(3)]
        for thread in asking:
            thread.start()
        time.sleep(0.5)
        scale(server, "web", 1)
        for thread in asking:
            thread.join()
        assert running(server, "web") == 1
        before = traffic.count
        eventually(lambda: traffic.count > before + CLIENTS, "what was asked before is answered", seconds=60)
        traffic.answers.clear()
        eventually(lambda: traffic.count > 10 * CLIENTS, "much is asked", seconds=60)
        assert len(traffic.answers) == 1
    assert traffic.failures == []
    assert len(slow) == 3
    assert server.do("artifact.verify_release", {"appName": APP})["verified"]


def test_a_number_is_kept_by_later_releases_and_may_be_none(server: Server, app: str) -> None:
    scale(server, "worker", 2)
    assert running(server, "worker") == 2
    scale(server, "worker", 3)
    assert running(server, "worker") == 3
    server.do("deploy.up", {"appName": app, "env": {"ANEW": "1"}})
    assert running(server, "worker") == 3
    shown = server.do("release.show", {"appName": app})["services"]
    assert {item["name"]: item["scale"] for item in shown} == {"web": 1, "worker": 3, "keeper": 1}
    scale(server, "worker", 0)
    assert running(server, "worker") == 0
    assert server.do("apps.health", {"appName": app})["health"] == "healthy"
    server.do("deploy.restart", {"appName": app})
    assert running(server, "worker") == 0
    scale(server, "worker", 1)
    assert running(server, "worker") == 1


def test_what_cannot_be_scaled_is_refused_with_the_reason(server: Server, app: str) -> None:
    def refusal(service: str, replicas: int) -> tuple[int, str, str]:
        answer = server.call("deploy.scale", {"appName": app, "service": service, "replicas": replicas})
        return answer.status, answer.code, f"{answer.body['error']} {answer.body['hint']}"

    status, code, text = refusal("keeper", 2)
    assert (status, code) == (409, "cannot_run_twice")
    assert "the volume kept" in text
    status, code, text = refusal("wroker", 2)
    assert (status, code) == (404, "service_not_found")
    assert "worker" in text
    assert refusal("web", 0)[:2] == (409, "web_needed")
    for wrong in (-1, 21, "2"):
        assert refusal("worker", wrong)[1] == "invalid_arguments"
    make_app(server, "scaled-not")
    answer = server.call("deploy.scale", {"appName": "scaled-not", "service": "web", "replicas": 2})
    assert answer.code == "not_deployed"
    server.do("apps.remove", {"appName": "scaled-not"})


def test_a_scale_that_fails_leaves_the_former_number(server: Server, app: str) -> None:
    folder = server.apps / app
    # Only the first container of this release comes up: the second finds the place taken.
    broken = MANY.replace(
        "  worker:\n    image: {image}\n    command: [sleep, infinity]\n",
        '  worker:\n    image: {image}\n    volumes: ["./src/once:/once"]\n'
        '    command: [sh, -c, "mkdir /once/taken && exec sleep infinity"]\n',
    ).replace("x-ikoma:\n", "x-ikoma:\n  source: [src/once]\n")
    (folder / "src" / "once").mkdir()
    (folder / "docker-compose.yml").write_text(broken.format(image=busybox_image(), command=SERVE, health="/ok"))
    server.do("deploy.up", {"appName": app})
    refused = server.call("deploy.scale", {"appName": app, "service": "worker", "replicas": 2})
    assert refused.code == "deploy_failed", refused.body
    assert running(server, "worker") == 1
    assert '"worker":2' not in (folder / ".ikoma" / "scale.json").read_text()


def test_what_cannot_run_twice_any_more_has_one_container_and_a_warning_says_so(server: Server, app: str) -> None:
    folder = server.apps / app
    whole = MANY.format(image=busybox_image(), command=SERVE, health="/ok")
    (folder / "docker-compose.yml").write_text(whole)
    server.do("deploy.up", {"appName": app})
    scale(server, "worker", 3)
    for more in ("ports: ['127.0.0.1:0:80', '127.0.0.1:28127:81']", "volumes: ['kept:/data']"):
        changed = whole.replace("  worker:\n", f"  worker:\n    {more}\n")
        (folder / "docker-compose.yml").write_text(changed)
        [warned] = server.do("apps.validate", {"appName": app})["warnings"]
        assert "worker was scaled to 3 containers, and gets one: " in warned["problem"]
        call = f'deploy.scale {{"appName": "{app}", "service": "worker", "replicas": 1}}'
        assert call in warned["fix"]
        assert "worker was scaled to 3" in str(server.do("deploy.plan", {"appName": app})["findings"])
        done = server.do("deploy.up", {"appName": app})["details"]
        assert "worker was scaled to 3" in str(done["warnings"])
        assert running(server, "worker") == 1
        shown = server.do("release.show", {"appName": app})["services"]
        assert {item["name"]: item["scale"] for item in shown}["worker"] == 1
    (folder / "docker-compose.yml").write_text(whole)
    server.do("deploy.up", {"appName": app})
    assert running(server, "worker") == 3
    server.do("deploy.rollback", {"appName": app})
    assert running(server, "worker") == 1
    scale(server, "worker", 1)
    assert server.do("apps.validate", {"appName": app})["warnings"] == []


@pytest.mark.parametrize("after", ["at once", "taken over"])
def test_a_number_stays_as_it_was_where_its_rollout_was_killed_before_it_served(
    server: Server, app: str, after: str
) -> None:
    state = server.apps / app / ".ikoma"
    server.do("deploy.up", {"appName": app})
    scale(server, "worker", 1)
    serving = (state / "serving.json").read_text()
    call = Background(server, "deploy.scale", {"appName": app, "service": "worker", "replicas": 2})
    if after == "at once":
        eventually(lambda: (state / "scale-former.json").exists(), "the scale has begun")
    else:
        eventually(lambda: (state / "serving.json").read_text() != serving, "the new ones serve")
    server.kill()
    call.wait()
    server.start()
    expected = 1 if after == "at once" else 2
    eventually(lambda: running(server, "worker") == expected, "it is undone or finished")
    server.do("deploy.up", {"appName": app})
    assert running(server, "worker") == expected
    assert not (state / "scale-former.json").exists()

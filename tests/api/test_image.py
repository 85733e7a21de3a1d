"""A service that runs another image, while the app's folder stays as it is."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.apps import COMPOSE, make_app
from tests.images import busybox_image
from tests.support import DOCKER_HOST, Server

APP = "imaged"
OTHER = "ikoma-test-image:second"
BUILT = COMPOSE.replace(
    "\nx-ikoma:",
    "\n  built:\n    build: {{context: ./src, dockerfile_inline: 'FROM {image}'}}\n    command: [sleep, infinity]\n"
    "    init: true\nx-ikoma:",
)


def docker(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(
        ["docker", "-H", DOCKER_HOST, *arguments], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def app(server: Server) -> Iterator[str]:
    docker("build", "-q", "-t", OTHER, "-", text=f"FROM {busybox_image()}\nLABEL which=second\n")
    make_app(server, APP, compose=BUILT)
    server.do("deploy.up", {"appName": APP})
    yield APP
    server.do("apps.remove", {"appName": APP})
    docker("image", "rm", "-f", OTHER)


def test_one_service_runs_another_image_and_the_folder_has_no_part_in_it(server: Server, app: str) -> None:
    folder = server.apps / app
    compose = (folder / "docker-compose.yml").read_text()
    before = server.do("release.show", {"appName": app})
    (folder / "src" / "ok").write_text("not deployed\n")
    (folder / "docker-compose.yml").write_text(compose + "nonsense: true\n")
    done = server.do(
        "deploy.image", {"appName": app, "service": "web", "image": OTHER, "reason": "from a pipeline"}, role="operator"
    )
    details = done["details"]
    assert details["replaced"] == ["web"]
    assert "deploy.up" in details["warnings"][0]
    assert (folder / "docker-compose.yml").read_text() == compose + "nonsense: true\n"
    after = server.do("release.show", {"appName": app})
    assert (after["id"], after["reason"]) == (details["release"], "from a pipeline")
    found = server.do("release.diff", {"appName": app})
    assert [item["service"] for item in found["images"]] == ["web"]
    assert found["images"][0]["after"] == docker("image", "inspect", "-f", "{{.Id}}", OTHER)
    assert found["source"]["count"] == 0
    [changed] = found["changed"]
    assert changed["changes"] == [f"image: {busybox_image()} → {OTHER}"]
    assert after["source"] == before["source"]
    (folder / "docker-compose.yml").write_text(compose)
    assert server.do("apps.health", {"appName": app})["health"] == "healthy"
    assert server.do("deploy.rollback", {"appName": app})["details"]["release"] == before["id"]


def test_what_cannot_run_is_refused_and_what_serves_goes_on(server: Server, app: str) -> None:
    serving = server.do("apps.status", {"appName": app})["release"]

    def refusal(service: str, image: str) -> tuple[int, str]:
        answer = server.call("deploy.image", {"appName": app, "service": service, "image": image})
        return answer.status, answer.code

    assert refusal("built", OTHER) == (409, "service_is_built")
    assert refusal("wbe", OTHER) == (404, "service_not_found")
    assert refusal("web", "ikoma-app/bank/web") == (422, "policy_violation")
    assert refusal("web", "sha256:" + "0" * 64)[0] == 422
    assert refusal("web", "nowhere.invalid/none:1") == (422, "deploy_failed")
    for wrong in ("--privileged", "Upper:1", "a b", "x:${TOKEN}", "", "a@sha256:12", "../x", "x\n"):
        assert refusal("web", wrong) == (422, "invalid_arguments"), wrong
    assert server.do("apps.status", {"appName": app})["release"] == serving
    assert server.do("apps.health", {"appName": app})["health"] == "healthy"


def test_it_is_for_an_app_in_service(server: Server, app: str) -> None:
    server.do("deploy.down", {"appName": app})
    for capability, more in (("deploy.image", {"image": OTHER}), ("deploy.scale", {"replicas": 1})):
        refused = server.call(capability, {"appName": app, "service": "web", **more})
        assert (refused.status, refused.code) == (409, "not_deployed")
        assert "deploy.up" in refused.body["hint"]

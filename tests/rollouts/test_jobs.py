"""Services that end well, and services that keep ending: what counts as done, and what as broken."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.images import busybox_image
from tests.rollouts.live_app import UNTIL_TOLD, docker, docker_json, tell
from tests.support import Server

WATCH = 3


def service(script: str, *more: str) -> str:
    lines = [f"image: {busybox_image()}", "init: true", f"entrypoint: [sh, -c, '{script}']", *more]
    return "".join(f"    {line}\n" for line in lines)


WEB = "  web:\n" + service(
    "mkdir -p /www && echo $$NEW > /www/index.html && exec httpd -f -p 3000 -h /www",
    "environment: {NEW: NUMBER}",
    "restart: unless-stopped",
)
BLOCK = f"x-ikoma: {{service: web, port: 3000, health: /, watch: {WATCH}s, drain: 1s}}\n"


def write(server: Server, name: str, services: str, number: int = 1, block: str = BLOCK) -> None:
    server.do("apps.init", {"appName": name})
    text = f"services:\n{services}{block}".replace("NUMBER", f"'{number}'")
    (server.apps / name / "docker-compose.yml").write_text(text)


def deploy(server: Server, name: str) -> dict[str, Any]:
    return server.do("deploy.up", {"appName": name, "timeout": 60})["details"]


def health(server: Server, name: str) -> dict[str, Any]:
    return server.do("apps.health", {"appName": name}, role="observer")


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.2)


def state_of(project: str, name: str) -> dict[str, Any]:
    """The newest container of a service, as Docker lists it."""
    labels = [f"label=com.docker.compose.project={project}", f"label=com.docker.compose.service={name}"]
    return docker_json("ps", "-a", "--filter", labels[0], "--filter", labels[1])[0]


@pytest.mark.parametrize("restart", ["restart: 'no'", "restart: on-failure:3", "stop_signal: SIGTERM"])
def test_a_job_that_ends_well_leaves_the_app_healthy_and_the_release_serving(server: Server, restart: str) -> None:
    """The last one says nothing of restarts, which for Compose is no."""
    name = "job-" + re.sub("[^a-z0-9]+", "-", restart.lower()).strip("-")
    services = WEB + "  job:\n" + service("sleep 2", restart)
    write(server, name, services)
    deploy(server, name)
    write(server, name, services, number=2)
    release = deploy(server, name)["release"]
    until(lambda: state_of(name, "job").get("State") == "exited")
    until(lambda: not (server.apps / name / ".ikoma" / "standby.json").exists())  # the watch has ended
    seen = health(server, name)
    assert (seen["health"], seen["details"]["containers"]["details"]) == (
        "healthy",
        "1 running as deployed; job has ended well.",
    )
    verified = server.do("artifact.verify_release", {"appName": name})
    assert verified["verified"], verified
    assert server.do("apps.status", {"appName": name})["release"] == release
    reasons = {item["service"]: item["reasons"] for item in server.do("deploy.plan", {"appName": name})["changes"]}
    assert reasons["job"] == ["it runs again with each deploy"]


def test_a_job_that_fails_fails_the_deploy(server: Server) -> None:
    write(server, "job-fails", WEB + "  job:\n" + service("sleep 0.1; exit 3", "restart: 'no'"))
    failed = server.call("deploy.up", {"appName": "job-fails", "timeout": 30})
    assert failed.code == "deploy_failed"
    assert "job exited with code 3" in str(failed.body)


def test_a_job_that_shares_the_healthcheck_of_the_web_service_is_judged_by_its_exit_code(server: Server) -> None:
    check = "healthcheck: {test: [CMD, 'false'], interval: 0.3s, retries: 1}"
    services = WEB + "  job:\n" + service(UNTIL_TOLD, "restart: 'no'", check)
    write(server, "job-check", services)
    deploy(server, "job-check")
    until(lambda: "unhealthy" in state_of("job-check", "job")["Status"])
    assert health(server, "job-check")["health"] == "healthy"
    tell(state_of("job-check", "job")["ID"])
    until(lambda: "job has ended well" in str(health(server, "job-check")))


def test_a_job_whose_own_healthcheck_fails_is_done_when_it_ends_well_and_fails_when_it_does_not(server: Server) -> None:
    ill = ("restart: on-failure", "healthcheck: {test: [CMD, 'false'], interval: 1s, retries: 1}")
    write(server, "job-ill", WEB + "  job:\n" + service("sleep 4", *ill))
    deploy(server, "job-ill")
    assert health(server, "job-ill")["health"] == "healthy"
    write(server, "job-ill", WEB + "  job:\n" + service("sleep 100", *ill))
    refused = server.call("deploy.up", {"appName": "job-ill", "timeout": 5})
    assert refused.code == "deploy_failed", refused.body
    assert "job" in refused.body["error"]


def test_a_job_may_need_a_few_attempts(server: Server) -> None:
    script = "echo x >> /data/tries; test $(wc -l < /data/tries) -ge 4"
    job = service(script, "restart: on-failure", "volumes: ['./data:/data']")
    write(server, "job-tries", WEB + "  job:\n" + job)
    deploy(server, "job-tries")
    until(lambda: health(server, "job-tries")["health"] == "healthy")
    assert (server.apps / "job-tries" / "data" / "tries").read_text() == "x\n" * 4


def test_the_service_that_answers_requests_is_broken_when_it_ends_well(server: Server) -> None:
    """Compose starts it no more, as nothing says `restart`; whatever its exit code, nobody gets an answer."""
    begin = "mkdir -p /www && echo 1 > /www/index.html && httpd -p 3000 -h /www;"
    name = "web-ends"
    write(server, name, "  web:\n" + service(f"{begin} sleep 1000"))
    first = deploy(server, name)["release"]
    write(server, name, "  web:\n" + service(f"{begin} {UNTIL_TOLD}"), block=BLOCK.replace(f"{WATCH}s", "5m"))
    deploy(server, name)
    tell(state_of(name, "web")["ID"])
    until(lambda: server.do("apps.status", {"appName": name})["release"] == first)
    write(server, name, "  web:\n" + service("sleep 0.2"))
    assert "web exited with code 0" in str(server.call("deploy.up", {"appName": name, "timeout": 30}).body)
    write(server, name, "  web:\n" + service(f"{begin} {UNTIL_TOLD}"), block=BLOCK.replace(f"{WATCH}s", "0s"))
    deploy(server, name)
    tell(state_of(name, "web")["ID"])
    until(lambda: state_of(name, "web")["State"] == "exited")
    seen = health(server, name)
    assert seen["health"] != "healthy"
    assert not server.do("artifact.verify_release", {"appName": name})["verified"]


def test_going_back_starts_what_went_on_and_no_job_that_was_done(server: Server) -> None:
    name = "job-back"
    new = "environment: {NEW: NUMBER}"
    job = "  job:\n" + service("echo $$NEW >> /data/ran", "restart: 'no'", "volumes: ['./data:/data']", new)
    worker = "  worker:\n" + service("while true; do sleep 0.1; done", new)
    block = BLOCK.replace(f"{WATCH}s", "60s")
    ran = server.apps / name / "data" / "ran"
    write(server, name, WEB + worker + job, block=block)
    deploy(server, name)
    until(lambda: health(server, name)["health"] == "healthy" and "job has ended well" in str(health(server, name)))
    write(server, name, WEB + worker + job, number=2, block=block)
    deploy(server, name)
    until(lambda: ran.read_text() == "1\n2\n")
    server.do("deploy.rollback", {"appName": name})
    seen = health(server, name)
    assert (seen["health"], seen["details"]["containers"]["details"]) == (
        "healthy",
        "2 running as deployed; job has ended well.",
    )
    assert ran.read_text() == "1\n2\n"
    docker("rm", state_of(name, "job")["ID"])  # as `docker system prune` does, too
    assert health(server, name)["health"] == "healthy"


def test_a_crash_loop_after_the_watch_is_seen_at_every_look(server: Server) -> None:
    name = "loops"
    script = "while [ ! -e /data/crash ]; do sleep 0.1; done; sleep 2; exit 3"
    worker = "  worker:\n" + service(script, "restart: always", "volumes: ['./data:/data']")
    write(server, name, WEB + worker)
    deploy(server, name)
    assert health(server, name)["health"] == "healthy"
    (server.apps / name / "data" / "crash").touch()
    until(lambda: "keeps restarting" in str(health(server, name)))
    looks = []
    end = time.monotonic() + 8  # two lives of the container, and the pauses between them
    while time.monotonic() < end:
        looks.append(health(server, name))
        time.sleep(0.2)
    assert {look["health"] for look in looks} == {"unhealthy"}
    states = {state_of(name, "worker")["State"] for _ in range(20)}
    assert states & {"running", "restarting"}
    said = looks[-1]["details"]["containers"]["details"]
    assert re.search(r"worker keeps restarting: \d+ times since 20\S+Z, last at 20\S+Z, with exit code 3", said)
    verified = server.do("artifact.verify_release", {"appName": name})
    assert not verified["verified"]
    assert "keeps restarting" in str(verified["checks"])


def test_an_app_of_nothing_but_a_job_is_healthy_when_it_is_done(server: Server) -> None:
    write(server, "only-job", "  job:\n" + service("sleep 1.5", "restart: 'no'"), block="")
    deploy(server, "only-job")
    until(lambda: state_of("only-job", "job")["State"] == "exited")
    assert health(server, "only-job")["health"] == "healthy"
    assert server.do("artifact.verify_release", {"appName": "only-job"})["verified"]
    server.do("deploy.down", {"appName": "only-job"})
    assert health(server, "only-job")["health"] == "stopped"

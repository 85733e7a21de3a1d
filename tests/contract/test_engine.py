"""An Engine's promises of deploying: against the real one, with containers that live, fail and die."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma.engines.compose import argv, startup
from ikoma.errors import DeployFailed
from ikoma.ports.progress import ignore_progress
from tests.contract.project import ANSWERS, FAILS, Project, a_project, docker, service, shell
from tests.images import busybox_image


@pytest.fixture
def project() -> Iterator[Project]:
    with a_project() as made:
        yield made


def failure_of(project: Project, services: dict[str, Any], **more: Any) -> DeployFailed:
    with pytest.raises(DeployFailed) as caught:
        project.up(services, **more)
    return caught.value


# --- what succeeds -----------------------------------------------------------------------------------------


def test_a_deploy_ends_when_every_service_is_healthy(project: Project) -> None:
    up = project.up({"web": service(healthcheck=ANSWERS), "worker": service(["sleep", "1000"])})
    assert sorted(item.service for item in up) == ["web", "worker"]
    web, worker = project.containers()["web"], project.containers()["worker"]
    assert (web.state, web.health, web.exit_code) == ("running", "healthy", None)
    assert (worker.state, worker.health) == ("running", None)
    assert web.working_dir == str(project.folder)
    assert web.addresses
    assert "web: healthy" in project.messages
    assert len(set(project.said)) == len(project.said)


def test_new_containers_are_made_and_started_beside_those_that_are_there(project: Project) -> None:
    project.up({"web": service(healthcheck=ANSWERS)})
    before = project.containers()["web"]
    (made,) = project.up({"web": service(healthcheck=ANSWERS, environment={"NEW": "1"})})
    assert made.id != before.id
    states = {item.id: item.state for item in project.do(project.engine.list_containers(project.app))}
    assert states == {before.id: "running", made.id: "running"}


def test_a_running_container_joins_another_network_under_a_name_and_leaves_it(project: Project) -> None:
    (web,) = project.up({"web": service()})
    outer = f"{project.app.project}_outer"
    docker("network", "create", "--label", f"com.docker.compose.project={project.app.project}", outer)
    for _ in range(2):  # the second changes nothing
        project.do(project.engine.connect(outer, web.id, ["known-as"]))
    assert outer in project.containers()["web"].networks
    [networks] = docker("inspect", "-f", "{{json .NetworkSettings.Networks}}", web.id)
    assert '"known-as"' in networks
    for _ in range(2):
        project.do(project.engine.disconnect(outer, web.id))
    assert outer not in project.containers()["web"].networks
    assert project.do(project.engine.remove_network(outer))


def test_what_an_earlier_container_does_fails_no_later_one(project: Project) -> None:
    with pytest.raises(DeployFailed):
        project.up({"web": shell("sleep 1000", healthcheck=FAILS)})
    (made,) = project.up({"web": service(healthcheck=ANSWERS)})
    assert made.health == "healthy"


def test_downtime_is_the_longest_time_without_a_container_that_serves(project: Project) -> None:
    project.up({"web": service(healthcheck=ANSWERS), "db": service(["sleep", "1000"])})
    web = project.containers()["web"]

    async def away() -> int:
        async with project.engine.watch_containers(project.app) as watching:
            await project.engine.stop_containers([web.id])
            await asyncio.sleep(0.5)
            await project.engine.start_again([web.id])
            while (after := await project.engine.list_containers(project.app))[1].health != "healthy":
                await asyncio.sleep(0.05)
            return watching.measure_downtime_ms(after)

    # A second after its start it is healthy at its first check.
    assert 1300 < project.do(away()) < 60_000


def test_a_service_that_others_wait_for_may_end(project: Project) -> None:
    done = {"depends_on": {"prepare": {"condition": "service_completed_successfully", "required": True}}}
    services = {
        "prepare": shell("echo prepared", labels={"ikoma.one-shot": "true"}),
        "web": service(healthcheck=ANSWERS, **done),
    }
    project.up(services)
    containers = project.containers()
    assert (containers["prepare"].state, containers["prepare"].exit_code) == ("exited", 0)
    assert containers["prepare"].one_shot


def test_a_dotenv_is_not_in_effect_when_a_resolved_file_is_deployed(project: Project) -> None:
    (project.folder / ".env").write_text(
        "COMPOSE_FILE=other.yml\nCOMPOSE_PROJECT_NAME=stolen\nDOCKER_HOST=tcp://127.0.0.1:1\nPATH=/evil\n"
        "LD_PRELOAD=/evil.so\nDOCKER_CONTEXT=evil\nCOMPOSE_ENV_FILES=x\nCOMPOSE_PARALLEL_LIMIT=nonsense\n"
    )
    project.up({"web": shell("echo value=$$VALUE; sleep 1000", environment={"VALUE": "${LD_PRELOAD:-none}"})})
    web = project.containers()["web"]
    assert web.name == f"{project.app}-web-1"
    assert project.read_logs(web.id, 5) == ["value=none"]


# --- what fails --------------------------------------------------------------------------------------------


def test_an_app_that_never_becomes_healthy_names_the_service_and_its_healthcheck(project: Project) -> None:
    error = failure_of(project, {"web": shell("echo starting; sleep 1000", healthcheck=FAILS), "ok": service()})
    assert error.message == "The service web is unhealthy: its healthcheck fails."
    assert error.details["service"] == "web"
    assert error.details["state"] == "running"
    assert error.details["exitCode"] is None
    assert error.details["healthcheck"] == "not today"
    assert error.details["logs"] == ["starting"]


def test_a_timeout_names_the_service_it_waited_for(project: Project) -> None:
    slow = {"test": ["CMD", "false"], "interval": "1s", "retries": 100}
    waits = {"depends_on": {"db": {"condition": "service_healthy", "required": True}}}
    error = failure_of(project, {"app": service(**waits), "db": service(healthcheck=slow)}, timeout=3)
    assert error.message == "The service db did not become healthy within 3 s."
    assert error.details["service"] == "db"


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("checked", [True, False])
def test_an_app_whose_container_exits_at_once_is_not_deployed(project: Project, code: int, checked: bool) -> None:
    more = {"healthcheck": ANSWERS} if checked else {}
    error = failure_of(project, {"web": shell(f"echo about to end; exit {code}", **more)})
    assert error.message == f"The service web exited with code {code}."
    assert error.details == {"service": "web", "exitCode": code, "state": "exited", "logs": ["about to end"]}
    assert ("service_completed_successfully" in error.hint) == (code == 0)


@pytest.mark.parametrize(("code", "lives"), [(3, "0"), (0, "0"), (3, "0.4")])
def test_a_crash_loop_is_noticed_long_before_the_timeout(project: Project, code: int, lives: str) -> None:
    began = time.monotonic()
    looping = shell(f"echo attempt; sleep {lives}; exit {code}", restart="always", healthcheck=ANSWERS)
    error = failure_of(project, {"web": looping, "ok": service()}, timeout=200)
    assert time.monotonic() - began < 60
    assert error.message == f"The service web keeps exiting with code {code}."
    assert error.details["service"] == "web"
    assert error.details["exitCode"] == code
    assert "attempt" in error.details["logs"]


@pytest.mark.parametrize("lives", ["0", "0.2", "0.7"])
def test_a_crash_loop_without_a_healthcheck_is_not_a_deploy(
    project: Project, lives: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compose takes a container that happens to run when it looks for one that runs."""
    monkeypatch.setattr(startup, "_STAND_SECONDS", 10.0)  # on a busy machine what sleeps for 0.7 s lives for one
    error = failure_of(project, {"web": shell(f"sleep {lives}; exit 4", restart="always")}, timeout=90)
    assert error.details["exitCode"] == 4


def test_an_app_may_fail_a_start_or_two_before_it_stands(project: Project) -> None:
    path = project.release(
        {
            "web": shell(
                "test -e /second || { touch /second; exit 1; }; exec httpd -f -p 3000 -h /bin",
                restart="always",
                healthcheck=ANSWERS,
            )
        }
    )
    (web,) = project.do(project.start(path))
    assert web.health == "healthy"


def test_a_failed_build_gives_its_last_lines(project: Project) -> None:
    script = f"echo compiling {project.app} && echo 'error: \x1b[31mno semicolon' >&2 && exit 7"
    build = project.image(f"RUN {script}")
    error = failure_of(project, {"web": {"build": build}}, hidden=["semicolon"])
    assert error.message.startswith("The image of web could not be built: ")
    assert "exit 7" in error.message
    assert error.audit_message == "The image of web could not be built."
    assert error.details["service"] == "web"
    assert "error: no ***" in error.details["logs"]
    assert any(message.startswith("build: step 2 of") for message in project.messages)
    assert any(0 < (fraction or 0) < 1 for _, fraction in project.said)


def test_a_failed_build_among_others_blames_none_of_them_wrongly(project: Project) -> None:
    good = project.image(f"RUN sleep 2 # {project.app}")
    bad = project.image(f"RUN exit 7 # {project.app}")
    error = failure_of(project, {"good": {"build": good}, "web": {"build": bad, "image": f"{project.app}/named:1"}})
    assert "could not be built" in error.message
    assert error.details["service"] in (None, "web")


def test_a_missing_image_names_its_service(project: Project) -> None:
    error = failure_of(project, {"web": {"image": "localhost:1/nothing/here:1"}, "ok": service()})
    assert error.message.startswith("The image of web could not be pulled: ")
    assert error.details["service"] == "web"


def test_a_command_that_is_not_there_is_said(project: Project) -> None:
    error = failure_of(project, {"web": service(["no-such-program"], init=False)})
    assert error.message.startswith("The service web could not be started: ")
    assert "no-such-program" in error.message
    assert error.audit_message == "The service web could not be started."
    assert error.details["state"] == "created"


def test_a_host_port_in_use_is_said(project: Project) -> None:
    def ports(name: str) -> list[dict[str, Any]]:
        return [{"target": 3000, "published": "28391", "host_ip": "127.0.0.1", "protocol": "tcp", "name": name}]

    error = failure_of(project, {"a": service(ports=ports("x")), "b": service(ports=ports("y"))})
    assert "28391" in error.message
    assert error.details["service"] in ("a", "b")


def test_a_failed_preparation_stops_the_deploy(project: Project) -> None:
    done = {"depends_on": {"prepare": {"condition": "service_completed_successfully", "required": True}}}
    error = failure_of(project, {"prepare": shell("exit 9", labels={"ikoma.one-shot": "true"}), "web": service(**done)})
    assert error.message == "The service prepare exited with code 9."


def test_a_container_that_needs_too_much_memory_is_said(project: Project) -> None:
    greedy = shell("tail /dev/zero", mem_limit="8m", memswap_limit="8m", init=False, healthcheck=ANSWERS)
    error = failure_of(project, {"web": greedy})
    assert error.message == "The service web needed more memory than its limit and was ended."
    assert error.details["exitCode"] == 137


def test_secrets_are_in_nothing_that_a_failed_deploy_says(project: Project) -> None:
    script = "echo password is hunter2hunter2; echo -e 'key line-one-of-it\\nline-two-of-it'; exit 1"
    hidden = ["hunter2hunter2", "line-one-of-it\nline-two-of-it", "a\"b<c'd"]
    error = failure_of(project, {"web": shell(script)}, hidden=hidden)
    assert error.details["logs"] == ["password is ***", "key ***", "***"]
    named = service(["a\"b<c'd"], init=False)
    error = failure_of(project, {"web": named}, hidden=hidden)
    assert "***" in error.message
    assert 'a"b' not in error.message
    assert not any("hunter2" in message for message in project.messages)


def test_cancelling_a_deploy_ends_at_once(project: Project) -> None:
    path = project.release({"web": service(healthcheck={"test": ["CMD", "false"], "interval": "1s", "retries": 99})})

    async def cancelled() -> None:
        deploying = asyncio.ensure_future(project.start(path, timeout=60))
        while not any("waiting for health" in message for message in project.messages):
            await asyncio.sleep(0.05)
        deploying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deploying

    project.do(asyncio.wait_for(cancelled(), 55))


# --- stopping and removing ---------------------------------------------------------------------------------


def test_down_removes_containers_and_networks_and_keeps_volumes(project: Project) -> None:
    project.up({"web": shell("echo kept > /data/note; sleep 1000", volumes=VOLUME)}, volumes={"store": {}})
    assert project.do(project.engine.list_volumes(project.app)) == [f"{project.app}_store"]
    project.do(project.engine.take_down(project.app, volumes=False, progress=ignore_progress))
    assert project.containers() == {}
    assert docker("network", "ls", "-q", "--filter", f"label=com.docker.compose.project={project.app}") == []
    assert project.do(project.engine.list_volumes(project.app)) == [f"{project.app}_store"]
    project.do(project.engine.take_down(project.app, volumes=True, progress=ignore_progress))
    assert project.do(project.engine.list_volumes(project.app)) == []


def test_down_of_what_is_not_there_is_done(project: Project) -> None:
    project.do(project.engine.take_down(project.app, volumes=True, progress=ignore_progress))


def test_down_ends_though_docker_does_not_give_up_a_network(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.up({"web": service()})
    network, stranger = f"{project.app}_default", f"{project.app}-stranger"
    docker("run", "-d", "--name", stranger, "--network", network, busybox_image(), "sleep", "1000")
    program = tmp_path / "compose"  # where Docker knows of an endpoint and of no container, Compose ends like this
    said = '{"error": true, "message": "error while removing network: it has active endpoints"}'
    program.write_text(f"#!/bin/sh\n{argv.find_compose_program()} \"$@\"\necho '{said}'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(argv, "find_compose_program", lambda: program)
    try:
        project.do(project.engine.take_down(project.app, volumes=True, progress=ignore_progress))
        assert project.containers() == {}
        assert project.do(project.engine.list_networks(project.app)) == [network]
    finally:
        docker("rm", "-f", stranger)
    project.do(project.engine.take_down(project.app, volumes=True, progress=ignore_progress))
    assert project.do(project.engine.list_networks(project.app)) == []


def test_down_leaves_other_projects_alone(project: Project) -> None:
    with a_project() as other:
        other.up({"web": service()})
        project.up({"web": service()})
        project.do(project.engine.take_down(project.app, volumes=True, progress=ignore_progress))
        assert other.containers()["web"].state == "running"


VOLUME = [{"type": "volume", "source": "store", "target": "/data", "volume": {}}]


def test_a_job_that_ends_well_has_come_up_and_one_that_fails_has_not(project: Project) -> None:
    label = {"labels": {"ikoma.one-shot": "job"}}
    [item] = project.up({"job": shell("exit 0", **label)})
    assert (item.is_job, item.is_done, item.state) == (True, True, "exited")
    assert "job: done" in project.messages
    assert failure_of(project, {"job": shell("exit 3", **label)}).details["exitCode"] == 3


def test_how_often_a_container_was_started_again_is_known(project: Project) -> None:
    project.up({"web": shell("sleep 1.5; exit 3", restart="always"), "calm": shell("sleep 1000")})
    item, other = (project.containers()[name] for name in ("web", "calm"))
    calm = project.do(project.engine.read_restarts(other.id))
    assert calm is not None
    assert calm.restarts == 0
    end = time.monotonic() + 120
    seen = False
    while not seen or (lives := project.do(project.engine.read_restarts(item.id))) is None or lives.restarts < 2:
        assert time.monotonic() < end
        seen = seen or project.containers()["web"].started_again
        time.sleep(0.1)
    assert lives.made < lives.started
    docker("rm", "-f", item.id)
    assert project.do(project.engine.read_restarts(item.id)) is None

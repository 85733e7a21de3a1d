from __future__ import annotations

from typing import Any

import pytest

from ikoma.compose.model import parse_model
from ikoma.compose.roles.jobs import find_jobs, is_judged_by_exit

WEB = {"image": "app", "ports": [{"target": 3000, "published": "3000"}]}


def of(**services: dict[str, Any]) -> set[str]:
    return find_jobs(parse_model({"services": services}))


@pytest.mark.parametrize("restart", ["no", "on-failure", "on-failure:3", False, None, ""])
def test_a_service_that_is_not_started_again_may_end(restart: Any) -> None:
    assert of(job={"image": "app", "restart": restart}, web=WEB) == {"job"}


@pytest.mark.parametrize("restart", ["always", "unless-stopped"])
def test_a_service_that_is_always_started_again_is_no_job(restart: str) -> None:
    assert of(worker={"image": "app", "restart": restart}, web=WEB) == set()


@pytest.mark.parametrize(
    ("policy", "is_job"),
    [
        ({"condition": "none"}, True),
        ({"condition": "on-failure", "max_attempts": 3}, True),
        ({"condition": "any"}, False),
        ({"max_attempts": 3}, False),
    ],
)
def test_the_policy_of_deploy_wins_as_compose_has_it(policy: dict[str, Any], is_job: bool) -> None:
    job = {"image": "app", "restart": "always" if is_job else "no", "deploy": {"restart_policy": policy}}
    assert of(job=job, web=WEB) == ({"job"} if is_job else set())


@pytest.mark.parametrize("restart", ["no", "on-failure", None])
def test_the_service_that_answers_requests_is_never_a_job(restart: str | None) -> None:
    assert of(web={**WEB, "restart": restart}) == set()
    named = {"services": {"api": {"image": "app", "restart": restart}}, "x-ikoma": {"service": "api", "port": 80}}
    assert find_jobs(parse_model(named)) == set()


def test_what_others_need_healthy_or_wait_for_is_no_job_of_this_kind() -> None:
    needs = {"a": {"condition": "service_healthy"}, "b": {"condition": "service_completed_successfully"}}
    assert of(a={"restart": "no"}, b={"restart": "no"}, c={"restart": "no"}, web={**WEB, "depends_on": needs}) == {"c"}


@pytest.mark.parametrize(
    "service",
    [
        {"image": "app", "healthcheck": {"test": ["CMD", "true"]}},
        {"image": "app", "ports": [{"target": 25}]},
        {"image": "redis:7"},
        {"image": "postgres:18", "command": ["postgres", "-c", "max_connections=200"]},
        {"image": "mysql", "command": "--skip-log-bin"},
        {"image": "acme/store", "volumes": [{"type": "volume", "source": "d", "target": "/var/lib/postgresql/data"}]},
    ],
)
def test_what_is_seen_to_go_on_is_a_job_only_where_its_file_says_so(service: dict[str, Any]) -> None:
    assert of(other=service, web=WEB) == set()
    assert of(other={**service, "restart": "no"}, web=WEB) == {"other"}


@pytest.mark.parametrize(
    "service",
    [
        {"image": "postgres:18", "command": ["psql", "-f", "/init.sql"]},
        {"image": "minio/mc", "entrypoint": ["sh", "-c", "mc mb shop"]},
        {"image": "redis:7", "entrypoint": ["redis-cli", "ping"]},
        {"image": "app", "healthcheck": {"disable": True}},
    ],
)
def test_a_database_image_that_runs_a_client_may_end(service: dict[str, Any]) -> None:
    assert of(other=service, web=WEB) == {"other"}


@pytest.mark.parametrize(
    ("service", "by_exit"),
    [
        ({"restart": "no", "healthcheck": {"test": ["CMD", "false"]}}, True),
        ({"restart": "no"}, True),
        ({"restart": "on-failure", "command": ["migrate"]}, True),
        ({"entrypoint": ["migrate"]}, True),
        ({"restart": "on-failure", "healthcheck": {"test": ["CMD", "false"]}, "command": ["work"]}, False),
        ({"restart": "on-failure"}, False),
    ],
)
def test_the_healthcheck_of_a_job_counts_where_it_is_its_own(service: dict[str, Any], by_exit: bool) -> None:
    model = parse_model({"services": {"job": {"image": "app", **service}, "web": WEB}})
    assert find_jobs(model) == {"job"}
    assert is_judged_by_exit(model.services["job"]) is by_exit

"""Which services may end: those that others wait for until they have ended, and jobs that are not started again.

A job is done with exit code 0 where its restart policy lets it rest then: `no`, which is Compose's own default, or
`on-failure`. The service that answers the app's requests is never a job. Where nobody has said `restart`, neither is
one that is seen to be meant to go on: it has a healthcheck or a published port, or is a database.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ikoma.apps.compose.backing_services import is_backing_service
from ikoma.apps.compose.compose_file import one_shot_services
from ikoma.apps.compose.web_service import web
from ikoma.errors import InvalidCompose

_RESTS = ("no", "on-failure")
_CONDITIONS = {"none": "no", "on-failure": "on-failure"}
_SERVERS = frozenset(
    ("postgres", "mysqld", "mariadbd", "mongod", "redis-server", "valkey-server", "server", "start", "rabbitmq-server")
)
"""Commands by which a database serves; with any other, its image runs a client."""


def jobs(model: Mapping[str, Any]) -> set[str]:
    """Services of a resolved model that may end well and are done then, besides those that others wait for."""
    services: Mapping[str, Any] = model.get("services") or {}
    try:
        routed = web(model)
    except InvalidCompose:
        routed = None
    lasting = _needed_healthy(services) | one_shot_services(model) | ({routed.service} if routed else set())
    return {name for name in services if name not in lasting and _may_rest(model, name)}


def restart_policy(service: Mapping[str, Any]) -> str | None:
    """When Docker starts a service's containers again: no, on-failure, always, unless-stopped; None where none says."""
    condition = ((service.get("deploy") or {}).get("restart_policy") or {}).get("condition")
    if (service.get("deploy") or {}).get("restart_policy") is not None:  # it wins, as Compose has it
        return _CONDITIONS.get(str(condition), "always")
    said = service.get("restart")
    if said is None or said == "":
        return None
    return "no" if said is False else str(said).partition(":")[0]


def _may_rest(model: Mapping[str, Any], name: str) -> bool:
    service = model["services"][name]
    policy = restart_policy(service)
    return policy in _RESTS if policy is not None else not _goes_on(model, name)


def _goes_on(model: Mapping[str, Any], name: str) -> bool:
    """Whether a service without a restart policy is meant to go on all the same."""
    service = model["services"][name]
    check = service.get("healthcheck") or {}
    is_checked = bool(check.get("test")) and check.get("test") != ["NONE"] and not check.get("disable")
    return is_checked or bool(service.get("ports")) or (is_backing_service(model, name) and _serves(service))


def _serves(service: Mapping[str, Any]) -> bool:
    """Whether a database's container runs the server, as its image would have it."""
    command = service.get("command")
    words = list(map(str, command)) if isinstance(command, list) else str(command or "").split()
    first = words[0].rpartition("/")[2] if words else ""
    return not service.get("entrypoint") and (not first or first.startswith("-") or first in _SERVERS)


def _needed_healthy(services: Mapping[str, Any]) -> set[str]:
    return {
        name
        for service in services.values()
        for name, need in (service.get("depends_on") or {}).items()
        if (need or {}).get("condition") == "service_healthy"
    }

"""Tells which services may end: those that others wait for until they have, and jobs that are not started again.

A job is done with exit code 0 where its restart policy lets it rest then: `no`, which is Compose's own default, or
`on-failure`. The service that answers the app's requests is never a job. Where nobody has said `restart`, neither is
one that is seen to be meant to go on: it has a healthcheck or a published port, or is a database.

A healthcheck tells whether a service answers, and jobs often have that of the service whose image or anchor they
share. So it counts for no job with `restart: no`, and for no other one that has it from its image and runs a command
of its own: what such a job comes to is told by its exit code alone. Where it counts, a deploy waits for health or for
the good end, whichever comes first.
"""

from __future__ import annotations

from ikoma.compose.model import ComposeModel, Service
from ikoma.compose.roles.backing_services import is_backing_service
from ikoma.compose.web_service import find_web
from ikoma.errors import InvalidCompose

_RESTS = ("no", "on-failure")
_SERVERS = frozenset(
    ("postgres", "mysqld", "mariadbd", "mongod", "redis-server", "valkey-server", "server", "start", "rabbitmq-server")
)
"""Commands by which a database serves; with any other, its image runs a client."""


def find_jobs(model: ComposeModel) -> set[str]:
    """Services of a resolved model that may end well and are done then, besides those that others wait for."""
    try:
        routed = find_web(model)
    except InvalidCompose:
        routed = None
    lasting = {*model.needed_healthy, *model.one_shot, *([routed.service] if routed else [])}
    return {name for name in model.services if name not in lasting and _may_rest(model, name)}


def is_judged_by_exit(service: Service) -> bool:
    """Whether a job's healthcheck, if it has one, says nothing of it."""
    if service.restart == "no":
        return True
    return not service.healthcheck.text and bool(service.command or service.entrypoint)


def _may_rest(model: ComposeModel, name: str) -> bool:
    policy = model.services[name].restart
    return policy in _RESTS if policy is not None else not _goes_on(model, name)


def _goes_on(model: ComposeModel, name: str) -> bool:
    """Whether a service without a restart policy is meant to go on all the same."""
    service = model.services[name]
    return service.healthcheck.is_on or bool(service.ports) or (is_backing_service(model, name) and _serves(service))


def _serves(service: Service) -> bool:
    """Whether a database's container runs the server, as its image would have it."""
    first = service.command[0].rpartition("/")[2] if service.command else ""
    return not service.entrypoint and (not first or first.startswith("-") or first in _SERVERS)

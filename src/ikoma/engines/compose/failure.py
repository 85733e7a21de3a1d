"""Finds the service a deploy failed at, and says why in one sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ikoma.engines.compose.downtime import DowntimeWatch
from ikoma.engines.compose.progress import ComposeOutput
from ikoma.engines.docker.containers import Container
from ikoma.engines.docker.readable import make_sentence
from ikoma.errors import DeployFailed, IkomaError, NoAddressesLeft
from ikoma.model import quote_name

LOG_LINES = 20
_ENDED = ("exited", "restarting", "dead", "removing")
_NO_ADDRESSES = re.compile(r"non-overlapping IPv4 address pool|predefined address pools have been fully subnetted")
_OVERLAP = re.compile(r"[Pp]ool overlaps")
_OTHER_SUBNET = "A network is there that has these addresses: give the new one a subnet that meets no other."
_OF_THE_ENGINE = "Error response from daemon: "
_NO_COMMAND = "Its image says nothing to run: give the service a `command:`, or its Dockerfile a CMD."
_SHOULD_WAIT = (
    'A service that is meant to end says `restart: "no"`, or another waits for it with '
    "`depends_on: {SERVICE: {condition: service_completed_successfully}}`; the one that answers requests goes on."
)


def describe_container(
    container: Container,
    output: ComposeOutput,
    watch: DowntimeWatch,
    *,
    timeout: float,
    logs: list[str],
    check: str | None,
) -> DeployFailed:
    """The error for a container in trouble.

    Args:
        timeout: seconds that were given to become healthy.
        logs: its last lines, without secrets.
        check: what its healthcheck said last, without secrets.
    """
    exit_code = container.exit_code
    if container.id == output.unstartable:  # a code that it has is of an earlier life
        exit_code = None
    elif container.state != "created":
        exit_code = watch.exit_codes.get(container.id, exit_code)
    message, audit_message, hint = _reason(container, exit_code, output, watch, timeout)
    details: dict[str, object] = {"service": container.service, "exitCode": exit_code, "state": container.state}
    if check is not None:
        details["healthcheck"] = check
    return DeployFailed(message, hint=hint, audit_message=audit_message, **details, logs=logs)


def describe_other(output: ComposeOutput) -> IkomaError:
    """The error where no container is in trouble: a build, a pull or a network failed."""
    error = make_sentence(output.reason)
    logs = list(output.build_lines)[-LOG_LINES:]
    if output.not_pulled is not None:
        return _image_failed(output.not_pulled, "pulled", error, [])
    if output.not_created is not None:
        return DeployFailed(
            f"No container of the service {output.not_created} could be made: {error.removeprefix(_OF_THE_ENGINE)}",
            audit_message=f"No container of the service {output.not_created} could be made.",
            hint=_NO_COMMAND if "no command specified" in error.lower() else None,
            service=output.not_created,
            exitCode=None,
            state=None,
            logs=logs,
        )
    if output.building:
        return _image_failed(_blamed(output), "built", error, logs)
    if _NO_ADDRESSES.search(error):
        return NoAddressesLeft()
    return DeployFailed(
        f"Compose failed: {error}",
        audit_message="Compose failed.",
        hint=_OTHER_SUBNET if _OVERLAP.search(error) else None,
        service=None,
        exitCode=None,
        state=None,
        logs=logs,
    )


def map_images(project: str, model: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """Service by the name of its image, for what Compose says about images."""
    services = model.get("services") or {}
    defaults = {f"{project}-{name}": name for name in services}
    return defaults | {
        str(service["image"]): name
        for name, service in services.items()
        if isinstance(service, Mapping) and service.get("image")
    }


def _reason(
    container: Container, exit_code: int | None, output: ComposeOutput, watch: DowntimeWatch, timeout: float
) -> tuple[str, str | None, str | None]:
    """Message, another one for the audit log where the first quotes, and hint."""
    name = f"The service {quote_name(container.service)}"
    if container.id in watch.out_of_memory:
        return f"{name} needed more memory than its limit and was ended.", None, "Raise its `mem_limit` or need less."
    if container.id == output.unstartable:
        return f"{name} could not be started: {make_sentence(output.reason)}", f"{name} could not be started.", None
    if container.id in watch.crashing:
        return f"{name} keeps exiting with code {exit_code}.", None, None
    if container.state in _ENDED:
        return f"{name} exited with code {exit_code}.", None, _SHOULD_WAIT if exit_code == 0 else None
    if container.health == "unhealthy":
        return f"{name} is unhealthy: its healthcheck fails.", None, None
    return f"{name} did not become healthy within {timeout:g} s.", None, None


def _image_failed(service: str | None, verb: str, error: str, logs: list[str]) -> DeployFailed:
    image = f"The image of {service}" if service else "An image"
    return DeployFailed(
        f"{image} could not be {verb}: {error}",
        audit_message=f"{image} could not be {verb}.",
        service=service,
        exitCode=None,
        state=None,
        logs=logs,
    )


def _blamed(output: ComposeOutput) -> str | None:
    """The service whose build failed; None where several were being built and Compose does not say which."""
    named = re.match(r"target ([^:\s]+):", output.error or "")
    if named:
        return next((name for name in output.building if name.replace(".", "_") == named[1]), named[1])
    return output.building[0] if len(output.building) == 1 else None


def rank(container: Container) -> tuple[int, str]:
    """The worse a container's state, the lower."""
    if container.state in _ENDED:
        return (0 if container.exit_code else 1), container.name
    if container.state == "created":
        return 4, container.name
    return (2 if container.health == "unhealthy" else 3), container.name

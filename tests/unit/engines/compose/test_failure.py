from __future__ import annotations

import json

import pytest

from ikoma.engines.compose import failure
from ikoma.engines.compose.downtime import DowntimeWatch
from ikoma.engines.compose.progress import ComposeOutput
from ikoma.engines.docker.docker_api import DockerApi
from ikoma.errors import DeployFailed, NoAddressesLeft
from ikoma.kernel.redaction.redaction import KnownSecrets
from ikoma.ports.progress import ignore_progress
from tests.unit.replicas import container


def test_a_container_that_could_not_start_again_is_not_blamed_for_how_it_ended_before() -> None:
    watch = DowntimeWatch(DockerApi("unix:///nowhere"), "shop", ())
    output = ComposeOutput("shop", ignore_progress, KnownSecrets())
    output.note_not_started("a", "cannot join network of a non running container")
    ended = container("a", state="exited", health=None, exit_code=143)
    error = failure.describe_container(ended, output, watch, timeout=1, logs=[], check=None)
    assert "could not be started" in error.message
    assert "143" not in error.message
    assert error.details["exitCode"] is None


def test_a_hint_names_last_lines_only_where_there_are_some() -> None:
    output = ComposeOutput("shop", ignore_progress, KnownSecrets())
    assert "last lines" not in failure.describe_other(output).hint
    ended = container("a", state="exited", health=None, exit_code=3)
    watch = DowntimeWatch(DockerApi("unix:///nowhere"), "shop", ())
    assert "last lines" in failure.describe_container(ended, output, watch, timeout=1, logs=[], check=None).hint


@pytest.mark.parametrize(
    ("said", "kind", "hint"),
    [
        (
            "could not find an available, non-overlapping IPv4 address pool among the defaults to assign",
            NoAddressesLeft,
            "default-address-pools",
        ),
        ("all predefined address pools have been fully subnetted", NoAddressesLeft, "default-address-pools"),
        ("Pool overlaps with other one on this address space", DeployFailed, "a subnet that meets no other"),
    ],
)
def test_where_docker_has_no_addresses_for_a_network_it_says_what_helps(
    said: str, kind: type[Exception], hint: str
) -> None:
    output = ComposeOutput("shop", ignore_progress, KnownSecrets())
    output.read_line(json.dumps({"error": True, "message": f"Error response from daemon: {said}"}))
    error = failure.describe_other(output)
    assert type(error) is kind
    assert hint in error.hint


def test_a_service_of_which_no_container_can_be_made_is_named() -> None:
    output = ComposeOutput("shop", ignore_progress, KnownSecrets())
    output.read_line('{"id":"Container shop-web-1","status":"Working","text":"Creating"}')
    reason = "Error response from daemon: No command specified"
    output.read_line(json.dumps({"id": "service:web:1", "status": "Error", "text": reason}))
    output.read_line(json.dumps({"error": True, "message": reason}))
    error = failure.describe_other(output)
    assert error.message == "No container of the service web could be made: No command specified."
    assert error.details["service"] == "web"
    assert "give the service a `command:`" in error.hint

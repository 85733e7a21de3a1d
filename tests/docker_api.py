"""Docker's own API, for what tests ask and remove again and again: its command costs fifty times as much."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

HOST = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
PROJECT = "com.docker.compose.project"
"""The label by which Compose's things are found."""


def get(path: str, **query: Any) -> Any:
    """Return the engine's answer; values that are no strings are sent as JSON. KeyError where nothing is there."""
    return _ask("GET", path, query)


def remove(kind: str, name: str, **query: Any) -> None:
    """Remove one of the containers, networks, volumes or images."""
    _ask("DELETE", f"/{kind}/{quote(name, safe='/:')}", query)


def list_images(pattern: str) -> list[str]:
    """Tags, with their repositories, of the images whose repository is like the pattern."""
    found = get("/images/json", filters={"reference": [pattern]})
    begin = pattern.partition("*")[0]  # an image may have tags of others besides
    return sorted(tag for item in found for tag in item["RepoTags"] or () if tag.startswith(begin))


def list_volumes(**filters: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] | None = get("/volumes", filters=filters)["Volumes"]
    return found or []


def _ask(method: str, path: str, query: Mapping[str, Any]) -> Any:
    asked = urlencode({name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()})
    connection = http.client.HTTPConnection("docker", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(HOST.removeprefix("unix://"))
        connection.request(method, f"{path}?{asked}")
        answer = connection.getresponse()
        found = json.loads(answer.read() or b"null")
    finally:
        connection.close()
    if answer.status == 404:
        raise KeyError(found["message"])
    assert answer.status in (200, 204), found
    return found

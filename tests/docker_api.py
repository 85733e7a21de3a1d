"""Docker's own API, for what tests ask again and again until it holds: its command costs fifty times as much."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlencode

from tests.support import DOCKER_HOST


def get(path: str, **query: Any) -> Any:
    """Return the engine's answer; values that are no strings are sent as JSON. KeyError where nothing is there."""
    asked = urlencode({name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()})
    connection = http.client.HTTPConnection("docker", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.connect(DOCKER_HOST.removeprefix("unix://"))
        connection.request("GET", f"{path}?{asked}")
        answer = connection.getresponse()
        found = json.loads(answer.read())
    finally:
        connection.close()
    if answer.status == 404:
        raise KeyError(found["message"])
    assert answer.status == 200, found
    return found

"""Talks to the running server: over its unix socket where it is on this machine, else over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import click

from ikoma.cli import naming
from ikoma.cli.output import fail
from ikoma.errors import InvalidSetting
from ikoma.settings import Settings, load_settings

Progress = Callable[[str, float | None], None]

_TIMEOUT = 3700.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(str(self._path))


class Failed(Exception):
    """The server's answer was a failure; `answer` is its envelope."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(answer.get("error"))
        self.answer = answer


def settings_or_exit() -> Settings:
    try:
        return load_settings()
    except InvalidSetting as error:
        fail(error.message, error.code, error.hint)


def call(
    capability: str,
    arguments: Mapping[str, Any],
    progress: Progress | None = None,
    on_line: Callable[[str], None] | None = None,
    on_gap: Callable[[], None] | None = None,
    asks: bool = False,
) -> Any:
    """Call a capability of the running server and return its result.

    Args:
        progress: told of each step of long work: message and fraction (0..1, or None).
        on_line: given each line of an answer that streams.
        on_gap: told before a step where steps were left out.
        asks: whether a call that would lose something for good is refused with what that is.

    Raises:
        Failed: the server refused or the work failed.
    """
    words = naming.Answers(capability, arguments)
    told = None if progress is None else lambda message, fraction: progress(words.sentence(message), fraction)
    settings = settings_or_exit()
    headers = {"X-Api-Key": _key(settings), "Content-Type": "application/json"}
    if role := os.environ.get("IKOMA_ROLE"):
        headers["X-Role"] = role
    if asks:
        headers["X-Confirm"] = "ask"
    if progress is not None or on_line is not None:
        headers["Accept"] = "application/x-ndjson"
    connection = _connection(settings)
    try:
        connection.request("POST", f"/execute/{capability}", json.dumps(arguments).encode(), headers)
        answer = _read(connection.getresponse(), told, on_line, on_gap)
    except (OSError, http.client.HTTPException) as error:
        _no_server(settings, error)
    finally:
        connection.close()
    if not answer.get("success"):
        raise Failed(words.failure(answer))
    return words.result(answer["result"])


def _read(
    response: http.client.HTTPResponse,
    progress: Progress | None,
    on_line: Callable[[str], None] | None,
    on_gap: Callable[[], None] | None,
) -> Mapping[str, Any]:
    for line in response:
        message: Mapping[str, Any] = json.loads(line)
        if "line" in message and on_line is not None:
            on_line(message["line"])
            continue
        if "progress" not in message:
            return message
        if on_gap is not None and message["progress"].get("leftOut"):
            on_gap()
        if progress is not None:
            progress(message["progress"]["message"], message["progress"]["fraction"])
    raise http.client.IncompleteRead(b"")


def _connection(settings: Settings) -> http.client.HTTPConnection:
    if url := os.environ.get("IKOMA_URL"):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            fail(f"IKOMA_URL is {url!r}; it takes http://host:port.", "invalid_setting", "Correct or unset it.")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname, parts.port, timeout=_TIMEOUT)
    unix = _UnixConnection(settings.socket_file)
    try:
        unix.connect()
    except OSError:
        return http.client.HTTPConnection(settings.http_host, settings.http_port, timeout=_TIMEOUT)
    return unix


def _key(settings: Settings) -> str:
    key = os.environ.get("IKOMA_API_KEY") or os.environ.get("API_KEY")
    if key:
        return key
    try:
        return settings.api_key_file.read_text().strip()
    except OSError:
        fail(
            f"There is no API key: {settings.api_key_file} cannot be read.",
            "unauthenticated",
            "Set IKOMA_API_KEY, or run as the user who started the server.",
        )


def _no_server(settings: Settings, error: Exception) -> NoReturn:
    where = os.environ.get("IKOMA_URL") or f"{settings.http_host}:{settings.http_port}"
    fail(
        f"No IKOMA server answers at {where} ({error or type(error).__name__}).",
        "no_server",
        "Start one with `ikoma up`, or set IKOMA_URL to where it is.",
    )


def complete_apps(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of apps for shell completion; silent where there is no server."""
    try:
        apps = call("apps.list", {})["apps"]
    except (Failed, SystemExit):
        return []
    return [app["name"] for app in apps if app["name"].startswith(incomplete)]

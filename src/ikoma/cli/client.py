"""Talks to the running server: over its unix socket where it is on this machine, else over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ikoma.cli import naming
from ikoma.cli.output import fail
from ikoma.errors import InvalidSetting
from ikoma.kernel.words import reword_step
from ikoma.settings import Settings, load_settings

Progress = Callable[[str, float | None], None]

_TIMEOUT = 3700.0
_PIECE = 1 << 20


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        if self.sock is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.settimeout(self.timeout)
            made.connect(str(self._path))
            self.sock = made


class CallFailed(Exception):
    """The server's answer was a failure; `answer` is its envelope."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        super().__init__(answer.get("error"))
        self.answer = answer


def load_settings_or_exit() -> Settings:
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
    on_begin: Callable[[str], None] | None = None,
    asks: bool = False,
    timeout: float = _TIMEOUT,
) -> Any:
    """Call a capability of the running server and return its result.

    Args:
        progress: told of each step of long work: message and fraction (0..1, or None).
        on_line: given each line of an answer that streams.
        on_gap: told before a step where steps were left out.
        on_begin: told the id of the operation, once its first step is known.
        asks: whether a call that would lose something for good is refused with what that is.
        timeout: seconds without a byte, after which the server counts as gone.

    Raises:
        Failed: the server refused, is not there, or the work failed.
    """
    words = naming.AnswerWording(capability, arguments)
    told = None if progress is None else _word_progress(progress, words)
    settings = load_settings_or_exit()
    headers = {"X-Api-Key": _read_key(settings), "Content-Type": "application/json"}
    if role := os.environ.get("IKOMA_ROLE"):
        headers["X-Role"] = role
    if asks:
        headers["X-Confirm"] = "ask"
    if progress is not None or on_line is not None:
        headers["Accept"] = "application/x-ndjson"
    body = json.dumps(arguments).encode()
    with _connected(settings, timeout) as connection:
        connection.request("POST", f"/execute/{capability}", body, headers)
        response = connection.getresponse()
        if on_begin is not None and (identity := response.getheader("X-Request-Id")):
            on_begin(identity)
        answer = _read(response, told, on_line, on_gap)
    if not answer.get("success"):
        raise CallFailed(words.word_failure(answer))
    return words.word_result(answer["result"])


def fetch(path: str) -> Iterator[bytes]:
    """The bytes at an address of the running server, piece by piece; it needs no key.

    Raises:
        CallFailed: the server refused, is not there, or went away before the end.
    """
    with _connected(load_settings_or_exit(), _TIMEOUT) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise CallFailed(json.loads(response.read()))
        while piece := response.read(_PIECE):
            yield piece


@contextmanager
def _connected(settings: Settings, timeout: float) -> Iterator[http.client.HTTPConnection]:
    """A connection to the running server for the block; CallFailed says what became of it."""
    connection = _make_connection(settings, timeout)
    try:
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            raise CallFailed(_report_no_server(settings, error)) from None
        try:
            yield connection
        except (OSError, http.client.HTTPException) as error:
            raise CallFailed(_report_gone(error)) from None
        except ValueError:
            raise CallFailed(_report_stranger(settings)) from None
    finally:
        connection.close()


def _word_progress(progress: Progress, words: naming.AnswerWording) -> Progress:
    """Progress that names commands; what containers and builds say behind a bar stays as it is."""

    def tell(message: str, fraction: float | None) -> None:
        progress(reword_step(message, words.word_sentence), fraction)

    return tell


def _read(
    response: http.client.HTTPResponse,
    progress: Progress | None,
    on_line: Callable[[str], None] | None,
    on_gap: Callable[[], None] | None,
) -> Mapping[str, Any]:
    for line in response:
        message: Any = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError("no answer of IKOMA's")
        if "line" in message and on_line is not None:
            on_line(message["line"])
        elif "progress" not in message:
            if "success" not in message:
                raise ValueError("no answer of IKOMA's")
            return message
        else:
            if on_gap is not None and message["progress"].get("leftOut"):
                on_gap()
            if progress is not None:
                progress(message["progress"]["message"], message["progress"]["fraction"])
    raise http.client.IncompleteRead(b"")


def _make_connection(settings: Settings, timeout: float) -> http.client.HTTPConnection:
    if url := os.environ.get("IKOMA_URL"):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            fail(f"IKOMA_URL is {url!r}; it takes http://host:port.", "invalid_setting", "Correct or unset it.")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname, parts.port, timeout=timeout)
    unix = _UnixConnection(settings.socket_file, timeout)
    try:
        unix.connect()
    except OSError:
        return http.client.HTTPConnection(settings.http_host, settings.http_port, timeout=timeout)
    return unix


def _read_key(settings: Settings) -> str:
    key = os.environ.get("IKOMA_API_KEY") or os.environ.get("API_KEY")
    if key:
        return key
    try:
        return settings.api_key_file.read_text().strip()
    except OSError:
        said = f"There is no API key: {settings.api_key_file} cannot be read."
        hint = "Set IKOMA_API_KEY, or run as the user who started the server."
        raise CallFailed(_report_refusal("unauthenticated", said, hint)) from None


def _report_no_server(settings: Settings, error: Exception) -> Mapping[str, Any]:
    where = os.environ.get("IKOMA_URL") or f"{settings.http_host}:{settings.http_port}"
    return _report_refusal(
        "no_server",
        f"No IKOMA server answers at {where} ({_read_said(error)}).",
        "Start one with `ikoma up`, or set IKOMA_URL to where it is.",
    )


def _report_gone(error: Exception) -> Mapping[str, Any]:
    return _report_refusal(
        "server_gone",
        f"The server went away before its answer was whole ({_read_said(error)}).",
        "Where it runs again (`ikoma up`), `ikoma operations` shows what became of the call.",
    )


def _read_said(error: Exception) -> str:
    if isinstance(error, OSError):
        return (error.strerror or str(error) or type(error).__name__).lower()
    return "the connection ended"


def _report_stranger(settings: Settings) -> Mapping[str, Any]:
    where = os.environ.get("IKOMA_URL") or f"{settings.http_host}:{settings.http_port}"
    return _report_refusal(
        "no_server", f"What answers at {where} is no IKOMA server.", "Correct IKOMA_URL or HTTP_PORT."
    )


def _report_refusal(code: str, error: str, hint: str) -> Mapping[str, Any]:
    return {"success": False, "error": error, "code": code, "hint": hint}

"""Asks the service that answers HTTP whether it does, and where it does not, finds what is in the way.

Asking is cheap, and says yes or no. Explaining also keeps what the app answered that should say that all is well, and
looks on which ports the container listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import aiohttp

from ikoma.app_folder import App
from ikoma.apps.routing import plain_get
from ikoma.apps.routing.addresses import list_addresses
from ikoma.compose.compose_file import Web
from ikoma.errors import IkomaError
from ikoma.kernel.redaction.redaction import FindAppSecrets, KnownSecrets, redact
from ikoma.ports.replicas import Replica
from ikoma.ports.runtime import ListeningPort, Runtime
from ikoma.readable import decode_text, make_readable

_SECONDS = 3.0
_WORST_OF_A_NAMED_PATH, _WORST_ANSWER = 399, 499
_FIRST_GOOD = 200
_MOST_BYTES, _SHOWN = 64 << 10, 2000
_MOST_PORTS = 5
ON_NO_PORT = "It listens on no port."


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One thing that was looked at. `passed` is None where there is nothing to look at.

    `answer` holds what the app itself answered, where it was to say that all is well and did not, and `status` its
    HTTP status.
    """

    passed: bool | None
    details: str
    answer: str = ""
    status: int | None = None

    @property
    def is_bad_answer(self) -> bool:
        """Whether the app itself said that it is not well."""
        return self.status is not None or self.answer != ""


class Probe:
    """Asks web services."""

    def __init__(self, runtime: Runtime, find_secrets: FindAppSecrets) -> None:
        self._find_secrets = find_secrets
        self._runtime = runtime
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask_each(self, web: Web, containers: Sequence[Replica]) -> ProbeResult:
        """Ask whether the HTTP health path of each of these containers of the web service answers 2xx or 3xx."""
        asked = [item for item in containers if item.service == web.service]
        checks = await asyncio.gather(*(self.ask(web, [item]) for item in asked))
        failed = [check for check in checks if not check.passed]
        return (failed or list(checks) or [ProbeResult(False, f"No container of {web.service} runs.")])[0]

    async def explain_first(self, app: App, web: Web, containers: Sequence[Replica]) -> ProbeResult:
        """The reason why the first of these that does not answer does not, with its answer, without secrets."""
        for item in containers:
            check = await self.explain(app, web, [item])
            if not check.passed:
                return check
        return ProbeResult(True, f"{web.service} answers.")

    async def ask(self, web: Web, containers: Sequence[Replica]) -> ProbeResult:
        """Ask whether the first of these containers that is one of the web service and runs answers."""
        return await self._ask(web, containers, most=0)

    async def explain(self, app: App, web: Web, containers: Sequence[Replica]) -> ProbeResult:
        """Ask the first of these containers that is one of the web service and runs, and tell what is in the way: its
        answer, without secrets of the app, or the ports on which it listens.
        """
        check = await self._ask(web, containers, most=_MOST_BYTES)
        if check.passed:
            return check
        if check.answer:
            return replace(check, answer=_redact_answer(check.answer, self._find_secrets(app.name)))
        said = await find_other_ports(self._runtime, web, containers)
        return replace(check, details=f"{check.details} {said}") if said else check

    async def _ask(self, web: Web, containers: Sequence[Replica], *, most: int) -> ProbeResult:
        item = _select_container(web, containers)
        if item is None:
            runs = any(other.service == web.service and other.state == "running" for other in containers)
            return ProbeResult(
                False, f"{web.service} has no address." if runs else f"No container of {web.service} runs."
            )
        [address] = list_addresses(web, [item])
        return await (self._connect(web, address) if web.path is None else self._get(web, address, most))

    async def _get(self, web: Web, address: str, most: int) -> ProbeResult:
        worst = _WORST_OF_A_NAMED_PATH if web.named else _WORST_ANSWER
        host, port = address.rsplit(":", 1)
        try:
            if web.path is not None and plain_get.is_plain(web.path) and ":" not in host:
                async with asyncio.timeout(_SECONDS):
                    status, body = await plain_get.get(
                        host, int(port), web.path, most=lambda status: 0 if _FIRST_GOOD <= status <= worst else most
                    )
                return _judge(web, status, body, worst)
        except TimeoutError:
            return ProbeResult(False, f"{web.path} has not answered within {_SECONDS:g} s.")
        except (OSError, plain_get.NoPlainAnswer):
            pass  # that is found out below
        return await self._get_by_client(web, address, most, worst)

    async def _get_by_client(self, web: Web, address: str, most: int, worst: int) -> ProbeResult:
        """Ask with a client that takes any path, and tells apart how an answer can fail to come."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_SECONDS)
            self._session = aiohttp.ClientSession(
                timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        try:
            async with self._session.get(f"http://{address}{web.path}", allow_redirects=False) as response:
                passed = _FIRST_GOOD <= response.status <= worst
                body = b"" if passed or not most else await _read_beginning(response.content, most)
                return _judge(web, response.status, body, worst)
        except aiohttp.ClientConnectorError:
            return ProbeResult(False, f"{web.path} does not answer: nothing takes connections at port {web.port}.")
        except TimeoutError:
            return ProbeResult(False, f"{web.path} has not answered within {_SECONDS:g} s.")
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError):
            return ProbeResult(False, f"{web.path} does not answer: the connection was ended without a word.")
        except (aiohttp.ClientError, OSError) as error:  # it may quote what came
            return ProbeResult(False, f"{web.path} does not answer as HTTP does.", str(error))

    async def _connect(self, web: Web, address: str) -> ProbeResult:
        """Try whether the port takes connections: all that can be asked where no path is known."""
        host, port = address.rsplit(":", 1)
        try:
            async with asyncio.timeout(_SECONDS):
                _, writer = await asyncio.open_connection(host, int(port))
        except (OSError, TimeoutError):
            return ProbeResult(False, f"Nothing takes connections at port {web.port} of {web.service}.")
        writer.close()
        return ProbeResult(True, f"Port {web.port} of {web.service} takes connections; no health path is named.")


async def find_other_ports(runtime: Runtime, web: Web, containers: Sequence[Replica]) -> str:
    """Tell where the first of these that runs of the web service listens instead of the port that requests go to.

    Empty where it listens there, or that cannot be seen.
    """
    item = _select_container(web, containers)
    try:
        heard = None if item is None else await runtime.list_listening_ports(item)
    except IkomaError:
        return ""
    return "" if heard is None else _describe_listening(web, heard)


def _judge(web: Web, status: int, body: bytes, worst: int) -> ProbeResult:
    passed = _FIRST_GOOD <= status <= worst
    return ProbeResult(passed, f"{web.path} answers {status}.", _read_text(body), None if passed else status)


def _select_container(web: Web, containers: Sequence[Replica]) -> Replica | None:
    return next((item for item in containers if list_addresses(web, [item])), None)


async def _read_beginning(content: aiohttp.StreamReader, most: int) -> bytes:
    found = bytearray()
    try:
        while len(found) < most and (piece := await content.read(most - len(found))):
            found += piece
    except (aiohttp.ClientError, TimeoutError, OSError):
        pass  # what came before is what there is
    return bytes(found)


def _read_text(body: bytes) -> str:
    if not body:
        return ""
    text = decode_text(body, is_part=True)
    return f"[{len(body)} bytes that are no text]" if text is None else text


def _redact_answer(answer: str, known: KnownSecrets) -> str:
    """Cut an answer to its beginning, without secrets and without what would steer a terminal.

    What is secret is taken out of the whole: one that was cut could end in half a secret.
    """
    text = "\n".join(make_readable(line) for line in redact(answer, known.texts).strip().splitlines())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …[cut]"


def _describe_listening(web: Web, heard: Sequence[ListeningPort]) -> str:
    """Describe where a container that cannot be connected to listens."""
    there = sorted({item.port for item in heard if not item.is_local})
    local = sorted({item.port for item in heard if item.is_local} - set(there))
    if web.port in there:
        return ""
    if web.port in local:
        return f"It listens on 127.0.0.1:{web.port}, inside its container only: let it listen on 0.0.0.0."
    if there:
        ports = ", ".join(map(str, there[:_MOST_PORTS]))
        advice = f"say `port: {there[0]}` under x-ikoma, or let it listen on {web.port}"
        return f"It listens on {ports}, and requests go to {web.port}: {advice}."
    if local:
        return f"It listens on 127.0.0.1:{local[0]} only: let it listen on 0.0.0.0:{web.port}."
    return ON_NO_PORT

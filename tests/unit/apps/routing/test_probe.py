"""The probe of a web service, against servers that answer in their own ways."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from ikoma.app_folder import App
from ikoma.apps.routing.probe import Probe, ProbeResult
from ikoma.compose.compose_file import Web
from ikoma.kernel.redaction.redaction import KnownSecrets, list_encodings
from ikoma.model import AppName, Secret
from ikoma.ports.replicas import Replica
from ikoma.ports.runtime import ListeningPort, Runtime
from tests.unit.replicas import replica

SECRET = "zk4Jq9vPw2LmXt7b"


class Ears:
    """All that the probe asks an engine for."""

    def __init__(self, heard: Sequence[ListeningPort] | None) -> None:
        self._heard = heard

    async def list_listening_ports(self, item: Replica) -> Sequence[ListeningPort] | None:
        return self._heard


def explained(
    sent: bytes | None, *, heard: Sequence[ListeningPort] | None = None, path: str | None = "/health"
) -> ProbeResult:
    """Explain a server that sends this and hangs up; None: nothing listens at the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent or b"")
        await writer.drain()
        writer.close()

    async def scenario() -> ProbeResult:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        if sent is None:
            server.close()
            await server.wait_closed()
        probe = Probe(cast(Runtime, Ears(heard)), lambda app: KnownSecrets.of(list_encodings([Secret(SECRET)])))
        item = replica("web1", host="127.0.0.1")
        check = await probe.explain(App(AppName("shop"), Path("/srv/apps/shop")), Web("web", port, path), [item])
        await probe.close()
        server.close()
        return replace(check, details=check.details.replace(str(port), "PORT"))

    return asyncio.run(scenario())


def answer(status: str, body: bytes) -> bytes:
    return b"HTTP/1.0 %s\r\n\r\n%s" % (status.encode(), body)


def test_an_answer_that_says_no_is_kept_without_secrets_and_what_steers_a_terminal() -> None:
    check = explained(answer("500 No", f"\x1b[31mno {SECRET}\nat all\n".encode()))
    assert check == ProbeResult(False, "/health answers 500.", "no ***\nat all", status=500)
    assert explained(answer("200 OK", b"fine")) == ProbeResult(True, "/health answers 200.", "")


def test_a_secret_at_the_cut_is_taken_out_whole() -> None:
    check = explained(answer("503 No", b"x" * 1995 + SECRET.encode() + b"y" * 200_000))
    assert check.answer.endswith("…[cut]")
    assert len(check.answer) < 2100
    assert SECRET[:5] not in check.answer


@pytest.mark.parametrize(
    ("sent", "details", "said"),
    [
        (b"", "/health does not answer: the connection was ended without a word.", ""),
        (b"\x00\x01\xffno\r\n\r\n", "/health does not answer as HTTP does.", ...),
        (answer("500 No", b"\xff\xfe\x00" * 3), "/health answers 500.", "[9 bytes that are no text]"),
    ],
)
def test_what_is_no_answer_is_said_to_be_none(sent: bytes, details: str, said: Any) -> None:
    check = explained(sent)
    assert (check.passed, check.details) == (False, details)
    assert said is ... or check.answer == said


@pytest.mark.parametrize(
    ("heard", "says"),
    [
        (None, ""),
        ((), " It listens on no port."),
        (
            (ListeningPort("0.0.0.0", 8080, False),),
            " It listens on 8080, and requests go to PORT: say `port: 8080` under",
        ),
        (
            (ListeningPort("127.0.0.1", 8080, True),),
            " It listens on 127.0.0.1:8080 only: let it listen on 0.0.0.0:PORT.",
        ),
    ],
)
def test_where_nothing_answers_the_ports_are_told(heard: Sequence[ListeningPort] | None, says: str) -> None:
    begins = "/health does not answer: nothing takes connections at port PORT."
    assert explained(None, heard=heard).details.startswith(begins + says)
    named = explained(None, heard=heard, path=None).details
    assert named.startswith("Nothing takes connections at port PORT of web." + says)

"""A pipeline in a folder, with a small registry of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import pytest

from ikoma.errors import AppBusy, IkomaError
from ikoma.kernel.access.approvals import Approvals
from ikoma.kernel.access.callers import Callers
from ikoma.kernel.access.rate_limit import RateLimit
from ikoma.kernel.access.throttle import Throttle
from ikoma.kernel.audit.log import AuditLog
from ikoma.kernel.call import Attempt, CallContext
from ikoma.kernel.events import Events
from ikoma.kernel.locks import Locks
from ikoma.kernel.operations.journal import Journal
from ikoma.kernel.operations.operations import Operations
from ikoma.kernel.pipeline import Pipeline
from ikoma.kernel.redaction.redaction import KnownSecrets, Scrubber
from ikoma.kernel.registry import AppRequest, Loss, Registry, Request, Result, Sensitive, capability
from ikoma.kernel.state.store import Store
from ikoma.model import Effect, Role

SECRET = "hunter2-hunter2"  # that the platform knows
OWN = "correct-horse-battery"  # that it knows of an app alone

REGISTRY = Registry()
DONE: list[str] = []


class Write(AppRequest):
    text: Annotated[str, Sensitive("text")] = ""


class Answer(Result):
    done: bool = True


@capability("test.read", role=Role.OBSERVER, effect=Effect.READS, into=REGISTRY)
async def read(call: CallContext, request: Request) -> Answer:
    """Read."""
    return Answer()


@capability("test.follow", role=Role.OBSERVER, effect=Effect.READS, into=REGISTRY)
async def follow(call: CallContext, request: Request) -> Answer:
    """Read for a long time."""
    await asyncio.sleep(60)
    return Answer()


@capability("test.stream", role=Role.OBSERVER, effect=Effect.READS, into=REGISTRY)
async def stream(call: CallContext, request: Request) -> Answer:
    """Read until the server stops."""
    await call.stopping.wait()
    return Answer()


@capability("test.write", role=Role.BUILDER, effect=Effect.CHANGES, into=REGISTRY)
async def write(call: CallContext, request: Write) -> Answer:
    """Write."""
    DONE.append(request.app_name)
    return Answer()


@capability("test.fail", role=Role.OBSERVER, effect=Effect.READS, into=REGISTRY)
async def fail(call: CallContext, request: Request) -> Answer:
    """Fail in a way nobody foresaw."""
    raise ZeroDivisionError("a detail that nobody outside should see")


@capability("test.full", role=Role.OBSERVER, effect=Effect.CHANGES, into=REGISTRY)
async def full(call: CallContext, request: Request) -> Answer:
    """Meet a full disk."""
    raise OSError(28, "No space left on device")


@capability("test.break", role=Role.OBSERVER, effect=Effect.CHANGES, into=REGISTRY)
async def broken(call: CallContext, request: AppRequest) -> Answer:
    """Fail with secrets in what is said of it."""
    raise IkomaError(f"failed with {SECRET} and {OWN}")


class Tell(AppRequest):
    note: str = ""


@capability("test.tell", role=Role.OBSERVER, effect=Effect.READS, into=REGISTRY)
async def tell(call: CallContext, request: Tell) -> dict[str, str]:
    """Say a secret in every way there is."""
    call.progress(f"progress {SECRET}")
    if call.emit is not None:
        await call.emit(f"line {SECRET}")
    if request.note == "fail":
        raise AppBusy(f"failed with {SECRET}", hint=f"hint {SECRET} {OWN}", found=[SECRET, OWN])
    return {"said": f"{SECRET} {OWN}"}


async def _losses(call: CallContext, request: AppRequest) -> Loss:
    return Loss(f"{request.app_name} goes, and {SECRET} with it.", ("all rows",))


@capability("test.destroy", role=Role.ADMIN, effect=Effect.DESTROYS, loses=_losses, into=REGISTRY)
async def destroy(call: CallContext, request: AppRequest) -> Answer:
    """Destroy."""
    DONE.append(request.app_name)
    return Answer()


async def _looked_up(call: CallContext, request: AppRequest) -> Loss | None:
    """Name the loss of a call that looks for what its caller means, here or when it is carried out."""
    if request.app_name == "shopp":
        raise IkomaError("There is no app 'shopp'.", hint="Look it up.", guess="shop")
    return None


@capability("test.drop", role=Role.ADMIN, effect=Effect.DESTROYS, loses=_looked_up, into=REGISTRY)
async def drop(call: CallContext, request: AppRequest) -> Answer:
    """Destroy what is found by its name."""
    raise IkomaError(f"There is no {request.app_name}.", hint="Look it up.", guess="blog")


@capability("test.stop", role=Role.OPERATOR, effect=Effect.CHANGES, unaudited=True, into=REGISTRY)
async def stop(call: CallContext, request: AppRequest) -> Answer:
    """Take load off, whatever happens."""
    DONE.append(request.app_name)
    return Answer()


@capability("test.bring", role=Role.BUILDER, effect=Effect.CHANGES, queued=True, into=REGISTRY)
async def bring(call: CallContext, request: Write) -> Answer:
    """Bring the newest of what comes in."""
    DONE.append(request.text)
    return Answer()


class House:
    """A pipeline in a folder.

    Args:
        log: the kind of audit log.
        most: calls that a key may make at once.
        failures: wrong keys that cost an address nothing.
    """

    def __init__(
        self,
        folder: Path,
        *,
        audit: Path | None = None,
        log: type[AuditLog] = AuditLog,
        most: int = 1000,
        failures: int = 1_000_000,
    ) -> None:
        self.log = audit or folder / "audit.jsonl"
        self.store = Store(folder / "state.db")
        self.callers = Callers(self.store, folder / ".env", None)
        self.locks = Locks(folder)
        self.approvals = Approvals(self.store)
        self.pipeline = Pipeline(
            REGISTRY,
            callers=self.callers,
            rate_limit=RateLimit(60_000, most),
            audit=log(self.log, folder / "audit-head"),
            approvals=self.approvals,
            throttle=Throttle(failures),
            locks=self.locks,
            events=Events(self.store),
            operations=Operations(Journal(self.store)),
            make_call=lambda identified: identified,
            scrubber=Scrubber(lambda app, _reach=(): KnownSecrets.of([SECRET, *([OWN] if app else [])])),
        )
        self.bodies_read = 0
        self.calls = 0

    def key(self, role: Role, **scope: Any) -> str:
        return self.callers.create(str(role), role, **scope)[1]

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        key: str | None,
        role: str | None = None,
        progress: Callable[..., None] = lambda *_: None,
        emit: Callable[[str], Awaitable[None]] | None = None,
        **attempt: Any,
    ) -> Any:
        async def body(limit: int) -> Mapping[str, Any]:
            self.bodies_read += 1
            return arguments or {}

        self.calls += 1
        tried = Attempt(name, key, role, f"request-{self.calls}", body, **attempt)
        answer = await self.pipeline.execute(tried, progress, emit)
        return orjson.loads(answer.body)

    def entries(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.log.read_bytes().splitlines()]


@pytest.fixture
def house(tmp_path: Path) -> House:
    DONE.clear()
    return House(tmp_path)


def refused(house: House, kind: type[IkomaError], name: str, arguments: Any = None, **how: Any) -> dict[str, Any]:
    """The audit entry of a call that must be refused before its body is read, unless `arguments` are at fault."""
    with pytest.raises(kind):
        asyncio.run(house.call(name, arguments, **how))
    entry = house.entries()[-1]
    assert (entry["result"], entry["code"]) == ("error", kind.code)
    return entry

"""Logs of an app's containers: of all services in the order of time, without its secrets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ikoma.app_folder import App
from ikoma.apps.releases.release import FAILED, Release, Releases
from ikoma.apps.rollouts.kept_logs import read_logs
from ikoma.apps.secrets import app_secrets
from ikoma.compose.services import make_service_not_found
from ikoma.errors import InvalidArguments, ServiceNotFound
from ikoma.kernel.redaction.redaction import list_encodings, redact
from ikoma.moments import parse_moment
from ikoma.ports.replicas import Replica, ReplicaPart
from ikoma.ports.runtime import LogLine, Runtime
from ikoma.rollout_state import RolloutState

_DURATION = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LOOK_SECONDS = 1.0
_MOST_BYTES = 256 << 10
_ANY_LINE = 5000
_LONGEST = 8192
_CUT = " …[cut]"


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A choice of lines. `grep` is plain text, looked for without regard to case; `since` a moment.

    `release` is a release's id; where it is left out, what serves is meant, or what served last, or the newest release.
    """

    service: str | None = None
    release: str | None = None
    tail: int = 100
    since: datetime | None = None
    grep: str | None = None
    timestamps: bool = False


@dataclass(frozen=True, slots=True)
class LogExcerpt:
    """The lines, oldest first. `cut` is True when there are earlier ones."""

    lines: Sequence[str]
    cut: bool
    starting: str | None = None
    """A release that comes up beside what these lines are of."""
    note: str = ""
    """Tells whose lines these are, where the container that said them is gone."""


def parse_since(text: str) -> datetime:
    """Parse a time as RFC 3339 has it, or how long ago: 30s, 10m, 2h, 1d."""
    try:
        if found := _DURATION.fullmatch(text.strip()):
            return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
        return parse_moment(text.strip())
    except (ValueError, OverflowError):
        raise InvalidArguments(
            f"since: {text[:40]!r} is no time.", hint="Give 30s, 10m, 2h, 1d, or a time such as 2026-01-02T15:04:05Z."
        ) from None


class AppLogs:
    """Reads and follows the output of apps' containers."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def read_last(self, app: App, query: LogQuery) -> LogExcerpt:
        """Read the last lines that are wanted."""
        containers, starting = await self._find_containers(app, query)
        if not containers:
            return self._read_kept(app, query)
        since = query.since.timestamp() if query.since else None
        # Where only some lines are wanted, those are looked for among more.
        tail = _ANY_LINE if query.grep else query.tail + 1
        found = await asyncio.gather(*(self._runtime.read_log(item, tail=tail, since=since) for item in containers))
        lines = [(item.service, line) for item, lines in zip(containers, found, strict=True) for line in lines]
        selected = _select_lines(app, query, sorted(lines, key=lambda line: line[1].at), starting)
        return selected if query.release or starting else replace(selected, note=_describe_failed(app))

    def _read_kept(self, app: App, query: LogQuery) -> LogExcerpt:
        """Read the kept lines of a release whose containers are gone."""
        releases = Releases(app)
        release = releases.find(query.release) if query.release else releases.find_current() or releases.find_latest()
        note = _describe_kept(app, release) if release and not query.release else ""
        lines = read_logs(app, release.id) if release else []
        services = sorted({service for service, _ in lines}.union(release.services if release else ()))
        if query.service is not None and query.service not in services:
            raise _make_not_found(app, query.service, services)
        if not lines:
            return LogExcerpt(release.logs if release else (), cut=False, note=note)
        lines = [line for line in lines if query.service in (None, line[0])]
        if query.since is not None:
            lines = [line for line in lines if parse_moment(f"{line[1].at[:19]}Z") >= query.since]
        return replace(_select_lines(app, query, lines), note=note)

    async def follow(self, app: App, query: LogQuery, emit: Callable[[str], Awaitable[None]]) -> None:
        """Hand over each new line; also of containers that a deploy makes meanwhile. Ends only when cancelled."""
        services = {item.service for item in (await self._find_containers(app, query, known=True))[0]}
        shown = _LineFilter(app, query, many=len(services) > 1)
        since = datetime.now(UTC).timestamp()
        followed: dict[str, asyncio.Task[None]] = {}

        async def hand_over(container: Replica, begin: float) -> None:
            async for line in self._runtime.follow_log(container, since=begin):
                if (text := shown(container.service, line)) is not None:
                    await emit(text)

        try:
            while True:
                for container in (await self._find_containers(app, query, known=bool(followed)))[0]:
                    task = followed.get(container.id)
                    if container.state == "running" and (task is None or task.done()):
                        begin = since if task is None else datetime.now(UTC).timestamp() - _LOOK_SECONDS
                        followed[container.id] = asyncio.ensure_future(hand_over(container, begin))
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            for task in followed.values():
                task.cancel()
            await asyncio.gather(*followed.values(), return_exceptions=True)

    async def _find_containers(
        self, app: App, query: LogQuery, *, known: bool = False
    ) -> tuple[list[Replica], str | None]:
        """Find the containers whose lines are wanted; and the release that comes up beside them.

        Args:
            known: a service that has none now had some before.
        """
        service = query.service
        state = await self._runtime.observe(app)
        coming, underway = list(state.select(ReplicaPart.STARTING)), state.record.underway
        starting = underway.release if coming and underway else None
        if query.release is not None:
            if not known:
                Releases(app).find(query.release)
            containers, starting = [item for item in state.replicas if query.release in item.releases], None
        elif containers := list(state.serving):
            pass
        else:
            containers, starting = coming, None
        services = sorted({item.service for item in containers})
        if service is None or not containers:
            return containers, starting
        if service not in services and not known:
            raise _make_not_found(app, service, services)
        return [item for item in containers if item.service == service], starting


def _describe_kept(app: App, release: Release) -> str:
    """Say whose lines are shown of an app of which nothing runs."""
    serving = RolloutState(app).read_serving()
    if serving is None:
        return f"Nothing of {app.name} serves; this is of release {release.id}, which {release.state}."
    state = "down" if serving.down else "without containers"
    return (
        f"{app.name} is {state}; this is of release {release.id}, which served last. {_describe_failed(app)}".rstrip()
    )


def _describe_failed(app: App) -> str:
    """Say that a later release than that which serves has failed: who looks after a deploy may want its lines."""
    current, latest = Releases(app).find_current(), Releases(app).find_latest()
    if current is None or latest is None or latest.id <= current.id or latest.state != FAILED:
        return ""
    return f"Release {latest.id} came after {current.id} and failed: ask with it as `release` for its lines."


def _make_not_found(app: App, service: str, services: Sequence[str]) -> ServiceNotFound:
    return make_service_not_found(f"{app.name} has no container of a service {service[:80]!r}.", service, services)


def _select_lines(
    app: App, query: LogQuery, lines: Sequence[tuple[str, LogLine]], starting: str | None = None
) -> LogExcerpt:
    """Select the lines that are wanted, in their order."""
    shown = _LineFilter(app, query, many=len({service for service, _ in lines}) > 1)
    texts = [text for service, line in lines if (text := shown(service, line)) is not None]
    kept = _keep_last_bytes(texts[-query.tail :])
    return LogExcerpt(kept, len(kept) < len(texts), starting)


class _LineFilter:
    """Decides of each line whether it is wanted, and how it reads."""

    def __init__(self, app: App, query: LogQuery, *, many: bool) -> None:
        self._query = query
        self._grep = query.grep.lower() if query.grep else None
        self._many = many
        of_release = app_secrets.find_of_release(app, Releases(app).find(query.release)) if query.release else []
        self._secrets = list_encodings([*app_secrets.find_of_app(app), *of_release])

    def __call__(self, service: str, line: LogLine) -> str | None:
        # What is secret is taken out of whole lines: one that was cut could end in half a secret.
        text = redact(line.text, self._secrets)
        text = text if len(text) <= _LONGEST else text[:_LONGEST] + _CUT
        if self._grep is not None and self._grep not in text.lower():
            return None
        if self._many:
            text = f"{service} | {text}"
        return f"{line.at[:19]}Z {text}" if self._query.timestamps else text


def _keep_last_bytes(lines: Sequence[str]) -> list[str]:
    kept: list[str] = []
    size = 0
    for line in reversed(lines):
        size += len(line.encode()) + 1
        if size > _MOST_BYTES and kept:
            break
        kept.append(line)
    return kept[::-1]

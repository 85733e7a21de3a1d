"""The history of releases: each ends served, failed or interrupted, which is recorded; old ones are let go of."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from ikoma.app_folder import App
from ikoma.apps.database.migrating import DatabaseMigrator
from ikoma.apps.deploying.failure_report import FailureReport, Ledger
from ikoma.apps.deploying.written_files import keep_written
from ikoma.apps.releases.release import FAILED, Release, Releases
from ikoma.apps.releases.scaling import fit_scale
from ikoma.apps.rollouts import images
from ikoma.apps.rollouts.rollouts import Rollouts
from ikoma.apps.rollouts.way_out import find_waiting, tell_cause
from ikoma.apps.snapshots.snapshot import Snapshots
from ikoma.errors import DatabasesUnavailable, DeployFailed, DiskFull, EngineUnavailable, IkomaError
from ikoma.kernel.redaction.redaction import FindAppSecrets, redact
from ikoma.ports.progress import Progress, ignore_progress
from ikoma.ports.runtime import Engine
from ikoma.rollout_state import RolloutState, Underway

log = logging.getLogger("ikoma")

_LONGEST_CAUSE = 1000
_LAST_LINES = 20
_HALF_DONE = "Its release command was running, and may be half done."
_INTERRUPTED = "The deploy was interrupted: its server was stopped or killed."


@dataclass(frozen=True, slots=True)
class ReleaseRetention:
    """Limits of the releases that are kept of an app: their number, and their age in days."""

    releases: int = 20
    days: int = 365


class ReleaseHistory:
    """Records how releases of apps ended. Callers hold the app's lock."""

    def __init__(
        self,
        engine: Engine,
        migrator: DatabaseMigrator,
        rollouts: Rollouts,
        keep: ReleaseRetention,
        find_secrets: FindAppSecrets,
    ) -> None:
        self._engine = engine
        self._find_secrets = find_secrets
        self._migrator = migrator
        self._rollouts = rollouts
        self._keep = keep
        self._report = FailureReport(engine.runtime, migrator)

    async def recover(self, app: App, progress: Progress = ignore_progress) -> str | None:
        """Finish or undo what a killed server left, after a start; returns what was done, or None."""
        half_done = self._engine.runtime.has_left_command(app)
        why = f"{_INTERRUPTED} {_HALF_DONE}" if half_done else _INTERRUPTED
        try:
            done = await self._rollouts.recover(app, progress)
        except IkomaError as error:
            await self._note_trouble(app, error, why)
            raise
        releases, serving = Releases(app), RolloutState(app).read_serving()
        current = releases.find_current()
        if current is not None and serving is not None and not current.says_served_since(serving.since):
            await self._finish(app, current)
        for release in releases.list_interrupted():
            await self._discard(app, release, why)
        releases.sweep()
        await self._migrator.tidy(app)
        return done

    async def abandon(self, app: App) -> Underway | None:
        """Give up taking the database back, and undo the rest of a rollout; what was given up.

        None where the database could be taken back after all: then nothing is given up.

        Raises:
            NothingToAbandon: no database is waiting for that.
        """
        underway = find_waiting(app)
        try:
            await self.recover(app)
        except (EngineUnavailable, DatabasesUnavailable):
            raise
        except IkomaError:
            RolloutState(app).write(replace(underway, backup=None, trouble=None))
            await self.recover(app)
            return underway
        return None

    async def record_served(
        self, app: App, release: Release, configurations: Mapping[str, str], ledger: Ledger = None
    ) -> Release:
        """Record that a release serves, and let go of those that need not be kept.

        It serves whatever is away by now: what cannot be done is left to whoever looks at the app next.

        Args:
            ledger: what the database has, where that is known to be so still.
        """
        chosen = fit_scale(app, Releases(app).read_model(release.id))
        services = {
            name: replace(record, configuration=configurations.get(name), scale=chosen.get(name, record.scale))
            for name, record in release.services.items()
        }
        release = replace(release, services=services)
        try:
            has = await self._migrator.read_ledger(app) if ledger is None else ledger
            release = Releases(app).succeed(replace(release, ledger=tuple(map(asdict, has))))
            await self.tidy(app)
        except (EngineUnavailable, DatabasesUnavailable) as error:
            log.warning("%s: %s serves; the rest is done later: %s", app.name, release.id, error.message)
        return release

    async def _finish(self, app: App, release: Release) -> None:
        """Record of a release that it serves, as far as can be told after its server was killed."""
        earlier = Releases(app).find_last_good(other_than=release.id)
        serving = (await self._engine.runtime.observe(app)).serving
        if release.served_at is None:
            had = earlier.migrations if earlier else ()
            applied = tuple(entry.name for entry in await self._migrator.read_ledger(app) if entry.name not in had)
            release = replace(release, applied=applied)
        await self.record_served(app, release, {item.service: item.configuration or "" for item in serving})

    async def tidy(self, app: App) -> None:
        """Remove releases that need not be kept, with their images and the content that only they have."""
        releases = Releases(app)
        mounted = {item.release for item in (await self._engine.runtime.observe(app)).replicas if item.release}
        expired = releases.list_expired(self._keep.releases, self._keep.days, mounted)
        for release in expired:
            await images.forget(self._engine.images, app.name, release.id.__eq__)
            await asyncio.to_thread(keep_written, app, release.id)
            releases.remove(release)
        await self._forget_unserved(app)
        if expired:
            await asyncio.to_thread(Snapshots(app).collect_garbage)

    @asynccontextmanager
    async def record_failure(self, app: App, release: Release) -> AsyncIterator[Ledger]:
        """Record a failure inside the block as the release's own; what was made for it alone goes.

        Once the release has taken over, nothing leads back: the reconciler finishes then what was left undone.
        The block is given what the database has as it begins.
        """
        before = await self._report.read_ledger(app)
        try:
            yield before
        except IkomaError as error:
            if not _is_serving(app, release):
                frees = isinstance(error, DiskFull)
                cause = self._describe_cause(app, error)
                await self._discard(app, release, cause, frees=frees, **_collect_evidence(error))
                await self._report.describe_release(app, release, error, before)
            raise
        except asyncio.CancelledError:
            if not _is_serving(app, release):
                await asyncio.shield(self._discard(app, release, "The deploy was cancelled."))
            raise

    @asynccontextmanager
    async def explain_failure(self, app: App, release: Release) -> AsyncIterator[None]:
        """Say in a failure inside the block that what served goes on serving; the block lets a release serve again."""
        try:
            yield
        except IkomaError as error:
            await self._report.describe_rollout(app, release, error)
            raise

    @asynccontextmanager
    async def leave(self, app: App, left: Release | None, why: str, *, final: bool) -> AsyncIterator[None]:
        """Record a release that is left as broken, before it is left: a kill in between changes nothing."""
        if left is None or not final:
            yield
            return
        Releases(app).fail(left, why, logs=await self._read_last_lines(app))
        try:
            yield
        except BaseException:
            if _is_serving(app, left):
                Releases(app).write(left)
            raise

    async def _read_last_lines(self, app: App) -> tuple[str, ...]:
        """Read the last lines of the containers of the release that serves; of those in trouble, where some are."""
        runtime = self._engine.runtime
        try:
            serving = list((await runtime.observe(app)).serving)
            ill = [item for item in serving if item.health == "unhealthy" or item.state not in ("running", "created")]
            ill = [item for item in ill if not item.is_done and not (item.one_shot and item.exit_code == 0)] or serving
            found = [(item.service, await runtime.read_last_lines(app.name, item, _LAST_LINES)) for item in ill]
        except IkomaError as error:  # it is left all the same
            return (f"[its last lines cannot be read: {error.message}]",)
        many = len({service for service, _ in found}) > 1
        return tuple(f"{service} | {line}" if many else line for service, lines in found for line in lines)

    async def _note_trouble(self, app: App, error: IkomaError, why: str) -> None:
        """Let people see why what was cut off is not in order yet; it goes when that is done.

        Args:
            why: the cause of what was cut off.
        """
        state = RolloutState(app)
        underway, serving = state.read_underway(), state.read_serving()
        if underway is None or isinstance(error, EngineUnavailable):
            return
        said = f"The rollout of {underway.release} was cut off, and is not settled yet: {error.audit_message}"
        if said != underway.trouble:
            with suppress(DiskFull):
                state.write(replace(underway, trouble=said))
        if underway.backup is not None and (serving is None or serving.rollout != underway.rollout):
            for release in Releases(app).list_interrupted():  # its containers are gone already
                await self._discard(app, release, why)
            tell_cause(app, underway, error)

    def _describe_cause(self, app: App, error: IkomaError) -> str:
        """Describe a failure for observers: the engine's reason, but no rows that an SQL error quotes."""
        if not isinstance(error, DeployFailed):
            return error.audit_message
        return redact(error.message, self._find_secrets(app.name).certain)[:_LONGEST_CAUSE]

    async def _discard(
        self,
        app: App,
        release: Release,
        cause: str,
        *,
        frees: bool = False,
        **seen: Any,
    ) -> None:
        """Take away what was made for a release, and then, where a full disk has room again, record that it failed.

        Its images stay until the next build has ended: the engine takes the layers from there that are the same.

        Args:
            frees: let go of its images too: the room is needed.
            seen: what was seen of the failure: fields of the record.
        """
        releases, snapshots = Releases(app), Snapshots(app)
        await asyncio.to_thread(releases.strip, release.id)
        await asyncio.to_thread(snapshots.collect_garbage)
        with suppress(EngineUnavailable):  # then the names go with the next deploy
            await self._forget_unserved(app, *([release.id] if frees else ()))
        with suppress(DiskFull):  # then whoever works on the app next records it
            releases.fail(releases.find(release.id), cause, **seen)

    async def _forget_unserved(self, app: App, *more: str) -> None:
        """Let go of the images of releases that failed before they served, and of these."""
        failed = {item.id for item in Releases(app).list_all() if item.state == FAILED and item.served_at is None}
        if gone := {*failed, *more}:
            await images.forget(self._engine.images, app.name, gone.__contains__)


def _collect_evidence(error: IkomaError) -> dict[str, Any]:
    """Collect what is kept of a failure: the app's own words, in any of its ways."""
    details = error.details
    return {
        "logs": tuple(details.get("logs") or ()),
        "answer": details.get("answer") or "",
        "answer_status": details.get("answerStatus"),
        "healthcheck": details.get("healthcheck") or "",
    }


def _is_serving(app: App, release: Release) -> bool:
    serving = RolloutState(app).read_serving()
    return serving is not None and serving.release == release.id

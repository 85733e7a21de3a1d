"""Carries an import out: the app is made of copies and must become healthy before the old project is stopped.

`.ikoma/importing.json` says what is under way; it is there before anything else is. Data is copied twice: first while
the old project runs, its containers held still meanwhile, so that the new app can show that it works; then while
neither runs, so that nothing is lost. Until `imported.json` takes the note's place a failure, a cancelled call and a
kill end alike: what was made is removed, and the old project serves as before.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

import orjson

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.apps.database import credentials
from ikoma.apps.deploying.deployer import Deployer, DeployOptions
from ikoma.apps.importing.copying import copy_folder
from ikoma.apps.importing.data import CopiedData
from ikoma.apps.importing.own_postgres import PostgresMover
from ikoma.apps.importing.plan import ImportPlan
from ikoma.apps.releases.release import Release
from ikoma.apps.validation.validator import Validator
from ikoma.checkpoints import checkpoint
from ikoma.durable import remove_tree, sync_folder, write_file
from ikoma.errors import AppNameTaken, IkomaError
from ikoma.ports.databases import Databases
from ikoma.ports.progress import Progress, ignore_progress
from ikoma.ports.projects import ProjectContainer
from ikoma.ports.runtime import Engine

log = logging.getLogger("ikoma")

_NOTE, _RECORD = "importing.json", "imported.json"
_NEVER = "no"


@dataclass(frozen=True, slots=True)
class OldContainer:
    """A container of the old project that ran when the import began."""

    id: str
    name: str
    restart: str


@dataclass(frozen=True, slots=True)
class ImportNote:
    """The note of an import under way: the old project, and its containers in the order in which they were started."""

    project: str
    folder: str
    containers: tuple[OldContainer, ...]
    stops: bool = False
    """Whether the old containers are being stopped."""


@dataclass(frozen=True, slots=True)
class ImportedApp:
    """An import that is done. `waited` is the seconds in which neither of the two answered."""

    release: Release
    waited: float
    rows: Mapping[str, int]
    left: tuple[str, ...]
    """Entries of the folder that were not copied: sockets and devices."""


class Importer:
    """Imports apps. Callers hold the lock of the app that is made."""

    def __init__(
        self,
        engine: Engine,
        databases: Databases,
        apps: Apps,
        validator: Validator,
        deployer: Deployer,
        mover: PostgresMover,
    ) -> None:
        self._engine = engine
        self._databases = databases
        self._apps = apps
        self._validator = validator
        self._deployer = deployer
        self._mover = mover

    async def carry_out(self, app: App, plan: ImportPlan, options: DeployOptions) -> ImportedApp:
        """Make the app, and let it take the old project's place once it is healthy.

        Raises:
            AppNameTaken: there is such an app.
            DeployFailed, DatabaseNotMoved, …: the old project serves as before, and what was made is gone.
        """
        self._begin(app, plan)
        data = CopiedData(self._engine.volumes, app, plan)
        try:
            checkpoint("import noted")
            left = await self._copy(app, plan, data, options.progress)
            release = await self._deploy(app, options)
            checkpoint("import rehearsed")
            began = time.monotonic()
            rows: Mapping[str, int] = {}
            await self._stop_old(app, plan, options.progress)
            if plan.switches:
                rows = await self._copy_last(app, plan, data, options.progress)
                release = await self._deploy(app, options)
            waited = time.monotonic() - began if plan.switches else 0.0
            checkpoint("import switched")
            _finish(app)
        except BaseException as error:
            await asyncio.shield(self._undo(app, error))
            raise
        return ImportedApp(release, waited, rows, tuple(left))

    def list_cut_off(self) -> list[App]:
        """List the apps whose import was cut off, or is under way."""
        found = [self._apps.locate(name) for name in self._apps.list_names()]
        return [app for app in found if (app.state / _NOTE).is_file()]

    async def settle(self, app: App) -> str | None:
        """Undo an import whose server was killed; what was done, or None where there was nothing to do."""
        note = _read(app)
        if note is None:
            return None
        await self._take_back(app, note)
        return (
            f"the import of {note.project} was cut off when its server was killed: {note.project} runs as before, and "
            f"what was made of {app.name} is gone"
        )

    # --- the way there -----------------------------------------------------------------------------------------

    def _begin(self, app: App, plan: ImportPlan) -> None:
        """Make the app's folder, with the note in it from its first moment."""
        containers = tuple(OldContainer(item.id, item.name, item.restart) for item in plan.stopped)
        note = ImportNote(plan.project.name, plan.project.folder, containers)
        work = self._apps.root / ".ikoma" / f"importing-{secrets.token_hex(6)}"
        (work / ".ikoma").mkdir(parents=True, mode=0o700)
        work.chmod(0o755)
        write_file(work / ".ikoma" / _NOTE, orjson.dumps(asdict(note)), mode=0o600)
        try:
            if os.path.lexists(app.path):
                raise OSError
            os.rename(work, app.path)
        except OSError:
            remove_tree(work)
            raise AppNameTaken(f"There is an app {app.name} already.") from None
        sync_folder(app.path.parent)

    async def _copy(self, app: App, plan: ImportPlan, data: CopiedData, progress: Progress) -> list[str]:
        """Copy all there is, the data while its writers are held still."""
        progress("copy the files")
        without = [".ikoma", *(item.path for item in plan.folders)]
        left = await asyncio.to_thread(copy_folder, plan.project.root, app.path, without=without)
        _close_env(app)
        checkpoint("import copied")
        if plan.folders or plan.volumes:
            progress(f"hold {', '.join(item.name for item in plan.writers) or 'nothing'} still, and copy the data")
            await self._pause(plan.writers)
            try:
                checkpoint("import paused")
                await data.copy(progress)
            finally:
                await asyncio.shield(self._unpause([item.id for item in plan.writers]))
        await asyncio.to_thread(_write_texts, app, plan.rehearsal)
        if plan.database is not None:
            progress(f"copy the database of {plan.database.service}")
            await self._mover.move(app, plan.database)
        checkpoint("import filled")
        return left

    async def _copy_last(self, app: App, plan: ImportPlan, data: CopiedData, progress: Progress) -> Mapping[str, int]:
        """Copy the data again, now that nobody writes it; rows of each table of the database."""
        await data.copy(progress)
        rows: Mapping[str, int] = {}
        if plan.database is not None:
            progress(f"move the database of {plan.database.service}")
            await self._mover.move(app, plan.database)
            rows = await self._mover.compare(app, plan.database)
            await self._stop([plan.database.container])
        checkpoint("import moved")
        await asyncio.to_thread(_write_texts, app, plan.texts)
        return rows

    async def _deploy(self, app: App, options: DeployOptions) -> Release:
        """Deploy the app's folder as it is now."""
        report = await self._validator.examine(app, images=False)
        model = report.refuse_errors()
        release, _ = await self._deployer.deploy(
            app, model, options, variables=report.variables, env={}, texts=report.texts
        )
        return release

    async def _stop_old(self, app: App, plan: ImportPlan, progress: Progress) -> None:
        """Stop both, where data is to be copied once more; else the old one alone. The database is asked still."""
        note = _read(app)
        assert note is not None
        write_file(app.state / _NOTE, orjson.dumps({**asdict(note), "stops": True}), mode=0o600)
        if plan.switches:
            progress("stop the new containers")
            await self._deployer.take_down(app, progress)
        checkpoint("import stopping")
        progress("stop the old containers")
        asked = plan.database.container.id if plan.database else None
        await self._stop([item for item in reversed(plan.stopped) if item.id != asked])
        checkpoint("import stopped")

    async def _stop(self, containers: Sequence[ProjectContainer]) -> None:
        projects = self._engine.require_projects()
        for item in containers:
            await projects.set_restart(item.id, _NEVER)  # the engine's next start would start it again
            await projects.stop(item.id)

    async def _pause(self, containers: Sequence[ProjectContainer]) -> None:
        for item in containers:
            await self._engine.runtime.pause(item.id)

    async def _unpause(self, containers: Sequence[str]) -> None:
        for identity in containers:
            await self._engine.runtime.unpause(identity)

    # --- the way back ------------------------------------------------------------------------------------------

    async def _undo(self, app: App, error: BaseException) -> None:
        """Undo what was done so far. Where that fails too, the server goes on with it as soon as it can."""
        note = _read(app)
        if note is None:
            return
        try:
            await self._take_back(app, note)
        except IkomaError as trouble:
            log.warning("%s: the import is not undone yet: %s", app.name, trouble.message)
            if isinstance(error, IkomaError):
                error.add(f"{note.project} is being brought back to where it was, as soon as that can be done.")
            return
        if isinstance(error, IkomaError):
            error.add(f"{note.project} runs as before, and what was made of {app.name} is gone.")
            error.next = ()

    async def _take_back(self, app: App, note: ImportNote) -> None:
        """Let the old project serve as before, and remove what was made. Doing it again changes nothing."""
        await self._unpause([item.id for item in note.containers])
        with suppress(IkomaError):  # it is tried again below, once the old project serves
            await self._engine.runtime.remove(app, ignore_progress)
        if note.stops:
            for item in note.containers:
                await self._engine.require_projects().set_restart(item.id, item.restart)
                await self._engine.require_projects().start(item.id)
        await self._engine.runtime.remove(app, ignore_progress)
        there = await self._engine.volumes.map_owners()
        for name in [name for name, owner in there.items() if owner == app.name.project]:
            with suppress(IkomaError):
                await self._engine.volumes.remove(name)
        if credentials.find(app) is not None:
            await self._databases.drop(app.name)
        await self._deployer.forget(app)
        doomed = self._apps.root / ".ikoma" / f"importing-{secrets.token_hex(6)}"
        os.rename(app.path, doomed)
        await asyncio.to_thread(remove_tree, doomed)


def _read(app: App) -> ImportNote | None:
    def parse(stored: dict[str, object]) -> ImportNote:
        containers = tuple(OldContainer(**item) for item in stored["containers"])  # type: ignore[attr-defined]
        return ImportNote(str(stored["project"]), str(stored["folder"]), containers, bool(stored["stops"]))

    return app.read_state(_NOTE, parse)


def _finish(app: App) -> None:
    """Let the import be done: from here on the app stays, and the old project is stopped."""
    os.rename(app.state / _NOTE, app.state / _RECORD)
    sync_folder(app.state)


def _write_texts(app: App, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        place = app.path / name
        if place.is_file() and place.read_text() == text:
            continue
        write_file(place, text)


def _close_env(app: App) -> None:
    """Let nobody but root read the app's .env, whatever its mode was."""
    if app.env_file.is_file() and not app.env_file.is_symlink():
        app.env_file.chmod(0o600)

"""Brings a removed app back: volumes, database and at last the folder, which is the moment when the app is there again.

What is to be done is written into the entry first. Until the folder moves, a failure takes away what was made, and the
entry stays whole; what a kill leaves is gone on with by the next call, or by the server itself. The entry goes once its
app is back.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from ikoma.app_folder import App
from ikoma.apps.database import credentials
from ikoma.apps.releases.release import Releases
from ikoma.apps.rollouts import images
from ikoma.apps.source import webhook
from ikoma.apps.trash.entries import RestoreIntent, Trash, TrashEntry
from ikoma.checkpoints import checkpoint
from ikoma.durable import remove_tree, sync_folder, write_file
from ikoma.errors import AppNameTaken, IkomaError, TrashEntryBusy, TrashEntryIncomplete
from ikoma.model import AppName
from ikoma.ports.databases import Databases, Dump
from ikoma.ports.progress import Progress
from ikoma.ports.runtime import Engine
from ikoma.ports.volumes import ResourceInfo
from ikoma.rollout_state import RolloutState

_RETURNED = "returned"
"""In the folder of an app that is back: the id of the entry that is to go still."""
_OF_RELEASES = ("serving.json", "rollout.json", "standby.json", "scale.json")


@dataclass(frozen=True, slots=True)
class RestoredApp:
    """An app that is back. `start` tells whether its release served when it was removed."""

    app: App
    start: bool
    tables: Mapping[str, int]
    volumes: tuple[str, ...]


class AppRestorer:
    """Brings apps back out of the trash. Callers hold the lock of the app that comes back."""

    def __init__(self, engine: Engine, databases: Databases, trash: Trash) -> None:
        self._engine = engine
        self._databases = databases
        self._trash = trash
        self._under_way: set[str] = set()

    def list_cut_off(self) -> list[TrashEntry]:
        """List the entries that a killed server was bringing back, or whose parts could not be taken away again."""
        return [entry for entry in self._trash.list_unfinished() if entry.id not in self._under_way]

    @contextmanager
    def hold(self, entry: TrashEntry) -> Iterator[None]:
        """For the block, this process is at work on the entry."""
        self._under_way.add(entry.id)
        try:
            yield
        finally:
            self._under_way.discard(entry.id)

    async def bring_back(self, entry: TrashEntry, app: App, progress: Progress) -> RestoredApp:
        """Make everything of a removed app again, under its own name or another; its containers do not run yet.

        Raises:
            AppNameTaken: an app, a database, containers or volumes have the name.
            TrashEntryIncomplete: its folder is not in the entry.
            TrashEntryBusy: it is being brought back under another name.
        """
        intent = entry.find_intent()
        if intent is not None and intent.app != app.name:
            raise TrashEntryBusy(
                f"{entry.id} is being brought back as {intent.app}.",
                hint=f"Wait until that has ended, or call apps.restore again with `as` {intent.app}.",
            )
        if intent is None:
            await self._require_free(entry, app)
            intent = RestoreIntent(app.name, start=_is_to_start(entry, app))
            entry.write_intent(intent)
        checkpoint("noted")
        volumes = tuple(entry.list_volumes())
        if not entry.folder.is_dir():
            _require_moved(entry, app)
        else:
            try:
                await self._bring_parts(entry, app, progress)
            except BaseException:
                await asyncio.shield(self._take_away(entry, app))
                raise
        checkpoint("moved")
        return RestoredApp(app, intent.start, entry.rows, volumes)

    async def finish(self, entry: TrashEntry, app: App) -> None:
        """Let the entry go: its app is back."""
        if entry.app != app.name and (left := entry.list_releases()):
            await images.forget(self._engine.images, entry.app, left.__contains__)
        checkpoint("settled")
        (app.state / _RETURNED).unlink(missing_ok=True)
        await asyncio.to_thread(self._trash.close, entry)

    async def delete(self, entry: TrashEntry) -> None:
        """Delete an entry for good, with the images of its releases."""
        self._trash.require_deletable(entry)
        name, releases = entry.app, entry.list_releases()
        await asyncio.to_thread(self._trash.delete, entry)
        if releases:
            await images.forget(self._engine.images, name, releases.__contains__)

    async def _require_free(self, entry: TrashEntry, app: App) -> None:
        """Refuse where anything of that name is there: nothing of it is touched."""
        if not entry.folder.is_dir():
            raise TrashEntryIncomplete(f"{entry.id} holds no folder of {entry.app}: it was not wholly removed.")
        if _is_there(app):
            raise AppNameTaken(f"There is an app {app.name} already.")
        if (await self._engine.runtime.observe(app)).replicas:
            raise AppNameTaken(f"There are containers of a Compose project {app.name}.")
        if (await self._databases.read_state(app.name)).exists:
            raise AppNameTaken(f"There is a database {app.name.database} already.")
        there = await self._engine.volumes.map_owners()
        for name in entry.list_volumes():
            if (wanted := _name_volume(entry, name, app.name)) in there:
                raise AppNameTaken(f"There is a volume {wanted} already.")

    async def _bring_parts(self, entry: TrashEntry, app: App, progress: Progress) -> None:
        for name in entry.list_volumes():
            await self._bring_volume(entry, name, app.name, progress)
            checkpoint("volume")
        if entry.dump.exists():
            progress("bring the database back")
            await self._bring_database(entry, app, progress)
        checkpoint("database")
        await asyncio.to_thread(_prepare_folder, entry, app)
        checkpoint("prepared")
        _move(entry, app)

    async def _bring_volume(self, entry: TrashEntry, name: str, app: AppName, progress: Progress) -> None:
        wanted = _name_volume(entry, name, app)
        progress(f"bring the volume {wanted} back")
        if wanted in await self._engine.volumes.map_owners():  # half filled, by a server that was killed
            await self._engine.volumes.remove(wanted)
        await self._engine.volumes.load(app, wanted, self._describe_volume(entry, name, app), entry.locate_volume(name))

    def _describe_volume(self, entry: TrashEntry, name: str, app: AppName) -> ResourceInfo:
        """Describe how a volume is made again: as it was, and as the app's own where it was that."""
        volumes, before = self._engine.volumes, entry.app.project
        made = entry.find_volume(name) or volumes.describe_new(before, name.removeprefix(f"{before}_"))
        return volumes.describe_as_of(app.project, made)

    async def _bring_database(self, entry: TrashEntry, app: App, progress: Progress) -> None:
        kept = App(app.name, entry.folder)
        credentials.forget(kept)
        owned = credentials.obtain(kept, entry.find_password() if entry.app == app.name else None)
        await self._databases.drop(app.name)  # what a killed server has made of it
        await self._databases.create(app.name, owned.password)
        dump = Dump(entry.dump, entry.dump.stat().st_size, "", entry.rows)
        what = f"The database of {entry.app} cannot be brought back"
        work = entry.path / "as-another.sql"
        await self._databases.fill(owned, dump, of=entry.app, work=work, what=what, progress=progress)

    async def _take_away(self, entry: TrashEntry, app: App) -> None:
        """Take away what was made so far. Where that fails too, the next call goes on with what is there."""
        if _is_there(app):
            return
        with suppress(IkomaError):
            there = await self._engine.volumes.map_owners()
            for name in entry.list_volumes():
                if (made := _name_volume(entry, name, app.name)) in there:
                    await self._engine.volumes.remove(made)
            await self._databases.drop(app.name)
            credentials.forget(App(app.name, entry.folder))
            entry.clear_intent()


def _is_there(app: App) -> bool:
    return os.path.lexists(app.path)


def _is_to_start(entry: TrashEntry, app: App) -> bool:
    """Whether the app served when it was removed. Under another name its releases are not its own."""
    serving = RolloutState(App(entry.app, entry.folder)).read_serving()
    return entry.app == app.name and serving is not None and not serving.down


def _prepare_folder(entry: TrashEntry, app: App) -> None:
    """Bring its records in order: no container of it is there, and under another name no release."""
    kept = App(app.name, entry.folder)
    state = RolloutState(kept)
    if (underway := state.read_underway()) is not None:  # the dump holds the database as it was then
        state.write(replace(underway, backup=None, trouble=None))
    state.take_down()
    (kept.state / "removing").unlink(missing_ok=True)
    write_file(kept.make_state() / _RETURNED, entry.id)
    if entry.app != app.name:
        for name in (*_OF_RELEASES, webhook.FILE):  # pushes that the first one has taken would count again
            (kept.state / name).unlink(missing_ok=True)
        if (releases := Releases(kept).locate_folder("")).is_dir():
            remove_tree(releases)


def _require_moved(entry: TrashEntry, app: App) -> None:
    """See that the folder, which has left the entry, is the app's; else nothing is left to be done with the entry."""
    marker = app.state / _RETURNED
    if not marker.is_file() or marker.read_text() != entry.id:
        entry.clear_intent()
        raise TrashEntryIncomplete(f"The folder of {entry.id} is back as an app already, or gone.")


def _move(entry: TrashEntry, app: App) -> None:
    """Let the folder be the app's again, unless something has its name by now."""
    if _is_there(app):
        raise AppNameTaken(f"There is an app {app.name} already.")
    os.rename(entry.folder, app.path)
    sync_folder(entry.path)
    sync_folder(app.path.parent)


def _name_volume(entry: TrashEntry, name: str, app: AppName) -> str:
    """The name of a volume in the app that comes back: those that Compose named by the app are named by the new one."""
    prefix = f"{entry.app.project}_"
    return f"{app.project}_{name.removeprefix(prefix)}" if name.startswith(prefix) else name

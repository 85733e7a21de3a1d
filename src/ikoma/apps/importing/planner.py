"""Plans imports. The project's files are read where they are, as if they were the app's; nothing is written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ikoma.app_folder import App
from ikoma.apps.adapting.adapter import AdaptedFile, Adapter
from ikoma.apps.adapting.editor import ComposeText
from ikoma.apps.database.migration_files import read_migrations
from ikoma.apps.importing.copying import measure
from ikoma.apps.importing.cutting import CutFiles, Cutter
from ikoma.apps.importing.finding import ProjectFinder, list_file_troubles
from ikoma.apps.importing.own_postgres import OwnPostgres, PostgresMover, find_variables
from ikoma.apps.importing.plan import CopiedFolder, CopiedVolume, ImportPlan
from ikoma.apps.resolution.resolver import Resolutions
from ikoma.apps.validation.validator import Validator
from ikoma.compose.dockerfiles import inline_dockerfiles
from ikoma.compose.model import EMPTY, ComposeModel
from ikoma.errors import NotAdaptable, NotImportable
from ikoma.ports.projects import ComposeProject
from ikoma.ports.runtime import Engine


class ImportPlanner:
    """Plans imports."""

    def __init__(
        self,
        engine: Engine,
        finder: ProjectFinder,
        resolutions: Resolutions,
        validator: Validator,
        adapter: Adapter,
        cutter: Cutter,
        mover: PostgresMover,
    ) -> None:
        self._engine = engine
        self._finder = finder
        self._resolutions = resolutions
        self._validator = validator
        self._adapter = adapter
        self._cutter = cutter
        self._mover = mover

    async def plan(self, app: App, source: str, *, database: bool) -> ImportPlan:
        """Plan how the project of a name or folder becomes this app.

        Args:
            database: whether the rows of its own PostgreSQL become the app's database here.

        Raises:
            ProjectNotFound, NotImportable, DatabaseNotMoved, FileMissing
        """
        project = await self._finder.find(source)
        if project.name == app.name.project and project.containers:
            raise NotImportable(
                f"The old project is named {project.name}, and stays: the app needs another name.",
                hint=f"Choose one, such as {app.name}-app.",
            )
        place = App(app.name, Path(project.folder))
        before = dict(await self._validator.read_texts(place))
        files = CutFiles(dict(before))
        await self._cutter.cut(place, files)
        model = await self._resolve(place, files)
        own = await self._move_database(project, model, files) if database else None
        left = list(await self._adapt(place, files))
        if own is not None:
            left += await asyncio.to_thread(_list_migrations, place)
        rehearsal = CutFiles(dict(files.texts))
        held = frozenset(port for item in project.running for port in item.ports)
        ports = await self._cutter.cut_ports(place, rehearsal, held)
        report = await self._validator.examine(place, images=False, contents=rehearsal.contents)
        resolution = await self._resolutions.resolve(place, files.contents)
        chosen = resolution.gathered.compose_files if resolution.gathered else ()
        left += list_file_troubles(project, chosen)
        left += [str(finding) for finding in report.errors if str(finding) not in left]
        left += [
            f"{name} names the folder {project.folder} itself: write a path that begins with ./ instead."
            for name, text in files.texts.items()
            if project.folder in text
        ]
        final = resolution.model or EMPTY
        return ImportPlan(
            project=project,
            services=_list_services(model, final, own),
            variables=tuple(sorted(resolution.variables.values)),
            volumes=tuple(await self._list_volumes(project, final)),
            folders=await asyncio.to_thread(_list_folders, project.root, final),
            files=tuple(
                AdaptedFile(name, before[name], text) for name, text in files.texts.items() if text != before[name]
            ),
            texts=files.texts,
            rehearsal=rehearsal.texts,
            changes=tuple(files.changes),
            left=tuple(left),
            ports=tuple(ports),
            notes=tuple(_list_notes(project, final)),
            database=own,
        )

    async def _resolve(self, place: App, files: CutFiles) -> ComposeModel:
        model = (await self._resolutions.resolve(place, files.contents)).model
        return EMPTY if model is None else await asyncio.to_thread(inline_dockerfiles, place, model)

    async def _move_database(self, project: ComposeProject, model: ComposeModel, files: CutFiles) -> OwnPostgres:
        """Take the project's own PostgreSQL out of the files, and let the other services use the app's database."""
        own = await self._mover.find(project, model)
        found = find_variables(model, own)
        if found.left:
            raise NotImportable(
                found.left[0],
                hint="Write it in parts, or as a postgresql:// address; or call apps.import without `database`.",
            )
        for name in files.texts:
            text = ComposeText(name, files.texts[name])
            text.take_out([own.service])
            files.texts[name] = text.text
        files.changes.append(f"{own.service} is left out: the app has its rows in its own database here.")
        first = next(iter(files.texts))
        block = ComposeText(first, files.texts[first])
        block.set_lines({"database": {name: dict(parts) for name, parts in found.parts.items() if parts}})
        files.texts[first] = block.text
        for name, parts in found.parts.items():
            files.changes.append(f"{name} is given {', '.join(parts)} of that database.")
        return own

    async def _adapt(self, place: App, files: CutFiles) -> tuple[str, ...]:
        """Change what apps.adapt changes: routes, and proxies of the project's own."""
        try:
            found = await self._adapter.adapt(place, contents=files.contents)
        except NotAdaptable as error:
            return (error.message,)
        files.texts |= {item.path: item.after for item in found.files}
        files.changes += found.changes
        return ()

    async def _list_volumes(self, project: ComposeProject, model: ComposeModel) -> list[CopiedVolume]:
        """List the volumes of the services that stay, each with the one whose content it gets."""
        there = await self._engine.volumes.describe_all()
        found: dict[str, CopiedVolume] = {}
        for name, service in model.services.items():
            container = project.find(name)
            mounted = (
                {item.target: item.source for item in container.mounts if item.kind == "volume"} if container else {}
            )
            for mount in service.mounts:
                key = mount.source
                if not mount.is_volume or not key or key in found:
                    continue
                old = mounted.get(mount.target) or f"{project.name}_{key}"
                new = str((model.volumes.get(key) or {}).get("name") or key)
                if old in there and old != new:
                    folder = await self._engine.volumes.locate(old)
                    size = await asyncio.to_thread(measure, folder) if folder is not None else None
                    found[key] = CopiedVolume(key, old, new, size)
        return list(found.values())


def _list_services(before: ComposeModel, after: ComposeModel, own: OwnPostgres | None) -> Mapping[str, str]:
    told = {}
    for name in before.services:
        if own is not None and name == own.service:
            told[name] = "its rows become the app's database here"
        elif name not in after.services:
            told[name] = "left out: IKOMA's proxy does its work"
        else:
            told[name] = "runs as a service of the app"
    return told


def _list_migrations(place: App) -> list[str]:
    """Tell of files that a deploy would apply to the moved database, which is as its own ways have made it."""
    found, _ = read_migrations(place)
    return [
        f"A deploy here would apply migrations/{item.name} to the moved database, which may have it already: give the "
        "folder another name, with what names it in the project, or call apps.import without `database`."
        for item in found[:1]
    ]


def _list_notes(project: ComposeProject, model: ComposeModel) -> Iterator[str]:
    """Tell what the old containers keep that no file of the project names."""
    for name, service in model.services.items():
        if (container := project.find(name)) is None:
            continue
        named = {mount.target for mount in service.mounts}
        for mount in container.mounts:
            if mount.kind == "volume" and mount.target not in named:
                yield (
                    f"{name} keeps {mount.target} in a volume without a name, which is not taken over: give it a named "
                    "volume first where that matters."
                )


def _list_folders(root: Path, model: ComposeModel) -> tuple[CopiedFolder, ...]:
    """List the folders and files of the project that containers may write, none inside another."""
    found: set[Path] = set()
    for mount in model.binds:
        path = Path(os.path.realpath(mount.source))
        if not mount.read_only and root in path.parents and path.exists():
            found.add(path)
    outermost = sorted(path for path in found if found.isdisjoint(path.parents))
    return tuple(
        CopiedFolder(str(path.relative_to(root)), measure(path) if path.is_dir() else path.stat().st_size)
        for path in outermost
    )

"""A major upgrade of PostgreSQL, step by step, as deploy/install/postgres.sh asks for it; and whole, where IKOMA runs
from a checkout.

    python -m ikoma.cli.commands.server.postgres_major ACTION [OPTIONS]

Without options it is the PostgreSQL that IKOMA runs itself. In the compose flavour this runs in a container of IKOMA's
image, the programs of both versions in another (`--container`), and both see the volume under one path. `undo` needs
only `--root`.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import click

from ikoma.cli.client import load_settings_or_exit
from ikoma.errors import IkomaError, MajorUpgradeFailed
from ikoma.postgres.major.programs import SECONDS, LocalRunner, Programs, Runner
from ikoma.postgres.major.upgrade import (
    ClusterPlaces,
    MajorUpgrade,
    Upgraded,
    clear,
    go_back,
    hold,
    list_kept,
    measure,
)
from ikoma.postgres.server import cluster
from ikoma.postgres.server.majors import (
    find_programs,
    finish_switch,
    read_bundled_major,
    read_major,
    undo_unused_switch,
)
from ikoma.run import ProcessResult
from ikoma.settings import Settings

_LOCK, _SERVERS_LOCK = "major.lock", "lock"


@click.command()
@click.argument(
    "action", type=click.Choice(["check", "rehearse", "upgrade", "analyze", "back", "undo", "forget", "kept", "clear"])
)
@click.option("--root", type=Path, help="The folder for the work, on the filesystem of the data.")
@click.option("--data", type=Path, help="The data folder of now.")
@click.option("--target", type=Path, help="Where the new one is to lie.")
@click.option("--old", type=Path, help="The folder that holds bin/ of the old version.")
@click.option("--new", type=Path, help="The folder that holds bin/ of the new version.")
@click.option("--major", type=int, help="The new version.")
@click.option("--container", help="Where the programs run.")
def postgres_major(action: str, container: str | None, **paths: Path | int | None) -> None:
    """Bring PostgreSQL's data to the next major version."""
    settings = load_settings_or_exit()
    try:
        scene = _Scene.of(settings, container, paths)
        with hold(scene.places.root, _LOCK, "Another upgrade of PostgreSQL is at work here."):
            asyncio.run(_ACTIONS[action](scene))
    except IkomaError as error:
        raise click.ClickException(f"{error.message}\n  → {error.hint}" if error.hint else error.message) from None


@dataclass(frozen=True, slots=True)
class _Scene:
    settings: Settings
    places: ClusterPlaces
    major: int
    runner: Runner
    old: Path | None
    new: Path | None
    is_embedded: bool

    @classmethod
    def of(cls, settings: Settings, container: str | None, given: Mapping[str, Path | int | None]) -> _Scene:
        root, data, target, major = (given[name] for name in ("root", "data", "target", "major"))
        old, new = given["old"], given["new"]
        if isinstance(root, Path) and data is None:
            return cls(settings, ClusterPlaces(root, root, root), 0, LocalRunner(None, root), None, None, False)
        if isinstance(root, Path) and isinstance(data, Path) and isinstance(target, Path) and isinstance(major, int):
            places = ClusterPlaces(root, data, target)
            assert container is not None and isinstance(old, Path) and isinstance(new, Path)
            return cls(settings, places, major, _ContainerRunner(settings, container), old, new, False)
        if settings.postgres_host:
            raise MajorUpgradeFailed(
                "PostgreSQL is another's (POSTGRES_HOST), who upgrades it.", hint="ikoma doctor says its version."
            )
        root = settings.postgres_folder
        places = ClusterPlaces(root, root / "data", root / "data", include="ikoma.conf")
        runner = LocalRunner(cluster.find_system_user(), places.work)
        return cls(settings, places, read_bundled_major(), runner, None, None, True)

    async def upgrade(self) -> MajorUpgrade:
        old, new = self.old, self.new
        if old is None or new is None:
            new = await cluster.prepare_program(self.places.root)
            former = read_major(self.places.source)
            if former is None:
                raise MajorUpgradeFailed(
                    "PostgreSQL has no data here yet.", hint="ikoma up makes it, of the new version."
                )
            old = find_programs(former, self.places.root, self.settings.ikoma_home / "versions")
        programs = Programs(self.runner, old, new)
        return MajorUpgrade(self.places, programs, admin=cluster.ADMIN, major=self.major, say=_say)

    def reach_live(self) -> dict[str, str]:
        """By what PostgreSQL's programs come to the server that runs."""
        found = {"PGHOST": "127.0.0.1", "PGUSER": cluster.ADMIN, "PGDATABASE": "postgres", "PGCONNECT_TIMEOUT": "10"}
        if self.is_embedded:
            root = self.places.root
            port, password = str(cluster.read_remembered_port(root)), cluster.read_password(root)
            return {**found, "PGPORT": port, "PGPASSWORD": password}
        secret = self.settings.postgres_password
        port = str(self.settings.postgres_port or 5432)
        return {**found, "PGPORT": port, "PGPASSWORD": secret.reveal() if secret else ""}


@dataclass(frozen=True, slots=True)
class _ContainerRunner:
    settings: Settings
    container: str

    async def run(self, argv: Sequence[str], env: Mapping[str, str]) -> ProcessResult:
        from ikoma.engines.docker.docker_api import DockerApi
        from ikoma.engines.docker.projects import DockerProjects

        api = DockerApi(self.settings.docker_host)
        try:
            with tempfile.TemporaryDirectory() as folder:
                output = Path(folder) / "said"
                code, said = await DockerProjects(api).run_inside(self.container, argv, env, output, timeout=SECONDS)
                return ProcessResult(code, output.read_bytes(), said.encode())
        finally:
            await api.close()


async def _check(scene: _Scene) -> None:
    former = read_major(scene.places.source)
    if former == scene.major:
        _say(f"PostgreSQL is of version {former}: there is nothing to do")
        return
    upgrade = await scene.upgrade()
    if obstacles := upgrade.check():
        raise MajorUpgradeFailed(" ".join(obstacles), hint="Nothing was changed.")
    size = measure(scene.places.source) >> 20
    _say(f"PostgreSQL would go from {former} to {scene.major}: {size} MB are copied, the databases are away meanwhile")


async def _rehearse(scene: _Scene) -> None:
    done = await (await scene.upgrade()).rehearse(scene.reach_live())
    _say(f"The rehearsal is through after {done.seconds:.1f} s: {_count(done)} are the same in PostgreSQL {done.major}")


async def _upgrade(scene: _Scene) -> None:
    with _hold_server(scene):
        if finish_switch(scene.places.root) is not None and scene.is_embedded:
            _say("A switch that was cut off has been ended")
            return
        done = await (await scene.upgrade()).upgrade()
        _say(f"PostgreSQL {done.major} has all of {done.former} after {done.seconds:.1f} s: {_count(done)}, compared")
        if scene.is_embedded:  # else the folder has another name outside of this container
            _say(f"The data of {done.former} is kept: {done.kept}")


async def _gather_statistics(scene: _Scene) -> None:
    """Gather statistics that pg_upgrade did not take along; the server runs."""
    program = (scene.new or await cluster.prepare_program(scene.places.root)) / "bin" / "vacuumdb"
    programs = Programs(LocalRunner(cluster.find_system_user(), Path("/")), program, program)
    await programs.do([str(program), "--all", "--analyze-only", "--missing-stats-only"], scene.reach_live())


async def _clear(scene: _Scene) -> None:
    """Remove what a killed upgrade has left; a switch that it has written down is ended instead."""
    with _hold_server(scene):
        finish_switch(scene.places.root)
        clear(scene.places)


async def _back(scene: _Scene) -> None:
    with _hold_server(scene):
        clear(scene.places)
        kept = list_kept(scene.places.target)
        if not kept:
            raise MajorUpgradeFailed("No former data is kept here.", hint=f"It would lie beside {scene.places.target}.")
        former, path = kept[0]
        find_programs(former, scene.places.root, scene.settings.ikoma_home / "versions")
        aside = go_back(scene.places, path, former)
        _say(f"PostgreSQL {former} has its data of before again. What was of now is kept: {aside}")


async def _undo(scene: _Scene) -> None:
    """Have the data of before again where the other has served nobody yet; else leave it, and end with 1."""
    with _hold_server(scene):
        finish_switch(scene.places.root)
        clear(scene.places)
        if not undo_unused_switch(scene.places.root):
            raise MajorUpgradeFailed("No data is here that was brought in and that nobody has used.")
    _say("What was brought in has served nobody: the data of before is in its place again")


async def _forget(scene: _Scene) -> None:
    from ikoma.durable import remove_tree

    clear(scene.places)
    for major, path in list_kept(scene.places.target):
        size = measure(path) >> 20
        remove_tree(path)
        _say(f"Removed: {path}, of PostgreSQL {major}, {size} MB")


async def _show_kept(scene: _Scene) -> None:
    for major, path in list_kept(scene.places.target):
        _say(f"{path}, of PostgreSQL {major}, {measure(path) >> 20} MB")


_ACTIONS = {
    "check": _check,
    "rehearse": _rehearse,
    "upgrade": _upgrade,
    "back": _back,
    "undo": _undo,
    "forget": _forget,
    "kept": _show_kept,
    "analyze": _gather_statistics,
    "clear": _clear,
}


def _hold_server(scene: _Scene) -> AbstractContextManager[None]:
    """Hold the lock of whoever looks after PostgreSQL; a start meanwhile waits for it."""
    return hold(scene.places.root, _SERVERS_LOCK, "IKOMA runs here, and looks after PostgreSQL.")


def _count(done: Upgraded) -> str:
    return f"{done.rows:,} rows in {done.tables:,} tables"


def _say(text: str) -> None:
    click.echo(f"• {text}")


if __name__ == "__main__":
    postgres_major()

"""Another database takes the place of an app's: all at once, with a way back, while the app waits for a moment."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from ikoma.errors import AppBusy, BackupUnproven, UndoMissing
from ikoma.model import AppName
from ikoma.ports.databases import Credentials, UndoCopy
from ikoma.ports.progress import ignore_progress
from ikoma.postgres import swap as swapping
from tests.contract.conftest import SOON
from tests.contract.postgres.conftest import Postgres, make_database
from tests.support import eventually

WEEK = {"replaced_at": "2026-01-01T00:00:00Z", "until": "2999-01-08T00:00:00Z"}


def note(app: AppName, backup: str = "a.sql", **more: str) -> UndoCopy:
    return UndoCopy(app, backup, **{**WEEK, **more})


def rows(postgres: Postgres, owned: Credentials) -> list[str]:
    with postgres.login(owned) as connection:
        return [str(row[0]) for row in connection.execute("SELECT word FROM said ORDER BY word").fetchall()]


def put(postgres: Postgres, owned: Credentials, *words: str) -> None:
    with postgres.login(owned) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS said (word text)")
        for word in words:
            connection.execute("INSERT INTO said VALUES (%s)", (word,))


def swapped(postgres: Postgres, owned: Credentials, dump_of: Credentials, folder: Path, backup: str = "a.sql") -> float:
    """Restore what `dump_of` holds now beside `owned`'s, and let it take its place; for how long the app waited."""

    async def swap() -> float:
        path = folder / f"{backup}-{time.monotonic_ns()}"
        dump = await postgres.databases.dump(AppName(dump_of.role), path, progress=ignore_progress)
        async with postgres.databases.make_beside(owned) as place:
            await postgres.databases.fill(
                place, dump, of=AppName(dump_of.role), work=folder / "w", what="No", progress=ignore_progress
            )
            return await postgres.databases.swap_in(place, note(AppName(owned.role), backup))

    return float(postgres.do(swap()))


def names(postgres: Postgres) -> set[str]:
    with postgres.admin() as connection:
        return {str(row[0]) for row in connection.execute("SELECT datname FROM pg_database").fetchall()}


def test_what_is_swapped_in_is_swapped_back(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    put(postgres, owned, "first")
    before = names(postgres)

    async def swap() -> None:
        dump = await postgres.databases.dump(app, tmp_path / "a.sql", progress=ignore_progress)
        with postgres.login(owned) as connection:
            connection.execute("INSERT INTO said VALUES ('later')")
        async with postgres.databases.make_beside(owned) as place:
            await postgres.databases.fill(place, dump, of=app, work=tmp_path / "w", what="No", progress=ignore_progress)
            await postgres.databases.swap_in(place, note(app))

    with postgres.admin() as connection:
        connection.execute(f'ALTER ROLE "{app}" IN DATABASE "{app}" SET search_path TO "$user", public, pg_catalog')
        connection.execute(f'ALTER DATABASE "{app}" CONNECTION LIMIT 17')
        connection.execute("CREATE ROLE swap_reader")
        connection.execute(f'GRANT CONNECT ON DATABASE "{app}" TO swap_reader')
    try:
        postgres.do(swap())
        assert rows(postgres, owned) == ["first"]
        assert postgres.do(postgres.databases.find_undo(app)) == note(app)
        assert postgres.do(postgres.databases.owns(app))
        assert len(names(postgres) - before) == 1
        with postgres.login(owned) as connection:
            assert connection.execute("SHOW search_path").fetchone() == ('"$user", public, pg_catalog',)
        with postgres.admin() as connection:
            told = connection.execute(
                "SELECT datconnlimit, has_database_privilege('swap_reader', datname, 'CONNECT'),"
                " has_database_privilege('public', datname, 'CONNECT') FROM pg_database WHERE datname = %s",
                (app,),
            ).fetchone()
            assert told == (17, True, False)
        (copy,) = names(postgres) - before
        with pytest.raises(psycopg.OperationalError):
            postgres.login(owned, copy)
        put(postgres, owned, "after")
        postgres.do(postgres.databases.swap_back(app, note(app, "")))
        assert rows(postgres, owned) == ["first", "later"]
        postgres.do(postgres.databases.swap_back(app, note(app, "")))
        assert rows(postgres, owned) == ["after", "first"]
    finally:
        with postgres.admin() as connection:
            postgres.do(postgres.databases.drop(app))
            connection.execute("DROP ROLE swap_reader")
    assert names(postgres) == before - {app}


def test_a_second_swap_lets_the_earlier_copy_go(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    put(postgres, owned, "one")
    swapped(postgres, owned, owned, tmp_path, "a.sql")
    put(postgres, owned, "two")
    many = names(postgres)
    swapped(postgres, owned, owned, tmp_path, "b.sql")
    assert names(postgres) == many
    assert postgres.do(postgres.databases.find_undo(app)) == note(app, "b.sql")
    put(postgres, owned, "three")
    postgres.do(postgres.databases.swap_back(app, note(app, "")))
    assert rows(postgres, owned) == ["one", "two"]


@contextmanager
def writing(postgres: Postgres, owned: Credentials) -> Iterator[list[float]]:
    """A client of the app that writes all the time and connects again where its session ends; when each write ended."""
    done: list[float] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                with postgres.login(owned) as connection:
                    while not stop.is_set():
                        connection.execute("INSERT INTO said VALUES ('busy')")
                        done.append(time.monotonic())
            except psycopg.Error:
                time.sleep(0.01)

    clients = [threading.Thread(target=work) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        yield done
    finally:
        stop.set()
        for client in clients:
            client.join()


def test_writers_wait_for_seconds_and_go_on(postgres: Postgres, owned: Credentials, tmp_path: Path) -> None:
    put(postgres, owned, "kept")
    with writing(postgres, owned) as done:
        eventually(lambda: len(done) > 4)
        waited = swapped(postgres, owned, owned, tmp_path)
        ended = time.monotonic()
        eventually(lambda: done[-1] > ended)  # they write again
    assert waited < SOON
    assert max(after - before for before, after in itertools.pairwise(done)) < SOON


def test_a_transaction_under_way_may_end_in_time(
    postgres: Postgres, owned: Credentials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swapping, "_GRACE_SECONDS", 20.0)  # a machine that is busy may need more than usual
    put(postgres, owned)
    outcome: list[str] = []

    def commit_soon() -> None:
        with postgres.login(owned) as connection:
            connection.execute("BEGIN")
            connection.execute("INSERT INTO said VALUES ('in time')")
            began.set()
            connection.execute("SELECT pg_sleep(0.2)")
            connection.execute("COMMIT")
            outcome.append("committed")

    began = threading.Event()

    async def swap() -> None:
        async with postgres.databases.make_beside(owned) as place:
            client = threading.Thread(target=commit_soon)
            client.start()
            began.wait(60)
            await postgres.databases.swap_in(place, note(AppName(owned.role)))
            client.join()

    postgres.do(swap())
    assert outcome == ["committed"]
    postgres.do(postgres.databases.swap_back(AppName(owned.role), note(AppName(owned.role), "")))
    assert rows(postgres, owned) == ["in time"]


def test_a_session_that_does_not_end_leaves_everything_as_it_was(
    postgres: Postgres, app: AppName, owned: Credentials
) -> None:
    put(postgres, owned, "here")
    before = names(postgres)

    async def swap() -> None:
        async with postgres.databases.make_beside(owned) as place:
            with postgres.login(owned) as stuck:
                os.kill(stuck.info.backend_pid, signal.SIGSTOP)
                try:
                    await postgres.databases.swap_in(place, note(app))
                finally:
                    os.kill(stuck.info.backend_pid, signal.SIGCONT)

    with pytest.raises(AppBusy):
        postgres.do(swap())
    assert names(postgres) == before
    assert rows(postgres, owned) == ["here"]
    assert postgres.do(postgres.databases.find_undo(app)) is None
    with pytest.raises(UndoMissing):
        postgres.do(postgres.databases.swap_back(app, note(app, "")))


@pytest.mark.parametrize("gone", [False, True], ids=["there", "removed"])
def test_what_another_app_had_becomes_this_ones(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path, gone: bool
) -> None:
    other = AppName.parse(f"{app}-other")
    theirs = make_database(postgres, other)
    put(postgres, theirs, "theirs")
    dump = postgres.do(postgres.databases.dump(other, tmp_path / "o.sql", progress=ignore_progress))
    if gone:
        postgres.do(postgres.databases.drop(other))
    before = names(postgres)

    async def fill() -> None:
        async with postgres.databases.make_beside(owned) as place:
            await postgres.databases.fill(
                place, dump, of=other, work=tmp_path / "w", what="No", progress=ignore_progress
            )
            await postgres.databases.swap_in(place, note(app))

    try:
        postgres.do(fill())
        assert rows(postgres, owned) == ["theirs"]
        with postgres.login(owned) as connection:
            connection.execute("ALTER TABLE said ADD COLUMN mine int")  # it is its owner
        with postgres.admin() as connection:
            left = connection.execute("SELECT count(*) FROM pg_roles WHERE rolname = %s", (other,)).fetchone()
            assert left == (0 if gone else 1,)
        assert len(names(postgres) - before) == 1
        assert list(tmp_path.glob("w*")) == []
    finally:
        postgres.do(postgres.databases.drop(other))


def test_a_backup_with_other_rows_than_it_says_is_not_swapped_in(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    put(postgres, owned, "one")
    dump = postgres.do(postgres.databases.dump(app, tmp_path / "a.sql", progress=ignore_progress))
    wrong = replace(dump, tables={"said": 2})
    before = names(postgres)

    async def fill() -> None:
        async with postgres.databases.make_beside(owned) as place:
            await postgres.databases.fill(
                place, wrong, of=app, work=tmp_path / "w", what="No", progress=ignore_progress
            )

    with pytest.raises(BackupUnproven):
        postgres.do(fill())
    assert names(postgres) == before


def test_a_copy_goes_after_its_time_and_with_its_app(
    postgres: Postgres, app: AppName, owned: Credentials, tmp_path: Path
) -> None:
    put(postgres, owned, "one")
    swapped(postgres, owned, owned, tmp_path)
    assert app not in postgres.do(postgres.databases.drop_expired_copies())
    postgres.do(postgres.databases.swap_back(app, note(app, "", until="2026-01-02T00:00:00Z")))
    assert app in postgres.do(postgres.databases.drop_expired_copies())
    assert postgres.do(postgres.databases.find_undo(app)) is None
    swapped(postgres, owned, owned, tmp_path)
    before = names(postgres)
    postgres.do(postgres.databases.drop(app))
    assert len(before - names(postgres)) == 2

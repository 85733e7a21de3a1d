"""What is measured, each subject beside the alternative a person would use without IKOMA."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Row, in_turn, load, memory_mib, reset_peak, seconds_of, spawn_rate
from ikoma.engines.argv import compose_program
from ikoma.postgres.tools import bundled
from tests.apps import make_app
from tests.support import IKOMA, Server

APP = "bench"


@dataclass(frozen=True)
class Bench:
    """A started server with an app that serves, and how long to measure."""

    server: Server
    seconds: int
    runs: int

    @property
    def pid(self) -> int:
        assert self.server.process is not None
        return self.server.process.pid


def prepare(server: Server) -> None:
    make_app(server, APP)
    server.do("db.create", {"appName": APP})
    server.do("db.migrate", {"appName": APP, "sql": "CREATE TABLE notes (id int)"})
    server.do("deploy.up", {"appName": APP})


def reads(bench: Bench) -> Iterator[Row]:
    """apps.status, apps.health and artifact.verify_release beside `docker compose ps` for each call."""
    argv = ["docker", "compose", "-p", APP, "ps", "--format", "json"]
    spawned = spawn_rate(argv, {"DOCKER_CONFIG": str(docker_config(bench.server.folder))}, seconds=bench.seconds)
    for capability, least in (("apps.status", 50), ("apps.health", 50), ("artifact.verify_release", 8)):
        rate = load(bench.server.url, capability, {"appName": APP}, bench.server.key, seconds=bench.seconds)
        ratio = rate.per_second / spawned
        quick = rate.p99_ms < 50 or least == 8
        yield Row(
            f"{capability}, 16 clients",
            f"{rate.per_second:,.0f}/s, p99 {rate.p99_ms:.0f} ms",
            f"`docker compose ps`: {spawned:.0f}/s",
            f"{ratio:.0f}×",
            f"≥ {least}×" + (", p99 < 50 ms" if least == 50 else ""),
            ratio >= least and quick and rate.failures == 0,
        )


def info(bench: Bench) -> Iterator[Row]:
    """The cost of a call itself: key, model, audit line."""
    rate = load(bench.server.url, "platform.info", {}, bench.server.key, seconds=bench.seconds)
    met = rate.per_second >= 6000 and rate.failures == 0
    yield Row(
        "platform.info, 16 clients, audit on",
        f"{rate.per_second:,.0f}/s, p99 {rate.p99_ms:.0f} ms",
        "–",
        "–",
        "≥ 6,000/s",
        met,
    )


def deploy(bench: Bench) -> Iterator[Row]:
    """deploy.up beside raw Compose with the same resolved file, each from nothing."""
    release = max((bench.server.apps / APP / ".ikoma" / "releases").glob("*/compose.json"))
    project = [str(compose_program()), "-p", APP, "--project-directory", str(bench.server.apps / APP)]
    raw = [*project, "-f", str(release), "--env-file", "/dev/null", "up", "-d", "--wait"]

    def down() -> None:
        quiet([*project, "-f", str(release), "--env-file", "/dev/null", "down", "-t", "0"])

    ours, other = in_turn(
        lambda: bench.server.do("deploy.up", {"appName": APP}), lambda: quiet(raw), runs=bench.runs, before=down
    )
    bench.server.do("deploy.up", {"appName": APP})
    yield compared("deploy.up", ours, "`docker compose up -d --wait`", other, 1.15)


def backup(bench: Bench) -> Iterator[Row]:
    """db.backup beside raw pg_dump on 1,000,000 rows, 300 MB; and what it costs in memory."""
    server, name = bench.server, "bench-backup"
    make_app(server, name)
    server.do("db.create", {"appName": name})
    table = "CREATE TABLE big AS SELECT i AS id, repeat(md5(i::text), 8) AS body FROM generate_series(1, 1000000) AS i"
    server.do("db.migrate", {"appName": name, "sql": table})
    target, raw = server.backups / "bench.sql", server.folder / "raw.sql"

    def clear() -> None:
        for path in (target, Path(f"{target}.json"), raw):
            path.unlink(missing_ok=True)
        os.sync()

    before = memory_mib(bench.pid, "VmRSS")
    reset_peak(bench.pid)
    ours, other = in_turn(
        lambda: server.do("db.backup", {"appName": name, "backupName": target.name}),
        lambda: quiet([program("pg_dump"), "-d", name, "-f", str(raw)], postgres_env(server)),
        runs=bench.runs,
        before=clear,
    )
    grown = max(0.0, memory_mib(bench.pid, "VmHWM") - before)
    yield compared("db.backup, 1,000,000 rows, 300 MB", ours, "`pg_dump`", other, 1.15)
    yield Row("memory growth during db.backup", f"{grown:.1f} MiB", "–", "–", "< 32 MiB", grown < 32)
    clear()


def migrate(bench: Bench) -> Iterator[Row]:
    """db.migrate of 20,000 statements beside psql with the same file in one transaction."""
    server, name = bench.server, "bench-migrate"
    folder = make_app(server, name)
    server.do("db.create", {"appName": name})
    lines = [f"INSERT INTO rows_of_it VALUES ({number}, 'row {number}');\n" for number in range(19_999)]
    file = folder / "migrations" / "001_rows.sql"
    file.write_text("CREATE TABLE rows_of_it (id int, name text);\n" + "".join(lines))
    env = postgres_env(server) | {"PGDATABASE": name}

    def clear() -> None:
        statement = "DROP TABLE IF EXISTS rows_of_it; DROP SCHEMA IF EXISTS ikoma CASCADE"
        quiet([program("psql"), "-q", "-c", statement], env)

    ours, other = in_turn(
        lambda: server.do("db.migrate", {"appName": name}),
        lambda: quiet([program("psql"), "-q", "-1", "-f", str(file)], env),
        runs=bench.runs,
        before=clear,
    )
    yield compared("db.migrate, 20,000 statements", ours, "`psql -1 -f`", other, 1.0)


def start(bench: Bench) -> Iterator[Row]:
    """A second start until the first healthy answer, idle memory, and the command line."""
    times = []
    for _ in range(bench.runs):
        bench.server.stop()
        times.append(seconds_of(bench.server.start))
    seconds = statistics.median(times)
    yield Row(
        "`ikoma up` to first healthy answer, second start", f"{seconds:.2f} s", "–", "–", "≤ 2.5 s", seconds <= 2.5
    )
    time.sleep(3)
    idle = memory_mib(bench.pid, "VmRSS")
    yield Row("idle memory of the server", f"{idle:.0f} MiB", "–", "–", "≤ 110 MiB", idle <= 110)
    helped = statistics.median(seconds_of(lambda: quiet([str(IKOMA), "--help"])) for _ in range(bench.runs * 2 + 1))
    yield Row("`ikoma --help`", f"{helped:.2f} s", "–", "–", "≤ 0.3 s", helped <= 0.3)


SUBJECTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "reads": reads,
    "info": info,
    "deploy": deploy,
    "backup": backup,
    "migrate": migrate,
    "start": start,
}


def compared(what: str, ours: float, name: str, other: float, most: float) -> Row:
    ratio = ours / other
    return Row(what, f"{ours:.2f} s", f"{name}: {other:.2f} s", f"{ratio:.2f}×", f"≤ {most:g}×", ratio <= most)


def docker_config(folder: Path) -> Path:
    """A configuration in which `docker compose` is there, as it is on a user's machine."""
    plugins = folder / "docker" / "cli-plugins"
    if not plugins.is_dir():
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(compose_program())
    return folder / "docker"


def program(name: str) -> str:
    return str(bundled() / "bin" / name)


def postgres_env(server: Server) -> dict[str, str]:
    state = Path(server.env["IKOMA_STATE"]) / "postgres"
    return {
        "PATH": os.environ["PATH"],
        "PGHOST": "127.0.0.1",
        "PGPORT": (state / "port").read_text(),
        "PGUSER": "ikoma",
        "PGPASSWORD": (state / "password").read_text(),
    }


def quiet(argv: list[str], env: dict[str, str] | None = None) -> None:
    subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

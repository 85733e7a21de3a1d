"""`ikoma psql` reads files of all kinds: it stops at the first error, and says what a file is that is not for it."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import pytest

from tests.apps import make_app
from tests.support import IKOMA, Server

APP, OTHER = "psql-in", "psql-other"
DUMP = f"""--
-- PostgreSQL database dump
--
SET search_path = '';
CREATE TABLE public.orders (id int);
ALTER TABLE public.orders OWNER TO "{OTHER}";
INSERT INTO public.orders VALUES (1), (2);
ALTER TABLE public.kept OWNER TO "{OTHER}";
"""


@pytest.fixture(scope="module", autouse=True)
def databases(server: Server) -> None:
    for name in (APP, OTHER):
        make_app(server, name)
        server.do("db.create", {"appName": name})
    server.do("db.migrate", {"appName": APP, "sql": "CREATE TABLE kept AS SELECT generate_series(1, 41) AS n"})


def psql(
    server: Server, *arguments: str, piped: bytes = b"", file: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    argv = [IKOMA, "psql", *arguments]
    if file is None:
        return subprocess.run(argv, env=server.env, input=piped, capture_output=True, timeout=60, check=False)
    with file.open("rb") as stream:
        return subprocess.run(argv, env=server.env, stdin=stream, capture_output=True, timeout=60, check=False)


def tables(server: Server) -> str:
    named = "string_agg(tablename || ' of ' || tableowner, ', ' ORDER BY tablename)"
    listed = f"SELECT {named} FROM pg_tables WHERE schemaname = 'public'"
    return psql(server, "--admin", APP, "-Atc", listed).stdout.decode().strip()


def test_a_dump_of_elsewhere_gives_no_table_away_and_changes_nothing(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "plain.sql"
    file.write_text(DUMP)
    for given in ({"piped": DUMP.encode()}, {"file": file}):
        refused = psql(server, "--admin", APP, **given)  # type: ignore[arg-type]
        assert refused.returncode == 1
        assert b"pg_dump made, not IKOMA" in refused.stderr
        failed = psql(server, APP, **given)  # type: ignore[arg-type]
        assert failed.returncode == 3
        assert failed.stderr.count(b"ERROR") == 1
        assert b"--no-owner" in failed.stderr
    assert psql(server, APP, "-f", str(file)).returncode == 3
    assert psql(server, "--admin", APP, f"--file={file}").returncode == 1
    assert tables(server) == f"kept of {APP}"
    assert psql(server, APP, "-Atc", "SELECT count(*) FROM kept").stdout == b"41\n"


def test_a_dump_without_owners_becomes_the_apps(server: Server) -> None:
    text = "".join(line for line in DUMP.splitlines(keepends=True) if "OWNER" not in line)
    # More than a pipe holds, and than what is looked at.
    rows = "".join(f"{number}\n" for number in range(100_000))
    text += f"COPY public.orders (id) FROM stdin;\n{rows}\\.\n"
    done = psql(server, APP, piped=text.encode())
    assert done.returncode == 0, done.stderr
    assert tables(server) == f"kept of {APP}, orders of {APP}"
    assert psql(server, APP, "-Atc", "SELECT count(*), max(id) FROM public.orders").stdout == b"100002|99999\n"
    psql(server, APP, "-c", "DROP TABLE public.orders")


@pytest.mark.parametrize("admin", [(), ("--admin",)])
def test_a_script_that_fails_at_its_end_leaves_nothing(server: Server, admin: tuple[str, ...]) -> None:
    done = psql(
        server, *admin, APP, piped=b"CREATE TABLE public.a (n int);\nDELETE FROM public.kept;\nSELECT nonsense;\n"
    )
    assert done.returncode == 3
    assert tables(server) == f"kept of {APP}"
    assert psql(server, APP, "-Atc", "SELECT count(*) FROM kept").stdout == b"41\n"


def test_what_cannot_be_one_transaction_is_run_all_the_same(server: Server) -> None:
    done = psql(
        server, APP, piped=b"CREATE INDEX CONCURRENTLY i ON kept (n);\nVACUUM kept;\nSELECT 1/0;\nSELECT 'after';\n"
    )
    assert done.returncode == 3
    assert b"after" not in done.stdout
    assert (
        psql(server, APP, "-Atc", "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass").stdout == b"t\n"
    )


def test_other_files_are_named_and_touch_nothing(server: Server, tmp_path: Path) -> None:
    backup = Path(server.do("db.backup", {"appName": OTHER})["backupPath"])
    packed = tmp_path / "x.sql.gz"
    packed.write_bytes(gzip.compress(DUMP.encode()))
    for file, says in ((backup, f"backup of the database {OTHER}"), (packed, "compressed with gzip")):
        for given in ({"piped": file.read_bytes()}, {"file": file}):
            refused = psql(server, "--admin", APP, **given)  # type: ignore[arg-type]
            assert refused.returncode == 1
            assert says in refused.stderr.decode()
    assert b"This is a folder" in psql(server, APP, "-f", str(tmp_path)).stderr
    assert b"cannot be read" in psql(server, APP, "-f", str(tmp_path / "nothing")).stderr
    assert tables(server) == f"kept of {APP}"

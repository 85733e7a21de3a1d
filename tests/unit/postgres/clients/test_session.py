"""psql is started as the right user, and no password is among its arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.errors import DatabasesUnavailable
from ikoma.model import Secret
from ikoma.ports.databases import Credentials
from ikoma.postgres.clients.session import make_psql_session
from ikoma.settings import Settings, load_settings


def settings(folder: Path, **more: str) -> Settings:
    return load_settings({"IKOMA_HOME": str(folder), "IKOMA_STATE": str(folder), **more})


def started(folder: Path) -> Path:
    (folder / "postgres").mkdir()
    (folder / "postgres" / "port").write_text("5499")
    (folder / "postgres" / "password").write_text("of-the-admin")
    return folder


def test_the_embedded_servers_admin_is_its_own_whatever_postgres_user_says(tmp_path: Path) -> None:
    argv, variables = make_psql_session(settings(started(tmp_path), POSTGRES_USER="somebody"), None, "shop")
    assert (variables["PGUSER"], variables["PGPORT"], variables["PGDATABASE"]) == ("ikoma", "5499", "shop")
    assert "of-the-admin" not in " ".join(argv)


def test_an_external_server_is_entered_as_postgres_user(tmp_path: Path) -> None:
    given = settings(tmp_path, POSTGRES_HOST="db.example", POSTGRES_USER="somebody", POSTGRES_PASSWORD="secret")
    variables = make_psql_session(given, None, "shop")[1]
    assert (variables["PGHOST"], variables["PGUSER"], variables["PGPASSWORD"]) == ("db.example", "somebody", "secret")


def test_an_app_enters_as_its_own_role(tmp_path: Path) -> None:
    variables = make_psql_session(settings(started(tmp_path)), Credentials("shop", "shop", Secret("own")), "shop")[1]
    assert (variables["PGUSER"], variables["PGPASSWORD"]) == ("shop", "own")


def test_only_the_admin_searches_nothing_but_postgresqls_own(tmp_path: Path) -> None:
    given = settings(started(tmp_path))
    assert make_psql_session(given, None, "shop")[1]["PGOPTIONS"] == "-c search_path=pg_catalog"
    assert "PGOPTIONS" not in make_psql_session(given, Credentials("shop", "shop", Secret("own")), "shop")[1]


def test_before_the_first_start_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(DatabasesUnavailable, match="not been started"):
        make_psql_session(settings(tmp_path), None, "shop")

"""Services get the variables of the app's database on this platform, or keep their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ikoma.app_folder import App
from ikoma.apps.database import credentials
from ikoma.apps.database.images import is_database, keeps_rows
from ikoma.apps.database.own_database import explain_backup, explain_create
from ikoma.apps.database.variables import assign_database_variables, find_own_databases
from ikoma.apps.environment.dotenv import DATABASE_PARTS
from ikoma.apps.rollouts import injection
from ikoma.compose.dockerfiles import inline_dockerfiles
from ikoma.compose.model import ComposeModel, parse_model, parse_service
from ikoma.model import AppName
from ikoma.ports.databases import Endpoint

ALL = dict(DATABASE_PARTS)
RUNBOOK = {"POSTGRES_DB": "myapp", "POSTGRES_USER": "ikoma", "POSTGRES_PASSWORD": "secure_password_here"}
DB = {"image": "postgres:16-alpine", "environment": {"POSTGRES_PASSWORD": "own"}}


def given(
    web: dict[str, Any], written: dict[str, str] | None = None, wish: Any = None, **others: Any
) -> dict[str, str]:
    model: dict[str, Any] = {"services": {"web": {"image": "shop:1", **web}, **others}}
    if wish is not None:
        model["x-ikoma"] = {"database": wish}
    return dict(assign_database_variables(parse_model(model), written or {})["web"].names)


def env(**values: str | None) -> dict[str, Any]:
    return {"environment": values}


# --- a database is none of those that get them -------------------------------------------------------------


@pytest.mark.parametrize(
    "image",
    [
        *("postgres", "postgres:16", "postgres:16-alpine@sha256:" + "a" * 64, "docker.io/library/postgres:17"),
        *(
            "postgis/postgis:16-3.4",
            "pgvector/pgvector:pg17",
            "timescale/timescaledb-ha:pg16",
            "supabase/postgres:15.1",
        ),
        *("bitnami/postgresql:16", "bitnami/postgresql-repmgr", "ghcr.io/immich-app/postgres:14-vectorchord0.3.0"),
        *("localhost:5000/acme/shop-postgres", "mariadb:11", "mysql/mysql-server:8", "percona:8", "bitnami/mariadb"),
        *(
            "mcr.microsoft.com/mssql/server:2022-latest",
            "cockroachdb/cockroach:v23",
            "postgres_16",
            "tensorchord/pgvecto-rs",
        ),
    ],
)
def test_a_database_is_known_by_its_image(image: str) -> None:
    assert keeps_rows(parse_service("x", {"image": image}))


@pytest.mark.parametrize("image", ["redis:7-alpine", "valkey/valkey:8", "mongo:7", "clickhouse/clickhouse-server:24"])
def test_other_databases_get_none_but_are_not_those_of_the_variables(image: str) -> None:
    assert is_database(parse_service("x", {"image": image}))
    assert not keeps_rows(parse_service("x", {"image": image}))
    assert assign_database_variables(parse_model({"services": {"x": {"image": image}}}), {})["x"].names == {}


@pytest.mark.parametrize(
    "image",
    [
        *(
            "shop:1",
            "postgrest/postgrest",
            "dpage/pgadmin4",
            "edoburu/pgbouncer",
            "prometheuscommunity/postgres-exporter",
        ),
        *("prodrigestivill/postgres-backup-local", "phpmyadmin:5", "adminer", "redislabs/redisinsight", "nginx"),
        *("postgresql-client", "oliver006/redis_exporter", "mysql-backup", ""),
    ],
)
def test_what_only_works_with_a_database_is_none(image: str) -> None:
    assert not is_database(parse_service("x", {"image": image}))


@pytest.mark.parametrize(
    "service",
    [
        {"image": "acme/rows", "volumes": [{"type": "volume", "target": "/var/lib/postgresql/data"}]},
        {"image": "acme/rows", "volumes": [{"type": "bind", "target": "/var/lib/postgresql"}]},
        {"image": "acme/rows", "volumes": [{"type": "volume", "target": "/var/lib/mysql/"}]},
        {"build": {"dockerfile_inline": "ARG V=16\nFROM postgres:16\nCOPY x /docker-entrypoint-initdb.d/"}},
        {"build": {"dockerfile_inline": "FROM postgis/postgis:16-3.4 AS base\nFROM alpine AS tools\nFROM base\n"}},
    ],
)
def test_a_database_is_known_by_where_it_keeps_rows_and_what_it_is_built_from(service: dict[str, Any]) -> None:
    assert keeps_rows(parse_service("x", service))


def test_what_is_built_beside_a_database_is_none() -> None:
    build = {"dockerfile_inline": "FROM postgres:16 AS tools\nFROM node:22\nCOPY --from=tools /x /"}
    assert not is_database(parse_service("x", {"build": build}))


# --- who has a database of the app's own -------------------------------------------------------------------


@pytest.mark.parametrize(
    "web",
    [
        env(DATABASE_URL="postgres://app:pw@db:5432/app"),
        env(POSTGRES_HOST="db", POSTGRES_PASSWORD="own"),
        env(DB_HOST="db"),  # of another name, but Rails and Laravel take DATABASE_URL before it
        env(KC_DB_URL="jdbc:postgresql://db/keycloak"),
        env(DSN="host=db user=app"),
        env(DB="db:5432"),
        {"depends_on": {"db": {"condition": "service_healthy"}}},
        env(POSTGRES_USER="app", POSTGRES_PASSWORD="own"),
        env(DATABASE_URL="sqlite:///data/shop.db"),
        env(PGHOST="rds.example.com"),
    ],
)
def test_who_has_a_database_of_its_own_gets_nothing(web: dict[str, Any]) -> None:
    assert given(web, db=DB) == {}
    assert given(web, RUNBOOK, db=DB) == {}


def test_the_database_of_an_app_is_known_by_all_its_names() -> None:
    named = {**DB, "container_name": "shop-rows", "networks": {"default": {"aliases": ["rows"]}}}
    assert given(env(DB_HOST="shop-rows"), db=named) == given(env(DB_HOST="rows"), db=named) == {}
    assert given(env(DB_HOST="elsewhere"), db=named) == ALL


def test_its_own_database_also_stays_where_env_says_so() -> None:
    written = {"DATABASE_URL": "postgres://app:pw@db/app", "POSTGRES_HOST": "db"}
    assert given(env(**written), written, db=DB) == {}
    assert given(env(**written), written) == ALL  # no such service: what stands in .env is replaced


def test_a_database_beside_does_not_keep_others_from_the_platforms() -> None:
    assert given(env(NODE_ENV="production"), db=DB) == ALL
    assert (
        given(
            {"depends_on": {"redis": {}, "clickhouse": {}}},
            redis={"image": "redis"},
            clickhouse={"image": "clickhouse"},
        )
        == ALL
    )


# --- what stands in .env is replaced, what a service sets itself is not --------------------------------------


@pytest.mark.parametrize(
    "web",
    [
        {},
        env(**RUNBOOK),  # by env_file, or by ${POSTGRES_PASSWORD}
        env(PGPASSWORD="secure_password_here", PGUSER="ikoma"),  # by ${POSTGRES_PASSWORD} under another name
        env(POSTGRES_PASSWORD="", DATABASE_URL=None),
        env(POSTGRES_HOST="ikoma-postgres", DATABASE_URL="postgresql://x:y@ikoma-postgres:5432/z"),
    ],
)
def test_what_stands_in_env_is_replaced(web: dict[str, Any]) -> None:
    assert given(web, RUNBOOK) == ALL


def test_a_dollar_sign_is_no_difference() -> None:
    assert given(env(POSTGRES_PASSWORD="a$$b"), {"POSTGRES_PASSWORD": "a$b"}) == ALL


def test_an_address_made_of_the_host_in_env_is_replaced() -> None:
    written = {**RUNBOOK, "POSTGRES_HOST": "localhost"}
    assert given(env(DATABASE_URL="postgres://ikoma:secure_password_here@localhost:5432/myapp"), written) == ALL


@pytest.mark.parametrize("wish", [True, ["web"]])
def test_who_asks_for_them_keeps_what_it_sets_itself(wish: Any) -> None:
    found = given(env(DATABASE_URL="postgres://app:pw@db/app", PGPORT="6000"), RUNBOOK, wish, db=DB)
    assert found == {name: part for name, part in ALL.items() if name not in ("DATABASE_URL", "PGPORT")}


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_who_insists_on_tls_gets_the_port_for_it(mode: str) -> None:
    found = given(env(PGSSLMODE=mode))
    assert {name for name, part in found.items() if part == "tls_port"} == {"PGPORT", "POSTGRES_PORT"}
    assert found["DATABASE_URL"] == "tls_url"
    assert given(env(PGSSLMODE="prefer")) == ALL


def test_a_port_alone_says_nothing_of_another_database() -> None:
    assert given(env(PGPORT="5432")) == {name: part for name, part in ALL.items() if name != "PGPORT"}


# --- x-ikoma ----------------------------------------------------------------------------------------------


def test_names_can_be_mapped_for_each_service() -> None:
    names = {"DBUSER": "user", "DBPASS": "password", "DBHOST": "host", "DBNAME": "name", "DBPORT": "port", "URL": "url"}
    assert given(env(DBUSER="wiki", DB_HOST="db"), RUNBOOK, {"web": names}, db=DB) == names
    services = {"web": env(DBUSER="wiki", DBPASS="", PORT="80")}
    model = parse_model({"services": services, "x-ikoma": {"database": {"web": names}}})
    assert assign_database_variables(model, {})["web"].replaced == ("DBUSER",)
    assert given({}, RUNBOOK, {"worker": names}, worker={}) == {}
    assert given({}, RUNBOOK, {"web": {"X": "nonsense", "Y": []}}) == {}  # said as an error


@pytest.mark.parametrize("wish", [False, [], ["worker"], {}])
def test_who_is_not_named_gets_none(wish: Any) -> None:
    assert given({}, RUNBOOK, wish, worker={}) == {}


@pytest.mark.parametrize("wish", [True, ["db", "web"], {"db": {"POSTGRES_USER": "user"}}])
def test_a_database_gets_none_even_where_it_is_named(wish: Any) -> None:
    model = parse_model({"services": {"web": {}, "db": DB}, "x-ikoma": {"database": wish}})
    assert assign_database_variables(model, {})["db"].names == {}
    assert find_own_databases(model) == ["db"]


# --- in containers ----------------------------------------------------------------------------------------


@pytest.fixture
def app(tmp_path: Path) -> App:
    made = App(AppName("shop"), tmp_path)
    credentials.obtain(made)
    return made


def run_again(app: App, model: ComposeModel) -> dict[str, Any]:
    found = injection.inject_database(app, model, Endpoint("ikoma-postgres", 5432, True))
    return {name: service.raw for name, service in found.services.items()}


def test_a_release_gets_what_was_decided_when_it_was_made(app: App) -> None:
    web = {"image": "shop:1", "environment": {"POSTGRES_USER": "ikoma"}}
    (app.path / ".env").write_text("POSTGRES_USER=ikoma\n")
    made = injection.freeze(app, parse_model({"services": {"web": web, "db": DB}}), env={}, memory=1 << 20)
    (app.path / ".env").write_text("POSTGRES_USER=another\n")
    services = run_again(app, made)
    assert services["web"]["environment"]["POSTGRES_USER"] == "shop"
    assert services["web"]["extra_hosts"] == ["ikoma-postgres=host-gateway"]
    assert services["db"]["environment"] == {"POSTGRES_PASSWORD": "own"}
    assert all(not key.startswith("x-") for service in services.values() for key in service)


def test_a_release_of_an_earlier_version_keeps_its_own_database_too(app: App) -> None:
    web = {"image": "shop:1", "environment": {"DATABASE_URL": "postgres://app:pw@db/app"}}
    services = run_again(app, parse_model({"services": {"web": web, "db": DB, "api": {"environment": {}}}}))
    assert services["web"]["environment"] == web["environment"]
    assert services["db"]["environment"] == DB["environment"]
    assert services["api"]["environment"]["PGUSER"] == "shop"


def test_mapped_names_hold_the_parts_of_the_database(app: App) -> None:
    names = {"DBUSER": "user", "DBPASS": "password", "DBHOST": "host", "DBNAME": "name", "DBPORT": "port", "URL": "url"}
    services = {"web": {"environment": {"DBUSER": "wiki"}}}
    model = parse_model({"services": services, "x-ikoma": {"database": {"web": names}}})
    found = run_again(app, injection.freeze(app, model, env={}, memory=1 << 20))["web"]["environment"]
    password = credentials.require(app).password.reveal()
    assert found == {
        "DBUSER": "shop",
        "DBPASS": password,
        "DBHOST": "ikoma-postgres",
        "DBNAME": "shop",
        "DBPORT": "5432",
        "URL": f"postgresql://shop:{password}@ikoma-postgres:5432/shop",
    }


def test_what_tls_takes_can_be_told_under_any_name(app: App) -> None:
    names = {"DB": "tls_url", "DB_PORT": "tls_port", "DB_CA": "ca"}
    model = parse_model({"services": {"web": {}}, "x-ikoma": {"database": {"web": names}}})
    frozen = injection.freeze(app, model, env={}, memory=1 << 20)
    endpoint = Endpoint("ikoma-postgres", 5432, True, tls_port=5433, certificate="-----BEGIN\n")
    found = injection.inject_database(app, frozen, endpoint).services["web"].environment
    password = credentials.require(app).password.reveal()
    assert found == {
        "DB": f"postgresql://shop:{password}@ikoma-postgres:5433/shop?sslmode=require",
        "DB_PORT": "5433",
        "DB_CA": "-----BEGIN\n",
    }


# --- what is built from a Dockerfile that is a file ----------------------------------------------------------


def built(tmp_path: Path, text: str, **build: Any) -> ComposeModel:
    """A model whose `data` is built from this file, and whose `web` depends on nothing."""
    app = App(AppName("shop"), tmp_path)
    place = tmp_path / str(build.get("dockerfile", "Dockerfile"))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    data = {"build": {"context": str(tmp_path), **build}}
    return inline_dockerfiles(app, parse_model({"services": {"data": data, "web": {"image": "shop:1"}}}))


@pytest.mark.parametrize(
    ("dockerfile", "build"),
    [
        ("FROM postgres\n", {}),
        ("# FROM node\r\nFROM postgres:16\r\nCOPY x /y\r\n", {}),
        ("FROM \\\n  postgres:16\n", {}),
        ("FROM mysql:8 AS rows\nFROM node:22 AS web\nFROM rows\n", {}),
        ("FROM mariadb:11 AS rows\nFROM node:22\n", {"target": "rows"}),
        ("FROM mariadb:11\nFROM node:22\n", {"target": "0"}),
        ("ARG V=16\nARG BASE=postgres:${V}\nFROM $BASE\n", {}),
        ("ARG BASE=node\nFROM ${BASE}\n", {"args": {"BASE": "postgis/postgis:16"}}),
        ("FROM ${BASE:-postgres:17}\n", {}),
        ("FROM node:22 AS build\nRUN <<EOF\nFROM node\nEOF\nFROM --platform=linux/amd64 postgres:16\n", {}),
        ("FROM postgres:16\n", {"dockerfile": "docker/rows.Dockerfile"}),
        ('FROM postgres:16\nRUN echo "\nFROM node\n', {"target": "0"}),
    ],
)
def test_a_database_that_is_built_from_a_file_is_told_and_gets_nothing(
    tmp_path: Path, dockerfile: str, build: dict[str, Any]
) -> None:
    model = built(tmp_path, dockerfile, **build)
    assert find_own_databases(model) == ["data"]
    assert assign_database_variables(model, {})["data"].names == {}
    assert "data is a database that the app runs itself" in explain_create(model, {})[0]


@pytest.mark.parametrize("dockerfile", ["FROM mongo:7\n", "FROM redis:7 AS r\nFROM r\n"])
def test_a_store_of_another_kind_that_is_built_gets_nothing_and_is_told(tmp_path: Path, dockerfile: str) -> None:
    model = built(tmp_path, dockerfile)
    assert find_own_databases(model) == []
    assert assign_database_variables(model, {})["data"].names == {}
    assert assign_database_variables(model, {})["web"].names == ALL
    assert "gets no variables of this one" in explain_create(model, {})[0]
    assert "What data keeps" in explain_backup(model)[0]


@pytest.mark.parametrize("dockerfile", ["FROM postgres AS dump\nFROM node:22\n", "# FROM postgres\nFROM node\n", ""])
def test_what_is_built_on_no_database_gets_the_variables(tmp_path: Path, dockerfile: str) -> None:
    model = built(tmp_path, dockerfile)
    assert assign_database_variables(model, {})["data"].names == ALL
    assert explain_create(model, {}) == []


def test_a_service_that_runs_what_another_builds_is_the_same_database(tmp_path: Path) -> None:
    model = built(tmp_path, "FROM postgres:16\n")
    data = {**model.services["data"].raw, "image": "acme/rows"}
    model = model.replace_services({"data": data, "second": {"image": "acme/rows"}})
    assert find_own_databases(model) == ["data", "second"]


def test_a_release_gives_nothing_to_what_only_its_own_name_tells_is_a_database(tmp_path: Path) -> None:
    model = built(tmp_path, "FROM acme/base\n")
    data = {**model.services["data"].raw, "image": "acme/postgres"}
    postgres = {"build": {"context": str(tmp_path)}}  # its image's name is IKOMA's
    model = model.replace_services({"data": data, "postgres": postgres})
    kept = injection.freeze(App(AppName("shop"), tmp_path), model, env={}, memory=1 << 20, variables={})
    assert kept.services["data"].raw["x-ikoma-database"] == {}
    assert kept.services["postgres"].raw["x-ikoma-database"] == ALL


def test_a_database_that_the_app_names_to_get_variables_gets_none_and_is_told(tmp_path: Path) -> None:
    model = built(tmp_path, "FROM postgres:16\n")
    model = model.replace_block({"database": ["data", "web"]})
    found = assign_database_variables(model, {})
    assert (found["data"].names, dict(found["web"].names)) == ({}, ALL)
    assert "Take data out of `x-ikoma: database`." in " ".join(explain_create(model, {}))

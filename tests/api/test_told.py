"""Answers about work that went wrong in the middle: what stays, which service it was, where to look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images import busybox_image
from tests.support import Server

APP = "told"


@pytest.fixture(scope="module")
def folder(server: Server) -> Iterator[Path]:
    server.do("apps.init", {"appName": APP})
    yield server.apps / APP
    server.do("apps.remove", {"appName": APP})


def compose(folder: Path, service: str) -> None:
    (folder / "docker-compose.yml").write_text(f"services:\n  web: {service}\nx-ikoma: {{service: false, watch: 0s}}\n")


def test_migrations_that_stay_applied_are_named_where_a_later_one_fails(server: Server, folder: Path) -> None:
    server.do("db.create", {"appName": APP})
    (folder / "migrations" / "001.sql").write_text("CREATE TABLE kept (id int);")
    (folder / "migrations" / "002.sql").write_text("CREATE TABLE lost (id nonsense);")
    failed = server.call("db.migrate", {"appName": APP})
    assert failed.body["details"]["migrationsApplied"] == ["001.sql"]
    assert failed.body["hint"].startswith("Applied before it, and staying so: 001.sql. ")
    assert server.do("db.status", {"appName": APP})["tables"] == ["kept"]
    again = server.call("db.migrate", {"appName": APP})
    assert "migrationsApplied" not in again.body.get("details", {})
    (folder / "migrations" / "002.sql").unlink()


def test_an_image_with_nothing_to_run_fails_by_the_name_of_its_service(server: Server, folder: Path) -> None:
    (folder / "src" / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /Dockerfile\n")
    compose(folder, "{build: ./src}")
    failed = server.call("deploy.up", {"appName": APP})
    assert failed.code == "deploy_failed"
    assert failed.body["error"].startswith("No container of the service web could be made: No command specified")
    assert failed.body["details"]["service"] == "web"


def test_of_an_app_whose_deploys_all_failed_the_newest_is_shown(server: Server, folder: Path) -> None:
    compose(folder, f"{{image: {busybox_image()}, command: [sh, -c, 'echo no luck; exit 3']}}")
    assert server.call("deploy.up", {"appName": APP}).code == "deploy_failed"
    shown = server.do("release.show", {"appName": APP})
    newest = server.do("release.list", {"appName": APP})["releases"][0]
    assert (shown["id"], shown["state"], shown["current"]) == (newest["id"], "failed", False)
    assert "exited with code 3" in shown["cause"]
    said = server.cli("release", APP)
    assert newest["id"] in said.stdout

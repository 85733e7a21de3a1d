from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.validation.disk.missing_files import find_empty_mounts, find_missing_files
from ikoma.apps.validation.finding import Finding
from ikoma.apps.yaml.lines import Source
from ikoma.compose.model import ComposeModel, parse_model
from ikoma.model import AppName


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "shop" / "empty.conf").mkdir(parents=True)
    (tmp_path / "shop" / "there.sql").write_text("SELECT 1")
    return App(AppName("shop"), tmp_path / "shop")


def mounted(app: App, source: str, target: str, *, read_only: bool = True) -> tuple[Source, ComposeModel]:
    text = f"services:\n  web:\n    volumes:\n      - {source}:{target}\n"
    mount = {"type": "bind", "source": str(app.path / source), "target": target, "read_only": read_only}
    return Source("docker-compose.yml", text.encode()), parse_model({"services": {"web": {"volumes": [mount]}}})


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("init.sql", "/docker-entrypoint-initdb.d/init.sql"),
        ("conf/nginx", "/etc/nginx/conf.d/default.conf"),
        ("nginx.conf", "/etc/nginx"),
        ("Caddyfile", "/etc/caddy/Caddyfile"),
        ("passwd", "/etc/passwd"),
        (".htpasswd", "/etc/nginx/.htpasswd"),
        ("config/prometheus.yml", "/etc/prometheus/prometheus.yml"),
        ("docker/entrypoint.sh", "/entrypoint"),
        (".env", "/app/.env"),
        ("data/app.sqlite3", "/app/db"),
    ],
)
@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_is_not_there_is_an_error_that_names_it(
    app: App, source: str, target: str, read_only: bool
) -> None:
    [found] = find_missing_files(app, *mounted(app, source, target, read_only=read_only))
    assert (found.file, found.line) == ("docker-compose.yml", 4)
    assert found.problem == f"There is no file {source}: an empty folder would be mounted at {target}."
    assert found.fix.startswith(f"Write {source},")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("data", "/var/lib/postgresql/data"),
        ("conf.d", "/etc/nginx/conf.d"),
        ("config", "/root/.config"),
        ("v1.2", "/opt/v1.2"),
        ("example.com", "/var/www/example.com"),
        ("there.sql", "/docker-entrypoint-initdb.d/there.sql"),
        ("empty.conf", "/etc/empty.conf"),
        ("../outside.sql", "/x.sql"),
        ("profile", "/profile"),
    ],
)
def test_a_folder_is_made_and_what_is_there_is_no_matter(app: App, source: str, target: str) -> None:
    assert list(find_missing_files(app, *mounted(app, source, target, read_only=False))) == []


def test_files_of_configs_and_secrets_are_errors_with_their_line(app: App) -> None:
    text = "secrets:\n  token:\n    file: ./token\nconfigs:\n  page:\n    file: ./there.sql\n"
    model = {
        "secrets": {"token": {"file": str(app.path / "token")}, "given": {"environment": "A"}},
        "configs": {"page": {"file": str(app.path / "there.sql")}, "more": {"content": "x"}},
    }
    problem = "There is no file token, which secrets token is made of."
    found = list(find_missing_files(app, Source("docker-compose.yml", text.encode()), parse_model(model)))
    assert found == [Finding("docker-compose.yml", 3, problem, "Write token, or correct its path.")]


def test_what_is_empty_and_stays_so_is_a_warning(app: App) -> None:
    [missing] = find_empty_mounts(app, *mounted(app, "certs", "/certs"))
    assert missing.problem == "There is no folder certs: an empty one is mounted read-only."
    [made] = find_empty_mounts(app, *mounted(app, "empty.conf", "/etc/empty.conf"))
    assert made.problem == "empty.conf is an empty folder, and its name is one of a file."
    assert list(find_empty_mounts(app, *mounted(app, "certs", "/certs", read_only=False))) == []
    assert list(find_empty_mounts(app, *mounted(app, "there.sql", "/there.sql"))) == []


def test_a_clock_that_the_server_has_not_is_left_out_with_a_warning(app: App) -> None:
    text = "services:\n  web:\n    volumes:\n      - /usr/share/zoneinfo/No/Where:/clock:ro\n"
    mount = {"type": "bind", "source": "/usr/share/zoneinfo/No/Where", "target": "/clock", "read_only": True}
    model = {"services": {"web": {"volumes": [mount]}}}
    [found] = find_empty_mounts(app, Source("docker-compose.yml", text.encode()), parse_model(model))
    assert "TZ" in found.fix
    assert found.line == 4

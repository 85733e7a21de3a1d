from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.errors import InvalidSetting
from ikoma.settings import load_settings, read_api_key_hash

HASH = "a" * 64


def test_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    settings = load_settings({"IKOMA_HOME": str(tmp_path)})
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 3000)
    assert settings.apps_root == Path("/srv/apps")
    assert settings.postgres_host is None


def test_the_file_gives_what_the_environment_does_not(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HTTP_PORT=4000\nAPPS_ROOT=/data/apps\n")
    settings = load_settings({"IKOMA_HOME": str(tmp_path), "HTTP_PORT": "5000"})
    assert settings.http_port == 5000
    assert settings.apps_root == Path("/data/apps")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PORT", "0"),
        ("HTTP_PORT", "70000"),
        ("HTTP_PORT", "３０００"),
        ("HTTP_PORT", "3000 "),
        ("SERVER_MODE", "all"),
        ("APPS_ROOT", "relative"),
        ("DOCKER_HOST", "docker.sock"),
        ("API_KEY_HASH", "short"),
        ("IKOMA_ROLE", "root"),
        ("RATE_LIMIT_WINDOW_MS", "-1"),
        ("POSTGRES_PORT", "x"),
        ("PROXY_HOST", "example.com"),
        ("PROXY_HTTP_PORT", "65536"),
        ("PROXY_TLS", "on"),
        ("ACME_EMAIL", "{env.HOME}@example.com"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_variable(name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=name):
        load_settings({"IKOMA_HOME": str(tmp_path), name: value})


def test_the_last_key_hash_in_the_file_counts(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text(f"API_KEY_HASH={HASH}\nOTHER=1\nAPI_KEY_HASH={'b' * 64}\n")
    assert read_api_key_hash(env) == "b" * 64


def test_a_malformed_key_hash_opens_nothing(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("API_KEY_HASH=\n")
    assert read_api_key_hash(env) is None
    env.write_text("API_KEY_HASH=zz\n")
    assert read_api_key_hash(env) is None


def test_secrets_of_the_settings_do_not_show() -> None:
    assert "hunter2" not in repr(load_settings({"IKOMA_HOME": "/nowhere", "POSTGRES_PASSWORD": "hunter2"}))

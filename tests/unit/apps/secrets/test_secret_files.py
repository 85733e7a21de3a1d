"""Secrets of one app are known where its programs are quoted: by the engine, by probes, in records of failures."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.apps.releases.release import Release, Releases
from ikoma.apps.secrets import app_secrets
from ikoma.apps.secrets.secret_files import SecretFiles
from ikoma.compose.model import parse_model
from ikoma.kernel.redaction.redaction import redact
from ikoma.model import AppName
from ikoma.rollout_state import RolloutState, Serving, Standby, Underway

OLDEST, STANDBY, COMING, SERVING, NEWEST = (f"20260101-00000{number}-0000" for number in range(1, 6))
MODEL = parse_model({"name": "shop", "services": {"web": {"image": "busybox"}}})


@pytest.fixture
def shop(tmp_path: Path) -> App:
    (tmp_path / "shop").mkdir()
    return Apps(tmp_path).locate(AppName("shop"))


@pytest.fixture
def files(shop: App) -> SecretFiles:
    return SecretFiles(Apps(shop.path.parent))


def add_release(app: App, identity: str) -> None:
    """Record a release that was given its own token: `token-` and its id."""
    release = Release(identity, "key_1", "2026-01-01T00:00:00Z")
    Releases(app).open(release, MODEL, {"TOKEN": f"token-{identity}"}, {})


def find_hidden(files: SecretFiles, *releases: str) -> set[str]:
    texts = files(AppName("shop")).texts
    return {identity for identity in releases if redact(f"token-{identity}", texts) == "***"}


def test_releases_that_serve_come_and_stand_by_are_known_and_the_newest(shop: App, files: SecretFiles) -> None:
    everyone = (OLDEST, STANDBY, COMING, SERVING, NEWEST)
    for identity in everyone:
        add_release(shop, identity)
        assert find_hidden(files, identity) == {identity}, "the newest is known as soon as it is there"
    state = RolloutState(shop)
    state.write(Serving(SERVING, "1", 0.0))
    assert find_hidden(files, *everyone) == {SERVING, NEWEST}
    state.write(Standby(STANDBY, "2", (), 0.0))
    assert find_hidden(files, *everyone) == {STANDBY, SERVING, NEWEST}
    state.write(Underway(COMING, "3"))
    assert find_hidden(files, *everyone) == {STANDBY, COMING, SERVING, NEWEST}


@pytest.mark.parametrize("broken", ["serving.json", "rollout.json", "standby.json", f"releases/{SERVING}/release.json"])
def test_a_record_that_cannot_be_read_hides_no_other(shop: App, files: SecretFiles, broken: str) -> None:
    for identity in (STANDBY, COMING, SERVING, NEWEST):
        add_release(shop, identity)
    state = RolloutState(shop)
    state.write(Serving(SERVING, "1", 0.0))
    state.write(Standby(STANDBY, "2", (), 0.0))
    state.write(Underway(COMING, "3"))
    (shop.state / broken).write_text("{")
    lost = {"rollout.json": COMING, "standby.json": STANDBY}.get(broken, SERVING)
    assert find_hidden(files, STANDBY, COMING, SERVING, NEWEST) == {STANDBY, COMING, SERVING, NEWEST} - {lost}


def test_files_are_read_again_when_they_change_and_only_then(
    shop: App, files: SecretFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.env_file.write_text("TOKEN=first-value-1\n")
    assert redact("first-value-1", files(AppName("shop")).texts) == "***"
    with monkeypatch.context() as patched:
        patched.delattr(app_secrets, "find_of_app")
        assert redact("first-value-1", files(AppName("shop")).texts) == "***"
    shop.env_file.write_text("TOKEN=another-value-2\n")
    assert redact("another-value-2", files(AppName("shop")).texts) == "***"


def test_what_was_looked_at_while_a_release_was_written_is_looked_at_again(
    shop: App, files: SecretFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_release(shop, OLDEST)
    write = Releases.write

    def look_first(releases: Releases, release: Release) -> None:
        assert find_hidden(files, NEWEST) == set(), "it has no record yet"
        write(releases, release)

    monkeypatch.setattr(Releases, "write", look_first)
    add_release(shop, NEWEST)
    assert find_hidden(files, NEWEST) == {NEWEST}

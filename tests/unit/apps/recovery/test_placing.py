"""The settings of a recovered server: its own, but for those of the machine."""

from __future__ import annotations

from pathlib import Path

from ikoma.apps.recovery.placing import merge_settings

OLD = """# mine
API_KEY_HASH=old
TRASH_DAYS=14
APPS_ROOT=/data/apps
POSTGRES_PASSWORD="of the old one"
"""
NEW = """API_KEY_HASH=new
TRASH_DAYS=7
POSTGRES_PASSWORD=of-the-new-one
HTTP_PORT=3001
"""


def test_settings_come_back_and_those_of_the_machine_stay(tmp_path: Path) -> None:
    own = tmp_path / ".env"
    own.write_text(NEW)
    assert merge_settings(OLD, own).splitlines() == [
        "# mine",
        "API_KEY_HASH=old",
        "TRASH_DAYS=14",
        "POSTGRES_PASSWORD=of-the-new-one",
        "HTTP_PORT=3001",
    ]


def test_a_new_server_without_settings_gets_the_old_ones(tmp_path: Path) -> None:
    assert merge_settings("A=1", tmp_path / "none") == "A=1\n"

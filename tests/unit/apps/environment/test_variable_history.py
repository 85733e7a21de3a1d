"""Former values of variables: kept whole, for thirty days, whoever changed them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ikoma.app_folder import App
from ikoma.apps.environment import variable_history
from ikoma.apps.secrets import app_secrets
from ikoma.durable import write_file
from ikoma.errors import VersionNotFound
from tests.unit.apps import compose_reading
from tests.unit.apps.environment.test_editor import app, as_compose_reads

pytestmark = pytest.mark.engine

__all__ = ["app"]


def test_a_value_comes_back_after_set_unset_and_import(app: App) -> None:
    compose_reading.put(app, "TOKEN", "first-value")
    compose_reading.put(app, "OTHER", "x")
    compose_reading.put(app, "TOKEN", "second'value")
    assert compose_reading.restore(app, "TOKEN") == ["TOKEN", "OTHER"]
    assert as_compose_reads(app.path)["TOKEN"] == "first-value"
    assert compose_reading.restore(app, "TOKEN") == ["TOKEN", "OTHER"]
    assert as_compose_reads(app.path)["TOKEN"] == "second'value"
    compose_reading.remove(app, "TOKEN")
    assert compose_reading.restore(app, "TOKEN") == ["OTHER", "TOKEN"]
    assert as_compose_reads(app.path)["TOKEN"] == "second'value"
    compose_reading.replace(app, "ONLY=this\n")
    assert compose_reading.restore(app, "OTHER") == ["ONLY", "OTHER"]
    assert as_compose_reads(app.path) == {"ONLY": "this", "OTHER": "x"}


def test_a_whole_file_comes_back_by_its_version(app: App) -> None:
    before = "# mine\nA=1\nB='two # 2'\n"
    compose_reading.replace(app, before)
    compose_reading.replace(app, "C=3\n")
    version = variable_history.list_former(app)[0].version
    assert compose_reading.restore(app, None, version) == ["A", "B"]
    assert app.env_file.read_text() == before


def test_what_was_edited_by_hand_is_kept_by_the_next_call(app: App) -> None:
    compose_reading.put(app, "A", "by-call")
    write_file(app.env_file, "A=by-hand\n", mode=0o600)
    variable_history.keep_present(app)  # as a deploy does
    write_file(app.env_file, "A=by-hand-again\n", mode=0o600)
    compose_reading.put(app, "B", "1")
    kept = [variable_history.read(app, item.version) for item in variable_history.list_former(app, "A")]
    assert [line.splitlines()[-1] for line in kept] == [b"A=by-hand", b"A=by-call"]
    assert compose_reading.restore(app, "A") == ["A", "B"]
    assert as_compose_reads(app.path)["A"] == "by-hand"


def test_what_is_kept_is_named_without_its_values(app: App) -> None:
    compose_reading.put_all(app, {"A": "aaaaaa", "B": "bbbbbb"})
    compose_reading.put(app, "A", "changed")
    compose_reading.remove(app, "B")
    found = variable_history.list_former(app)
    assert [item.names for item in found] == [("B",), ("A",)]
    assert "aaaaaa" not in repr(found)
    assert [item.names for item in variable_history.list_former(app, "A")] == [("A",)]
    assert variable_history.list_former(app, "NONE") == []


def test_kept_files_are_secrets_like_others(app: App) -> None:
    compose_reading.put(app, "API_TOKEN", "tok-4f9a8b7c6d5e")
    compose_reading.put(app, "API_TOKEN", "tok-0000aaaa1111")
    compose_reading.remove(app, "API_TOKEN")
    folder = app.state / "env"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    known = {secret.reveal() for secret in app_secrets.find_of_app(app)}
    assert {"tok-4f9a8b7c6d5e", "tok-0000aaaa1111"} <= known


def test_what_ended_thirty_days_ago_goes_and_what_holds_stays(app: App) -> None:
    for value in ("1", "2", "3"):
        compose_reading.put(app, "A", value)
    assert len(variable_history.list_former(app)) == 2
    later = datetime.now(UTC) + timedelta(days=29)
    assert variable_history.prune(app, now=later) == 0
    assert variable_history.prune(app, now=later + timedelta(days=2)) == 2
    assert [path.read_text().splitlines()[-1] for path in variable_history.list_files(app)] == ["A=3"]


def test_who_writes_without_end_fills_no_disk(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variable_history, "_MOST", 5)
    for number in range(12):
        variable_history.keep(app, f"A={number}\n".encode())
    assert [path.read_text() for path in variable_history.list_files(app)] == [
        f"A={number}\n" for number in range(7, 12)
    ]


def test_what_is_not_kept_is_said(app: App) -> None:
    compose_reading.put(app, "A", "1")
    for name, version in (("A", None), ("B", None), ("A", "20200101-000000-000000"), (None, "../../etc/passwd")):
        with pytest.raises(VersionNotFound):
            compose_reading.restore(app, name, version)
    compose_reading.put(app, "A", "2")
    with pytest.raises(VersionNotFound, match="B had no value then"):
        compose_reading.restore(app, "B", variable_history.list_former(app)[0].version)


def test_a_clock_that_is_set_back_keeps_the_order(app: App) -> None:
    folder = app.make_state() / "env"
    folder.mkdir(mode=0o700)
    (folder / "29990101-000000-000000.env").write_text("A=future\n")
    write_file(app.env_file, "A=future\n", mode=0o600)
    compose_reading.put(app, "A", "now")
    assert [path.read_text() for path in variable_history.list_files(app)] == ["A=future\n", "A=now\n"]
    compose_reading.restore(app, "A")
    assert as_compose_reads(app.path)["A"] == "future"

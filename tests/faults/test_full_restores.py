"""A disk that fills while an app is taken back to a whole backup: the app is as before, then it is done."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.faults.full_machine import (
    APP,
    WHOLE,
    Machine,
    during,
    fill_during,
    look,
    open_machine,
    require_clean,
    require_full,
)
from tests.support import eventually


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with open_machine() as made:
        yield made


def is_settled(machine: Machine) -> bool:
    return not list((machine.server.apps / APP / ".ikoma").glob("restoring-app*"))


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("disk", "step"),
    [
        ("backups", "whole: noted"),
        ("apps", "whole: noted"),
        ("backups", "whole: stopped"),
        ("state", "whole: backed up"),
        ("apps", "whole: database"),
        ("apps", "whole: volume"),
    ],
)
def test_an_app_is_taken_back_where_a_restore_of_it_finds_no_room(machine: Machine, disk: str, step: str) -> None:
    machine.do("db.seed", sql=f"UPDATE t SET word = '{disk} {step}' WHERE id > 100")
    before = look(machine)
    answer = during(machine, getattr(machine, disk), step, "apps.restore", backupName=WHOLE)
    require_full(answer)
    eventually(partial(is_settled, machine), "it is settled")
    assert look(machine) == before
    require_clean(machine)
    machine.do("apps.restore", backupName=WHOLE)
    assert look(machine)[0] != before[0]
    require_clean(machine)


def test_a_restore_that_was_told_as_failed_is_not_done_later(machine: Machine) -> None:
    """Also where it was asked for once more, and where the server starts anew, while there is no room."""
    machine.do("db.seed", sql="UPDATE t SET word = 'twice' WHERE id > 100")
    before = look(machine)
    answer, filler = fill_during(machine, machine.apps, "whole: noted", "apps.restore", backupName=WHOLE)
    require_full(answer)
    require_full(machine.call("apps.restore", backupName=WHOLE))
    machine.server.kill()
    machine.server.start()
    filler.unlink()
    eventually(partial(is_settled, machine), "it is settled")
    assert look(machine) == before
    require_clean(machine)

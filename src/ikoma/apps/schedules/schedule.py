"""The schedules of an app, kept in its folder: they go to the trash with it, and come back with it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from ikoma.app_folder import App
from ikoma.durable import write_file
from ikoma.errors import ScheduleNotFound
from ikoma.model import ParsedText
from ikoma.moments import format_moment

_FILE = "schedules.json"
BACKUP, COMMAND = "db.backup", "apps.run"
NIGHTLY = "nightly"
_HOUR = 3600


class ScheduleName(ParsedText):
    """A schedule's name, one of its app."""

    pattern = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
    advice = "a name such as nightly: lower-case letters, digits and -, at most 40"
    example = "nightly"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Something that is done by the clock: a backup of the database, or a command of the app where there is one."""

    name: str
    cron: str
    zone: str = "UTC"
    service: str | None = None
    command: tuple[str, ...] = ()
    timeout: int = _HOUR
    """Seconds that the command may take."""
    jitter: int = 0
    """Seconds over which the starts of schedules are spread."""
    catch_up: bool = True
    """Whether a time that was missed while the server was away is made up for, once."""
    keep_days: int = 7
    keep_weeks: int = 4
    keep_months: int = 6
    """How many days, weeks and months keep a backup of this schedule each."""
    set_at: str = field(default_factory=lambda: format_moment(datetime.now(UTC)))
    set_by: str = "ikoma"

    @property
    def capability(self) -> str:
        return COMMAND if self.command else BACKUP

    @property
    def since(self) -> datetime:
        return datetime.fromisoformat(self.set_at)

    def make_arguments(self, app: str) -> dict[str, Any]:
        """The arguments of the call that it makes."""
        if not self.command:
            return {"appName": app}
        chosen = {"service": self.service} if self.service else {}
        return {"appName": app, "command": list(self.command), "timeout": self.timeout, **chosen}


def make_nightly() -> Schedule:
    """The backup that an app with a database gets by itself, some time between two and four."""
    return Schedule(name=NIGHTLY, cron="0 2 * * *", jitter=2 * _HOUR)


def read_schedules(app: App) -> tuple[Schedule, ...]:
    """Read the app's schedules; none where it never had any."""
    return app.read_state(_FILE, _parse) or ()


def has_decided(app: App) -> bool:
    """Whether the app has schedules, or somebody removed them: it is given none by itself then."""
    return (app.state / _FILE).is_file()


def find_schedule(app: App, name: str) -> Schedule:
    """Raises ScheduleNotFound where the app has none of that name."""
    there = read_schedules(app)
    found = next((item for item in there if item.name == name), None)
    if found is None:
        names = ", ".join(item.name for item in there)
        raise ScheduleNotFound(f"{app.name} has no schedule {name!r}.", hint=f"It has {names or 'none'}.")
    return found


def write_schedule(app: App, schedule: Schedule) -> None:
    """Add a schedule, in place of one of the same name."""
    _write(app, [*(item for item in read_schedules(app) if item.name != schedule.name), schedule])


def remove_schedule(app: App, name: str) -> None:
    """Raises ScheduleNotFound."""
    find_schedule(app, name)
    _write(app, [item for item in read_schedules(app) if item.name != name])


def _write(app: App, schedules: Sequence[Schedule]) -> None:
    ordered = sorted(schedules, key=lambda item: item.name)
    content = orjson.dumps([asdict(item) for item in ordered], option=orjson.OPT_INDENT_2)
    write_file(app.make_state() / _FILE, content, mode=0o600)


def _parse(stored: Any) -> tuple[Schedule, ...]:
    return tuple(replace(Schedule(**item), command=tuple(item["command"])) for item in stored)

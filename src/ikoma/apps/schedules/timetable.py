"""Times at which a cron expression is due, in its zone; by cronsim, which follows Debian's cron when clocks change."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError


class BadExpression(ValueError):
    """The expression is none, or never fires; the message says which."""


def check_expression(cron: str, zone: str) -> None:
    """Raises BadExpression where this is no cron expression of five fields, never fires, or the zone is unknown."""
    if len(cron.split()) != 5:
        raise BadExpression(f"{cron!r} has {len(cron.split())} fields; a cron expression has five.")
    if zone not in available_timezones():
        raise BadExpression(f"{zone!r} is no time zone, such as Europe/Berlin.")
    if find_next(cron, zone, datetime.now(UTC)) is None:
        raise BadExpression(f"{cron!r} never fires.")


def find_next(cron: str, zone: str, after: datetime) -> datetime | None:
    """Find the first moment after another one at which it is due (UTC); None where it never is."""
    return _find(cron, zone, after, reverse=False)


def find_last(cron: str, zone: str, until: datetime) -> datetime | None:
    """Find the last moment up to another one, that included, at which it was due (UTC)."""
    return _find(cron, zone, until + timedelta(seconds=1), reverse=True)


def compute_delay(app: str, schedule: str, jitter: int) -> timedelta:
    """The delay after which a due run begins: the same for a schedule, different for each, so they spread."""
    digest = hashlib.sha256(f"{app}/{schedule}".encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:4], "big") % (jitter + 1))


def _find(cron: str, zone: str, moment: datetime, *, reverse: bool) -> datetime | None:
    try:
        found = next(CronSim(cron, moment.astimezone(ZoneInfo(zone)), reverse=reverse), None)
    except CronSimError as error:
        raise BadExpression(f"{cron!r} is no cron expression: {str(error).lower()}.") from None
    return None if found is None else found.astimezone(UTC)

"""Moments as everybody writes and reads them: RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from ikoma.model import make_text_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

__all__ = ["EntryTime", "FutureTime", "format_moment", "parse_moment", "tell_age"]


class _Moment(str):
    """A moment: RFC 3339 in UTC."""

    precision: str
    example: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The moment; one without a zone is UTC. ValueError where it is no time."""
        return cls(format_moment(parse_moment(text), cls.precision))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return make_text_schema(cls.parse)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "format": "date-time", "examples": [cls.example]}


class FutureTime(_Moment):
    """A moment that is still to come, to the second."""

    precision, example = "seconds", "2099-12-31T00:00:00Z"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The moment; ValueError where it is no time, or past."""
        if parse_moment(text) <= datetime.now(UTC):
            raise ValueError("is in the past")
        return super().parse(text)


class EntryTime(_Moment):
    """A moment as the audit log writes it, so that texts compare as times do: to the millisecond."""

    precision, example = "milliseconds", "2026-01-02T15:04:05Z"


def format_moment(moment: datetime, precision: str = "seconds") -> str:
    """Write a moment of UTC as RFC 3339 has it, ending in Z.

    Args:
        precision: seconds, milliseconds or microseconds.
    """
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


def parse_moment(text: str) -> datetime:
    """A time of ISO 8601, in UTC; one without a zone is UTC. ValueError where it is none."""
    try:
        when = datetime.fromisoformat(text)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except OverflowError:  # its zone puts it before the first year, or after the last
        raise ValueError("is no time that there is") from None
    except ValueError:
        raise ValueError("is no time of ISO 8601, such as 2026-01-02T15:04:05Z") from None


def tell_age(made_at: str) -> str:
    """Tell how long ago that was, for a person."""
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(made_at)).total_seconds()))
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'' if count == 1 else 's'} ago"
    return f"{seconds} seconds ago"

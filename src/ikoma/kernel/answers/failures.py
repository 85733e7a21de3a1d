"""The one form of a failure: the same where a call fails, and where an operation that failed is looked at later."""

from __future__ import annotations

from typing import Any

from ikoma.errors import IkomaError
from ikoma.kernel.answers.leading import dump_next


def describe_failure(error: IkomaError) -> dict[str, Any]:
    """The facts of a failure that every door tells. `plain` is there where `error` quotes what others wrote."""
    told: dict[str, Any] = {"error": error.message, "code": error.code, "hint": error.hint}
    if error.audit_message != error.message:
        told["plain"] = error.audit_message
    if error.lead is not None:
        told["next"] = dump_next(error.lead)
    if error.details:
        told["details"] = error.details
    return told

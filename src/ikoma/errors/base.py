"""The form of every error that a caller can meet.

A class is one situation: `code` is stable and made for programs, `status` is the HTTP status, the docstring is
the sentence a person reads (unless a better one is known where it is raised) and `hint` says what to do next.
Messages never hold secrets. What may quote a user's own text (SQL, log lines) travels in `details`, which is
given to the caller and never written to the audit log.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar


class IkomaError(Exception):
    """Something went wrong inside IKOMA."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    default_hint: ClassVar[str] = "The server's log holds the cause; quote the requestId when you report it."

    def __init__(
        self,
        message: str | None = None,
        *,
        hint: str | None = None,
        audit_message: str | None = None,
        **details: Any,
    ) -> None:
        """
        Args:
            message: one sentence for the caller; the class's docstring when omitted.
            hint: the next safe step; the class's own when omitted.
            audit_message: what the audit log says instead of `message`, where `message` quotes a user's text.
            details: further JSON-ready facts for the caller only.
        """
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.hint = hint or self.default_hint
        self.audit_message = audit_message or self.message
        self.details = details
        super().__init__(self.message)


def stored_failure(
    *, code: str, error: str, hint: str, details: dict[str, Any], audit: str | None = None
) -> IkomaError:
    """The error again that was written down with these facts."""
    kinds = {kind.code: kind for kind in _kinds(IkomaError)}
    return kinds.get(code, IkomaError)(error, hint=hint, audit_message=audit, **details)


def _kinds(parent: type[IkomaError]) -> Iterator[type[IkomaError]]:
    yield parent
    for child in parent.__subclasses__():
        yield from _kinds(child)

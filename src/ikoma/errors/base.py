"""The form of every error that a caller can meet.

A class is one situation: `code` is stable and made for programs, `status` is the HTTP status, the docstring is
the sentence a person reads (unless a better one is known where it is raised), `hint` says what to do next, and `next`
holds the calls that lead on, where some do. Messages never hold secrets. What may quote a user's own text (SQL, log
lines) travels in `details`, which is given to the caller and never written to the audit log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Next:
    """A call that leads on: what a caller best does now, as a plain value. Each door says it in its own words.

    What the capability needs besides these arguments, and the app, is taken from the call that this answers. Where that
    does not give it, or the caller may not call it, the next one that is known is told instead, or none.
    """

    capability: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


class IkomaError(Exception):
    """Something went wrong inside IKOMA."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    default_hint: ClassVar[str] = "The server's log holds the cause; quote the requestId when you report it."
    default_next: ClassVar[tuple[Next, ...]] = ()
    """Leads on after any error of this class, the best first."""

    def __init__(
        self,
        message: str | None = None,
        *,
        hint: str | None = None,
        guess: str | None = None,
        audit_message: str | None = None,
        next: Next | Sequence[Next] | None = None,
        **details: Any,
    ) -> None:
        """
        Args:
            message: one sentence for the caller; the class's docstring when omitted.
            hint: the next safe step; the class's own when omitted.
            guess: the name that may have been meant: the hint asks, unless the call is one that takes away.
            audit_message: what the audit log says instead of `message`, where `message` quotes a user's text.
            next: what leads on here, before what the class knows; an empty list where nothing does.
            details: further JSON-ready facts for the caller only.
        """
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self._guess, self._other_hint = guess, hint or self.default_hint
        self.hint = f"Did you mean {guess}?" if guess else self._other_hint
        self.audit_message = audit_message or self.message
        self.next = _select_known(next, self.default_next)
        self.lead: Next | None = None
        """The one of them that its caller is told: the pipeline knows what that caller may call."""
        self.details = details
        super().__init__(self.message)

    @property
    def quotes(self) -> bool:
        """Whether its message holds what others wrote, and not only findings, which are IKOMA's own."""
        return self.message != self.audit_message and "errors" not in self.details

    def withhold_guess(self) -> None:
        """Name nothing that may have been meant: a wrong guess at what is taken away costs something."""
        if self._guess is not None:
            self._guess, self.hint = None, self._other_hint

    def add(self, sentence: str) -> None:
        """Say one thing more. It is of IKOMA's own words: the audit log has it too."""
        self.message = f"{self.message} {sentence}"
        self.audit_message = f"{self.audit_message} {sentence}"


def _select_known(said: Next | Sequence[Next] | None, default: tuple[Next, ...]) -> tuple[Next, ...]:
    if said is None:
        return default
    return (said, *default) if isinstance(said, Next) else tuple(said)


def rebuild_failure(
    *,
    code: str,
    error: str,
    hint: str,
    details: dict[str, Any],
    audit: str | None = None,
    next: Sequence[Mapping[str, Any]] = (),
) -> IkomaError:
    """The error again that was written down with these facts."""
    kinds = {kind.code: kind for kind in list_error_classes()}
    led = [Next(**step) for step in next]
    return kinds.get(code, IkomaError)(error, hint=hint, audit_message=audit, next=led, **details)


def list_error_classes(parent: type[IkomaError] = IkomaError) -> Iterator[type[IkomaError]]:
    """Every kind of error."""
    yield parent
    for child in parent.__subclasses__():
        yield from list_error_classes(child)

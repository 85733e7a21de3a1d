"""Admission of a call: who calls, whether they may, and whether what they sent fits. Nothing is done yet.

authenticate → authorise → validate. The body is read once the caller is known and allowed, and not before.
"""

from __future__ import annotations

from dataclasses import dataclass

from ikoma.errors import RoleTooLow
from ikoma.kernel.access import controls
from ikoma.kernel.access.authentication import Authentication
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.answers.telling import Reader
from ikoma.kernel.audit.entry import AuditEntry
from ikoma.kernel.audit.masking import mask_arguments
from ikoma.kernel.call import LOCAL, Attempt
from ikoma.kernel.redaction.redaction import Scrubber
from ikoma.kernel.registry import AppRequest, Capability, Registry, Request
from ikoma.kernel.requests import check_writable
from ikoma.model import Role


@dataclass(slots=True)
class AdmittedCall:
    """A call that is allowed and fits: what is left is to do it."""

    attempt: Attempt
    caller: Caller
    role: Role
    capability: Capability
    given: controls.Given
    request: Request

    @property
    def app(self) -> str | None:
        return self.request.app_name if isinstance(self.request, AppRequest) else None

    @property
    def reader(self) -> Reader:
        attempt = self.attempt
        return Reader(self.caller, self.role, self.given.arguments, may_see_paths(self.role, attempt), attempt.lists)

    @property
    def digest(self) -> str:
        return controls.compute_digest(self.capability, self.given.arguments)


class Admission:
    """Admits calls, or refuses them."""

    def __init__(self, registry: Registry, authentication: Authentication, scrubber: Scrubber) -> None:
        self._registry = registry
        self._authentication = authentication
        self._scrubber = scrubber

    async def authenticate(self, attempt: Attempt, entry: AuditEntry) -> tuple[Caller, Role]:
        """Find out who calls, and with which rights; the entry has both as soon as they are known."""
        caller = attempt.caller or await self._authentication.identify(attempt.key, attempt.address)
        entry.caller, entry.key = caller.name, caller.id
        role = self._authentication.admit(caller, attempt.role)
        entry.role = str(role)
        return caller, role

    async def admit(self, attempt: Attempt, caller: Caller, role: Role, entry: AuditEntry) -> AdmittedCall:
        """Admit what the caller may do and what fits. Arguments are read once it is known that the caller may do it.

        Raises:
            RoleTooLow, MalformedRequest
        """
        capability = self._registry.get(attempt.capability)
        self._authorise(caller, role, capability)
        sent = await attempt.read_arguments(capability.body_limit)
        check_writable(sent)
        entry.arguments = self._scrubber.scrub_value(mask_arguments(capability, sent), None, caller.apps)
        given = controls.split(capability, sent, attempt.idempotency_key)
        request = capability.parse(given.arguments)
        if isinstance(request, AppRequest):
            caller.check_app(request.app_name)
        return AdmittedCall(attempt, caller, role, capability, given, request)

    def _authorise(self, caller: Caller, role: Role, capability: Capability) -> None:
        if role < capability.role:
            raise RoleTooLow(f"This needs the role {capability.role}; the call has {role}.")
        caller.check_capability(capability.name, capability.effect)


def make_reader(caller: Caller | None, role: Role, attempt: Attempt, admitted: AdmittedCall | None) -> Reader | None:
    """The reader of a failure; None where nobody knows who calls."""
    if admitted is not None:
        return admitted.reader
    return (
        None if caller is None else Reader(caller, role, sees_paths=may_see_paths(role, attempt), lists=attempt.lists)
    )


def may_see_paths(role: Role, attempt: Attempt) -> bool:
    """Whether a caller can use paths on the server: it is there itself, or may do everything anyway."""
    return role is Role.ADMIN or attempt.address == LOCAL

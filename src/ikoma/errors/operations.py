"""Errors of operations: work that goes on by itself."""

from __future__ import annotations

from ikoma.errors.base import IkomaError, Next


class IdempotencyMismatch(IkomaError):
    """This idempotency key was used for another call."""

    code, status = "idempotency_mismatch", 409
    default_hint = "Use a new key for every new call, and the same one only for its retries."


class OperationNotFound(IkomaError):
    """There is no such operation."""

    code, status = "operation_not_found", 404
    default_hint = "operations.list shows the operations and their ids."
    default_next = (Next("operations.list"),)


class OperationCancelled(IkomaError):
    """The operation was cancelled before it ended."""

    code, status = "operation_cancelled", 409
    default_hint = "apps.status shows what is there now; make the call again when it should be done after all."
    default_next = (Next("apps.status"),)


class OperationElsewhere(IkomaError):
    """Another server works on this operation."""

    code, status = "operation_elsewhere", 409
    default_hint = "Ask the server that took the call."
    default_next = (Next("operations.wait"),)

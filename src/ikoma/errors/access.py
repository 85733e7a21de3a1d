"""Errors of access: whose key it is, what it may do, and whose consent is needed."""

from __future__ import annotations

from ikoma.errors.base import IkomaError, Next


class UnknownRole(IkomaError):
    """X-Role names no role."""

    code, status = "unknown_role", 400
    default_hint = "Roles are observer, operator, builder and admin."


class Unauthenticated(IkomaError):
    """No valid API key was given."""

    code, status = "unauthenticated", 401
    default_hint = "Send the key in the X-Api-Key header; on the server it is in api-key.txt of IKOMA_HOME."


class TooManyFailures(IkomaError):
    """Too many wrong keys came from this address."""

    code, status = "too_many_failures", 429
    default_hint = "Wait as long as Retry-After says, then try again with the right key."


class RoleTooLow(IkomaError):
    """The key's role does not allow this."""

    code, status = "role_too_low", 403
    default_hint = "Use a key with a higher role. A role that is asked for can only lower that of the key."


class OutOfScope(IkomaError):
    """The key does not reach this app or capability."""

    code, status = "out_of_scope", 403
    default_hint = "Ask an admin for a key whose apps and capabilities include this call."
    default_next = (Next("apps.list"),)


class RateLimited(IkomaError):
    """This key has made too many requests."""

    code, status = "rate_limited", 429
    default_hint = "Wait as long as Retry-After says, then try again."


class HookRefused(IkomaError):
    """No webhook here takes what is signed like this."""

    code, status = "hook_refused", 401
    default_hint = "hook.create makes a webhook and its secret; sign the raw body with it (docs/webhooks.md)."


class HookReplayed(IkomaError):
    """This delivery was taken before."""

    code, status = "hook_replayed", 409
    default_hint = "Each delivery is taken once. Push again; or hook.deploy deploys what the branch holds now."


class HookWornOut(IkomaError):
    """This webhook's secret has signed as many deliveries as are remembered."""

    code, status = "hook_worn_out", 409
    default_hint = "hook.create makes a new secret; give it to the git host."


class HostNotAllowed(IkomaError):
    """This server is not known by that name."""

    code, status = "host_not_allowed", 421
    default_hint = "Use its address or localhost, or put the name into ALLOWED_HOSTS."


class OriginNotAllowed(IkomaError):
    """Pages of that origin may not call this server."""

    code, status = "origin_not_allowed", 403
    default_hint = "Put the page's host into ALLOWED_HOSTS if it is yours."


class ApprovalNeeded(IkomaError):
    """This call waits for the consent of another key."""

    code, status = "approval_needed", 409
    default_hint = (
        "Someone with an admin key approves it (approvals.approve); then make the very "
        "same call again. A request ends after an hour."
    )


class ApprovalDenied(IkomaError):
    """Another key's holder has refused this call."""

    code, status = "approval_denied", 403
    default_hint = "Ask them why; the same call can be asked for again an hour after it first was."


class ApprovalNotYours(IkomaError):
    """Nobody decides on their own request, and no key that needs approval decides at all."""

    code, status = "approval_not_yours", 403
    default_hint = "Another key of role admin decides."


class ApprovalsFull(IkomaError):
    """Too many calls of this key wait for consent."""

    code, status = "approvals_full", 409
    default_hint = "Have some of them decided (approvals.list), or wait: each ends an hour after it was asked for."
    default_next = (Next("approvals.list"),)


class ApprovalClosed(IkomaError):
    """This request was decided already, or has ended."""

    code, status = "approval_closed", 409
    default_hint = "approvals.list shows those that wait; the caller can ask again."
    default_next = (Next("approvals.list"),)


class ConfirmationNeeded(IkomaError):
    """A person must agree to this first; nothing was changed."""

    code, status = "confirmation_needed", 409
    default_hint = (
        "Show a person what would be lost. If they agree, make the same call again with the argument `confirmation` "
        "set to this answer's; it works once, for ten minutes."
    )


class ConfirmationInvalid(IkomaError):
    """This confirmation is not for this very call, has ended, or was used before; nothing was changed."""

    code, status = "confirmation_invalid", 409
    default_hint = "Make the call without a confirmation: the answer lists what would be lost and carries a new one."


class Declined(IkomaError):
    """A person was asked and did not agree; nothing was changed."""

    code, status = "declined", 409
    default_hint = "Do not try again unless the person asks for it."

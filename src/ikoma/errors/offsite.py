"""Errors of copies of backups off this machine."""

from __future__ import annotations

from ikoma.errors.base import IkomaError, Next


class OffsiteOff(IkomaError):
    """No place off this machine is set up."""

    code, status = "offsite_off", 409
    default_hint = "OFFSITE_URL and OFFSITE_AGE_RECIPIENTS in the server's settings set one up."


class OffsiteUnreachable(IkomaError):
    """The place off this machine does not answer, or does not do what it is asked."""

    code, status = "offsite_unreachable", 503
    default_hint = "platform.check says what is wrong with it. What is on this machine is untouched."
    default_next = (Next("platform.check"),)


class OffsiteRefused(OffsiteUnreachable):
    """The place off this machine refuses what it is asked."""

    code, status = "offsite_refused", 503
    default_hint = "Correct OFFSITE_URL and what opens it, or the rights there. What is on this machine is untouched."


class OffsiteMissing(IkomaError):
    """There is no such copy off this machine."""

    code, status = "offsite_missing", 404
    default_hint = "backup.list shows which backups have one."
    default_next = (Next("backup.list"),)


class OffsiteDamaged(IkomaError):
    """A copy off this machine is not what was sent."""

    code, status = "offsite_damaged", 409
    default_hint = "Use another backup: backup.list names them. Nothing was changed."
    default_next = (Next("backup.list"),)


class OffsiteSealed(IkomaError):
    """The copy is encrypted, and no key here opens it."""

    code, status = "offsite_sealed", 409
    default_hint = (
        "Put the file of the secret key that belongs to OFFSITE_AGE_RECIPIENTS on the server, name it in "
        "OFFSITE_AGE_IDENTITY_FILE, and restart. Nothing was changed."
    )

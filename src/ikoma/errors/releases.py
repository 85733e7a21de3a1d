"""Errors of deployments, releases and previews."""

from __future__ import annotations

from typing import Any, ClassVar

from ikoma.errors.base import IkomaError, Next


class DeployFailed(IkomaError):
    """The deployment failed."""

    code, status = "deploy_failed", 422
    default_hint = "Correct what the message names, and try again."
    default_next: ClassVar[tuple[Next, ...]] = (Next("apps.status"),)

    def __init__(self, message: str | None = None, *, hint: str | None = None, **more: Any) -> None:
        if hint is None and (more.get("exitCode") is not None or more.get("logs")):
            hint = "Its last lines mostly say why; mend that and deploy again."
        super().__init__(message, hint=hint, **more)


class CommandNotStarted(DeployFailed):
    """The command could not be started."""

    code, status = "command_not_started", 422
    default_hint = (
        "Give the program and each of its arguments as an item of the list; a shell is `sh`, `-c`, and a text."
    )
    default_next = ()


class CommandTimedOut(DeployFailed):
    """The command took longer than it may, and was ended."""

    code, status = "command_timed_out", 422
    default_hint = "Raise `timeout`, or let it do less at a time. What it did until then is done."


class ReleaseNotFound(IkomaError):
    """There is no such release."""

    code, status = "release_not_found", 404
    default_hint = "release.list shows the releases that are kept."
    default_next = (Next("release.list"),)


class AlreadyServing(IkomaError):
    """This release serves already."""

    code, status = "already_serving", 409
    default_hint = "release.list shows which release serves; deploy.restart replaces its containers."
    default_next = (Next("release.list"),)


class NothingToGoBackTo(IkomaError):
    """There is no other release that has served."""

    code, status = "nothing_to_go_back_to", 409
    default_hint = "release.list shows what was deployed; deploy.up deploys the folder as it is."
    default_next = (Next("release.list"),)


class PlanDrifted(IkomaError):
    """The app is not as it was when the plan was made."""

    code, status = "plan_drifted", 409
    default_hint = "Make a new plan (deploy.plan), look at it, and deploy with that."
    default_next = (Next("deploy.plan"),)


class CannotGoBack(IkomaError):
    """The database cannot go back to what that release knew."""

    code, status = "cannot_go_back", 409
    default_hint = "Write a migration that undoes it, or deploy a release that fits the database (deploy.up)."
    default_next = (Next("release.list"),)


class NothingToAbandon(IkomaError):
    """No database is waiting to be taken back."""

    code, status = "nothing_to_abandon", 409
    default_hint = "release.list shows how the deployments ended; deploy.up makes another."
    default_next = (Next("release.list"),)


class DatabaseAhead(IkomaError):
    """The database was changed in a way that this release cannot run with."""

    code, status = "database_ahead", 409
    default_hint = (
        'Call deploy.rollback {"database": true} to take the database back too;'
        ' deploy.plan {"rollback": true, "database": true} says what is lost.'
    )
    default_next = (Next("deploy.plan", {"rollback": True, "database": True}),)


class ImageGone(IkomaError):
    """An image of the release is not on this machine any more."""

    code, status = "image_gone", 409
    default_hint = "Check out its source (source.checkout) and deploy it anew with deploy.up."
    default_next = (Next("release.list"),)


class NameTooLong(IkomaError):
    """The name would be too long."""

    code, status = "name_too_long", 422
    default_hint = "Names of apps that have previews take at most 51 characters."


class TooManyPreviews(IkomaError):
    """The app has as many previews as it may."""

    code, status = "too_many_previews", 409
    default_hint = "preview.list shows them; preview.remove ends one."
    default_next = (Next("preview.list"),)


class PreviewNameTaken(IkomaError):
    """Something else stands where the preview's folder would."""

    code, status = "preview_name_taken", 409
    default_hint = "Names with -- are those of previews: move that folder away, then call again."


class PreviewOfPreview(IkomaError):
    """A preview has no previews."""

    code, status = "preview_of_preview", 409
    default_hint = "Call deploy.preview for the app itself."


class PreviewNotFound(IkomaError):
    """There is no such preview."""

    code, status = "preview_not_found", 404
    default_hint = "preview.list shows those there are; deploy.preview makes one."
    default_next = (Next("preview.list"),)

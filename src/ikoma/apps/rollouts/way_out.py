"""The way out where a rollout has failed and its database cannot be taken back: what is told, and what is given up.

Such an app is not touched any more until the backup can be restored, or somebody gives the way back up. Whoever comes
next is told why the release failed, why the database could not be taken back, and by which call it goes on.
"""

from __future__ import annotations

from ikoma.app_folder import App
from ikoma.apps.releases.release import FAILED, Releases
from ikoma.errors import DatabasesUnavailable, IkomaError, NothingToAbandon
from ikoma.rollout_state import RolloutState, Underway

_HINT = (
    "Make the backup restorable, and the next call takes the database back; or give the way back up: release.abandon"
    " says what is lost."
)


def find_waiting(app: App) -> Underway:
    """The rollout whose database is still to be taken back.

    Raises:
        NothingToAbandon: there is none.
    """
    state = RolloutState(app)
    underway, serving = state.read_underway(), state.read_serving()
    if underway is None or underway.backup is None or (serving is not None and serving.rollout == underway.rollout):
        raise NothingToAbandon(f"No database of {app.name} is waiting to be taken back.")
    return underway


def tell_way_out(cause: IkomaError, underway: Underway, trouble: IkomaError) -> None:
    """Say in the error of a rollout that failed what became of the database, and what can be done."""
    told = f" The database could not be taken back to {underway.backup}: "
    cause.message += told + trouble.message
    cause.audit_message += told + trouble.audit_message
    cause.hint = _choose_hint(trouble)
    cause.details = {**cause.details, "restore": {"code": trouble.code, "error": trouble.message, **trouble.details}}
    cause.args = (cause.message,)


def tell_cause(app: App, underway: Underway, trouble: IkomaError) -> None:
    """Say in the error of whoever comes next why the rollout failed whose database cannot be taken back."""
    release = next((item for item in Releases(app).list_all() if item.id == underway.release), None)
    failed = release is not None and release.state == FAILED and release.cause is not None
    why = str(release.cause) if release is not None and failed else "It was cut off."
    trouble.message = (
        f"The rollout of {underway.release} failed, and the database must be taken back to {underway.backup} first: "
        f"{trouble.message} Why it failed: {why}"
    )
    trouble.hint = _choose_hint(trouble)
    trouble.details = {**trouble.details, "release": underway.release, "cause": why}
    trouble.args = (trouble.message,)


def _choose_hint(trouble: IkomaError) -> str:
    return trouble.hint if isinstance(trouble, DatabasesUnavailable) else _HINT

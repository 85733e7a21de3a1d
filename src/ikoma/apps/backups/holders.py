"""Others' containers that have an app's volumes, and keep these from being replaced or removed."""

from __future__ import annotations

from collections.abc import Sequence

from ikoma.errors import VolumeInUse
from ikoma.model import AppName
from ikoma.ports.volumes import Volumes


async def require_unheld(volumes: Volumes, app: AppName, names: Sequence[str]) -> None:
    """See that only the app itself has these volumes, before anything of it is stopped.

    Raises:
        VolumeInUse: another container has one, running or not.
    """
    for name in names:
        if holders := await volumes.list_holders(app, name):
            raise VolumeInUse(f"The volume {name} is in use by {', '.join(holders)}, which is not of {app}.")

"""The side of an app that would serve during maintenance, kept in a file.

Maintenance ends with what the file says. A deploy meanwhile changes the file, and so does taking the app down.
"""

from __future__ import annotations

from ikoma.app_folder import App
from ikoma.durable import write_file
from ikoma.ports.proxy import Side

_FILE = "maintenance"


def write_side_after(app: App, side: Side) -> None:
    write_file(app.make_state() / _FILE, side.value, mode=0o600)


def read_side_after(app: App) -> Side:
    try:
        return Side((app.state / _FILE).read_text())
    except (FileNotFoundError, ValueError):
        return Side.DOWN


def is_maintained(app: App) -> bool:
    """Whether the app was in maintenance when its folder was last written, wherever that was."""
    return (app.state / _FILE).is_file()


def forget_side_after(app: App) -> None:
    (app.state / _FILE).unlink(missing_ok=True)

"""Names of backups."""

from __future__ import annotations

import re

from ikoma.model import AppName, ParsedText

SERVER = AppName("ikoma")
"""The name that the server's own backups are of. No app has it."""


class AppOrServer(AppName):
    """An app's name, or `ikoma` for the server itself."""

    advice = f"{AppName.advice}; or ikoma, for the server itself"
    reserved = AppName.reserved - {SERVER}


class AppBackupName(ParsedText):
    """The name of a whole app's backup under BACKUPS_ROOT: no folder, no hidden file, never an option."""

    pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.backup")
    advice = "a name ending .backup, of letters, digits, '.', '-' and '_', beginning with a letter or digit"
    example = "myapp-20260101.backup"


class AnyBackupName(ParsedText):
    """The name of a backup of either kind."""

    pattern = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.(sql|sql\.zst|backup)")
    advice = "the name of a backup, ending .sql or .sql.zst (a database) or .backup (a whole app), without a path"
    example = "myapp-20260101.backup"

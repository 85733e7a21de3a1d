"""Words that people bring from other tools (Docker, Heroku, Kamal, git), and what they are called here.

A word for destroying leads to what can be brought back: what takes something away is never offered to who guesses.
"""

from __future__ import annotations

from collections.abc import Sequence

_SHOW_APPS, _STOP, _DEPLOY = "`ikoma list`", "`ikoma down APP`, which keeps all of an app", "`ikoma deploy APP`"
_LOOK, _VARIABLES, _RUN = (
    "`ikoma status APP`",
    "`ikoma env-list APP` and `ikoma env-set APP NAME`",
    "`ikoma run APP -- COMMAND`",
)

_HERE = {
    **dict.fromkeys(("app", "apps", "ls", "ps"), _SHOW_APPS),
    **dict.fromkeys(("inspect", "describe", "show", "state"), _LOOK),
    **dict.fromkeys(("stop", "kill", "pause", "halt"), _STOP),
    **dict.fromkeys(("delete", "del", "destroy", "drop", "erase", "purge", "uninstall"), _STOP),
    **dict.fromkeys(("start", "unpause", "resume"), "`ikoma restart APP`, or `ikoma deploy APP` for what is new"),
    **dict.fromkeys(("redeploy", "push", "pull", "build", "publish", "ship", "compose", "apply"), _DEPLOY),
    **dict.fromkeys(("create", "new", "setup", "add"), "`ikoma init APP`"),
    **dict.fromkeys(("exec", "ssh", "sh", "shell", "bash", "console"), _RUN),
    **dict.fromkeys(("env", "envs", "config", "secrets", "secret", "vars", "variables"), _VARIABLES),
    **dict.fromkeys(("undo", "revert"), "`ikoma rollback APP`"),
    **dict.fromkeys(("lint", "test"), "`ikoma validate APP`"),
    **dict.fromkeys(("stats", "metrics"), "`ikoma top`"),
    **dict.fromkeys(("tail", "log"), "`ikoma logs APP --follow`"),
    **dict.fromkeys(
        ("pg", "db", "sql", "database"), "`ikoma db-status APP`, `ikoma query APP SQL` and `ikoma psql APP`"
    ),
    **dict.fromkeys(("dump",), "`ikoma backup APP` and `ikoma db-status APP`"),
    **dict.fromkeys(("domain", "certs", "proxy"), "`ikoma domains APP` and `ikoma domain-add APP DOMAIN`"),
    **dict.fromkeys(("events", "jobs", "tasks"), "`ikoma operations`"),
    **dict.fromkeys(("key", "login", "token", "users"), "`ikoma keys list` and `ikoma keys create`"),
    **dict.fromkeys(("cp", "upload", "write"), "`ikoma put APP PATH`"),
    **dict.fromkeys(("serve", "server", "daemon"), "`ikoma up`"),
    "help": "`ikoma --help`, or `ikoma COMMAND --help`",
    "version": "`ikoma --version`",
}


def find_here(words: Sequence[str]) -> str | None:
    """Say what a line of another tool is called here; None where its words are those of IKOMA.

    Args:
        words: what was typed after `ikoma`.
    """
    word, *rest = words
    given = rest[:1] if rest and not rest[0].startswith("-") else []
    if word == "up" and given:
        return f"`ikoma up` starts the server. An app: `ikoma deploy {given[0]}`."
    if word == "rm" and len(rest) == 1 and given:
        return f"`ikoma rm APP PATH` takes a file of an app away. To stop an app: {_STOP}."
    if word == "ps" and given:
        return f"Here that is {_LOOK}."
    name = word if word in _HERE else word.partition(":")[0]
    return f"Here that is {_HERE[name]}." if name in _HERE else None

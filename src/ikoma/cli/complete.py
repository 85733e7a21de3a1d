"""Values that the shell offers for an argument: apps, releases, keys, files … as the server knows them.

It is silent where there is no server, or where the key may not ask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from ikoma.cli import client, naming
from ikoma.cli.capability_index import read_commands

_PATIENCE = 2.0
Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


class ValueSource(NamedTuple):
    """The source of an argument's values: a list in a capability's result, and in it a field."""

    capability: str
    listed: str
    field: str = ""
    """"" where the list holds the values themselves."""
    said: str = ""
    """The field that says more of each."""


_OF_AN_APP = {
    "service": ValueSource("apps.status", "services", "name"),
    "release": ValueSource("release.list", "releases", "id", "state"),
    "to": ValueSource("release.list", "releases", "id", "state"),
    "domain": ValueSource("domain.list", "domains", "name"),
    "path": ValueSource("files.list", "entries", "path"),
    "version": ValueSource("files.history", "versions", "version", "path"),
    "backupName": ValueSource("backup.list", "backups", "name"),
    "ref": ValueSource("preview.list", "previews", "ref"),
    "name": ValueSource("env.list", "names"),
}
_OF_ONE = {("env.restore", "version"): ValueSource("env.history", "versions", "version", "until")}
"""(capability, argument) → where its values come from, which is not where others of that name have theirs."""
_OF_ALL = {
    "appName": ValueSource("apps.list", "apps", "name", "health"),
    "operationId": ValueSource("operations.list", "operations", "id", "capability"),
    "key": ValueSource("keys.list", "keys", "id", "name"),
    "approval": ValueSource("approvals.list", "approvals", "id", "summary"),
    "trash": ValueSource("trash.list", "entries", "id", "app"),
}


def make_completer(argument: str, capability: str = "") -> Completer | None:
    """The completer of an argument, by its name; None where nothing is known of it."""
    source = _OF_ONE.get((capability, argument)) or _OF_ALL.get(argument) or _OF_AN_APP.get(argument)
    if source is None:
        return None

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        wanted: dict[str, Any] = {}
        if argument in _OF_AN_APP:
            app = _find_app(ctx)
            if not app:
                return []
            wanted["appName"] = app
            if argument == "path" and "/" in incomplete:
                wanted["path"] = incomplete.rpartition("/")[0]
        return [item for item in _list_offered(source, wanted) if item.value.startswith(incomplete)]

    return complete


def _find_app(ctx: click.Context) -> str | None:
    """The app that the line names so far; an option that waits for its value leaves words unread."""
    named = (ctx.params.get(name) for name in ("app", "appName", "place_0"))
    unread = (word for word in ctx.args if not word.startswith("-"))
    return next((str(name) for name in (*named, *unread) if name), None)


def complete_capability(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of capabilities."""
    return [
        CompletionItem(name, help=command.summary)
        for name, command in read_commands().items()
        if name.startswith(incomplete)
    ]


def _list_offered(source: ValueSource, wanted: dict[str, Any]) -> list[CompletionItem]:
    if source.capability not in read_commands():
        return []
    try:
        found = client.call(source.capability, wanted, timeout=_PATIENCE)[source.listed]
    except (client.CallFailed, SystemExit, KeyError):
        return []
    if not source.field:
        return [CompletionItem(str(item)) for item in found]
    # Each once: a service has several containers.
    offered = {str(item[source.field]): str(item.get(source.said) or "") for item in found}
    return [CompletionItem(value, help=naming.word_call(more) or None) for value, more in offered.items()]


apps = make_completer("appName")
services = make_completer("service")

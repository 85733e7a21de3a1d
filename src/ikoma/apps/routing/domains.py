"""The domains that were added to an app, kept beside those of its compose file."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from ikoma.app_folder import App
from ikoma.durable import write_file
from ikoma.errors import StateUnreadable
from ikoma.model import DomainName


def read_domains(app: App) -> tuple[DomainName, ...]:
    """Read the domains that were added to an app, besides those of its compose file."""
    return app.read_state("domains.json", lambda stored: tuple(map(DomainName, stored))) or ()


def read_others_domains(app: App) -> tuple[DomainName, ...]:
    """Read the domains of another app, as far as its state can be read."""
    try:
        return read_domains(app)
    except StateUnreadable:
        return ()


def write_domains(app: App, domains: Sequence[str]) -> None:
    write_file(app.make_state() / "domains.json", orjson.dumps(list(domains)), mode=0o600)

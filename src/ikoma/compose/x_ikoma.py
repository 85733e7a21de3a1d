"""The `x-ikoma:` block of a compose file: how an app wants to be reached, deployed and watched.

Every key has one form; a wrong or unknown one is refused with what it takes, before anything is deployed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ikoma.compose import watch_paths
from ikoma.compose.roles import release_command
from ikoma.compose.roles.release_command import ReleaseCommand
from ikoma.compose.variable_names import TLS_PARTS
from ikoma.errors import InvalidCompose
from ikoma.model import DomainName, quote_name

ROLLING, RECREATE = "rolling", "recreate"
SOURCE = ("src", "config")
PARTS = ("user", "password", "host", "port", "name", "url", *TLS_PARTS.values(), "ca")
"""Parts that tell of a database."""

_DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
_SIZE = re.compile(r"([0-9]{1,12})([kmg]?)b?", re.IGNORECASE)
_SHIFT = {"": 0, "k": 10, "m": 20, "g": 30}
_LARGEST = 1 << 40
_PATH = re.compile(r"(\./)?[^/\0][^\0]*")


@dataclass(frozen=True, slots=True)
class Extension:
    """The block beside service, port, health and database. Durations are seconds, sizes bytes."""

    domains: tuple[str, ...] = ()
    redirects: Mapping[str, str] = field(default_factory=dict)
    """Domain → the domain it points to."""
    timeout: float | None = None
    """How long the app may take to begin an answer; None for as long as it wants."""
    max_body: int | None = None
    hold: float = 15.0
    """How long a request waits for a container that can be connected to."""
    drain: float = 10.0
    """How long requests to a replaced container may go on."""
    watch: float = 60.0
    """How long a new release is watched, and left for the one before where it turns unhealthy."""
    strategy: str | None = None
    """For all services: rolling, recreate, or None to let IKOMA see."""
    strategies: Mapping[str, str] = field(default_factory=dict)
    """Strategies by service."""
    data: tuple[str, ...] = ()
    """src/, config/ or what is inside them that holds data: it stays in place and is part of no release."""
    source: tuple[str, ...] = ()
    """Folders that are source though containers may write them: each release has a copy of its own."""
    watch_paths: tuple[str, ...] = ()
    """Globs of the paths for whose changes a push deploys; none: for any."""
    release: Mapping[str, Any] | None = None
    """Command that runs once for a new release, as release_command.py reads it."""

    @property
    def release_command(self) -> ReleaseCommand | None:
        given = self.release
        return None if given is None else ReleaseCommand(**{**given, "command": tuple(given["command"])})

    def find_strategy(self, service: str) -> str | None:
        return self.strategies.get(service, self.strategy)


# `strategies` is how `strategy` is kept where it is said by service.
KEYS = (
    *("service", "port", "health", "database"),
    *(item.name for item in fields(Extension) if item.name != "strategies"),
)


def parse(block: Any, services: Collection[str]) -> Extension:
    """Parse a block of a file with these services.

    Raises:
        InvalidCompose: a key is unknown, or its value is not of its form.
    """
    if block is None:
        return Extension()
    if not isinstance(block, Mapping):
        raise InvalidCompose("x-ikoma must be a mapping with service, port and health.")
    if unknown := sorted(set(map(str, block)) - set(KEYS)):
        raise InvalidCompose(f"x-ikoma: {quote_name(unknown[0])} is unknown; it takes {', '.join(KEYS)}.")

    def value(name: str, parse: Callable[[str, Any], Any], default: Any) -> Any:
        given = block.get(name)
        return default if given is None else parse(name, given)

    defaults = Extension()
    strategy = block.get("strategy")
    return Extension(
        domains=value("domains", _parse_domains, ()),
        redirects=value("redirects", _parse_redirects, {}),
        timeout=value("timeout", _refuse_zero(_parse_duration), None),
        max_body=value("max_body", _refuse_zero(_parse_size), None),
        hold=value("hold", _parse_duration, defaults.hold),
        drain=value("drain", _parse_duration, defaults.drain),
        watch=value("watch", _parse_duration, defaults.watch),
        strategy=None if strategy is None or isinstance(strategy, Mapping) else _parse_strategy("strategy", strategy),
        strategies=_parse_strategies(strategy, services) if isinstance(strategy, Mapping) else {},
        data=value("data", _parse_folders, ()),
        source=value("source", _parse_folders, ()),
        watch_paths=value("watch_paths", lambda _, given: watch_paths.parse(given), ()),
        release=value("release", _release_command, None),
    )


def _parse_domains(name: str, given: Any) -> tuple[str, ...]:
    if not isinstance(given, list):
        raise InvalidCompose(f"x-ikoma: {name} takes a list of domains.")
    return tuple(_parse_domain(name, item) for item in given)


def _parse_redirects(name: str, given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise InvalidCompose(f"x-ikoma: {name} takes a mapping such as www.example.com: example.com.")
    return {str(_parse_domain(name, source)): str(_parse_domain(name, target)) for source, target in given.items()}


def _parse_domain(name: str, given: Any) -> str:
    try:
        return DomainName.parse(str(given))
    except ValueError as error:
        raise InvalidCompose(f"x-ikoma: {name}: {str(given)[:80]!r} is not {error}.") from None


def _parse_duration(name: str, given: Any) -> float:
    found = _DURATION.fullmatch(str(given).strip()) if not isinstance(given, bool) else None
    if found is None or (seconds := float(found[1]) * _SECONDS[found[2]]) > 86_400:
        raise InvalidCompose(f"x-ikoma: {name} is {str(given)[:40]!r}; it takes a time such as 10s or 2m, at most 24h.")
    return seconds


def _release_command(name: str, given: Any) -> dict[str, Any]:
    return release_command.parse(name, given, _parse_duration)


def _refuse_zero(parse: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """A parser that refuses zero as well: with it everything would be refused."""

    def checked(name: str, given: Any) -> Any:
        parsed = parse(name, given)
        if not parsed:
            raise InvalidCompose(f"x-ikoma: {name} is {str(given)[:40]!r}; leave it out for no limit.")
        return parsed

    return checked


def _parse_size(name: str, given: Any) -> int:
    found = _SIZE.fullmatch(str(given).strip()) if not isinstance(given, bool) else None
    if found is None or (size := int(found[1]) << _SHIFT[found[2].lower()]) > _LARGEST:
        raise InvalidCompose(
            f"x-ikoma: {name} is {str(given)[:40]!r}; it takes a size such as 10m or 1g, at most {_LARGEST >> 30}g."
        )
    return size


def _parse_strategy(name: str, given: Any) -> str:
    if given not in (ROLLING, RECREATE):
        raise InvalidCompose(f"x-ikoma: {name} is {str(given)[:40]!r}; it takes {ROLLING} or {RECREATE}.")
    return str(given)


def _parse_strategies(given: Mapping[str, Any], services: Collection[str]) -> dict[str, str]:
    for service in given:
        if service not in services:
            raise InvalidCompose(f"x-ikoma: strategy: there is no service {str(service)[:80]!r}.")
    return {str(service): _parse_strategy(f"strategy of {service}", wanted) for service, wanted in given.items()}


def _parse_folders(name: str, given: Any) -> tuple[str, ...]:
    folders = given if isinstance(given, list) else [given]
    for folder in folders:
        parts = str(folder).removeprefix("./").split("/")
        if not isinstance(folder, str) or not _PATH.fullmatch(folder) or any(part in ("", ".", "..") for part in parts):
            raise InvalidCompose(
                f"x-ikoma: {name}: {str(folder)[:80]!r} is no folder inside the app's, such as src/up."
            )
    return tuple(str(folder).removeprefix("./") for folder in folders)

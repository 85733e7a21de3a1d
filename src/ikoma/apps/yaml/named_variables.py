"""Variables that a compose file names, and those of the server that no file may name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ikoma.apps.environment import nesting
from ikoma.apps.yaml.violation import Place

_VARIABLE = re.compile(r"\$(?:\$|\{?(?P<name>[A-Za-z_]\w*))")
# Compose reads files without any variable of the server: these are refused because nobody can mean another's.
_OF_THE_SERVER = re.compile(
    r"(API_KEY_HASH|SERVER_MODE|(APPS|BACKUPS)_ROOT|AUDIT_LOG|SOURCE_SSH_KEY|(IKOMA|BUILDX|BUILDKIT)_\w+"
    # Of Docker's and Compose's own, for apps have variables that begin so: DOCKER_TAG, COMPOSE_PORT_HTTP.
    r"|DOCKER_(API_VERSION|AUTH_CONFIG|BUILDKIT|CERT_PATH|CLI_\w+|CONFIG|CONTENT_TRUST\w*|CONTEXT|CUSTOM_HEADERS"
    r"|DEFAULT_PLATFORM|HOST|RAMDISK|SOCK\w*|TLS\w*|TMPDIR)"
    r"|COMPOSE_(ANSI|API_VERSION|BAKE|COMPATIBILITY|CONVERT_WINDOWS_PATHS|DISABLE_ENV_FILE|DOCKER_CLI_BUILD|ENV_FILES"
    r"|EXPERIMENTAL_\w+|FILE|HTTP_TIMEOUT|IGNORE_ORPHANS|MENU|PARALLEL_LIMIT|PATH_SEPARATOR|PROGRESS|PROJECT_DIRECTORY"
    r"|PROVIDER_\w+|RELAY_IMAGE|REMOVE_ORPHANS|STATUS_STDOUT|TLS_VERSION))"
)
_COMPOSE_SAYS = frozenset({"COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES"})


def is_of_the_server(name: str, known: frozenset[str]) -> bool:
    """Whether a name is a variable of the server that the app's own files do not set."""
    return bool(_OF_THE_SERVER.fullmatch(name)) and name not in known | _COMPOSE_SAYS


def find_variables(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from find_variables(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from find_variables(item, (*place, index))
    elif isinstance(value, str) and "$" in value:
        yield from ((place, found["name"]) for found in _VARIABLE.finditer(value) if found["name"])


def find_passed_on(document: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """Variables that are named without a value, so that whoever reads the file gives theirs."""
    services = document.get("services")
    for name, service in services.items() if isinstance(services, Mapping) else ():
        if isinstance(service, Mapping):
            build = service.get("build")
            yield from _find_valueless(("services", name, "environment"), service.get("environment"))
            if isinstance(build, Mapping):
                yield from _find_valueless(("services", name, "build", "args"), build.get("args"))
    for kind in ("configs", "secrets"):
        items = document.get(kind)
        for name, item in items.items() if isinstance(items, Mapping) else ():
            if isinstance(item, Mapping) and isinstance(item.get("environment"), str):
                yield (kind, name, "environment"), item["environment"]


def _find_valueless(place: Place, value: Any) -> Iterator[tuple[Place, str]]:
    if isinstance(value, Mapping):
        yield from (((*place, name), name) for name, given in value.items() if given is None)
    elif isinstance(value, list):
        yield from (
            ((*place, index), item) for index, item in enumerate(value) if isinstance(item, str) and "=" not in item
        )


def find_deep_places(value: Any, place: Place = ()) -> Iterator[Place]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from find_deep_places(item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from find_deep_places(item, (*place, index))
    elif isinstance(value, str) and nesting.is_too_deep(value):
        yield place

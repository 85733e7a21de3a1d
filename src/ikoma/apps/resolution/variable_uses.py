"""Uses of variables in an app's compose files, and the files that they come from, found in files that were read."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ikoma.apps.yaml.reading import Gathered
from ikoma.apps.yaml.violation import Place

_HASH = re.compile(
    r"(?<!\$)(?:\$\$)*\$(?:[0-9]\w*|apr1|argon2(?:id|i|d)|(?:bcrypt|pbkdf2|scrypt)[a-z0-9-]*|g?y\$j\w+)\$(?![${])"
)
"""How hashes of passwords begin, such as $2y$10$… and $argon2id$v=19…."""
_VARIABLE = re.compile(r"\$(?:\$|(?P<brace>\{?)(?P<name>[A-Za-z_]\w*)(?P<operator>:?[-?+])?(?P<end>\})?)")


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a variable in a compose file."""

    file: str
    place: Place
    name: str
    has_default: bool
    """Whether something is said for where it is not set."""
    is_blank: bool
    """Whether what is said then is nothing."""
    in_hash: bool = False
    """Whether it is a piece of a hash, in which each $ stands for itself."""
    is_required: bool = False
    """Whether Compose refuses the file where it is not set."""
    glued: bool = False
    """Whether it follows a letter or digit without braces, as a piece of a password does."""

    @property
    def may_be_secret(self) -> bool:
        """Whether its name may be a piece of a value that nobody is to read."""
        return self.in_hash or self.glued


@dataclass(frozen=True, slots=True)
class VariablesFile:
    """A file that services take variables from. `raw`: its values are taken as they are written."""

    path: str
    raw: bool


def find_uses(gathered: Gathered) -> list[Use]:
    """Every use, in the order of the files."""
    return [use for path, _, document in _list_documents(gathered) for use in _uses(path, document)]


def find_variables_files(gathered: Gathered) -> list[VariablesFile]:
    """The files that services name, each once."""
    found = (item for _, base, document in _list_documents(gathered) for item in _list_files(gathered, base, document))
    return list(dict.fromkeys(found))


def _list_documents(gathered: Gathered) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, base in sorted(gathered.understood):
        if path in gathered.documents:
            value = gathered.documents[path]
            yield path, base, value if isinstance(value, Mapping) else {}


def _uses(file: str, value: Any, place: Place = ()) -> Iterator[Use]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _uses(file, item, (*place, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _uses(file, item, (*place, index))
    elif isinstance(value, str) and "$" in value:
        for found in _VARIABLE.finditer(value):
            if found["name"]:
                has_default = bool(found["brace"] and found["operator"])
                is_bare = not found["brace"]
                glued = is_bare and value[: found.start()][-1:].isalnum()
                in_hash = is_bare and _HASH.search(value) is not None
                is_required = has_default and found["operator"].endswith("?")
                is_blank = has_default and bool(found["end"]) and not is_required
                yield Use(file, place, found["name"], has_default, is_blank, in_hash, is_required, glued)


def _list_files(gathered: Gathered, base: str, document: Mapping[str, Any]) -> Iterator[VariablesFile]:
    services = document.get("services")
    for service in services.values() if isinstance(services, Mapping) else ():
        named = service.get("env_file") if isinstance(service, Mapping) else None
        for entry in named if isinstance(named, list) else [named]:
            path = entry.get("path") if isinstance(entry, Mapping) else entry
            if isinstance(path, str):
                written = (gathered.paths or {}).get(path, path)
                raw = isinstance(entry, Mapping) and entry.get("format") == "raw"
                yield VariablesFile(posixpath.normpath(posixpath.join(base, written)), raw)

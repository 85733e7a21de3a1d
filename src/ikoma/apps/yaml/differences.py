"""Tell what counts otherwise here than the compose files say, and what included ones give. Nothing is refused."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from ikoma.app_folder import COMPOSE_NAMES
from ikoma.apps.yaml import form
from ikoma.apps.yaml.file_choice import Chosen
from ikoma.apps.yaml.notice import Notice
from ikoma.apps.yaml.violation import quote

_BLOCK = "x-ikoma"


def find_passed_over(chosen: Chosen) -> Iterator[Notice]:
    """Files of such names that Compose does not read."""
    for name in chosen.passed_over:
        read = chosen.files[0] if name in COMPOSE_NAMES else chosen.files[-1]
        problem = f"It is not read: Compose reads {read} where both are there."
        yield Notice(name, (), problem, f"Remove {name} or {read}, whichever is not meant.")


def find_misnamed(project: str, names: Mapping[str, Any]) -> Iterator[Notice]:
    """Files that name the project; the app's own name counts, by which its containers are told from others'."""
    for path, name in names.items():
        said = quote(name) if isinstance(name, str) else "no text"
        problem = f"The project's name here is {said}; on this platform it is {project}, as the app's."
        fix = (
            "Nothing has to change. For `docker compose` by hand, remove the line or write "
            f"COMPOSE_PROJECT_NAME={project} into .env."
        )
        yield Notice(path, ("name",), problem, fix)


def read_blocks(included: Mapping[str, bytes]) -> dict[str, bytes]:
    """The x-ikoma blocks of included files, each as a compose file of its own: Compose leaves them behind."""
    found = {}
    for path, content in included.items():
        value = form.read(content, path).value
        if isinstance(value, Mapping) and _BLOCK in value:
            others = [(key,) for key in value if key != _BLOCK]
            found[path] = form.read(content, path, without=others).written
    return found


def choose_block(found: Mapping[str, bytes], first: str) -> dict[str, bytes]:
    """The block that counts, under a name for Compose; what the app's own files say wins over it.

    Args:
        first: the first of the app's own files.
    """
    for path, block in found.items():
        return {posixpath.join(posixpath.dirname(first), f"{_BLOCK}-of-{posixpath.basename(path)}~"): block}
    return {}


def find_other_blocks(found: Mapping[str, bytes], first: str) -> Iterator[Notice]:
    """Blocks of further included files."""
    for path in [*found][1:]:
        problem = f"It does not count here: {next(iter(found))} says it already."
        yield Notice(path, (_BLOCK,), problem, f"Write one {_BLOCK} block, best into {first}.")

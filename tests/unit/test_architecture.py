"""docs/architecture.md speaks of the tree as it is, and the tree keeps its rooms small."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import ikoma

SOURCE = Path(ikoma.__file__).parent
PAGE = SOURCE.parent.parent / "docs" / "architecture.md"
NAMED = re.compile(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+(?:\.py|/))`")
OF_AN_APP = {"src/", "tree/"}  # folders on the server
MOST_MODULES = 16
MOST_LINES = 425


def modules() -> list[Path]:
    return [path for path in SOURCE.rglob("*.py") if "templates" not in path.parts]


def test_every_module_and_room_of_the_page_is_there() -> None:
    files = [f"/{path.relative_to(SOURCE).as_posix()}" for path in modules()]
    folders = [folder for folder in SOURCE.rglob("*") if folder.is_dir() and folder.name != "__pycache__"]
    rooms = {f"/{folder.relative_to(SOURCE).as_posix()}/" for folder in folders}
    named = set(NAMED.findall(PAGE.read_text(encoding="utf-8"))) - OF_AN_APP
    assert len(named) > 50
    missing = {name for name in named if not any(place.endswith(f"/{name}") for place in (*files, *rooms))}
    missing = {name for name in missing if name != "src/ikoma/capabilities/"}
    assert missing == set()


def test_a_room_of_apps_has_a_row_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rooms = {path.parent.name for path in modules() if path.parent.parent == SOURCE / "apps"}
    assert {room for room in rooms if f"`{room}/`" not in text} == set()


def test_the_rooms_of_apps_stand_in_the_order_of_their_imports() -> None:
    contracts = tomllib.loads((PAGE.parent.parent / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(item["layers"] for item in contracts if item.get("containers") == ["ikoma.apps"])
    text = PAGE.read_text(encoding="utf-8")
    text = text[text.index("The rooms of `apps/`") :]
    rows = [re.findall(r"`([a-z_]+)(?:/|\.py)`", row.split(" | ")[0]) for row in text.splitlines() if row[:3] == "| `"]
    named = [room for row in rows for room in row]
    assert named == [room for layer in layers for room in layer.split(" | ")]


def test_a_room_holds_few_modules_and_a_module_few_lines() -> None:
    rooms: dict[str, int] = {}
    for path in modules():
        name = path.parent.relative_to(SOURCE).as_posix()
        if path.name != "__init__.py" and not name.startswith("capabilities"):
            rooms[name] = rooms.get(name, 0) + 1
    assert {name: count for name, count in rooms.items() if count > MOST_MODULES} == {}
    long = {path.name: lines for path in modules() if (lines := path.read_bytes().count(b"\n")) > MOST_LINES}
    assert long == {}


ABOVE_THE_ENGINES = ("apps", "capabilities", "kernel", "ports", "transports", "web")
OF_ONE_MACHINE = re.compile(r"container_ids?\b|(^|_)bridge|gateway|(^|_)subnets?\b")
OF_AN_ADDRESS = {"apps/policy/network.py", "apps/validation/validator.py", "ports/volumes.py"}
"""Modules that say what addresses a file chooses for its networks, and who has them: any engine's network has some."""


def names_of(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name"):
            value = getattr(node, field, None)
            found |= {value} if isinstance(value, str) else set()
    return found


def test_rooms_above_the_engines_speak_of_nothing_that_one_machine_or_docker_alone_has() -> None:
    told: dict[str, set[str]] = {}
    for path in modules():
        name, text = path.relative_to(SOURCE).as_posix(), path.read_text(encoding="utf-8")
        if name.split("/")[0] in ABOVE_THE_ENGINES:
            found = {item for item in names_of(ast.parse(text)) if OF_ONE_MACHINE.search(item)}
            found -= {item for item in found if "subnet" in item and name in OF_AN_ADDRESS}
            found |= set(re.findall(r"com\.docker[a-z.]*|host-gateway", text))
            if found:
                told[name] = found
    assert told == {}

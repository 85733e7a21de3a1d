"""YAML in the one form that every reader takes for the same thing.

Compose's parser is not ours. What could mean one thing here and another there (two documents, a key twice, tags of
one's own) is refused, and so is what grows when it is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from ikoma.apps.policy.rules import Place, Violation

_MOST_NODES = 100_000
_DEEPEST = 60
_BREAKS = ("\x85", "\u2028", "\u2029")
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge", "timestamp")
)
_STRING, _NULL, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("str", "null", "merge"))
_BOOLEAN = "tag:yaml.org,2002:bool"


@dataclass(slots=True)
class Read:
    """A document as mappings with text keys, lists and text; None where it says null."""

    value: Any = None
    violations: list[Violation] = field(default_factory=list)


class _Unsafe(Exception):
    """Carries what is wrong with a document."""

    def __init__(self, rule: str, what: str, place: Place = ()) -> None:
        self.rule, self.what, self.place = rule, what, place


def read(content: bytes, file: str) -> Read:
    """Read one file, or say why not.

    Args:
        file: its name, for the violations.
    """
    try:
        root = _composed(content)
        if root is None:
            return Read()
        _measure(root, {}, 0)
        return Read(_plain(root, ()))
    except _Unsafe as unsafe:
        return Read(violations=[Violation(unsafe.rule, unsafe.place, unsafe.what, file)])


def _composed(content: bytes) -> yaml.Node | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise _Unsafe("yaml-form", "The file is not UTF-8.") from None
    if any(character in text for character in _BREAKS):
        raise _Unsafe("yaml-form", "The file holds a line separator that only some readers take for one.")
    try:
        documents = list(yaml.compose_all(text, Loader=yaml.CSafeLoader))
    except yaml.MarkedYAMLError as error:
        line = f"Line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise _Unsafe("yaml-form", f"{line}{error.problem or 'this is no YAML'}.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise _Unsafe("yaml-form", f"This is no YAML: {error}.") from None
    except RecursionError:
        raise _Unsafe("alias-bomb", "The file is nested too deeply.") from None
    if len(documents) > 1:
        raise _Unsafe("yaml-form", "The file holds more than one document.")
    return documents[0] if documents else None


def _measure(node: yaml.Node, sizes: dict[int, int], depth: int) -> int:
    """How many nodes this one is when its aliases are written out."""
    known = sizes.get(id(node))
    if known is not None:
        if known == 0:
            raise _Unsafe("alias-bomb", "An alias holds itself.")
        return known
    if depth > _DEEPEST:
        raise _Unsafe("alias-bomb", "The file is nested too deeply.")
    sizes[id(node)] = 0
    size = 1
    for child in _children(node):
        size += _measure(child, sizes, depth + 1)
        if size > _MOST_NODES:
            raise _Unsafe("alias-bomb", f"With its aliases written out the file has more than {_MOST_NODES} entries.")
    sizes[id(node)] = size
    return size


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _plain(node: yaml.Node, place: Place) -> Any:
    if node.tag not in _TAGS:
        line = node.start_mark.line + 1 if node.start_mark else 0
        raise _Unsafe("yaml-form", f"Line {line}: the tag {node.tag[:40]} has no place here.", place)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, place)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*place, index)) for index, item in enumerate(node.value)]
    return None if node.tag == _NULL else node.value


def _mapping(node: yaml.MappingNode, place: Place) -> dict[str, Any]:
    own: dict[str, Any] = {}
    merged: dict[str, Any] = {}
    merges = False
    for key, value in node.value:
        name = _key(key, place)
        if name in own or (key.tag == _MERGE and merges):
            line = key.start_mark.line + 1
            raise _Unsafe("yaml-form", f"Line {line}: the key {name[:40]!r} is there twice.", place)
        if key.tag == _MERGE:
            merges = True
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(source, yaml.MappingNode):
                    raise _Unsafe("yaml-form", "`<<` takes mappings.", place)
                merged = {**_mapping(source, place), **merged}
            continue
        own[name] = _plain(value, (*place, name))
    return {**merged, **own}


def _key(key: yaml.Node, place: Place) -> str:
    # yes, no, on and off are names to Compose and truth to us: as keys they are what is written.
    if not isinstance(key, yaml.ScalarNode) or key.tag not in (_STRING, _MERGE, _BOOLEAN):
        raise _Unsafe("yaml-form", f"Line {key.start_mark.line + 1}: a key must be text.", place)
    return str(key.value)

"""YAML in the one form that every reader takes for the same thing.

Compose's parser is not ours, so it gets what ours made of a file, written anew. What could mean one thing here and
another there (two documents, a key twice, tags of one's own) is refused besides, and so is what grows when it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

from ikoma.apps.yaml import rewriting
from ikoma.apps.yaml.parts import change
from ikoma.apps.yaml.violation import Place, Violation, quote

_MOST_NODES = 100_000
_UNREAD = "Neither Compose nor IKOMA can read the file."
_DEEPEST = 60
_MOST_CHARACTERS = 4 << 20
_LONGEST_KEY = 1000
"""Characters of a key as it is written for Compose; a parser takes 1,024 for one."""
_BREAKS = ("\x85", "\u2028", "\u2029")
_MARK = "\ufeff"
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge", "timestamp")
)
RESET, OVERRIDE = "!reset", "!override"
"""Compose's own tags: what other files say of this is left out, or what this one says stands in its place."""
_STRING, _NULL, _MERGE = (f"tag:yaml.org,2002:{name}" for name in ("str", "null", "merge"))
_BOOLEAN = "tag:yaml.org,2002:bool"


@dataclass(slots=True)
class Read:
    """A document as mappings with text keys, lists and text; None where it says null."""

    value: Any = None
    violations: list[Violation] = field(default_factory=list)
    written: bytes = b""
    """Text that Compose gets."""


class _Unsafe(Exception):
    """Carries what is wrong with a document.

    Args:
        line: where, from 1.
        danger, instead: why it is refused and the safe way, where those of the rule do not fit.
    """

    def __init__(
        self,
        rule: str,
        what: str,
        place: Place = (),
        *,
        line: int | None = None,
        danger: str | None = None,
        instead: str | None = None,
    ) -> None:
        self.rule, self.what, self.place, self.line = rule, what, place, line
        self.danger, self.instead = danger, instead


def read(content: bytes, file: str, without: Iterable[Place] = (), put: Mapping[Place, str] | None = None) -> Read:
    """Read one file, or say why not.

    Args:
        file: its name, for the violations.
        without: places that Compose does not get.
        put: texts that it gets besides, by their places.
    """
    try:
        root = _parse_node(content)
        if root is None:
            return Read()
        _measure(root, {})
        value = _read_plain(root, ())
        root = change(root, without, put or {})
        return Read(value, written=rewriting.write(root, _read_pairs))
    except _Unsafe as unsafe:
        found = Violation(
            unsafe.rule,
            unsafe.place,
            unsafe.what,
            file,
            line=unsafe.line,
            danger=unsafe.danger,
            instead=unsafe.instead,
        )
        return Read(violations=[found])


def parse_documents(text: str) -> list[yaml.Node]:
    """The documents of a text, as nodes.

    Raises:
        RecursionError: it is nested too deeply. The parser would go on until its stack, and the process, end.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise RecursionError(f"nested deeper than {_DEEPEST}")
    return list(yaml.compose_all(text, Loader=yaml.CSafeLoader))


def _parse_node(content: bytes) -> yaml.Node | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise _Unsafe("yaml-form", "The file is not UTF-8.", instead="Save the file as UTF-8.") from None
    if any(character in text for character in _BREAKS):
        raise _Unsafe("yaml-form", "The file holds a line separator that only some readers take for one.")
    text = text.removeprefix(_MARK)
    try:
        _check_keys(text)
        found = parse_documents(text)
    except yaml.MarkedYAMLError as error:
        raise _make_refusal(text, error) from None
    except (yaml.YAMLError, ValueError) as error:
        raise _Unsafe("yaml-form", f"This is no YAML: {error}.") from None
    except RecursionError:
        raise _Unsafe("alias-bomb", "The file is nested too deeply.") from None
    if len(found) > 1:
        raise _Unsafe("yaml-form", "The file holds more than one document.")
    return found[0] if found else None


def _make_refusal(text: str, error: yaml.MarkedYAMLError) -> _Unsafe:
    """The reason why a text is no YAML, with its line."""
    line = error.problem_mark.line + 1 if error.problem_mark else None
    if (error.context or "").startswith("found duplicate anchor"):
        return _Unsafe("yaml-form", "This anchor is there twice.", line=line)
    instead = "Correct the indentation, the colons and the quotes there or in the line above."
    if line is not None and text.splitlines()[line - 1 : line][:1] and "\t" in text.splitlines()[line - 1]:
        instead = "Write spaces where the line has a tab: YAML takes no tabs at the beginning of a line."
    problem = error.problem or "this is no YAML"
    return _Unsafe("yaml-form", f"{problem[0].upper()}{problem[1:]}.", line=line, danger=_UNREAD, instead=instead)


def _check_keys(text: str) -> None:
    """Refuse `?x` where it would be a key's mark to us, and the beginning of a word to others."""
    if "?" not in text:
        return
    for token in yaml.scan(text, Loader=yaml.CSafeLoader):
        place = token.start_mark.index
        if isinstance(token, yaml.KeyToken) and text[place] == "?" and text[place + 1 : place + 2].strip():
            line = token.start_mark.line + 1
            raise _Unsafe("yaml-form", "Text that begins with ? must be in quotes.", line=line)


class _Size(NamedTuple):
    """The size of a node when its aliases are written out. `characters` are those of its texts."""

    nodes: int
    depth: int
    characters: int


def _measure(node: yaml.Node, known: dict[int, _Size | None]) -> _Size:
    if id(node) in known:
        measured = known[id(node)]
        if measured is None:
            raise _Unsafe("alias-bomb", "An alias holds itself.")
        return measured
    known[id(node)] = None
    nodes, depth, characters = 1, 0, len(node.value) if isinstance(node, yaml.ScalarNode) else 0
    for child in _list_children(node):
        below = _measure(child, known)
        nodes, depth, characters = nodes + below.nodes, max(depth, below.depth + 1), characters + below.characters
        if nodes > _MOST_NODES:
            raise _Unsafe("alias-bomb", f"With its aliases written out the file has more than {_MOST_NODES} entries.")
        if depth > _DEEPEST:
            raise _Unsafe("alias-bomb", "With its aliases written out the file is nested too deeply.")
        if characters > _MOST_CHARACTERS:
            raise _Unsafe("alias-bomb", "With its aliases written out the file is larger than 4 MiB.")
    known[id(node)] = size = _Size(nodes, depth, characters)
    return size


def _list_children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _read_plain(node: yaml.Node, place: Place, *, is_plain: bool = False) -> Any:
    """Read the plain value of a node.

    Args:
        is_plain: whether it stands below one of Compose's own tags, where Compose looks for no further ones.
    """
    if node.tag not in _TAGS and (node.tag not in (RESET, OVERRIDE) or is_plain or not place):
        line = node.start_mark.line + 1 if node.start_mark else None
        raise _Unsafe("yaml-form", f"{quote(node.tag)} is a tag that has no place here.", place, line=line)
    below = is_plain or node.tag in (RESET, OVERRIDE)
    if isinstance(node, yaml.MappingNode):
        pairs = _read_pairs(node, place).items()
        said: Any = {name: _read_plain(value, (*place, name), is_plain=below) for name, (_, value) in pairs}
    elif isinstance(node, yaml.SequenceNode):
        said = [_read_plain(item, (*place, index), is_plain=below) for index, item in enumerate(node.value)]
    else:
        said = None if node.tag == _NULL else node.value
    return None if node.tag == RESET else said


def _read_pairs(node: yaml.MappingNode, place: Place = ()) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Read a mapping, merged ones included: name → its key and its value."""
    own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    merges = False
    for key, value in node.value:
        name = _read_key(key, place)
        if name in own or (key.tag == _MERGE and merges):
            line = key.start_mark.line + 1
            instead = (
                f"Leave one of the two: the other is in line {own[name][0].start_mark.line + 1}."
                if name in own
                else None
            )
            raise _Unsafe("yaml-form", f"{quote(name)} is there twice as a key.", place, line=line, instead=instead)
        if key.tag == _MERGE:
            merges = True
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(source, yaml.MappingNode):
                    raise _Unsafe("yaml-form", "`<<` takes mappings.", place)
                merged = {**_read_pairs(source, place), **merged}
            continue
        own[name] = key, value
    return {**merged, **own}


def _read_key(key: yaml.Node, place: Place) -> str:
    # yes, no, on and off are names to Compose and truth to us: as keys they are what is written.
    if not isinstance(key, yaml.ScalarNode) or key.tag not in (_STRING, _MERGE, _BOOLEAN):
        instead = "Put the key in quotes." if isinstance(key, yaml.ScalarNode) else None
        raise _Unsafe("yaml-form", "A key must be text.", place, line=key.start_mark.line + 1, instead=instead)
    if len(rewriting.quote_text(key.value)) > _LONGEST_KEY:
        raise _Unsafe("too-large", "A key is too long.", place, line=key.start_mark.line + 1)
    return str(key.value)

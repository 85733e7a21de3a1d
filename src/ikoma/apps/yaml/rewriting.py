"""A document as Compose gets it: written anew, in the one spelling that no two readers take for different things.

Flow mappings and lists, every key and text in double quotes of plain ASCII, merges written out, everything on its own
line: so Compose's errors name the lines of the person's file, and its parser sees nothing that ours did not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import yaml

Pairs = Callable[[yaml.MappingNode], Mapping[str, tuple[yaml.Node, yaml.Node]]]

_BARE = re.compile(r"[-+]?(0[xob][0-9A-Fa-f_]+|\.?[0-9][0-9_.]*([eE][-+]?[0-9]+)?)|true|True|TRUE|false|False|FALSE")
"""Numbers and truth; Compose takes all other plain words for text."""
_RESET = "!reset"
_OF_COMPOSE = (_RESET, "!override")
_NULL, _STRING = "tag:yaml.org,2002:null", "tag:yaml.org,2002:str"
_NOT_AS_IT_IS = re.compile(r"[^ !#-\[\]-~]")
_LONG = 40


def write(root: yaml.Node, pairs: Pairs) -> bytes:
    """The text of a document.

    Args:
        pairs: what a mapping says: name → its key and its value, merged ones included.
    """
    return "".join(_Writer(root, pairs).write_node(root)).encode()


def quote_text(value: str) -> str:
    """A text in double quotes."""
    return '"' + _NOT_AS_IT_IS.sub(_escape, value) + '"'


def _escape(character: re.Match[str]) -> str:
    code = ord(character[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\U{code:08x}"


class _Writer:
    """Writes what is used more than once where it comes first, and names it from then on."""

    def __init__(self, root: yaml.Node, pairs: Pairs) -> None:
        self._pairs = pairs
        self._line = 0
        self._names: dict[int, str] = {}
        self._uses: Counter[int] = Counter()
        self._count(root)

    def write_node(self, node: yaml.Node) -> Iterator[str]:
        if name := self._names.get(id(node)):
            yield f"*{name} "
            return
        yield self._take_up_to(node)
        if self._uses[id(node)] > 1 and (isinstance(node, yaml.CollectionNode) or len(node.value) > _LONG):
            self._names[id(node)] = f"a{len(self._names)}"
            yield f"&{self._names[id(node)]} "
        if node.tag in _OF_COMPOSE:
            yield f"{node.tag} "
        if node.tag == _RESET:
            yield "null"
        elif isinstance(node, yaml.MappingNode):
            yield "{"
            for name, (key, value) in self._pairs(node).items():
                yield f"{self._take_up_to(key)}{quote_text(name)}: "
                yield from self.write_node(value)
                yield ", "
            yield "}"
        elif isinstance(node, yaml.SequenceNode):
            yield "["
            for item in node.value:
                yield from self.write_node(item)
                yield ", "
            yield "]"
        elif isinstance(node, yaml.ScalarNode):
            yield _write_scalar(node)

    def _take_up_to(self, node: yaml.Node) -> str:
        """The line ends up to where a node stands; none where that is above."""
        more = max(0, node.start_mark.line - self._line)
        self._line += more
        return "\n" * more + " " * (more > 0)

    def _count(self, node: yaml.Node) -> None:
        self._uses[id(node)] += 1
        if self._uses[id(node)] > 1 or node.tag == _RESET:
            return
        if isinstance(node, yaml.MappingNode):
            for _, value in self._pairs(node).values():
                self._count(value)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._count(item)


def _write_scalar(node: yaml.ScalarNode) -> str:
    if node.tag == _NULL:
        return "null"
    # 0o17 is a number to Compose and text to us; with a tag a number is text to both.
    is_bare = not node.style and (node.tag != _STRING or node.value.startswith("0o"))
    return str(node.value) if is_bare and _BARE.fullmatch(node.value) else quote_text(node.value)

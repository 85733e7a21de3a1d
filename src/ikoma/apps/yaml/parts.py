"""A document without some of its parts, or with others: what Compose gets to be asked for what else is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import yaml

from ikoma.apps.yaml.violation import Place

_STRING = "tag:yaml.org,2002:str"


def change(root: yaml.Node, without: Iterable[Place], put: Mapping[Place, str]) -> yaml.Node:
    """The document, itself changed.

    Args:
        without: places of what is taken out, where it stands there itself and not by a merge.
        put: texts that are added, by their places.
    """
    for place in without:
        _remove(root, place)
    for place, text in put.items():
        _put(root, place, text)
    return root


def _remove(root: yaml.Node, place: Place) -> None:
    node = _find_at(root, place[:-1])
    if isinstance(node, yaml.ScalarNode) and len(place) > 1:  # one value stands for a list of it
        _remove(root, place[:-1])
    elif isinstance(node, yaml.MappingNode):
        node.value = [(key, value) for key, value in node.value if key.value != place[-1]]
    elif isinstance(node, yaml.SequenceNode):
        node.value = [item for index, item in enumerate(node.value) if index != place[-1]]


def _put(root: yaml.Node, place: Place, text: str) -> None:
    node = _find_at(root, place[:-1])
    if isinstance(node, yaml.MappingNode):
        key, value = (yaml.ScalarNode(_STRING, said, node.start_mark, node.end_mark) for said in (str(place[-1]), text))
        node.value.append((key, value))


def _find_at(node: yaml.Node | None, place: Place) -> yaml.Node | None:
    for step in place:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        else:
            return None
    return node

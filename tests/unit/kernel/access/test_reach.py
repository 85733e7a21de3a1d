"""The reach of keys: in words, and never everything by mistake."""

from __future__ import annotations

from typing import Any

import pytest

from ikoma import capabilities
from ikoma.errors import InvalidArguments
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.access.reach import describe_reach
from ikoma.model import Role

CREATE = capabilities.load().get("keys.create")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, "all apps"),
        ({"apps": ("shop", "blog-*")}, "shop, blog-*"),
        ({"capabilities": ("db.*",), "read_only": True}, "all apps; only db.*; reads only"),
        ({"apps": ("shop",), "needs_approval": True}, "shop; needs approval"),
    ],
)
def test_the_reach_of_a_key_is_said_in_words(limits: dict[str, Any], said: str) -> None:
    assert describe_reach(Caller("key_1", "ci", Role.OPERATOR, **limits)) == said


@pytest.mark.parametrize("field", ["apps", "capabilities"])
@pytest.mark.parametrize("nothing", [[], [""]])
def test_an_empty_list_gives_nobody_everything(field: str, nothing: list[str]) -> None:
    with pytest.raises(InvalidArguments, match=field):
        CREATE.parse({"name": "ci", "role": "operator", field: nothing})
    assert CREATE.parse({"name": "ci", "role": "operator"})
    assert CREATE.parse({"name": "ci", "role": "operator", field: ["*"]})

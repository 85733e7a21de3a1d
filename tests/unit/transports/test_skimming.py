"""A few members of a large object are read, and what is passed over is followed and not made anything of."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ikoma.errors import MalformedRequest
from ikoma.transports.skimming import skim_members

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=8,
)
NAMES = st.text(max_size=5) | st.sampled_from(["ref", "after"])


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(NAMES, VALUES, max_size=4), st.integers(0, 3))
def test_what_is_read_is_what_a_parser_reads(told: dict[str, Any], indent: int) -> None:
    for body in (json.dumps(told, indent=indent or None), json.dumps(told, ensure_ascii=False)):
        wanted = {name: value for name, value in told.items() if name in ("ref", "after")}
        assert skim_members(body.encode("utf-8", "replace"), ("ref", "after")) == wanted


@given(st.binary(max_size=200))
def test_whatever_comes_is_an_object_or_refused(body: bytes) -> None:
    try:
        skim_members(body, ("ref",))
    except MalformedRequest as error:
        assert error.message.startswith("The body ")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"{", b'{"ref"', b'{"ref":', b'{"ref":"a', b'{"ref":"a"', b'{"a":[1,', b'{"a":1 "ref":2}'),
        *(b"[" * 100_000, b'{"a":' + b"[" * 100_000, b'{"a":"' + b"\\" * 99_999, b'{"ref":tru}', b"\xff", b'{"a":}'),
    ],
)
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        skim_members(body, ("ref",))


def test_what_is_passed_over_takes_no_memory() -> None:
    commits = b",".join(b'{"message":"%s","list":[1,{"a":"}]"}]}' % (b'x\\"' * 100) for _ in range(50_000))
    body = b'{"before":"0","commits":[' + commits + b'],"one":"' + b"y" * 2_000_000 + b'","ref":"refs/heads/main"}'
    assert len(body) > 15 << 20
    tracemalloc.start()
    try:
        assert skim_members(body, ("ref",)) == {"ref": "refs/heads/main"}
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()

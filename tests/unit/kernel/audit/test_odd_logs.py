"""Lines that IKOMA did not write: whoever may write the log may put anything there, and nobody else must suffer."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ikoma.capabilities import load
from ikoma.capabilities.audit.query import AuditQueryRequest, query
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.audit.chain import verify
from ikoma.kernel.audit.entry import AuditEntry
from ikoma.kernel.audit.log import AuditLog
from ikoma.kernel.redaction.redaction import Scrubber
from ikoma.model import Role

NAMES = ("timestamp", "requestId", "capability", "role", "caller", "key", "arguments", "result", "error", "code")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
JSON = st.recursive(SCALARS, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part))
SOUND: dict[str, Any] = orjson.loads(
    AuditEntry("0", "test.read", caller="ann", arguments={"appName": "shop"}).encode_line(1, "0")
)
PARTS = st.dictionaries(st.sampled_from([*NAMES, "duration", "seq", "prev"]), JSON, max_size=4)
NEARLY = st.builds(lambda parts, app: {**SOUND, "arguments": {"appName": app}, **parts}, PARTS, JSON)
DEEP = st.builds(
    lambda name, depth: orjson.dumps(SOUND)[:-1] + b',"%s":' % name + b"[" * depth + b"]" * depth + b"}",
    st.sampled_from([name.encode() for name in (*NAMES, "seq", "prev")]),
    st.sampled_from([7, 100, 252, 1000, 100_000]),
)
GAP = JSON.map(lambda error: {**SOUND, "error": error, "code": "audit_gap"})
LINES = (JSON | NEARLY | GAP).map(lambda value: json.dumps(value).encode())


def asked(log: AuditLog, caller: Caller) -> bytes:
    """Return what audit.query answers, as the pipeline sends it."""
    call: Any = SimpleNamespace(platform=SimpleNamespace(audit=log), caller=caller, role=caller.role)
    found = asyncio.run(query(call, AuditQueryRequest(since="2000-01-01T00:00:00Z", limit=1000)))  # type: ignore[call-arg]
    answer = load().get("audit.query").encode(found)
    return Scrubber().scrub_json(answer, None)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(LINES | DEEP | st.binary(max_size=40), min_size=1, max_size=4), st.booleans())
def test_whatever_lines_are_in_the_log_it_is_read_checked_and_written(odd: list[bytes], headless: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, head = Path(folder) / "audit.jsonl", Path(folder) / "head"
        first = AuditLog(path, head)
        first.append(AuditEntry("1", "test.read", caller="ann", arguments={"appName": "shop"}))
        first.close()
        path.write_bytes(path.read_bytes() + b"\n".join(odd) + b"\n")
        if headless:
            head.unlink()
        verify(path, head)
        again = AuditLog(path, head, max_bytes=1, keep=1)
        for number in range(3):
            again.append(AuditEntry(f"again {number}", "test.read", caller="ann", arguments={"appName": "shop"}))
        verify(path, head)
        for caller in (Caller("a", "ann", Role.ADMIN), Caller("b", "bob", Role.OBSERVER, apps=("shop*",))):
            assert b'"again 2"' in asked(again, caller)
        again.close()


@pytest.mark.parametrize("line", [b'{"arguments":[]}', b"[]", b"null", b"{", b"\xff"])
def test_a_line_that_is_no_entry_is_counted_and_hides_none(tmp_path: Path, line: bytes) -> None:
    log = AuditLog(tmp_path / "audit.jsonl", tmp_path / "head")
    log.append(AuditEntry("1", "test.read"))
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(line + b"\n")
    log.append(AuditEntry("2", "test.read"))
    entries, odd = log.read_last(10, lambda entry: True)
    assert [entry["requestId"] for entry in entries] == ["1", "audit.gap", "2"]
    assert odd == 1
    assert not verify(tmp_path / "audit.jsonl", tmp_path / "head").valid

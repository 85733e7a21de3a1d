"""Results and failures, worded for a model. What others wrote stands apart, marked as data: see marking.py."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import orjson
from mcp_types import CallToolResult, TextContent

from ikoma.errors import IkomaError
from ikoma.kernel.answers.failures import describe_failure
from ikoma.kernel.redaction.places import Path, change_at, find_at
from ikoma.kernel.registry import Capability, StoredFailure, Untrusted
from ikoma.transports.mcp.tools import make_tool_name
from ikoma.transports.mcp.wording import sentences
from ikoma.transports.mcp.wording.marking import Wrapper, is_foreign

_STEPS = 6
"""Number of an operation's last steps: who wants more follows it, or asks over HTTP."""


def word_success(
    capability: Capability,
    body: bytes,
    *,
    pending: bool,
    known: Mapping[str, Capability] | None = None,
    wrapper: Wrapper | None = None,
) -> dict[str, Any]:
    """The outcome of a call as a tools/call result on the wire; or, `pending`, the operation that it goes on as.

    The text and the fields say the same in two ways, since a host shows a model the one, the other or both: see
    docs/mcp.md. What others wrote stands apart in both, once for all of it.

    Args:
        known: capabilities by name, for an operation's result, which is that of another.
        wrapper: marks what others wrote; a new one where nothing else of this answer was marked.
    """
    wrapper = wrapper or Wrapper()
    fields = _word_fields(capability, body, wrapper, pending=pending)
    marked = set() if pending else _mark(capability)
    planted = {} if pending else _find_planted(capability, fields, known or {})
    ours, theirs = _set_apart(fields, planted, wrapper, marked)
    what = ", ".join(dict.fromkeys(planted.values()))
    shown = {name: value for name, value in theirs.items() if name not in capability.listing.not_in_text}
    quoted = wrapper.wrap(_quote(shown), what) if shown else ""
    text = _make_text(capability, wrapper.mark_value(fields), ours, quoted, marked)
    # Not as the SDK's models: every call would pay for building and taking them apart again.
    answer: dict[str, Any] = {"content": [{"type": "text", "text": text}], "resultType": "complete"}
    if pending or not capability.listing.text_alone:
        answer["structuredContent"] = ours | (wrapper.fence(theirs, what) if theirs else {})
    return answer


def word_document(capability: Capability, body: bytes, field: str | None) -> str:
    """The outcome of a call as a document: one text of it, or all of its fields."""
    wrapper = Wrapper()
    fields = _word_fields(capability, body, wrapper, pending=False)
    planted = _find_planted(capability, fields, {})
    if field:
        text = str(fields[field])
        return wrapper.wrap(text, planted[field]) if field in planted else text
    ours, theirs = _set_apart(fields, planted, wrapper)
    return _encode_pretty(ours | (wrapper.fence(theirs, ", ".join(dict.fromkeys(planted.values()))) if theirs else {}))


def _word_fields(capability: Capability, body: bytes, wrapper: Wrapper, *, pending: bool) -> dict[str, Any]:
    """The result's fields in the words of this door: calls that lead on, and failures that were written down."""
    result = orjson.loads(body)
    if capability.name.startswith("operations.") and "steps" in result:
        result["steps"] = result["steps"][-_STEPS:]
        ended = result.get("failure") or result.get("result") or {}
        if ended.get("next"):
            result.setdefault("next", ended["next"])  # where it stands in every answer
    for path in [("next",), *([] if pending else [*capability.leads, ("result", "next")])]:
        result = change_at(result, path, make_tool_call)
    for path, mark in () if pending else capability.untrusted:
        if isinstance(mark, StoredFailure):
            result = change_at(result, path, partial(_tell_again, wrapper=wrapper))
    fields: dict[str, Any] = _drop_empty(result if isinstance(result, dict) else {"result": result})
    if capability.name == "platform.info":
        fields["capabilities"] = list(map(make_tool_name, fields["capabilities"]))
    return fields


def _mark(capability: Capability) -> set[str]:
    """The fields that hold a failure: it is told as one that has just happened, with marks of its own."""
    return {str(path[0]) for path, mark in capability.untrusted if isinstance(mark, StoredFailure)}


def _tell_again(failed: Any, wrapper: Wrapper) -> Any:
    return failed and tell_failure(failed, wrapper)


def _drop_empty(value: Any) -> Any:
    """The facts without names that have no value: a schema that every host takes knows no null."""
    if isinstance(value, dict):
        return {name: _drop_empty(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_drop_empty(item) for item in value]
    return value


def _find_planted(capability: Capability, fields: Mapping[str, Any], known: Mapping[str, Capability]) -> dict[str, str]:
    """The fields in which something stands that others wrote, and what that is."""
    found: dict[str, str] = {}
    for path, mark in capability.untrusted:
        place = path if path and path[0] != "*" else ("result", *path)
        if _is_there(fields, place, mark):
            found.setdefault(place[0], mark.what)
    made = known.get(str(fields.get("capability")))
    if capability.name.startswith("operations.") and made:
        for path, mark in made.untrusted:
            if _is_there(fields.get("result"), path, mark):
                found["result"] = mark.what
    for name, value in fields.items():  # what nobody marks, and is neither one word nor a sentence of IKOMA's own
        if name != "next" and name not in found and is_foreign(value, name):
            found[name] = "text"
    marked = _mark(capability)
    return {name: found[name] for name in fields if name in found and name not in marked}


def _is_there(value: Any, path: Path, mark: Untrusted) -> bool:
    """Whether something that others wrote stands at a path; where words of IKOMA's stand too, one word is none."""
    found = () if isinstance(mark, StoredFailure) else find_at(value, path)
    return any(item and (is_foreign(item) or not mark.ours) for item in found)


def _set_apart(
    fields: Mapping[str, Any], planted: Collection[str], wrapper: Wrapper, marked: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    ours = {
        name: value if name in marked else wrapper.mark_value(value, name)
        for name, value in fields.items()
        if name not in planted
    }
    return ours, {name: fields[name] for name in planted}


def _quote(theirs: Mapping[str, Any]) -> str:
    theirs = {name: sentences.select_failed(value) for name, value in theirs.items()}
    if "rows" in theirs:
        return sentences.draw_table(theirs.get("columns", ()), theirs["rows"])
    if len(theirs) == 1:
        return sentences.list_plain(*theirs.values())
    return "\n".join(f"{name}:\n{sentences.list_plain(value)}" for name, value in theirs.items())


def _make_text(
    capability: Capability, fields: Mapping[str, Any], ours: Mapping[str, Any], quoted: str, marked: Collection[str]
) -> str:
    plain = {name: value for name, value in ours.items() if name not in marked}
    said = [
        sentences.make_first_line(capability.listing.says, fields),
        *sentences.outline(plain, capability.listing.not_in_text),
    ]
    failures = [_encode_text(ours[name]) for name in sorted(marked) if ours.get(name)]
    lines = [*said, quoted, *failures, *sentences.list_following(ours, capability.arguments)]
    return "\n".join(line for line in lines if line) or "Done."


def make_tool_call(lead: Any) -> Any:
    """A call that leads on, as a model makes it; none where its arguments would have to be marked as data."""
    if not isinstance(lead, dict) or lead.keys() != {"capability", "arguments"}:
        return lead
    if is_foreign(lead["arguments"]):
        return None
    return {"tool": make_tool_name(lead["capability"]), "arguments": lead["arguments"]}


def word_failure(
    error: IkomaError, request_id: str, wrapper: Wrapper | None = None, given: Collection[str] = ()
) -> CallToolResult:
    """A failure that says what to do: code, one sentence, hint and the call that leads on.

    Args:
        wrapper: marks what others wrote; a new one where nothing else of this answer was marked.
        given: texts that came with the call.
    """
    return make_failure(describe_failure(error), request_id, wrapper, given)


def make_failure(
    failure: Mapping[str, Any], request_id: str, wrapper: Wrapper | None = None, given: Collection[str] = ()
) -> CallToolResult:
    """A failure as it was told, for a model."""
    said = {**tell_failure(failure, wrapper or Wrapper(), given), "requestId": request_id}
    return CallToolResult(content=[TextContent(text=_encode_text(said))], is_error=True)


def tell_failure(failure: Mapping[str, Any], wrapper: Wrapper, given: Collection[str] = ()) -> dict[str, Any]:
    """A failure in IKOMA's own words, with what it quotes as data."""
    details = failure.get("details") or {}
    quoted = {key: value for key, value in details.items() if key not in _OURS}
    plain = failure.get("plain")
    if plain is not None:
        quoted = {"message": failure["error"], **quoted}
    said = {name: failure[name] for name in ("code", "error", "hint")} | ({"error": plain} if plain else {})
    said = {name: wrapper.mark_sentence(text, given) for name, text in said.items()}
    if failure.get("next") and (lead := make_tool_call(failure["next"])):
        said["next"] = lead
    said |= {key: wrapper.mark_value(value, key) for key, value in details.items() if key in _OURS}
    if "arguments" in details:
        said["arguments"] = [_word_argument(item, wrapper, given) for item in details["arguments"]]
    if quoted:
        said["details"] = wrapper.wrap(_encode_pretty(quoted), "what the failure quotes")
    return said


def _word_argument(item: Mapping[str, Any], wrapper: Wrapper, given: Collection[str]) -> dict[str, Any]:
    """The problem of an argument, in IKOMA's own words; its name is the caller's where nothing is called so."""
    own = {"problem": lambda text: wrapper.mark_sentence(text, given), "argument": wrapper.wrap_unless_name}
    return {name: own[name](value) if name in own else value for name, value in item.items()}


# Details that hold only our own words: names of arguments, what would be lost, tokens.
_OURS = frozenset({"arguments", "summary", "confirmation", "expiresAt", "retryAfter"})


def _encode_text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _encode_pretty(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()

"""Words IKOMA's own sentences for this door: what can be called is a tool, `deploy_up`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from ikoma.errors import IkomaError
from ikoma.kernel.answers.leading import Lists, list_all
from ikoma.kernel.registry import Capability
from ikoma.kernel.words import (
    CapabilityNames,
    Change,
    collect_texts,
    reword_details,
    reword_failure,
    reword_result,
    reword_steps,
)
from ikoma.transports.mcp.tools import make_tool_name


class Speech:
    """Words answers for a client of MCP.

    Args:
        capabilities: all that can be called.
    """

    def __init__(self, capabilities: Iterable[Capability]) -> None:
        self._capabilities = {item.name: item for item in capabilities}
        self._names = CapabilityNames(self._capabilities)

    def make_rewording(self, given: Mapping[str, Any], lists: Lists = list_all) -> Change:
        """Names tools in a sentence of the answer to a call with these arguments.

        Args:
            lists: which of them the client lists: of another it is said, once in the answer, that it can be called.
        """
        data, told = collect_texts(given), set[str]()

        def change(text: str) -> str:
            named = [name for name in dict.fromkeys(self._names.find(text, data)) if name not in told]
            unlisted = [make_tool_name(name) for name in named if not lists(self._capabilities[name])]
            worded = self._names.reword(text, _say, data)
            if not unlisted or "\n" in text:
                return worded
            told.update(named)
            return (
                f"{worded} ({_join(unlisted)} not listed here: call {'it' if len(unlisted) == 1 else 'them'} anyway.)"
            )

        return change

    def word_body(self, name: str, body: bytes, given: Mapping[str, Any], lists: Lists = list_all) -> bytes:
        """An encoded result of a capability, or the operation that its call goes on as."""
        capability = self._capabilities.get(name)
        if capability is None or not self._names.may_stand_in(body):
            return body
        return orjson.dumps(self._word_result(capability, orjson.loads(body), self.make_rewording(given, lists)))

    def word_error(self, error: IkomaError, given: Mapping[str, Any], lists: Lists = list_all) -> None:
        """An error, in place: it is this caller's own."""
        change = self.make_rewording(given, lists)
        is_plain, is_own = error.message == error.audit_message, not error.quotes
        if is_own:
            error.message = change(error.message)
        error.audit_message = error.message if is_plain else change(error.audit_message)
        error.hint = change(error.hint)
        error.details = reword_details(error.details, change)

    def _word_result(self, capability: Capability, result: Any, change: Change) -> Any:
        result = reword_result(result, [*capability.sentences, ("message",)], change)
        if capability.name == "platform.info":
            named = (self._capabilities[name] for name in result["capabilities"])
            result["capabilities"] = [item.name for item in named if not item.listing.no_tool]
        if capability.name.startswith("operations.") and isinstance(result, dict):
            result = reword_steps(result, change)
            if (came_to := self._capabilities.get(result.get("capability", ""))) and result.get("result"):
                result["result"] = self._word_result(came_to, result["result"], change)
            if result.get("failure"):
                result["failure"] = reword_failure(result["failure"], change)
        return result


def _say(capability: str, given: Mapping[str, Any]) -> str:
    return f"{make_tool_name(capability)} {orjson.dumps(given).decode()}" if given else make_tool_name(capability)


def _join(tools: Sequence[str]) -> str:
    return f"{', '.join(tools)} {'is' if len(tools) == 1 else 'are'}"

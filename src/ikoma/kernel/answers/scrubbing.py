"""Results without secrets, but for what a capability is made to show this once."""

from __future__ import annotations

import orjson

from ikoma.kernel.redaction.redaction import Scrubber
from ikoma.kernel.registry import Capability


def scrub_result(
    scrubber: Scrubber, capability: Capability, answer: bytes, app: str | None, reach: tuple[str, ...]
) -> bytes:
    """An encoded result with *** for secrets of the app, and of all apps that its reader reaches."""
    return _show_secrets(capability, answer, scrubber.scrub_json(answer, app, reach, quoting=_find_quoting(capability)))


def _find_quoting(capability: Capability) -> list[tuple[str, ...]]:
    """Places in an answer of what others alone wrote."""
    return [path for path, mark in capability.untrusted if not mark.ours]


def _show_secrets(capability: Capability, answer: bytes, scrubbed: bytes) -> bytes:
    """A scrubbed answer with what it is made to show: a secret that was made a moment ago is known as one already."""
    if scrubbed is answer or not capability.secret_results:
        return scrubbed
    shown = orjson.loads(answer)
    return orjson.dumps(
        orjson.loads(scrubbed) | {name: shown[name] for name in capability.secret_results & shown.keys()}
    )

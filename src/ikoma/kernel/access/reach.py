"""The reach of a key in words: nobody should have to know that no list of apps means all of them."""

from __future__ import annotations

from ikoma.kernel.access.caller import Caller
from ikoma.model import quote_name


def describe_reach(caller: Caller) -> str:
    """Say which apps a key reaches, and what narrows that."""
    parts = [
        ", ".join(map(quote_name, caller.apps)) or "all apps",
        f"only {', '.join(map(quote_name, caller.capabilities))}" if caller.capabilities else "",
        "reads only" if caller.read_only else "",
        "needs approval" if caller.needs_approval else "",
    ]
    return "; ".join(part for part in parts if part)

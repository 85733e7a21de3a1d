"""The calls that lead on: each that a caller is told of fits what it calls, and this caller may make it.

Where a failure is known, or a result is made, the kind of call is known too (`Next`). What it lacks it gets here, from
the call that it answers; a door has only to say it in its own words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from ikoma.errors import InvalidArguments, Next
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.redaction.places import change_at
from ikoma.kernel.registry import Capability, Registry
from ikoma.model import Role

Lists = Callable[[Capability], bool]
"""Whether a client offers a capability to whoever uses it: it is led to nothing else."""

APP = "appName"


def list_all(capability: Capability) -> bool:
    return True


class Leading:
    """Completes and chooses among the calls that are known to lead on."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def complete(self, known: Iterable[Next], made: Capability, given: Mapping[str, Any]) -> tuple[Next, ...]:
        """Calls that can be made after one that failed, with all that they need; not that very call again.

        Args:
            made: the capability that was called.
            given: its arguments. What is secret of them is not told again.
        """
        found = (self._complete_one(item, _drop_sensitive(made, given)) for item in known)
        return tuple(item for item in found if item is not None and item != Next(made.name, dict(given)))

    def choose(
        self,
        known: Iterable[Next],
        caller: Caller,
        role: Role,
        given: Mapping[str, Any] = MappingProxyType({}),
        lists: Lists = list_all,
    ) -> Next | None:
        """The first that this caller may make, and its client offers, with what it lacks of these arguments."""
        found = (self._complete_one(item, given) for item in known)
        return next((item for item in found if item is not None and self._may_make(item, caller, role, lists)), None)

    def complete_result(
        self, capability: Capability, result: Any, given: Mapping[str, Any], caller: Caller, role: Role, lists: Lists
    ) -> Any:
        """A result with each call that leads on complete, and without those that this caller cannot make."""

        def chosen(holder: Any) -> Any:
            if not isinstance(holder, dict) or "next" not in holder:
                return holder
            known = [Next(**holder["next"])] if holder["next"] else []
            found = self.choose(known, caller, role, _drop_sensitive(capability, given), lists)
            rest = {name: value for name, value in holder.items() if name != "next"}
            return rest if found is None else rest | {"next": dump_next(found)}

        for path in capability.leads:
            result = change_at(result, path[:-1], chosen)
        return result

    def _complete_one(self, item: Next, given: Mapping[str, Any]) -> Next | None:
        if item.capability not in self._registry:
            return None
        capability = self._registry.get(item.capability)
        more = {
            name: given[name]
            for name, needed in capability.arguments.items()
            if (needed or name == APP) and name not in item.arguments and given.get(name) is not None
        }
        arguments = {**more, **item.arguments}
        try:
            capability.parse(arguments)
        except InvalidArguments:
            return None
        return Next(item.capability, arguments)

    def _may_make(self, item: Next, caller: Caller, role: Role, lists: Lists) -> bool:
        capability, app = self._registry.get(item.capability), item.arguments.get(APP)
        return lists(capability) and may_call(capability, caller, role) and (app is None or caller.reaches(app))


def may_call(capability: Capability, caller: Caller, role: Role) -> bool:
    """Whether a caller may call a capability at all; not yet, whether on every app."""
    return role >= capability.role and caller.reaches_capability(capability)


def list_callable(registry: Registry, caller: Caller, role: Role) -> tuple[str, ...]:
    """The names of all that a caller may call."""
    return _list_callable(registry, len(registry), caller, role)


@lru_cache(maxsize=256)
def _list_callable(registry: Registry, size: int, caller: Caller, role: Role) -> tuple[str, ...]:
    """The names, found out once for a caller as it is: many ask again and again. Registries only grow."""
    return tuple(item.name for item in registry if may_call(item, caller, role))


def _drop_sensitive(made: Capability, given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in made.sensitive}


def dump_next(item: Next) -> dict[str, Any]:
    """The form in which records keep it, and HTTP tells it."""
    return {"capability": item.capability, "arguments": dict(item.arguments)}

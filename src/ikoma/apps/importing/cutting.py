"""Leaves out of compose files what no app may have here, and what only one of two projects can have.

The smallest change is made: a key, or an item of a list. What would take data away, such as a folder outside the
project, is left to a person.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ikoma.app_folder import App
from ikoma.apps.adapting.editor import ComposeText
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.policy.rules import RULES
from ikoma.apps.resolution.resolver import Resolution, Resolutions
from ikoma.apps.validation.engine_facts import find_engine_facts
from ikoma.apps.yaml.violation import Place, Violation
from ikoma.compose.model import ComposeModel
from ikoma.errors import NotAdaptable
from ikoma.ports.runtime import Engine

_WHOLE = frozenset(
    (
        *("privileged", "capabilities", "devices", "gpus", "host-namespace", "foreign-namespace", "security-options"),
        *("sysctls", "runtime", "cgroup-parent", "docker-socket", "foreign-name", "bind-propagation", "hooks"),
        *("low-port", "platform-port", "host-interface", "reserved-label"),
    )
)
"""Rules of what is left out as it stands."""
_NAMED = frozenset(("foreign-volume", "foreign-network"))
"""Rules of what is the project's own once it has no name of its own."""
_MOST_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Cut:
    """One entry that is left out, and why."""

    place: Place
    why: str


@dataclass(slots=True)
class CutFiles:
    """Compose files as they would be: path → text."""

    texts: dict[str, str]
    changes: list[str] = field(default_factory=list)

    @property
    def contents(self) -> Mapping[str, bytes]:
        return {name: text.encode() for name, text in self.texts.items()}


class Cutter:
    """Changes the compose files of apps, in memory."""

    def __init__(self, engine: Engine, policy: Policy, resolutions: Resolutions) -> None:
        self._engine = engine
        self._policy = policy
        self._resolutions = resolutions

    async def cut(self, app: App, files: CutFiles) -> None:
        """Leave out what is refused here, or taken by another, until there is none that can be left out."""
        for _ in range(_MOST_ROUNDS):
            resolution = await self._resolutions.resolve(app, files.contents)
            if not _leave_out(files, resolution, await self._find(app, resolution)):
                return

    async def cut_ports(self, app: App, files: CutFiles, held: frozenset[int]) -> list[str]:
        """Leave out the ports that the old project has while it runs; which."""
        found: list[str] = []
        for _ in range(_MOST_ROUNDS):
            resolution = await self._resolutions.resolve(app, files.contents)
            if resolution.model is None:
                return found
            taken = await self._engine.runtime.find_taken_ports(app.name, resolution.model, self._policy.is_platform)
            cuts = {
                ("services", item.service, "ports", item.index): item.port
                for item in taken
                if int(item.port.partition("/")[0]) in held
            }
            if not _leave_out(files, resolution, [Cut(place, "") for place in cuts]):
                return found
            found += [port for port in cuts.values() if port not in found]
        return found

    async def _find(self, app: App, resolution: Resolution) -> list[Cut]:
        found = [*list_policy_cuts(resolution.violations)]
        if (model := resolution.model) is None:
            return found
        found += list_policy_cuts(
            (await self._policy.judge(app, model, await find_engine_facts(self._engine, app))).refused
        )
        for name in await self._engine.runtime.find_taken_names(app.name, model):
            if name.key is not None:
                found.append(Cut(("services", name.service, name.key), f"The old one keeps the name {name.name}."))
        if (await self._engine.volumes.compare(app, model)).overlaps:
            found += list_overlaps(model)
        return found


def _leave_out(files: CutFiles, resolution: Resolution, cuts: list[Cut]) -> bool:
    """Leave out one entry of each list or mapping at most, since those behind it get other numbers then.

    Items of lists come first, from the last line up: they are found by their lines, which an entry above would move.
    """
    touched: set[Place] = set()
    done: list[Cut] = []
    for cut in sorted(cuts, key=lambda cut: _find_line(resolution, cut.place), reverse=True):
        if cut.place[:-1] not in touched and _leave_out_one(files, resolution, cut.place):
            touched.add(cut.place[:-1])
            done.append(cut)
    files.changes += [
        f"{'.'.join(map(str, cut.place))} is left out. {cut.why}" for cut in cuts if cut in done and cut.why
    ]
    return bool(done)


def _find_line(resolution: Resolution, place: Place) -> int:
    """The line of an item of a list, from 1; 0 of what is found by its key."""
    return (resolution.source.locate(*place)[1] or 0) if isinstance(place[-1], int) else 0


def _leave_out_one(files: CutFiles, resolution: Resolution, place: Place) -> bool:
    if isinstance(place[-1], int):
        name, line = resolution.source.locate(*place)
        return _edit(files, name, place, line)
    edited = [_edit(files, name, where, None) for name, where in [*resolution.source.find_places_of(place)]]
    return any(edited)


def _edit(files: CutFiles, name: str, place: Place, line: int | None) -> bool:
    if name not in files.texts:
        return False
    try:
        text = ComposeText(name, files.texts[name])
        if not text.leave_out(place, line):
            return False
    except NotAdaptable:  # it is said as a finding, and a person does it
        return False
    files.texts[name] = text.text
    return True


def list_policy_cuts(violations: tuple[Violation, ...]) -> Iterator[Cut]:
    """List what can be left out of what the policy refuses."""
    for item in violations:
        why = f"{item.what} {item.danger or RULES[item.rule].danger}"
        if item.rule in _WHOLE and item.place:
            yield Cut(item.place, why)
        elif item.rule in _NAMED:
            yield Cut((*item.place, "external"), why)
            yield Cut((*item.place, "name"), why)


def list_overlaps(model: ComposeModel) -> Iterator[Cut]:
    """List the addresses that networks choose: the old project has them."""
    for key, network in model.networks.items():
        if (network.get("ipam") or {}).get("config"):
            yield Cut(("networks", key, "ipam"), "The engine finds a subnet that is free.")

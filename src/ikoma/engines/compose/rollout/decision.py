"""Decides which containers of an app a rollout keeps, which it replaces, and which of those make room first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ikoma.app_folder import App
from ikoma.compose.exclusive_resources import find_preempted
from ikoma.compose.model import EMPTY, ComposeModel
from ikoma.compose.mounts import Sources
from ikoma.compose.services import sort_by_need
from ikoma.compose.single import explain_alone
from ikoma.compose.x_ikoma import ROLLING, Extension
from ikoma.engines.docker.containers import Container
from ikoma.ports.replicas import Replica
from ikoma.ports.rollout import RolloutPlan

_MOST_ROLLOUTS = 3
"""Limit of earlier rollouts with kept containers: each has networks of its own, and Docker has addresses for few."""


@dataclass(frozen=True, slots=True)
class ServiceDecision:
    """The choice of a rollout for one service."""

    service: str
    kept: tuple[Container, ...] = ()
    replaced: tuple[Container, ...] = ()
    new: int = 0
    """How many containers are made."""
    alone: str | None = None
    """Why old and new containers cannot run at once; None where they can."""
    displaces: Mapping[str, str] = field(default_factory=dict)
    """Other services that stop before it starts, each with what it gives up to this one."""
    first: tuple[Container, ...] = ()
    """Containers that are stopped before the new ones start."""
    outdated: bool = False
    """Whether it is replaced only so that networks of an old rollout can go."""

    @property
    def changes(self) -> bool:
        return bool(self.new or self.replaced)


@dataclass(frozen=True, slots=True)
class RolloutFacts:
    """All that a decision depends on: what is to run, and what there is."""

    app: App
    model: ComposeModel
    extension: Extension
    sources: Sources
    configurations: Mapping[str, str]
    scale: Mapping[str, int]
    before: ComposeModel = EMPTY
    """The model of what serves; empty where nothing does."""
    keeping: frozenset[str] = frozenset()
    """Ids of containers with data in volumes without a name."""
    again: bool = False
    stops_first: bool = False
    """Whether nothing that serves runs on while the new containers start."""
    leaving: frozenset[str] = frozenset()
    """Rollouts that no container is kept of."""


def decide(facts: RolloutFacts, there: Sequence[Container]) -> list[ServiceDecision]:
    """For each service, in the order in which they need each other, what becomes of it; then the ones that go."""
    decisions = _decide_services(facts, there)
    leaving = _find_leaving(facts, decisions) if any(item.new for item in decisions) else frozenset[str]()
    return _decide_services(replace(facts, leaving=leaving), there) if leaving else decisions


def _find_leaving(facts: RolloutFacts, decisions: Sequence[ServiceDecision]) -> frozenset[str]:
    """The earlier rollouts that are too many: the oldest ones, those first whose containers need not stop for it."""
    stops: dict[str, bool] = {}
    for decision in decisions:
        alone = bool(decision.kept and _explain_alone(facts, decision.service, decision.kept))
        for rollout in {item.rollout for item in decision.kept if item.rollout}:
            stops[rollout] = stops.get(rollout, False) or alone
    too_many = max(0, len(stops) - _MOST_ROLLOUTS)
    return frozenset(sorted(stops, key=lambda rollout: (stops[rollout], rollout))[:too_many])


def _decide_services(facts: RolloutFacts, there: Sequence[Container]) -> list[ServiceDecision]:
    services = facts.model.services
    one_shot = facts.model.one_shot
    found: dict[str, ServiceDecision] = {}
    for name in sort_by_need(services):
        containers = [item for item in there if item.service == name]
        shared = services[name].shares_with
        again = facts.again or name in one_shot or bool(shared and shared in found and found[shared].new)
        fitting = [] if again else [item for item in containers if _is_as(item, facts.configurations[name])]
        kept = [item for item in fitting if item.rollout not in facts.leaving][: _count(facts, name)]
        replaced = [item for item in containers if item not in kept]
        new = _count(facts, name) - len(kept)
        alone = _explain_alone(facts, name, replaced) if new and any(item.is_active for item in replaced) else None
        outdated = bool(new) and any(item.rollout in facts.leaving for item in fitting)
        found[name] = ServiceDecision(name, tuple(kept), tuple(replaced), new, alone, outdated=outdated)
    gone = {item.service for item in there} - set(services)
    removed = [
        ServiceDecision(name, replaced=tuple(item for item in there if item.service == name)) for name in sorted(gone)
    ]
    going = [item for decision in (*found.values(), *removed) for item in decision.replaced if item.is_active]
    return [*(_add_room(facts, decision, going) for decision in found.values()), *removed]


def _explain_alone(facts: RolloutFacts, name: str, replaced: Sequence[Container]) -> str | None:
    strategy = facts.extension.find_strategy(name)
    if reason := explain_alone(facts.app, facts.model, name, facts.sources, strategy, facts.before):
        return reason
    if strategy != ROLLING and any(item.id in facts.keeping for item in replaced):
        return "it keeps data in a volume without a name"
    return None


def _add_room(facts: RolloutFacts, decision: ServiceDecision, going: Sequence[Container]) -> ServiceDecision:
    """The decision with what must stop before its new containers start."""
    if not decision.new:
        return decision
    strategy = facts.extension.find_strategy(decision.service)
    others = find_preempted(facts.app, facts.before, facts.model, decision.service, facts.sources, strategy)
    there = {item.service for item in going}
    others = {name: what for name, what in others.items() if name in there}
    own = {decision.service} if decision.alone or facts.stops_first else set()
    first = tuple(item for item in going if item.service in {*own, *others})
    return replace(decision, displaces=others, first=first)


def _is_as(container: Container, configuration: str) -> bool:
    fine = container.state == "running" and container.health != "unhealthy"
    return fine and container.configuration == configuration


def _count(facts: RolloutFacts, name: str) -> int:
    return facts.scale.get(name, facts.model.services[name].scale)


def list_decisions(plan: RolloutPlan, there: Sequence[Container]) -> list[ServiceDecision]:
    """The decisions of a plan about the containers that are there."""
    known = {item.id: item for item in there}
    return [
        ServiceDecision(
            service=item.service,
            kept=_select(item.keep, known),
            replaced=_select(item.replace, known),
            new=item.start,
            alone=item.alone,
            displaces=item.displaces,
            first=_select(item.stop_first, known),
            outdated=item.outdated,
        )
        for item in plan.services
    ]


def _select(replicas: Sequence[Replica], known: Mapping[str, Container]) -> tuple[Container, ...]:
    return tuple(known[item.id] for item in replicas if item.id in known)

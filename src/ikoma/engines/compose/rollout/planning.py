"""Makes the plan of a rollout: plain data, which any engine could carry out."""

from __future__ import annotations

from collections.abc import Sequence

from ikoma.app_folder import App
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.replicas import make_replicas
from ikoma.engines.compose.rollout import anonymous_volumes
from ikoma.engines.compose.rollout.decision import RolloutFacts, decide
from ikoma.engines.compose.rollout.standby import is_whole
from ikoma.engines.docker.containers import AnonymousVolume, Container
from ikoma.ports.rollout import RolloutPlan, RolloutTarget, ServiceRollout
from ikoma.rollout_state import RolloutState


async def make_plan(engine: ComposeEngine, app: App, target: RolloutTarget, *, anew: bool = False) -> RolloutPlan:
    """Plan a rollout of the target beside what serves now.

    Args:
        anew: make containers anew also where those in standby would do.
    """
    everyone = await engine.list_containers(app.name)
    view = RolloutState(app).read_view()
    there = [item for item in everyone if view.serves(item)]
    anonymous = await find_anonymous_volumes(engine, app, target, everyone)
    facts = RolloutFacts(
        app=app,
        model=target.model,
        extension=target.extension,
        sources=target.parts.sources,
        configurations=target.parts.configurations,
        scale=target.scale,
        before=target.before,
        keeping=frozenset(item.id for item in there if item.service in anonymous),
        again=target.again or target.stops_first,
        stops_first=target.stops_first,
    )
    standby = view.standby
    returns = standby is not None and standby.release == target.release and not (target.again or target.stops_first)
    return RolloutPlan(
        target.release,
        plan_services(facts, there),
        stops_first=target.stops_first,
        command=target.command,
        reactivates=not anew and returns and standby is not None and is_whole(standby, target, everyone),
    )


def plan_services(facts: RolloutFacts, there: Sequence[Container]) -> tuple[ServiceRollout, ...]:
    """Plan what becomes of each service, in words that any engine can pass."""
    return tuple(
        ServiceRollout(
            service=decision.service,
            keep=make_replicas(decision.kept),
            replace=make_replicas(decision.replaced),
            start=decision.new,
            stop_first=make_replicas(decision.first),
            run_once=decision.service in facts.model.one_shot,
            alone=decision.alone,
            displaces=decision.displaces,
            outdated=decision.outdated,
        )
        for decision in decide(facts, there)
    )


async def find_anonymous_volumes(
    engine: ComposeEngine, app: App, target: RolloutTarget, containers: Sequence[Container]
) -> dict[str, Sequence[AnonymousVolume]]:
    """Find each service's volumes without a name: the last container's that serves, else those it had."""
    standby = RolloutState(app).read_standby()
    resting = standby.containers if standby else ()
    ordered = sorted(containers, key=lambda item: item.id not in resting)  # the last one counts
    gone = sorted(set(target.model.services) - {item.service for item in containers})
    return {
        **await anonymous_volumes.find_last(engine, app, gone),
        **await anonymous_volumes.map_held(engine, ordered),
    }

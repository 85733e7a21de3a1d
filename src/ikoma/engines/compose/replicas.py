"""Containers as others are told of them: replicas, each with its part in the app."""

from __future__ import annotations

from collections.abc import Iterable

from ikoma.engines.docker.containers import Container
from ikoma.ports.replicas import Replica, ReplicaPart
from ikoma.rollout_state import RolloutView

_NO_ROLLOUT = RolloutView(None, None, None)


def make_replica(container: Container, view: RolloutView = _NO_ROLLOUT) -> Replica:
    """Make the replica that a container is.

    Args:
        view: the records of the app's rollouts, read after its containers were listed.
    """
    return Replica(
        id=container.id,
        name=container.name,
        service=container.service,
        state=container.state,
        health=container.health,
        exit_code=container.exit_code,
        image=container.image,
        created_at=container.created_at,
        folder=container.working_dir,
        host=container.addresses[0] if container.addresses else None,
        published=container.published,
        part=_find_part(container, view),
        one_shot=container.one_shot,
        is_job=container.is_job,
        configuration=container.configuration,
        release=container.release,
        releases=tuple(sorted(view.list_releases_of(container))),
        started_again=container.started_again,
    )


def make_replicas(containers: Iterable[Container], view: RolloutView = _NO_ROLLOUT) -> tuple[Replica, ...]:
    return tuple(make_replica(item, view) for item in containers)


def _find_part(container: Container, view: RolloutView) -> ReplicaPart:
    if view.find_starting(container) is not None:
        return ReplicaPart.STARTING
    if view.serves(container):
        return ReplicaPart.SERVES
    is_kept = view.standby is not None and container.id in view.standby.containers
    return ReplicaPart.STANDBY if is_kept else ReplicaPart.LEAVING

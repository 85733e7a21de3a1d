"""Containers as the engine shows them, and replicas as others are told of them."""

from __future__ import annotations

from typing import Any

from ikoma.engines.docker.containers import Container
from ikoma.ports.replicas import AppState, Replica
from ikoma.rollout_state import RolloutView

_RUNS = {
    "state": "running",
    "health": "healthy",
    "exit_code": None,
    "image": "busybox",
    "created_at": "2025-01-01T00:00:00Z",
}


def container(identity: str, service: str = "web", **more: Any) -> Container:
    """One that runs and is healthy, unless more is said."""
    fields = {"name": f"shop-{identity}", "working_dir": "/srv/apps/shop", **_RUNS}
    return Container(id=identity, service=service, **(fields | more))


def replica(identity: str, service: str = "web", **more: Any) -> Replica:
    """One that runs and is healthy, unless more is said."""
    fields = {"name": f"shop-{identity}", "folder": "/srv/apps/shop", **_RUNS}
    return Replica(id=identity, service=service, **(fields | more))


def app_state(*replicas: Replica, view: RolloutView | None = None) -> AppState:
    return AppState(replicas, view or RolloutView(None, None, None))

"""Containers as the engine would show them."""

from __future__ import annotations

from typing import Any

from ikoma.ports.engine import Container


def container(identity: str, service: str = "web", **more: Any) -> Container:
    """One that runs and is healthy, unless more is said."""
    fields = {
        "name": f"shop-{identity}",
        "state": "running",
        "health": "healthy",
        "exit_code": None,
        "image": "busybox",
        "created_at": "2025-01-01T00:00:00Z",
        "working_dir": "/srv/apps/shop",
    }
    return Container(id=identity, service=service, **(fields | more))

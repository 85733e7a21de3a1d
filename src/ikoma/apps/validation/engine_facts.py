"""Asks the engine for the facts that the policy judges one app's model by."""

from __future__ import annotations

from collections.abc import Mapping

from ikoma.app_folder import App
from ikoma.apps.policy.enforcement import list_written
from ikoma.ports.engine_facts import EngineFacts
from ikoma.ports.runtime import Engine


async def find_engine_facts(engine: Engine, app: App, owners: Mapping[str, str] | None = None) -> EngineFacts:
    """Find what an app's model is judged by.

    Args:
        owners: what volumes and networks belong to, where a caller has just asked.
    """
    owners = await engine.volumes.map_owners() if owners is None else owners
    # Only where something of the app can be written its replicas count.
    has_replicas = bool(list_written(app)) and bool((await engine.runtime.observe(app)).replicas)
    return EngineFacts(await engine.runtime.read_traits(), owners, has_replicas=has_replicas)

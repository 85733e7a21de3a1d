"""Commands that start the old project again, and that remove it for good."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ikoma.app_folder import App
from ikoma.apps.importing.plan import ImportPlan


def list_start_commands(app: App, plan: ImportPlan) -> list[str]:
    """List the commands that take the new app out of service and start the old containers again."""
    names = [item.name for item in plan.stopped]
    commands = [f"ikoma down {app.name}"]
    for policy in dict.fromkeys(item.restart for item in plan.stopped if item.restart != "no"):
        of_policy = [item.name for item in plan.stopped if item.restart == policy]
        commands.append(_join("docker", "update", f"--restart={policy}", *of_policy))
    return [*commands, _join("docker", "start", *names)] if names else []


def list_removal_commands(plan: ImportPlan, volumes: Sequence[str], networks: Sequence[str]) -> list[str]:
    """List the commands that remove what is left of the old project."""
    commands = []
    if names := [item.name for item in plan.project.containers]:
        commands.append(_join("docker", "rm", *names))
    if volumes:
        commands.append(_join("docker", "volume", "rm", *volumes))
    if networks:
        commands.append(_join("docker", "network", "rm", *networks))
    return [*commands, _join("rm", "-r", plan.project.folder)]


def _join(*words: str) -> str:
    return shlex.join(words)

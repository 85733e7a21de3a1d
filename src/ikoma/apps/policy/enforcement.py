"""The policy as it holds on this server, for one app, now: violations less what an admin has waived."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.apps.host_facts import HostFacts
from ikoma.apps.policy import model as policy
from ikoma.apps.policy.addresses import list_server_networks
from ikoma.apps.policy.rules import RULES, word_fix, word_problem
from ikoma.apps.policy.storage import find_swapped, list_writable_sources
from ikoma.apps.policy.waivers import Waiver, Waivers
from ikoma.apps.releases.release import Releases
from ikoma.apps.yaml.reading import read_paths
from ikoma.apps.yaml.violation import Violation
from ikoma.compose.model import ComposeModel
from ikoma.compose.paths import locate
from ikoma.errors import PolicyViolation
from ikoma.ports.engine_facts import EngineFacts

_USUAL = (
    *(Path("/var/lib", name) for name in ("docker", "containerd", "postgresql")),
    *(Path("/run", name) for name in ("docker", "docker.sock", "containerd")),
)
"""Where engines and PostgreSQL keep what is theirs, whichever of them runs."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The violations that are refused, and the waivers that let something pass."""

    refused: tuple[Violation, ...]
    used: tuple[Waiver, ...] = ()


class Policy:
    """Judges compose files.

    Args:
        platform_ports: host ports that the platform itself uses → what uses them.
        registries: globs of the registries that images may come from.
        pinned: whether images must name their digest.
        folders: files and folders of the platform itself, besides the engine's.
        hosts: what else the server needs, such as a PostgreSQL elsewhere: no network of an app takes their addresses.
    """

    def __init__(
        self,
        apps: Apps,
        waivers: Waivers,
        *,
        platform_ports: Mapping[int, str],
        registries: tuple[str, ...] = ("*",),
        pinned: bool = False,
        folders: Sequence[Path] = (),
        hosts: tuple[str, ...] = (),
    ) -> None:
        self._apps = apps
        self._waivers = waivers
        self._platform_ports = platform_ports
        self._registries = registries
        self._pinned = pinned
        self._folders = (apps.root, *folders, *_USUAL)
        self._hosts = hosts

    async def judge(self, app: App, model: ComposeModel, facts: EngineFacts) -> Verdict:
        """Find what a resolved compose file does that it must not."""
        found = await asyncio.to_thread(lambda: policy.check(model, self._find_facts(app, facts)))
        return self.leave_out_waived(app, found)

    async def require(self, app: App, model: ComposeModel, facts: EngineFacts, *, judged: str | None = None) -> None:
        """Raises PolicyViolation where a resolved compose file is not allowed.

        Args:
            judged: how the refusal begins; by default that what was deployed some time ago is no longer allowed.
        """
        refused = (await self.judge(app, model, facts)).refused
        if refused:
            raise PolicyViolation(
                f"{judged or 'What was deployed is not allowed now'}: {word_problem(refused[0])}",
                hint=word_fix(refused[0]),
                audit_message=f"Policy: {', '.join(sorted({item.rule for item in refused}))}.",
                rules=sorted({item.rule for item in refused}),
            )

    async def require_fixed(self, app: App, model: ComposeModel, facts: EngineFacts) -> None:
        """Raises PolicyViolation where a container could change what another one is about to mount.

        Args:
            model: what containers are made of, with their mounts as they are made.
        """
        for violation in await asyncio.to_thread(lambda: list(find_swapped(model, self._find_facts(app, facts)))):
            raise PolicyViolation(word_problem(violation), hint=word_fix(violation), rules=[violation.rule])

    def leave_out_waived(self, app: App, violations: Iterable[Violation]) -> Verdict:
        """The violations without those of rules that are waived for this app."""
        waived = {waiver.rule: waiver for waiver in self._waivers.list_live(app.name) if RULES[waiver.rule].waivable}
        found = tuple(violations)
        passed = [item for item in found if item.waivable and item.rule in waived]
        used = {waived[item.rule].id: waived[item.rule] for item in passed}
        return Verdict(tuple(item for item in found if item not in passed), tuple(used.values()))

    def is_platform(self, port: int) -> bool:
        """Whether the platform itself uses this host port."""
        return port in self._platform_ports

    def list_waived_rules(self, app: App) -> frozenset[str]:
        """The rules that are waived for an app now."""
        return frozenset(waiver.rule for waiver in self._waivers.list_live(app.name))

    def list_waivers(self, app: App) -> Sequence[Waiver]:
        """List the waivers that hold for this app now, used or not."""
        return self._waivers.list_live(app.name)

    def _find_facts(self, app: App, facts: EngineFacts) -> HostFacts:
        """Add what this machine and the app's files say to what the engine has said."""
        written = list_written(app) if facts.has_replicas else ()
        return HostFacts(
            app=app,
            other_apps=frozenset(str(name) for name in self._apps.list_names() if name != app.name),
            platform_ports=self._platform_ports,
            registries=self._registries,
            pinned=self._pinned,
            writable=tuple(sorted({locate(source).path for source in written})),
            owners=facts.owners,
            find_neighbours=cache(partial(list_server_networks, hosts=self._hosts)),
            platform=_resolve_links((*self._folders, *facts.traits.folders)),
            find_files=cache(partial(read_paths, app)),
            engine=facts.traits,
        )


def _resolve_links(paths: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(locate(str(path.absolute())).path for path in paths)


def list_written(app: App) -> tuple[str, ...]:
    """List sources that containers that may be running can write: those of the release that serves, and the latest."""
    releases = Releases(app)
    found: dict[str, None] = {}
    for release in releases.list_recent():
        if (rendered := releases.read_rendered(release.id)) is not None:
            found |= dict.fromkeys(list_writable_sources(rendered))
    return tuple(found)

"""Can this app be deployed as it stands? Every problem with its file, its line where known, and its fix.

The real Compose parser decides what the files mean; what is checked here beyond it is what would fail, or harm,
at the deploy: images and build contexts, undefined variables, ports, volumes outside the folder, disk space.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress

from ikoma.app_folder import App
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.resolution.data_or_source import list_kinds
from ikoma.apps.resolution.resolver import Resolution, Resolutions
from ikoma.apps.resolution.routed_service import Settled, WebServices
from ikoma.apps.resolution.unsupported_features import Obstacle, find_unsupported
from ikoma.apps.routing.routes import Routes
from ikoma.apps.validation.builds import find_builds
from ikoma.apps.validation.compose_errors import find_compose_error
from ikoma.apps.validation.disk.folders import find_left_out
from ikoma.apps.validation.disk.missing_files import find_empty_mounts, find_missing_files
from ikoma.apps.validation.disk.owners import find_unwritable
from ikoma.apps.validation.disk.space import look_at_disks
from ikoma.apps.validation.engine_facts import find_engine_facts
from ikoma.apps.validation.finding import Finding, Report
from ikoma.apps.validation.images import find_missing_images
from ikoma.apps.validation.migrations import find_migrations
from ikoma.apps.validation.moved_data import find_left_behind
from ikoma.apps.validation.policy_findings import find_notice, find_violations, find_waiver
from ikoma.apps.validation.port_conflicts import find_conflicts
from ikoma.apps.validation.scaled import find_scaled
from ikoma.apps.validation.starts import find_starts
from ikoma.apps.validation.variables import find_blank, find_database_variables, find_faults, find_missing_names
from ikoma.apps.validation.web import find_own_proxies, find_routing, find_web
from ikoma.apps.yaml.lines import Source
from ikoma.compose.dockerfiles import inline_dockerfiles
from ikoma.compose.model import EMPTY, ComposeModel
from ikoma.compose.web_service import Choice
from ikoma.errors import IkomaError, InvalidCompose
from ikoma.model import quote_name
from ikoma.ports.databases import Databases
from ikoma.ports.runtime import Engine

_YAML = (".yml", ".yaml")


class Validator:
    """Examines apps."""

    def __init__(
        self,
        engine: Engine,
        databases: Databases,
        policy: Policy,
        traffic: Routes,
        resolutions: Resolutions,
        web_services: WebServices,
    ) -> None:
        self._engine = engine
        self._databases = databases
        self._traffic = traffic
        self._resolutions = resolutions
        self._policy = policy
        self._web_services = web_services

    async def examine(self, app: App, *, images: bool = True, contents: Mapping[str, bytes] | None = None) -> Report:
        """Look at everything.

        Args:
            contents: what files hold that are not to be read from the disk.
            images: also ask registries for images that are not on this machine; a deploy finds that out itself.
        """
        resolution = await self._resolutions.resolve(app, contents)
        source, model, written = resolution.source, resolution.model, resolution.variables.values
        blank, doubtful = await asyncio.to_thread(find_blank, resolution)
        report = Report(
            model=model, variables=written, texts=source.texts, waivers=list(self._policy.list_waivers(app))
        )
        report.errors += find_faults([*resolution.faults, *(doubt for doubt in resolution.doubts if doubt.grave)])
        if model is not None:
            report.errors += blank  # before what comes of them in the same line
            settled = await self._look_at(app, report, source, model, images=images)
            report.model, report.choice = settled.model, settled.choice
            report.warnings += find_routing(source, settled)
        elif resolution.faults:  # Compose would quote values, and say nothing else
            refused = self._policy.leave_out_waived(app, resolution.violations).refused
            report.errors += find_violations(source, refused)
        else:
            report.errors += blank
            await self._look_at_remainder(app, report, resolution, images=images)
        report.migrations, report.sql = await find_migrations(self._databases, app)
        report.errors += report.sql
        report.errors.sort(key=lambda finding: (finding.file, finding.line is None, finding.line or 0))
        look_at_disks(await self._engine.runtime.read_traits(), app, report)
        report.warnings += [find_notice(source, notice) for notice in resolution.notices]
        report.warnings += [*doubtful, *find_faults([doubt for doubt in resolution.doubts if not doubt.grave])]
        if not resolution.faults:
            report.warnings += find_missing_names(app, written)
        with suppress(InvalidCompose):  # said already
            report.kinds = await asyncio.to_thread(list_kinds, app, model or EMPTY)
        if not report.errors and model is not None:
            report.warnings += await asyncio.to_thread(find_left_out, app, source, model)
            report.warnings += find_scaled(app, source, model)
            report.warnings += await asyncio.to_thread(find_starts, app, model)
        whole = await asyncio.to_thread(inline_dockerfiles, app, model or EMPTY)
        report.warnings += find_database_variables(app, source, whole, written, self._databases)
        return report

    async def _look_at(self, app: App, report: Report, source: Source, model: ComposeModel, *, images: bool) -> Settled:
        """Report what is wrong with a resolved model; what of it is routed."""
        settled = await self._web_services.settle(app, model)
        report.own_proxies = settled.own_proxies
        existing = await self._engine.volumes.compare(app, model)
        facts = await find_engine_facts(self._engine, app, existing.owners)
        verdict = await self._policy.judge(app, model, facts)
        shown = (settled.add_fix(violation) for violation in verdict.refused if not settled.hides(violation))
        report.errors += find_violations(source, shown)
        report.warnings += [find_waiver(source, waiver) for waiver in verdict.used]
        report.errors += find_own_proxies(source, settled)
        report.errors += find_web(source, model)
        report.taken += self._find_taken_domains(app, source, model)
        report.errors += report.taken
        rest = settled.leave_out_unused(model)
        report.errors += find_builds(app, source, rest)
        report.errors += await asyncio.to_thread(lambda: list(find_missing_files(app, source, rest)))
        report.warnings += await asyncio.to_thread(lambda: list(find_empty_mounts(app, source, rest)))
        report.errors += [
            Finding(*source.locate(*item.place), item.problem, item.fix)
            for item in (*find_unsupported(settled.model), *await self.find_conflicts(app, model))
            if not settled.leaves_out(item.place)
        ]
        report.warnings += await find_unwritable(self._engine.images, app, source, rest, existing.volumes)
        report.warnings += await asyncio.to_thread(find_left_behind, app, source, model, existing, facts.traits)
        for other in existing.differences:
            found = Finding(*source.locate(f"{other.kind}s", other.key), other.problem, other.fix)
            (report.errors if other.matters else report.warnings).append(found)
        for overlap in existing.overlaps:
            problem = (
                f"The network {overlap.key} chooses {overlap.subnet}, and the network {overlap.name} has addresses"
            )
            fix = "Leave `ipam` out, and the engine finds a free subnet; or choose another."
            fix += " That one is the app's own: after deploy.down it is free." if overlap.is_own else ""
            report.errors.append(Finding(*source.locate("networks", overlap.key), problem, fix))
        if images:
            missing, unknown = await find_missing_images(self._engine.images, source, rest)
            report.errors += missing
            report.warnings += unknown
        return settled

    async def _look_at_remainder(self, app: App, report: Report, resolution: Resolution, *, images: bool) -> None:
        """Report what is wrong with files that are refused while they are read, and with the rest of them."""
        found = await self._resolutions.find_remainder(app, resolution)
        refused = self._policy.leave_out_waived(app, found.violations).refused
        report.errors += find_violations(resolution.source, refused)
        report.errors += [find_compose_error(refusal, app.path) for refusal in found.refusals]
        if found.model is None:
            return
        model = found.model
        if not found.is_whole:  # what the block names may have gone with it
            model = model.drop_block()
        await self._look_at(app, report, found.source, model, images=images)

    async def resolve_model(self, app: App) -> ComposeModel:
        """The app's resolved model as its files are now, Dockerfiles a part of it; an empty one where there is none."""
        try:
            model = (await self._resolutions.resolve(app)).model
        except IkomaError:
            return EMPTY
        return EMPTY if model is None else await asyncio.to_thread(inline_dockerfiles, app, model)

    async def read_texts(self, app: App, contents: Mapping[str, bytes] | None = None) -> Mapping[str, str]:
        """The app's compose files as they are written: path → text, the one that the others are merged over first."""
        source = (await self._resolutions.resolve(app, contents)).source
        return {name: text for name, text in source.texts.items() if name.endswith(_YAML)}

    async def choose_routing(self, app: App) -> Choice | None:
        """Tell what the app's files as they are now would have routed; None where that cannot be told."""
        model = (await self._resolutions.resolve(app)).model
        return None if model is None else (await self._web_services.settle(app, model)).choice

    async def find_conflicts(self, app: App, model: ComposeModel) -> list[Obstacle]:
        """Find what a resolved model wants of this machine and another has."""
        return await find_conflicts(app.name, model, self._engine.runtime, self._policy.is_platform)

    def list_taken_domains(self, app: App, model: ComposeModel) -> list[str]:
        """Domains of a model's x-ikoma block that another app has."""
        return self._traffic.list_taken(app, (*model.x_ikoma.domains, *model.x_ikoma.redirects))

    def _find_taken_domains(self, app: App, source: Source, model: ComposeModel) -> Iterator[Finding]:
        try:
            domains = self.list_taken_domains(app, model)
        except InvalidCompose:
            return  # said already
        for domain in domains:
            fix = "Choose another, or take it from that app first: domain.remove, or its compose file."
            yield Finding(*source.locate_text(domain), f"The domain {quote_name(domain)} belongs to another app.", fix)

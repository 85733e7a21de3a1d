"""Can this app be deployed as it stands? Every problem with its file, its line where known, and its fix.

The real Compose parser decides what the files mean; what is checked here beyond it is what would fail, or harm,
at the deploy: images and build contexts, undefined variables, ports, volumes outside the folder, disk space.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ikoma.apps import compose_file, credentials, environment, extension, sql_files
from ikoma.apps.compose_file import Source
from ikoma.apps.existing import differences
from ikoma.apps.folder import App
from ikoma.apps.impossible import Impossible, can_be, impossible
from ikoma.apps.mounts import sources
from ikoma.apps.occupied import occupied
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.policy.rules import Violation
from ikoma.apps.policy.waivers import Waiver
from ikoma.apps.resolution import Resolutions
from ikoma.apps.scale import scale_of_app, too_many
from ikoma.apps.traffic import Traffic
from ikoma.errors import DomainTaken, IkomaError, InvalidCompose, PolicyViolation
from ikoma.ports import Databases, Engine

_EXTRA = re.compile(r"[Aa]dditional propert(?:y|ies) '?([\w.-]+)'?")
_WRONG_KEY = re.compile(r"x-ikoma: ([^\s:]+)")
_MOST_WORDS = 1000
_LARGEST_DOCKERFILE = 1 << 20
_LEAST_FREE = 512 << 20
_LITTLE_FREE = 2 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem. `file` is relative to the app's folder, `line` counts from 1."""

    file: str
    line: int | None
    problem: str
    fix: str
    rule: str | None = None
    """The rule of the policy that this breaks; None for what would merely fail."""
    place: str | None = None
    """Where in the compose file, such as services.web.ports.0."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.problem} {self.fix}"


@dataclass(slots=True)
class Report:
    """What was found, and the resolved model where Compose could make one."""

    model: Mapping[str, Any] | None = None
    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    taken: list[Finding] = field(default_factory=list)
    """Those of the errors that are of domains which other apps have."""
    waivers: list[Waiver] = field(default_factory=list)
    """Waivers that hold for the app now."""

    def refuse_errors(self) -> Mapping[str, Any]:
        """The model; InvalidCompose with all findings where there is an error."""
        if self.errors or self.model is None:
            more = f" ({len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
            rules = sorted({finding.rule for finding in self.errors if finding.rule})
            about = f" Policy: {', '.join(rules)}." if rules else ""
            only_taken = len(self.taken) == len(self.errors)
            raise (PolicyViolation if rules else DomainTaken if only_taken else InvalidCompose)(
                f"{self.errors[0]}{more}",
                audit_message=f"The compose file has {len(self.errors)} errors.{about}",
                errors=[_shown(finding) for finding in self.errors],
                warnings=[_shown(finding) for finding in self.warnings],
            )
        return self.model


class Validator:
    """Examines apps."""

    def __init__(self, engine: Engine, databases: Databases, policy: Policy, traffic: Traffic) -> None:
        self._engine = engine
        self._databases = databases
        self._traffic = traffic
        self._resolutions = Resolutions(engine)
        self._policy = policy

    async def examine(self, app: App, *, images: bool = True) -> Report:
        """Look at everything.

        Args:
            images: also ask registries for images that are not on this machine; a deploy finds that out itself.
        """
        resolution = await self._resolutions.resolve(app)
        source, resolved = Source(resolution.compose_file, resolution.compose), resolution.resolved
        if resolved is None:
            refused = self._policy.less_waived(app, resolution.violations).refused
            return Report(errors=[_of_policy(source, violation) for violation in refused])
        if resolved.model is None:
            error = _compose_error(source, resolved.error or "Compose refused the file.")
            return Report(errors=[error])
        report = Report(model=resolved.model, waivers=list(self._policy.waivers(app)))
        verdict = await self._policy.judge(app, resolved.model)
        report.errors += [_of_policy(source, violation) for violation in verdict.refused]
        report.warnings += [_of_waiver(source, waiver) for waiver in verdict.used]
        report.errors += _web(source, resolved.model)
        report.taken += self._taken(app, source, resolved.model)
        report.errors += report.taken
        report.errors += await asyncio.to_thread(_undefined, app, source, resolved.warnings)
        report.errors += _builds(app, source, resolved.model)
        report.errors += [
            Finding(source.name, source.line(*item.place), item.problem, item.fix)
            for item in (*impossible(resolved.model), *await self.occupied(app, resolved.model))
        ]
        existing = await self._engine.existing()
        for other in differences(app.name, resolved.model, existing):
            line = source.line(f"{other.kind}s", other.key)
            found = Finding(source.name, line, other.problem, other.fix)
            (report.errors if other.matters else report.warnings).append(found)
        if images:
            report.errors += await self._images(source, resolved.model)
        report.errors.sort(key=lambda finding: (finding.file, finding.line or 0))
        await self._disk(app, report)
        report.warnings += _missing_names(app)
        report.warnings += await self._changed_migrations(app)
        if not report.errors:
            report.warnings += await asyncio.to_thread(_not_kept, app, source, resolved.model)
            report.warnings += _too_many(app, source, resolved.model)
        report.warnings += self._replaced(app, source)
        return report

    async def occupied(self, app: App, model: Mapping[str, Any]) -> list[Impossible]:
        """What a resolved model wants of this machine and another has."""
        return await occupied(app.name, model, self._engine, self._policy.is_platform)

    def taken_domains(self, app: App, model: Mapping[str, Any]) -> list[str]:
        """Domains of a model's x-ikoma block that another app has."""
        wishes = extension.read(model)
        return self._traffic.taken(app, (*wishes.domains, *wishes.redirects))

    def _taken(self, app: App, source: Source, model: Mapping[str, Any]) -> Iterator[Finding]:
        try:
            domains = self.taken_domains(app, model)
        except InvalidCompose:
            return  # said already
        for domain in domains:
            fix = "Choose another, or take it from that app first: domain.remove, or its compose file."
            yield Finding(source.name, source.line_with(domain), f"The domain {domain} belongs to another app.", fix)

    async def _images(self, source: Source, model: Mapping[str, Any]) -> list[Finding]:
        wanted = {
            name: service["image"]
            for name, service in (model.get("services") or {}).items()
            if "build" not in service and service.get("image")
        }

        async def look(name: str, image: str) -> Finding | None:
            if await self._engine.image_present(image):
                return None
            reason = await self._engine.image_obtainable(image)
            if reason is None:
                return None
            line = source.line("services", name, "image")
            fix = "Correct the image's name and tag, or log in to its registry on the server."
            return Finding(source.name, line, f"The image {image} is not on this machine: {reason}", fix)

        found = await asyncio.gather(*(look(name, image) for name, image in wanted.items()))
        return [finding for finding in found if finding]

    async def _disk(self, app: App, report: Report) -> None:
        engine_root = Path((await self._engine.version()).root)
        for folder in dict.fromkeys((app.path, engine_root)):
            if not folder.is_dir():  # the engine may run on another machine
                continue
            free = shutil.disk_usage(folder).free
            fix = "Remove old backups and unused images (`docker system df` shows them)."
            if free < _LEAST_FREE:
                report.errors.append(Finding(str(folder), None, f"Only {free >> 20} MiB of disk are free.", fix))
            elif free < _LITTLE_FREE:
                report.warnings.append(Finding(str(folder), None, f"Only {free >> 20} MiB of disk are free.", fix))

    async def _changed_migrations(self, app: App) -> list[Finding]:
        """Migrations that were applied and say something else now: no deploy applies them again."""
        if (owned := credentials.find(app)) is None:
            return []
        try:
            known = await asyncio.to_thread(sql_files.migrations, app)
            found = sql_files.changed(known, await self._databases.ledger(owned))
        except IkomaError:
            return []  # what cannot be read now stops a deploy by itself
        fix = "Undo the edit, and write what is to change as a new migration."
        problem = "It was applied before, and has been changed since."
        return [Finding(f"migrations/{item.name}", None, problem, fix) for item in found]

    def _replaced(self, app: App, source: Source) -> list[Finding]:
        """What .env says of a database and the containers will not see, and why."""
        written = environment.read(app)
        owned = credentials.find(app)
        if owned is None:
            named = [name for name in environment.DATABASE_NAMES if written.get(name)]
            if not named:
                return []
            problem = f".env names a database ({', '.join(named)}), but the app has none on this platform yet."
            return [Finding(".env", _line_of(app, named[0]), problem, "Call db.create to get one, or ignore this.")]
        given = credentials.variables(owned, self._databases.endpoint())
        return [
            Finding(
                ".env",
                _line_of(app, name),
                f"{name} is replaced when the containers start.",
                f"They get the app's own database role {owned.role!r}: no app is given the platform's login. "
                "Remove the line, or leave it for running the app elsewhere.",
            )
            for name in environment.replaced(written, given)
        ]


def _of_policy(source: Source, violation: Violation) -> Finding:
    name = violation.file or source.name
    line = source.line(*violation.place) if name == source.name else None
    return Finding(name, line, violation.problem, violation.fix, violation.rule, violation.shown)


def _of_waiver(source: Source, waiver: Waiver) -> Finding:
    fix = "It is as unsafe as without; do without it when you can."
    return Finding(source.name, None, f"Waiver {waiver.id}: {waiver}.", fix, waiver.rule)


def _compose_error(source: Source, message: str) -> Finding:
    line = None
    if found := re.search(r"\bline:? (\d+)|\bat L(\d+)\.C\d+", message):
        line = int(found[1] or found[2])
    elif found := re.search(r"\b(services|networks|volumes|configs|secrets)\.([\w.-]+)", message):
        line = source.line(found[1], *found[2].strip(".").split("."))
        if extra := _EXTRA.search(message):
            line = source.line(found[1], *found[2].strip(".").split("."), extra[1]) or line
    elif found := re.search(r'\bservice "?([\w.-]+)"?', message):
        line = source.line("services", found[1])
    elif found := _EXTRA.search(message):
        line = source.line(found[1])
    problem = _sentence(message.replace(" false schema", " is an unknown key"))
    return Finding(source.name, line, problem, _compose_fix(message))


def _compose_fix(message: str) -> str:
    if "dditional propert" in message or "false schema" in message:
        return "Correct the key's name or indentation, or remove it."
    if "env file" in message:
        return "Create the file (apps.env.example gives a start), or mark it `required: false`."
    if "neither an image nor a build" in message:
        return "Give the service an image or a build."
    if "required variable" in message:
        return "Set the variable in .env."
    return "Correct the file; `docker compose config` shows the same error."


def _web(source: Source, model: Mapping[str, Any]) -> Iterator[Finding]:
    try:
        compose_file.web(model)
        extension.check(model)
    except InvalidCompose as error:
        key = _WRONG_KEY.match(error.message)
        line = source.line("x-ikoma", key[1]) if key else source.line("x-ikoma")
        takes = f"The block takes {', '.join(extension.KEYS)}."
        fix = "Correct the key's name, or remove it." if "is unknown; it takes" in error.message else takes
        yield Finding(source.name, line, error.message, fix)


def _undefined(app: App, source: Source, warnings: Sequence[str]) -> list[Finding]:
    known = {*environment.read(app), "COMPOSE_PROJECT_NAME"}
    found = []
    named = set()
    for reference in environment.references(source.text):
        if reference.name not in known and reference.default is None:
            named.add(reference.name)
            found.append(_blank(source.name, reference.line, reference.name))
    # Compose also sees the variables in .env itself and in files that this one pulls in.
    for name in re.findall(r'The "(\w+)" variable is not set', "\n".join(warnings)):
        if name not in named:
            line = source.line_with(f"${{{name}") or source.line_with(f"${name}")
            found.append(_blank(source.name if line else ".env", line, name))
    return found


def _blank(file: str, line: int | None, name: str) -> Finding:
    problem = f"The variable {name} is not set and has no default: it would be blank."
    return Finding(file, line, problem, f"Set {name} in .env, or write ${{{name}:-default}}; $$ is a plain $.")


def _builds(app: App, source: Source, model: Mapping[str, Any]) -> Iterator[Finding]:
    for name, service in (model.get("services") or {}).items():
        build = service.get("build")
        if not build:
            continue
        context = str(build.get("context", ""))
        line = source.line("services", name, "build", "context") or source.line("services", name, "build")
        if "://" in context or context.startswith("git@"):
            continue
        if not (can_be(context) and can_be(str(build.get("dockerfile", "")))):
            continue  # said elsewhere
        folder = Path(context)
        shown = os.path.relpath(folder, app.path)
        if not folder.is_dir():
            yield Finding(source.name, line, f"The build context {shown} is not there.", "Create the folder.")
            continue
        if app.path not in (folder, *folder.parents):
            continue  # the policy says so
        if not any(folder.iterdir()):
            fix = "Copy the app's source into it."
            yield Finding(source.name, line, f"The build context {shown} is empty.", fix)
        elif "dockerfile_inline" not in build:
            dockerfile = folder / build.get("dockerfile", "Dockerfile")
            if not dockerfile.is_file():
                line = source.line("services", name, "build", "dockerfile") or line
                problem = f"The Dockerfile {os.path.relpath(dockerfile, app.path)} is not there."
                yield Finding(source.name, line, problem, "Write one, or correct `dockerfile:`.")


def _missing_names(app: App) -> Iterator[Finding]:
    known = {*environment.read(app), *environment.DATABASE_NAMES}
    for name, file in environment.expected(app).items():
        if name not in known:
            yield Finding(".env", None, f"{name} is missing; {file} asks for it.", f"Add {name}= to .env.")


def _not_kept(app: App, source: Source, model: Mapping[str, Any]) -> list[Finding]:
    """Folders of source that containers write, for what is in them goes with the release; and data that builds want."""
    data = extension.read(model).data if model.get("x-ikoma") else ()
    root = Path(os.path.realpath(app.path))
    found = sources(app, model, data)
    warnings = []
    for folder in sorted({path.relative_to(root) for path in found.writable if path.is_dir()}):
        if folder.parts[0] not in extension.SOURCE:
            problem = f"Images are built from {folder}: what containers write there stays behind at the next deploy."
            fix = "If it is data, let them write to another folder; or mount it read-only."
            warnings.append(Finding(source.name, source.line_with(str(folder)), problem, fix))
        elif len(folder.parts) > 1:
            problem = f"Containers write to {folder}, and what they write there stays behind at the next deploy."
            fix = f"If it is data, say so: `x-ikoma: {{data: [{folder}]}}`; or mount it read-only."
            warnings.append(Finding(source.name, source.line_with(str(folder)), problem, fix))
    for folder in sorted(path.relative_to(root) for path in found.data):
        if any(_takes(text, os.path.relpath(root / folder, context)) for context, text in _dockerfiles(app, model)):
            problem = f"Containers write to {folder}, so it is data, and empty where an image is built."
            fix = "If it is source, mount it read-only or put it into src/; if not, do not COPY it."
            warnings.append(Finding(source.name, source.line_with(str(folder)), problem, fix))
    return warnings


def _dockerfiles(app: App, model: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(context, Dockerfile) of each build."""
    for service in (model.get("services") or {}).values():
        build = service.get("build") or {}
        context = os.path.realpath(str(build.get("context") or app.path))
        text = build.get("dockerfile_inline")
        if build and text is None:
            with suppress(IkomaError):
                path = Path(context, str(build.get("dockerfile") or "Dockerfile"))
                text = app.read_inside(path, _LARGEST_DOCKERFILE).decode(errors="replace")
        yield context, str(text or "")


def _takes(dockerfile: str, path: str) -> bool:
    """Whether a Dockerfile takes this path of its context, or what is in it, by name."""
    for line in dockerfile.splitlines():
        verb, *words = line.split()[:_MOST_WORDS] or [""]
        if verb.upper() in ("COPY", "ADD") and not any(word.startswith("--from") for word in words):
            taken = (posixpath.normpath(word.strip("[]\"',").lstrip("/")) for word in words[:-1])
            if any(place == path or place.startswith(f"{path}/") for place in taken):
                return True
    return False


def _too_many(app: App, source: Source, model: Mapping[str, Any]) -> Iterator[Finding]:
    """Services that were scaled and now cannot run twice."""
    for name, reason in too_many(app, model).items():
        problem = f"{name} was scaled to {scale_of_app(app)[name]} containers, and gets one: {reason}."
        fix = f"Take away what stands in the way, or give up the number: deploy.scale {name} with replicas 1."
        yield Finding(source.name, source.line("services", name), problem, fix)


def _line_of(app: App, name: str) -> int | None:
    lines = environment.read_text(app).splitlines()
    pattern = re.compile(rf"\s*(export\s+)?{re.escape(name)}\s*=")
    return next((number for number, line in enumerate(lines, 1) if pattern.match(line)), None)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _shown(finding: Finding) -> dict[str, Any]:
    return asdict(finding)

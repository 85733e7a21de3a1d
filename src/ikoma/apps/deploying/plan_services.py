"""Plans of services: what a rollout would do with each, with the reasons that the files give for it.

What it would do is the rollout's own plan. Only an image that is yet to be built or pulled has no id: it counts as
another one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ikoma.app_folder import App
from ikoma.apps.database.variables import KEPT_AS
from ikoma.apps.deploying import comparison
from ikoma.apps.releases.release import Release
from ikoma.apps.rollouts.release_contents import ReleaseContents
from ikoma.apps.source.changes import SourceChanges
from ikoma.compose.image_names import name_image
from ikoma.compose.model import ComposeModel, Service
from ikoma.compose.mounts import Sources
from ikoma.compose.release_folder import ReleaseFolder
from ikoma.model import Secret
from ikoma.ports.images import Images
from ikoma.ports.rollout import RolloutPlan, RolloutStep, RolloutTarget, ServiceRollout

_RUNS_AGAIN = "it runs again with each deploy"
"""The action of a service that others wait for until it has ended."""
_TO_COME = "to come"
"""Instead of the id of an image that is not made or fetched yet."""
_UNTIL = "until the new one is healthy"


@dataclass(frozen=True, slots=True)
class ServiceDowntime:
    expected: str
    """none, or how it is away."""
    reason: str


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """The plan of one service, and its reasons."""

    service: str
    action: str
    """add, replace, keep or remove."""
    reasons: tuple[str, ...] = ()
    image: str | None = None
    """build or pull, where its image is not here yet."""
    downtime: ServiceDowntime | None = None
    """The service's containers now; None where it is new."""


@dataclass(frozen=True, slots=True)
class ServiceChanges:
    """The difference between what serves and the next model.

    Args:
        after: the model of the release; `runs` is the same with the variables of the app's database.
        images: service → id of its image, as far as there is one; `given` and `digest` as `ReleaseContents` has them.
        scale: how many replicas a service is to have, where that differs from what the model says.
        stops: why all that serves is stopped first; None where it is not.
        release: the release that comes back; empty where a new one is made.
    """

    app: App
    before: ComposeModel
    after: ComposeModel
    runs: ComposeModel
    sources: Sources
    changes: SourceChanges
    secrets: Sequence[Secret]
    images: Mapping[str, str]
    former: Mapping[str, str]
    """service → id of the image that it runs now."""
    given: Mapping[str, str]
    digest: Callable[[Path], str]
    scale: Mapping[str, int]
    stops: str | None = None
    release: str = ""
    dotenv: bytes = b""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Checksums of data that a person deploys too, as `ReleaseContents` has them; `marked` are those of what serves."""
    marked: Mapping[str, str] = field(default_factory=dict)


async def find_deploy_images(
    images: Images,
    model: ComposeModel,
    current: Release | None,
    before: ComposeModel,
    untouched: Callable[[Service], bool],
) -> dict[str, str]:
    """service → id of the image that a deploy would find.

    Args:
        untouched: whether a service is built from what has not changed.
    """
    services, earlier = model.services, before.services
    builders = {service.image: name for name, service in services.items() if service.build is not None}
    found = {}
    for name, service in services.items():
        builder = name if service.build is not None else builders.get(service.image)
        known = (current.images.get(name) if current else None) or _TO_COME
        if builder is not None:
            build, had = services[builder], earlier.get(builder)
            found[name] = known if had and build.build == had.build and untouched(build) else _TO_COME
        elif image := await images.find(service.image):
            found[name] = image.id
        else:
            same = name in earlier and service.image == earlier[name].image
            found[name] = known if same else _TO_COME
    return found


def make_target(step: ServiceChanges) -> RolloutTarget:
    """Make the target of the rollout that is planned, as far as it is known before it is built."""
    return RolloutTarget(
        release=step.release,
        model=step.runs,
        parts=_make_contents(step).make_parts(step.runs),
        extension=step.after.x_ikoma,
        stops_first=step.stops is not None,
        command=None if step.release else step.after.x_ikoma.release_command,
        scale=step.scale,
        before=step.before,
    )


async def plan_services(
    images: Images, step: ServiceChanges, plan: RolloutPlan, *, fetched: bool
) -> tuple[ServicePlan, ...]:
    """Tell what a rollout does with each service, in the order of the file; then the ones that go.

    Args:
        plan: the plan of the rollout to `make_target(step)`.
        fetched: whether all images are here, as those of an earlier release are.
    """
    planned = _Planned(step, plan)
    plans = []
    for name in (*step.after.services, *(name for name in planned.parts if name not in step.after.services)):
        action, service = planned.choose_action(name), step.after.services.get(name)
        image = None if fetched or service is None else await _find_image(images, step.app, service, action)
        plans.append(ServicePlan(name, action, planned.list_reasons(name), image, planned.expect_downtime(name)))
    return tuple(plans)


def _make_contents(step: ServiceChanges) -> ReleaseContents:
    folder = ReleaseFolder.locate(step.app, step.release, step.sources)
    return ReleaseContents(folder, step.images, step.given, step.digest, step.dotenv, step.marks)


class _Planned:
    """The plan of a rollout, in words."""

    def __init__(self, step: ServiceChanges, plan: RolloutPlan) -> None:
        self._step = step
        bare = {
            name: {key: value for key, value in service.raw.items() if key != KEPT_AS}
            for name, service in step.after.services.items()
        }
        self._bare = _make_contents(step).compute_configurations(step.after.replace_services(bare))
        self.parts = {item.service: item for item in plan.services}
        self._reactivates = plan.reactivates
        self._one_shot = step.after.one_shot
        compared = comparison.compare_services(step.before, step.after, step.secrets)
        self._lines = {item.service: item.lines for item in compared.changed}
        for name in compared.removed:
            self.parts.setdefault(name, ServiceRollout(name))

    def choose_action(self, name: str) -> str:
        """Choose the word for what is done with a service: whether it changes, and not in which order."""
        part = self.parts[name]
        if name not in self._step.after.services:
            return "remove"
        if part.step in (RolloutStep.KEEP, RolloutStep.REMOVE):
            return part.step.value
        if part.keep and not part.replace:
            return "keep"  # with more replicas
        return "replace" if part.replace or name in self._step.before.services else "add"

    def list_reasons(self, name: str) -> tuple[str, ...]:
        part, action = self.parts[name], self.choose_action(name)
        service = self._step.after.services.get(name)
        if service is None:
            return ()
        gets = [f"it gets the {what} of {other}" for other, what in part.displaces.items()]
        if action == "add":
            return tuple(gets)
        had, has = len(part.keep) + len(part.replace), len(part.keep) + part.start
        many = [f"it has {has or 'no'} container{'s' * (has != 1)} instead of {had}"] if had != has and had else []
        lines = [*self._lines.get(name, ()), *gets]
        if action != "replace":
            return (*lines, *many)
        lines += find_touched(self._step.app, self._step.after, service, self._step.changes)
        lines += self._find_touched_data(service)
        lines += [self._step.stops] if self._step.stops else []
        lines += ["its containers of that release are kept, and start again"] if self._reactivates else []
        if not lines:
            other_image = self._step.images.get(name) != self._step.former.get(name)
            lines = (
                ["its image is another"]
                if other_image and part.replace
                else [self._explain_without_files(name, service)]
            )
        return (*lines, *many)

    def _find_touched_data(self, service: Service) -> list[str]:
        """Find the changed data that a service mounts and a person deploys too."""
        step, root = self._step, Path(os.path.realpath(self._step.app.path))
        ways = [Path(os.path.realpath(mount.source)) for mount in service.binds]
        other = [place for place, mark in step.marks.items() if step.marked.get(place, mark) != mark]
        return [f"{place} has changed" for place in other if any(root / place in (way, *way.parents) for way in ways)]

    def _explain_without_files(self, name: str, service: Service) -> str:
        """Explain why a service is replaced whose files say nothing."""
        replaced, shared = self.parts[name].replace, service.shares_with
        if name in self._one_shot:
            return _RUNS_AGAIN
        if replaced and all(item.is_done for item in replaced):
            return _RUNS_AGAIN
        if not any(item.state == "running" for item in replaced):
            return "it does not run"
        if any(item.health == "unhealthy" for item in replaced):
            return "it is unhealthy"
        if shared and self.parts[shared].start:
            return f"{shared}, inside which it runs, is replaced"
        if self.parts[name].outdated:
            return "it is in networks of an old rollout, and each takes some of the addresses that Docker has"
        if any(item.configuration == self._bare[name] for item in replaced):
            return "it gets the variables of the app's database"
        return "what it is given has changed: a variable, a network, a config or a secret"

    def expect_downtime(self, name: str) -> ServiceDowntime | None:
        action, part = self.choose_action(name), self.parts[name]
        taken = [
            f"{item.service} gets its {item.displaces[name]}" for item in self.parts.values() if name in item.displaces
        ]
        stopped = f"It is stopped first, because {taken[0]}" if taken else None
        if action == "remove":
            gone = "It is to have no container." if name in self._step.after.services else "The release has it no more."
            return ServiceDowntime("for good", f"{gone} {stopped}." if stopped else gone)
        if action == "add":
            waits = f"It starts when {' and '.join(part.displaces)} has stopped; requests wait meanwhile."
            return ServiceDowntime("until it is healthy", waits) if part.displaces else None
        if action == "keep":
            return ServiceDowntime("none", "It goes on as it is." if part.keep else "It has no container.")
        done = bool(part.replace) and all(item.is_done for item in part.replace)
        ends = name in self._one_shot or done
        if not ends and not any(item.is_active for item in part.replace):
            return ServiceDowntime(_UNTIL, "Nothing of it runs now.")
        if self._step.stops:
            return ServiceDowntime(_UNTIL, f"It is stopped first, because {self._step.stops}; requests wait meanwhile.")
        if ends:
            return ServiceDowntime("none", "It runs again, and ends.")
        if part.alone:
            reason = f"It is stopped before its replacement starts, because {part.alone}; requests wait meanwhile."
            return ServiceDowntime(_UNTIL, reason)
        if stopped:
            return ServiceDowntime(_UNTIL, f"{stopped}; requests wait meanwhile.")
        return ServiceDowntime("none", "Old and new run side by side.")


def find_touched(app: App, model: ComposeModel, service: Service, changes: SourceChanges) -> list[str]:
    """Find what has changed of the mounts, given files and build of a service."""
    root = Path(os.path.realpath(app.path))
    mounted = [mount.source for mount in service.binds]
    given = [
        str(model.find_content(kind, item).get("file") or "")
        for kind, items in service.contents.items()
        for item in items
    ]
    return [
        f"{os.path.relpath(path, app.path)} has changed"
        for path in dict.fromkeys((*mounted, *given, *_list_contexts(service)))
        if path.startswith("/") and changes.has_any_below(root, Path(os.path.realpath(path)))
    ]


def has_build_changes(app: App, service: Service, changes: SourceChanges) -> bool:
    """Whether something has changed of what a service is built from."""
    root = Path(os.path.realpath(app.path))
    return any(
        path.startswith("/") and changes.has_any_below(root, Path(os.path.realpath(path)))
        for path in _list_contexts(service)
    )


def _list_contexts(service: Service) -> list[str]:
    build = service.build
    return [path for path in (build.context, *build.additional_contexts.values()) if path] if build else []


async def _find_image(images: Images, app: App, service: Service, action: str) -> str | None:
    if service.build is not None:
        return "build" if action in ("add", "replace") else None
    own = service.image.startswith(name_image(app.name, "")[:-1])
    return None if own or await images.has(service.image) else "pull"

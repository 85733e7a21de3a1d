"""A caller: a key's role and scope, and who calls without a key: IKOMA itself, schedules, webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ikoma.errors import OutOfScope, RoleTooLow
from ikoma.kernel.registry import Capability
from ikoma.model import AppName, Effect, Role

SCHEDULE = "schedule:"
"""The beginning of the ids of schedules."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A key, as the pipeline sees it. `apps` and `capabilities` are globs; an empty tuple means all."""

    id: str
    name: str
    role: Role
    apps: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    read_only: bool = False
    expires_at: str | None = None
    needs_approval: bool = False
    """Whether another key must consent to what destroys or gives rights."""
    rate: int | None = None
    """Calls in one window of the rate limit, where the key has a limit of its own."""
    digest: str = field(default="", repr=False)
    """Digest of the settings' key: it tells this key from the one before, which had the same id."""

    @property
    def own(self) -> bool:
        """Whether it is no key but IKOMA itself: what it does is in no caller's way."""
        return is_own(self.id)

    @property
    def is_patient(self) -> bool:
        """Whether its calls wait for an app until it is free: nobody is there who could ask again."""
        return self.id.startswith(SCHEDULE)

    @property
    def decides_as(self) -> str:
        """Under which id a decision of this key is kept: it ends with the key."""
        return f"{self.id}:{self.digest}" if self.digest else self.id

    def narrow_role(self, wanted: Role | None) -> Role:
        """The role this call is made with: the wanted one, at or below the key's own."""
        if wanted is not None and wanted > self.role:
            raise RoleTooLow(f"This key's role is {self.role}; it cannot act as {wanted}.")
        return self.role if wanted is None else wanted

    def check_capability(self, name: str, effect: Effect) -> None:
        """Raises OutOfScope where this key does not reach the capability."""
        if self.read_only and effect is not Effect.READS:
            raise OutOfScope("This key may only read.", next=())
        if not _is_matched(name, self.capabilities):
            raise OutOfScope("This key does not reach this capability.", next=())

    def reaches_capability(self, item: Capability) -> bool:
        return not (self.read_only and item.effect is not Effect.READS) and self.reaches_name(item.name)

    def reaches_name(self, capability: str) -> bool:
        return _is_matched(capability, self.capabilities)

    def check_covers(self, other: Caller, *, given: bool = True) -> None:
        """Raises OutOfScope where another key may do what this one may not: nobody gives more than they have.

        Args:
            given: whether this key's holder gets the other one, and with it its rate.
        """
        within = (
            other.role <= self.role
            and _narrows(other.apps, self.apps)
            and _narrows(other.capabilities, self.capabilities)
            and (self.expires_at is None or (other.expires_at is not None and other.expires_at <= self.expires_at))
            and (other.needs_approval or not self.needs_approval)
            and (not given or self.rate is None or (other.rate is not None and other.rate <= self.rate))
        )
        if not within:
            raise OutOfScope(
                "That key may do more than this one: its role, apps, capabilities, "
                "end, rate or need of approval go beyond.",
                hint="Give it no more than this key has, or ask an admin whose key is not limited.",
            )

    def check_app(self, app: str) -> None:
        """Raises OutOfScope where this key does not reach the app, whether or not it exists."""
        if not self.reaches(app):
            raise OutOfScope(f"This key does not reach the app {app}.")

    def reaches(self, app: str) -> bool:
        return reaches(app, self.apps)


def reaches(app: str, globs: Sequence[str]) -> bool:
    """Whether these globs match an app, or that of which it is a preview; no globs match all."""
    previewed = AppName(app).previewed
    return _is_matched(app, globs) or (previewed is not None and _is_matched(previewed, globs))


CARETAKER = Caller(
    "ikoma", "ikoma", Role.ADMIN, capabilities=("deploy.rollback", "preview.remove", "apps.restore", "trash.delete")
)
"""IKOMA itself: it goes back from a release that turned unhealthy, ends previews and entries of the trash whose time is
over, and goes on to bring an app back where a server was killed meanwhile."""


RECOVERY = Caller("recovery", "recovery", Role.ADMIN)
"""A person at the server's own machine, who brings it back from backups."""


def make_schedule_caller(app: AppName, name: str, capability: str) -> Caller:
    """A schedule of an app: it makes its one call, and can do nothing else."""
    return Caller(f"{SCHEDULE}{app}:{name}", f"schedule:{name}", Role.BUILDER, (app,), (capability,))


def make_hook_caller(app: AppName) -> Caller:
    """An app's webhook: it deploys what the hook's branch holds, and can do nothing else."""
    return Caller(f"hook:{app}", f"hook:{app}", Role.BUILDER, apps=(app,), capabilities=("hook.deploy",))


def is_own(identity: str) -> bool:
    """Whether that is the id of no key, but of IKOMA itself or of an app's webhook."""
    return identity == CARETAKER.id or identity.startswith("hook:")


def _narrows(globs: Sequence[str], wider: Sequence[str]) -> bool:
    """Whether all that `globs` match, `wider` match too. A glob that is no plain name must be there as it stands."""
    if not wider:
        return True
    return bool(globs) and all(
        glob in wider or (not set(glob) & set("*?[") and _is_matched(glob, wider)) for glob in globs
    )


def _is_matched(name: AppName | str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatchcase(name, glob) for glob in globs)

"""One problem of an app's files, and the report of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from ikoma.apps.policy.waivers import Waiver
from ikoma.apps.resolution.data_or_source import Kind
from ikoma.apps.resolution.own_proxy import OwnProxy
from ikoma.compose.model import ComposeModel
from ikoma.compose.web_service import Choice
from ikoma.errors import DomainTaken, IkomaError, InvalidCompose, PolicyViolation, SqlFailed
from ikoma.ports.databases import Migration


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
    """All findings, and the resolved model where Compose could make one."""

    model: ComposeModel | None = None
    choice: Choice | None = None
    """Which service is routed, and why."""
    own_proxies: tuple[OwnProxy, ...] = ()
    """Reverse proxies of the app's own that cannot stay as they are."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables that `.env` sets, as Compose reads it."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """The compose files as they are written, the first of them first."""
    errors: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    taken: list[Finding] = field(default_factory=list)
    """Errors that are of domains which other apps have."""
    migrations: Sequence[Migration] | None = None
    """The app's migrations, as they were examined; None where it has no database."""
    sql: list[Finding] = field(default_factory=list)
    """Errors that are of migrations."""
    kinds: Sequence[Kind] = ()
    """Kinds of the folder's parts: source or data; nothing where the x-ikoma block is wrong."""
    waivers: list[Waiver] = field(default_factory=list)
    """Waivers that hold for the app now."""

    def refuse_errors(self) -> ComposeModel:
        """The model; InvalidCompose, or the error of one kind, with all findings where there is an error."""
        if self.errors or self.model is None:
            more = f" ({len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
            rules = sorted({finding.rule for finding in self.errors if finding.rule})
            about = f" Policy: {', '.join(rules)}." if rules else ""
            kind = self._choose_kind(rules)
            raise kind(
                f"{self.errors[0]}{more}",
                hint=InvalidCompose.default_hint if kind is SqlFailed else None,
                next=InvalidCompose.default_next if kind is SqlFailed else None,
                audit_message=f"{self._count()} in the app's files.{about}",
                errors=[asdict(finding) for finding in self.errors],
                warnings=[asdict(finding) for finding in self.warnings],
            )
        return self.model

    def _count(self) -> str:
        return "There is 1 error" if len(self.errors) == 1 else f"There are {len(self.errors)} errors"

    def _choose_kind(self, rules: Sequence[str]) -> type[IkomaError]:
        """Choose the kind of error that stands for all of them."""
        if rules:
            return PolicyViolation
        for kind, found in ((DomainTaken, self.taken), (SqlFailed, self.sql)):
            if found and len(found) == len(self.errors):
                return kind
        return InvalidCompose

"""Findings made of the policy's verdict: what it refuses, and the waivers that were used."""

from __future__ import annotations

from ikoma.apps.compose_file import Source
from ikoma.apps.policy.rules import Violation
from ikoma.apps.policy.waivers import Waiver
from ikoma.apps.validation.finding import Finding


def find_violation(source: Source, violation: Violation) -> Finding:
    name = violation.file or source.name
    line = source.line(*violation.place) if name == source.name else None
    return Finding(name, line, violation.problem, violation.fix, violation.rule, violation.shown)


def find_waiver(source: Source, waiver: Waiver) -> Finding:
    fix = "It is as unsafe as without; do without it when you can."
    return Finding(source.name, None, f"Waiver {waiver.id}: {waiver}.", fix, waiver.rule)

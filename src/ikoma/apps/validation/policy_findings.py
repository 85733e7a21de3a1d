"""Findings made of the policy's verdict: what it refuses, and the waivers that were used."""

from __future__ import annotations

from ikoma.apps.compose_lines import Source
from ikoma.apps.notice import Notice
from ikoma.apps.policy.rules import Violation
from ikoma.apps.policy.waivers import Waiver
from ikoma.apps.validation.finding import Finding


def find_violation(source: Source, violation: Violation) -> Finding:
    file, line = source.at(*violation.place)
    if violation.file is not None:  # it is of this file alone, and not of what came of all
        file, line = violation.file, violation.line or source.in_file(violation.file, *violation.place)
    return Finding(file, line, violation.problem, violation.fix, violation.rule, violation.shown)


def find_notice(source: Source, notice: Notice) -> Finding:
    file, line = source.at(*notice.place)
    if notice.file is not None:
        file, line = notice.file, source.in_file(notice.file, *notice.place)
    return Finding(file, line, notice.problem, notice.fix)


def find_waiver(source: Source, waiver: Waiver) -> Finding:
    fix = "It is as unsafe as without; do without it when you can."
    return Finding(source.name, None, f"Waiver {waiver.id}: {waiver}.", fix, waiver.rule)

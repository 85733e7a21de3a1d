"""Findings made of the policy's verdict: what it refuses, and the waivers that were used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ikoma.apps.policy.rules import word_fix, word_problem
from ikoma.apps.policy.waivers import Waiver
from ikoma.apps.validation.finding import Finding
from ikoma.apps.yaml.lines import Source
from ikoma.apps.yaml.notice import Notice
from ikoma.apps.yaml.violation import Violation

_MOST_LINES = 10
_NESTED = "bind-nested"
"""The rule that holds again once what lies above is not written any more."""


@dataclass(slots=True)
class _Group:
    """Violations that one change mends: the first, and where the others are."""

    first: int
    again: list[str] = field(default_factory=list)
    """Lines where the same is to be done."""
    mended: list[str] = field(default_factory=list)
    """Lines that need nothing then."""


def find_violations(source: Source, violations: Iterable[Violation]) -> Iterator[Finding]:
    """A finding of each, once for each line; the first of several that one change mends says so."""
    found: list[Finding] = []
    groups: dict[tuple[object, ...], _Group] = {}
    seen: set[tuple[object, ...]] = set()
    made = [(find_violation(source, violation), violation) for violation in violations]
    for finding, violation in sorted(made, key=lambda pair: (pair[0].file, pair[0].line or 0)):
        same = (finding.file, finding.line, violation.rule, violation.what, violation.place[2:])
        if finding.line is not None and same in seen:  # an alias of YAML, read as two services
            continue
        seen.add(same)
        found.append(finding)
        keys = [*_list_keys(violation)]
        group = next((groups[key] for key in keys if key in groups), None) or _Group(len(found) - 1)
        for key in keys:
            groups.setdefault(key, group)
        if group.first != len(found) - 1 and finding.line is not None:
            if (finding.file, finding.line) == (found[group.first].file, found[group.first].line):
                continue
            line = str(finding.line) if finding.file == source.name else f"{finding.line} of {finding.file}"
            if found[group.first].rule == finding.rule:
                group.again.append(line)
            elif finding.rule == _NESTED:
                group.mended.append(line)
    for group in {group.first: group for group in groups.values()}.values():
        first = found[group.first]
        found[group.first] = replace(first, fix=" ".join([first.fix, *_say(group)]))
    yield from found


def _list_keys(violation: Violation) -> Iterator[tuple[object, ...]]:
    """List what a violation has in common with those that one change mends."""
    if violation.because:
        yield "because", violation.because
    yield "what", violation.rule, word_fix(violation), violation.what
    if violation.place[:1] == ("services",) and len(violation.place) > 3:
        yield "place", violation.rule, word_fix(violation), violation.place[:3]


def _say(group: _Group) -> Iterator[str]:
    for lines, text in ((group.again, "The same holds for"), (group.mended, "Mending it mends")):
        if lines := list(dict.fromkeys(lines)):
            shown = ", ".join(lines[:_MOST_LINES])
            more = f" and {len(lines) - _MOST_LINES} more" if len(lines) > _MOST_LINES else ""
            yield f"{text} {'line' if len(lines) == 1 else 'lines'} {shown}{more}."


def find_violation(source: Source, violation: Violation) -> Finding:
    file, line = source.locate(*violation.place)
    if violation.file is not None:  # it is of this file alone, and not of what came of all
        file, line = violation.file, violation.line or source.find_line_in(violation.file, *violation.place)
    return Finding(file, line, word_problem(violation), word_fix(violation), violation.rule, violation.shown)


def find_notice(source: Source, notice: Notice) -> Finding:
    file, line = source.locate(*notice.place)
    if notice.file is not None:
        file, line = notice.file, source.find_line_in(notice.file, *notice.place)
    return Finding(file, line, notice.problem, notice.fix)


def find_waiver(source: Source, waiver: Waiver) -> Finding:
    fix = "It is as unsafe as without; do without it when you can."
    return Finding(source.name, None, f"Waiver {waiver.id}: {waiver}.", fix, waiver.rule)

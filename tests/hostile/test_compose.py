"""Compose files that must not pass, each caught by its rule, and ones that must."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from ikoma.apps.policy.rules import RULES
from tests.hostile.corpus import MODELS, Case, cases, judged, judged_model, lay_out

REFUSED, ACCEPTED = cases("refused"), cases("accepted")


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_hostile_file_is_refused_by_its_rule(case: Case, tmp_path: Path) -> None:
    app, facts = lay_out(case, tmp_path)
    violations, refusal, _ = asyncio.run(judged(app, facts))
    assert refusal is None, f"Compose itself: {refusal}"
    assert {violation.rule for violation in violations} == {case.rule}, violations
    assert len(violations) == len(set(violations)), "said twice"
    for violation in violations:
        assert violation.problem.endswith(".")
        assert violation.fix.endswith(".")
        assert violation.what


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_a_harmless_file_passes_or_needs_the_one_waiver_it_names(case: Case, tmp_path: Path) -> None:
    app, facts = lay_out(case, tmp_path)
    violations, refusal, model = asyncio.run(judged(app, facts))
    assert refusal is None, f"Compose itself: {refusal}"
    assert model is not None
    assert {violation.rule for violation in violations} == ({case.rule} if case.rule else set()), violations
    assert case.rule is None or RULES[case.rule].waivable


@pytest.mark.parametrize("name", MODELS)
def test_what_a_later_compose_may_know_is_not_let_through(name: str, tmp_path: Path) -> None:
    app, facts = lay_out(ACCEPTED[0], tmp_path)
    assert {violation.rule for violation in judged_model(name, app, facts)} == {MODELS[name][0]}


def test_every_rule_has_files_that_only_it_catches() -> None:
    counts = Counter(case.rule for case in REFUSED)
    print(f"{len(REFUSED)} hostile files for {len(counts)} rules, {len(ACCEPTED)} harmless ones")
    assert len(REFUSED) >= 300
    assert len(ACCEPTED) >= 50
    assert set(counts) == set(RULES)

from __future__ import annotations

import pytest

from ikoma.apps.policy.rules import RULES, Violation


@pytest.mark.parametrize("rule", RULES)
def test_a_finding_says_how_its_rule_is_waived_where_it_can_be(rule: str) -> None:
    assert ("policy.waive" in Violation(rule, (), "").fix) is RULES[rule].waivable

from __future__ import annotations

from pathlib import Path

import pytest

from ikoma.app_folder import App
from ikoma.apps.host_facts import HostFacts
from ikoma.apps.policy import model
from ikoma.apps.policy.rules import RULES, word_fix
from ikoma.apps.yaml.violation import Violation
from ikoma.compose.model import parse_model
from ikoma.model import AppName


@pytest.mark.parametrize("rule", RULES)
def test_a_finding_says_how_its_rule_is_waived_where_it_can_be(rule: str) -> None:
    assert ("policy.waive" in word_fix(Violation(rule, (), ""))) is RULES[rule].waivable


@pytest.mark.parametrize("running", [False, True])
def test_a_folder_outside_that_a_waiver_gives_leads_no_further(running: bool, tmp_path: Path) -> None:
    media = tmp_path / "media"
    (tmp_path / "shop").mkdir()
    mounts = [
        {"type": "bind", "source": str(source), "target": "/m"}
        for source in ([media / "x"] if running else [media, media / "x"])
    ]
    facts = HostFacts(App(AppName("shop"), tmp_path / "shop"), writable=(media,) if running else ())
    found = model.check(parse_model({"services": {"web": {"image": "nginx:1", "volumes": mounts}}}), facts)
    assert [item.rule for item in found if item.rule != "bind-outside"] == ["bind-nested"]
    assert not RULES["bind-nested"].waivable

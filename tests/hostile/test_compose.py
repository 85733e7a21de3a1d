"""Compose files that must not pass, each caught by its rule, and ones that must."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.apps.host_facts import HostFacts
from ikoma.apps.policy import model as policy
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.policy.rules import RULES, word_fix, word_problem
from ikoma.apps.policy.waivers import Waivers
from ikoma.apps.resolution.substitutes import substitute
from ikoma.apps.resolution.unsupported_features import find_unsupported
from ikoma.apps.rollouts import injection
from ikoma.apps.yaml.violation import Violation
from ikoma.compose.compose_file import VARIABLES_FILE
from ikoma.compose.model import ComposeModel
from ikoma.compose.mounts import find_sources
from ikoma.compose.release_folder import ReleaseFolder
from ikoma.engines.compose import argv
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.rollout.new_rollout import name_containers
from ikoma.engines.compose.rollout.rendering import render
from ikoma.engines.compose.runtime import assemble
from ikoma.kernel.redaction.redaction import find_nothing
from ikoma.kernel.state.store import Store
from ikoma.ports.rollout import ReleaseParts
from ikoma.run import run
from tests.hostile.corpus import MODELS, Case, cases, judged, judged_model, lay_out
from tests.support import DOCKER_HOST

MOUNTED = "services: {web: {image: 'nginx:1.27', volumes: ['X']}}"
USING = "services: {web: {image: 'nginx:1.27', volumes: ['one:/a', 'two:/b']}}"
REFUSED, ACCEPTED = cases("refused"), cases("accepted")
Judgement = tuple[App, HostFacts, list[Violation], str | None, ComposeModel | None]
OF_RULE = {rule: [case for case in REFUSED if case.rule == rule] for rule in RULES}


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_hostile_file_is_refused_by_its_rule(case: Case, tmp_path: Path) -> None:
    app, facts = lay_out(case, tmp_path)
    violations, refusal, _ = asyncio.run(judged(app, facts))
    assert refusal is None, f"Compose itself: {refusal}"
    assert {violation.rule for violation in violations} == {case.rule}, violations
    assert len(violations) == len(set(violations)), "said twice"
    for violation in violations:
        assert word_problem(violation).endswith(".")
        assert word_fix(violation).endswith(".")
        assert violation.what


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Judgement]:
    """Judge a file, once for all tests that begin with what came of it: Compose reads it for each time."""
    known: dict[str, Judgement] = {}

    def judge_once(case: Case) -> Judgement:
        if case.name not in known:
            app, facts = lay_out(case, tmp_path_factory.mktemp("judged"))
            known[case.name] = (app, facts, *asyncio.run(judged(app, facts)))
        return known[case.name]

    return judge_once


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_a_harmless_file_passes_or_needs_the_one_waiver_it_names(
    case: Case, judge: Callable[[Case], Judgement]
) -> None:
    _, _, violations, refusal, model = judge(case)
    assert refusal is None, f"Compose itself: {refusal}"
    assert model is not None
    assert {violation.rule for violation in violations} == ({case.rule} if case.rule else set()), violations
    assert case.rule is None or RULES[case.rule].waivable
    assert all(violation.waivable for violation in violations)


@pytest.mark.parametrize("case", ACCEPTED, ids=lambda case: case.name)
def test_what_passes_can_be_run_once_all_is_filled_in(case: Case, judge: Callable[[Case], Judgement]) -> None:
    app, facts, violations, _, model = judge(case)
    assert model is not None
    assert list(find_unsupported(model)) == []
    runs = injection.freeze(app, model, env={}, memory=1 << 30)
    assert {item.rule for item in policy.check(runs, facts)} == {item.rule for item in violations}
    folder = ReleaseFolder(app.name, "r1", facts.root, app.state / "tree", find_sources(app, runs))
    parts = ReleaseParts(folder.sources, dict.fromkeys(runs.services, "c"))
    made = render(runs, folder, parts, rollout="1", anonymous={}).model
    first = {name: service.raw for name, service in made.services.items() if not service.shares_with}
    inside = {name: service.raw for name, service in made.services.items() if name not in first}
    created(app, made, first)
    created(app, made, {name: name_containers(service, dict.fromkeys(first, "1")) for name, service in inside.items()})


def test_nothing_of_the_server_is_seen_where_a_file_names_its_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "USER", "LANG", "JWT_SECRET", "JWT_ISSUER", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.setenv(name, "of-the-server")
    case = next(case for case in ACCEPTED if case.name == "variables-of-a-shell")
    app, facts = lay_out(case, tmp_path)
    model = asyncio.run(judged(app, facts))[2]
    assert model is not None
    web = model.services["web"].raw
    blank = dict.fromkeys(("HOME_OF", "TOKENS", "ISSUER", "TRACES"), "")
    assert web["environment"] == {**blank, "WHO": "x", "SEARCH": "none", "INNER": "/"}
    assert web["labels"] == {"of": "/x"}


class Owners(ComposeEngine):
    """An engine on which these volumes and networks are, and no other."""

    def __init__(self, there: Mapping[str, str]) -> None:
        super().__init__("unix:///nowhere", find_nothing)
        self._there = there

    async def map_owners(self) -> Mapping[str, str]:
        return self._there


def created(app: App, model: ComposeModel, services: Mapping[str, Any]) -> None:
    """Let Compose read what containers of these services are made of."""
    (app.state / VARIABLES_FILE).write_text("")
    only = {name: {**service, "depends_on": {}} for name, service in services.items()}
    (app.state / "create.json").write_text(json.dumps({**model.raw, "services": only}))
    command = argv.create(app.name, app.path, app.state / "create.json", {})
    command[command.index("create") :] = ["config", "--format", "json"]
    finished = asyncio.run(run(command, env=argv.make_environment(DOCKER_HOST), cwd=app.path, timeout=60))
    assert finished.code == 0, finished.stderr
    assert set(json.loads(finished.stdout)["services"]) == set(services)


@pytest.mark.parametrize(
    "source",
    [
        *("/", "APPS", "APPS/bank", "APPS/bank/.ikoma", "APPS/new", "../bank"),
        *("/var", "/var/lib/docker/volumes"),
    ],
)
def test_no_waiver_gives_what_is_the_platforms_or_of_another_app(source: str, tmp_path: Path) -> None:
    source = source.replace("APPS", str(tmp_path))
    texts = [f"services: {{web: {{image: 'nginx:1.27', volumes: ['{source}:/h:ro', '/mnt/media:/m']}}}}"]
    texts += [f"services: {{web: {{build: {{context: '{source}'}}}}, other: {{build: /mnt/other}}}}"]
    if source.startswith("/"):
        options = f"{{type: none, o: bind, device: '{source}'}}"
        texts += [f"volumes: {{one: {{driver_opts: {options}}}, two: {{driver_opts: {{type: nfs}}}}}}\n{USING}"]
    texts += [f"volumes: {{one: {{name: bank_data}}, two: {{name: media}}}}\n{USING}"]
    for number, text in enumerate(texts):
        app, facts = lay_out(Case(Path("x.yml"), text, None, ()), tmp_path / str(number))
        facts = replace(facts, platform=(tmp_path, *facts.platform))
        violations, refusal, _ = asyncio.run(judged(app, facts))
        assert refusal is None
        assert {violation.waivable for violation in violations} == {False, True}, text
        left = [violation for violation in violations if not violation.waivable]
        assert less_waived(app, violations, tmp_path / str(number)) == left


def less_waived(app: App, violations: Sequence[Violation], folder: Path) -> Sequence[Violation]:
    """Return what is left of violations once each of their rules is waived."""
    with closing(Store(folder / "state.db")) as store:
        waivers = Waivers(store)
        for rule in {violation.rule for violation in violations}:
            waivers.grant(app.name, rule, "to be tried", caller="test", expires_at="2999-01-01T00:00:00Z")
        judge = Policy(Apps(folder), waivers, platform_ports={})
        return list(judge.leave_out_waived(app, violations).refused)


@pytest.mark.parametrize(
    ("text", "problem", "fix"),
    [
        (MOUNTED.replace("X", "/etc/localtime:/etc/localtime"), "/etc/localtime", ":ro"),
        (MOUNTED.replace("X", "./.env:/app/.env"), ".env is mounted writable", ":ro"),
        (MOUNTED.replace("X", ".:/app"), "whole folder", "./src"),
        (MOUNTED.replace("X", "../ra:/ra"), "APPS/ra is outside", "named volume"),
        ("services: {web: {build: {context: ..}}}", "APPS is outside", "app's folder"),
    ],
)
def test_a_refusal_says_what_is_meant_and_what_to_do(text: str, problem: str, fix: str, tmp_path: Path) -> None:
    app, facts = lay_out(Case(Path("x.yml"), text, None, ()), tmp_path)
    facts = replace(facts, platform=() if "ra is" in problem else facts.platform)
    (violation, *_), _, _ = asyncio.run(judged(app, facts))
    assert problem.replace("APPS", str(tmp_path)) in word_problem(violation)
    assert fix in word_fix(violation)


@pytest.mark.parametrize("target", ["/root", "/", "../.ikoma", "../.env", "../secrets", "../../bank", "sub"])
def test_a_link_that_a_container_can_have_made_is_followed_nowhere(target: str, tmp_path: Path) -> None:
    text = "services: {web: {image: 'nginx:1.27', volumes: ['./data:/data', './data/link:/link:ro']}}"
    app, facts = lay_out(
        Case(Path("x.yml"), text, None, (f"symlink data/link -> {target}", "folder data/sub")), tmp_path
    )
    violations, refusal, _ = asyncio.run(judged(app, facts))
    assert refusal is None
    assert ("bind-nested" in {violation.rule for violation in violations}) == (target != "sub")


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


@pytest.mark.parametrize("case", OF_RULE["foreign-network"], ids=lambda case: case.name)
def test_a_network_of_others_becomes_one_of_the_apps_own(case: Case, tmp_path: Path) -> None:
    app, facts = lay_out(case, tmp_path)
    _, _, model = asyncio.run(judged(app, facts))
    assert model is not None
    own, notices = asyncio.run(substitute(assemble(Owners(facts.owners)), app.name, model, ()))
    names = {str(network["name"]) for network in own.networks.values()}
    if names != {f"shop_{key}" for key in own.networks}:  # it begins as the app's own do, and is refused
        assert any(name.startswith("shop") for name in names)
        assert {violation.rule for violation in policy.check(own, facts)} == {"foreign-network"}
        return
    assert policy.check(own, facts) == []
    assert notices
    as_written, notices = asyncio.run(substitute(assemble(Owners(facts.owners)), app.name, model, {"foreign-network"}))
    assert (as_written, notices) == (model, [])


@pytest.mark.parametrize("case", OF_RULE["foreign-volume"], ids=lambda case: case.name)
def test_no_volume_of_others_is_taken_under_another_name(case: Case, tmp_path: Path) -> None:
    app, facts = lay_out(case, tmp_path)
    _, _, model = asyncio.run(judged(app, facts))
    assert model is not None
    own, _ = asyncio.run(substitute(assemble(Owners(facts.owners)), app.name, model, ()))
    names = {volume["name"] for volume in own.volumes.values()}
    assert policy.check(own, facts) or names == {f"shop_{key}" for key in own.volumes}


def test_what_a_dockerfile_must_not_say_is_found_in_the_dockerfile(tmp_path: Path) -> None:
    setup = ("file src/Dockerfile: FROM alpine:3\\nRUN true\\nADD http://example.com/x.tar /x",)
    app, facts = lay_out(Case(Path("x.yml"), "services: {web: {build: ./src}}", None, setup), tmp_path)
    (violation, *_), _, _ = asyncio.run(judged(app, facts))
    assert (violation.rule, violation.file, violation.line) == ("remote-source", "src/Dockerfile", 3)
    assert "RUN wget" in word_fix(violation)

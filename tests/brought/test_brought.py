"""Compose files as people bring them pass as they are, or with the one change that the first error names."""

from __future__ import annotations

import asyncio
import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ikoma.app_folder import App
from ikoma.apps.app import Apps
from ikoma.apps.policy.enforcement import Policy
from ikoma.apps.policy.waivers import Waivers
from ikoma.apps.resolution.resolver import Resolutions
from ikoma.apps.resolution.routed_service import WebServices
from ikoma.apps.routing.routes import Routes
from ikoma.apps.validation.finding import Report
from ikoma.apps.validation.validator import Validator
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.runtime import assemble
from ikoma.kernel.redaction.redaction import find_nothing
from ikoma.kernel.state.store import Store
from ikoma.model import AppName
from ikoma.ports.databases import Databases
from ikoma.ports.proxy import Proxy
from tests.support import DOCKER_HOST

FOLDER = Path(__file__).with_name("files")
_HEADER = re.compile(r"^# (why|as|routed|data|source|warns|says|change|env|file): (.*)$", re.MULTILINE)

NO_PROXY = SimpleNamespace(platform_domain=None)
"""Serves nothing, the server itself included."""


@dataclass(frozen=True, slots=True)
class Case:
    """One file, and what its header says."""

    name: str
    text: str

    def said(self, key: str) -> list[str]:
        return [value.replace("\\n", "\n") for name, value in _HEADER.findall(self.text) if name == key]

    @property
    def path(self) -> str:
        """The compose file's place in the app's folder."""
        return (self.said("as") or ["docker-compose.yml"])[0]

    @property
    def body(self) -> str:
        return _HEADER.sub("#", self.text)

    @property
    def changed(self) -> str | None:
        """The file with its one change."""
        for change in self.said("change"):
            old, new = change.split(" -> ")
            assert old in self.body
            return self.body.replace(old, new if new != '""' else "", 1)
        return None


CASES = [Case(path.stem, path.read_text()) for path in sorted(FOLDER.glob("*.yml"))]


class EveryImage(ComposeEngine):
    """The engine of this machine, if all registries could be reached."""

    async def has_image(self, reference: str) -> bool:
        return False

    async def check_image_obtainable(self, reference: str) -> str | None:
        return None


def examined(case: Case, text: str, root: Path) -> Report:
    """Examine a case with this compose file. Its app has no database and no route: nobody is asked of them."""
    app = App(AppName("shop"), root / "shop")
    for name, content in ({case.path: text} | dict(said.split(": ", 1) for said in case.said("file"))).items():
        (app.path / name).parent.mkdir(parents=True, exist_ok=True)
        (app.path / name).write_text(f"{content}\n")
    if variables := case.said("env"):
        app.env_file.write_text("\n".join(variables) + "\n")

    async def examine() -> Report:
        engine, apps = assemble(EveryImage(DOCKER_HOST, find_nothing)), Apps(root)
        with closing(Store(root / "state.db")) as store:
            policy = Policy(apps, Waivers(store), platform_ports={3000: "IKOMA itself", 5433: "IKOMA's PostgreSQL"})
            traffic, web = Routes(engine.runtime, cast(Proxy, NO_PROXY), apps), WebServices(engine.runtime, policy)
            resolutions = Resolutions(engine, policy.list_waived_rules)
            validator = Validator(engine, cast(Databases, None), policy, traffic, resolutions, web)
            try:
                return await validator.examine(app)
            finally:
                await engine.runtime.close()

    return asyncio.run(examine())


def routed(report: Report) -> str:
    web = report.choice.web if report.choice else None
    return f"{web.service}:{web.port}" if web else "-"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_gets_the_verdict_of_its_header(case: Case, tmp_path: Path) -> None:
    report = examined(case, case.body, tmp_path / "as-it-is")
    if says := case.said("says"):
        assert says[0] in str(report.errors[0])
        assert all(any(text in str(error) for error in report.errors) for text in says), list(map(str, report.errors))
    else:
        assert report.errors == []
    if case.changed:
        report = examined(case, case.changed, tmp_path / "changed")
        assert report.errors == []
    for text in case.said("warns"):
        assert any(text in str(warning) for warning in report.warnings), list(map(str, report.warnings))
    if not report.errors:
        assert routed(report) == case.said("routed")[0]
        kinds = {kind.path: kind.kind for kind in report.kinds}
        for kind in ("data", "source"):
            assert {kinds.get(path) for path in case.said(kind)} <= {kind}, kinds


def test_there_are_enough_of_them_and_most_need_no_change() -> None:
    unchanged = [case for case in CASES if not case.said("says")]
    print(f"{len(CASES)} files, {len(unchanged)} valid as they are")
    assert len(CASES) >= 60
    assert len(unchanged) >= 35
    elsewhere = ("mistake-in", "fetched", "missing", "many-", "unquoted", "tabs")  # what is to change is no line of it
    assert all(case.changed for case in CASES if case.said("says") and not case.name.startswith(elsewhere))

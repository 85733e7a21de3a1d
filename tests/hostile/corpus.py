"""Compose files on disk, each with what is to become of it, laid out as an app on a server.

The header of a file says it: `# rule:` names the rule that must catch it, `# needs:` the one that must be waived,
`# setup:` what else is on the server.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ikoma.app_folder import App
from ikoma.apps.host_facts import HostFacts
from ikoma.apps.policy import model as policy
from ikoma.apps.resolution.resolver import Resolutions
from ikoma.apps.yaml.reading import read_paths
from ikoma.apps.yaml.violation import Violation
from ikoma.compose.model import ComposeModel, parse_model
from ikoma.engines.compose import resolving
from ikoma.engines.compose.engine import ComposeEngine
from ikoma.engines.compose.runtime import TRAITS, assemble
from ikoma.kernel.redaction.redaction import find_nothing
from ikoma.model import AppName
from tests.support import DOCKER_HOST

FOLDER = Path(__file__).with_name("compose")
_HEADER = re.compile(r"^#\s*(rule|needs|setup|why):\s*(.*?)\s*$", re.MULTILINE)

_IMAGE = {"image": "nginx:1.27"}
MODELS: Mapping[str, tuple[str, dict[str, object]]] = {
    "key of a build": ("unknown-key", {"services": {"web": {"build": {"context": "/shop/src", "later": 1}}}}),
    "key of a deploy": ("unknown-key", {"services": {"web": {**_IMAGE, "deploy": {"later": 1}}}}),
    "key of a resource": (
        "unknown-key",
        {"services": {"web": {**_IMAGE, "deploy": {"resources": {"limits": {"later": 1}}}}}},
    ),
    "memory without end of a deploy": (
        "limits",
        {"services": {"web": {**_IMAGE, "deploy": {"resources": {"limits": {"memory": "-1"}}}}}},
    ),
    "key of a bind": (
        "unknown-key",
        {"services": {"web": {**_IMAGE, "volumes": [{"type": "bind", "source": "/shop/data", "bind": {"later": 1}}]}}},
    ),
    "key of a mount": (
        "unknown-key",
        {"services": {"web": {**_IMAGE, "volumes": [{"type": "volume", "source": "data", "later": 1}]}}},
    ),
    "kind of a mount": ("volume-driver", {"services": {"web": {**_IMAGE, "volumes": [{"type": "later"}]}}}),
    "key of a service": ("unknown-key", {"services": {"web": {**_IMAGE, "later": 1}}}),
    "key of the file": ("unknown-key", {"later": {"a": 1}}),
    "key of a network": ("unknown-key", {"networks": {"shop_a": {"later": 1}}}),
    "key of a volume": ("unknown-key", {"volumes": {"shop_a": {"later": 1}}}),
    "key of a config": ("unknown-key", {"configs": {"a": {"later": 1}}}),
    "key of a secret": ("unknown-key", {"secrets": {"a": {"later": 1}}}),
    "the project of another": ("foreign-name", {"name": "bank"}),
    "a range of ports": (
        "limits",
        {"services": {"web": {**_IMAGE, "ports": [{"target": 80, "published": "20000-29999"}]}}},
    ),
}
"""Models that no file can say to today's Compose: a later one may know more. `/shop` stands for the app's folder."""


@dataclass(frozen=True, slots=True)
class Case:
    """One file of the corpus."""

    path: Path
    text: str
    rule: str | None
    setup: tuple[str, ...]
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.stem


def cases(kind: str) -> list[Case]:
    """The files under refused/ or accepted/."""
    return [_case(path) for path in sorted((FOLDER / kind).glob("*.yml"))]


def _case(path: Path) -> Case:
    text = path.read_text()
    said: dict[str, list[str]] = {}
    for name, value in _HEADER.findall(text):
        said.setdefault(name, []).append(value)
    rule = (said.get("rule") or said.get("needs") or [None])[0]
    return Case(path, text, rule, tuple(said.get("setup", ())))


def lay_out(case: Case, root: Path) -> tuple[App, HostFacts]:
    """Make the app `shop` of this file under a folder of apps, and what is known of its server."""
    app = App(AppName("shop"), root / "shop")
    (app.path / "src").mkdir(parents=True)
    (app.path / "src" / "Dockerfile").write_text("FROM scratch\n")
    (app.path / ".ikoma").mkdir()
    (root / "bank").mkdir()
    text, env, more = case.text, "", b""
    registries, pinned = ("*",), False
    others, written = {"bank"}, []
    for line in case.setup:
        verb, _, rest = line.partition(" ")
        if verb == "symlink":
            link, _, target = rest.partition(" -> ")
            (app.path / link).parent.mkdir(parents=True, exist_ok=True)
            (app.path / link).unlink(missing_ok=True)
            (app.path / link).symlink_to(target)
        elif verb == "file":
            name, _, content = rest.partition(": ")
            (app.path / name).parent.mkdir(parents=True, exist_ok=True)
            (app.path / name).write_text(content.replace("\\r", "\r").replace("\\n", "\n") + "\n")
        elif verb == "folder":
            (app.path / rest).mkdir(parents=True, exist_ok=True)
        elif verb == "env":
            env += rest + "\n"
        elif verb == "written":
            written.append(app.path / rest)
        elif verb == "app":
            others.add(rest)
        elif verb == "socket":
            (app.path / rest).parent.mkdir(parents=True, exist_ok=True)
            _make_socket(app.path / rest)
        elif verb == "grow":
            name, _, size = rest.partition(" ")
            with (app.path / name).open("a") as file:
                file.write("x" * int(size))
        elif verb == "lines":
            name, count, line = rest.split(" ", 2)
            with (app.path / name).open("a") as file:
                file.write(f"{line}\n" * int(count))
        elif verb == "bytes":
            more += bytes.fromhex(rest)
        elif verb == "pad":
            text += f"# {'x' * 97}\n" * (int(rest) // 100)
        elif verb == "registries":
            registries = tuple(rest.split(","))
        elif verb == "pinned":
            pinned = True
        else:
            raise ValueError(f"{case.path.name}: {line!r} is no setup")
    (app.path / "docker-compose.yml").write_bytes(text.encode() + more)
    if env:
        app.env_file.write_text(env)
    facts = HostFacts(
        app=app,
        other_apps=frozenset(others),
        platform_ports={3000: "IKOMA itself", 5433: "IKOMA's PostgreSQL"},
        registries=registries,
        pinned=pinned,
        writable=tuple(written),
        find_neighbours=lambda: (ipaddress.ip_network("192.168.77.0/24"), ipaddress.ip_network("fd77::/64")),
        platform=(root, Path("/var/lib/docker"), Path("/var/lib/ikoma")),
        owners={"bank_data": "bank", "bank_default": "bank", "bridge": "", "host": "", "none": ""},
        engine=TRAITS,
    )
    return app, facts


async def judged(app: App, facts: HostFacts) -> tuple[list[Violation], str | None, ComposeModel | None]:
    """List what the policy finds, and Compose's own refusal where it does not come to a model."""
    engine = ComposeEngine(DOCKER_HOST, find_nothing)
    facts = replace(facts, find_files=partial(read_paths, app))
    try:
        gathered = await Resolutions(assemble(engine)).gather(app)
        if gathered.violations:
            return gathered.violations, None, None
        resolved = await resolving.resolve(app.name, app.path, gathered.merged, gathered.for_compose)
    finally:
        await engine.close()
    if resolved.model is None:
        return [], resolved.error, None
    model = parse_model(resolved.model)
    return policy.check(model, facts), None, model


def judged_model(name: str, app: App, facts: HostFacts) -> list[Violation]:
    """List what the policy finds in one of MODELS."""
    text = json.dumps(MODELS[name][1]).replace("/shop", str(app.path))
    return policy.check(parse_model(json.loads(text)), facts)


def _make_socket(path: Path) -> None:
    """Make a socket at a path of any length: an address takes a hundred characters."""
    folder = os.open(path.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
    os.close(folder)

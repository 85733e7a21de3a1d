"""Variables: what Compose resolved is what is listed, hidden and compared; and hiding breaks no answer."""

from __future__ import annotations

import json
import random
import re
import string
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.images import busybox_image
from tests.support import Answer, Server

ODD = (
    '\ufeffA_TOKEN="a\\$b-first!"\r\nB_TOKEN=a$$b-second!\nC_TOKEN: third-it!\nD_TOKEN="fourth!"tail\n'
    'E_TOKEN=${B_TOKEN}-fifth\nF_TOKEN=sixth!\t# c\nG_TOKEN="seventh!\nof two lines!"\nexport H_TOKEN=eighth!\n'
    "I_TOKEN=nin\u0085th!\u2028and\u2029more\U0001f600\n"
)
RAW = 'J_TOKEN="tenth!$$x" # c\n'
RESOLVED = {
    "A_TOKEN": "a$b-first!",
    "B_TOKEN": "a$b-second!",
    "C_TOKEN": "third-it!",
    "D_TOKEN": "fourth!",
    "E_TOKEN": "a$b-second!-fifth",
    "F_TOKEN": "sixth!\t# c",
    "G_TOKEN": "seventh!\nof two lines!",
    "H_TOKEN": "eighth!",
    "I_TOKEN": "nin\u0085th!\u2028and\u2029more\U0001f600",
    "J_TOKEN": '"tenth!$$x" # c',
    "K_PASSWORD": "inline$it!",
}
COMPOSE = """services:
  web:
    image: IMAGE
    env_file: [.env, {path: "${RAW_FILE:-raw.env}", format: raw}]
    environment: {K_PASSWORD: "inline$$it!"}
    command: ["sh", "-c", "env; exec httpd -f -p 3000 -h /www"]
    volumes: ["./src:/www:ro"]
    init: true
x-ikoma: {service: web, port: 3000, health: /ok}
"""


def make(server: Server, name: str, compose: str = COMPOSE, **files: str) -> Path:
    """An app of these files, named with _ for what stands in no Python name."""
    folder = server.apps / name
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "ok").write_text("ok\n")
    (folder / "docker-compose.yml").write_text(compose.replace("IMAGE", busybox_image()))
    for path, text in files.items():
        (folder / path).write_bytes(text.encode())
    return folder


def container_env(app: str) -> dict[str, str]:
    ids = subprocess.check_output(["docker", "ps", "-q", "--filter", f"label=ikoma.app={app}"], text=True).split()
    [made] = json.loads(subprocess.check_output(["docker", "inspect", *ids]))
    return dict(item.split("=", 1) for item in made["Config"]["Env"])


@pytest.fixture(scope="module")
def truth(server: Server) -> Iterator[str]:
    make(server, "vars-truth", **{".env": ODD, "raw.env": RAW})
    server.do("deploy.up", {"appName": "vars-truth", "timeout": 60})
    yield "vars-truth"


def test_what_compose_resolves_is_what_containers_get_and_what_is_listed(server: Server, truth: str) -> None:
    assert {name: value for name, value in container_env(truth).items() if name in RESOLVED} == RESOLVED
    listed = server.do("env.list", {"appName": truth})
    assert listed["names"] == [name for name in RESOLVED if name[0] < "J"]
    assert listed["services"] == {"web": sorted(RESOLVED)}
    assert server.do("release.show", {"appName": truth})["environment"] == sorted(listed["names"])
    plan = server.do("deploy.plan", {"appName": truth})
    assert [change["action"] for change in plan["changes"]] == ["keep"]


def test_every_form_of_a_secret_is_hidden_where_it_is_said(server: Server, truth: str) -> None:
    lines = "\n".join(server.do("apps.logs", {"appName": truth, "tail": 1000})["lines"])
    assert "K_PASSWORD=***" in lines
    said = lines + json.dumps(server.do("apps.validate", {"appName": truth}), ensure_ascii=False)
    parts = [part for value in RESOLVED.values() for part in value.splitlines() if len(part) >= 8]
    assert [part for part in parts if part in said] == []
    folder = server.apps / truth
    (folder / "src" / "notes.txt").write_text("\n".join([*RESOLVED.values(), ODD, RAW]))
    content = server.do("files.read", {"appName": truth, "path": "src/notes.txt"})["content"]
    assert [part for part in parts if part in content] == []
    assert "a\\$b-first!" not in content


@pytest.mark.parametrize(
    ("env", "place", "problem"),
    [
        ('A=1\nB_HASH="sec-ret-of-it\nC=2\nD="x"\n', ".env:2", "B_HASH"),
        ("A=1\nB_HASH=$2b$12$sec${ret-of\n", ".env:2", "B_HASH"),
        ("A=1\nsec ret-of it=1\n", ".env:2", "Line 2"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_line_and_name(
    server: Server, env: str, place: str, problem: str
) -> None:
    folder = server.apps / "vars-faulty"
    if not folder.exists():
        make(server, "vars-faulty", **{"raw.env": RAW})
    (folder / ".env").write_text(env)
    report = server.do("apps.validate", {"appName": "vars-faulty"})
    [error] = report["errors"]
    assert f"{error['file']}:{error['line']}" == place
    assert problem in error["problem"]
    answers = [
        server.call(name, {"appName": "vars-faulty", **more})
        for name, more in (
            ("apps.validate", {}),
            ("deploy.up", {}),
            ("deploy.plan", {}),
            ("artifact.verify_release", {}),
            ("env.list", {}),
            ("env.set", {"name": "Z", "value": "1"}),
            ("env.import", {"content": env}),
        )
    ]
    assert [answer.status for answer in answers] == [200, 422, 200, 200, 422, 422, 422]
    assert all(place in answer.body["error"] for answer in answers if answer.status == 422)
    said = json.dumps([answer.body for answer in answers]) + server.audit_log.read_text() + server.log()
    assert [part for part in ("sec", "ret-of") if re.search(rf"{part}(?![a-z])", said)] == []


def test_a_fault_in_another_file_of_variables_is_named_too(server: Server) -> None:
    compose = COMPOSE.replace(", format: raw", "")
    make(server, "vars-other", compose, **{"raw.env": 'A=1\n\nB="sec-ret-of-it\n', ".env": "A=2\n"})
    [error] = server.do("apps.validate", {"appName": "vars-other"})["errors"]
    assert (error["file"], error["line"]) == ("raw.env", 3)
    assert "B" in error["problem"]
    assert "sec-ret" not in json.dumps(error)


def test_what_is_blank_is_a_warning_where_that_works_and_an_error_where_it_does_not(server: Server) -> None:
    compose = """services:
  web:
    image: IMAGE
    environment: {A: "${OPTIONAL}", B: "${OPTIONAL}x", C: "${JWT_SECRET:-}", D: "${USER:-x}", E: "${HOME}"}
    labels: {of: "${LABELLED}"}
    command: [sh, -c, "${ARGUMENT}"]
"""
    make(server, "vars-blank", compose)
    report = server.do("apps.validate", {"appName": "vars-blank"})
    assert report["errors"] == []
    for name in ("OPTIONAL", "JWT_SECRET", "USER", "HOME", "LABELLED", "ARGUMENT"):
        assert [f"The variable {name} " in item["problem"] for item in report["warnings"]].count(True) == 1, name
    for line in (
        "image: x${NEEDED}",
        "image: IMAGE\n    ports: ['${NEEDED}:80']",
        "image: IMAGE\n    volumes: ['./data${NEEDED}:/d']",
        "build: {context: './src${NEEDED}'}",
    ):
        (server.apps / "vars-blank" / "docker-compose.yml").write_text(
            f"services:\n  web:\n    {line.replace('IMAGE', busybox_image())}\n"
        )
        errors = server.do("apps.validate", {"appName": "vars-blank"})["errors"]
        assert any("The variable NEEDED is not set" in item["problem"] for item in errors), line


def test_a_whole_file_is_imported_over_http(server: Server) -> None:
    folder = make(server, "vars-import", **{".env": "A=old\nB=2\n", "raw.env": RAW})
    content = "# mine\nA='new' # one\nC_TOKEN=ab$A-def\n"
    done = server.do("env.import", {"appName": "vars-import", "content": content})
    assert (done["names"], done["replaced"]) == (["A", "C_TOKEN"], ["A", "B"])
    assert [warning.split(" ")[0] for warning in done["warnings"]] == [".env:3:"]
    assert "ab$A" not in done["warnings"][0]
    assert (folder / ".env").read_text() == content
    assert Path(done["former"]).read_text() == "A=old\nB=2\n"
    entry = next(item for item in reversed(server.audit()) if item["capability"] == "env.import")
    assert entry["arguments"]["content"] == f"[a .env file, {len(content)} characters]"


def test_a_whole_file_is_imported_on_the_command_line(server: Server) -> None:
    folder = make(server, "vars-typed", **{".env": "A=old\n", "raw.env": RAW})
    done = server.cli("env-import", "vars-typed", input="# mine\nA='new'\nB=2\n")
    assert done.returncode == 0, done.stderr
    assert (folder / ".env").read_text().rstrip("\n") == "# mine\nA='new'\nB=2"
    refused = server.cli("env-import", "vars-typed", input="A=1\nB='sec-ret\n")
    assert refused.returncode != 0
    assert ".env:2" in refused.stderr
    assert "sec-ret" not in refused.stdout + refused.stderr
    assert (folder / ".env").read_text().startswith("# mine")


READS: tuple[tuple[str, dict[str, Any]], ...] = (
    *((name, {}) for name in ("apps.list", "platform.info", "platform.check", "operations.list", "audit.query")),
    *((name, {"appName": "d-shop-web"}) for name in ("apps.status", "apps.health", "env.list", "apps.validate")),
    *((name, {"appName": "d-shop-web"}) for name in ("deploy.plan", "release.list", "release.show", "domain.list")),
    *((name, {"appName": "d-shop-web"}) for name in ("db.status", "artifact.verify_release", "files.list")),
    ("artifact.generate_runbook", {"appName": "d-shop-web"}),
    ("apps.status", {"appName": "d-shop-wob"}),
    ("files.read", {"appName": "d-shop-web", "path": "src/nowhere"}),
    ("domain.add", {"appName": "d-shop-web", "domain": "not a domain"}),
    ("apps.logs", {"appName": "d-shop-web", "service": "shap"}),
    ("release.show", {"appName": "d-shop-web", "release": "20200101000000000"}),
    ("env.unset", {"appName": "d-shop-web", "name": "NOWHERE"}),
    ("deploy.up", {"appName": "d-shop-web", "env": {"A-B": "x"}}),
)


def answers(server: Server) -> list[Answer]:
    return [server.call(name, arguments) for name, arguments in READS]


def test_five_hundred_harmless_values_break_no_answer(server: Server) -> None:
    compose = COMPOSE.replace("web:\n", "shop:\n", 1).replace("service: web", "service: shop")
    folder = make(server, "d-shop-web", compose, **{"raw.env": "", ".env": "DB_PASSWORD=shop\n"})
    server.do("deploy.up", {"appName": "d-shop-web", "timeout": 60})
    whole = json.dumps([answer.body for answer in answers(server)], ensure_ascii=False)
    assert "***" not in whole
    words = dict.fromkeys(re.findall(r"[\w./:@-]{4,60}", whole))
    harmless = [word for word in words if not re.search(r"[0-9a-f]{20,}", word)]
    random.Random(1).shuffle(harmless)
    plain = [word for word in harmless if re.fullmatch(r"[a-z]{4,14}|[0-9.]{4,15}", word)][:150]
    plain += ["shop", "web", "healthy", "running", "127.0.0.1", "postgres", "admin", "deploy", "d-shop-web"]
    lines = [f"VALUE_{number}='{word}'" for number, word in enumerate(harmless[:500])]
    lines += [f"DB_PASSWORD_{number}='{word}'" for number, word in enumerate(plain)]
    lines += ["BIND_ADDRESS=127.0.0.1", "DB_PASSWORD=shop"]
    (folder / ".env").write_text("\n".join(lines) + "\n")
    assert len(lines) >= 500
    after = answers(server)
    broken = [(name, line) for (name, _), answer in zip(READS, after, strict=True) for line in starred(answer)]
    assert broken == [], broken[:5]
    assert any(item["name"] == "d-shop-web" for item in after[0].result["apps"])
    assert "d-shop-web" in after[17].body["hint"]


def starred(answer: Answer) -> list[str]:
    return [line for line in json.dumps(answer.body, indent=1).splitlines() if "***" in line]


def test_none_of_five_hundred_secrets_is_said(server: Server) -> None:
    chance = random.Random(2)
    letters = string.ascii_letters + string.digits
    shapes = [
        lambda: "".join(chance.choices(letters, k=chance.randint(12, 60))) + "9Q",
        lambda: "".join(chance.choices(string.ascii_lowercase, k=12)),
        lambda: "".join(chance.choices(string.digits, k=9)),
        lambda: "".join(chance.choices(letters + "$#'\"\\!&<>{}% äß€", k=24)).strip() + "!x",
        lambda: "-".join("".join(chance.choices(string.ascii_lowercase, k=5)) for _ in range(4)),
        lambda: f"postgres://me:{''.join(chance.choices(letters, k=14))}@db/x",
    ]
    made = {f"S{number}_PASSWORD": shapes[number % len(shapes)]() for number in range(500)}
    compose = COMPOSE.replace("httpd -f", "httpd -f").replace("env;", "env; env | tr A-Z A-Z >&2;")
    folder = make(server, "vars-leak", compose, **{"raw.env": ""})
    server.do("env.import", {"appName": "vars-leak", "content": "A=1\n"})
    half = list(made)[:250]
    (folder / ".env").write_text("".join(f"{name}={quoted(made[name])}\n" for name in half))
    server.do(
        "deploy.up",
        {"appName": "vars-leak", "timeout": 60, "env": {name: made[name] for name in made if name not in half}},
    )
    (folder / "src" / "notes.txt").write_text("\n".join(made.values()))
    said = [
        server.call("apps.logs", {"appName": "vars-leak", "tail": 5000}),
        server.call("files.read", {"appName": "vars-leak", "path": "src/notes.txt"}),
        *(server.call(name, {"appName": "vars-leak"}) for name in ("apps.validate", "deploy.plan", "release.show")),
        *(
            server.call("source.clone", {"appName": "vars-leak", "url": f"https://me:{value}@x.example/y"})
            for value in ("a", "b")
        ),
    ]
    text = "\n".join(json.dumps(answer.body, ensure_ascii=False) for answer in said) + server.audit_log.read_text()
    text += server.log()
    forms = {name: (value, json.dumps(value, ensure_ascii=False)[1:-1]) for name, value in made.items()}
    assert [name for name, known in forms.items() if any(form in text for form in known)] == []
    assert said[0].body["result"]["lines"].count("S0_PASSWORD=***") >= 1


def quoted(value: str) -> str:
    for character, escape in (("\\", "\\\\"), ('"', '\\"'), ("$", "\\$")):
        value = value.replace(character, escape)
    return f'"{value}"'


def test_a_hash_without_quotes_is_an_error_and_with_them_arrives(server: Server) -> None:
    folder = make(
        server, "vars-hash", **{"raw.env": RAW, ".env": "A=1\nB_HASH=$2b$12$Dwt1BjqBfJvvqs.e7sR1dF6gH3jY5cA0eUZq9k\n"}
    )
    report = server.do("apps.validate", {"appName": "vars-hash"})
    [error] = report["errors"]
    assert (error["file"], error["line"]) == (".env", 2)
    assert "B_HASH" in error["problem"]
    assert "single quotes" in error["fix"]
    refused = server.call("deploy.up", {"appName": "vars-hash"})
    imported = server.call("env.import", {"appName": "vars-hash", "content": (folder / ".env").read_text()})
    assert (refused.code, imported.code) == ("invalid_compose", "env_unreadable")
    said = json.dumps([report, refused.body, imported.body]) + server.audit_log.read_text() + server.log()
    assert "Dwt1BjqBfJvvqs" not in said
    value = "$2b$12$Dwt1BjqBfJvvqs.e7sR1dF6gH3jY5cA0eUZq9k"
    server.do("env.set", {"appName": "vars-hash", "name": "B_HASH", "value": value})
    assert server.do("apps.validate", {"appName": "vars-hash"})["errors"] == []
    assert f"B_HASH='{value}'" in (folder / ".env").read_text()


@pytest.mark.parametrize(
    "value", ["$2y$10$Dwt1BjqBfJvvqs", "$argon2id$v=19$m=65536,t=3,p=4$Dwt1B$jqBfJvvqs", "x:$apr1$Dwt1B$jqBfJvvqs"]
)
@pytest.mark.parametrize("form", ["{A: '1', B_HASH: 'VALUE'}", "['A=1', 'B_HASH=VALUE']"])
def test_a_hash_in_a_compose_file_is_an_error_that_does_not_quote_it(server: Server, form: str, value: str) -> None:
    folder = server.apps / "vars-dollars"
    folder.mkdir(exist_ok=True)
    compose = f"services:\n  web:\n    image: {busybox_image()}\n    environment: {form}\n"
    (folder / "docker-compose.yml").write_text(compose.replace("VALUE", value))
    answer = server.call("apps.validate", {"appName": "vars-dollars"})
    [error] = answer.result["errors"]
    assert (error["file"], error["line"]) == ("docker-compose.yml", 4)
    assert "$$" in error["fix"]
    assert not re.search("Dwt1B|jqBfJvvqs", json.dumps(answer.body))
    (folder / "docker-compose.yml").write_text(compose.replace("VALUE", value.replace("$", "$$")))
    assert server.do("apps.validate", {"appName": "vars-dollars"})["errors"] == []


def test_a_warning_of_a_variable_does_not_quote_what_may_be_a_piece_of_a_password(server: Server) -> None:
    folder = server.apps / "vars-glued"
    folder.mkdir(exist_ok=True)
    environment = "{A: 'abc$Dwt1B', B: 'http://$HOSTED:${PORTED}'}"
    compose = f"services:\n  web:\n    image: {busybox_image()}\n    environment: {environment}\n"
    (folder / "docker-compose.yml").write_text(compose)
    answer = server.call("apps.validate", {"appName": "vars-glued"})
    assert answer.result["errors"] == []
    assert "Dwt1B" not in json.dumps(answer.body)
    problems = [warning["problem"] for warning in answer.result["warnings"]]
    for text in ("services.web.environment.A holds a $", "variable HOSTED is not set", "variable PORTED is not set"):
        assert sum(text in problem for problem in problems) == 1, problems

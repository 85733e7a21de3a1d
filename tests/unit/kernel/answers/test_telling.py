"""IKOMA's own sentences: each door names what can be called in its own words, and only what the reader can call."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache, partial
from itertools import product, takewhile
from pathlib import Path

import click
import orjson
import pytest

import ikoma
from ikoma import capabilities
from ikoma.cli import main
from ikoma.cli.capability_index import read_verbs
from ikoma.cli.naming import AnswerWording
from ikoma.errors.base import list_error_classes
from ikoma.kernel.access import controls
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.answers.leading import may_call
from ikoma.kernel.answers.telling import Reader, Telling
from ikoma.kernel.words import CapabilityNames, reword_details
from ikoma.model import Role, quote_name
from ikoma.transports.mcp.tools import is_chosen, make_tool_name
from ikoma.transports.mcp.wording.speech import Speech

REGISTRY = capabilities.load()
TELLING, SPEECH = Telling(REGISTRY), Speech(REGISTRY)
DOTTED = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, REGISTRY.list_names()))})(?!\w|\.\w)")
TOOLS = {make_tool_name(item.name): item for item in REGISTRY}


def _documents(tree: ast.AST) -> set[int]:
    """Ids of the nodes that document code: nobody is told them."""
    bodies = [body for node in ast.walk(tree) if isinstance(body := getattr(node, "body", None), list)]
    return {id(item.value) for body in bodies for item in body if isinstance(item, ast.Expr)}


def _sentences() -> Iterator[str]:
    """Every text in the source that names what can be called, and is not such a name alone."""
    for path in sorted(Path(ikoma.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text())
        documents = _documents(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
                named = DOTTED.search(node.value) and not DOTTED.fullmatch(node.value)
                yield from [node.value] if named else []


def _errors() -> Iterator[str]:
    for kind in list_error_classes():
        yield kind.default_hint
        yield kind().message


@cache
def list_texts() -> list[str]:
    """All of them; not at the top, since each worker imports this file before its first test."""
    return sorted({*_sentences(), *_errors()})


@pytest.mark.parametrize("role", Role)
def test_over_mcp_a_sentence_names_tools_and_only_those_of_the_key(role: Role) -> None:
    assert len(list_texts()) > 100
    keys = (
        Caller("k", "a", role),
        Caller("k", "a", role, read_only=True),
        Caller("k", "a", role, capabilities=("db.*",)),
    )
    for caller, text in product(keys, list_texts()):
        said = SPEECH.make_rewording({"appName": "shop"})(TELLING.fit_text(text, Reader(caller, role)))
        assert not DOTTED.search(said), said
        named = [TOOLS[word] for word in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", said) if word in TOOLS]
        assert all(may_call(item, caller, role) for item in named), said


def test_on_the_command_line_a_sentence_names_commands_that_exist() -> None:
    for text in list_texts():
        said = AnswerWording("apps.status", {"appName": "shop"}).word_sentence(text)
        assert not DOTTED.search(re.sub(r"`ikoma call [a-z._]+", "", said)), said
        for line in re.findall(r"`ikoma ([^`]*)`", said):
            _find_command(shlex.split(line))


OF_ONE_DOOR = {
    "postgres/backup/input_kind.py": "said by `ikoma psql` alone",
    "postgres/clients/session.py": "said by `ikoma psql` alone",
    "transports/server.py": "said by `ikoma up` alone",
    "transports/mcp/streams/stdio.py": "of the server's own log",
    "apps/observation/runbook.py": "a document for people at the server",
    "docs.py": "a document",
}
AT_THE_SERVER = {"psql", "psql --admin", "doctor", "up"}
"""Commands of a person at the server, for which no door has a call."""


def _whole_texts(path: Path) -> Iterator[str]:
    """Every text of a module that somebody may be told, with X for what is filled in."""
    tree = ast.parse(path.read_text())
    documents = _documents(tree)
    documents |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value


def test_no_door_is_told_of_a_command_that_is_not_its_own() -> None:
    """Capabilities are named as such, and each door words them. What has none is for a person at the server."""
    home, said = Path(ikoma.__file__).parent, 0
    for path in sorted(home.rglob("*.py")):
        place = str(path.relative_to(home))
        if place in OF_ONE_DOOR or place.startswith(("cli/", "web/", "apps/recovery/")):  # recover is a command
            continue
        for text in _whole_texts(path):
            for clause in re.split(r"[.;] ", text):
                for command in re.findall(r"`ikoma ([^`]*)(?:`|$)", clause):
                    assert re.search(r"[Aa] person at the server", clause.partition("`ikoma")[0]), (place, text)
                    assert re.sub(r" X.*| < .*", "", command).strip() in AT_THE_SERVER, (place, text)
                    said += 1
    assert said >= 5
    for page in home.rglob("transports/mcp/**/*.md"):
        assert not re.search(r"`ikoma [a-z]", page.read_text()), page


def test_what_a_person_does_at_the_server_names_the_app_on_the_command_line() -> None:
    text = "Take it out; a person at the server runs it with `ikoma psql`, or `ikoma psql --admin`."
    said = AnswerWording("db.migrate", {"appName": "shop"}).word_sentence(text)
    assert said == "Take it out; a person at the server runs it with `ikoma psql shop`, or `ikoma psql --admin shop`."
    assert SPEECH.make_rewording({"appName": "shop"})(text) == text


def test_no_text_names_a_capability_that_is_not_there() -> None:
    spaces = {name.partition(".")[0] for name in REGISTRY.list_names()}
    like = re.compile(rf"(?<![\w./@:'\"`-])(?:{'|'.join(sorted(spaces))})\.[a-z_]+(?:\.[a-z_]+)?(?![\w/(=-])")
    for text in list_texts():
        for found in like.findall(text):
            assert found in REGISTRY or found.rpartition(".")[0] in REGISTRY, text


def test_no_text_names_a_command_that_is_not_there() -> None:
    named = 0
    for path in sorted(Path(ikoma.__file__).parent.rglob("*.*")):
        if path.suffix in (".py", ".md", ".js"):
            for line in re.findall(r"`ikoma ([a-z][^`\n]*)", path.read_text()):
                _find_command(list(takewhile(re.compile("[a-z-]+").fullmatch, line.split())))
                named += 1
    assert named > 50


def test_no_page_for_a_model_names_a_tool_or_a_capability_that_is_not_listed() -> None:
    home, named = Path(ikoma.__file__).parent / "transports" / "mcp", 0
    spaces = "|".join(sorted({name.partition(".")[0] for name in REGISTRY.list_names()}))
    for path in sorted(home.rglob("*.*")):
        texts = [path.read_text()] if path.suffix == ".md" else _whole_texts(path) if path.suffix == ".py" else ()
        for found in re.findall(rf"(?<![\w./])(?:{spaces})[._][a-z]+(?:[._][a-z]+)*", " ".join(texts)):
            assert found in REGISTRY or found in TOOLS, (path, found)
            named += 1
    assert named > 50


@pytest.mark.parametrize(
    ("capability", "text", "said"),
    [
        (
            "apps.logs",
            "ask for a larger `tail`, or narrow with `since`, `service` or `grep`",
            "ask for a larger `--tail`, or narrow with `--since`, `--service` or `--grep`",
        ),
        ("db.migrate", "raise `lockTimeout`", "raise `--lock-timeout`"),
        ("deploy.up", "`timeout` gives it longer, `name` does not", "`--timeout` gives it longer, `name` does not"),
        ("source.clone", "correct `url`, `ref` or `token`", "correct `URL`, `REF` or `--token`"),
        ("policy.unwaive", "give its `id`", "give its `ID`"),
        ("release.unknown", "give its `id`", "give its `id`"),
    ],
)
def test_arguments_of_the_call_are_said_as_they_are_typed(capability: str, text: str, said: str) -> None:
    assert AnswerWording(capability, {"appName": "shop"}).word_sentence(text) == said
    assert SPEECH.make_rewording({"appName": "shop"})(text) == text


def test_a_hint_marks_the_arguments_that_it_names() -> None:
    """Else the command line could not say them as options."""
    names = {name for item in REGISTRY for name in controls.make_arguments_schema(item).get("properties", {})}
    bare = re.compile(rf"(?<![\w`.\"-])(?:{'|'.join(name for name in names if not name.islower())})(?![\w`])")
    assert [text for text in _errors() if bare.search(text)] == []


def _find_command(words: list[str]) -> click.Command:
    """The command that a line calls; what follows its words is not read."""
    command: click.Command = main
    for word in words:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(click.Context(command), word)
        assert found is not None, words
        command = found
    return command


@pytest.mark.parametrize(
    ("role", "text", "fitted"),
    [
        (Role.ADMIN, "apps.list shows the apps; apps.init creates one.", None),
        (
            Role.OBSERVER,
            "apps.list shows the apps; apps.init creates one.",
            "apps.list shows the apps; a builder key can create an app's folder from a template or a compose file of "
            "one's own.",
        ),
        (Role.OBSERVER, "Wait (operations.wait), then try again.", "Wait, then try again."),
        (Role.OPERATOR, "Free it first (domain.remove), or choose another.", "Free it first, or choose another."),
        (Role.OPERATOR, "keys.revoke ends it.", "An admin key can end an API key at once."),
        (Role.OPERATOR, "audit.query tells.", None),
    ],
)
def test_a_clause_that_a_reader_cannot_use_says_who_can(role: Role, text: str, fitted: str | None) -> None:
    assert TELLING.fit_text(text, Reader(Caller("k", "a", role), role)) == (fitted or text)


def test_a_key_that_only_reads_is_told_of_keys_that_change() -> None:
    reader = Reader(Caller("k", "a", Role.ADMIN, read_only=True), Role.ADMIN)
    deed = "deploy an app from its folder."
    assert TELLING.fit_text("Call deploy.up first.", reader) == f"A key that may change things can {deed}"
    narrow = Reader(Caller("k", "a", Role.ADMIN, capabilities=("apps.*",)), Role.ADMIN)
    assert TELLING.fit_text("Call deploy.up first.", narrow) == f"A key of a wider scope can {deed}"


@pytest.mark.parametrize(
    "text",
    [
        "The domain 'apps.run' belongs to another app.",
        'There is no file "db.query".',
        "/srv/apps/shop/db.query is no file.",
        "src/deploy.up was written, and deploy.up/x too.",
        "www.apps.run and apps.run.example.org are others.",
        "someone@apps.run",
    ],
)
def test_what_others_named_stays_as_it_is(text: str) -> None:
    names = CapabilityNames(REGISTRY.list_names())
    assert names.reword(text, lambda *_: "CHANGED") == text


def test_what_a_caller_gave_stays_as_it_is() -> None:
    words = SPEECH.make_rewording({"appName": "shop", "domain": "apps.run"})
    assert words("apps.run now leads to shop. Next: domain.list.") == "apps.run now leads to shop. Next: domain_list."


def test_of_a_page_only_the_line_is_exchanged_that_a_reader_cannot_use() -> None:
    page = "## After each deploy\n\n- look at it\n- call db.backup\n- [ ] tell people\n"
    reader = Reader(Caller("k", "a", Role.OBSERVER), Role.OBSERVER)
    said = "An operator key can dump the app's database to a new file"
    assert TELLING.fit_text(page, reader).splitlines() == [
        "## After each deploy",
        "",
        "- look at it",
        said,
        "- [ ] tell people",
    ]


def test_what_others_named_like_a_call_stands_in_quotes() -> None:
    assert (quote_name("apps.run"), quote_name("shop.example")) == ("'apps.run'", "shop.example")
    said = SPEECH.make_rewording({})(f"The domain {quote_name('apps.run')} belongs to another app: see domain.list.")
    assert said == "The domain 'apps.run' belongs to another app: see domain_list."


def test_arguments_that_follow_a_name_are_said_with_it() -> None:
    text = 'Call deploy.rollback {"database": true} to take it back.'
    assert SPEECH.make_rewording({})(text) == 'Call deploy_rollback {"database":true} to take it back.'
    said = AnswerWording("deploy.rollback", {"appName": "shop"}).word_sentence(text)
    assert said == "Call `ikoma rollback shop --database` to take it back."
    assert SPEECH.make_rewording({})("See deploy.up {this} now.") == "See deploy_up {this} now."


def test_details_of_failures_are_worded_too() -> None:
    details = {
        "lost": ["all; db.backup keeps it"],
        "logs": ["apps.run says no"],
        "errors": [{"fix": "Call apps.adapt."}],
    }
    changed = reword_details(details, SPEECH.make_rewording({}))
    assert changed == {
        "lost": ["all; db_backup keeps it"],
        "logs": ["apps.run says no"],
        "errors": [{"fix": "Call apps_adapt."}],
    }


def test_the_help_of_a_command_names_commands() -> None:
    for name in read_verbs():
        command = _find_command(name.split())
        said = command.get_help(click.Context(command, info_name=name))
        assert not DOTTED.search(re.sub(r"ikoma\s+call\s+[a-z._]+", "", said)), said


def test_a_call_that_a_sentence_gives_arguments_to_names_its_app() -> None:
    whole = TELLING.complete_text('Call `deploy.plan {"rollback": true}`; release.list shows.', {"appName": "shop"})
    assert whole == 'Call `deploy.plan {"appName": "shop", "rollback": true}`; release.list shows.'
    assert TELLING.complete_text(whole, {"appName": "other"}) == whole, "what it says itself stays"
    about = 'operations.wait {"operationId": "1"} waits.'
    assert TELLING.complete_text(about, {"appName": "shop"}) == about, "it takes no app"
    assert TELLING.complete_text('deploy.plan {"rollback": true}', {}) == 'deploy.plan {"rollback": true}'


def test_steps_of_operations_name_what_each_door_calls() -> None:
    steps = ["waiting for deploy.up to end (operation 1)", "build web | deploy.up is no command"]
    told = {
        "id": "2",
        "capability": "db.backup",
        "appName": "shop",
        "state": "running",
        "steps": [{"name": name, "at": "2026-01-01T00:00:00Z", "fraction": None} for name in steps],
    }
    shown = AnswerWording("operations.get", {"operationId": "2"}).word_result(told)
    assert [step["name"] for step in shown["steps"]] == [
        "waiting for `ikoma deploy shop` to end (operation 1)",
        steps[1],
    ]
    body = orjson.loads(SPEECH.word_body("operations.get", orjson.dumps(told), {"operationId": "2"}))
    assert [step["name"] for step in body["steps"]] == ["waiting for deploy_up to end (operation 1)", steps[1]]
    listed = {"operations": [{**told, "steps": [], "step": steps[0]}], "truncated": False}
    assert "`ikoma deploy shop`" in AnswerWording("operations.list", {}).word_result(listed)["operations"][0]["step"]
    body = orjson.loads(SPEECH.word_body("operations.list", orjson.dumps(listed), {}))
    assert body["operations"][0]["step"] == "waiting for deploy_up to end (operation 1)"


def test_a_tool_that_the_client_does_not_list_is_named_as_one_that_can_be_called() -> None:
    change = SPEECH.make_rewording({}, lists=partial(is_chosen, toolsets=()))
    said = change("hook.show says why; hook.create and apps.list are others.")
    assert said == (
        "hook_show says why; hook_create and apps_list are others. "
        "(hook_show, hook_create are not listed here: call them anyway.)"
    )
    assert change("hook.show again.") == "hook_show again.", "it is said once in an answer"
    assert SPEECH.make_rewording({}, lists=partial(is_chosen, toolsets=("all",)))("hook.show") == "hook_show"

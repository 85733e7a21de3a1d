"""The reference of the API as one page that works offline: by task, searchable, with the commands of this server."""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from ikoma import __version__
from ikoma.errors import IkomaError, list_error_classes
from ikoma.kernel.access import controls
from ikoma.kernel.registry import Capability, Registry
from ikoma.kernel.schemas import make_request_schema, make_result_schema
from ikoma.web import schemas
from ikoma.web.commands import make_example_command
from ikoma.web.page import HERE, render_document
from ikoma.web.schemas import Field
from ikoma.web.tasks import TASKS, Task

_SCRIPT = Path(__file__).with_name("reference.js")
_INTRODUCTION = """<p>Each capability is called with <code>POST /execute/&lt;capability&gt;</code>, an
<code>X-Api-Key</code> header and a JSON object. <code>X-Role</code> may lower the key's role for one call. Answers are
<code>{"success": true, "requestId": …, "result": …}</code>; failures carry <code>error</code>, <code>code</code> and
<code>hint</code>. With <code>Accept: application/x-ndjson</code>, long calls report their progress line by line.
In the commands below, <code>$KEY</code> is your API key.</p>"""
_SEARCH = """<div class="search scripted" hidden><input id="search" type="search" autocomplete="off" spellcheck="false"
placeholder="Search: a task, a name, an argument, an error code" aria-label="Search the reference"
aria-describedby="found"><p id="found" class="dim" role="status"></p></div>"""

_ALSO = {
    "abandon": "give up",
    "backup": "dump save",
    "create": "add make new",
    "delete": "erase remove",
    "down": "halt stop",
    "init": "add create make new",
    "query": "read select sql",
    "remove": "delete destroy erase",
    "restart": "reboot start again",
    "restore": "recover undelete undo",
    "revoke": "delete end remove",
    "rollback": "go back revert undo",
    "scale": "replicas instances",
    "set": "change",
    "unset": "delete remove",
    "up": "publish release start",
    "write": "change create save upload",
}
"""Last word of a name → others that people look for it by."""


def render_reference(registry: Registry, guides: Sequence[str] = ()) -> str:
    """The whole page. Where it says `HERE`, the server's address belongs.

    Args:
        guides: names of the guides that this server has.
    """
    tasks = [(task, _list_of_task(task, registry)) for task in TASKS]
    links = "".join(f'<a href="#{task.slug}">{task.title}</a>' for task, _ in tasks)
    sections = "".join(_render_section(task, items, guides) for task, items in tasks)
    all_guides = '<a href="/docs/guides/README">Guides</a> · ' if guides else ""
    return render_document(
        "IKOMA reference",
        f'<header><h1>IKOMA reference</h1><p class="dim">Version {__version__} · {all_guides}'
        f'<a href="/openapi.json">openapi.json</a></p></header>{_SEARCH}{_INTRODUCTION}'
        f'<nav aria-label="Tasks">{links}<a href="#errors">Errors</a></nav><main>{sections}{_render_errors()}</main>',
        _SCRIPT,
    )


def describe_consent(item: Capability) -> str:
    """Whether a person is asked, and how what it does is undone."""
    asks = "" if item.loses is None else " A person is asked where something is lost for good."
    undone = f" `{item.undo}` undoes it." if item.undo else ""
    if item.undo == item.name:
        undone = " Another call of it undoes it."
    return asks + undone + (f" Nobody is asked: {item.harmless}." if item.harmless else "")


def list_errors() -> dict[str, type[IkomaError]]:
    """Every error that a caller can meet, by its code."""
    found = {kind.code: kind for kind in list_error_classes()}
    return dict(sorted(found.items()))


def describe_error(kind: type[IkomaError]) -> str:
    """The sentence that says what an error is."""
    return (kind.__doc__ or "").strip().split("\n\n", 1)[0].replace("\n", " ")


def _list_of_task(task: Task, registry: Registry) -> list[Capability]:
    """The capabilities of a task, the usual before the rare."""
    return sorted((item for item in registry if item.listing.task == task.word), key=lambda item: item.rare)


def _render_section(task: Task, items: list[Capability], guides: Sequence[str]) -> str:
    read = ", ".join(f'<a href="/docs/guides/{name}">{_find_title(name)}</a>' for name in task.guides if name in guides)
    guide = f" Guides: {read}." if read else ""
    about = f'<p class="dim">{_render_inline(task.about)}{guide}</p>'
    return (
        f'<section class="task" id="{task.slug}"><h2>{task.title}</h2>{about}'
        f"{''.join(_render_capability(item, task) for item in items)}</section>"
    )


def _find_title(guide: str) -> str:
    return guide.rsplit("/", 1)[-1].replace("-", " ")


def _render_capability(item: Capability, task: Task) -> str:
    request = make_request_schema(item.request)
    takes = schemas.list_arguments(controls.make_arguments_schema(item))
    own = [field for field in takes if field.name in item.arguments]
    words = [item.name, item.name.replace(".", " "), item.name.replace(".", "_"), task.title, item.description]
    words += [make_example_command(item), str(item.role), *(f"{field.name} {field.about}" for field in own)]
    also = _ALSO.get(item.name.rsplit(".", 1)[-1], "")
    about = "".join(
        f"<p>{_render_inline(part)}</p>" for part in f"{item.description}\n\n{describe_consent(item)}".split("\n\n")[1:]
    )
    arguments = (
        _render_table(("argument", "takes", "meaning"), map(_describe_argument, takes))
        if takes
        else "<p>It takes none.</p>"
    )
    answer, command = _render_answer(item), _render_line(make_example_command(item))
    return (
        f'<details class="one" id="{item.name}" data-name="{item.name}" data-also="{also}" '
        f'data-words="{_join_words([*words, also])}"><summary>'
        f'<code>{item.name}</code> <span class="mark">{item.role}</span><span class="mark">{item.effect.value}</span>'
        f"<br>{_render_inline(item.summary)}</summary><div>{about}<h4>Arguments</h4>{arguments}<h4>Answer</h4>{answer}"
        f"<h4>Command line</h4>{command}<h4>HTTP</h4>{_render_line(_write_curl(item, request))}"
        f"<h4>Errors</h4><p>{_list_codes(task)}</p></div></details>"
    )


def _describe_argument(field: Field) -> tuple[str, str, str]:
    need = '<span class="mark">required</span>' if field.required else ""
    default = f" Default: <code>{html.escape(field.default)}</code>." if field.default else ""
    bounds = f"; {html.escape(field.bounds)}" if field.bounds else ""
    return (
        f"<code>{field.name}</code>{need}",
        f"{html.escape(field.kind)}{bounds}",
        f"{_render_inline(field.about)}{default}",
    )


def _render_answer(item: Capability) -> str:
    schema = make_result_schema(item.result_adapter)
    fields = schemas.list_parts(schema)
    if not fields:
        return "<p>A text.</p>"
    rows = ((f"<code>{field.name}</code>", html.escape(field.kind), _render_inline(field.about)) for field in fields)
    return _render_table(("part", "is", "meaning"), rows)


def _list_codes(task: Task) -> str:
    """Links to the errors of a task; those of any call stand with all of them below."""
    known = list_errors()
    links = ", ".join(
        f'<a href="#error-{code}" title="{html.escape(describe_error(known[code]))}"><code>{code}</code></a>'
        for code in task.errors.split()
    )
    return f'{links}, and <a href="#errors">those of any call</a>.'


def _write_curl(item: Capability, request: schemas.Schema) -> str:
    properties = request.get("properties", {})
    given = {name: schemas.make_example(name, properties[name], request) for name in request.get("required", ())}
    body = shlex.quote(json.dumps(given, ensure_ascii=False))
    return f'curl -X POST {HERE}/execute/{item.name} -H "X-Api-Key: $KEY" -d {body}'


def _render_line(command: str) -> str:
    """A command to copy."""
    shown = html.escape(command).replace(HERE, f'<span class="here">{HERE}</span>')
    button = '<button type="button" class="scripted" hidden>Copy</button>'
    return f'<div class="line"><pre tabindex="0"><code>{shown}</code></pre>{button}</div>'


def _render_errors() -> str:
    rows = "".join(map(_render_error, list_errors().values()))
    return (
        '<section class="task" id="errors"><h2>Errors</h2><p class="dim">What a failure carries as <code>code</code>, '
        'and as <code>hint</code> where it has no better one.</p><table class="errors"><tbody><tr><th>code</th>'
        f"<th>HTTP</th><th>meaning</th><th>what to do</th></tr>{rows}</tbody></table></section>"
    )


def _render_error(kind: type[IkomaError]) -> str:
    words = _join_words((kind.code, kind.code.replace("_", " "), describe_error(kind), kind.default_hint))
    return (
        f'<tr id="error-{kind.code}" data-name="{kind.code}" data-words="{words}"><td><code>{kind.code}</code></td>'
        f"<td>{kind.status}</td><td>{_render_inline(describe_error(kind))}</td><td>{_render_inline(kind.default_hint)}</td></tr>"
    )


def _render_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of HTML."""
    first = "".join(f"<th>{word}</th>" for word in head)
    rest = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tbody><tr>{first}</tr>{rest}</tbody></table>"


def _render_inline(text: str) -> str:
    """A text of ours, in which `this` is code."""
    parts = html.escape(text.strip(), quote=False).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _join_words(texts: Iterable[str]) -> str:
    return html.escape(" ".join(" ".join(texts).lower().split()))

"""The output of the command line: pages for people, plain lines for pipes, JSON for programs, failures on stderr.

Colours are on a terminal only, and not where NO_COLOR is set or TERM is dumb.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TextIO

import click

from ikoma.cli.blocks import Block, FactList, FindingList, ItemList, LabelledSentence, Paper, Raw
from ikoma.cli.words import flatten, guess, word_count, word_label

_QUOTED = ("sql", "healthcheck", "answer", "logs", "output")
_OWN = ("next", "retryAfter", "confirmation")
"""Details of a failure that are for programs."""
_WIDEST = 160


def make_paper(stream: TextIO | None) -> Paper:
    """The paper for stdout or stderr."""
    people = stream is not None and stream.isatty()
    colour = people and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Paper(people, min(shutil.get_terminal_size().columns, _WIDEST) if people else 0, colour)


def is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def show(result: Any, as_json: bool, blocks: Sequence[Block] = ()) -> None:
    """Print a result: as JSON, or the blocks that a view has made of it."""
    if as_json:
        click.echo(write_text(result))
        return
    for line in make_paper(sys.stdout).lay_out(blocks):
        click.echo(line)


def write_text(result: Any) -> str:
    return json.dumps(result, ensure_ascii=False, indent=2)


def say(*blocks: Block) -> None:
    """Print on stderr, where results of programs do not go."""
    for line in make_paper(sys.stderr).lay_out(blocks):
        click.echo(line, err=True)


def fail(message: str, code: str, hint: str | None) -> NoReturn:
    """Say what is wrong and what to do next, and end with exit code 1."""
    say(*make_failure_blocks(message, code, hint, {}))
    sys.exit(1)


def fail_with(answer: Mapping[str, Any], as_json: bool) -> NoReturn:
    """End with exit code 1 after a failure's envelope was shown: on stdout as JSON, else on stderr."""
    if as_json:
        click.echo(write_text(answer))
    else:
        say(*make_failure(answer))
    sys.exit(1)


def make_failure(answer: Mapping[str, Any]) -> list[Block]:
    """The page of a failure, as the server told it."""
    command = (answer.get("next") or {}).get("command")
    return make_failure_blocks(
        answer["error"], answer["code"], answer.get("hint"), answer.get("details") or {}, command
    )


def make_failure_blocks(
    message: str, code: str, hint: str | None, details: Mapping[str, Any], command: str | None = None
) -> list[Block]:
    """A failure as a page: the sentence, what it quotes, what to do, the command that leads on, and its code."""
    quoted = [line for name in _QUOTED for line in _quote(details.get(name))]
    blocks: list[Block] = [
        LabelledSentence("error", _drop_finding(message, details)),
        Raw("\n".join(quoted), quoted=True),
    ]
    facts: list[tuple[str, Any]] = []
    for name, value in flatten(details):
        if name in (*_OWN, *_QUOTED) or value in (None, False, "", [], {}):
            continue
        if _are_findings(value):
            blocks.append(FindingList("warning" if name == "warnings" else "error", value))
        elif name == "arguments" and isinstance(value, list):
            facts += [
                (str(item.get("word") or item.get("argument")), _word_problem(item))
                for item in value
                if isinstance(item, dict)
            ]
        elif isinstance(value, list):
            blocks.append(ItemList(word_label(name), [str(item) for item in value]))
        else:
            facts.append((word_label(name), guess(name, value)))
    if facts:
        blocks.append(FactList([(f"  {name}", value) for name, value in facts]))
    if hint:
        blocks.append(LabelledSentence("hint", hint))
    if command:
        blocks.append(LabelledSentence("next", command))
    return [*blocks, LabelledSentence("code", code)]


def _quote(value: Any) -> list[str]:
    """The text that the failure is about, quoted: a statement, the last lines of a log."""
    return value.splitlines()[:12] if isinstance(value, str) else [str(line) for line in value or ()]


def _drop_finding(message: str, details: Mapping[str, Any]) -> str:
    """The sentence; a count where it only repeats the first of the findings below it."""
    found = [item for name, value in details.items() if name != "warnings" and _are_findings(value) for item in value]
    if found and message.startswith(str(found[0]["file"])) and str(found[0]["problem"]) in message:
        return f"{word_count(len(found), 'finding')} must be mended first:"
    return message


def _word_problem(problem: Mapping[str, Any]) -> str:
    """An example: what is wrong with it stands in the sentence already."""
    return f"for example {problem['example']}" if problem.get("example") not in (None, "", [], {}) else ""


def _are_findings(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and "problem" in item and "file" in item for item in value)
    )

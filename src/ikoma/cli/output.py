"""How the command line speaks: tables for people, JSON for scripts, colours only on a terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

_MARKS = {True: "[green]yes[/]", False: "[red]no[/]", None: "[dim]–[/]"}
_WHOLE = frozenset(
    {"id", "name", "preview", "container", "release", "state", "health", "started", "time", "capability", "version"}
)
"""Columns that are never wrapped nor cut."""
_CUT = frozenset({"why"})
"""Columns that are cut to one line."""
_NARROW = {
    "versions": ("version", "path", "happened"),
    "operations": ("id", "state", "capability", "app", "started"),
    "audit": ("time", "caller", "capability", "app", "result", "code"),
    "services": ("name", "container", "state", "health", "exitCode"),
    "previews": ("preview", "ref", "health", "expiresAt"),
}
"""Table → its columns where the terminal is too narrow for all."""
_COPIED = ("publicKey",)
"""What is longer than a line and is copied from there: no break of IKOMA's is in it."""
_FINDINGS = {"errors": "error", "warnings": "warning"}
"""Lists of findings, which are sentences and no tables: how each one begins."""
_COLOURS = {"healthy": "green", "running": "green", "unhealthy": "red", "starting": "yellow", "stopped": "dim"}


def refuse(answer: Mapping[str, Any]) -> NoReturn:
    """Say how a call failed, and end with exit code 1."""
    command = (answer.get("next") or {}).get("command")
    fail(answer["error"], answer["code"], answer.get("hint"), answer.get("details"), command)


def fail(
    message: str,
    code: str,
    hint: str | None,
    details: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> NoReturn:
    """Say what is wrong and what to do next, and end with exit code 1.

    Args:
        command: the one that leads on.
    """
    click.secho(f"error: {message}", fg="red", err=True)
    quoted = details or {}
    for line in [*(str(quoted.get("sql") or "").splitlines()[:12]), *quoted.get("logs", [])]:
        click.echo(f"  | {line}", err=True)
    if hint:
        click.echo(f"hint:  {hint}", err=True)
    if command:
        click.echo(f"Next:  {command}", err=True)
    click.secho(f"code:  {code}", dim=True, err=True)
    sys.exit(1)


def show(result: Any, as_json: bool) -> None:
    """Print a capability's result."""
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False, indent=2))
    elif isinstance(result, str):
        click.echo(result, nl=not result.endswith("\n"))
    elif isinstance(result, dict) and "markdown" in result:
        click.echo(result["markdown"])
    else:
        _show_tables(result)


@contextmanager
def progress_bar() -> Iterator[Any]:
    """Yields a function (message, fraction) that shows how far long work is, on stderr."""
    if not sys.stderr.isatty():

        def say(message: str, fraction: float | None) -> None:
            click.echo(f"… {message}", err=True)

        yield say
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show_step(message: str, fraction: float | None) -> None:
            bar.tasks[0].total = None if fraction is None else 1.0  # None: the bar only shows that work goes on
            bar.update(task, description=message[:70], completed=fraction or 0.0)

        yield show_step


def _show_tables(result: Mapping[str, Any]) -> None:
    from rich.console import Console

    # Into a file or a pipe, lines stay whole: people search them.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 240)
    plain = {name: value for name, value in result.items() if not _is_rows(value)}
    message = plain.pop("message", None)
    plain.pop("success", None)
    diff = plain.pop("diff", None)
    is_cut = plain.pop("truncated", False)
    copied = {name: plain.pop(name) for name in _COPIED if name in plain}
    if message:
        console.print(f"[green]✓[/] {_escaped(message)}")
    for name, value in copied.items():
        console.print(f"[dim]{name}[/]  {_cell(value)}", soft_wrap=True)
    if plain:
        console.print(_pairs(plain))
    for name, rows in result.items():
        if name in _FINDINGS and _is_rows(rows):
            console.print(_findings(_FINDINGS[name], rows), soft_wrap=not sys.stdout.isatty())
        elif _is_rows(rows) and "diff" in rows[0]:
            console.print("\n".join(_escaped(row["diff"]) for row in rows), soft_wrap=True)
        elif _is_rows(rows):
            # What does not even fit so is for the terminal to wrap: an identifier that is cut is none.
            console.print(_rows(console, name, rows), crop=False)
    if diff:
        click.echo(f"\n{coloured(diff)}")
    if is_cut:
        console.print("[dim]There is more: --limit shows it.[/]")


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_OF_LINES = {"+++": "bright_white", "---": "bright_white", "@@": "cyan", "+": "green", "-": "red", "#": "yellow"}


def tame(text: str) -> str:
    """What others wrote, without what a terminal would obey."""
    return _CONTROL.sub("", text)


def coloured(diff: str) -> str:
    """Unified differences with colours, which `click.echo` leaves out where there is no terminal."""
    return "\n".join(
        click.style(line, fg=next((colour for mark, colour in _OF_LINES.items() if line.startswith(mark)), None))
        for line in tame(diff).split("\n")
    )


def _pairs(values: Mapping[str, Any]) -> Any:
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(overflow="fold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _flat(values):
        table.add_row(f"[dim]{name}[/]", _cell(value))
    return table


def _findings(word: str, rows: list[Mapping[str, Any]]) -> Any:
    """A finding's place and problem, and below it what to change."""
    from rich.text import Text

    colour = "red" if word == "error" else "yellow"
    text = Text()
    for row in rows:
        place = f"{row['file']}:{row['line']}" if row.get("line") else row["file"]
        text.append(f"{word}:", style=colour).append(f" {place}: {row['problem']}\n")
        text.append("  fix: ", style="dim").append(f"{row['fix']}\n")
    text.rstrip()
    return text


def _rows(console: Any, title: str, rows: list[Mapping[str, Any]]) -> Any:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = _table(title, columns, rows)
    if title in _NARROW and console.measure(table).maximum >= console.width:
        table = _table(title, _NARROW[title], rows)
        left = [column for column in columns if column not in _NARROW[title]]
        table.caption = f"Not shown, but in --json and on a wider terminal: {', '.join(left)}."
    least = sum((column.min_width or 0) + 3 for column in table.columns)
    if least > console.width:
        table.width = least
    return table


def _table(title: str, columns: Sequence[str], rows: list[Mapping[str, Any]]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    table.title_justify, table.title_style, table.caption_justify = "left", "bold", "left"
    for column in columns:
        longest = max(len(str(value)) for value in (column, *(row.get(column) or "" for row in rows)))
        whole = column in _WHOLE
        table.add_column(column, overflow="fold", no_wrap=whole, min_width=longest if whole else min(longest, 8))
    for row in rows:
        table.add_row(*(_line(row[column]) if column in _CUT else _cell(row.get(column)) for column in columns))
    return table


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _cell(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return _MARKS[value]
    if isinstance(value, list):
        return "\n".join(_cell(item) for item in value) or _MARKS[None]
    if isinstance(value, dict):
        return _escaped(json.dumps(value, ensure_ascii=False))
    text = str(value)
    return f"[{_COLOURS[text]}]{text}[/]" if text in _COLOURS else _escaped(text)


def _line(text: str) -> Any:
    from rich.text import Text

    return Text(text, no_wrap=True, overflow="ellipsis")


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(tame(text))

"""How the demo tells what happens: a line for each step with a tick, what it means, and its time.

In a terminal the current step moves; elsewhere only finished lines are printed, without colours.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

__all__ = ["Step", "Story", "plural", "uninterrupted"]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C within the block counts at its end: a line is printed whole, a child that was started is known."""
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda arrived, _: came.append(arrived))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came and signal.SIG_IGN not in before.values():
        raise KeyboardInterrupt


class Step:
    """One line of the story while it is being told."""

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=None, message="")
        self.text = ""
        self.more: list[str] = []

    def says(self, text: str) -> None:
        self.text = text

    def adds(self, text: str) -> None:
        self.more.append(text)

    def progresses(self, message: str | None = None, fraction: float | None = None, **_: object) -> None:
        if message:
            self._progress.update(self._task, message=message.splitlines()[0][:60])
        if fraction is not None:
            self._progress.update(self._task, completed=fraction, total=1.0)


class Story:
    """Prints what the person sees: a line for each step with a tick, its meaning and its time."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        if not self._console.is_terminal or self._console.width > 116:
            self._console.width = 116
        self._began = time.monotonic()

    def title(self, title: str, text: str) -> None:
        self._console.print(f"\n [bold]{title}[/]  {text}")

    def phase(self, title: str) -> None:
        self._console.print(f"\n [bold cyan]{title}[/]")

    @contextmanager
    def step(self, name: str, text: str = "") -> Iterator[Step]:
        began = time.monotonic()
        columns = (
            TextColumn(""),
            SpinnerColumn(),
            TextColumn("{task.description:<26}"),
            BarColumn(16),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[message]}"),
        )
        with Progress(
            *columns, console=self._console, transient=True, disable=not self._console.is_terminal
        ) as progress:
            step = Step(progress, name)
            step.says(text)
            try:
                yield step
            except BaseException:
                progress.stop()
                self._line("[bold red]✗[/]", name, "", began)
                raise
        self._line("[bold green]✓[/]", name, step.text, began)
        for text in step.more:
            self._line("", "", f"! {text}")

    def checks(self, checks: list[dict[str, Any]]) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for check in checks:
            required = check.get("required", True)
            mark = "[green]✓[/]" if check["passed"] else "[red]✗[/]" if required else "[yellow]–[/]"
            details = check["details"] if isinstance(check["details"], str) else json.dumps(check["details"])
            table.add_row("    ", mark, str(check["name"]), Text(details, style="dim"))
        self._console.print(table)

    def failure(self, message: str, *details: str) -> None:
        self._console.print(Text(f"\n ✗ {message}", style="bold red"))
        for detail in details:
            self._console.print(Text(f"   {detail}"))

    def ending(self, verified: bool) -> None:
        seconds = f"{time.monotonic() - self._began:.1f} s"
        if verified:
            self._console.print(
                "\n   Your own: [bold]make setup[/] puts ikoma on your PATH, [bold]ikoma up[/] starts the server."
            )
            self._console.print(f"\n [bold green]✓ verified: true[/], in {seconds}.\n")
        else:
            self._console.print(f"\n [bold red]✗ verified: false[/], after {seconds}\n")

    def _line(self, mark: str, name: str, text: str, began: float | None = None) -> None:
        row = Table.grid(padding=(0, 1), expand=True)
        for width in (2, 26):
            row.add_column(width=width, justify="left")
        row.add_column(ratio=1)
        row.add_column(width=8, justify="right", style="dim")
        row.add_row(f" {mark}", Text(name), Text(text, style="" if name else "yellow"), since(began))
        with uninterrupted():
            self._console.print(row)


def since(began: float | None) -> str:
    if began is None:
        return ""
    seconds = time.monotonic() - began
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


def plural(count: int, word: str) -> str:
    return f"{count or 'no'} {word}{'' if count == 1 else 's'}"

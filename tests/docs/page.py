"""A page of the documentation as a list of steps: what a person types, and what they see then.

| in the page | what it is |
| --- | --- |
| a block of `console` | each `$ command` is followed by what it prints; nothing: that is not shown |
| a block of `bash` or `sh` | commands that must succeed |
| a block of `text` after such a block | lines that its last command prints, among others |
| a comment `<!-- run: … -->` | commands that the reader need not see: what the page takes for granted |
| a block with a file's name behind its language | a file beside the page, for such a comment |

What is printed is compared in form. An id, a time, an address or a large number is any other of its kind; but an id
that is shown twice is the same both times, and where a later command names it, it names the one that was printed.
`…` stands for anything in a line, and alone on a line for any number of lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.runbook.document import commands

ROOT = Path(__file__).parents[2]
FOUND = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").glob("*/README.md"))]
PAGES = [path for path in FOUND if "decisions" not in path.parts]
PART = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$|^<!-- run:\n(.*?)^-->$", re.MULTILINE | re.DOTALL)
KINDS = (
    r"\b\d{8}-\d{6}-[0-9a-f]{4}\b",  # a release
    r"\b\d{8}-\d{6}-[0-9a-f]{6}\b",  # a version of variables
    r"\b\d{8}-\d{6}(?:-\d+)?\b",  # a backup
    r"\b\d{8}T\d{12}Z-[0-9a-f]+-[0-9a-f]+\b",  # a version of a file
    r"\b(?:key|approval|waiver)_[0-9a-f]+",
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b",
    r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{7,64}\b",
    r"\b127\.0\.0\.1:2\d{4}\b",  # an app's own port
)
NAMED = re.compile("|".join(KINDS))
VARIES = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?"
    r"|\b\d\d-\d\d \d\d:\d\d:\d\d\b|\b\d{4}-\d\d-\d\d\b|\b\d\d:\d\d(?::\d\d)?\b"
    r"|\bjust now\b|\b\d+ (?:s|min|h|d) ago\b"
    r"|\b\d[\d.,]* ?(?:ms|s|min|h|bytes|[kKMG]i?B|B)\b"
    r"|\b\d{4,}\b"
)
"""Longer than a word, and not the same twice."""
ANY_LINES = "…"


@dataclass(frozen=True)
class Step:
    """A command and the lines that it is said to print; `shown` None: nothing is said."""

    command: str
    shown: tuple[str, ...] | None = None
    line: int = 0
    """Where the command begins."""

    @property
    def bare(self) -> str:
        """Without the remark behind it."""
        return re.sub(r"\s+# .*", "", self.command)

    @property
    def may_fail(self) -> bool:
        return any(line.startswith("error:") for line in self.shown or ())


@dataclass
class Page:
    path: Path
    text: str = ""
    steps: list[Step] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    def write(self, printed: dict[int, str], place: Path) -> None:
        """Write the page elsewhere, with what each step (by its number) has printed."""
        lines = self.text.split("\n")
        for number in sorted(printed, reverse=True):
            step = self.steps[number]
            first = step.line + step.command.count("\n")
            lines[first : first + len(step.shown or ())] = printed[number].split("\n")
        place.write_text("\n".join(lines))

    @classmethod
    def read(cls, path: Path) -> Page:
        page = cls(path, path.read_text())
        for part in PART.finditer(page.text):
            kind, name, block, hidden = part.groups()
            line = page.text[: part.start()].count("\n") + 2
            if name:
                page.files[name] = block
            elif hidden is not None or kind in ("bash", "sh"):
                page.steps += [Step(command, line=line) for command in commands(hidden or block)]
            elif kind == "console":
                page.steps += _console(block, line)
            elif kind == "text" and page.steps and page.steps[-1].shown is None:
                last = page.steps.pop()
                shown = (ANY_LINES, *block.splitlines(), ANY_LINES)
                page.steps.append(Step(last.command, shown, last.line))
        return page


def _console(block: str, line: int) -> Iterator[Step]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        found = commands(part)
        assert found, f"a quote is open, in a remark perhaps: {part}"
        command = found[0]
        shown = tuple(part.splitlines()[command.count("\n") + 1 :])
        yield Step(command, shown or None, line)
        line += part.count("\n")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT).with_suffix(""))


def apps(path: Path) -> set[str]:
    """The apps that a page makes."""
    made = r"\bikoma init ([\w-]+)|/srv/apps/([\w-]+)"
    return {one or other for step in Page.read(path).steps for one, other in re.findall(made, step.command)}


def groups(pages: Iterable[Path]) -> dict[Path, str]:
    """A name for each page that those which make the same apps have in common: they run one after another."""
    found: dict[Path, str] = {}
    of_app: dict[str, str] = {}
    for page in pages:
        made = sorted(apps(page))
        found[page] = next((of_app[app] for app in made if app in of_app), made[0] if made else page.stem)
        of_app |= dict.fromkeys(made, found[page])
    return found


def differs(shown: tuple[str, ...], printed: str, names: dict[str, str]) -> str:
    """Where what was printed has not the form of what is shown; empty where it has.

    Args:
        names: what is shown → what was printed for it; it learns.
    """
    wanted = [text for line in shown if (text := _squeezed(line))]
    got = [text for line in printed.splitlines() if (text := _squeezed(line))]
    at, free = 0, False
    for line in wanted:
        if line == ANY_LINES:
            free = True
            continue
        places = range(at, len(got) if free else min(at + 1, len(got)))
        found = next((place for place in places if _same(line, got[place], names)), None)
        if found is None:
            return f"shown:   {line}\nprinted: {got[at] if at < len(got) else 'nothing more'}"
        at, free = found + 1, False
    return "" if free or at == len(got) else f"printed, not shown: {got[at]}"


def _squeezed(line: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"[─━-]{3,}", "───", line)).strip()


def _same(shown: str, printed: str, names: dict[str, str]) -> bool:
    pattern, learnt, at = "", [], 0
    for found in re.finditer(f"{NAMED.pattern}|{VARIES.pattern}|…", shown):
        pattern += re.escape(shown[at : found.start()])
        at, text = found.end(), found[0]
        if text == "…":
            pattern += ".*"
        elif NAMED.fullmatch(text):
            learnt.append(text)
            pattern += f"({re.escape(names[text])})" if text in names else f"({_kind(text)})"
        else:
            pattern += f"(?:{VARIES.pattern})"
    matched = re.fullmatch(pattern + re.escape(shown[at:]), printed)
    if matched:
        names.update(zip(learnt, matched.groups(), strict=True))
    return bool(matched)


def _kind(text: str) -> str:
    """The pattern of the names of this one's kind: one of `KINDS`."""
    return next(kind for kind in KINDS if re.fullmatch(kind, text))


def with_names(command: str, names: dict[str, str]) -> str:
    """The command with what was printed in place of what the page shows."""
    for shown, real in names.items():
        command = command.replace(shown, real)
    return command

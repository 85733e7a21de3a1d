"""Everything Compose would read to understand an app's files, read first by us, from inside the app's folder only.

The files are returned as bytes, and compose files also as they are written anew for Compose: what was checked here is
what it gets, so nothing can be swapped in between and nothing read in two ways.
A file may pull in others; each is read and checked in turn before any is believed.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ikoma.app_folder import App
from ikoma.apps.environment import dotenv, nesting
from ikoma.apps.environment.entries import find_too_deep
from ikoma.apps.yaml import differences, form
from ikoma.apps.yaml.file_choice import Chosen, choose, read_chosen
from ikoma.apps.yaml.lines import Parts, Source
from ikoma.apps.yaml.named_variables import find_deep_places, find_passed_on, find_variables, is_of_the_server
from ikoma.apps.yaml.notice import Notice
from ikoma.apps.yaml.references import FileReference, find_references
from ikoma.apps.yaml.violation import Place, Violation, quote
from ikoma.compose.paths import LocatedPath, locate
from ikoma.errors import FileMissing, IkomaError, PathOutside

_MOST_BYTES = 1 << 20
_MOST_TOGETHER = 4 << 20
_MOST_REMEMBERED = 64 << 10
_MOST_FILES = 50
_DEEPEST = 50
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|git@|github\.com/", re.IGNORECASE)
_NO_PATH = "A file is named here by something that is no path."
_INSTEAD_OF_NO_PATH = "Write the path as text, in quotes where it has signs that mean something in YAML."


@dataclass(slots=True)
class Gathered:
    """The files that were read. `files` are paths relative to the app's folder → content."""

    paths: Mapping[str, str] | None = None
    """Values of paths that name variables; None where none may."""
    unresolved: set[str] = field(default_factory=set)
    """Such paths of which that is not known yet."""
    beside: str | None = None
    """The .env beside the compose files, where they lie in a folder of their own."""
    compose_files: tuple[str, ...] = ()
    """Files that are merged, the later over the earlier."""
    files: dict[str, bytes] = field(default_factory=dict)
    written: dict[str, bytes] = field(default_factory=dict)
    """The compose files among them, for Compose."""
    documents: dict[str, Any] = field(default_factory=dict)
    """Values of these, as they were parsed; nobody changes them."""
    plain: set[str] = field(default_factory=set)
    """Files that are read as they are."""
    named: Counter[str] = field(default_factory=Counter)
    """How often each variable is named."""
    violations: list[Violation] = field(default_factory=list)
    understood: set[tuple[str, str]] = field(default_factory=set)
    """Compose files that were looked at, each with the folder that its paths are relative to."""
    included: list[str] = field(default_factory=list)
    """Compose files that `include` takes in."""
    extended: dict[tuple[str, str], str] = field(default_factory=dict)
    """(file, what its `extends` names) → the file that is meant."""
    project: str = ""
    """The name that the app's project has."""
    names: dict[str, Any] = field(default_factory=dict)
    """Files that name the project otherwise → the name."""
    chosen: Chosen | None = None
    blocks: dict[str, bytes] = field(default_factory=dict)
    """Included files with an x-ikoma block → the block."""

    @property
    def compose_file(self) -> str:
        """The first of them; where none can be read, the file that names them."""
        return next(iter(self.compose_files), ".env")

    contents: Mapping[str, bytes] = field(default_factory=dict)
    """Contents of files that are not read from the disk."""

    @property
    def notices(self) -> list[Notice]:
        """List what works differently here."""
        read = differences.find_passed_over(self.chosen) if self.chosen else ()
        unread = differences.find_other_blocks(self.blocks, self.compose_file)
        return [*read, *differences.find_misnamed(self.project, self.names), *unread]

    @property
    def besides(self) -> dict[str, bytes]:
        """Compose files of ours that are merged before the person's."""
        return differences.choose_block(self.blocks, self.compose_file)

    @property
    def merged(self) -> tuple[str, ...]:
        """All files that Compose merges."""
        return (*self.besides, *self.compose_files)

    @property
    def source(self) -> Source:
        """The compose files as they are written."""
        texts = {path: self.files[path] for path, _ in sorted(self.understood)}
        first = texts.pop(self.compose_file, b"")
        return Source(self.compose_file, first, texts, Parts(self.compose_files, self.included, self.extended))

    @property
    def for_compose(self) -> Mapping[str, bytes]:
        return {**self.files, **self.written, **self.besides}

    def note_violation(self, rule: str, place: Place, what: str, file: str) -> None:
        self.violations.append(Violation(rule, place, what, file))


def gather(
    app: App,
    read: Callable[[bytes], Mapping[str, str]] = dotenv.parse_written,
    paths: Mapping[str, str] | None = None,
    contents: Mapping[str, bytes] | None = None,
) -> Gathered:
    """Read the app's compose files, its .env and all they name.

    Args:
        read: what a .env of this content sets.
        paths: what paths that name variables come to, as far as that is known; by default such paths are refused.
        contents: what files hold that are not to be read from the disk.

    Raises:
        FileMissing: there is no compose file, or one that COMPOSE_FILE names is not there.
    """
    gathered = Gathered(paths, contents=contents or {}, project=app.name.project)
    _read_optional(app, gathered, ".env")
    gathered.plain.add(".env")
    values = read(gathered.files.get(".env", b""))
    chosen = choose(app, values)
    gathered.chosen = chosen
    gathered.compose_files = _read_main_files(app, gathered, chosen)
    # Compose takes what stands beside its files too, where .env says nothing else.
    if chosen.folder and not _leads_out(chosen.folder):
        gathered.beside = posixpath.join(chosen.folder, ".env")
        _read_optional(app, gathered, gathered.beside)
        gathered.plain.add(gathered.beside)
        values = {**read(gathered.files.get(gathered.beside, b"")), **values}
    for path in gathered.compose_files:
        _check_document(app, gathered, path, chosen.folder, frozenset(values))
    gathered.blocks = differences.read_blocks({path: gathered.files.get(path, b"") for path in gathered.included})
    if sum(len(values.get(name, "")) * times for name, times in gathered.named.items()) > _MOST_TOGETHER:
        gathered.note_violation(
            "too-large", (), "With its variables the file is larger than 4 MiB.", gathered.compose_file
        )
    for path in sorted(gathered.plain & gathered.written.keys()):
        gathered.note_violation("yaml-form", (), f"{path} is read as a compose file and as something else.", path)
    if sum(map(len, gathered.files.values())) > _MOST_TOGETHER:
        gathered.note_violation("too-large", (), "The files are larger than 4 MiB together.", gathered.compose_file)
    return gathered


def _read_main_files(app: App, gathered: Gathered, chosen: Chosen) -> tuple[str, ...]:
    """The chosen files as they can be read, each with its content."""
    found = []
    for name in chosen.files:
        path: str | None = name
        if chosen.is_named:
            path = _check_inside(app, gathered, _Step(".env", "", frozenset()), (), name, literal=True)
        if path is None:
            continue
        gathered.files[path] = read_chosen(app, path, _MOST_BYTES + 1, gathered.contents)
        found.append(path)
    return tuple(found)


def _check_document(app: App, gathered: Gathered, path: str, base: str, known: frozenset[str]) -> None:
    """Check one compose file that was read; `base` is the folder its paths are relative to."""
    gathered.understood.add((path, base))
    content = gathered.files[path]
    if len(content) > _MOST_BYTES:
        gathered.note_violation("too-large", (), f"{path} is larger than 1 MiB.", path)
        return
    is_main = path in gathered.compose_files
    read = _read_again(content, path, is_main) if len(content) <= _MOST_REMEMBERED else _read(content, path, is_main)
    gathered.violations += read.violations
    gathered.written[path], gathered.documents[path] = read.written, read.value
    if read.violations or not isinstance(read.value, Mapping):
        return
    project = read.value.get("name")
    if is_main and project not in (None, app.name.project, app.name.previewed):
        gathered.names[path] = project
    used = [*find_variables(read.value), *find_passed_on(read.value)]
    gathered.named.update(name for _, name in used)
    for place, name in used:
        if is_of_the_server(name, known):
            gathered.note_violation("server-variable", place, f"${{{name}}} is a variable of the server.", path)
    for place in find_deep_places(read.value):
        what = "Variables stand in each other's defaults here, too many levels deep."
        gathered.violations.append(_refuse_too_deep(place, what, path))
    for place, reference in find_references(read.value):
        if reference is None:
            gathered.violations.append(Violation("yaml-form", place, _NO_PATH, path, instead=_INSTEAD_OF_NO_PATH))
        else:
            _follow(app, gathered, _Step(path, base, known), place, reference)


def _read(content: bytes, path: str, is_main: bool) -> form.Read:
    return form.read(content, path, without=[("name",)] if is_main else ())


_read_again = lru_cache(maxsize=8)(_read)
"""One look reads the same bytes more than once, as does the next one. Nobody writes to what is made of them."""


def read_paths(app: App) -> tuple[LocatedPath, ...]:
    """The places of the files that are read to understand an app's; none where it has no compose file."""
    try:
        gathered = gather(app)
    except IkomaError:
        return ()
    root = os.path.realpath(app.path)
    return tuple(locate(posixpath.join(root, name)) for name in gathered.files)


@dataclass(frozen=True, slots=True)
class _Step:
    """From which file a reference comes, and what its paths are relative to."""

    path: str
    base: str
    known: frozenset[str]


def _follow(app: App, gathered: Gathered, step: _Step, place: Place, reference: FileReference) -> None:
    target = _check_inside(app, gathered, step, place, reference.path, literal=reference.kind != "mounted")
    if target is None or reference.kind == "mounted":
        return
    if reference.kind == "plain":
        gathered.plain.add(target)
    elif reference.kind == "extends":
        gathered.extended[step.path, reference.path] = target
    elif target not in gathered.included:
        gathered.included = [*gathered.included, target]
    if not _read_optional(app, gathered, target, step.path, place):
        return
    if reference.kind == "plain":
        _check_variables_file(gathered, step, place, target)
        return
    base = posixpath.dirname(target)
    if reference.folder is not None:
        folder = _check_inside(app, gathered, step, place, reference.folder or ".", literal=True)
        if folder is None:
            return
        base = "" if folder == "." else folder
    for env_file in (*reference.env_files, *([posixpath.join(base, ".env")] if reference.kind == "include" else [])):
        found = _check_inside(app, gathered, step, place, env_file, literal=True)
        if found is not None:
            gathered.plain.add(found)
            if _read_optional(app, gathered, found, step.path, place):
                _check_variables_file(gathered, step, place, found)
    if max(len(gathered.files), len(gathered.understood)) > _MOST_FILES:
        gathered.note_violation("too-large", place, f"More than {_MOST_FILES} files are read.", step.path)
    elif (target, base) not in gathered.understood:  # one file can be taken in from two places, and mean two things
        _check_document(app, gathered, target, base, step.known)


def _check_variables_file(gathered: Gathered, step: _Step, place: Place, path: str) -> None:
    """Check a file of variables that Compose reads with the others; of .env that is said by who reads it first."""
    text = gathered.files[path].decode(errors="replace")
    if path != ".env" and (entry := find_too_deep(text)) is not None:
        what = f"Line {entry.line} of {path} holds variables in each other's defaults, too many levels deep."
        gathered.violations.append(_refuse_too_deep(place, what, step.path))


def _check_inside(app: App, gathered: Gathered, step: _Step, place: Place, path: str, *, literal: bool) -> str | None:
    """The path relative to the app's folder; None, with a violation, where it is not to be read."""
    if "$" in path:
        if not literal:
            return None
        if gathered.paths is None:
            what = "A path that is read must be written out, without variables."
            gathered.note_violation("reads-outside", place, what, step.path)
            return None
        if path not in gathered.paths:
            gathered.unresolved.add(path)
            return None
        path = gathered.paths[path]
    if _REMOTE.match(path):
        gathered.note_violation("remote-source", place, f"{quote(path)} is fetched from elsewhere.", step.path)
        return None
    relative = posixpath.normpath(posixpath.join(step.base, path))
    if path.startswith("~") or _leads_out(relative):
        gathered.note_violation("reads-outside", place, f"{quote(path)} is outside the app's folder.", step.path)
        return None
    if relative.count("/") > _DEEPEST:
        gathered.note_violation("too-large", place, f"{quote(path)} lies in more than {_DEEPEST} folders.", step.path)
        return None
    try:
        resolved = app.check_inside(app.path / relative)
    except PathOutside as error:
        gathered.note_violation("reads-outside", place, error.message, step.path)
        return None
    if resolved.is_relative_to(Path(os.path.realpath(app.path)) / ".ikoma"):
        gathered.note_violation("reads-outside", place, f"{quote(path)} is IKOMA's own.", step.path)
        return None
    return relative


def _leads_out(path: str) -> bool:
    """Whether a normal path that is relative to the app's folder leads out of it."""
    return path == ".." or path.startswith(("../", "/"))


def _read_content(app: App, gathered: Gathered, path: str) -> bytes:
    known = gathered.contents.get(path)
    return app.read_inside(app.path / path, _MOST_BYTES + 1) if known is None else known


def _read_optional(app: App, gathered: Gathered, path: str, source: str | None = None, place: Place = ()) -> bool:
    """Read a file if it is there."""
    if path in gathered.files:
        return True
    try:
        gathered.files[path] = _read_content(app, gathered, path)
    except FileMissing:
        return False  # Compose says so in its own words, where it matters
    except IkomaError as error:
        gathered.note_violation("reads-outside", place, error.message, source or path)
        return False
    if len(gathered.files[path]) > _MOST_BYTES:
        gathered.note_violation("too-large", place, f"{path} is larger than 1 MiB.", source or path)
        return False
    return True


def _refuse_too_deep(place: Place, what: str, file: str) -> Violation:
    danger = "Compose reads each level anew, which takes the server's time."
    return Violation("too-large", place, what, file, danger=danger, instead=nesting.FIX)

"""Adapts an app's compose files to this platform: the changes that its findings name, where a program can make them.

Nothing is written until somebody has seen it. Only what must change is changed, comments and order stay, and what the
files were is kept in their history.
"""

from __future__ import annotations

import asyncio
import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ikoma.app_folder import App
from ikoma.apps.adapting.editor import ComposeText
from ikoma.apps.files import files
from ikoma.apps.resolution.own_proxy import OwnProxy
from ikoma.apps.validation.finding import Report
from ikoma.apps.validation.validator import Validator
from ikoma.compose.web_service import Candidate
from ikoma.errors import FileChanged, NotAdaptable, ServiceNotFound
from ikoma.model import FilePath, quote_name


@dataclass(frozen=True, slots=True)
class AdaptedFile:
    """A compose file as it is and as it would become."""

    path: str
    before: str
    after: str

    @property
    def diff(self) -> str:
        """The difference, as `diff -u` shows it."""
        before, after = (text.splitlines(keepends=True) for text in (self.before, self.after))
        return "".join(difflib.unified_diff(before, after, self.path, self.path))


@dataclass(frozen=True, slots=True)
class Adaptation:
    """The compose files of an app as they would become.

    Args:
        changes: what is changed, in words.
        left: what a person has to mend.
    """

    changes: tuple[str, ...]
    files: tuple[AdaptedFile, ...]
    left: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Tells whether the files, and what becomes of them, are what somebody has seen."""
        digest = hashlib.sha256()
        for item in self.files:
            for part in (item.path, item.before, item.after):
                digest.update(f"{len(part)}:{part}".encode())
        return digest.hexdigest()


class Adapter:
    """Adapts apps."""

    def __init__(self, validator: Validator) -> None:
        self._validator = validator

    async def adapt(
        self, app: App, service: str | None = None, contents: Mapping[str, bytes] | None = None
    ) -> Adaptation:
        """See what can be changed. Nothing is written.

        Args:
            service: the one that answers the app's requests, where several could.
            contents: what compose files hold that are not to be read from the disk.

        Raises:
            NotAdaptable: the files cannot be changed without being rewritten.
            ServiceNotFound
        """
        report = await self._validator.examine(app, images=False, contents=contents)
        can_be_read = report.model is not None or report.own_proxies
        texts = await self._validator.read_texts(app, contents) if can_be_read else {}
        edited = {name: ComposeText(name, text) for name, text in texts.items()}
        changes, mended = _take_out_proxies(report, edited)
        changes += _add_route(report, edited, service, is_routed=bool(changes))
        changed = tuple(AdaptedFile(name, texts[name], item.text) for name, item in edited.items())
        left = tuple(str(finding) for finding in report.errors if finding.problem not in mended)
        left = (*(item.by_hand for item in report.own_proxies if item.stays), *left)
        return Adaptation(tuple(changes), tuple(item for item in changed if item.before != item.after), left)

    async def write(self, app: App, adaptation: Adaptation) -> None:
        """Write what was seen; each file's content of before is kept in its history.

        Raises:
            FileChanged: a file is another by now. Those after it are not written.
        """
        for item in adaptation.files:
            before = hashlib.sha256(item.before.encode()).hexdigest()
            path = FilePath.parse(item.path)
            await asyncio.to_thread(files.write, app, path, item.after.encode(), expected=before, executable=None)

    def require_seen(self, adaptation: Adaptation, seen: str) -> None:
        """Raises FileChanged where this is not what somebody has seen."""
        if adaptation.sha256 != seen:
            raise FileChanged("The compose files are not what they were when the changes were shown.")


def _take_out_proxies(report: Report, edited: Mapping[str, ComposeText]) -> tuple[list[str], set[str]]:
    """Take out proxies of the app's own; tells what is changed, and the problems that are mended with it."""
    changes: list[str] = []
    mended: set[str] = set()
    for proxy in report.own_proxies:
        if not proxy.stays and (proxy.behind is None or proxy.behind.port is None):
            continue
        if not proxy.stays:
            for item in edited.values():
                item.take_out(proxy.leaves)
            changes += [f"{name} is left out." for name in proxy.leaves]
        _find_first(edited).set_lines(_make_lines(proxy))
        changes.append(f"Under x-ikoma: {', '.join(proxy.lines)}.")
        mended.add(proxy.problem)
    return changes, mended


def _add_route(report: Report, edited: Mapping[str, ComposeText], service: str | None, *, is_routed: bool) -> list[str]:
    """Name the service that answers, where the file leaves a doubt and it is known by now."""
    choice = report.choice
    if service is not None:
        known = report.model.services if report.model else {}
        if service not in known:
            raise ServiceNotFound(f"The compose file has no service {quote_name(service[:80])}.")
        found = next((item for item in (choice.candidates if choice else ()) if item.service == service), None)
        chosen = found or Candidate(service, None)
    elif is_routed or choice is None or choice.web or len(choice.candidates) != 1 or choice.candidates[0].is_bound:
        return []  # what is meant for this machine alone is made public by a person only
    else:
        chosen = choice.candidates[0]
    lines: dict[str, Any] = {"service": chosen.service}
    lines |= {"port": chosen.port} if chosen.port else {}
    _find_first(edited).set_lines(lines)
    return [f"Under x-ikoma: {', '.join(f'{key}: {value}' for key, value in lines.items())}."]


def _make_lines(proxy: OwnProxy) -> dict[str, Any]:
    if proxy.stays or proxy.behind is None:
        return {"service": proxy.service, "port": 80}
    lines: dict[str, Any] = {"service": proxy.behind.service, "port": proxy.behind.port}
    return lines | ({"domains": list(proxy.domains)} if proxy.domains else {})


def _find_first(edited: Mapping[str, ComposeText]) -> ComposeText:
    """The file that the others are merged over."""
    for item in edited.values():
        return item
    raise NotAdaptable("There is no compose file that can be read.")

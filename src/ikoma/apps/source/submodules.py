"""A commit with all that belongs to it: its files, what Git LFS keeps of them, and its submodules with theirs.

A submodule comes from where .gitmodules says, by the rules that hold for the repository itself. One that cannot be had
is an error with its path: an empty folder in its place would be deployed.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ikoma.apps.source.access import SourceAccess
from ikoma.apps.source.git import Repository, Submodule
from ikoma.apps.source.lfs import LargeFiles
from ikoma.apps.source.url import SourceReach, SourceUrl
from ikoma.errors import HostNotListed, IkomaError, InvalidArguments, SourceTooLarge, SourceUnavailable, SourceUnsafe
from ikoma.model import quote_name
from ikoma.ports.progress import Progress

_DEEPEST = 5
_MOST = 50


@dataclass(slots=True)
class CheckoutWriter:
    """Checks out commits with their submodules.

    Args:
        folder: where the repositories of submodules are kept.
        timeout: seconds for each step.
    """

    folder: Path
    reach: SourceReach
    access: SourceAccess
    timeout: float
    progress: Progress
    count: int = 0

    async def write(
        self,
        repository: Repository,
        url: SourceUrl,
        commit: str,
        path: str | None,
        target: Path,
        above: str = "",
        deep: int = 0,
    ) -> None:
        """Write a commit, or a folder of it, into an empty folder.

        Args:
            above: where that folder is in the whole, for what is said of its paths.

        Raises:
            SourceUnavailable, HostNotListed, SourceTooLarge, SourceUnsafe: names the path.
        """
        modules = await repository.check_out(commit, path, target, timeout=self.timeout)
        large = LargeFiles(self.reach, self.access, repository)
        await large.fetch(url, commit, target, above, timeout=self.timeout)
        for module in modules:
            await self._fill(url, module, target, above, deep + 1)

    async def _fill(self, url: SourceUrl, module: Submodule, target: Path, above: str, deep: int) -> None:
        path = f"{above}{module.path}"
        self.count += 1
        if self.count > _MOST or deep > _DEEPEST:
            raise SourceTooLarge(
                f"{quote_name(path)}: the source has more than {_MOST} submodules, or too many in one another."
            )
        place = target / module.path
        await asyncio.to_thread(_make_place, target, module.path, path)
        if module.url is None:
            raise SourceUnavailable(
                f"{quote_name(path)} is a submodule, and .gitmodules does not say of which repository.",
                hint="Commit .gitmodules with its path and url, or take the submodule out.",
                path=path,
            )
        self.progress(f"fetch the submodule {quote_name(path)}")
        try:
            at = url.join(module.url)
            repository = self._open_repository(at)
            await repository.fetch_commit(at, module.commit, timeout=self.timeout)
        except InvalidArguments as error:
            raise SourceUnavailable(
                f"{quote_name(path)} is a submodule whose address is not taken: {error.message.removeprefix('url: ')}",
                hint="Write its address in .gitmodules as https://HOST/PATH, ssh://USER@HOST/PATH or ../PATH.",
                path=path,
            ) from error
        except (SourceUnavailable, HostNotListed) as error:
            raise _add_path(path, at, error) from error
        await self.write(repository, at, module.commit, None, place, f"{path}/", deep)

    def _open_repository(self, url: SourceUrl) -> Repository:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        name = hashlib.sha256(url.text.encode()).hexdigest()[:24]
        return Repository(self.folder / f"{name}.git", self.reach, self.access)


def _make_place(target: Path, inside: str, path: str) -> None:
    if Path(os.path.realpath(target / inside)) != Path(os.path.realpath(target)) / inside:
        raise SourceUnsafe(f"{quote_name(path)} is a submodule behind a link.")
    (target / inside).mkdir(parents=True, exist_ok=True)


def _add_path(path: str, url: SourceUrl, error: IkomaError) -> IkomaError:
    return type(error)(
        f"{quote_name(path)} is a submodule, of {url.repository} on {url.host}: {error.message}",
        hint="A private one takes source.key or source.token; an admin names hosts in SOURCE_HOSTS.",
        **{**error.details, "path": path},
    )

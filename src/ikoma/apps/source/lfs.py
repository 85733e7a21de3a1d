"""Files that a repository keeps in Git LFS: a pointer becomes what it stands for, or an error with its path.

No program of git-lfs is needed. Its batch API is asked at the repository's own address, or at the one that .lfsconfig
names; that, and whatever address it answers with, must be on a host that source may come from. What comes is compared
with the checksum in the pointer, so it does not matter who kept it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import orjson

from ikoma.apps.source import fetching
from ikoma.apps.source.access import SourceAccess
from ikoma.apps.source.git import MOST_BYTES, Repository
from ikoma.apps.source.placing import list_files
from ikoma.apps.source.url import SourceReach, SourceUrl
from ikoma.errors import HostNotListed, IkomaError, InvalidArguments, SourceTooLarge, SourceUnavailable
from ikoma.model import Secret, make_printable

_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\n(?:ext-[^\n]*\n)*oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,15})\n?"
)
_LARGEST_POINTER = 1024
_AT_ONCE = 100
_MOST_STEPS = 4
_MEDIA = "application/vnd.git-lfs+json"
_NOT_PASSED_ON = frozenset({"host", "content-length", "transfer-encoding", "connection"})


@dataclass(frozen=True, slots=True)
class LfsPointer:
    """`path` is relative to the folder that was looked at; `size` is bytes."""

    path: str
    oid: str
    size: int


@dataclass(frozen=True, slots=True)
class _LfsApi:
    """The address of the batch API, and how to ask it."""

    url: str
    headers: Mapping[str, str]
    secret: tuple[str, Secret] | None


def find_pointers(folder: Path) -> list[LfsPointer]:
    """Find the pointers in a folder and below."""
    found = []
    for path in list_files(folder):
        entry = folder / path
        if entry.is_symlink() or entry.stat().st_size > _LARGEST_POINTER:
            continue
        if match := _POINTER.fullmatch(entry.read_bytes()):
            found.append(LfsPointer(path, match[1].decode(), int(match[2])))
    return sorted(found, key=lambda pointer: pointer.path)


class LargeFiles:
    """Fetches what the pointers of one checked-out repository stand for."""

    def __init__(self, reach: SourceReach, access: SourceAccess, repository: Repository) -> None:
        self._reach = reach
        self._access = access
        self._repository = repository

    async def fetch(self, url: SourceUrl, commit: str, folder: Path, above: str, *, timeout: float) -> None:
        """Put the content where the pointers are.

        Args:
            above: where the folder is in the source, for what is said of its paths.

        Raises:
            SourceUnavailable, HostNotListed: names a path.
            SourceTooLarge
        """
        found = await asyncio.to_thread(find_pointers, folder)
        if sum({pointer.oid: pointer.size for pointer in found}.values()) > MOST_BYTES:
            raise SourceTooLarge(f"What Git LFS keeps of the source is larger than {MOST_BYTES >> 20} MiB.")
        for begin in range(0, len(found), _AT_ONCE):
            some = found[begin : begin + _AT_ONCE]
            try:
                place = await self._find_api(url, commit, timeout)
                answered = await self._request_batch(place, some, timeout)
            except IkomaError as error:
                raise _add_path(above + some[0].path, error) from error
            await self._download_all(place, some, answered, folder, above, timeout)

    async def _download_all(
        self,
        place: _LfsApi,
        wanted: Sequence[LfsPointer],
        answered: Mapping[str, Mapping[str, Any]],
        folder: Path,
        above: str,
        timeout: float,
    ) -> None:
        had: dict[str, Path] = {}
        for pointer in wanted:
            target = folder / pointer.path
            mode = target.stat().st_mode & 0o777
            try:
                if pointer.oid in had:
                    await asyncio.to_thread(shutil.copyfile, had[pointer.oid], target)
                else:
                    await self._download(place, pointer, answered.get(pointer.oid) or {}, target, timeout)
            except IkomaError as error:
                raise _add_path(above + pointer.path, error) from error
            target.chmod(mode)
            had[pointer.oid] = target

    async def _find_api(self, url: SourceUrl, commit: str, timeout: float) -> _LfsApi:
        written = await self._repository.read_settings(commit, ".lfsconfig")
        own = written.get("lfs.url") or written.get("remote.origin.lfsurl")
        if own is None and url.scheme == "ssh":
            return await self._ask_by_ssh(url, timeout)
        base = (url.text.removesuffix("/").removesuffix(".git") + ".git/info/lfs") if own is None else own
        try:
            asked = SourceUrl.parse(base)
        except InvalidArguments as error:
            raise HostNotListed("the address in .lfsconfig is not taken", hint="Only https is taken.") from error
        token = self._access.find_token(asked)
        return _LfsApi(base.rstrip("/"), {}, ("Authorization", Secret(token.make_header(asked))) if token else None)

    async def _ask_by_ssh(self, url: SourceUrl, timeout: float) -> _LfsApi:
        """Ask the host by ssh where its API is, as it tells who has a key for the repository."""
        path = urlsplit(url.text).path.lstrip("/")
        said = await self._repository.ask_by_ssh(url, f"git-lfs-authenticate {path} download", timeout=timeout)
        try:
            answer = orjson.loads(said)
            return _LfsApi(str(answer["href"]).rstrip("/"), _parse_headers(answer.get("header")), None)
        except (ValueError, KeyError, TypeError) as error:
            raise SourceUnavailable("the host does not say where its Git LFS is") from error

    async def _request_batch(
        self, place: _LfsApi, wanted: Sequence[LfsPointer], timeout: float
    ) -> dict[str, Mapping[str, Any]]:
        """Ask the API for each object, by its oid."""
        asked = {
            "operation": "download",
            "transfers": ["basic"],
            "hash_algo": "sha256",
            "objects": [{"oid": pointer.oid, "size": pointer.size} for pointer in wanted],
        }
        answer = await fetching.request(
            self._reach,
            "POST",
            f"{place.url}/objects/batch",
            headers={**place.headers, "Accept": _MEDIA, "Content-Type": _MEDIA},
            secret=place.secret,
            body=orjson.dumps(asked),
            timeout=timeout,
        )
        if answer.status != 200:
            raise SourceUnavailable(
                f"its Git LFS answers with status {answer.status}", hint=_choose_hint(answer.status)
            )
        try:
            objects = orjson.loads(answer.body)["objects"]
            return {str(item["oid"]): item for item in objects}
        except (ValueError, KeyError, TypeError) as error:
            raise SourceUnavailable("its Git LFS answers with something else than a list of objects") from error

    async def _download(
        self, place: _LfsApi, pointer: LfsPointer, said: Mapping[str, Any], target: Path, timeout: float
    ) -> None:
        try:
            action = said["actions"]["download"]
            href, headers = _join(f"{place.url}/", str(action["href"])), _parse_headers(action.get("header"))
        except (KeyError, TypeError):
            problem = said.get("error")
            code = problem.get("code") if isinstance(problem, Mapping) else None
            raise SourceUnavailable(
                f"its Git LFS does not have it{f' (status {code})' if isinstance(code, int) else ''}"
            ) from None
        bare = not any(name.lower() == "authorization" for name in headers)
        secret = place.secret if bare and urlsplit(href)[:2] == urlsplit(place.url)[:2] else None
        for _ in range(_MOST_STEPS):
            answer = await fetching.request(
                *(self._reach, "GET", href),
                headers=headers,
                secret=secret,
                into=target,
                most=pointer.size,
                timeout=timeout,
            )
            if answer.status not in (301, 302, 303, 307, 308) or not answer.location:
                break
            step = _join(href, answer.location)
            if urlsplit(step)[:2] != urlsplit(href)[:2]:  # what was meant for one host is not told to another
                headers, secret = {}, None
            href = step
        if answer.status != 200:
            raise SourceUnavailable(f"{urlsplit(href).hostname} answers with status {answer.status}")
        if (answer.digest, answer.size) != (pointer.oid, pointer.size):
            raise SourceUnavailable(f"{urlsplit(href).hostname} answers with something else than was committed")


def _join(address: str, other: str) -> str:
    try:
        return urljoin(address, other)
    except ValueError:  # brackets that do not close
        raise HostNotListed("It leads to an address that is not https://HOST/PATH.") from None


def _parse_headers(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        return {}
    return {str(name): str(value) for name, value in given.items() if str(name).lower() not in _NOT_PASSED_ON}


def _choose_hint(status: int) -> str | None:
    return "Give a token that may read the repository: source.token." if status in (401, 403, 404) else None


def _add_path(path: str, error: IkomaError) -> IkomaError:
    kind = HostNotListed if isinstance(error, HostNotListed) else SourceUnavailable
    why, path = error.message.rstrip("."), make_printable(path)
    return kind(f"{path} is kept in Git LFS, and could not be fetched: {why}.", hint=error.hint, path=path)

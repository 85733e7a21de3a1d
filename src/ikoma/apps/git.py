"""git, for fetching source that others wrote: no shell, no hooks, no submodules, no local protocols, no prompts.

Only https and ssh, and only hosts that the settings name. What it fetches is bounded in size, and no program that a
repository names is ever run.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ikoma.durable import write_file
from ikoma.errors import HostNotListed, InvalidArguments, SourceTooLarge, SourceUnavailable
from ikoma.kernel.redaction import scrub
from ikoma.model import Secret
from ikoma.run import Finished, follow, run

MOST_BYTES = 1 << 30
"""The most that a repository may fetch, and a tree may hold."""
MOST_FILES = 500_000
DEEPEST = 100
"""Folders in one another that a tree may have."""

_SCP_LIKE = re.compile(r"(?:(?P<user>[a-z0-9_][a-z0-9_.-]*)@)(?P<host>[A-Za-z0-9.-]+):(?P<path>[^:].*)")
_PATH = re.compile(r"/?[A-Za-z0-9_.~+/-]+")
_LISTED = re.compile(r"[0-7]{6} blob [0-9a-f]+ +([0-9]+)\t")
_LOOK_SECONDS = 0.5
_SAID_LINES = 20

# Each closes a way in which a repository, or its server, could have something else run or read.
_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.symlinks": "true",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "protocol.allow": "never",
    "protocol.https.allow": "always",
    "protocol.ssh.allow": "always",
    "http.followRedirects": "false",
    "credential.helper": "",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "transfer.fsckObjects": "true",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "uploadpack.packObjectsHook": "",
}


_VARIABLES = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "https:ssh",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
}


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """Where a repository is. `text` is what git is given, without secrets."""

    text: str
    scheme: str
    host: str

    @classmethod
    def parse(cls, text: str) -> SourceUrl:
        """The address, or InvalidArguments that says what is wrong with it."""
        if not text.isprintable() or len(text) > 500 or text.startswith("-") or any(part.isspace() for part in text):
            raise _refused("is no address")
        if "://" not in text:
            found = _SCP_LIKE.fullmatch(text)
            if found is None or not _PATH.fullmatch(found["path"]):
                raise _refused("is neither https://HOST/PATH nor ssh://USER@HOST/PATH")
            return cls(
                f"ssh://{found['user']}@{found['host']}/{found['path'].lstrip('/')}", "ssh", found["host"].lower()
            )
        parts = urlsplit(text)
        if parts.scheme not in ("https", "ssh"):
            raise _refused(f"begins with {parts.scheme}://; only https:// and ssh:// are taken")
        if parts.password is not None or (parts.scheme == "https" and parts.username is not None):
            raise InvalidArguments("url: holds a user or password.", hint="Leave it out, and give a token as token.")
        if not parts.hostname or not _PATH.fullmatch(parts.path) or parts.query or parts.fragment:
            raise _refused("has no host and path that could be a repository")
        if not re.fullmatch(r"[a-z0-9.:-]+", parts.hostname) or not re.fullmatch(r"[a-z0-9_.-]*", parts.username or ""):
            raise _refused("has a host or user of a form that is not taken")
        return cls(text, parts.scheme, parts.hostname)


@dataclass(frozen=True, slots=True)
class Reach:
    """What may be fetched from where. `hosts` are names or `*`; the files are None where there are none."""

    hosts: Sequence[str]
    known_hosts: Path
    helpers: Path
    """A folder of ours for the program that starts ssh."""
    ssh_key: Path | None = None
    ca_file: Path | None = None

    async def check(self, url: SourceUrl) -> dict[str, str]:
        """What to tell git so that it goes where we looked; HostNotListed where it may not go.

        A host that only `*` allows must not be this machine or its neighbours, now or when git looks again.
        """
        if url.host in self.hosts:
            return {}
        if "*" not in self.hosts or url.scheme == "ssh":
            raise HostNotListed(f"{url.host} is not among the hosts that source may come from.")
        try:
            found = await asyncio.get_running_loop().getaddrinfo(url.host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise SourceUnavailable(f"{url.host} cannot be found: {error.strerror}.") from error
        if not all(ipaddress.ip_address(item[4][0]).is_global for item in found):
            raise HostNotListed(f"{url.host} is on a private network.", hint="An admin may name it in SOURCE_HOSTS.")
        return {"http.curloptResolve": f"{url.host}:{urlsplit(url.text).port or 443}:{found[0][4][0]}"}


class Repository:
    """A bare repository of ours, into which one commit at a time is fetched."""

    def __init__(self, folder: Path, reach: Reach) -> None:
        self._folder = folder
        self._reach = reach

    async def fetch(self, url: SourceUrl, ref: str, *, depth: int, token: Secret | None, timeout: float) -> str:
        """Fetch what a ref names now; the commit's id.

        Raises:
            SourceUnavailable: the host, the repository or the ref is not there, or not for us.
            SourceTooLarge
        """
        pinned = await self._reach.check(url)
        if not (self._folder / "HEAD").is_file():
            await self._git("init", "--quiet", "--bare", str(self._folder), timeout=30)
        argv = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--force"]
        argv += [f"--depth={depth}", "--", url.text, f"{ref}:refs/ikoma/fetched"]
        fetching = asyncio.ensure_future(self._git(*argv, url=url, token=token, pinned=pinned, timeout=timeout))
        while not (await asyncio.wait([fetching], timeout=_LOOK_SECONDS))[0]:
            if await asyncio.to_thread(folder_size, self._folder) > MOST_BYTES:
                fetching.cancel()
                with suppress(asyncio.CancelledError):
                    await fetching
                raise SourceTooLarge(f"The repository is larger than {MOST_BYTES >> 20} MiB.")
        await fetching
        shown = await self._git("rev-parse", "--verify", "--quiet", "refs/ikoma/fetched^{commit}", timeout=30)
        return shown.stdout.decode().strip()

    async def check_out(self, commit: str, path: str | None, target: Path, *, timeout: float) -> None:
        """Write the files of a commit, or of a folder in it, into an empty folder. Nothing of git is in it."""
        tree = f"{commit}:{path}" if path else commit
        index = {"GIT_INDEX_FILE": str(target.with_name(f"{target.name}.index")), "GIT_WORK_TREE": str(target)}
        await self._measure(tree, timeout=timeout)
        try:
            await self._git("read-tree", tree, env=index, timeout=timeout)
            await self._git("checkout-index", "--all", "--force", "--quiet", env=index, timeout=timeout)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(index["GIT_INDEX_FILE"])

    async def _measure(self, tree: str, *, timeout: float) -> None:
        """SourceTooLarge before a byte is written: in a small repository one file can stand under a million names."""
        files = size = 0

        def count(line: str) -> None:
            nonlocal files, size
            files += 1
            size += int(found[1]) if (found := _LISTED.match(line)) else 0
            if line.count("/") > DEEPEST:
                raise SourceTooLarge(f"The source has more than {DEEPEST} folders in one another.")
            if files > MOST_FILES or size > MOST_BYTES:
                raise SourceTooLarge(f"The source has more than {MOST_FILES} files or {MOST_BYTES >> 20} MiB.")

        argv, variables = self._command("ls-tree", "-r", "-l", tree)
        try:
            await follow(argv, on_line=count, env=variables, timeout=timeout)
        except TimeoutError as error:
            raise SourceTooLarge(f"The files of the source could not be counted within {timeout:.0f} s.") from error

    async def _git(
        self,
        *arguments: str,
        url: SourceUrl | None = None,
        token: Secret | None = None,
        pinned: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float,
    ) -> Finished:
        argv, variables = self._command(*arguments, pinned=pinned)
        variables |= {**self._credentials(url, token), **(env or {})}
        try:
            finished = await run(argv, env=variables, timeout=timeout)
        except TimeoutError as error:
            raise SourceUnavailable(f"git did not end within {timeout:.0f} s.") from error
        if finished.code != 0:
            raise _failure(finished, token)
        return finished

    def _command(self, *arguments: str, pinned: Mapping[str, str] | None = None) -> tuple[list[str], dict[str, str]]:
        """What to start git with, and in which environment."""
        config = [part for name, value in (_CONFIG | dict(pinned or {})).items() for part in ("-c", f"{name}={value}")]
        folder = [] if arguments[0] == "init" else [f"--git-dir={self._folder}"]
        return ["git", *config, *folder, *arguments], dict(_VARIABLES)

    def _credentials(self, url: SourceUrl | None, token: Secret | None) -> dict[str, str]:
        if url is None:
            return {}
        if url.scheme == "ssh":
            return {"GIT_SSH": str(self._ssh_program()), "GIT_SSH_VARIANT": "ssh"}
        found = {"GIT_SSL_CAINFO": str(self._reach.ca_file)} if self._reach.ca_file else {}
        if token is not None:  # in the environment, which only root may read; never in arguments or files
            basic = base64.b64encode(f"x-access-token:{token.reveal()}".encode()).decode()
            found |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": f"http.{_origin(url)}.extraHeader",
                "GIT_CONFIG_VALUE_0": f"Authorization: Basic {basic}",
            }
        return found

    def _ssh_program(self) -> Path:
        """A program that starts ssh with our options: git's own way to give options goes through a shell."""
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "accept-new",
            "UserKnownHostsFile": str(self._reach.known_hosts),
            "IdentitiesOnly": "yes",
            "PermitLocalCommand": "no",
            "ProxyCommand": "none",
            "ClearAllForwardings": "yes",
            "ConnectTimeout": "15",
        }
        argv = ["ssh", "-F", "/dev/null", *(part for item in options.items() for part in ("-o", "=".join(item)))]
        argv += ["-i", str(self._reach.ssh_key)] if self._reach.ssh_key else []
        text = f"#!{sys.executable} -I\nimport os, sys\nos.execvp('ssh', [*{json.dumps(argv)}, *sys.argv[1:]])\n"
        program = self._reach.helpers / "git-ssh"
        if not program.is_file() or program.read_text() != text:
            write_file(program, text, mode=0o700)
        return program


def folder_size(folder: Path) -> int:
    """Bytes in a folder and all below it; files that go meanwhile count for nothing."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - a hot loop
    return size


def _origin(url: SourceUrl) -> str:
    parts = urlsplit(url.text)
    return f"{parts.scheme}://{parts.netloc}/"


def _refused(problem: str) -> InvalidArguments:
    return InvalidArguments(f"url: {problem}.", hint="Give https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH.")


_CAUSES = (
    ("could not read Username", "The repository is not there, or needs a token."),
    ("Authentication failed", "The host did not take the token."),
    ("returned error: 403", "The host did not take the token."),
    ("returned error: 404", "The repository is not there, or not for this token."),
    ("not found", "The repository is not there, or not for this key or token."),
    ("Permission denied", "The host did not take our ssh key."),
    ("couldn't find remote ref", "The repository has no such ref."),
    ("not our ref", "The repository does not give out that commit."),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", "The host's key has changed: it may be another machine."),
    ("Host key verification failed", "The host's key is not the known one."),
    ("SSL certificate problem", "The host's certificate is not trusted."),
    ("Could not resolve host", "The host cannot be found."),
    ("Failed to connect", "The host cannot be reached."),
    ("Connection refused", "The host cannot be reached."),
    ("unable to update url base from redirection", "The address leads elsewhere: give the one it leads to."),
    ("Not a valid object name", "There is no such folder in the repository."),
    ("not a tree object", "There is no such folder in the repository."),
)


def _failure(finished: Finished, token: Secret | None) -> SourceUnavailable:
    said = scrub(finished.stderr.decode(errors="replace"), [token] if token else [])
    cause = next((cause for sign, cause in _CAUSES if sign in said), "git failed.")
    return SourceUnavailable(cause, output=said.strip().splitlines()[-_SAID_LINES:])

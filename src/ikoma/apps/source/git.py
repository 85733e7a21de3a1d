"""git, for fetching source that others wrote: no shell, no hooks, no recursion, no local protocols, no prompts.

Only https and ssh, and only hosts that the settings name. What it fetches is bounded in size, and no program that a
repository names is ever run.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ikoma.apps.source.access import SourceAccess
from ikoma.apps.source.url import SourceReach, SourceUrl
from ikoma.durable import remove_tree, write_file
from ikoma.errors import SourceTooLarge, SourceUnavailable
from ikoma.kernel.redaction.redaction import scrub
from ikoma.model import Secret
from ikoma.run import OutputTooLong, ProcessResult, follow, run

__all__ = [
    "DEEPEST",
    "MOST_BYTES",
    "MOST_FILES",
    "Repository",
    "SourceReach",
    "SourceUrl",
    "Submodule",
    "measure_folder",
]

MOST_BYTES = 1 << 30
_MOST_KEPT = MOST_BYTES // 2
"""The most that a repository may fetch, and a tree may hold."""
MOST_FILES = 500_000
DEEPEST = 100
"""Folders in one another that a tree may have."""

_LISTED = re.compile(r"[0-7]{6} blob [0-9a-f]+ +([0-9]+)\t")
_MODULE = re.compile(r"160000 commit ([0-9a-f]+) +-\t(.+)")
_MOST_MODULES = 50
_MOST_SAID = 16 << 20
_IDENTITIES = "IKOMA_SSH_KEYS"
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
    "core.quotePath": "false",
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
class Submodule:
    """A folder of a repository that is a commit of another one. `url` is as it was written; None where it is not."""

    path: str
    commit: str
    url: str | None


class Repository:
    """A bare repository of ours, into which one commit at a time is fetched. Its caller works on it alone."""

    def __init__(self, folder: Path, reach: SourceReach, access: SourceAccess) -> None:
        self._folder = folder
        self._reach = reach
        self._access = access

    async def fetch(self, url: SourceUrl, ref: str, *, depth: int, timeout: float) -> str:
        """Fetch what a ref names now; the commit's id.

        Raises:
            SourceUnavailable: the host, the repository or the ref is not there, or not for us.
            SourceTooLarge
        """
        await self._fetch(url, f"--depth={depth}", f"{ref}:refs/ikoma/fetched", timeout=timeout)
        shown = await self._run_git("rev-parse", "--verify", "--quiet", "refs/ikoma/fetched^{commit}", timeout=30)
        return shown.stdout.decode().strip()

    async def fetch_commit(self, url: SourceUrl, commit: str, *, timeout: float) -> None:
        """Have a commit, where need be by all branches: not every host gives out one that no ref names.

        Raises:
            SourceUnavailable, SourceTooLarge
        """
        if await self.has_commit(commit):
            return
        try:
            await self._fetch(url, "--depth=1", f"{commit}:refs/ikoma/fetched", timeout=timeout)
        except SourceUnavailable:
            await self._fetch(url, "--refmap=", "+refs/heads/*:refs/ikoma/heads/*", timeout=timeout)
            if not await self.has_commit(commit):
                raise

    async def has_commit(self, commit: str) -> bool:
        if not (self._folder / "HEAD").is_file():
            return False
        argv, variables = self._make_command("cat-file", "-e", f"{commit}^{{tree}}")
        return (await run(argv, env=variables, timeout=30)).code == 0

    async def compare_commits(self, before: str, after: str) -> list[str] | None:
        """Compare two commits: the paths that differ; None where that cannot be told."""
        if not (await self.has_commit(before) and await self.has_commit(after)):
            return None
        argv, variables = self._make_command("diff-tree", "-r", "-z", "--name-only", "--no-renames", before, after)
        try:
            finished = await run(argv, env=variables, timeout=60, most=_MOST_SAID)
        except (TimeoutError, OutputTooLong):
            return None
        return [os.fsdecode(name) for name in finished.stdout.split(b"\0") if name] if finished.code == 0 else None

    async def read(self, commit: str, path: str, most: int) -> bytes | None:
        """Read a file of a commit; None where there is none, or a larger one."""
        argv, variables = self._make_command("cat-file", "blob", f"{commit}:{path}")
        try:
            finished = await run(argv, env=variables, timeout=30, most=most)
        except OutputTooLong:
            return None
        return finished.stdout if finished.code == 0 else None

    async def _fetch(self, url: SourceUrl, *arguments: str, timeout: float) -> None:
        pinned = await self._reach.check(url)
        if await asyncio.to_thread(measure_folder, self._folder) > _MOST_KEPT:  # of all fetches so far: it only grows
            await asyncio.to_thread(remove_tree, self._folder)
        if not (self._folder / "HEAD").is_file():
            await self._run_git("init", "--quiet", "--bare", str(self._folder), timeout=30)
        for lock in (*self._folder.glob("*.lock"), *self._folder.glob("refs/**/*.lock")):
            lock.unlink(missing_ok=True)  # of a git that was killed
        *options, refspec = arguments
        argv = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--force"]
        argv += [*options, "--", url.text, refspec]
        fetching = asyncio.ensure_future(self._run_git(*argv, url=url, pinned=pinned, timeout=timeout))
        while not (await asyncio.wait([fetching], timeout=_LOOK_SECONDS))[0]:
            if await asyncio.to_thread(measure_folder, self._folder) > MOST_BYTES:
                fetching.cancel()
                with suppress(asyncio.CancelledError):
                    await fetching
                raise SourceTooLarge(f"The repository is larger than {MOST_BYTES >> 20} MiB.")
        await fetching

    async def check_out(self, commit: str, path: str | None, target: Path, *, timeout: float) -> list[Submodule]:
        """Write the files of a commit, or of a folder in it, into an empty folder. Nothing of git is in it.

        Returns:
            The submodules in it, by their paths in that folder: theirs are empty.
        """
        tree = f"{commit}:{path}" if path else commit
        index = {"GIT_INDEX_FILE": str(self._folder / "checking-out.index"), "GIT_WORK_TREE": str(target)}
        modules = await self._measure(tree, timeout=timeout)
        try:
            await self._run_git("read-tree", tree, env=index, timeout=timeout)
            await self._run_git("checkout-index", "--all", "--force", "--quiet", env=index, timeout=timeout)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(index["GIT_INDEX_FILE"])
        urls = await self._read_module_urls(commit) if modules else {}
        above = f"{path}/" if path else ""
        return [Submodule(inside, of, urls.get(f"{above}{inside}")) for inside, of in modules.items()]

    async def read_settings(self, commit: str, path: str) -> dict[str, str]:
        """Read a file of a commit in the form of git's own configuration; nothing where there is none."""
        argv, variables = self._make_command("config", "-z", f"--blob={commit}:{path}", "--list")
        try:
            finished = await run(argv, env=variables, timeout=30, most=1 << 20)
        except OutputTooLong:
            return {}
        said = finished.stdout.decode("utf-8", "surrogateescape") if finished.code == 0 else ""
        return {key: value for key, _, value in (entry.partition("\n") for entry in said.split("\0")) if key}

    async def ask_by_ssh(self, url: SourceUrl, command: str, *, timeout: float) -> bytes:
        """Ask the host of a repository by a command; returns what it says."""
        await self._reach.check(url)
        user, _, host = urlsplit(url.text).netloc.rpartition("@")
        name = host.partition(":")[0]
        argv = [str(self._write_ssh_program()), "-p", str(url.port), "--", f"{user}@{name}" if user else name, command]
        try:
            finished = await run(argv, env=self._make_credentials(url), timeout=timeout, most=1 << 20)
        except (TimeoutError, OutputTooLong) as error:
            raise SourceUnavailable("The host does not answer by ssh.") from error
        if finished.code != 0:
            raise _make_error(finished, self._access.secrets)
        return finished.stdout

    async def _read_module_urls(self, commit: str) -> dict[str, str]:
        """Path of a submodule → where .gitmodules says that it is."""
        found: dict[str, dict[str, str]] = {}
        for key, value in (await self.read_settings(commit, ".gitmodules")).items():
            section, _, name = key.rpartition(".")
            found.setdefault(section, {})[name] = value
        return {item["path"]: item["url"] for item in found.values() if "path" in item and "url" in item}

    async def _measure(self, tree: str, *, timeout: float) -> dict[str, str]:
        """The submodules, path → commit.

        SourceTooLarge before a byte is written: in a small repository one file can stand under a million names.
        """
        files = size = 0
        modules: dict[str, str] = {}

        def count(line: str) -> None:
            nonlocal files, size
            files += 1
            size += int(found[1]) if (found := _LISTED.match(line)) else 0
            if module := _MODULE.match(line):
                modules[module[2]] = module[1]
            if len(modules) > _MOST_MODULES:
                raise SourceTooLarge(f"The source has more than {_MOST_MODULES} submodules.")
            if line.count("/") > DEEPEST:
                raise SourceTooLarge(f"The source has more than {DEEPEST} folders in one another.")
            if files > MOST_FILES or size > MOST_BYTES:
                raise SourceTooLarge(f"The source has more than {MOST_FILES} files or {MOST_BYTES >> 20} MiB.")

        argv, variables = self._make_command("ls-tree", "-r", "-l", tree)
        try:
            await follow(argv, on_line=count, env=variables, timeout=timeout)
        except TimeoutError as error:
            raise SourceTooLarge(f"The files of the source could not be counted within {timeout:.0f} s.") from error
        return modules

    async def _run_git(
        self,
        *arguments: str,
        url: SourceUrl | None = None,
        pinned: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float,
    ) -> ProcessResult:
        argv, variables = self._make_command(*arguments, pinned=pinned)
        variables |= {**self._make_credentials(url), **(env or {})}
        try:
            finished = await run(argv, env=variables, timeout=timeout)
        except TimeoutError as error:
            raise SourceUnavailable(f"git did not end within {timeout:.0f} s.") from error
        if finished.code != 0:
            raise _make_error(finished, self._access.secrets)
        return finished

    def _make_command(
        self, *arguments: str, pinned: Mapping[str, str] | None = None
    ) -> tuple[list[str], dict[str, str]]:
        """Make git's arguments and its environment."""
        config = [part for name, value in (_CONFIG | dict(pinned or {})).items() for part in ("-c", f"{name}={value}")]
        folder = [] if arguments[0] == "init" else [f"--git-dir={self._folder}"]
        return ["git", *config, *folder, *arguments], dict(_VARIABLES)

    def _make_credentials(self, url: SourceUrl | None) -> dict[str, str]:
        if url is None:
            return {}
        if url.scheme == "ssh":
            keys = [str(key) for key in (self._access.find_key(url), self._reach.ssh_key) if key]
            return {"GIT_SSH": str(self._write_ssh_program()), "GIT_SSH_VARIANT": "ssh", _IDENTITIES: json.dumps(keys)}
        found = {"GIT_SSL_CAINFO": str(self._reach.ca_file)} if self._reach.ca_file else {}
        if token := self._access.find_token(
            url
        ):  # in the environment, which only root may read; never in arguments or files
            found |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": f"http.{url.origin}.extraHeader",
                "GIT_CONFIG_VALUE_0": f"Authorization: {token.make_header(url)}",
            }
        return found

    def _write_ssh_program(self) -> Path:
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
        text = (
            f"#!{sys.executable} -I\nimport json, os, sys\n"
            f"keys = [part for key in json.loads(os.environ['{_IDENTITIES}']) for part in ('-i', key)]\n"
            f"os.execvp('ssh', [*{json.dumps(argv)}, *keys, *sys.argv[1:]])\n"
        )
        program = self._reach.helpers / "git-ssh"
        if not program.is_file() or program.read_text() != text:
            write_file(program, text, mode=0o700)
        return program


def measure_folder(folder: Path) -> int:
    """Bytes in a folder and all below it; files that go meanwhile count for nothing."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118 - a hot loop
    return size


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


_OPENED_WITH = (
    "Check the address; source.token keeps a token for https, source.key makes a deploy key for ssh. "
    "All files are as they were."
)


def _make_error(finished: ProcessResult, known: Sequence[Secret]) -> SourceUnavailable:
    said = scrub(finished.stderr.decode(errors="replace"), known)
    cause = next((cause for sign, cause in _CAUSES if sign in said), "git failed.")
    hint = _OPENED_WITH if "token" in cause or "key" in cause else None
    return SourceUnavailable(cause, hint=hint, output=said.strip().splitlines()[-_SAID_LINES:])

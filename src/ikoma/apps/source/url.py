"""The places that source may come from: addresses of repositories, and the hosts that the settings name."""

from __future__ import annotations

import asyncio
import ipaddress
import posixpath
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ikoma.errors import HostNotListed, InvalidArguments, SourceUnavailable

_SCP_LIKE = re.compile(r"(?:(?P<user>[a-z0-9_][a-z0-9_.-]*)@)(?P<host>[A-Za-z0-9.-]+):(?P<path>[^:].*)")
_PATH = re.compile(r"/?[A-Za-z0-9_.~+/-]+")


@dataclass(frozen=True, slots=True)
class SourceUrl:
    """The address of a repository. `text` is what git is given, without secrets."""

    text: str
    scheme: str
    host: str

    @classmethod
    def parse(cls, text: str) -> SourceUrl:
        """Parse an address; InvalidArguments says what is wrong with it."""
        if not text.isprintable() or len(text) > 500 or text.startswith("-") or any(part.isspace() for part in text):
            raise _make_invalid("is no address")
        if "://" not in text:
            found = _SCP_LIKE.fullmatch(text)
            if found is None or not _PATH.fullmatch(found["path"]):
                raise _make_invalid("is neither https://HOST/PATH nor ssh://USER@HOST/PATH")
            return cls(
                f"ssh://{found['user']}@{found['host']}/{found['path'].lstrip('/')}", "ssh", found["host"].lower()
            )
        parts = urlsplit(text)
        if parts.scheme not in ("https", "ssh"):
            raise _make_invalid(f"begins with {parts.scheme}://; only https:// and ssh:// are taken")
        if parts.password is not None or (parts.scheme == "https" and parts.username is not None):
            raise InvalidArguments("url: holds a user or password.", hint="Leave it out, and give a token as `token`.")
        if not parts.hostname or not _PATH.fullmatch(parts.path) or parts.query or parts.fragment:
            raise _make_invalid("has no host and path that could be a repository")
        if not re.fullmatch(r"[a-z0-9.:-]+", parts.hostname) or not re.fullmatch(r"[a-z0-9_.-]*", parts.username or ""):
            raise _make_invalid("has a host or user of a form that is not taken")
        try:
            port = parts.port
        except ValueError:
            port = 0
        if port == 0:
            raise _make_invalid("has a port that none has")
        return cls(text, parts.scheme, parts.hostname)

    @property
    def port(self) -> int:
        return urlsplit(self.text).port or (443 if self.scheme == "https" else 22)

    @property
    def origin(self) -> str:
        """Scheme, host and port: what a header is sent to."""
        parts = urlsplit(self.text)
        return f"{parts.scheme}://{parts.netloc}/"

    @property
    def repository(self) -> str:
        """The path of the repository on its host, such as you/shop."""
        return urlsplit(self.text).path.strip("/").removesuffix(".git")

    def join(self, text: str) -> SourceUrl:
        """Join a submodule's address to this repository's: `../other.git` is beside it."""
        if not text.startswith(("./", "../")):
            return SourceUrl.parse(text)
        parts = urlsplit(self.text)
        path = posixpath.normpath(posixpath.join(parts.path.rstrip("/"), text))
        return SourceUrl.parse(f"{parts.scheme}://{parts.netloc}/{path.lstrip('/')}")


@dataclass(frozen=True, slots=True)
class SourceReach:
    """The hosts that source may be fetched from. `hosts` are names or `*`; the files are None where there are none."""

    hosts: Sequence[str]
    known_hosts: Path
    helpers: Path
    """A folder of ours for the program that starts ssh."""
    ssh_key: Path | None = None
    ca_file: Path | None = None

    async def check(self, url: SourceUrl) -> dict[str, str]:
        """Check that a host may be reached, else HostNotListed; returns the settings that lead git there.

        A host that only `*` allows must not be this machine or its neighbours, now or when git looks again.
        """
        pinned = await self.find_address(url.host, is_https=url.scheme == "https")
        return {} if pinned is None else {"http.curloptResolve": f"{url.host}:{url.port}:{pinned}"}

    async def find_address(self, host: str, *, is_https: bool = True) -> str | None:
        """Find the public address of a host now; None for a host that is named, wherever it is.

        Raises:
            HostNotListed, SourceUnavailable
        """
        if host in self.hosts:
            return None
        if "*" not in self.hosts or not is_https:
            raise HostNotListed(f"{host} is not among the hosts that source may come from.")
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise SourceUnavailable(f"{host} cannot be found: {error.strerror}.") from error
        except UnicodeError as error:  # a part of it is empty, or longer than any name
            raise SourceUnavailable("An address on the way names a host that can be none.") from error
        addresses = [str(item[4][0]) for item in found]
        if not all(ipaddress.ip_address(address).is_global for address in addresses):
            raise HostNotListed(f"{host} is on a private network.", hint="An admin may name it in SOURCE_HOSTS.")
        return addresses[0]


def _make_invalid(problem: str) -> InvalidArguments:
    return InvalidArguments(f"url: {problem}.", hint="Give https://HOST/PATH, ssh://USER@HOST/PATH or USER@HOST:PATH.")

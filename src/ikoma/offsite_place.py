"""The settings of a place off this machine where copies of backups are kept, parsed and checked.

What opens that place is a `Secret`. Nothing here opens a backup: that takes an age identity, which a server has only
where it was told to.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from ikoma.errors import InvalidSetting
from ikoma.model import Secret

_RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}|ssh-(?:ed25519|rsa) [A-Za-z0-9+/=]{40,}(?: .*)?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_LONGEST_LOCK = 3650
_SSH_PORT = 22
_PATHS = ("identity_file", "ssh_key", "known_hosts", "ca_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsitePlace:
    """A bucket, a folder of an SFTP server, or a mounted folder, and to whom copies there are encrypted."""

    kind: str
    """s3, sftp or file."""
    path: str
    """The folder, absolute; of a bucket the prefix, without slashes at its ends."""
    recipients: tuple[str, ...]
    """Public keys: age1… or those of ssh. Each of them opens every copy."""
    identity_file: Path | None = None
    """The file with the secret key by which this server opens copies; None: it cannot."""
    host: str = ""
    """The bucket, or the SFTP server's name."""
    port: int = _SSH_PORT
    user: str = ""
    endpoint: str | None = None
    """The address of the S3 service; None: Amazon's."""
    region: str = "us-east-1"
    key_id: str = ""
    secret: Secret | None = None
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    ca_file: Path | None = None
    """Certificates by which a private S3 service is trusted."""
    lock_days: int = 0
    """For how many days nobody can delete what was sent; 0: the store decides."""

    def __str__(self) -> str:
        """The address as OFFSITE_URL takes it: it holds no secret."""
        where = self.host
        if self.kind == "sftp":
            named = f"[{self.host}]" if ":" in self.host else self.host
            where = f"{quote(self.user)}@{named}" + (f":{self.port}" if self.port != _SSH_PORT else "")
        return f"{self.kind}://{where}/{quote(self.path.lstrip('/'))}"

    @property
    def secret_files(self) -> list[Path]:
        """The files that hold a secret key."""
        return [path for path in (self.identity_file, self.ssh_key) if path is not None]

    def write_plain(self) -> dict[str, Any]:
        """The place as JSON holds it, with what opens it in plain: for a pipe, and for nothing that is kept."""
        paths = {name: str(value) if (value := getattr(self, name)) else None for name in _PATHS}
        secret = self.secret.reveal() if self.secret else None
        return {**asdict(replace(self, secret=None)), **paths, "secret": secret}

    @classmethod
    def from_plain(cls, told: Mapping[str, Any]) -> OffsitePlace:
        """The place of which `write_plain` told."""
        paths = {name: Path(told[name]) if told[name] else None for name in _PATHS}
        secret = Secret(told["secret"]) if told["secret"] else None
        return cls(**{**told, **paths, "secret": secret, "recipients": tuple(told["recipients"])})


def parse_offsite_place(values: Mapping[str, str], home: Path, *, sends: bool = True) -> OffsitePlace | None:
    """Read the OFFSITE_ variables; None where OFFSITE_URL is not set.

    Args:
        home: IKOMA_HOME, where known_hosts is unless OFFSITE_KNOWN_HOSTS says otherwise.
        sends: whether copies are sent there, and so encrypted to somebody.

    Raises:
        InvalidSetting: names the variable and says what it takes.
    """
    address = values.get("OFFSITE_URL", "")
    if not address:
        return None
    kind, host, port, user, path = _split(address)
    secret = values.get("OFFSITE_S3_SECRET")
    place = OffsitePlace(
        kind=kind,
        host=host,
        port=port,
        user=user,
        path=path,
        recipients=_parse_recipients(values.get("OFFSITE_AGE_RECIPIENTS", "")) if sends else (),
        identity_file=_parse_path(values, "OFFSITE_AGE_IDENTITY_FILE"),
        endpoint=_parse_endpoint(values.get("OFFSITE_S3_ENDPOINT", "")),
        region=_parse_plain(values, "OFFSITE_S3_REGION", "us-east-1"),
        key_id=values.get("OFFSITE_S3_KEY_ID", ""),
        secret=Secret(secret) if secret else None,
        ssh_key=_parse_path(values, "OFFSITE_SSH_KEY"),
        known_hosts=_parse_path(values, "OFFSITE_KNOWN_HOSTS") or home / "known_hosts",
        ca_file=_parse_path(values, "OFFSITE_CA_FILE"),
        lock_days=_parse_days(values.get("OFFSITE_LOCK_DAYS", "0")),
    )
    if kind == "s3" and not (place.key_id and place.secret):
        raise InvalidSetting("OFFSITE_S3_KEY_ID and OFFSITE_S3_SECRET are needed with an OFFSITE_URL of s3.")
    if kind == "sftp" and place.ssh_key is None:
        raise InvalidSetting("OFFSITE_SSH_KEY is needed with an OFFSITE_URL of sftp: the file of a private key.")
    if place.lock_days and kind != "s3":
        raise InvalidSetting("OFFSITE_LOCK_DAYS goes with an OFFSITE_URL of s3: only a bucket can lock what it has.")
    return place


def _split(address: str) -> tuple[str, str, int, str, str]:
    takes = "s3://bucket/prefix, sftp://user@host/path or file:///path"
    wrong = InvalidSetting(f"OFFSITE_URL does not name a place; it takes {takes}.")
    try:
        parts = urlsplit(address)
        host, port, user = parts.hostname or "", parts.port or _SSH_PORT, unquote(parts.username or "")
    except ValueError:
        raise wrong from None
    if parts.password is not None:
        raise InvalidSetting("OFFSITE_URL holds a password; SFTP takes a key: OFFSITE_SSH_KEY.")
    path = unquote(parts.path)
    if parts.query or parts.fragment or "\0" in path or ".." in path.split("/"):
        raise wrong
    match parts.scheme:
        case "s3" if _BUCKET.fullmatch(host) and not user:
            return "s3", host, port, "", path.strip("/")
        case "sftp" if host and user and path.strip("/"):
            return "sftp", host, port, user, f"/{path.strip('/')}"
        case "file" if not host and path.strip("/"):
            return "file", "", port, "", f"/{path.strip('/')}"
    raise wrong


def _parse_recipients(value: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in value.split(",") if part.strip())
    if not found:
        raise InvalidSetting("OFFSITE_AGE_RECIPIENTS is needed with OFFSITE_URL: the public keys that open the copies.")
    for part in found:
        if part.upper().startswith("AGE-SECRET-KEY"):
            raise InvalidSetting("OFFSITE_AGE_RECIPIENTS holds a secret key; it takes the public one, age1….")
        if not _RECIPIENT.fullmatch(part):
            raise InvalidSetting(
                f"OFFSITE_AGE_RECIPIENTS holds {part!r}; it takes age1… or ssh-ed25519 …, with commas."
            )
    return found


def _parse_endpoint(value: str) -> str | None:
    if value and not re.fullmatch(r"https?://[^\s/@]+/?", value):
        raise InvalidSetting(f"OFFSITE_S3_ENDPOINT is {value!r}; it takes an address such as https://s3.example.com.")
    return value.rstrip("/") or None


def _parse_plain(values: Mapping[str, str], name: str, default: str) -> str:
    value = values.get(name) or default
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", value):
        raise InvalidSetting(f"{name} is {value!r}; it takes letters, digits and -.")
    return value


def _parse_path(values: Mapping[str, str], name: str) -> Path | None:
    value = values.get(name)
    if not value:
        return None
    if not value.startswith("/") or "\0" in value:
        raise InvalidSetting(f"{name} is {value!r}; it takes an absolute path.")
    return Path(value)


def _parse_days(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", value) or int(value) > _LONGEST_LOCK:
        raise InvalidSetting(f"OFFSITE_LOCK_DAYS is {value!r}; it takes a whole number from 0 to {_LONGEST_LOCK}.")
    return int(value)

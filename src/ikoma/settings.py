"""One Settings object, and the one place that reads the environment.

A setting is an environment variable, or a line in IKOMA_HOME/.env; the environment wins. API_KEY_HASH is the
exception: there the file wins, because that is how a key is rotated while the server runs.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dotenv import dotenv_values

from ikoma.errors import InvalidSetting
from ikoma.model import DomainName, Role, Secret
from ikoma.offsite_place import OffsitePlace, parse_offsite_place

T = TypeVar("T")

_SOURCE_HOSTS = "github.com,gitlab.com,bitbucket.org,codeberg.org"

__all__ = ["Settings", "is_in_environment", "load_offsite_place", "load_settings", "read_api_key_hash"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The places of things and the behaviour of the server. Paths are absolute."""

    server_mode: str
    http_host: str
    http_port: int
    allowed_hosts: tuple[str, ...]
    """Names by which this server may be called, besides localhost and addresses."""
    postgres_host: str | None
    """None: IKOMA runs its own PostgreSQL."""
    postgres_port: int | None
    """None: 5432, or for the embedded server the first free port from there on, remembered."""
    postgres_db: str
    postgres_user: str
    postgres_password: Secret | None
    db_session_memory: int
    """Bytes that one session of an app may take in the embedded PostgreSQL."""
    db_statement_seconds: float
    """How long one statement of an app may take there."""
    db_lock_seconds: float
    """How long a migration waits for a lock before the app's statements go first."""
    api_key_hash: str | None
    docker_host: str
    jwt_issuer: str | None
    """Issuer of tokens taken besides API keys; None: nobody's."""
    jwt_audience: str | None
    """The `aud` that a token must have; None: this server's own /mcp address."""
    jwt_jwks_url: str | None
    """Where the issuer's keys are; None: the issuer's own metadata says."""
    source_hosts: tuple[str, ...]
    """Hosts that source may come from; `*` is any that is not on a private network."""
    source_ssh_key: Path | None
    source_ca_file: Path | None
    """Certificates of the authorities by which private git hosts are trusted."""
    rate_limit_window_ms: int
    rate_limit_max_requests: int
    ikoma_role: Role | None
    """Role that the command line and `ikoma mcp` ask for; None is the key's own."""
    audit_max_mb: int
    """Size in MiB at which the audit log is rotated away."""
    audit_keep_files: int
    """Rotated files that are kept; 0 keeps all."""
    audit_anchor_seconds: int
    audit_anchor_file: Path | None
    audit_anchor_url: str | None
    audit_anchor_syslog: str | None
    """`local`, or host:port."""
    auth_max_failures: int
    """Wrong keys from one address before it must wait."""
    image_registries: tuple[str, ...]
    """Globs of the registries that images may come from."""
    image_pinned: bool
    """Whether images must name their digest."""
    container_memory_mb: int
    """Limit in MiB of a container that names none."""
    nightly_backups: bool
    """Whether an app with a database gets a nightly backup by itself."""
    point_in_time: bool
    """Whether PostgreSQL is archived, so that a database can go back to any second."""
    point_in_time_days: int
    """For how many days one can go back."""
    offsite: OffsitePlace | None
    """Where copies of backups go, off this machine; None: nowhere."""
    releases_keep: int
    """How many releases of an app are kept."""
    releases_max_days: int
    """For how many days a release is kept."""
    parallel_backup_above: int
    """Bytes of a database, above which several workers dump it for a backup of the whole app."""
    trash_days: int
    """For how many days a removed app is kept."""
    proxy_host: str
    """Where the proxy listens for everyone; "" is every address of this machine."""
    proxy_http_port: int
    """0: no such listener."""
    proxy_https_port: int
    """0: no such listener."""
    proxy_tls: str
    """Signer of certificates of domains: acme, staging, internal; or off."""
    proxy_process: str
    """own: this server starts Caddy; given: someone else does, with the configuration that this server writes."""
    platform_domain: str | None
    """The name under which the proxy serves the control plane itself; None: it does not."""
    public_addresses: tuple[str, ...]
    """By which the internet reaches this server, where its own interfaces do not say."""
    acme_email: str | None
    """Address the authority writes to when a certificate is in danger."""
    rehearsal: bool
    """Whether the server only shows that it can start, on a copy of the state: it acts on nothing, serves nobody."""
    apps_root: Path
    ikoma_home: Path
    ikoma_state: Path
    audit_log: Path
    backups_root: Path

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders in which the server keeps what is its own and the apps'."""
        return self.apps_root, self.backups_root, self.ikoma_home, self.ikoma_state, self.audit_log.parent

    @property
    def env_file(self) -> Path:
        return self.ikoma_home / ".env"

    @property
    def api_key_file(self) -> Path:
        return self.ikoma_home / "api-key.txt"

    @property
    def database_file(self) -> Path:
        """SQLite: keys and operations."""
        return self.ikoma_state / "state.db"

    @property
    def backup_key_file(self) -> Path:
        """The key by which this server signs its backups."""
        return self.ikoma_state / "backups.key"

    @property
    def postgres_folder(self) -> Path:
        """The folder that PostgreSQL's own user can reach."""
        return self.ikoma_state / "postgres"

    @property
    def postgres_password_file(self) -> Path:
        """The admin's password of the embedded PostgreSQL."""
        return self.postgres_folder / "password"

    @property
    def audit_head_file(self) -> Path:
        """The file that says which entry of the audit log is the last."""
        return self.ikoma_state / "audit-head"

    @property
    def audit_anchor_files(self) -> tuple[Path, ...]:
        """The files on this machine that keep anchors of the audit log."""
        own = self.ikoma_state / "audit-anchors.jsonl"
        return (own, self.audit_anchor_file) if self.audit_anchor_file else (own,)

    @property
    def socket_file(self) -> Path:
        """The server's unix socket."""
        return self.ikoma_state / "ikoma.sock"

    @property
    def mcp_socket_file(self) -> Path:
        """The socket by which `ikoma mcp` passes its host's messages on to the server."""
        return self.ikoma_state / "mcp.sock"


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check every setting.

    Args:
        environ: the variables to read instead of this process's own.

    Raises:
        InvalidSetting: names the variable and says what it takes.
    """
    given = dict(os.environ if environ is None else environ)
    home = _parse_folder(given.get("IKOMA_HOME") or "/opt/ikoma", "IKOMA_HOME")
    values = {**_read_env_file(home / ".env"), **{name: value for name, value in given.items() if value != ""}}

    def read(name: str, default: str, parse: Callable[[str, str], T]) -> T:
        return parse(values.get(name) or default, name)

    return Settings(
        server_mode=read("SERVER_MODE", "hybrid", _make_choice_parser("http", "mcp", "hybrid")),
        http_host=read("HTTP_HOST", "127.0.0.1", _parse_text),
        http_port=read("HTTP_PORT", "3000", _make_integer_parser(1, 65535)),
        allowed_hosts=read("ALLOWED_HOSTS", "", _parse_names),
        postgres_host=values.get("POSTGRES_HOST") or None,
        postgres_port=read("POSTGRES_PORT", "5432", _make_integer_parser(1, 65535))
        if values.get("POSTGRES_PORT")
        else None,
        postgres_db=read("POSTGRES_DB", "postgres", _parse_text),
        postgres_user=read("POSTGRES_USER", "ikoma", _parse_text),
        postgres_password=Secret(values["POSTGRES_PASSWORD"]) if values.get("POSTGRES_PASSWORD") else None,
        db_session_memory=read("DB_SESSION_MEMORY_MB", "1024", _make_integer_parser(64, 1_000_000)) << 20,
        db_statement_seconds=read("DB_STATEMENT_MAX_MINUTES", "60", _make_integer_parser(1, 100_000)) * 60.0,
        db_lock_seconds=float(read("DB_LOCK_SECONDS", "5", _make_integer_parser(1, 3600))),
        api_key_hash=_hash(values.get("API_KEY_HASH"), "API_KEY_HASH"),
        docker_host=read("DOCKER_HOST", "unix:///var/run/docker.sock", _parse_docker_host),
        jwt_issuer=read("JWT_ISSUER", "", _parse_url),
        jwt_audience=values.get("JWT_AUDIENCE") or None,
        jwt_jwks_url=read("JWT_JWKS_URL", "", _parse_url),
        source_hosts=read("SOURCE_HOSTS", _SOURCE_HOSTS, _parse_names),
        source_ssh_key=read("SOURCE_SSH_KEY", "/", _parse_folder) if values.get("SOURCE_SSH_KEY") else None,
        source_ca_file=read("SOURCE_CA_FILE", "/", _parse_folder) if values.get("SOURCE_CA_FILE") else None,
        image_registries=read("IMAGE_REGISTRIES", "*", _parse_globs),
        image_pinned=read("IMAGE_PINNED", "false", _make_choice_parser("true", "false")) == "true",
        container_memory_mb=read(
            "CONTAINER_MEMORY_MB", str(_measure_half_of_memory()), _make_integer_parser(16, 100_000_000)
        ),
        audit_max_mb=read("AUDIT_MAX_MB", "64", _make_integer_parser(1, 1_000_000)),
        audit_keep_files=read("AUDIT_KEEP_FILES", "100", _make_integer_parser(0, 1_000_000)),
        audit_anchor_seconds=read("AUDIT_ANCHOR_SECONDS", "60", _make_integer_parser(1, 86_400)),
        audit_anchor_file=read("AUDIT_ANCHOR_FILE", "/", _parse_folder) if values.get("AUDIT_ANCHOR_FILE") else None,
        audit_anchor_url=read("AUDIT_ANCHOR_URL", "", _parse_url),
        audit_anchor_syslog=read("AUDIT_ANCHOR_SYSLOG", "", _parse_syslog),
        rate_limit_window_ms=read("RATE_LIMIT_WINDOW_MS", "60000", _make_integer_parser(1, 86_400_000)),
        rate_limit_max_requests=read("RATE_LIMIT_MAX_REQUESTS", "100", _make_integer_parser(1, 1_000_000_000)),
        auth_max_failures=read("AUTH_MAX_FAILURES", "20", _make_integer_parser(1, 1_000_000_000)),
        proxy_host=read("PROXY_HOST", "", _parse_address),
        proxy_http_port=read("PROXY_HTTP_PORT", "80", _make_integer_parser(0, 65535)),
        proxy_https_port=read("PROXY_HTTPS_PORT", "443", _make_integer_parser(0, 65535)),
        proxy_tls=read("PROXY_TLS", "acme", _make_choice_parser("acme", "staging", "internal", "off")),
        proxy_process=read("PROXY_PROCESS", "own", _make_choice_parser("own", "given")),
        platform_domain=read("PLATFORM_DOMAIN", "", _parse_domain),
        public_addresses=read("PUBLIC_ADDRESS", "", _parse_addresses),
        acme_email=read("ACME_EMAIL", "", _parse_email),
        ikoma_role=_parse_role(values["IKOMA_ROLE"], "IKOMA_ROLE") if values.get("IKOMA_ROLE") else None,
        nightly_backups=read("NIGHTLY_BACKUPS", "true", _make_choice_parser("true", "false")) == "true",
        point_in_time=read("POINT_IN_TIME", "false", _make_choice_parser("true", "false")) == "true",
        point_in_time_days=read("POINT_IN_TIME_DAYS", "7", _make_integer_parser(1, 365)),
        offsite=parse_offsite_place(values, home),
        releases_keep=read("RELEASES_KEEP", "20", _make_integer_parser(2, 1000)),
        releases_max_days=read("RELEASES_MAX_DAYS", "365", _make_integer_parser(1, 10_000)),
        parallel_backup_above=read("PARALLEL_BACKUP_ABOVE_MB", "4096", _make_integer_parser(0, 1_000_000_000)) << 20,
        trash_days=read("TRASH_DAYS", "7", _make_integer_parser(1, 10_000)),
        rehearsal=read("REHEARSAL", "false", _make_choice_parser("true", "false")) == "true",
        apps_root=read("APPS_ROOT", "/srv/apps", _parse_folder),
        ikoma_home=home,
        ikoma_state=read("IKOMA_STATE", "/var/lib/ikoma", _parse_folder),
        audit_log=read("AUDIT_LOG", "/var/log/ikoma/audit.jsonl", _parse_folder),
        backups_root=read("BACKUPS_ROOT", "/var/backups/ikoma", _parse_folder),
    )


def load_offsite_place(address: str) -> OffsitePlace | None:
    """Read what opens a place off this machine from the OFFSITE_ settings, for copies that are only taken from there.

    Args:
        address: as OFFSITE_URL takes it.

    Raises:
        InvalidSetting: names the variable and says what it takes.
    """
    home = _parse_folder(os.environ.get("IKOMA_HOME") or "/opt/ikoma", "IKOMA_HOME")
    values = {**_read_env_file(home / ".env"), **os.environ, "OFFSITE_URL": address}
    return parse_offsite_place(values, home, sends=False)


def is_in_environment(name: str) -> bool:
    """Whether the server's own environment says this setting, which wins over IKOMA_HOME/.env."""
    return bool(os.environ.get(name))


def read_api_key_hash(env_file: Path) -> str | None:
    """The last API_KEY_HASH in the file, or None; a malformed one counts as none."""
    try:
        return _hash(_read_env_file(env_file).get("API_KEY_HASH"), "API_KEY_HASH")
    except InvalidSetting:
        return None


def _read_env_file(path: Path) -> dict[str, str]:
    try:
        return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"IKOMA_HOME: {path} cannot be read: {error}.") from error


def _parse_text(value: str, name: str) -> str:
    return value


def _make_choice_parser(*allowed: str) -> Callable[[str, str], str]:
    def parse(value: str, name: str) -> str:
        if value not in allowed:
            raise InvalidSetting(f"{name} is {value!r}; it takes one of {', '.join(allowed)}.")
        return value

    return parse


def _parse_names(value: str, name: str) -> tuple[str, ...]:
    found = tuple(part.strip().lower() for part in value.split(",") if part.strip())
    for part in found:
        if not re.fullmatch(r"[a-z0-9.:-]{1,253}|\*", part):
            raise InvalidSetting(f"{name} holds {part!r}; it takes host names, separated by commas.")
    return found


def _parse_domain(value: str, name: str) -> str | None:
    try:
        return DomainName(value) if value else None
    except ValueError as error:
        raise InvalidSetting(f"{name}: {error}.") from None


def _parse_globs(value: str, name: str) -> tuple[str, ...]:
    found = tuple(part.strip().lower() for part in value.split(",") if part.strip())
    for part in found:
        if not re.fullmatch(r"[a-z0-9.:*?-]{1,253}", part):
            raise InvalidSetting(f"{name} holds {part!r}; it takes registries such as ghcr.io, separated by commas.")
    return found


def _measure_half_of_memory() -> int:
    """Half of this machine's memory, in MiB."""
    return max(16, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 21)


def _make_integer_parser(low: int, high: int) -> Callable[[str, str], int]:
    def parse(value: str, name: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", value) or not low <= int(value) <= high:
            raise InvalidSetting(f"{name} is {value!r}; it takes a whole number from {low} to {high}.")
        return int(value)

    return parse


def _parse_role(value: str, name: str) -> Role:
    try:
        return Role.parse(value)
    except ValueError as error:
        raise InvalidSetting(f"{name}: {error}.") from None


def _parse_folder(value: str, name: str) -> Path:
    path = Path(value)
    if not path.is_absolute() or "\0" in value:
        raise InvalidSetting(f"{name} is {value!r}; it takes an absolute path.")
    return path


def _parse_docker_host(value: str, name: str) -> str:
    if not re.match(r"(unix:///|tcp://|http://|https://)\S+$", value):
        raise InvalidSetting(f"{name} is {value!r}; it takes unix:///path or tcp://host:port.")
    return value


def _parse_url(value: str, name: str) -> str | None:
    """https, or plain http on this machine."""
    if value and not re.fullmatch(r"https://\S+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/\S*)?", value):
        raise InvalidSetting(f"{name} is {value!r}; it takes an https:// address.")
    return value or None


def _parse_address(value: str, name: str) -> str:
    try:
        return str(ipaddress.ip_address(value)) if value else ""
    except ValueError:
        raise InvalidSetting(f"{name} is {value!r}; it takes an IP address of this machine.") from None


def _parse_addresses(value: str, name: str) -> tuple[str, ...]:
    return tuple(_parse_address(part.strip(), name) for part in value.split(",") if part.strip())


def _parse_email(value: str, name: str) -> str | None:
    if value and not re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`|~-]+@[A-Za-z0-9.-]+", value):
        raise InvalidSetting(f"{name} is {value!r}; it takes one e-mail address.")
    return value or None


def _parse_syslog(value: str, name: str) -> str | None:
    if value and value != "local" and not re.fullmatch(r"[A-Za-z0-9.:\[\]-]+:[0-9]{1,5}", value):
        raise InvalidSetting(f"{name} is {value!r}; it takes local or host:port.")
    return value or None


def _hash(value: str | None, name: str) -> str | None:
    if not value:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{64}", value.strip()):
        raise InvalidSetting(f"{name} must be a SHA-256 in hexadecimal, 64 characters.")
    return value.strip().lower()

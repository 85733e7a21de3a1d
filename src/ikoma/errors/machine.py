"""Errors of what IKOMA stands on: Docker, PostgreSQL, the proxy, the disk, and its own start."""

from __future__ import annotations

from typing import ClassVar

from ikoma.errors.base import IkomaError, Next


class ToolMissing(IkomaError):
    """A program that this needs is not installed."""

    code, status = "tool_missing", 503
    default_hint = "A person at the server sees with `ikoma doctor` what is missing."


class EngineUnavailable(IkomaError):
    """The Docker Engine does not answer."""

    code, status = "docker_unavailable", 503
    default_hint = "Start Docker (`systemctl start docker`) or correct DOCKER_HOST; platform.check shows the state."
    default_next: ClassVar[tuple[Next, ...]] = (Next("platform.check"),)


class EngineBusy(EngineUnavailable):
    """The Docker Engine is there, and too busy to answer in time."""

    code, status = "docker_busy", 503
    default_hint = "What was asked of it may still be done: look with apps.status before you ask again."
    default_next = (Next("apps.status"), Next("platform.check"))


class NoAddressesLeft(IkomaError):
    """Docker has no addresses left for another network."""

    code, status = "no_addresses_left", 503
    default_hint = (
        "Name more in /etc/docker/daemon.json, such as "
        '"default-address-pools": [{"base": "10.128.0.0/12", "size": 24}], and restart Docker; '
        "or take apps down that nobody needs. What served serves on."
    )


class DatabasesUnavailable(IkomaError):
    """PostgreSQL does not answer."""

    code, status = "postgres_unavailable", 503
    default_hint = "The server restarts its own PostgreSQL by itself; check POSTGRES_* where it is external."
    default_next = (Next("platform.check"),)
    shuts_out = False
    """Whether PostgreSQL is there, and its own rules do not let this role into this database."""


class ProxyUnavailable(IkomaError):
    """The proxy does not answer."""

    code, status = "proxy_unavailable", 503
    default_hint = "The server restarts its own proxy by itself; try again in a moment. What it served before is kept."
    default_next = (Next("platform.check"),)


class ProxyRefused(IkomaError):
    """The proxy does not take these routes; what was served before goes on."""

    code, status = "proxy_refused", 422
    default_hint = "Correct what the message names: domains, redirects, ports and limits come from the app's x-ikoma."


class DiskFull(IkomaError):
    """There is no space left on the disk."""

    code, status = "disk_full", 503
    default_hint = "Remove old backups and unused images, then try again; nothing was half-written."
    default_next = (Next("platform.check"),)


class AuditUnavailable(IkomaError):
    """The audit log cannot be written, so nothing was changed."""

    code, status = "audit_unavailable", 503
    default_hint = "Free space on the disk of AUDIT_LOG or correct its permissions; reading calls still work."


class ShuttingDown(IkomaError):
    """The server is stopping."""

    code, status = "shutting_down", 503
    default_hint = "Try again when it has started."
    default_next = (Next("apps.status"), Next("operations.list"))


class InvalidSetting(IkomaError):
    """A setting has a wrong value."""

    code = "invalid_setting"
    default_hint = "Settings are environment variables, also read from .env in IKOMA_HOME."


class HttpsOff(IkomaError):
    """The proxy does not serve HTTPS, and this is never served without."""

    code, status = "https_off", 409
    default_hint = "A person at the server frees the port, or sets PROXY_HTTPS_PORT and PROXY_TLS."


class SettingFixed(IkomaError):
    """The setting stands in the server's environment, which no call changes."""

    code, status = "setting_fixed", 409
    default_hint = "A person at the server changes it where the server is started, and starts it again."


class MajorUpgradeFailed(IkomaError):
    """PostgreSQL did not come to its next major version, and the former one is as it was."""

    code, status = "major_upgrade_failed", 500
    default_hint = "The former version serves, or can be started. Once that is mended: ikoma upgrade --postgres"


class StartRefused(IkomaError):
    """The server cannot start here."""

    code = "start_refused"
    default_hint = "Correct what the message names, then start again."


class RecoveryRefused(IkomaError):
    """A server cannot be recovered here, and nothing was changed."""

    code, status = "recovery_refused", 409
    default_hint = "docs/recovery.md says what a recovery needs."

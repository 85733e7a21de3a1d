"""Checks of `ikoma doctor` around this machine: who holds the ports of the proxy, names, certificates."""

from __future__ import annotations

import pwd
import socket
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ikoma.cli import client
from ikoma.cli.doctor.finding import DoctorFinding
from ikoma.settings import Settings

_SECONDS, _ANSWER_SECONDS = 5.0, 20.0
_SOON_DAYS = 14
_LISTENS = "0A"
_NO_NAMES = (".localhost", ".local", ".internal", ".test", ".example")


def check_ports(settings: Settings) -> Iterator[DoctorFinding]:
    """Say who listens where the proxy does, or would."""
    for name, number in (("HTTP", settings.proxy_http_port), ("HTTPS", settings.proxy_https_port)):
        setting = f"PROXY_{name}_PORT"
        if number == 0:
            yield DoctorFinding(f"{name} port", True, f"none: {setting} is 0")
        else:
            yield _check_port(settings, f"port {number}", number, setting)


def check_resolver(settings: Settings) -> DoctorFinding:
    """Whether names are found."""
    asked = next((name for name in settings.source_hosts if "." in name and name != "*"), "github.com")
    try:
        found = _look_up(asked)
    except OSError as error:
        fix = f"getent hosts {asked} tries again; the servers that are asked stand in /etc/resolv.conf"
        return DoctorFinding("DNS", None, f"{asked} is not found: {error.strerror or error}", fix)
    return DoctorFinding("DNS", True, f"{asked} is {found[0]}")


def check_domains(settings: Settings) -> Iterator[DoctorFinding]:
    """Say of each domain of an app where it points, and until when its certificate is good."""
    try:
        apps = [app["name"] for app in client.call("apps.list", {}, timeout=_ANSWER_SECONDS)["apps"]]
        names = [
            (app, str(domain["name"]))
            for app in apps
            for domain in client.call("domain.list", {"appName": app}, timeout=_ANSWER_SECONDS)["domains"]
        ]
    except (client.CallFailed, SystemExit):
        return
    own = _list_own_addresses()
    for app, name in names:
        if not name.endswith(_NO_NAMES) and not name.startswith("*"):
            yield _check_domain(app, name, own)
            if settings.proxy_https_port and settings.proxy_tls != "off":
                yield _check_certificate(app, name, settings)


def _check_port(settings: Settings, check: str, number: int, setting: str) -> DoctorFinding:
    import psutil

    try:
        found = [
            item
            for item in psutil.net_connections("tcp")
            if item.status == "LISTEN" and item.laddr and item.laddr.port == number
        ]
    except psutil.AccessDenied:
        return _try_port(check, number, setting)
    if not found:
        return DoctorFinding(check, True, "free")
    holder = next((item.pid for item in found if item.pid), None)
    if holder is None:
        if _find_owners(number) == {_find_proxy_user()}:
            return DoctorFinding(check, True, "held by IKOMA's own proxy")
        return DoctorFinding(check, False, "held by another", f"ss -ltnp 'sport = :{number}', or set {setting}")
    try:
        process = psutil.Process(holder)
        name, command = process.name(), " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return DoctorFinding(check, True, "free")
    if str(settings.ikoma_state) in command:
        return DoctorFinding(check, True, "held by IKOMA's own proxy")
    stop = f"docker ps --filter publish={number}" if name == "docker-proxy" else f"systemctl stop {name}"
    return DoctorFinding(
        check, False, f"held by {name} (process {holder})", f"{stop}, or set {setting} to another port"
    )


def _find_owners(number: int) -> set[int]:
    """The users who listen at this port, as the kernel lists them; that takes no rights, unlike finding the process."""
    files = [Path(f"/proc/net/{kind}") for kind in ("tcp", "tcp6")]
    lines = [line.split() for path in files if path.exists() for line in path.read_text().splitlines()[1:]]
    return {int(line[7]) for line in lines if line[3] == _LISTENS and int(line[1].rpartition(":")[2], 16) == number}


def _find_proxy_user() -> int | None:
    from ikoma.proxy.process import USER

    try:
        return pwd.getpwnam(USER).pw_uid
    except KeyError:
        return None


def _try_port(check: str, number: int, setting: str) -> DoctorFinding:
    """Without the right to see who listens: whether anybody answers."""
    try:
        with socket.create_connection(("127.0.0.1", number), timeout=1):
            return DoctorFinding(check, None, "somebody answers there", f"sudo ikoma doctor says who; or set {setting}")
    except OSError:
        return DoctorFinding(check, True, "free")


def _look_up(name: str) -> list[str]:
    return list(dict.fromkeys(str(item[4][0]) for item in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)))


def _list_own_addresses() -> set[str]:
    import psutil

    return {item.address.partition("%")[0] for items in psutil.net_if_addrs().values() for item in items}


def _check_domain(app: str, name: str, own: set[str]) -> DoctorFinding:
    check = f"DNS of {name}"
    try:
        found = _look_up(name)
    except OSError:
        return DoctorFinding(
            check,
            False,
            "the name is not found",
            f"getent hosts {name} tries again; its record is made where the name was bought",
        )
    if own & set(found):
        return DoctorFinding(check, True, f"points here ({', '.join(found)})")
    # Behind a router that passes requests on, the address is the router's: no fault is certain.
    fix = f"ikoma domains {app} says where {name} must point, unless a router or another proxy passes it on"
    return DoctorFinding(check, None, f"points to {', '.join(found)}, which is no address of this machine's own", fix)


def _check_certificate(app: str, name: str, settings: Settings) -> DoctorFinding:
    from cryptography import x509

    check = f"certificate of {name}"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is looked at, and not trusted
    where = (settings.proxy_host or "127.0.0.1", settings.proxy_https_port)
    try:
        with (
            socket.create_connection(where, timeout=_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            shown = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else "there is none yet"
        return DoctorFinding(
            check, False, str(said), f"ikoma domains {app}; {name} must point here, and ports 80 and 443 be open"
        )
    ends = shown.not_valid_after_utc
    days = (ends - datetime.now(UTC)).days
    issuer = _name_organisation(shown.issuer.rfc4514_string().split(","))
    seen = f"of {issuer}, good until {ends:%Y-%m-%d} ({days} days)"
    lasts = days >= _SOON_DAYS or (settings.proxy_tls == "internal" and days >= 0)
    return DoctorFinding(check, lasts, seen, f"ikoma domains {app} says what keeps it from being renewed")


def _name_organisation(parts: Sequence[str]) -> str:
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    return named.get("O") or named.get("CN") or "nobody"

"""Checks of `ikoma doctor` on what time brings: addresses for networks, keys that grow old, versions that wait."""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from ikoma import __version__
from ikoma.cli import client
from ikoma.cli.doctor.finding import DoctorFinding
from ikoma.settings import Settings

_SECONDS = 20.0
_ENOUGH_NETWORKS = 2
_OLD, _UNUSED, _SOON = timedelta(days=365), timedelta(days=90), timedelta(days=14)
_REBOOT = Path("/run/reboot-required")
_DOCKERS_OWN = (
    *((f"172.{second}.0.0/16", 16) for second in range(17, 32)),
    ("192.168.0.0/16", 20),
)
"""Where Docker takes networks from unless its settings say otherwise."""


def check_networks(settings: Settings) -> Iterator[DoctorFinding]:
    """Say whether Docker has addresses for the networks of more apps."""
    from ikoma.errors import IkomaError

    try:
        pools, used = asyncio.run(_ask_docker(settings))
    except IkomaError:
        return  # the check of Docker itself says so
    if len(find_free(pools, used, _ENOUGH_NETWORKS)) >= _ENOUGH_NETWORKS:
        yield DoctorFinding("networks", True, "Docker has addresses for more")
    else:
        fix = "docker network prune, or more default-address-pools in /etc/docker/daemon.json"
        yield DoctorFinding("networks", None, "Docker has hardly any addresses left for networks of apps", fix)


async def _ask_docker(settings: Settings) -> tuple[list[tuple[str, int]], list[str]]:
    from ikoma.engines.docker.docker_api import DockerApi

    api = DockerApi(settings.docker_host)
    try:
        async with api.connect(seconds=20) as docker:
            said = await docker.system.info()
            listed = await docker.networks.list()
    finally:
        await api.close()
    pools = [(pool["Base"], pool["Size"]) for pool in said.get("DefaultAddressPools") or []]
    ranges = [item for network in listed for item in (network.get("IPAM") or {}).get("Config") or []]
    return pools or list(_DOCKERS_OWN), [item["Subnet"] for item in ranges if item.get("Subnet")]


def find_free(pools: Sequence[tuple[str, int]], used: Sequence[str], most: int) -> list[str]:
    """Networks that Docker could make next, `most` of them at most.

    Args:
        pools: ranges of addresses, each with the prefix length of the networks in it.
        used: the ranges of the networks that there are.
    """
    taken = [ipaddress.ip_network(subnet) for subnet in used]
    every = (
        subnet
        for base, size in pools
        if ":" not in base
        for subnet in ipaddress.ip_network(base, strict=False).subnets(new_prefix=size)
    )
    free = (str(subnet) for subnet in every if not any(subnet.overlaps(other) for other in taken if other.version == 4))
    return list(itertools.islice(free, most))


def check_keys(settings: Settings) -> Iterator[DoctorFinding]:
    """Say which keys are old, unused or about to end."""
    try:
        found = client.call("keys.list", {"limit": 500}, timeout=_SECONDS)["keys"]
    except (client.CallFailed, SystemExit):
        return
    worth = list(judge_keys(found, datetime.now(UTC)))
    yield from worth or [DoctorFinding("API keys", True, "none is old, unused or about to end")]


def judge_keys(rows: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[DoctorFinding]:
    """One finding for each key that somebody should look at."""
    for row in rows:
        check = f"key {row['name']}"
        if row["revokedAt"] or ((ends := _parse_moment(row["expiresAt"])) and ends < now):
            continue
        if ends and ends - now < _SOON:
            successor = f"ikoma keys create {row['name']} --role {row['role']} makes another"
            yield DoctorFinding(check, None, f"ends on {ends:%Y-%m-%d}", successor)
        elif (seen := _parse_moment(row["lastUsedAt"]) or _parse_moment(row["createdAt"])) and now - seen > _UNUSED:
            unused = f"not used since {seen:%Y-%m-%d}"
            yield DoctorFinding(check, None, unused, f"ikoma keys revoke {row['id']}, if nobody needs it")
        elif (made := _parse_moment(row["previousUntil"]) or _parse_moment(row["createdAt"])) and now - made > _OLD:
            yield DoctorFinding(check, None, f"made on {made:%Y-%m-%d}", f"ikoma keys rotate {row['id']}")


def _parse_moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def check_offsite(settings: Settings) -> Iterator[DoctorFinding]:
    """Say whether copies of backups leave this machine, where a place for them is set."""
    if settings.offsite is None:
        return
    try:
        told = client.call("platform.check", {}, timeout=_SECONDS)["details"].get("offsite")
    except (client.CallFailed, SystemExit):
        return
    if told is None:
        yield DoctorFinding("off-site backups", None, "the server does not know of OFFSITE_URL yet", _restart(settings))
    elif "error" in told:
        fix = f"ikoma check tries it again; see to {told['place']}, or correct OFFSITE_URL"
        yield DoctorFinding("off-site backups", None, told["error"], fix)
    else:
        yield DoctorFinding("off-site backups", True, f"{told['copies']} at {told['place']}")


def check_upgrades(settings: Settings) -> Iterator[DoctorFinding]:
    """Say whether an upgrade of IKOMA has not ended: it is at work, or was killed."""
    try:
        noted = orjson.loads((settings.ikoma_home / "upgrade.json").read_bytes())
        words = f"from {noted['from']} to {noted['to']} has not ended (step {noted['step']}, {noted['at']})"
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        words = "has not ended"
    yield DoctorFinding("upgrade", None, words, "ikoma upgrade, unless one is at work: it puts this right")


def check_databases(settings: Settings) -> Iterator[DoctorFinding]:
    """Say whether PostgreSQL's data is of an older major version than IKOMA brings, and what is kept of a former."""
    from ikoma.postgres.major.upgrade import list_kept, measure
    from ikoma.postgres.server.majors import read_bundled_major, read_major

    if (settings.ikoma_home / "postgres-upgrade.json").exists():
        words = "an upgrade of PostgreSQL has not ended"
        remedy = "ikoma upgrade, unless one is at work: it starts what was stopped"
        yield DoctorFinding("upgrade", None, words, remedy)
    brings = read_bundled_major()
    data = settings.postgres_folder / "data"
    if settings.postgres_host:
        found = _ask_major()
        remedy = "ikoma upgrade --postgres" if (settings.ikoma_home / "docker-compose.yml").exists() else ""
    else:
        found, remedy = read_major(data), "ikoma upgrade --postgres"
    if found is not None and found < brings:
        words = f"the databases are of PostgreSQL {found}; {brings} comes with this IKOMA"
        yield DoctorFinding("PostgreSQL", None, words, remedy or f"pg_upgrade, by who keeps it: to {brings}")
    for major, path in list_kept(data) if data.is_dir() else ():
        words = f"{path} of PostgreSQL {major} is kept ({measure(path) >> 20} MB)"
        yield DoctorFinding("former data", None, words, "ikoma upgrade --postgres --forget, once all is well")


def _ask_major() -> int | None:
    try:
        version = str(client.call("platform.check", {}, timeout=_SECONDS)["details"]["postgres"]["version"])
    except (client.CallFailed, SystemExit, KeyError):
        return None
    found = re.search(r"\d+", version)
    return int(found[0]) if found else None


def check_versions(settings: Settings) -> Iterator[DoctorFinding]:
    """Say whether the server that runs is of the version that is installed, and the system of its own."""
    try:
        runs = str(client.call("platform.info", {}, timeout=_SECONDS)["version"])
    except (client.CallFailed, SystemExit):
        return
    if runs == __version__:
        yield DoctorFinding("version", True, f"{runs} is installed, and runs")
    else:
        yield DoctorFinding("version", None, f"{__version__} is installed, {runs} runs", _restart(settings))
    if _REBOOT.exists():
        yield DoctorFinding("system", None, "an upgrade of the system waits for a restart of the machine", "reboot")


def _restart(settings: Settings) -> str:
    compose = settings.ikoma_home / "docker-compose.yml"
    return f"docker compose -f {compose} up -d" if compose.exists() else "systemctl restart ikoma"

"""The policy on what Compose made of an app's files: an allow-list of keys, each with its rule.

What is not in a table here is refused. A check takes the facts, the place and the value, and yields violations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ikoma.apps.host_facts import HostFacts
from ikoma.apps.policy import containers, images, network, storage
from ikoma.apps.yaml.violation import Place, Violation
from ikoma.compose.image_names import name_image
from ikoma.compose.model import ComposeModel

Check = Callable[[HostFacts, Place, Any], Iterator[Violation]]


def _allow_anything(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    return iter(())


SERVICE: Mapping[str, Check] = {
    **dict.fromkeys(
        (
            *("attach", "cap_drop", "command", "configs", "cpu_count", "cpu_percent", "cpu_period", "cpu_quota"),
            *("cpus", "cpuset", "depends_on", "develop", "dns", "dns_opt", "dns_search", "domainname"),
            *(
                "entrypoint",
                "env_file",
                "environment",
                "expose",
                "label_file",
                "extra_hosts",
                "group_add",
                "healthcheck",
                "hostname",
                "init",
            ),
            *("links", "mac_address", "mem_reservation", "mem_swappiness", "platform", "profiles", "pull_policy"),
            *("pull_refresh_after", "read_only", "restart", "secrets", "shm_size", "stdin_open"),
            *("stop_signal", "tmpfs", "tty", "user", "working_dir"),
        ),
        _allow_anything,
    ),
    **containers.CHECKS,
    **images.CHECKS,
    **network.CHECKS,
    **storage.CHECKS,
}
"""Keys of a service."""

TOP: Mapping[str, Check] = {
    "name": network.check_project_name,
    "version": _allow_anything,
    "volumes": storage.check_volumes,
    "networks": network.check_networks,
    "configs": storage.check_contents,
    "secrets": storage.check_contents,
}
"""Keys of the file, besides its services."""


def check(model: ComposeModel, facts: HostFacts) -> list[Violation]:
    """Every violation in a resolved compose file, in the file's order."""
    if endless := [*storage.check_depth(model), *storage.check_mount_count(model)]:
        return endless
    built = (name for name, service in model.services.items() if service.build is not None)
    facts = replace(facts, built=frozenset(name_image(facts.app.name, name) for name in built))
    found = list(_check_keys(TOP, facts, (), model.top))
    found += containers.check_replicas(model.services.values())
    for name, service in model.services.items():
        found += _check_keys(SERVICE, facts, ("services", name), service.raw)
    copied = storage.find_copied(model, facts)
    found += storage.read_files(model, facts, copied)
    found += storage.find_nested(model, facts, copied)
    return found


def _check_keys(
    table: Mapping[str, Check], facts: HostFacts, place: Place, values: Mapping[str, Any]
) -> Iterator[Violation]:
    for key, value in values.items():
        if str(key).startswith("x-") or value is None:
            continue
        rule = table.get(key)
        if rule is None:
            yield Violation("unknown-key", (*place, key), f"{key} is not allowed.")
        else:
            yield from rule(facts, (*place, key), value)

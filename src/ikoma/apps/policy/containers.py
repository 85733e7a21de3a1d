"""Rules on what a service asks of the machine: rights, namespaces, devices, limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ikoma.apps.host_facts import HostFacts
from ikoma.apps.policy.rules import RESERVED_LABEL
from ikoma.apps.yaml.violation import Place, Violation, quote
from ikoma.compose.model import Service

_CAPABILITIES = frozenset(
    (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
        "IPC_LOCK",
    )
)
"""Capabilities that the engine gives every container by itself, and one more."""
_SECURITY = re.compile(r"no-new-privileges([:=]true)?|apparmor[:=]docker-default|seccomp[:=]builtin")
_LOGGING = {
    "json-file": {"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode"},
    "local": {"max-size", "max-file", "compress", "labels", "env", "mode"},
    "none": set(),
}
HARMLESS_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
"""Devices that every container has anyway."""
_DEPLOY = frozenset(
    (
        *("mode", "replicas", "endpoint_mode", "labels", "update_config", "rollback_config"),
        *("restart_policy", "placement", "resources"),
    )
)
_MOST_REPLICAS = 100
_MOST_SHARES, _MOST_WEIGHT = 1024, 500
"""Shares of processor and disk, where nothing is said: with more an app comes before all others."""
_MOST_PROCESSES = 32_768
"""All that a kernel has where nobody gave it more."""
_ULIMITS = frozenset(
    (
        *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nofile", "nproc", "rss", "rttime"),
        *("sigpending", "stack"),
    )
)
_LONGEST_STOP = 300.0
"""Seconds that IKOMA waits for an app to stop."""
_DURATION = re.compile(r"(?:([0-9.]+)h)?(?:([0-9.]+)m)?(?:([0-9.]+)s)?(?:[0-9.]+[mµn]s)*")


def _check_privileged(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    if value:
        yield Violation("privileged", place, "The container is privileged.")


def _check_capabilities(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    for index, name in enumerate(value):
        if str(name).upper().removeprefix("CAP_") not in _CAPABILITIES:
            yield Violation("capabilities", (*place, index), f"{name} is added.")


def _check_devices(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    for index, device in enumerate(value):
        if not isinstance(device, Mapping) or device.get("source") not in HARMLESS_DEVICES:
            yield Violation("devices", (*place, index), "A device is handed over.")


def _check_gpus(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    if value:
        yield Violation("gpus", place, "A graphics card is handed over.")


def _check_namespace(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    """pid, ipc, uts, userns_mode, cgroup."""
    text = str(value)
    if text == "host":
        yield Violation("host-namespace", place, "The container shares this with the server.")
    elif text not in ("", "private", "shareable", "none") and not text.startswith("service:"):
        yield Violation("foreign-namespace", place, f"{quote(text)} is not this app's.")


def _check_network_mode(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    text = str(value)
    if text == "host":
        yield Violation("host-namespace", place, "The container shares the server's network.")
    elif text not in ("", "none") and not text.startswith("service:"):
        yield Violation("foreign-namespace", place, f"{quote(text)} names a network that is shared with others.")


def _check_volumes_from(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    for index, item in enumerate(value):
        if str(item).startswith("container:"):
            yield Violation("foreign-namespace", (*place, index), f"{item} is a container of others.")


def _check_external_links(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    for index, item in enumerate(value):
        yield Violation("foreign-namespace", (*place, index), f"{item} is a container of others.")


def _check_security(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    for index, item in enumerate(value):
        if not _SECURITY.fullmatch(str(item)):
            yield Violation("security-options", (*place, index), f"{quote(str(item))} weakens the container's walls.")


def _make_refusal(rule: str, what: str) -> Any:
    """A check for a key that is refused whatever it says, false and empty excepted."""

    def check(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
        if value:
            yield Violation(rule, place, what)

    return check


def _check_hooks(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    for index, hook in enumerate(value):
        if hook.get("privileged"):
            yield Violation("hooks", (*place, index, "privileged"), "The hook runs privileged.")


def _check_annotations(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    for name in value:
        yield Violation("unknown-key", (*place, name), "Annotations steer the runtime.")


def _check_memory(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    if int(value) < 0:
        yield Violation("limits", place, "It is without limit.")


def _check_processes(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    yield from _check_memory(facts, place, value)
    if int(value) > _MOST_PROCESSES:
        yield Violation("limits", place, f"{value} processes are more than {_MOST_PROCESSES}.")


def check_ulimits(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    """Check the limits of a container or a build: `nice` and `rtprio` let it put itself before all."""
    for name in value:
        if name not in _ULIMITS:
            yield Violation("limits", (*place, name), f"{name} can put its processes before all others.")


def _stop(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    found = _DURATION.fullmatch(str(value))
    hours, minutes, seconds = (float(part or 0) for part in found.groups()) if found else (_LONGEST_STOP, 0.0, 0.0)
    if hours * 3600 + minutes * 60 + seconds > _LONGEST_STOP:
        yield Violation("limits", place, f"To stop it takes {value}, more than {_LONGEST_STOP:.0f} seconds.")


def _check_out_of_memory(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    if value is True or (not isinstance(value, bool) and int(value) < 0):
        yield Violation("limits", place, "When memory runs out, others are ended in its place.")


def _check_replicas(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    if int(value) > _MOST_REPLICAS:
        yield Violation("limits", place, f"{value} containers are more than {_MOST_REPLICAS}.")


def check_replicas(services: Iterable[Service]) -> Iterator[Violation]:
    """All containers of an app; a service of none counts as one."""
    number = sum(min(max(service.scale, 1), _MOST_REPLICAS) for service in services)
    if number > _MOST_REPLICAS:
        yield Violation("limits", ("services",), f"{number} containers are more than {_MOST_REPLICAS}.")


def _check_shares(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    if int(value) > _MOST_SHARES:
        yield Violation("limits", place, f"{value} is more than {_MOST_SHARES}, which all others have.")


def _check_block_io(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    if int(value.get("weight") or 0) > _MOST_WEIGHT:
        yield Violation("limits", (*place, "weight"), f"It is more than {_MOST_WEIGHT}, which all others have.")
    for name in value:
        if name != "weight":
            yield Violation("unknown-key", (*place, name), f"{name} names devices of the server.")


def _deploy(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    for name in value:
        if name not in _DEPLOY and not name.startswith("x-"):
            yield Violation("unknown-key", (*place, name), f"{name} is not allowed.")
    yield from _check_replicas(facts, (*place, "replicas"), value.get("replicas") or 1)
    yield from check_labels(facts, (*place, "labels"), value.get("labels") or {})
    resources: Mapping[str, Any] = value.get("resources") or {}
    for kind, wanted in resources.items():
        for name, amount in wanted.items():
            inside = (*place, "resources", kind, name)
            if name == "devices":
                yield from _check_gpus(facts, inside, amount)
            elif name == "memory":
                yield from _check_memory(facts, inside, amount)
            elif name == "pids":
                yield from _check_processes(facts, inside, amount)
            elif name != "cpus":
                yield Violation("unknown-key", inside, f"{name} is not allowed.")


def _check_logging(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    driver = value.get("driver") or "json-file"
    if driver not in _LOGGING:
        yield Violation("logging-driver", (*place, "driver"), f"The logging driver is {driver}.")
        return
    for name in value.get("options") or {}:
        if name not in _LOGGING[driver]:
            yield Violation("logging-driver", (*place, "options", name), f"{name} is no option of {driver} here.")


def check_labels(facts: HostFacts, place: Place, value: Any) -> Iterator[Violation]:
    """No label may say whose a container is; IKOMA's own two say what is true."""
    for name, text in value.items():
        if name == "ikoma.app" and text == facts.app.name:
            continue
        if RESERVED_LABEL.match(name) and name != "ikoma.one-shot":
            yield Violation("reserved-label", (*place, name), f"{quote(name)} is a reserved label.")


CHECKS: Mapping[str, Any] = {
    "privileged": _check_privileged,
    "cap_add": _check_capabilities,
    "devices": _check_devices,
    "device_cgroup_rules": _check_devices,
    "gpus": _check_gpus,
    "network_mode": _check_network_mode,
    "pid": _check_namespace,
    "ipc": _check_namespace,
    "uts": _check_namespace,
    "userns_mode": _check_namespace,
    "cgroup": _check_namespace,
    "volumes_from": _check_volumes_from,
    "external_links": _check_external_links,
    "security_opt": _check_security,
    "sysctls": _make_refusal("sysctls", "Kernel settings are changed."),
    "runtime": _make_refusal("runtime", "The container runs in another runtime."),
    "cgroup_parent": _make_refusal("cgroup-parent", "The container joins a control group of its choice."),
    "use_api_socket": _make_refusal("docker-socket", "The engine's socket is handed over."),
    "provider": _make_refusal("provider", "The service is a program on the server."),
    "post_start": _check_hooks,
    "pre_stop": _check_hooks,
    "annotations": _check_annotations,
    "mem_limit": _check_memory,
    "memswap_limit": _check_memory,
    "pids_limit": _check_processes,
    "stop_grace_period": _stop,
    "ulimits": check_ulimits,
    "oom_kill_disable": _check_out_of_memory,
    "oom_score_adj": _check_out_of_memory,
    "cpu_rt_period": _make_refusal("limits", "Real-time scheduling starves all else."),
    "cpu_rt_runtime": _make_refusal("limits", "Real-time scheduling starves all else."),
    "scale": _check_replicas,
    "deploy": _deploy,
    "blkio_config": _check_block_io,
    "cpu_shares": _check_shares,
    "logging": _check_logging,
    "labels": check_labels,
}

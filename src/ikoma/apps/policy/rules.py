"""The rules of the compose policy: for each, why it is there, what to do instead, and whether it can be waived.

A rule is a promise about what an app on this server cannot do. What breaks one is a `Violation` with its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ikoma.apps.yaml.violation import Violation

RESERVED_LABEL = re.compile(r"(com\.docker\.|io\.docker\.|org\.dockerproject\.|ikoma\.)", re.IGNORECASE)

_BY_AN_ADMIN = "An admin can waive this rule for the app with policy.waive."


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `danger` says in a sentence what breaking it would allow, `instead` the safe way."""

    danger: str
    instead: str
    waivable: bool = True


def word_problem(violation: Violation) -> str:
    """The place where a rule is broken, by what, and why that is refused."""
    return f"{violation.shown}: {violation.what} {violation.danger or RULES[violation.rule].danger}"


def word_fix(violation: Violation) -> str:
    """The safe way, and whether an admin can waive the rule."""
    rule = RULES[violation.rule]
    instead = violation.instead or rule.instead
    return f"{instead} {_BY_AN_ADMIN}" if rule.waivable and violation.waivable else instead


_NEVER = False

RULES: Mapping[str, Rule] = {
    # --- reading the file ---
    "too-large": Rule(
        "A file of that size is no description of an app, and reading it takes the server's memory.",
        "Keep a compose file under 1 MiB, and what it includes under 4 MiB.",
        _NEVER,
    ),
    "alias-bomb": Rule(
        "Aliases that multiply take all of the server's memory when they are read.",
        "Write out what is repeated, or use fewer aliases.",
        _NEVER,
    ),
    "yaml-form": Rule(
        "What two readers can take for different things cannot be checked.",
        "Use plain YAML in UTF-8: one document, each key once, no tags.",
        _NEVER,
    ),
    "reads-outside": Rule(
        "Reading it would put a file of the server, or of another app, into this one.",
        "Put the file into the app's folder and name it by its relative path.",
        _NEVER,
    ),
    "remote-source": Rule(
        "What is fetched while the file is read is not what was checked.",
        "Bring the source in with source.clone and name the folder.",
        _NEVER,
    ),
    "server-variable": Rule(
        "It would show a variable of the server, not of the app.",
        "Set a variable of the app's own with env.set and use that.",
        _NEVER,
    ),
    "unknown-key": Rule(
        "It is not on the list of what is known to be safe.",
        "Remove it.",
    ),
    # --- the container and the machine ---
    "privileged": Rule(
        "A privileged container is root on the server.",
        "Remove it; give the single capability that is needed.",
    ),
    "capabilities": Rule(
        "This capability reaches beyond the container, to the server's kernel, network or files.",
        "Remove it; allowed are IPC_LOCK and what Docker gives by itself, such as CHOWN, NET_BIND_SERVICE and NET_RAW.",
    ),
    "devices": Rule(
        "A device of the server, a disk above all, gives what is on it past every permission.",
        "Remove it.",
    ),
    "gpus": Rule(
        "A graphics card is shared by all, and its memory may hold what others left.",
        "Remove it.",
    ),
    "host-namespace": Rule(
        "In the server's own namespace the container sees and reaches its processes or network.",
        "Remove it; services of one app reach each other by name.",
    ),
    "foreign-namespace": Rule(
        "It would join containers that are not this app's.",
        "Name a service of this app, or remove it.",
        _NEVER,
    ),
    "security-options": Rule(
        "It turns off what keeps a container from the server's kernel.",
        "Remove it; no-new-privileges:true is welcome.",
    ),
    "sysctls": Rule("Kernel settings can reach beyond the container.", "Remove it."),
    "runtime": Rule("Another runtime may not isolate as the engine's own does.", "Remove it."),
    "cgroup-parent": Rule("In another control group the container escapes its limits.", "Remove it.", _NEVER),
    "docker-socket": Rule(
        "Who talks to the container engine is root on the server.",
        "Remove it; IKOMA itself starts and looks after containers.",
    ),
    "special-file": Rule(
        "A socket or device leads out of the folder it lies in.", "Mount files and folders only.", _NEVER
    ),
    "provider": Rule("A provider is a program that runs on the server itself.", "Use a container.", _NEVER),
    "hooks": Rule("A privileged hook is root on the server.", "Remove the hook."),
    "limits": Rule(
        "Without limits one app can take the memory, processes or attention that all others need.",
        "Give a limit, or leave it out: IKOMA fills in its own.",
    ),
    "logging-driver": Rule(
        "This driver sends from the server's own network, or writes where nobody looks.",
        "Use json-file or local: IKOMA reads the logs from there.",
    ),
    # --- what the app is made of ---
    "build-privileges": Rule(
        "A build with these rights reaches the server's network, keys or kernel.",
        "Remove it.",
    ),
    "build-outside": Rule(
        "A build that reads or writes outside the app's folder takes files of the server or of others.",
        "Put what the build needs into the app's folder.",
    ),
    "foreign-image": Rule(
        "It could be an image that another app was built as, or take its name.",
        "Name an image of a registry with its tag; images that are built here are named by IKOMA.",
        _NEVER,
    ),
    "image-registry": Rule(
        "This server takes images from listed registries only (setting IMAGE_REGISTRIES).",
        "Use an image of a listed registry.",
    ),
    "image-digest": Rule(
        "This server takes pinned images only (setting IMAGE_PINNED): a tag can be moved to something else.",
        "Add the digest: name:tag@sha256:….",
    ),
    # --- storage ---
    "bind-outside": Rule(
        "It would give the container files of the server or of another app.",
        "Use a named volume, or a folder of the app's own.",
    ),
    "own-state": Rule(
        "It would give the container IKOMA's own records of the app, and with them a say in what runs next.",
        "Mount a folder inside the app's folder, such as ./data; mount .env or a compose file read_only only.",
        _NEVER,
    ),
    "bind-nested": Rule(
        "A container that may write the folder above could swap it for a link to anywhere before it is mounted.",
        "Mount folders that do not lie in one another, or one of the two read-only: `:ro`, or `read_only: true`. After "
        "a change of mounts, stop the app with deploy.down first.",
        _NEVER,
    ),
    "bind-propagation": Rule(
        "Mounts made on one side, the server's or the container's, would appear on the other.", "Remove it."
    ),
    "volume-driver": Rule(
        "A volume with a driver or options of its own can be any folder of the server or of the network.",
        "Use a plain named volume.",
    ),
    "foreign-volume": Rule(
        "It is, or could be, the data of another app.",
        "Leave `name` and `external` out: the volume then belongs to this app.",
    ),
    "external-config": Rule(
        "It comes from somewhere that was not checked.",
        "Give its content, or a file in the app's folder.",
        _NEVER,
    ),
    # --- network and names ---
    "foreign-network": Rule(
        "On another app's network the container reaches that app's services.",
        "Leave `name` and `external` out: the network then belongs to this app.",
    ),
    "network-driver": Rule(
        "Such a network reaches the server's own network, or takes addresses from it.",
        "Use a plain network; `internal`, `labels` and IPv6 can be chosen.",
    ),
    "foreign-name": Rule(
        "It takes a name that belongs to another app or to the platform.",
        "Remove it, a `name:` of the whole file too: names that begin with the app's own are given by themselves.",
        _NEVER,
    ),
    "platform-port": Rule(
        "It would take the platform's place.",
        "Publish another host port, or none: IKOMA reaches the app on its own network.",
        _NEVER,
    ),
    "low-port": Rule(
        "Ports below 1024 are the server's own services.",
        "Publish a port from 1024 on, or none: what comes by HTTP reaches the app through IKOMA's proxy, at a domain "
        "that domain.add or `x-ikoma` gives it.",
    ),
    "host-interface": Rule(
        "On a chosen address of the server it could pass for something else.",
        "Leave the address out, or publish on 127.0.0.1.",
    ),
    "reserved-label": Rule(
        "By this label the engine and IKOMA tell whose a container is.",
        "Use a label of the app's own.",
        _NEVER,
    ),
}

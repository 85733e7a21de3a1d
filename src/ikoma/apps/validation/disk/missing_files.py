"""Findings of files that are mounted or given and are not there: Docker would make an empty folder of each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from ikoma.app_folder import App, can_be_a_path, is_empty_folder
from ikoma.apps.rollouts.injection import is_missing_clock
from ikoma.apps.validation.finding import Finding
from ikoma.apps.yaml.lines import Source
from ikoma.compose.model import ComposeModel, Mount
from ikoma.compose.paths import locate

_SUFFIXES = re.compile(
    r"\.(acl|allow|ba(k|sh)|bin|ce?rt?|cf|cfg|cjs|cnf|conf|config|css|csr|csv|cue|db|de[br]|dump|env|exs?|gif|gpg|gz|hcl"
    r"|html?|htpasswd|ico|ini|ipynb|j2|jar|java|jks|jpe?g|js|json[5c]?|jsx|key|kts?|license|list|log|lua|md|[cm]js|mmdb"
    r"|nginx|opts|ora|pass(word|wd)?|pem|pfx|php|pid|png|properties|ps1|pub|py|rb|repo|rules|sample|secret|service|sh|sig"
    r"|so|sql|sqlite3?|svg|tar|template|tf|tgz|timer|tmpl|toml|tpl|tsv?|tsx|txt|user|vcl|war|whl|xml|xsl|ya?ml|zip|zone)",
    re.IGNORECASE,
)
_NAMES = re.compile(
    r"(Brew|Caddy|Core|Docker|Gem|Guard|Jenkins|Make|Pip|Proc|Rake|Vagrant)file|Kongfile|crontab|fstab|group|hostname"
    r"|hosts|passwd|resolv\.conf|shadow|sudoers|authorized_keys|known_hosts|id_(rsa|ed25519|ecdsa)(\.pub)?|\.env(\..+)?"
    r"|\.(bashrc|dockerignore|gitconfig|gitignore|htaccess|htpasswd|my\.cnf|netrc|npmrc|pgpass|profile|vimrc|yarnrc)"
    r"|wait-for-it|docker-entrypoint"
)


def find_missing_files(app: App, source: Source, model: ComposeModel) -> Iterator[Finding]:
    """Mounted files, and files of configs and secrets, that are not there."""
    for name, service in model.services.items():
        for index, mount in enumerate(service.mounts):
            if mount.is_bind and _is_missing_file(app, mount):
                shown = os.path.relpath(mount.source, app.path)
                problem = f"There is no file {shown}: an empty folder would be mounted at {mount.target}."
                fix = f"Write {shown}, or correct its path; if it is to be a folder, make it."
                yield Finding(*source.locate("services", name, "volumes", index), problem, fix)
    for kind, items in model.contents.items():
        for key, item in items.items():
            file = str(item.get("file") or "")
            if file and can_be_a_path(file) and _is_own(app, file) and not os.path.lexists(locate(file).path):
                shown = os.path.relpath(file, app.path)
                problem = f"There is no file {shown}, which {kind} {key} is made of."
                fix = f"Write {shown}, or correct its path."
                yield Finding(*source.locate(kind, key, "file"), problem, fix)


def find_empty_mounts(app: App, source: Source, model: ComposeModel) -> Iterator[Finding]:
    """Mounts that hold nothing and that no container fills, and ones that are left out."""
    written = {mount.source for mount in model.binds if not mount.read_only}
    for name, service in model.services.items():
        for index, mount in enumerate(service.mounts):
            if not mount.is_bind:
                continue
            place, path = source.locate("services", name, "volumes", index), Path(mount.source)
            shown = os.path.relpath(path, app.path)
            if is_missing_clock(mount):
                fix = "Set the variable TZ of the service, such as TZ: Europe/Berlin, and leave the mount out."
                yield Finding(*place, f"{path} is not on this server: the mount is left out.", fix)
            elif not can_be_a_path(str(path)) or not _is_own(app, str(path)) or _is_missing_file(app, mount):
                continue
            elif mount.read_only and mount.source not in written and not path.exists():
                fix = f"Put there what it is to hold, or correct the path {shown}."
                yield Finding(*place, f"There is no folder {shown}: an empty one is mounted read-only.", fix)
            elif _is_file_like(path, PurePath(mount.target)) and is_empty_folder(path):
                fix = f"If it is to be a file, remove the folder {shown} and write the file."
                yield Finding(*place, f"{shown} is an empty folder, and its name is one of a file.", fix)


def _is_missing_file(app: App, mount: Mount) -> bool:
    source, target = mount.source, PurePath(mount.target)
    if not can_be_a_path(source) or not _is_own(app, source) or os.path.lexists(locate(source).path):
        return False
    return _is_file_like(PurePath(source), target)


def _is_own(app: App, path: str) -> bool:
    """Whether a path lies in the app's folder; the policy has something to say of others."""
    root = Path(os.path.realpath(app.path))
    return root in locate(path).path.parents


def _is_file_like(source: PurePath, target: PurePath) -> bool:
    """Whether names say that a file is mounted and no folder."""
    return any(
        _NAMES.fullmatch(path.name) is not None or _SUFFIXES.fullmatch(path.suffix) is not None
        for path in (source, target)
    )

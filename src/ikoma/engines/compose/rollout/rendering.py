"""From what was checked to what runs: the compose file of one rollout.

Containers of a rollout are made beside those that serve, so whatever the two could not share gets a place of its own:
networks are made anew, so that new containers find new ones under a service's name and old ones old; source is
mounted from the release's copy; images are named by the release, so that none is lost or changed under it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ikoma.compose.image_names import name_release_image
from ikoma.compose.model import ComposeModel, parse_model
from ikoma.compose.release_folder import ReleaseFolder
from ikoma.engines.compose.rollout.drift import make_lasting_key, name_lasting
from ikoma.engines.docker.containers import AnonymousVolume
from ikoma.model import AppName
from ikoma.ports.rollout import ReleaseParts

CONFIGURATION, ROLLOUT, RELEASE = "ikoma.configuration", "ikoma.rollout", "ikoma.release"


@dataclass(frozen=True, slots=True)
class GivenFile:
    """The file that a service mounts for a config, a secret or .env."""

    content: str | bytes
    mode: int
    owner: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A compose file that can run, and the names of its networks: service → network → aliases there."""

    model: ComposeModel
    joined: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    networks: frozenset[str] = frozenset()
    """Names of networks that are this rollout's own."""
    files: Mapping[Path, GivenFile] = field(default_factory=dict)
    """Files to write before containers are made."""


def render(
    model: ComposeModel,
    folder: ReleaseFolder,
    parts: ReleaseParts,
    *,
    rollout: str,
    anonymous: Mapping[str, Sequence[AnonymousVolume]],
) -> Rendered:
    """The compose file of one rollout.

    Args:
        model: the model that was checked.
        anonymous: service → anonymous volumes with its data.
    """
    result = model.copy_raw()
    files: dict[Path, GivenFile] = {}
    for name, service in result["services"].items():
        for done in ("build", "pull_policy", "profiles"):  # the profiles were chosen when the file was read
            service.pop(done, None)
        service["image"] = name_release_image(folder.app, name, folder.release)
        files |= _mount_from(folder, parts, service)
        _mount_anonymous(result, service, anonymous.get(name, ()))
        labels = {CONFIGURATION: parts.configurations[name], ROLLOUT: rollout, RELEASE: folder.release}
        service["labels"] = {**(service.get("labels") or {}), **labels}
    for kind in ("configs", "secrets"):
        for item in (result.get(kind) or {}).values():
            if item.get("file") and (inside := folder.find_inside(item["file"])):
                item["file"] = str(inside)
    files |= _give_as_files(folder, parts, result)
    renamed = _rename_networks(folder.app, result, rollout)
    _turn_links_into_aliases(result)
    joined = {name: _list_joined(result, name, service) for name, service in result["services"].items()}
    _withdraw_container_names(result)
    return Rendered(parse_model(result), joined, frozenset(renamed), files)


def _give_as_files(folder: ReleaseFolder, parts: ReleaseParts, model: dict[str, Any]) -> dict[Path, GivenFile]:
    """Let services mount what configs and secrets take from the file itself or from variables.

    Compose would copy it into containers as it starts them, and starting is not its work here.
    """
    files = {}
    for service_name, service in model["services"].items():
        for kind, home in (("configs", ""), ("secrets", "/run/secrets")):
            for number, joined in enumerate(service.get(kind) or []):
                item = (model.get(kind) or {}).get(joined.get("source")) or {}
                content = _find_content(item, parts.given)
                if content is None:
                    continue
                path = folder.files / f"{service_name}-{kind}-{number}"
                owner = (int(joined.get("uid") or 0), int(joined.get("gid") or 0))
                files[path] = GivenFile(content, _parse_mode(joined.get("mode")), owner)
                key = path.name
                model[kind][key] = {"name": f"{model['name']}_{key}", "file": str(path)}
                target = str(joined.get("target") or joined["source"])
                service[kind][number] = {"source": key, "target": target if target[0] == "/" else f"{home}/{target}"}
    for kind in ("configs", "secrets"):
        model[kind] = {key: item for key, item in (model.get(kind) or {}).items() if (item or {}).get("file")}
    return files


def _find_content(item: Mapping[str, Any], given: Mapping[str, str]) -> str | None:
    if item.get("environment"):
        return given.get(item["environment"], "")
    content = item.get("content")
    return None if content is None else str(content).replace("$$", "$")


def _parse_mode(chosen: Any) -> int:
    """The mode as Compose has it: octal in text, 0444 where nothing is said."""
    return 0o444 if chosen is None else int(str(chosen), 8) & 0o777


def _mount_from(folder: ReleaseFolder, parts: ReleaseParts, service: dict[str, Any]) -> dict[Path, GivenFile]:
    """Let a service mount the release's copy of what is source, and see the data that lies in it; files for that."""
    mounts = service.get("volumes") or []
    targets = {os.path.normpath(str(mount.get("target"))) for mount in mounts}
    for mount in [mount for mount in mounts if mount.get("type") == "bind"]:
        source = Path(os.path.realpath(mount["source"]))
        if (inside := folder.find_mounted(mount["source"])) is None:
            continue
        mount["source"] = str(inside)
        for data in folder.sources.list_data_below(source):
            place_in = data.relative_to(source)
            target = os.path.normpath(f"{mount['target']}/{place_in}")
            if target not in targets and data.is_dir() and (inside / place_in).is_dir():
                mounts.append({**mount, "source": str(data), "target": target})
    if any(mount.get("source") == str(folder.dotenv_file) for mount in mounts):
        return {folder.dotenv_file: GivenFile(parts.dotenv, 0o444, (0, 0))}
    return {}


def _mount_anonymous(model: dict[str, Any], service: dict[str, Any], anonymous: Sequence[AnonymousVolume]) -> None:
    """Data in volumes without a name goes on to the next container, as Compose lets it."""
    mounts = service.setdefault("volumes", [])
    taken = {os.path.normpath(str(mount.get("target"))): mount for mount in mounts}
    temporary = {os.path.normpath(str(path).partition(":")[0]) for path in service.get("tmpfs") or []}
    for volume in anonymous:
        target = os.path.normpath(volume.target)
        mount = taken.get(target, {"type": "volume", "target": volume.target, "volume": {}})
        if target in temporary or mount.get("type") != "volume" or mount.get("source"):
            continue
        if target not in taken:
            mounts.append(mount)
        mount["source"] = volume.name
        model.setdefault("volumes", {})[volume.name] = {"name": volume.name, "external": True}


def _rename_networks(app: AppName, model: dict[str, Any], rollout: str) -> list[str]:
    """Give each network that is made anew a key and a name of this rollout; the names. Others get lasting ones."""
    networks: dict[str, Any] = {key: network or {} for key, network in (model.get("networks") or {}).items()}
    renamed, model["networks"], own = {}, {}, []
    for key, network in networks.items():
        name = name_lasting(app, key, network)
        renamed[key] = f"{key}-{rollout}" if name is None else make_lasting_key(key, name)
        model["networks"][renamed[key]] = {**network, "name": name or f"{app.project}_{renamed[key]}"}
        own += [f"{app.project}_{renamed[key]}"] if name is None else []
    for service in model["services"].values():
        if isinstance(service.get("networks"), Mapping):
            service["networks"] = {renamed.get(key, key): joined for key, joined in service["networks"].items()}
    return own


def _turn_links_into_aliases(model: dict[str, Any]) -> None:
    """Let a service be found under the names that others link it by: a link itself would lead to its old container."""
    for service in model["services"].values():
        for link in service.pop("links", None) or []:
            linked, _, alias = str(link).partition(":")
            networks: Any = (model["services"].get(linked) or {}).get("networks")
            if not alias or not isinstance(networks, dict):
                continue
            for key in set(networks) & set(service.get("networks") or {}):
                options = networks[key] or {}
                aliases = dict.fromkeys((*(options.get("aliases") or []), alias))
                networks[key] = {**options, "aliases": list(aliases)}


def _list_joined(model: Mapping[str, Any], name: str, service: Mapping[str, Any]) -> dict[str, list[str]]:
    """Network → the names under which the service is found there."""
    networks: Mapping[str, Any] = service.get("networks") or {}
    alias = [service["container_name"]] if service.get("container_name") else []
    return {
        str((model["networks"].get(key) or {}).get("name") or key): [
            *dict.fromkeys([name, *alias, *((options or {}).get("aliases") or [])])
        ]
        for key, options in networks.items()
    }


def _withdraw_container_names(model: dict[str, Any]) -> None:
    """A name can't be had twice: the new container gets it when the old one is gone, and is found under it before."""
    for service in model["services"].values():
        chosen = service.pop("container_name", None)
        if chosen is None or not isinstance(service.get("networks"), Mapping):
            continue
        for key, options in service["networks"].items():
            service["networks"][key] = {**(options or {}), "aliases": [*((options or {}).get("aliases") or []), chosen]}

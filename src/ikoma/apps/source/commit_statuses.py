"""Tells a git host what becomes of a commit, in the form of its API. That it cannot be told never holds a deploy up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

import orjson

from ikoma.apps.source import fetching
from ikoma.apps.source.url import SourceReach, SourceUrl
from ikoma.apps.source.webhook import StatusTarget
from ikoma.errors import IkomaError
from ikoma.model import Secret

PENDING, SUCCESS, FAILURE = "pending", "success", "failure"

_SECONDS = 15
_LONGEST = 140
_KINDS = {
    "github.com": "github",
    "gitlab.com": "gitlab",
    "bitbucket.org": "bitbucket",
    "codeberg.org": "gitea",
}
_APIS = {"github.com": "api.github.com", "bitbucket.org": "api.bitbucket.org"}
"""Hosts whose API has a name of its own, and may be asked where the host may."""
_BITBUCKET = {PENDING: "INPROGRESS", SUCCESS: "SUCCESSFUL", FAILURE: "FAILED"}
_GITLAB = {PENDING: "running", SUCCESS: "success", FAILURE: "failed"}


@dataclass(frozen=True, slots=True)
class CommitStatus:
    """The status of a commit: in one of three states, in a few words. `link` leads a reader on."""

    commit: str
    state: str
    words: str
    name: str
    link: str | None = None


@dataclass(frozen=True, slots=True)
class _Message:
    url: str
    secret: tuple[str, Secret]
    body: Mapping[str, str]


def find_host_kind(url: SourceUrl, delivered_by: str) -> str | None:
    """Find the kind of the git host: as its deliveries show, else by its name."""
    return delivered_by or _KINDS.get(url.host)


async def send_status(
    reach: SourceReach, url: SourceUrl, kind: str | None, statuses: StatusTarget, status: CommitStatus
) -> str:
    """Send one status; what came of it, in a sentence."""
    message = _make_message(url, kind, statuses, status)
    if message is None:
        return "Not sent: it is not known what kind of git host this is."
    if url.host in reach.hosts and url.host in _APIS:
        reach = replace(reach, hosts=(*reach.hosts, _APIS[url.host]))
    try:
        answer = await fetching.request(
            reach,
            "POST",
            message.url,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            secret=message.secret,
            body=orjson.dumps(message.body),
            timeout=_SECONDS,
        )
    except IkomaError as error:
        return f"Not sent: {error.message}"
    if answer.status not in (200, 201):
        return f"Not sent: the git host answers with status {answer.status}. May the token write statuses?"
    return f"Sent: {status.state}."


def _make_message(url: SourceUrl, kind: str | None, statuses: StatusTarget, status: CommitStatus) -> _Message | None:
    token, path = statuses.token.reveal(), quote(url.repository)
    bearer = ("Authorization", Secret(f"Bearer {token}"))
    words = status.words[:_LONGEST]
    named = {"description": words, **({"target_url": status.link} if status.link else {})}
    match kind:
        case "github":
            body = {"state": status.state, "context": status.name, **named}
            base = _find_api(url, statuses, "/api/v3")
            return _Message(f"{base}/repos/{path}/statuses/{status.commit}", bearer, body)
        case "gitea":
            body = {"state": status.state, "context": status.name, **named}
            base = _find_api(url, statuses, "/api/v1")
            secret = ("Authorization", Secret(f"token {token}"))
            return _Message(f"{base}/repos/{path}/statuses/{status.commit}", secret, body)
        case "gitlab":
            body = {"state": _GITLAB[status.state], "name": status.name, **named}
            project, secret = quote(url.repository, safe=""), ("PRIVATE-TOKEN", statuses.token)
            base = _find_api(url, statuses, "/api/v4")
            return _Message(f"{base}/projects/{project}/statuses/{status.commit}", secret, body)
        case "bitbucket":
            link = status.link or f"https://{url.host}/{path}/commits/{status.commit}"
            body = {"key": status.name, "name": status.name, "state": _BITBUCKET[status.state]}
            body |= {"description": words, "url": link}
            base = _find_api(url, statuses, "/2.0")
            return _Message(f"{base}/repositories/{path}/commit/{status.commit}/statuses/build", bearer, body)
    return None


def _find_api(url: SourceUrl, statuses: StatusTarget, below: str) -> str:
    """Find the address of the API: at its own name, or below the host that the source came from."""
    if statuses.url is not None:
        return statuses.url.rstrip("/")
    if url.host in _APIS:
        return f"https://{_APIS[url.host]}{'/2.0' if url.host == 'bitbucket.org' else ''}"
    port = f":{url.port}" if url.scheme == "https" and url.port != 443 else ""
    return f"https://{url.host}{port}{below}"

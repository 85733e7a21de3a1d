"""The webhooks' door: `POST /hooks/APP`, for a git host that tells of a push.

No key is needed; the signature over the raw body is the proof, and only then is the body read as anything. What it
says decides whether there is a deploy, never what is deployed: that is what the hook's branch holds. Whoever cannot
sign learns nothing, not even whether there is such an app.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from ikoma.apps.hooks import Hook, Hooks, Last
from ikoma.apps.release import now
from ikoma.errors import HookRefused, HookReplayed, IkomaError, InvalidArguments, MalformedRequest, MethodNotAllowed
from ikoma.kernel.call import Attempt
from ikoma.kernel.callers import of_hook
from ikoma.kernel.pipeline import Pipeline
from ikoma.kernel.registry import BODY_LIMIT
from ikoma.model import AppName, GitRef
from ikoma.transports import envelope, headers, signatures
from ikoma.transports.body import parse_object, read_body
from ikoma.transports.signatures import Signed

PREFIX = "/hooks/"

_FRESH_SECONDS = 300
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_PUSH = "push"


@dataclass(frozen=True, slots=True)
class Push:
    """A branch or tag that was pushed, and the commit that it then named; None where that is not said."""

    ref: GitRef
    commit: str | None
    deleted: bool


class Deliver:
    """POST /hooks/APP."""

    def __init__(self, pipeline: Pipeline, hooks: Hooks) -> None:
        self._pipeline = pipeline
        self._hooks = hooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = f"{random.getrandbits(96):024x}"  # a name for the call, not a secret
        try:
            if scope["method"] != "POST":
                raise MethodNotAllowed(f"{scope['method']} delivers nothing.")
            body = await read_body(scope, receive, BODY_LIMIT)
            signed = signatures.read(dict(scope["headers"]), body)
            app, hook = self._proven(scope, signed)
            status, answer = await self._take(app, hook, signed, body, request_id)
        except IkomaError as error:
            await headers.refuse(send, error, request_id=request_id)
        else:
            await headers.answer(send, status, envelope.success(request_id, answer))

    def _proven(self, scope: Scope, signed: Signed) -> tuple[AppName, Hook]:
        """The app whose hook the delivery is signed for; the same refusal whatever is amiss."""
        name = _name(scope["path"].removeprefix(PREFIX))
        hook = self._hooks.find(name) if name else None
        proven = signed.is_by(hook)
        if name is None or hook is None or not proven:
            what = f"{PREFIX}{name}" if name else PREFIX
            raise self._pipeline.unproven(what, HookRefused(), headers.address(scope))
        return name, hook

    async def _take(self, app: AppName, hook: Hook, signed: Signed, body: bytes, request_id: str) -> tuple[int, bytes]:
        """Deploy, or say why not: (HTTP status, the result as JSON)."""
        try:
            _check_fresh(signed)
            reason, push = _read(hook, signed, body)
            if reason is not None or push is None:
                self._hooks.note(app, Last(now(), signed.event, signed.delivery, reason=reason))
                return 200, orjson.dumps({"deployed": False, "reason": reason})
            self._hooks.take(app, signed.marks)
        except IkomaError as error:
            self._pipeline.refused(f"{PREFIX}{app}", error, of_hook(app).name)
            raise
        return 202, await self._deploy(app, signed, push, request_id)

    async def _deploy(self, app: AppName, signed: Signed, push: Push, request_id: str) -> bytes:
        arguments = {"appName": app} | ({"commit": push.commit} if push.commit else {})

        async def read(limit: int) -> Mapping[str, Any]:
            return arguments

        attempt = Attempt("hook.deploy", None, None, request_id, read, wait=0, caller=of_hook(app))
        try:
            answer = await self._pipeline.execute(attempt)
        except IkomaError:
            self._hooks.give_back(app, signed.marks)
            raise
        with suppress(IkomaError):  # the deploy is under way, whether or not this can be written down
            self._hooks.note(app, Last(now(), signed.event, signed.delivery, operation=request_id))
        return answer.body


def _name(text: str) -> AppName | None:
    try:
        return AppName.parse(text)
    except ValueError:
        return None


def _check_fresh(signed: Signed) -> None:
    if signed.at is not None and abs(time.time() - signed.at) > _FRESH_SECONDS:
        raise HookReplayed(
            f"This was not signed within {_FRESH_SECONDS // 60} minutes of now.",
            hint="Sign it anew; if it is new, set the clocks right.",
        )


def _read(hook: Hook, signed: Signed, body: bytes) -> tuple[str | None, Push | None]:
    """The push that a delivery tells of, or why it deploys nothing."""
    told = _object(body)
    if signed.event != _PUSH:
        return f"The event is {signed.event or 'not named'}, not {_PUSH}.", None
    push = _push(told)
    if push.ref != hook.ref:
        return f"{push.ref} is not {hook.ref}.", None
    return (f"{push.ref} was deleted.", None) if push.deleted else (None, push)


def _object(body: bytes) -> Mapping[str, Any]:
    if body.startswith(b"payload="):
        raise MalformedRequest("The body is a form.", hint="Set the webhook's content type to application/json.")
    return parse_object(body)


def _push(told: Mapping[str, Any]) -> Push:
    """What a push says; InvalidArguments where that is no branch, tag or commit."""
    ref, commit = told.get("ref"), told.get("after")
    try:
        named = GitRef.parse(ref if isinstance(ref, str) else "")
    except ValueError:
        raise InvalidArguments(f"ref: {GitRef.advice}.", hint="A push names its ref: refs/heads/main.") from None
    if commit is not None and not (isinstance(commit, str) and _COMMIT.fullmatch(commit)):
        raise InvalidArguments("after: is no commit.", hint="A push names its commit in full, or leaves it out.")
    deleted = told.get("deleted") is True or (commit is not None and set(commit) == {"0"})
    return Push(named, None if deleted else commit, deleted)

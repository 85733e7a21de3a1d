"""The webhooks' door: `POST /hooks/APP`, for a git host that tells of a push.

No key is needed; the proof is made with the hook's secret, and only then is the body read as anything. What it says
decides whether there is a deploy, never what is deployed: that is what the hook's branch holds. Whoever cannot prove
the secret learns nothing, not even whether there is such an app. Who can finds each delivery again in hook.show.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from ikoma.apps.releases.release import format_now
from ikoma.apps.source.webhook import Delivery, Webhook, Webhooks
from ikoma.errors import BodyTooLarge, HookRefused, HookReplayed, IkomaError, MalformedRequest, MethodNotAllowed
from ikoma.kernel.access.caller import make_hook_caller
from ikoma.kernel.call import Attempt
from ikoma.kernel.pipeline import Pipeline
from ikoma.model import AppName
from ikoma.transports import envelope, headers, skimming
from ikoma.transports.body import SMALL, Body, LargeBodies, parse_object
from ikoma.transports.webhooks import pushes, signatures
from ikoma.transports.webhooks.pushes import DeliveryOutcome
from ikoma.transports.webhooks.signatures import SignedDelivery

PREFIX = "/hooks/"
MOST_BYTES = 25 << 20
"""The most that a git host sends."""

_FRESH_SECONDS = 300


@dataclass(frozen=True, slots=True)
class _ProvenDelivery:
    """A delivery that was signed rightly."""

    app: AppName
    hook: Webhook
    signed: SignedDelivery
    request_id: str

    def describe_delivery(self, told: DeliveryOutcome | None = None) -> Delivery:
        push = told.push if told else None
        signed = self.signed
        return Delivery(
            format_now(),
            signed.host,
            signed.event,
            signed.delivery,
            ref=push.ref if push else None,
            pushed=push.commit if push else None,
            reason=told.reason if told else None,
        )


class WebhookEndpoint:
    """POST /hooks/APP."""

    def __init__(self, pipeline: Pipeline, hooks: Webhooks) -> None:
        self._pipeline = pipeline
        self._hooks = hooks
        self._bodies = LargeBodies(hooks.spool)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = f"{random.getrandbits(96):024x}"  # a name for the call, not a secret
        try:
            if scope["method"] != "POST":
                raise MethodNotAllowed(f"{scope['method']} delivers nothing.")
            async with self._bodies.read(scope, receive, MOST_BYTES) as body:
                proven = await self._prove(scope, body, request_id)
                status, answer = await self._take(proven, body)
        except IkomaError as error:
            if isinstance(error, BodyTooLarge):  # whose it was is not known, but that it came is on record
                self._pipeline.record_refused(PREFIX, error, None, headers.read_address(scope))
            await headers.refuse(send, error, request_id=request_id)
        else:
            await headers.answer(send, status, envelope.make_success(request_id, answer))

    async def _prove(self, scope: Scope, body: Body, request_id: str) -> _ProvenDelivery:
        """The app whose hook the delivery is signed for; the same refusal whatever is amiss."""
        name = _name(scope["path"].removeprefix(PREFIX))
        hook = self._hooks.find(name) if name else None
        given = dict(scope["headers"])

        def look() -> tuple[SignedDelivery, bool]:
            signed = signatures.read(given, body)
            return signed, signed.is_by(hook)

        signed, proven = await asyncio.to_thread(look) if len(body) > SMALL else look()
        if name is None or hook is None or not proven:
            if name is not None and hook is not None:
                self._hooks.count_unproven(name)
            what = f"{PREFIX}{name}" if name else PREFIX
            raise self._pipeline.refuse_unproven(what, HookRefused(), headers.read_address(scope))
        return _ProvenDelivery(name, hook, signed, request_id)

    async def _take(self, proven: _ProvenDelivery, body: Body) -> tuple[int, bytes]:
        """Deploy, or say why not: (HTTP status, the result as JSON)."""
        told: DeliveryOutcome | None = None
        try:
            _check_fresh(proven.signed)
            told = await self._read(proven, body)
            if told.reason is not None or told.push is None:
                await self._hooks.change(
                    partial(self._hooks.record_delivery, proven.app, proven.describe_delivery(told))
                )
                return 200, orjson.dumps({"deployed": False, "reason": told.reason})
            await self._hooks.change(partial(self._hooks.remember_delivery, proven.app, proven.signed.marks))
        except IkomaError as error:
            await self._record_refused(proven, told, error)
            raise
        return 202, await self._deploy(proven, told)

    async def _read(self, proven: _ProvenDelivery, body: Body) -> DeliveryOutcome:
        if len(body) > SMALL:
            members: Mapping[str, Any] = await asyncio.to_thread(skimming.skim_members, body, pushes.MEMBERS)
        else:
            members = _parse_object(bytes(body))
        return pushes.read_delivery(proven.signed.host, proven.signed.event, members, proven.hook.ref)

    async def _record_refused(self, proven: _ProvenDelivery, told: DeliveryOutcome | None, error: IkomaError) -> None:
        delivery = replace(proven.describe_delivery(told), code=error.code, reason=error.audit_message)
        with suppress(IkomaError):
            await self._hooks.change(partial(self._hooks.record_delivery, proven.app, delivery))
        self._pipeline.record_refused(f"{PREFIX}{proven.app}", error, make_hook_caller(proven.app).name)

    async def _deploy(self, proven: _ProvenDelivery, told: DeliveryOutcome) -> bytes:
        app, push = proven.app, told.push
        arguments = {"appName": app} | ({"commit": push.commit} if push and push.commit else {})

        async def read(limit: int) -> Mapping[str, Any]:
            return arguments

        attempt = Attempt("hook.deploy", None, None, proven.request_id, read, wait=0, caller=make_hook_caller(app))
        number: int | None = None
        with suppress(IkomaError):  # the deploy begins, whether or not this can be written down
            delivery = replace(proven.describe_delivery(told), operation=proven.request_id)
            number = await self._hooks.change(partial(self._hooks.record_delivery, app, delivery))
        try:
            answer = await self._pipeline.execute(attempt)
        except IkomaError as error:
            await self._hooks.change(partial(self._hooks.forget_delivery, app, proven.signed.marks))
            with suppress(IkomaError):
                if number is not None:
                    await self._hooks.change(partial(self._hooks.record_failure, number, error))
            raise
        return answer.body


def _name(text: str) -> AppName | None:
    try:
        return AppName.parse(text)
    except ValueError:
        return None


def _check_fresh(signed: SignedDelivery) -> None:
    if signed.at is not None and abs(time.time() - signed.at) > _FRESH_SECONDS:
        raise HookReplayed(
            f"This was not signed within {_FRESH_SECONDS // 60} minutes of now.",
            hint="Sign it anew; if it is new, set the clocks right.",
        )


def _parse_object(body: bytes) -> Mapping[str, Any]:
    if body.startswith(b"payload="):
        raise MalformedRequest("The body is a form.", hint="Set the webhook's content type to application/json.")
    return parse_object(body)

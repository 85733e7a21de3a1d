"""Finds out who calls, by key or token, how often that key may, and in which role."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from ikoma.errors import TooManyFailures, Unauthenticated, UnknownRole
from ikoma.kernel.access.caller import Caller
from ikoma.kernel.access.callers import Callers
from ikoma.kernel.access.key_guard import KeyGuard
from ikoma.kernel.access.rate_limit import RateLimit
from ikoma.kernel.access.throttle import Throttle
from ikoma.kernel.registry import Capability, Registry
from ikoma.model import Role

if TYPE_CHECKING:
    from ikoma.kernel.access.tokens import Tokens


class Authentication:
    """Finds out whose a key is. Guesses make their address wait; calls count for the key's rate."""

    def __init__(
        self, registry: Registry, callers: Callers, tokens: Tokens | None, throttle: Throttle, rate_limit: RateLimit
    ) -> None:
        self._registry = registry
        self._callers = callers
        self._tokens = tokens
        self._throttle = throttle
        self._rate_limit = rate_limit

    async def identify(self, key: str | None, address: str) -> Caller:
        """The caller whose key or token this is; Unauthenticated where it is nobody's, TooManyFailures after many."""
        self._throttle.check(address, key)
        try:
            caller = await self.reidentify(key)
        except Unauthenticated:
            if key:  # no key is no guess
                self._throttle.count_failure(address)
            raise
        self._throttle.remember_success(address, key or "")
        return caller

    async def reidentify(self, key: str | None) -> Caller:
        """Like `identify`, for one who was known before: that the key has ended meanwhile is no guess."""
        if key and self._is_token(key):
            assert self._tokens is not None
            return await asyncio.to_thread(self._tokens.identify_caller, key)
        return self._callers.authenticate(key)

    def admit(self, caller: Caller, role: str | None, *, counts: bool = True) -> Role:
        """The role that a caller takes, by the name that came with the call; RateLimited where it calls too often.

        Args:
            counts: whether this is a request of its own for the key's rate, and not a part of one.
        """
        if counts:
            self._rate_limit.count(caller.id, caller.rate)
        return caller.narrow_role(_read_role(role))

    async def list_visible(
        self, key: str | None, role: str | None, address: str, *, counts: bool = True
    ) -> Sequence[Capability]:
        """The capabilities that this key, in this role, may call. `counts` as of `admit`."""
        caller = await self.identify(key, address)
        taken = self.admit(caller, role, counts=counts)
        return [item for item in self._registry if item.role <= taken and caller.reaches_capability(item)]

    def count_guess(self, address: str) -> TooManyFailures | None:
        """Count, like a wrong key, what a door refused for want of a proof; a refusal where the address must wait."""
        try:
            self._throttle.check(address, None)
            self._throttle.count_failure(address)
        except TooManyFailures as error:
            return error
        return None

    def guard(self, key: str | None) -> KeyGuard:
        """Around what may take long: it ends with the key. A token ends by itself, and was looked at once."""
        known = key is None or self._is_token(key)
        return KeyGuard((lambda: None) if known else partial(self._callers.authenticate, key))

    def _is_token(self, key: str) -> bool:
        return self._tokens is not None and self._tokens.is_token(key)


def _read_role(text: str | None) -> Role | None:
    if text is None or text == "":
        return None
    try:
        return Role.parse(text)
    except ValueError as error:
        raise UnknownRole(f"X-Role: {error}.") from None

"""domain.platform: the name under which this server itself is reached from the network."""

from __future__ import annotations

import asyncio
from typing import Annotated, ClassVar

from ikoma.capabilities.context import Call
from ikoma.errors import IkomaError, InvalidArguments
from ikoma.kernel.page import Fact, ResultPage
from ikoma.kernel.registry import Request, Result, Untrusted, capability, listed
from ikoma.model import DomainName, Effect, Role

_SECONDS = 3.0
_OFF = "This server is reached on its own address alone. Give a domain to serve it to others."
_SERVED = "This server is served under {domain}. A client needs the address and a key."
_WAITING = "the authority gives one when it reaches this server under the name, on port 80 or 443."


class DomainPlatformRequest(Request):
    domain: DomainName | None = None
    """Left out: only show it."""
    remove: bool = False


class DomainPlatformResult(Result):
    page: ClassVar = ResultPage(
        says="{message}",
        facts=(
            Fact("HTTP", "url"),
            Fact("MCP", "mcpUrl"),
            Fact("DNS", "pointing"),
            Fact("set this record", "record"),
            Fact("certificate"),
            Fact("its authority", "authority"),
            Fact("trouble"),
        ),
    )
    message: str
    domain: str | None = None
    url: str | None = None
    mcp_url: str | None = None
    """The address for MCP hosts."""
    pointing: str | None = None
    record: str | None = None
    """Record to set at its name server, where it does not point here."""
    certificate: str | None = None
    authority: str | None = None
    """The file by which clients trust this server's own authority, where that signed."""
    trouble: Annotated[str | None, Untrusted("what the authority answered", ours=True)] = None


@capability(
    "domain.platform",
    role=Role.ADMIN,
    effect=Effect.CHANGES,
    idempotent=True,
    open_world=True,
    rare=True,
    undo="domain.platform",
)
@listed("domains", "domain-platform", "Serve IKOMA itself under a domain, with a certificate.", optional=("domain",))
async def serve_platform(call: Call, request: DomainPlatformRequest) -> DomainPlatformResult:
    """Serve IKOMA itself under a domain over HTTPS, or show how.

    Use it when clients on other machines are to reach this server.
    """
    platform = call.platform.platform_domain
    if request.remove and request.domain:
        raise InvalidArguments("domain and remove exclude each other.")
    if request.remove or request.domain:
        await platform.serve(request.domain)
    if platform.name is None:
        return DomainPlatformResult(message=_OFF)
    return await _describe(call, platform.name)


async def _describe(call: Call, name: str) -> DomainPlatformResult:
    platform = call.platform.platform_domain
    try:
        entrance = platform.find_entrance()
    except IkomaError as error:
        return DomainPlatformResult(message=f"This server cannot be reached under {name}: {error.message}", domain=name)
    pointing, certificate = await asyncio.gather(
        call.platform.dns.look_up(name, _SECONDS), platform.read_certificate(_SECONDS)
    )
    authority = platform.find_authority() if certificate is not None and certificate.is_own else None
    trouble = None
    if certificate is None:
        trouble = await asyncio.to_thread(call.platform.routes.find_certificate_trouble, name)
    return DomainPlatformResult(
        message=_SERVED.format(domain=name),
        domain=name,
        url=entrance.url,
        mcp_url=f"{entrance.url}/mcp",
        pointing=pointing.said,
        record=pointing.record,
        certificate=certificate.said if certificate else f"None yet: {_WAITING}",
        authority=str(authority) if authority and call.sees_paths else None,
        trouble=trouble,
    )

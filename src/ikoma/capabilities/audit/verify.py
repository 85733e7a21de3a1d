"""audit.verify: is the audit log as it was written?"""

from __future__ import annotations

import asyncio

from ikoma.capabilities.context import Call
from ikoma.kernel.audit.chain import verify as verify_chain
from ikoma.kernel.registry import Request, Result, capability, listed
from ikoma.model import Effect, Role


class AuditVerifyFirstBad(Result):
    file: str
    line: int
    seq: int | None
    problem: str


class AuditVerifyResult(Result):
    valid: bool
    entries: int
    first_bad: AuditVerifyFirstBad | None
    bad: int
    """Places that are not as they were written."""
    found: list[AuditVerifyFirstBad]
    """The first 20 of them."""
    lost: int
    """Entries that could not be written, as audit.lost says: no tampering."""
    unchained: int
    """Entries of versions that wrote no chain."""
    anchors: int
    """Anchors that the log agrees with."""
    files: list[str]


@capability("audit.verify", role=Role.OBSERVER, effect=Effect.READS, rare=True)
@listed("audit", "audit verify", by_hand=True, well=("valid", True))
async def verify(call: Call, request: Request) -> AuditVerifyResult:
    """Check that no entry of the audit log was changed, removed, moved or cut off.

    Use it regularly, and after an incident.
    """
    settings = call.platform.settings
    verdict = await asyncio.to_thread(
        verify_chain, settings.audit_log, settings.audit_head_file, settings.audit_anchor_files
    )
    return AuditVerifyResult.model_validate(verdict, from_attributes=True)

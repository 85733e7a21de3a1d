"""The form of every answer: the same on all doors."""

from __future__ import annotations

from typing import Any

import orjson

from ikoma.errors import IkomaError


def success(request_id: str, result: bytes) -> bytes:
    """The envelope of a result that is JSON already."""
    return b'{"success":true,"requestId":"' + request_id.encode() + b'","result":' + result + b"}"


def failure(request_id: str, error: IkomaError) -> bytes:
    answer: dict[str, Any] = {
        "success": False,
        "error": error.message,
        "code": error.code,
        "hint": error.hint,
        "requestId": request_id,
    }
    if error.details:
        answer["details"] = error.details
    return orjson.dumps(answer)

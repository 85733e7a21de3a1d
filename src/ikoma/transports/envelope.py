"""The form of every answer: the same on all doors."""

from __future__ import annotations

import orjson

from ikoma.errors import IkomaError
from ikoma.kernel.answers.failures import describe_failure


def make_success(request_id: str, result: bytes) -> bytes:
    """The envelope of a result that is JSON already."""
    return b'{"success":true,"requestId":"' + request_id.encode() + b'","result":' + result + b"}"


def make_failure(request_id: str, error: IkomaError) -> bytes:
    return orjson.dumps({"success": False, **describe_failure(error), "requestId": request_id}, default=str)

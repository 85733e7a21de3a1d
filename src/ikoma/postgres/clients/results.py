"""Results as they come, and no more of them than one answer holds: their number is the caller's, their size ours.

Generators in psycopg's way, over libpq: they yield when they must wait for the server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg
from psycopg import pq
from psycopg.abc import PQGen
from psycopg.generators import fetch, send

from ikoma.errors import NotAQuery, QueryTooLarge
from ikoma.postgres.clients.values import convert_to_json

MOST_BYTES = 1 << 20
"""Limit of rows, as JSON."""

_COPYING = (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)
_PLAIN = {25: "text", 114: "json", 142: "xml"}


@dataclass(slots=True)
class ResultSet:
    """Columns and rows. `kinds` are the oids of the columns' types, `modifiers` what stands in brackets after them."""

    names: tuple[str, ...] = ()
    kinds: tuple[int, ...] = ()
    modifiers: tuple[int, ...] = ()
    rows: list[list[Any]] = field(default_factory=list)
    cut: bool = False


def name_plain_type(kind: int) -> str:
    """The name of a type that EXPLAIN and SHOW answer with."""
    return _PLAIN.get(kind, "text")


def describe(pgconn: pq.abc.PGconn, portal: bytes, found: ResultSet) -> PQGen[None]:
    """The columns of an open cursor."""
    pgconn.send_describe_portal(portal)
    yield from send(pgconn)
    while (result := (yield from _fetch_next(pgconn))) is not None:
        _read_columns(result, found)


def receive(pgconn: pq.abc.PGconn, sql: bytes, limit: int, found: ResultSet) -> PQGen[None]:
    """Run one statement, by the extended protocol, and keep its first `limit` rows.

    Where it has more than an answer holds, the rest is left unread: the session is of no further use then.
    """
    pgconn.send_query_params(sql, None)
    pgconn.set_single_row_mode()
    yield from send(pgconn)
    size = 0
    while (result := (yield from _fetch_next(pgconn))) is not None:
        if not found.names:
            _read_columns(result, found)
        if result.ntuples == 0:
            continue
        row = _read_row(result, found.kinds)
        size += len(orjson.dumps(row)) + 1
        if size > MOST_BYTES and not found.rows and limit:
            raise QueryTooLarge
        if size > MOST_BYTES or len(found.rows) == limit:
            found.cut = True
            return
        found.rows.append(row)


def _fetch_next(pgconn: pq.abc.PGconn) -> PQGen[pq.abc.PGresult | None]:
    result: pq.abc.PGresult | None = yield from fetch(pgconn)
    if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
        raise psycopg.errors.error_from_result(result)
    if result is not None and result.status in _COPYING:
        raise NotAQuery
    return result


def _read_columns(result: pq.abc.PGresult, found: ResultSet) -> None:
    columns = range(result.nfields)
    found.names = tuple((result.fname(column) or b"").decode(errors="replace") for column in columns)
    found.kinds = tuple(result.ftype(column) for column in columns)
    found.modifiers = tuple(result.fmod(column) for column in columns)


def _read_row(result: pq.abc.PGresult, kinds: tuple[int, ...]) -> list[Any]:
    values = [result.get_value(0, column) for column in range(len(kinds))]
    return [
        None if value is None else convert_to_json(bytes(value).decode(errors="replace"), kind)
        for value, kind in zip(values, kinds, strict=True)
    ]

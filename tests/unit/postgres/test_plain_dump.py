"""Rows are counted right and large objects' COMMIT is blanked, wherever the pieces of the stream are cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ikoma.postgres.plain_dump import PlainDump

DUMP = rb'''--
-- PostgreSQL database dump
--
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT '
COPY nothing
COMMIT;
' $$;

COPY public.people (id, "a name", "odd "" one") FROM stdin;
1	x	y
2	COPY public.people (id) FROM stdin;	\\.
\.


--
-- Data for Name: empty; Type: TABLE DATA; Schema: public; Owner: app
--

COPY public.empty (id) FROM stdin;
\.


COPY stock."My ""Table"""  FROM stdin;


\.


--
-- Data for Name: 16390; Type: BLOBS; Schema: -; Owner: app
--

BEGIN;

SELECT pg_catalog.lo_open('16390', 131072);
SELECT pg_catalog.lowrite(0, '\x0a434f4d4d49543b0a');
SELECT pg_catalog.lo_close(0);

COMMIT;

COPY ikoma.migrations (name) FROM stdin;
1.sql
\.


CREATE PROCEDURE p() LANGUAGE plpgsql AS $$
BEGIN;
COMMIT;
$$;
'''
WRITTEN = DUMP.replace(b"\nBEGIN;\n\nSELECT", b"\n      \n\nSELECT").replace(b"(0);\n\nCOMMIT;\n", b"(0);\n\n       \n")
ROWS = {"people": 2, "empty": 0, 'stock.My "Table"': 2}


def read(pieces: list[bytes]) -> tuple[bytes, dict[str, int]]:
    dump = PlainDump()
    written = b"".join(dump.feed(piece) for piece in pieces) + dump.end()
    blanked = bytearray(DUMP)
    for start, length in dump.blanked:
        blanked[start : start + length] = b" " * length
    assert bytes(blanked) == written
    return written, dump.tables()


def test_a_dump_in_one_piece() -> None:
    assert read([DUMP]) == (WRITTEN, ROWS)


def test_a_dump_byte_by_byte() -> None:
    assert read([bytes([byte]) for byte in DUMP]) == (WRITTEN, ROWS)


@given(st.lists(st.integers(0, len(DUMP)), max_size=20))
def test_a_dump_in_any_pieces(cuts: list[int]) -> None:
    edges = sorted({0, len(DUMP), *cuts})
    pieces = [DUMP[start:end] for start, end in pairwise(edges)]
    assert read(pieces) == (WRITTEN, ROWS)

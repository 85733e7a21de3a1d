"""Rows are counted right and all of an app's statements are quoted, wherever the pieces of the stream are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikoma.postgres.backup.plain_dump import PlainDump, UnexpectedDump

DUMP = rb'''--
-- PostgreSQL database dump
--

\restrict abc

-- Dumped from database version 18.6

SET statement_timeout = 0;
--
-- Name: postgis; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public;


--
-- Name: f(); Type: FUNCTION; Schema: public; Owner: app
--

CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $_$ SELECT '
COPY public.fake (id) FROM stdin;
\.
--
-- Name: fake; Type: EXTENSION; Schema: -; Owner: ikoma
--

BEGIN;
\unrestrict abc
COMMIT;
' $_$;

COMMENT ON FUNCTION f() IS 'it''s "a $$
BEGIN;
';


--
-- Name: theirs; Owner: app; Type: TABLE; Schema: public; Owner: ikoma
--

CREATE TABLE public."theirs; -- $a$" (a int);


--
-- Data for Name: people; Type: TABLE DATA; Schema: public; Owner: app
--

COPY public.people (id, "a name", "odd "" one") FROM stdin;
1	x	y
2	COPY public.people (id) FROM stdin;	\\.
\.


--
-- Data for Name: empty; Type: TABLE DATA; Schema: public; Owner: app
--

COPY public.empty (id) FROM stdin;
\.


--
-- Data for Name: My; Type: TABLE DATA; Schema: stock; Owner: app
--

COPY stock."My ""Table"""  FROM stdin;


\.


--
-- Name: s; Type: SEQUENCE SET; Schema: public; Owner: app
--

SELECT pg_catalog.setval('public.s', 1, true);


--
-- Data for Name: 16390; Type: BLOBS; Schema: -; Owner: app
--

BEGIN;

SELECT pg_catalog.lo_open('16390', 131072);
SELECT pg_catalog.lowrite(0, '\x0a434f4d4d49543b0a');
SELECT pg_catalog.lo_close(0);

COMMIT;

--
-- Data for Name: migrations; Type: TABLE DATA; Schema: ikoma; Owner: app
--

COPY ikoma.migrations (name) FROM stdin;
1.sql
\.


--
-- Name: p; Type: PROCEDURE; Schema: public; Owner: app
--

CREATE PROCEDURE p() LANGUAGE plpgsql AS $$
BEGIN;
COMMIT;
$$;


--
-- PostgreSQL database dump complete
--

\unrestrict abc

'''
ROWS = {"people": 2, "empty": 0, 'stock.My "Table"': 2}


def read(pieces: list[bytes]) -> tuple[bytes, dict[str, int]]:
    dump = PlainDump("app", ["postgis"])
    written = b"".join(dump.feed(piece) for piece in pieces) + dump.end()
    patched = bytearray(b"".join(pieces))
    for start, wanted in dump.patches:
        patched[start : start + len(wanted)] = wanted
    assert bytes(patched) == written
    assert dump.is_quoted
    return written.replace(dump.mark, b"$MARK$"), dump.map_tables()


def parts(text: bytes) -> list[tuple[bool, bytes]]:
    """Split what is quoted from what is left to whoever restores."""
    found = text.split(b"$MARK$")
    return [(number % 2 == 0, part.strip()) for number, part in enumerate(found)]


def test_the_apps_statements_are_quoted_and_no_others() -> None:
    written, rows = read([DUMP])
    assert rows == ROWS
    apps = b"\n".join(part for quoted, part in parts(written) if quoted)
    ours = b"\n".join(part for quoted, part in parts(written) if not quoted)
    for statement in (
        b"SET statement_timeout",
        b"CREATE FUNCTION f()",
        b"COMMENT ON FUNCTION",
        b"setval",
        b"PROCEDURE p()",
    ):
        assert statement in apps
    assert b"COPY public.fake (id) FROM stdin;\n\\.\n" in apps
    assert b'public.people (id, "a name", "odd "" one")' in apps  # what target() is asked
    for statement in (b"CREATE EXTENSION", b'"theirs; -- $a$"', b"COPY :target FROM stdin;\n1\tx", b"lowrite"):
        assert statement in ours
    assert ours.count(b"COPY :target") == len(ROWS) + 1
    assert b"BEGIN" not in ours
    assert b"COMMIT" not in ours
    assert b"\\unrestrict abc\nCOMMIT" in apps  # inside the function, as it was
    assert b"restrict" not in ours


def test_a_dump_byte_by_byte() -> None:
    assert read([bytes([byte]) for byte in DUMP])[1] == ROWS


@given(st.lists(st.integers(0, len(DUMP)), max_size=20))
def test_a_dump_in_any_pieces(cuts: list[int]) -> None:
    edges = sorted({0, len(DUMP), *cuts})
    pieces = [DUMP[start:end] for start, end in pairwise(edges)]
    assert read(pieces) == read([DUMP])


def test_the_mark_is_another_each_time_and_a_dollar_quote() -> None:
    marks = {PlainDump("app").mark for _ in range(100)}
    assert len(marks) == 100
    assert all(mark[:1] == mark[-1:] == b"$" and mark[1:-1].isalpha() for mark in marks)


@pytest.mark.parametrize(
    "text",
    [b"'it''s", b'"a""b', b"$$ $a$ ' ", b"$a$ $$ $b$ '", b"/* /* */ '", b"E'\\'", b"'\\' '", b"a$b$ '", b"-- '\n'"],
)
def test_what_stands_inside_quotes_is_left_alone(text: bytes) -> None:
    dump = PlainDump("app")
    given = b"SELECT 1 " + text + b"\nBEGIN;\n\\restrict x\nCOPY a.b (c) FROM stdin;\n"
    assert dump.feed(given) + dump.end() == given
    assert dump.patches == []


def test_where_there_is_no_room_it_says_so() -> None:
    with pytest.raises(UnexpectedDump):
        PlainDump("app").feed(b"SELECT 1;\nCOPY a.b (c) FROM stdin;\n")


def test_a_table_with_a_line_end_in_its_name_is_refused_and_not_left_out() -> None:
    comment = b"--\n-- Name: odd; Type: TABLE DATA; Schema: public; Owner: app\n--\n\n"
    with pytest.raises(UnexpectedDump):
        PlainDump("app", []).feed(comment + b'COPY public."od\nd" (id) FROM stdin;\n1\n')

"""SQL is read whole: all of an ordinary file, however long, and nothing that would keep the parser busy for hours."""

from __future__ import annotations

import asyncio

import pytest

from ikoma.errors import NotAQuery, SqlFailed
from ikoma.postgres.clients import query
from ikoma.postgres.migrations.lint import lint
from ikoma.postgres.sql import parser, statements

FUNCTION = "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC\n"


@pytest.mark.parametrize(
    "text",
    [
        "/*" * 100_000,
        "/*" * 100_000 + "*/" * 100_000,
        "/**/" * 50_000,
        "SELECT " + "+" * 200_000 + "1",
        "SELECT " + "-+" * 100_000 + "1",
        "SELECT " + "=-" * 100_000 + "1",
        ("SELECT " + "+" * 2000 + "1;\n") * 100,
        "SELECT '" + "/*" * 100_000 + "'",
    ],
)
def test_what_the_scanner_would_go_through_again_and_again_is_refused(text: str) -> None:
    with pytest.raises(SqlFailed, match="side by side"):
        statements.check("1.sql", text)
    with pytest.raises(NotAQuery, match="side by side"):
        query._require_one(text)
    assert statements.split(text) == []
    assert "side by side" in lint(text).reasons[0]


@pytest.mark.parametrize(
    "line",
    [
        "-" * 120,
        "-- " + "=" * 120,
        "-- +" + "-----+" * 20,
        "-- " + "+-" * 60,
        "-- " + "/*" * 40,
        "/" + "*" * 120 + "/",
        "/" + "*" * 100_000 + "/",
        "/* " + "-" * 100_000 + " */",
        "/* " + "=+" * 40 + " */",
        "SELECT '" + "+/=" * 40 + "';",
        "SELECT 5 @-5, 1 - -1, 2 * (3 / 4) % 5 <> -6;",
    ],
)
def test_rulers_and_banners_are_ordinary(line: str) -> None:
    text = f"{line}\n" * (500 if len(line) < 200 else 3) + "SELECT 'last';"
    statements.check("1.sql", text)
    assert statements.split(text)[-1].text == "SELECT 'last'"


def test_too_many_semicolons_are_refused() -> None:
    with pytest.raises(SqlFailed, match="semicolons"):
        statements.check("1.sql", ";" * 1_000_001)


def test_a_very_long_query_is_refused() -> None:
    with pytest.raises(NotAQuery, match="longer than"):
        query._require_one("SELECT 1" + " " * (1 << 20))


def test_a_very_long_statement_is_refused() -> None:
    with pytest.raises(SqlFailed, match="longer than 8 MiB"):
        statements.check("1.sql", f"SELECT 1;\nSELECT '{'x' * (9 << 20)}'")


def test_a_long_file_is_read_whole_and_in_order() -> None:
    """The file is parsed in pieces, and a function that lies over the edge of one is not cut."""
    line = "SELECT 'ü; 1' AS a;\n"
    many = (1 << 20) // len(line) - 1
    text = line * many + FUNCTION + "SELECT 1; SELECT 2;\n" * 1000 + "END;\n" + line * many + "SELECT 'last';"
    statements.check("1.sql", text)
    known = statements.split(text)
    assert [item.number for item in known] == list(range(1, 2 * many + 3))
    assert known[many].text.endswith("END")
    assert known[many + 1].line == many + 1003
    assert known[-1].text == "SELECT 'last'"
    assert all(text[item.start :].startswith(item.text) for item in known)


@pytest.mark.parametrize("hidden", ["COMMIT", "BEGIN", "COPY t FROM STDIN"])
def test_what_has_no_place_is_found_far_down(hidden: str) -> None:
    line = "SELECT 'x';\n"
    text = line * 120_000 + f"{hidden};\n" + line
    with pytest.raises(SqlFailed) as caught:
        statements.check("1.sql", text)
    assert (caught.value.details["line"], caught.value.details["statement"]) == (120_001, 120_001)


@pytest.mark.parametrize("broken", ["SELEC 'ü';", "SELECT 'no end;"])
def test_a_mistake_far_down_is_found_where_it_is(broken: str) -> None:
    text = "SELECT 'ü';\n" * 120_000 + f"{broken}\n"
    with pytest.raises(SqlFailed) as caught:
        statements.check("1.sql", text)
    assert (caught.value.details["line"], caught.value.details["statement"]) == (120_001, 120_001)
    assert caught.value.details["sql"].rstrip(";") == broken.rstrip(";")


def test_a_mistake_behind_a_functions_body_is_told_at_once() -> None:
    text = f"SELECT 1;\n{FUNCTION}" + "SELECT 1;\n" * 40_000 + "END oops"
    with pytest.raises(SqlFailed, match="oops") as caught:
        statements.check("1.sql", text)
    assert caught.value.details["line"] == 40_003


def test_a_mistake_in_a_short_functions_body_shows_the_function() -> None:
    text = f"SELECT 1;\n{FUNCTION}" + "SELECT 1;\n" * 20 + "END oops"
    with pytest.raises(SqlFailed) as caught:
        statements.check("1.sql", text)
    assert caught.value.details["statement"] == 2
    assert caught.value.details["sql"].startswith("CREATE FUNCTION")


@pytest.mark.parametrize("more", ["+1", " OR 1", "::int", " IS NULL", " UNION ALL SELECT 1"])
@pytest.mark.parametrize("many", [3000, 100_000])
def test_what_is_nested_deep_ends_nothing(more: str, many: int) -> None:
    """The tree of a statement is as deep as it is nested, and C has only so much room for it."""
    text = f"SELECT 1{more * many}"
    verdict = asyncio.run(parser.read(lint, text))
    assert verdict.unknown == (len(text) > parser.LONGEST_TREE)
    with pytest.raises(SqlFailed):
        asyncio.run(parser.read(statements.check, "1.sql", f"COPY ({text}) TO STDOUT"))


def test_the_deepest_tree_fits() -> None:
    text = f"SELECT 1{'+1' * ((parser.LONGEST_TREE - 8) // 2)}"
    assert not asyncio.run(parser.read(lint, text)).unknown


def test_more_than_can_be_judged_is_told() -> None:
    verdict = lint("UPDATE t SET a = 1 WHERE b = 2;\n" * 100_000 + "SELECT 1;")
    assert verdict.unknown
    assert len([warning for warning in verdict.warnings if "too long to be judged" in warning]) == 1


def test_a_long_list_of_rows_is_judged() -> None:
    verdict = lint("INSERT INTO t (a) VALUES (1)" + ", (1)" * 50_000)
    assert [str(lock) for lock in verdict.locks] == ["t: ROW EXCLUSIVE"]
    assert not verdict.unknown


def test_a_persons_word_counts_where_it_is_a_comment() -> None:
    row = "INSERT INTO t VALUES ('-- ikoma: compatible');\n"
    rows = row * 1000
    assert not lint(f"DROP TABLE a;\n{rows}").compatible
    assert lint(f"{row * 50}-- ikoma: compatible\nDROP TABLE a;\n").compatible
    assert lint(f"-- ikoma: compatible\nDROP TABLE a;\n{rows}").compatible
    for hidden in ("'a\n%s\n'", "$$\n%s\n$$", '"a\n%s\n"', "/* \n%s\n */ 1", "E'\\'\n%s\n'"):
        assert not lint(f"DROP TABLE a; SELECT {hidden % '-- ikoma: compatible'};").compatible

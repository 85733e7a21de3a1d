"""PostgreSQL's own parser, in threads of its own, and how much SQL it is given.

Nothing can stop the parser once it runs, so what it is given is bounded before. It takes the square of the time for
runs of some operators, and the C stack for what is nested; a tree of the whole text has a hundred times its size.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

_MOST_WORK = 1 << 25
"""Limit of characters that are looked at again: a tenth of a second."""
_EACH_RUN = 64
"""Cost of looking at one here."""
_AT_ONCE = 128 << 10
"""Characters that are searched before others may run."""
_MOST_SEMICOLONS = 1_000_000
LONGEST_TREE = 64 << 10
"""Characters of one statement of which a tree is made: two may nest one deeper."""
_STACK = 64 << 20

_RUN = re.compile(r"[~!@#^&|`?+\-*/%<>=]{9,}")
_AGAIN = re.compile(r"/\*|\+|(?<!-)-(?!-)")
_Given = ParamSpec("_Given")
_Gives = TypeVar("_Gives")
_readers = ThreadPoolExecutor(2, thread_name_prefix="sql")


async def read(work: Callable[_Given, _Gives], *arguments: _Given.args, **more: _Given.kwargs) -> _Gives:
    """Run what reads SQL in a thread that nothing else waits for, with a stack for what is nested."""
    before = threading.stack_size(_STACK)
    try:  # a pool starts its threads as work comes
        reading = _readers.submit(work, *arguments, **more)
    finally:
        threading.stack_size(before)
    return await asyncio.wrap_future(reading)


def find_excess(sql: str) -> tuple[int, str, str] | None:
    """The reason why the parser is not given this text: offset, problem and what to do; None where it may read it."""
    work = 0
    for begin in range(0, len(sql), _AT_ONCE):
        for run in _RUN.finditer(sql, begin, begin + _AT_ONCE):
            # From each of these the scanner goes through the rest of the run, and gives it back.
            work += _EACH_RUN + len(run[0]) * sum(1 for _ in _AGAIN.finditer(run[0]))
            if work > _MOST_WORK:
                hint = "Put spaces between operators, and no comments right behind each other."
                return run.start(), "there are too many operator characters side by side", hint
    if sql.count(";") > _MOST_SEMICOLONS:
        return 0, f"there are more than {_MOST_SEMICOLONS:,} semicolons", "Split the file."
    return None


def parse_tree(sql: str) -> tuple[Any, ...] | None:
    """One statement as the parser reads it; None where it is too long for that.

    Raises:
        ParseError: it cannot be read.
    """
    from pglast import parse_sql

    return None if len(sql) > LONGEST_TREE else parse_sql(sql)

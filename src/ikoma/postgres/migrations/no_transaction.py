"""The mark `-- ikoma: no-transaction` in the first lines of a file, and which statements may stand in such a file.

They run one by one, and where the run ends between two of them it begins anew with the first. So only what has no
place in a transaction, or bears to be outside, is taken, and only in a form that may run twice.
"""

from __future__ import annotations

import re
from typing import Any

_MARK = re.compile(r"--[ \t\f\v]*ikoma:[ \t]*no-transaction[ \t]*")
_LINE = re.compile(r"[\r\n]")
MARK = "no-transaction"
BEGIN = f"begin a file of its own with `-- ikoma: {MARK}`"
_TAKEN = (
    "It takes CREATE INDEX CONCURRENTLY IF NOT EXISTS, DROP INDEX CONCURRENTLY IF EXISTS, REINDEX CONCURRENTLY, VACUUM,"
    " ANALYZE, ALTER TYPE ADD VALUE IF NOT EXISTS, and SET. Move the rest to another migration."
)
_REINDEXED = ("REINDEX_OBJECT_INDEX", "REINDEX_OBJECT_TABLE")
_TWICE = "cannot run twice, as it would after a run that was cut off"


def is_marked(sql: str) -> bool:
    """Whether a file's first lines, before anything else, say that it runs without a transaction."""
    for line in _LINE.split(sql.removeprefix("\ufeff")):
        if _MARK.fullmatch(line.strip()):
            return True
        if line.strip() and not line.lstrip().startswith("--"):
            break
    return False


def fits(node: Any) -> bool:
    """Whether a statement has its place in such a file, written as `find_fault` wants it."""
    match type(node).__name__:
        case "IndexStmt":
            return bool(node.concurrent)
        case "DropStmt":
            return bool(node.concurrent) and node.removeType.name == "OBJECT_INDEX"
        case "ReindexStmt":
            return is_concurrent_reindex(node) and node.kind.name in _REINDEXED
        case "AlterEnumStmt":
            return node.oldVal is None
        case "VariableSetStmt":
            return not node.is_local
    return type(node).__name__ == "VacuumStmt"


def find_fault(node: Any) -> tuple[str, str] | None:
    """The reason why a statement may not stand in such a file, and the smallest change."""
    if not fits(node):
        return "has no place in a file without a transaction", _TAKEN
    match type(node).__name__:
        case "IndexStmt" if not (node.idxname and node.if_not_exists):
            return _TWICE, "Write CREATE INDEX CONCURRENTLY IF NOT EXISTS, and a name for the index."
        case "DropStmt" if not node.missing_ok:
            return _TWICE, "Write DROP INDEX CONCURRENTLY IF EXISTS."
        case "AlterEnumStmt" if not node.skipIfNewValExists:
            return _TWICE, "Write ADD VALUE IF NOT EXISTS."
    return None


def lets_others_work(node: Any) -> bool:
    """Whether nobody has to wait for a statement that waits for a lock."""
    full = any(option.defname == "full" for option in getattr(node, "options", None) or ())
    return type(node).__name__ in ("IndexStmt", "DropStmt", "ReindexStmt", "VacuumStmt") and not full


def is_concurrent_reindex(node: Any) -> bool:
    """Whether REINDEX says CONCURRENTLY."""
    return any(item.defname == "concurrently" for item in node.params or ())

"""Statements of a migration that the release before cannot live with.

While a deploy goes on, and after a rollback, the previous release runs on the new tables. Each rule names what it finds
and the safer way, which mostly is the same in two releases. A rule that knows too little says that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from ikoma.postgres.migrations import no_transaction
from ikoma.postgres.migrations.nodes import list_columns, walk
from ikoma.postgres.migrations.refusals import needs_no_transaction
from ikoma.postgres.migrations.schema import KnownSchema, find_kind
from ikoma.postgres.migrations.table_rules import FIRST, LATER, LintFinding, judge_command

_BOTH = "add the new name beside it, write both for one release, and drop the old one in the next"
_READ = "read it, and mark the file `-- ikoma: breaking` if the previous release cannot live with it"
_HARMLESS_DROPS = frozenset({"INDEX", "TRIGGER", "POLICY", "RULE", "STATISTIC_EXT", "PUBLICATION", "EVENT_TRIGGER"})
_OF_TABLES = frozenset({"TRIGGER", "POLICY", "RULE"})
_CAN_BE_MADE_AGAIN = frozenset({"VIEW", "MATVIEW", "FUNCTION", "PROCEDURE", "AGGREGATE", "ROUTINE"})
_ROWS = ("SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CreateTableAsStmt", "ExplainStmt")


def judge(
    node: Any, command: Any, schema: KnownSchema, made_again: Collection[tuple[str, str]], *, outside: bool
) -> Iterator[LintFinding]:
    """Findings of one statement, or of one command of an ALTER TABLE.

    Args:
        made_again: what the same file makes: a view that it drops and makes is not gone.
        outside: whether the file runs without a transaction.
    """
    kind = type(node).__name__
    if outside and (fault := no_transaction.find_fault(node)):
        yield LintFinding(fault[0], f"it will be refused. {fault[1].removesuffix('.')}", breaks=False)
    elif not outside and needs_no_transaction(node, command):
        way = (
            no_transaction.BEGIN if no_transaction.fits(node) else "a person at the server can run it with `ikoma psql`"
        )
        yield LintFinding("cannot run in a migration's transaction", f"it will be refused; {way}", breaks=False)
    if kind == "AlterTableStmt":
        yield from judge_command(node, command, schema)
    elif kind == "DropStmt":
        yield from _drop(node, schema, made_again)
    elif kind in _ROWS:
        yield from _judge_rows(node, schema)
    elif rule := _RULES.get(kind):
        yield from rule(node, schema)


# --- dropping and renaming ---------------------------------------------------------------------------------


def _drop(node: Any, schema: KnownSchema, made_again: Collection[tuple[str, str]]) -> Iterator[LintFinding]:
    kind = node.removeType.name.removeprefix("OBJECT_")
    word = kind.replace("_", " ").lower().replace("matview", "materialized view").replace("statistic ext", "statistics")
    for item in node.objects:
        name, table = _describe_dropped(kind, item, schema)
        if schema.is_made_here(kind, name) or (table is not None and schema.is_new(table)):
            continue
        if kind in _HARMLESS_DROPS:
            if kind in _OF_TABLES and (kind, name) not in made_again:
                yield LintFinding(
                    f"drops the {word} {name}", "see that the previous release can do without", breaks=False
                )
            elif kind == "INDEX" and (name not in schema.indexes or schema.indexes[name].unique):
                advice = "an ON CONFLICT of the previous release fails if it was a unique one that it names"
                yield LintFinding(f"drops the index {name}", advice, breaks=False)
        elif kind in _CAN_BE_MADE_AGAIN and (find_kind(kind), name) in made_again:
            advice = "see that all that the previous release uses of it is still there"
            yield LintFinding(f"drops the {word} {name} and makes it again", advice, breaks=False, unknown=True)
        else:
            yield LintFinding(f"drops the {word} {name}", LATER)


def _describe_dropped(kind: str, item: Any, schema: KnownSchema) -> tuple[str, str | None]:
    """The name of what is dropped, and the table that it is of, where it is part of one."""
    if kind in _OF_TABLES:
        table = schema.name_dotted(item[:-1])
        return f"{item[-1].sval} on {table}", table
    if hasattr(item, "objname"):
        return schema.name_dotted(item.objname), None
    if hasattr(item, "names"):
        return schema.name_dotted(item.names), None
    if hasattr(item, "sval"):
        return str(item.sval), None
    strings = [part for part in item if hasattr(part, "sval")]
    return (schema.name_dotted(strings) if strings else "between two types"), None


def _rename(node: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    kind = node.renameType.name.removeprefix("OBJECT_")
    word = {"TABCONSTRAINT": "constraint", "DOMCONSTRAINT": "constraint", "MATVIEW": "materialized view"}.get(
        kind, kind.replace("_", " ").lower()
    )
    if node.relation is None:
        name = node.subname or _name_object(node.object, schema)
        is_new = schema.is_made_here(kind, name)
    else:
        table = schema.name_relation(node.relation)
        part = node.subname
        name = f"{table}.{part}" if part else table
        is_new = schema.is_new(table) or schema.is_made_here(kind, table)
        is_new = is_new or (kind == "COLUMN" and schema.are_all_new(table, [part]))
    if not is_new:
        yield LintFinding(f"renames the {word} {name} to {node.newname}", _BOTH)


def _move(node: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    kind = node.objectType.name.removeprefix("OBJECT_")
    name = schema.name_relation(node.relation) if node.relation is not None else _name_object(node.object, schema)
    if not schema.is_made_here(kind, name):
        yield LintFinding(f"moves {name} to the schema {node.newschema}", _BOTH)


def _name_object(node: Any, schema: KnownSchema) -> str:
    if hasattr(node, "objname"):
        return schema.name_dotted(node.objname)
    if hasattr(node, "sval"):
        return str(node.sval)
    if hasattr(node, "names"):
        return schema.name_dotted(node.names)
    return schema.name_dotted([part for part in node if hasattr(part, "sval")]) if node else "something"


# --- rows --------------------------------------------------------------------------------------------------


def _judge_rows(node: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    """Every writing statement in it, and calls of the app's own functions, which may do anything."""
    for item in walk(node):
        match type(item).__name__:
            case "DeleteStmt" if _takes_all(item) and not schema.is_new(schema.name_relation(item.relation)):
                advice = "say which with WHERE, or delete them when no release reads them any more"
                yield LintFinding(f"deletes all rows of {schema.name_relation(item.relation)}", advice)
            case "UpdateStmt" if _takes_all(item):
                table = schema.name_relation(item.relation)
                if not schema.is_new(table) and not schema.are_all_new(table, [one.name for one in item.targetList]):
                    advice = "say which with WHERE, or write the new values into a new column"
                    yield LintFinding(f"changes all rows of {table}", advice)
            case "FuncCall" if schema.knows_function(schema.name_dotted(item.funcname)):
                yield _make_unknown(f"calls the app's own function {schema.name_dotted(item.funcname)}")


def _takes_all(node: Any) -> bool:
    """Whether there is no WHERE, or one that looks at nothing."""
    looks_at = ("ColumnRef", "CurrentOfExpr")
    return node.whereClause is None or not any(type(one).__name__ in looks_at for one in walk(node.whereClause))


def _judge_truncate(node: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    for relation in node.relations:
        if not schema.is_new(schema.name_relation(relation)):
            advice = "delete them when no release reads them any more"
            yield LintFinding(f"truncates {schema.name_relation(relation)}", advice)


# --- the rest ----------------------------------------------------------------------------------------------


def _make_unknown(what: str) -> LintFinding:
    return LintFinding(f"{what}, which cannot be judged", _READ, breaks=False, unknown=True)


def _judge_index(node: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    table = schema.name_relation(node.relation)
    columns = [item.name for item in node.indexParams if item.name] + list_columns(node.indexParams)
    if node.unique and not schema.is_new(table) and not schema.are_all_new(table, columns):
        yield LintFinding(f"adds a UNIQUE index to {table}", FIRST)
    if not node.concurrent and not schema.is_new(table):
        advice = f"where {table} is large write CREATE INDEX CONCURRENTLY IF NOT EXISTS, and {no_transaction.BEGIN}"
        yield LintFinding(f"builds an index while writes to {table} wait", advice, breaks=False)


def _judge_enum(node: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    name = schema.name_dotted(node.typeName)
    if schema.is_made_here("TYPE", name):
        return
    if node.oldVal is not None:
        yield LintFinding(f"renames the value {node.oldVal!r} of the enum {name}", _BOTH)
    else:
        advice = "the previous release may read it: see that it can"
        yield LintFinding(f"adds the value {node.newVal!r} to the enum {name}", advice, breaks=False)


def _judge_domain(node: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    name = schema.name_dotted(node.typeName)
    if node.subtype in ("C", "O") and not schema.is_made_here("DOMAIN", name):
        yield LintFinding(f"makes the domain {name} stricter", FIRST)


def _revoke(node: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    relations = [item for item in getattr(node, "objects", None) or () if hasattr(item, "relname")]
    if node.is_grant or (relations and all(schema.is_new(schema.name_relation(item)) for item in relations)):
        return
    names = ", ".join(schema.name_relation(item) for item in relations)
    advice = "take them away when no release needs them any more"
    yield LintFinding(f"revokes rights{f' on {names}' if names else ''}", advice)


def _judge_owner(node: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    yield LintFinding("gives something to another owner", "leave it with the app's own role")


def _drop_owned(node: Any, schema: KnownSchema) -> Iterator[LintFinding]:
    yield LintFinding("drops all that a role owns", "drop one thing after the other, by its name")


_RULES: dict[str, Callable[[Any, KnownSchema], Iterator[LintFinding]]] = {
    "RenameStmt": _rename,
    "AlterObjectSchemaStmt": _move,
    "AlterOwnerStmt": _judge_owner,
    "ReassignOwnedStmt": _judge_owner,
    "DropOwnedStmt": _drop_owned,
    "TruncateStmt": _judge_truncate,
    "IndexStmt": _judge_index,
    "AlterEnumStmt": _judge_enum,
    "AlterDomainStmt": _judge_domain,
    "GrantStmt": _revoke,
    "GrantRoleStmt": _revoke,
    "DoStmt": lambda node, schema: iter((_make_unknown("runs a DO block"),)),
    "CallStmt": lambda node, schema: iter((_make_unknown("calls a procedure"),)),
    "ExecuteStmt": lambda node, schema: iter((_make_unknown("executes a prepared statement"),)),
}

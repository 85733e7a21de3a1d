"""The locks that the statements of a migration take on tables, and whether they read or rewrite them whole.

As PostgreSQL 18 does it; where the text alone does not tell, the stronger is said. What is new in the same run is left
out, since nobody waits for it, and so are locks that only keep a table from being dropped (ACCESS SHARE).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ikoma.postgres.migrations.nodes import Type, keeps_value, walk
from ikoma.postgres.migrations.schema import KnownSchema, make_column


class Lock(IntEnum):
    """PostgreSQL's own modes, the weakest first."""

    ROW_SHARE = 2
    ROW_EXCLUSIVE = 3
    SHARE_UPDATE_EXCLUSIVE = 4
    SHARE = 5
    SHARE_ROW_EXCLUSIVE = 6
    EXCLUSIVE = 7
    ACCESS_EXCLUSIVE = 8

    def __str__(self) -> str:
        return self.name.replace("_", " ")

    @property
    def blocks(self) -> str:
        """The work that has to wait while it is held: "reads and writes", "writes", or "" where neither has."""
        if self is Lock.ACCESS_EXCLUSIVE:
            return "reads and writes"
        return "writes" if self >= Lock.SHARE else ""


@dataclass(frozen=True, slots=True)
class TableLock:
    """The strongest lock on one table. It is held until the migration's end."""

    table: str
    mode: Lock
    rewritten: bool = False
    scanned: bool = False

    def __str__(self) -> str:
        work = "rewritten" if self.rewritten else "scanned" if self.scanned else ""
        return f"{self.table}: {self.mode}{', ' if work else ''}{work}"

    def merge(self, other: TableLock) -> TableLock:
        """Both on the same table, as one."""
        return TableLock(
            self.table,
            max(self.mode, other.mode),
            self.rewritten or other.rewritten,
            self.scanned or other.scanned,
        )


_X = Lock.ACCESS_EXCLUSIVE
_COMMANDS = {
    "AT_SetStatistics": Lock.SHARE_UPDATE_EXCLUSIVE,
    "AT_SetOptions": Lock.SHARE_UPDATE_EXCLUSIVE,
    "AT_ResetOptions": Lock.SHARE_UPDATE_EXCLUSIVE,
    "AT_ClusterOn": Lock.SHARE_UPDATE_EXCLUSIVE,
    "AT_DropCluster": Lock.SHARE_UPDATE_EXCLUSIVE,
    "AT_ValidateConstraint": Lock.SHARE_UPDATE_EXCLUSIVE,
    "AT_AttachPartition": Lock.SHARE_UPDATE_EXCLUSIVE,
    **dict.fromkeys(
        (f"AT_{verb}Trig{which}" for verb in ("Enable", "Disable") for which in ("", "All", "User")),
        Lock.SHARE_ROW_EXCLUSIVE,
    ),
    "AT_EnableAlwaysTrig": Lock.SHARE_ROW_EXCLUSIVE,
    "AT_EnableReplicaTrig": Lock.SHARE_ROW_EXCLUSIVE,
}
_REWRITING = frozenset({"AT_SetLogged", "AT_SetUnLogged", "AT_SetAccessMethod", "AT_SetTableSpace"})
_SCANNING = frozenset({"AT_SetNotNull", "AT_ValidateConstraint"})
_MILD_OPTIONS = ("autovacuum", "toast.autovacuum", "fillfactor", "parallel_workers", "toast_tuple_target", "log_auto")
_STEADY = frozenset({"now", "transaction_timestamp", "statement_timestamp", "lower", "upper", "concat", "coalesce"})
_OF_TABLES = {"OBJECT_TRIGGER": _X, "OBJECT_POLICY": _X, "OBJECT_RULE": _X}
_RELATIONS = ("OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE")


def merge(locks: Iterator[TableLock]) -> tuple[TableLock, ...]:
    """The strongest of each table, the strongest first."""
    found: dict[str, TableLock] = {}
    for lock in locks:
        found[lock.table] = found[lock.table].merge(lock) if lock.table in found else lock
    return tuple(sorted(found.values(), key=lambda lock: (-lock.mode, lock.table)))


def find_locks(node: Any, command: Any, schema: KnownSchema) -> Iterator[TableLock]:
    """The locks that one statement, or one command of an ALTER TABLE, takes on what was there before."""
    for lock in _find_all(node, command, schema):
        if not schema.is_new(lock.table) and not schema.is_made_here("VIEW", lock.table):
            yield lock


def _find_all(node: Any, command: Any, schema: KnownSchema) -> Iterator[TableLock]:
    match type(node).__name__:
        case "AlterTableStmt" if node.objtype.name in _RELATIONS:
            yield from _find_of_alter(schema.name_relation(node.relation), command, schema)
        case "CreateStmt":
            yield from _create(node, schema)
        case "DropStmt":
            yield from _drop(node, schema)
        case "RenameStmt" | "AlterObjectSchemaStmt" if node.relation is not None:
            kind = node.renameType if hasattr(node, "renameType") else node.objectType
            if kind.name not in ("OBJECT_INDEX", "OBJECT_SEQUENCE", "OBJECT_ATTRIBUTE"):
                yield TableLock(schema.name_relation(node.relation), _X)
        case "IndexStmt":
            mode = Lock.SHARE_UPDATE_EXCLUSIVE if node.concurrent else Lock.SHARE
            yield TableLock(schema.name_relation(node.relation), mode, scanned=True)
        case "CreateTrigStmt":
            yield TableLock(schema.name_relation(node.relation), Lock.SHARE_ROW_EXCLUSIVE)
            if node.constrrel is not None:
                yield TableLock(schema.name_relation(node.constrrel), Lock.SHARE_ROW_EXCLUSIVE)
        case "RuleStmt":
            yield TableLock(schema.name_relation(node.relation), _X)
        case "CreatePolicyStmt" | "AlterPolicyStmt":
            yield TableLock(schema.name_relation(node.table), _X)
        case "ViewStmt" if node.replace:
            yield TableLock(schema.name_relation(node.view), _X)
        case _:
            yield from _find_of_work(node, schema)


def _find_of_work(node: Any, schema: KnownSchema) -> Iterator[TableLock]:
    """Statements that work with rows rather than with definitions."""
    match type(node).__name__:
        case "TruncateStmt":
            for relation in node.relations:
                yield TableLock(schema.name_relation(relation), _X)
        case "LockStmt":
            for relation in node.relations:
                if node.mode >= Lock.ROW_SHARE:
                    yield TableLock(schema.name_relation(relation), Lock(node.mode))
        case "ClusterStmt" if node.relation is not None:
            yield TableLock(schema.name_relation(node.relation), _X, rewritten=True)
        case "RefreshMatViewStmt":
            mode = Lock.EXCLUSIVE if node.concurrent else _X
            yield TableLock(schema.name_relation(node.relation), mode, rewritten=not node.concurrent)
        case "ReindexStmt" if node.relation is not None and node.kind.name == "REINDEX_OBJECT_TABLE":
            yield TableLock(schema.name_relation(node.relation), Lock.SHARE, scanned=True)
        case "VacuumStmt":
            for item in node.rels or ():
                yield TableLock(schema.name_relation(item.relation), Lock.SHARE_UPDATE_EXCLUSIVE, scanned=True)
        case "CreateStatsStmt":
            for relation in node.relations:
                yield TableLock(schema.name_relation(relation), Lock.SHARE_UPDATE_EXCLUSIVE)
        case "CommentStmt" if node.objtype.name in ("OBJECT_TABLE", "OBJECT_COLUMN", "OBJECT_TABCONSTRAINT"):
            parts = node.object if node.objtype.name == "OBJECT_TABLE" else node.object[:-1]
            yield TableLock(schema.name_dotted(parts), Lock.SHARE_UPDATE_EXCLUSIVE)
        case (
            "SelectStmt"
            | "InsertStmt"
            | "UpdateStmt"
            | "DeleteStmt"
            | "MergeStmt"
            | "CreateTableAsStmt"
            | "ExplainStmt"
        ):
            yield from _find_of_rows(node, schema)


def _find_of_rows(node: Any, schema: KnownSchema) -> Iterator[TableLock]:
    """Every writing statement in it: a WITH can hold several."""
    for item in walk(node):
        match type(item).__name__:
            case "InsertStmt":
                yield TableLock(schema.name_relation(item.relation), Lock.ROW_EXCLUSIVE)
            case "UpdateStmt" | "DeleteStmt" | "MergeStmt":
                yield TableLock(schema.name_relation(item.relation), Lock.ROW_EXCLUSIVE, scanned=True)
            case "SelectStmt" if item.lockingClause:
                yield from _find_chosen(item, schema)


def _find_chosen(node: Any, schema: KnownSchema) -> Iterator[TableLock]:
    """The tables of a SELECT … FOR UPDATE: those after OF, which may be other names of theirs, or all."""
    wanted = {relation.relname for clause in node.lockingClause for relation in clause.lockedRels or ()}
    for relation in walk(node.fromClause):
        if type(relation).__name__ == "RangeVar":
            shown = relation.alias.aliasname if relation.alias else relation.relname
            if not wanted or shown in wanted:
                yield TableLock(schema.name_relation(relation), Lock.ROW_SHARE)


# --- definitions -------------------------------------------------------------------------------------------


def _create(node: Any, schema: KnownSchema) -> Iterator[TableLock]:
    for parent in node.inhRelations or ():
        yield TableLock(schema.name_relation(parent), _X if node.partbound is not None else Lock.SHARE_UPDATE_EXCLUSIVE)
    for element in node.tableElts or ():
        for constraint in (element, *(getattr(element, "constraints", None) or ())):
            yield from _find_referenced(constraint, schema)


def _drop(node: Any, schema: KnownSchema) -> Iterator[TableLock]:
    kind = node.removeType.name
    for item in node.objects:
        if kind in _RELATIONS:
            name = schema.name_dotted(item)
            yield TableLock(name, _X)
            if known_table := schema.tables.get(name):
                others = [key.table for key in known_table.references.values()]
                yield from (TableLock(other, _X) for other in (*others, known_table.partition_of) if other)
        elif kind in _OF_TABLES:
            yield TableLock(schema.name_dotted(item[:-1]), _OF_TABLES[kind])
        elif kind == "OBJECT_INDEX":
            name = schema.name_dotted(item)
            known = schema.indexes.get(name)
            mode = Lock.SHARE_UPDATE_EXCLUSIVE if node.concurrent else _X
            yield TableLock(known.table if known else f"the table of the index {name}", mode)


def _find_of_alter(name: str, command: Any, schema: KnownSchema) -> Iterator[TableLock]:
    kind = command.subtype.name
    match kind:
        case "AT_AddColumn":
            column = command.def_
            yield TableLock(name, _X, rewritten=_fills_rows(column), scanned=_is_checked(column))
            for constraint in column.constraints or ():
                yield from _find_referenced(constraint, schema)
        case "AT_AddConstraint":
            yield from _find_of_constraint(name, command.def_, schema)
        case "AT_DropConstraint":
            yield TableLock(name, _X)
            known = schema.tables[name].references.get(command.name) if name in schema.tables else None
            if known:
                yield TableLock(known.table, _X)
        case "AT_AlterColumnType":
            yield from _change_type(name, command, schema)
        case "AT_SetExpression":
            yield TableLock(name, _X, rewritten=True)
        case "AT_AttachPartition" | "AT_DetachPartition" | "AT_AddInherit":
            yield from _join(name, command, schema)
        case "AT_SetRelOptions" | "AT_ResetRelOptions":
            mild = all(option.defname.startswith(_MILD_OPTIONS) for option in command.def_)
            yield TableLock(name, Lock.SHARE_UPDATE_EXCLUSIVE if mild else _X)
        case _:
            mode = _COMMANDS.get(kind, _X)
            yield TableLock(name, mode, rewritten=kind in _REWRITING, scanned=kind in _SCANNING)


def _change_type(name: str, command: Any, schema: KnownSchema) -> Iterator[TableLock]:
    column, wanted = schema.find_column(name, command.name), Type.of(command.def_.typeName)
    widened = column is not None and column.type.widens_to(wanted) and keeps_value(command)
    yield TableLock(name, _X, rewritten=not widened)
    for other in schema.list_tied_tables(name, command.name):  # the foreign keys are made anew
        yield TableLock(other, _X)


def _fills_rows(column: Any) -> bool:
    """Whether each row must get a value of its own, so that all are written again."""
    kinds = {constraint.contype.name: constraint for constraint in column.constraints or ()}
    if generated := kinds.get("CONSTR_GENERATED"):
        return bool(generated.generated_kind == "s")
    made = make_column(column, is_new=True)
    default = kinds.get("CONSTR_DEFAULT")
    calls = [item for item in walk(default) if type(item).__name__ == "FuncCall"] if default else []
    return (made.default and default is None) or any(call.funcname[-1].sval not in _STEADY for call in calls)


def _is_checked(column: Any) -> bool:
    made = make_column(column, is_new=True)
    kinds = {constraint.contype.name for constraint in column.constraints or ()}
    return bool(kinds & {"CONSTR_CHECK", "CONSTR_UNIQUE", "CONSTR_PRIMARY"}) or (made.not_null and not made.default)


def _find_of_constraint(name: str, constraint: Any, schema: KnownSchema) -> Iterator[TableLock]:
    scanned = not constraint.skip_validation and not constraint.indexname
    if constraint.contype.name == "CONSTR_FOREIGN":
        yield TableLock(name, Lock.SHARE_ROW_EXCLUSIVE, scanned=scanned)
        yield from _find_referenced(constraint, schema)
    else:
        yield TableLock(name, _X, scanned=scanned)


def _find_referenced(constraint: Any, schema: KnownSchema) -> Iterator[TableLock]:
    if type(constraint).__name__ == "Constraint" and constraint.contype.name == "CONSTR_FOREIGN":
        yield TableLock(schema.name_relation(constraint.pktable), Lock.SHARE_ROW_EXCLUSIVE)


def _join(name: str, command: Any, schema: KnownSchema) -> Iterator[TableLock]:
    """The two tables of a partition or an inheritance."""
    match command.subtype.name:
        case "AT_AttachPartition":
            yield TableLock(name, Lock.SHARE_UPDATE_EXCLUSIVE)
            yield TableLock(schema.name_relation(command.def_.name), _X, scanned=True)
        case "AT_DetachPartition":
            mode = Lock.SHARE_UPDATE_EXCLUSIVE if command.def_.concurrent else _X
            yield TableLock(name, mode)
            yield TableLock(schema.name_relation(command.def_.name), _X)
        case _:
            yield TableLock(name, _X)
            yield TableLock(schema.name_relation(command.def_), Lock.SHARE_UPDATE_EXCLUSIVE)

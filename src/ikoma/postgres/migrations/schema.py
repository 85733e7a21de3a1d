"""The schema that an app's migrations describe, as far as that can be read from their text.

Applied migrations tell what the previous release knows; what pending ones make is new, and nothing of that release can
depend on it. Names are as SQL would write them: with their schema in front when it is not public.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ikoma.postgres.migrations.nodes import Type, is_value

_SERIAL = frozenset({"serial", "serial2", "serial4", "serial8", "smallserial", "bigserial"})
_KINDS = {
    **dict.fromkeys(("TABLE", "VIEW", "MATVIEW", "SEQUENCE", "INDEX", "FOREIGN_TABLE"), "relation"),
    **dict.fromkeys(("TYPE", "DOMAIN"), "type"),
    **dict.fromkeys(("FUNCTION", "PROCEDURE", "AGGREGATE", "ROUTINE"), "function"),
}


@dataclass(slots=True)
class KnownColumn:
    type: Type
    not_null: bool
    default: bool
    """Whether a row that does not name the column gets a value."""
    is_new: bool
    primary: bool = False


@dataclass(frozen=True, slots=True)
class ForeignKey:
    columns: tuple[str, ...]
    table: str
    referenced: tuple[str, ...]
    """Columns of that table; none where it is its primary key."""


@dataclass(slots=True)
class KnownTable:
    is_new: bool
    columns: dict[str, KnownColumn] = field(default_factory=dict)
    references: dict[str, ForeignKey] = field(default_factory=dict)
    """By name."""
    partition_of: str | None = None


@dataclass(slots=True)
class Index:
    table: str
    unique: bool


class KnownSchema:
    """Grows statement by statement. `pending` says whether what comes now is new to the previous release."""

    def __init__(self) -> None:
        self.pending = False
        self.tables: dict[str, KnownTable] = {}
        self.indexes: dict[str, Index] = {}
        self._objects: dict[tuple[str, str], bool] = {}
        self._path = "public"

    def begin(self, *, pending: bool) -> None:
        """A file begins, in a session of its own."""
        self.pending = pending
        self._path = "public"

    def is_new(self, table: str) -> bool:
        return table in self.tables and self.tables[table].is_new

    def find_column(self, table: str, name: str) -> KnownColumn | None:
        return self.tables[table].columns.get(name) if table in self.tables else None

    def are_all_new(self, table: str, columns: list[str]) -> bool:
        """Whether the previous release knows none of these columns; of no columns that cannot be said."""
        found = [self.find_column(table, name) for name in columns]
        return bool(found) and all(column is not None and column.is_new for column in found)

    def list_tied_tables(self, table: str, name: str) -> list[str]:
        """Tables on the other side of foreign keys that this column is part of, as far as is known."""
        own = self.tables[table].references.values() if table in self.tables else ()
        found = [key.table for key in own if name in key.columns]
        column = self.find_column(table, name)
        for other, known in self.tables.items():
            for key in known.references.values():
                is_part = name in key.referenced if key.referenced else column is None or column.primary
                if key.table == table and is_part:
                    found.append(other)
        return found

    def is_made_here(self, kind: str, name: str) -> bool:
        """Whether the object was made by a pending migration. `kind` is a word of SQL, such as VIEW."""
        if kind in ("TABLE", "FOREIGN_TABLE") and name in self.tables:
            return self.tables[name].is_new
        return self._objects.get((find_kind(kind), name), False)

    def knows_function(self, name: str) -> bool:
        return ("function", name) in self._objects

    # --- names ---

    def name_relation(self, node: Any) -> str:
        """The name of a RangeVar."""
        return self._qualify(node.schemaname, node.relname)

    def name_dotted(self, parts: Any) -> str:
        """The name of a list of strings, the last of which is the object's own."""
        names = [part.sval for part in parts]
        return self._qualify(names[-2] if len(names) > 1 else None, names[-1])

    def _qualify(self, schema: str | None, name: str) -> str:
        schema = schema or self._path
        return name if schema == "public" else f"{schema}.{name}"

    # --- growing ---

    def learn(self, node: Any, command: Any = None) -> None:
        """Take in one statement, or one command of an ALTER TABLE."""
        for key in self.list_created(node):
            self._objects.setdefault(key, self.pending)
        match type(node).__name__:
            case "CreateStmt" | "CreateForeignTableStmt":
                self._learn_table(getattr(node, "base", None) or node)
            case "CreateTableAsStmt":
                self.tables.setdefault(self.name_relation(node.into.rel), KnownTable(self.pending))
            case "CreateSchemaStmt":
                self._learn_schema(node)
            case "IndexStmt" if node.idxname:
                table = self.name_relation(node.relation)
                schema = f"{table.rpartition('.')[0]}." if "." in table else ""
                self.indexes[schema + node.idxname] = Index(table, node.unique)
            case "AlterTableStmt" if command is not None:
                self._learn_command(self.name_relation(node.relation), command)
            case "RenameStmt" if node.relation is not None:
                self._learn_name(node)
            case "DropStmt" if node.removeType.name == "OBJECT_TABLE":
                for parts in node.objects:
                    self.tables.pop(self.name_dotted(parts), None)
                    self._objects.pop(("relation", self.name_dotted(parts)), None)
            case "VariableSetStmt" if node.name == "search_path":
                named = [str(getattr(item.val, "sval", "")) for item in node.args or ()]
                self._path = next((name for name in named if name and name != "$user"), "public")

    def list_created(self, node: Any) -> Iterator[tuple[str, str]]:
        """Kind and name of each thing that a statement makes."""
        match type(node).__name__:
            case "CreateStmt" | "ViewStmt" | "CreateSeqStmt" | "CreateForeignTableStmt":
                node = getattr(node, "base", None) or node
                found = next(getattr(node, slot) for slot in ("view", "sequence", "relation") if hasattr(node, slot))
                yield "relation", self.name_relation(found)
            case "CreateTableAsStmt":
                yield "relation", self.name_relation(node.into.rel)
            case "CreateEnumStmt" | "CreateRangeStmt":
                yield "type", self.name_dotted(node.typeName)
            case "CreateDomainStmt":
                yield "type", self.name_dotted(node.domainname)
            case "CompositeTypeStmt":
                yield "type", self.name_relation(node.typevar)
            case "CreateFunctionStmt":
                yield "function", self.name_dotted(node.funcname)
            case "DefineStmt":
                kind = node.kind.name.removeprefix("OBJECT_")
                yield find_kind(kind), self.name_dotted(node.defnames)
            case "CreateSchemaStmt" if node.schemaname:
                yield "SCHEMA", node.schemaname
            case "CreateExtensionStmt":
                yield "EXTENSION", node.extname
            case "CreateTrigStmt":
                yield "TRIGGER", f"{node.trigname} on {self.name_relation(node.relation)}"
            case "CreatePolicyStmt":
                yield "POLICY", f"{node.policy_name} on {self.name_relation(node.table)}"
            case "RuleStmt":
                yield "RULE", f"{node.rulename} on {self.name_relation(node.relation)}"

    def _learn_schema(self, node: Any) -> None:
        before, self._path = self._path, node.schemaname or self._path
        for element in node.schemaElts or ():
            self.learn(element)
        self._path = before

    def _learn_table(self, node: Any) -> None:
        name = self.name_relation(node.relation)
        if name in self.tables:
            return
        table = self.tables[name] = KnownTable(self.pending)
        if node.partbound is not None:
            table.partition_of = self.name_relation(node.inhRelations[0])
        for element in node.tableElts or ():
            if type(element).__name__ == "ColumnDef":
                self._add_column(name, table, element)
            elif type(element).__name__ == "Constraint":
                self._add_constraint(name, table, element)

    def _add_column(self, name: str, table: KnownTable, node: Any) -> None:
        table.columns.setdefault(node.colname, make_column(node, is_new=self.pending))
        for constraint in node.constraints or ():
            if constraint.contype.name == "CONSTR_FOREIGN":
                self._add_constraint(name, table, constraint, (node.colname,))

    def _add_constraint(self, name: str, table: KnownTable, node: Any, columns: tuple[str, ...] = ()) -> None:
        match node.contype.name:
            case "CONSTR_PRIMARY" | "CONSTR_NOTNULL":
                for key in node.keys or ():
                    if column := table.columns.get(key.sval):
                        column.not_null = True
                        column.primary = column.primary or node.contype.name == "CONSTR_PRIMARY"
            case "CONSTR_FOREIGN":
                columns = columns or tuple(key.sval for key in node.fk_attrs or ())
                known = node.conname or "_".join((name.rpartition(".")[2], *columns, "fkey"))
                referenced = tuple(key.sval for key in node.pk_attrs or ())
                table.references[known] = ForeignKey(columns, self.name_relation(node.pktable), referenced)

    def _learn_command(self, name: str, command: Any) -> None:
        table = self.tables.setdefault(name, KnownTable(is_new=False))
        column = table.columns.get(command.name or "")
        match command.subtype.name:
            case "AT_AddColumn":
                self._add_column(name, table, command.def_)
            case "AT_AddConstraint":
                self._add_constraint(name, table, command.def_)
            case "AT_AttachPartition":
                self.tables.setdefault(
                    self.name_relation(command.def_.name), KnownTable(is_new=False)
                ).partition_of = name
            case "AT_DropColumn":
                table.columns.pop(command.name, None)
            case "AT_DropConstraint":
                table.references.pop(command.name, None)
            case "AT_AlterColumnType" if column:
                column.type = Type.of(command.def_.typeName)
            case "AT_SetNotNull" | "AT_DropNotNull" if column:
                column.not_null = command.subtype.name == "AT_SetNotNull"
            case "AT_ColumnDefault" if column:
                column.default = is_value(command.def_)
            case "AT_AddIdentity" | "AT_DropIdentity" if column:
                column.default = command.subtype.name == "AT_AddIdentity"

    def _learn_name(self, node: Any) -> None:
        name = self.name_relation(node.relation)
        table = self.tables.get(name)
        if table is None:
            return
        if node.renameType.name == "OBJECT_TABLE":
            schema = name.rpartition(".")[0]
            self.tables[f"{schema}.{node.newname}" if schema else node.newname] = self.tables.pop(name)
        elif node.renameType.name == "OBJECT_COLUMN" and node.subname in table.columns:
            table.columns[node.newname] = table.columns.pop(node.subname)


def find_kind(word: str) -> str:
    """The kind that shares its names: a view can be dropped only as a view, but no table can have its name."""
    return _KINDS.get(word, word)


def make_column(node: Any, *, is_new: bool) -> KnownColumn:
    """A ColumnDef."""
    kinds = {constraint.contype.name: constraint for constraint in node.constraints or ()}
    own = Type.of(node.typeName)
    default = (
        own.name in _SERIAL
        or "CONSTR_IDENTITY" in kinds
        or "CONSTR_GENERATED" in kinds
        or ("CONSTR_DEFAULT" in kinds and is_value(kinds["CONSTR_DEFAULT"].raw_expr))
    )
    not_null = own.name in _SERIAL or bool(kinds.keys() & {"CONSTR_NOTNULL", "CONSTR_PRIMARY", "CONSTR_IDENTITY"})
    return KnownColumn(own, not_null, default, is_new, "CONSTR_PRIMARY" in kinds)

"""JSON schemas of requests and results, in which each field says what stands below it in the source.

pydantic can read these sentences when a class is made. That reads the source of every capability at every start,
and only the few who ask for a schema want them: so they are read here, when the first of those comes.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import DEFAULT_REF_TEMPLATE, GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


def make_request_schema(request: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of what a caller sends."""
    return request.model_json_schema(by_alias=True, schema_generator=_DescribedSchema)


def make_result_schema(result: TypeAdapter[Any], *, ref_template: str = DEFAULT_REF_TEMPLATE) -> dict[str, Any]:
    """The JSON schema of what a caller gets."""
    return result.json_schema(
        by_alias=True, mode="serialization", ref_template=ref_template, schema_generator=_DescribedSchema
    )


class _DescribedSchema(GenerateJsonSchema):
    """Generates JSON schemas with the sentences of the source."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        return self._describe(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        return self._describe(super().dataclass_schema(schema), schema["cls"])

    def _describe(self, made: JsonSchemaValue, kind: type) -> JsonSchemaValue:
        properties = made.get("properties", {})
        for name, sentence in _read_fields(kind).items():
            for shown in _list_names(kind, name):
                if shown in properties:
                    properties[shown]["description"] = sentence
        return made


def _list_names(kind: type, name: str) -> Iterator[str]:
    """The names that a schema may have for a field: the one that is read, or the one that is written."""
    field = kind.model_fields[name] if issubclass(kind, BaseModel) else None
    if field is None:
        yield name
    elif field.description is None:  # else it was given where the field is declared
        yield from {field.alias or name, field.serialization_alias or name}


@cache
def _read_fields(kind: Any) -> Mapping[str, str]:
    """Field → the sentence below it, in the class that declares it."""
    found: dict[str, str] = {}
    for declaring in reversed(kind.__mro__):
        for name in inspect.get_annotations(declaring):
            found.pop(name, None)
        found |= _read_module(declaring.__module__).get(declaring.__qualname__, {})
    fields = kind.model_fields if issubclass(kind, BaseModel) else kind.__dataclass_fields__
    return {name: sentence for name, sentence in found.items() if name in fields}


@cache
def _read_module(name: str) -> Mapping[str, Mapping[str, str]]:
    """Class of a module → its fields → the sentence below each."""
    if not name.startswith(__name__.partition(".")[0]):
        return {}
    try:
        source = inspect.getsource(sys.modules[name])
    except OSError:
        return {}
    return {item.name: _read_class(item) for item in ast.parse(source).body if isinstance(item, ast.ClassDef)}


def _read_class(declared: ast.ClassDef) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for field, below in pairwise(declared.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(sentence))):
                found[name] = inspect.cleandoc(sentence)
    return found

"""OpenAPI, made from the registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ikoma import __version__
from ikoma.kernel.access import controls
from ikoma.kernel.registry import Capability, Registry
from ikoma.kernel.schemas import make_result_schema

_REFERENCE = "#/components/schemas/{model}"

_FAILURES = {
    "400": "The body is not a JSON object, or X-Role names no role.",
    "401": "No valid API key was given.",
    "403": "The role or scope of the key does not allow this.",
    "404": "There is no such capability or app.",
    "405": "Capabilities are called with POST.",
    "409": "Another operation is working on the app, or the state does not allow this.",
    "413": "The body is too large.",
    "422": "The arguments do not fit, or the work failed for a reason the caller can mend.",
    "429": "Too many requests with this key.",
    "500": "Something went wrong inside IKOMA.",
    "503": "Docker, PostgreSQL, the audit log or the disk is not available.",
}


def make_document(registry: Registry) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the HTTP door."""
    schemas: dict[str, Any] = {"Failure": _make_failure()}
    prefixes = [_make_prefix(item) for item in registry]
    paths: dict[str, Any] = {
        f"/execute/{item.name}": {"post": _make_operation(item, schemas, prefixes)} for item in registry
    }
    paths["/health"] = {
        "get": {
            "summary": "Whether the server is up; needs no key.",
            "operationId": "health",
            "security": [],
            "responses": {
                "200": _describe_json("The server is up.", {"type": "object", "required": ["status", "version"]})
            },
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "IKOMA", "version": __version__, "description": "Deploy and run apps without a shell."},
        "security": [{"ApiKey": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"ApiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}},
        },
    }


def make_request_schema(item: Capability) -> dict[str, Any]:
    """The JSON schema of a capability's arguments, in one piece."""
    return dict(controls.make_arguments_schema(item))


def _make_prefix(item: Capability) -> str:
    """The capability's name as its models begin: deploy.up is DeployUp."""
    return "".join(part.title() for part in item.name.replace("_", ".").split("."))


def _make_operation(item: Capability, schemas: dict[str, Any], prefixes: Sequence[str]) -> dict[str, Any]:
    result = make_result_schema(item.result_adapter, ref_template=_REFERENCE)
    prefix = _make_prefix(item)
    answer = {
        "type": "object",
        "required": ["success", "requestId", "result"],
        "properties": {
            "success": {"const": True},
            "requestId": {"type": "string"},
            "result": _adopt_schema(result, prefix, schemas, prefixes),
        },
    }
    request = f"{prefix}Request"
    schemas[request] = _adopt_schema(make_request_schema(item), prefix, schemas, prefixes)
    return {
        "summary": item.summary,
        "description": f"{item.description}\n\nRole: {item.role}. Effect: {item.effect.value}.",
        "operationId": item.name,
        "tags": [item.name.split(".", 1)[0]],
        "parameters": [
            {
                "name": "X-Role",
                "in": "header",
                "required": False,
                "description": "A role at or below the key's own.",
                "schema": {"enum": ["observer", "operator", "builder", "admin"]},
            }
        ],
        "requestBody": {
            "required": any(item.arguments.values()),
            "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model=request)}}},
        },
        "responses": {
            "200": _describe_json("Done.", answer),
            **{
                status: _describe_json(text, {"$ref": "#/components/schemas/Failure"})
                for status, text in _FAILURES.items()
            },
        },
    }


def _adopt_schema(
    schema: dict[str, Any], prefix: str, schemas: dict[str, Any], prefixes: Sequence[str]
) -> dict[str, Any]:
    """The schema with its nested definitions moved to the components, under names of this capability's own.

    A model that another capability declares, such as DeployUpDetails, changes that one's name for this one's.
    """
    nested = schema.pop("$defs", {})
    names = {name: prefix + _remove_capability(name, prefixes) for name in nested}
    for name, definition in nested.items():
        schemas[names[name]] = _rename(definition, names)
    renamed = _rename(schema, names)
    assert isinstance(renamed, dict)
    return renamed


def _remove_capability(name: str, prefixes: Sequence[str]) -> str:
    return name.removeprefix(max((prefix for prefix in prefixes if name.startswith(prefix)), key=len, default=""))


def _rename(node: Any, names: dict[str, str]) -> Any:
    if isinstance(node, dict):
        return {
            key: _REFERENCE.format(model=names.get(name, name))
            if key == "$ref" and (name := str(value).rsplit("/", 1)[-1])
            else _rename(value, names)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_rename(item, names) for item in node]
    return node


def _make_failure() -> dict[str, Any]:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["success", "error", "code", "hint", "requestId"],
        "properties": {
            "success": {"const": False},
            "error": {**text, "description": "One sentence: what happened."},
            "code": {**text, "description": "Stable, for programs."},
            "hint": {**text, "description": "What to do next."},
            "requestId": text,
            "details": {"type": "object"},
        },
    }


def _describe_json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}

"""Arguments as real clients send them, and what is made of them."""

from __future__ import annotations

from typing import Any

import pytest

from ikoma import capabilities
from ikoma.kernel.access.controls import make_arguments_schema
from ikoma.transports.mcp.arguments import convert_arguments

SCHEMA = {
    "$defs": {
        "Count": {"type": "integer"},
        "Rule": {
            "type": "object",
            "properties": {"port": {"$ref": "#/$defs/Count"}, "names": {"type": "array", "items": {"type": "string"}}},
        },
    },
    "properties": {
        "appName": {"type": "string"},
        "tail": {"type": "integer", "default": 100},
        "share": {"type": "number", "default": 1},
        "until": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        "database": {"type": "boolean", "default": False},
        "apps": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}], "default": None},
        "ports": {"type": "array", "items": {"type": "integer"}},
        "env": {"type": "object", "additionalProperties": {"type": "string"}},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "rules": {"type": "array", "items": {"$ref": "#/$defs/Rule"}},
        "way": {"anyOf": [{"type": "string", "enum": ["up", "down"]}, {"type": "null"}]},
        "count": {"$ref": "#/$defs/Count"},
        "name": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    },
    "required": ["appName"],
}


@pytest.mark.parametrize(
    ("name", "sent", "meant"),
    [
        ("tail", "50", 50),
        ("tail", " 50 ", 50),
        ("tail", 50.0, 50),
        ("tail", "-1", -1),
        ("tail", "50.0", 50),
        ("tail", "1e3", 1000),
        ("tail", "1e-3", "1e-3"),
        ("tail", "1e99", "1e99"),
        ("tail", "50.5", "50.5"),
        ("tail", "0x10", "0x10"),
        ("tail", "1_000", "1_000"),
        ("tail", "٣", "٣"),
        ("tail", 1e20, 1e20),
        ("tail", 2.0**53, 2.0**53),
        ("tail", "9" * 18, int("9" * 18)),
        ("tail", True, True),
        ("tail", [50], [50]),
        ("tail", "50 lines", "50 lines"),
        ("tail", 50.5, 50.5),
        ("tail", float("inf"), float("inf")),
        ("tail", "9" * 40, "9" * 40),
        ("until", "3", 3),
        ("share", "0.5", 0.5),
        ("share", "nan", "nan"),
        ("share", " 1e3 ", 1000.0),
        ("share", "infinity", "infinity"),
        ("database", "true", True),
        ("database", "False", False),
        ("database", "yes", "yes"),
        ("database", 1, 1),
        ("apps", '["a", "b"]', ["a", "b"]),
        ("apps", "web-*", ["web-*"]),
        ("apps", "a, b", "a, b"),
        ("apps", "a b", "a b"),
        ("apps", "[a, b]", "[a, b]"),
        ("apps", '{"a": 1}', '{"a": 1}'),
        ("ports", "80", "80"),
        ("apps", "[" * 100_000, "[" * 100_000),
        ("apps", [1, "b"], ["1", "b"]),
        ("ports", '["80", 443.0]', [80, 443]),
        ("env", '{"A": "b"}', {"A": "b"}),
        ("env", "[1]", "[1]"),
        (
            "env",
            {"PORT": 8080, "ON": True, "A": None, "J": '{"a": 1}'},
            {"PORT": "8080", "ON": True, "A": None, "J": '{"a": 1}'},
        ),
        ("env", '{"PORT": 8080}', {"PORT": "8080"}),
        ("rules", [{"port": "80", "names": '["a"]'}], [{"port": 80, "names": ["a"]}]),
        ("rules", '[{"port": 80.0}]', [{"port": 80}]),
        ("way", "UP", "up"),
        ("way", " Down ", "down"),
        ("way", "sideways", "sideways"),
        ("either", "UP", "UP"),
        ("either", "7", "7"),
        ("either", 7, 7),
        ("count", "7", 7),
        ("name", 20260101, "20260101"),
        ("name", True, True),
        ("name", "true", "true"),
        ("name", '["a"]', '["a"]'),
        ("name", '{"a": 1}', '{"a": 1}'),
        ("name", " blank ", " blank "),
        ("name", 1.5, 1.5),
        ("name", ["a"], ["a"]),
        ("unknown", "7", "7"),
        ("unknown", None, None),
        ("appName", "", ""),
    ],
)
def test_one_meaning_is_taken_and_all_else_is_left(name: str, sent: Any, meant: Any) -> None:
    converted = convert_arguments(SCHEMA, {name: sent})[name]
    assert converted == meant
    assert type(converted) is type(meant)


@pytest.mark.parametrize("sent", [None, ""])
def test_what_is_empty_was_left_out(sent: Any) -> None:
    assert convert_arguments(SCHEMA, {"appName": "x", "tail": sent, "name": sent}) == {"appName": "x"}


def test_nothing_for_what_is_needed_was_left_out_too() -> None:
    assert convert_arguments(SCHEMA, {"appName": None}) == {}


def test_every_capability_takes_its_arguments_filled_in_as_nothing() -> None:
    for item in capabilities.load():
        schema = make_arguments_schema(item)
        optional = [name for name in schema["properties"] if name not in schema.get("required", [])]
        assert convert_arguments(schema, dict.fromkeys(optional)) == {}

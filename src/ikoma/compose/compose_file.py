"""The settings by which an app answers HTTP (web_service.py: which service does), and models as files for Compose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from ikoma.compose.model import ComposeModel

VARIABLES_FILE = "compose.env"
"""Beside a resolved compose file: the variables that its configs and secrets take their content from."""
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Web:
    """The service that answers HTTP, its port inside the container, and the path that says all is well."""

    service: str
    port: int
    path: str | None
    """None where no path is known: then the port must take connections."""
    named: bool = True
    """Whether the app itself names the path; where not, any answer counts that is no failure of the server."""


def encode(model: Mapping[str, Any]) -> bytes:
    """A model as a file for Compose, which reads JSON as YAML: signs that end lines there are written by number."""
    text = orjson.dumps(model, option=orjson.OPT_INDENT_2).decode()
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def map_to_this_machine(host: str) -> str:
    """A line of `extra_hosts` by which a name stands for the machine that the engine runs on."""
    return f"{host}=host-gateway"


def uses_database(model: ComposeModel, service: str) -> bool:
    """Whether a service may get the app's database credentials: all may, unless `x-ikoma: database:` names some."""
    listed = model.said.get("database")
    return service in listed if isinstance(listed, list | Mapping) else listed is not False


def is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and 1 <= int(text) <= 65535

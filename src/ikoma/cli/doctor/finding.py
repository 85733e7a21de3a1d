"""One finding of `ikoma doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """`ok` is None where it is worth knowing and nothing is broken; `fix` is what to do where it is not well."""

    check: str
    ok: bool | None
    details: Any
    fix: str = ""

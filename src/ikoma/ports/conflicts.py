"""Ports and names that a model wants, and another has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TakenPort:
    """A port that a service publishes, by its place in the model, and who has it."""

    service: str
    index: int
    port: str
    holder: str
    is_of_this_app: bool = False
    """Whether another port of the same app has it."""


@dataclass(frozen=True, slots=True)
class TakenName:
    """A name that a service's replicas want to have, by its place in the model, and another has."""

    service: str
    key: str | None
    """The key of the service that chooses it; None where its replicas get such names by themselves."""
    name: str
    holder: str
    """The Compose project that has it, "" where none has made it."""

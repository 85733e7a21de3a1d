"""The demo's own load client, for tests."""

from __future__ import annotations

from scripts.traffic import Traffic, steady

__all__ = ["Traffic", "steady"]

from __future__ import annotations

import pytest

from ikoma.kernel import pipeline


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls wait for others for a moment alone."""
    monkeypatch.setattr(pipeline, "PATIENCE", 0.1)

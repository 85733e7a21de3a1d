"""The seam to the images that apps run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ikoma.model import AppName
from ikoma.ports.progress import Progress


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is here."""

    id: str
    hidden_by: str = ""
    """The label of it by which the engine looks past what is made of it; "" where it has none."""
    passes_by: str = ""
    """The label of it by which a build on it would pass for an app; "" where it has none."""
    triggers: Sequence[str] = ()
    """Steps of every build that begins with it (ONBUILD)."""
    user: str = ""
    """User its processes run as, as it says it; empty for root."""


class Images(Protocol):
    """The images that apps run."""

    async def prepare(
        self,
        app: AppName,
        compose_file: Path,
        *,
        build: Sequence[str],
        pull: Sequence[str],
        progress: Progress,
    ) -> None:
        """Build and pull the images of these services. Nothing that runs is touched.

        No progress message and no error holds a secret of the app. Raises DeployFailed.
        """

    async def find(self, reference: str) -> Image | None:
        """The image that a name stands for now; None where it is not here."""

    async def has(self, reference: str) -> bool: ...

    async def tag(self, image: str, name: str) -> None:
        """Give an image one more name."""

    async def list_names(self, prefix: str) -> Sequence[str]:
        """Names of images that begin with this."""

    async def forget(self, name: str) -> None:
        """Take a name from an image; the image goes with its last one, unless something runs from it."""

    async def check_obtainable(self, reference: str) -> str | None:
        """None when the image's registry would give it, else the reason in one sentence.

        A few are asked for at a time, whoever asks.
        """

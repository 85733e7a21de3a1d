"""All that IKOMA can do. A capability's name is its path: `db.backup` is capabilities/db/backup.py.

Importing this package fills the registry; a new capability is one new file here.
"""

from __future__ import annotations

import importlib
import pkgutil

from ikoma.kernel.registry import Registry, registry


def load() -> Registry:
    """The product's registry with every capability in it."""
    for module in pkgutil.walk_packages(__path__, f"{__name__}."):
        importlib.import_module(module.name)
    return registry

"""What IKOMA can do. A capability's name is its path: `db.backup` is capabilities/db/backup.py.

Importing this package fills the registry; a new capability is one new file here.
"""

from __future__ import annotations

import importlib
import pkgutil

from ikoma.kernel.registry import Registry, registry


def load() -> Registry:
    """The product's registry with every capability in it."""
    for package in pkgutil.iter_modules(__path__, f"{__name__}."):
        if package.ispkg:
            folder = importlib.import_module(package.name)
            for module in pkgutil.iter_modules(folder.__path__, f"{package.name}."):
                importlib.import_module(module.name)
    return registry

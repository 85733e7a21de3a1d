"""Every error that a caller can meet, by subject; `base.py` says what an error is made of."""

# ruff: noqa: F403
from __future__ import annotations

from ikoma.errors.access import *
from ikoma.errors.apps import *
from ikoma.errors.base import *
from ikoma.errors.databases import *
from ikoma.errors.files import *
from ikoma.errors.machine import *
from ikoma.errors.offsite import *
from ikoma.errors.operations import *
from ikoma.errors.releases import *
from ikoma.errors.requests import *

"""Names of variables, and of the parts of a database that a compose file may ask for."""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

TLS_PARTS = {"port": "tls_port", "url": "tls_url"}
"""The text in place of a part, for a service that insists on TLS."""

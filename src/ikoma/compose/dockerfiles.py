"""The Dockerfiles of an app's builds, read before anything is built: what an image will be built on, and run as whom.

They are read as an engine reads them, as far as that is plain. What cannot be told is "", never a guess. (The policy
reads them on its own, more broadly: policy/dockerfile.py.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ikoma.app_folder import App
from ikoma.compose.model import Build, ComposeModel
from ikoma.errors import IkomaError

_LARGEST = 1 << 20
_LONGEST = 1000
"""Characters of a name or value; variables in variables could make any length."""
_FROM = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?", re.IGNORECASE)
_SET = re.compile(r"([A-Za-z_]\w*)(?:=(\"[^\"]*\"|'[^']*'|\S*))?")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::?-([^}]*))?\}|([A-Za-z_]\w*))")
_HEREDOC = re.compile(r"<<-?[\"']?([A-Za-z_]\w*)")
_ESCAPE = re.compile(r"#\s*escape\s*=\s*`", re.IGNORECASE)


@dataclass(slots=True)
class Stage:
    """A stage of a build: the image that it is built on in the end, and whom it runs as; "" where that is not told.

    Where no variable in the user's name has a value, that is as it is written.
    """

    base: str = ""
    user: str = ""
    values: dict[str, str] = field(default_factory=dict)
    """Values of its variables."""


def read_dockerfiles(app: App, model: ComposeModel) -> dict[str, str]:
    """Service → text of its Dockerfile, where that is a file in the app's folder."""
    found = {}
    for name, service in model.services.items():
        if service.build is not None and service.build.inline is None:
            with suppress(IkomaError, OSError, ValueError):
                path = Path(service.build.context, service.build.dockerfile)
                found[name] = app.read_inside(path, _LARGEST).decode(errors="replace")
    return found


def inline_dockerfiles(app: App, model: ComposeModel) -> ComposeModel:
    """The model with its Dockerfiles as a part of it, as that of a release has them."""
    changed = {}
    for name, text in read_dockerfiles(app, model).items():
        described = model.services[name].raw
        changed[name] = {**described, "build": {**described["build"], "dockerfile_inline": text.replace("$", "$$")}}
    return model.replace_services(changed)


def find_stage(build: Build | None, text: str = "") -> Stage:
    """The stage that a build of a resolved model makes its image of.

    Args:
        text: its Dockerfile, where that is no part of the model.
    """
    if build is None:
        return find_last_stage(text)
    return find_last_stage(
        build.inline.replace("$$", "$") if build.inline else text,
        build.target,
        {key: str(value).replace("$$", "$") for key, value in build.args.items() if value is not None},
    )


def find_last_stage(dockerfile: str, target: str = "", args: Mapping[str, str] | None = None) -> Stage:
    """The last stage of a Dockerfile, or the one of this name or number.

    Args:
        args: the build's own arguments.
    """
    given, before, stages = args or {}, dict[str, str](), dict[str, Stage]()
    stage, number = Stage(), 0
    for verb, rest in _list_instructions(dockerfile):
        if verb == "FROM" and (found := _FROM.fullmatch(rest)):
            name = _fill(found[1], before)
            above = stages.get(name.lower())
            stage = Stage(above.base, above.user, dict(above.values)) if above else Stage(name)
            stages |= {str(number): stage} | ({found[2].lower(): stage} if found[2] else {})
            number += 1
        elif verb == "ARG":
            values = stage.values if number else before
            for name, default in _SET.findall(rest):
                said = _fill(default.strip("\"'"), values) or (before.get(name, "") if number else "")
                values[name] = given.get(name, said)
        elif verb == "ENV" and number:
            key, _, value = rest.partition(" ")
            pairs = _SET.findall(rest) if "=" in key else [(key, value.strip())]
            stage.values |= {name: _fill(text.strip("\"'"), stage.values) for name, text in pairs}
        elif verb == "USER" and number:
            stage.user = _fill(rest.strip("\"'"), stage.values).strip(":") or rest
    return stages.get(target.lower(), stage) if target else stage


def _fill(text: str, values: Mapping[str, str]) -> str:
    """A text with its variables in it; "" where it would be too long to be a name."""
    filled = _VARIABLE.sub(lambda use: values.get(use[1] or use[3]) or use[2] or "", text)
    return filled if len(filled) <= _LONGEST else ""


def _list_instructions(text: str) -> Iterator[tuple[str, str]]:
    """(verb, what follows it) of each instruction, without comments and the texts of heredocs."""
    text = text.removeprefix("\ufeff")
    escape = "`" if _ESCAPE.match(text) else "\\"
    lines = iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = [line.strip()]
        while parts[-1].endswith(escape):
            parts[-1] = parts[-1][:-1]
            goes_on = next((more for more in lines if more.strip() and not more.lstrip().startswith("#")), "")
            parts.append(goes_on.strip())
        verb, _, rest = " ".join(parts).replace("\t", " ").partition(" ")
        if verb.upper() in ("RUN", "COPY", "ADD"):
            for end in _HEREDOC.findall(rest):
                next((more for more in lines if more.strip() == end), None)
        yield verb.upper(), rest.strip()

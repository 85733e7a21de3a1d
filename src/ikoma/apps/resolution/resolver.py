"""Lets Compose resolve an app's files, once the policy has judged how they are read.

The files are read at each question, from inside the app's folder only, and Compose gets what was read. Resolving is a
pure function of those bytes: for as long as they are the same, only the child process is saved.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ikoma.app_folder import App
from ikoma.apps.environment import dotenv
from ikoma.apps.environment.variables import ENV, VariableFault, VariableReader, Variables
from ikoma.apps.policy.rules import word_problem
from ikoma.apps.resolution.preview_files import adapt_for_preview
from ikoma.apps.resolution.remaining_errors import Remainder, find_remainder
from ikoma.apps.resolution.substitutes import substitute
from ikoma.apps.resolution.variable_uses import Use, find_uses, find_variables_files
from ikoma.apps.secrets import app_secrets
from ikoma.apps.yaml.lines import Source
from ikoma.apps.yaml.notice import Notice
from ikoma.apps.yaml.reading import Gathered, gather
from ikoma.apps.yaml.violation import Violation
from ikoma.compose.model import ComposeModel, parse_model
from ikoma.errors import IkomaError
from ikoma.kernel.redaction.redaction import HIDDEN, list_encodings
from ikoma.model import Secret
from ikoma.ports.runtime import Engine, Resolved

_LEAST_HIDDEN = 6
_LARGEST = 1 << 20
_MOST_ROUNDS = 6
_BETWEEN_QUOTES = re.compile(r"[^\"'`]+")


@dataclass(frozen=True, slots=True)
class Resolution:
    """`source` is the compose files as they were read; `resolved` is None where something kept Compose from them."""

    source: Source
    violations: tuple[Violation, ...]
    resolved: Resolved | None
    model: ComposeModel | None = None
    """The model as it is judged and run; None where there is none."""
    notices: tuple[Notice, ...] = ()
    """Notices of what works differently here."""
    gathered: Gathered | None = None
    """The files as they were read."""
    variables: Variables = field(default_factory=Variables)
    """Variables that `.env` sets."""
    faults: tuple[VariableFault, ...] = ()
    """Faults that keep files of variables from being read."""
    doubts: tuple[VariableFault, ...] = ()
    uses: tuple[Use, ...] = ()
    """Where the compose files name variables."""

    @property
    def warnings(self) -> Sequence[str]:
        """The warnings of Compose."""
        return () if self.resolved is None else self.resolved.warnings

    @property
    def error(self) -> str | None:
        """The reason why there is no model, in a sentence."""
        if self.faults:
            return f"{self.faults[0].file}: {self.faults[0].problem}"
        if self.resolved is not None:
            return self.resolved.error
        return word_problem(self.violations[0])


@dataclass(frozen=True, slots=True)
class _Read:
    """The result of Compose for the bytes of an app's files."""

    resolved: Resolved | None
    model: ComposeModel | None
    variables: Variables
    faults: tuple[VariableFault, ...]
    doubts: tuple[VariableFault, ...]
    uses: tuple[Use, ...]


class Resolutions:
    """Resolves the files of apps, and remembers the latest result for each.

    Args:
        waived: the rules of the policy that are waived for an app.
    """

    def __init__(self, engine: Engine, waived: Callable[[App], Collection[str]] = lambda app: ()) -> None:
        self._engine = engine
        self._waived = waived
        self.reader = VariableReader(engine.runtime)
        self._latest: dict[App, tuple[bytes, _Read]] = {}
        self._secrets: dict[App, tuple[Secret, ...]] = {}

    async def resolve(
        self, app: App, contents: Mapping[str, bytes] | None = None, *, places: bool = True
    ) -> Resolution:
        """The resolution of the app's files as they are now.

        Args:
            contents: what files hold that are not to be read from the disk.
            places: whether lines of the files are asked for; without, `source` knows none.

        Raises:
            FileMissing: there is no compose file.
        """
        gathered = await self.gather(app, contents)
        found = await self._read(app, gathered)
        model, notices = found.model, gathered.notices
        if model is not None:
            model, more = await substitute(self._engine, app.name, model, self._waived(app))
            notices = [*notices, *more]
        return Resolution(
            await asyncio.to_thread(lambda: gathered.source) if places else Source(gathered.compose_file, b""),
            tuple(gathered.violations),
            found.resolved,
            model,
            tuple(notices),
            gathered,
            found.variables,
            found.faults,
            found.doubts,
            found.uses,
        )

    async def find_remainder(self, app: App, resolution: Resolution) -> Remainder:
        """All that is refused in files that have come to no model, and what is left of them."""
        assert resolution.gathered is not None

        async def ask(files: Gathered) -> tuple[Resolved, ComposeModel | None]:
            return await self._ask(app, files, await self._read_variables(app, files))

        found = await find_remainder(
            resolution.gathered,
            resolution.resolved,
            ask,
            lambda contents: self.gather(app, contents),
        )
        if found.model is not None:
            found.model, _ = await substitute(self._engine, app.name, found.model, self._waived(app))
        return found

    def list_secrets(self, app: App) -> tuple[Secret, ...]:
        """The secrets in what the app's files came to last."""
        return self._secrets.get(app, ())

    def find_names(self, app: App) -> frozenset[str]:
        """Find what the parts of the app are called in what its files came to last."""
        latest = self._latest.get(app)
        model = latest[1].model if latest else None
        return model.names if model is not None else frozenset()

    async def gather(self, app: App, contents: Mapping[str, bytes] | None = None) -> Gathered:
        """Read the app's files. Paths that name variables are what Compose says that they are.

        Args:
            contents: what files hold that are not to be read from the disk.
        """
        env = await asyncio.to_thread(_read_env, app)
        await self.reader.read(app, env)  # it can say which the compose files are
        given = {ENV: env, **(contents or {})} if env else contents
        paths: dict[str, str] = {}
        for _ in range(_MOST_ROUNDS):
            unread: list[bytes] = []

            def read(content: bytes, unread: list[bytes] = unread) -> Mapping[str, str]:
                known = self.reader.find_known(app, content)
                if known is None and len(content) <= _LARGEST:
                    unread.append(content)
                return {} if known is None else known.values

            gathered = await asyncio.to_thread(gather, app, read, paths, given)
            for content in unread:
                await self.reader.read(app, content)
            if not unread and gathered.unresolved:
                texts = sorted(gathered.unresolved)
                paths |= await self.reader.substitute(app, texts, _join_variables_files(gathered))
            elif not unread:
                break
        own = self.reader.find_known(app, gathered.files.get(ENV, b""))
        if own is not None and own.faults:
            return gathered  # that is what is wrong
        for path in sorted(gathered.unresolved):
            what = f"A path that is read names variables, and cannot be found: {path[:80]!r}."
            gathered.note_violation("reads-outside", (), what, gathered.compose_file)
        return gathered

    async def _read(self, app: App, gathered: Gathered) -> _Read:
        fingerprint = _hash_files(gathered)
        known = self._latest.get(app)
        if known is not None and known[0] == fingerprint and not gathered.violations:
            return known[1]
        variables = await self._read_variables(app, gathered)
        resolved = None
        model = None
        if not gathered.violations and not variables.faults:
            resolved, model = await self._ask(app, gathered, variables)
        faults, doubts = await self._check_variables_files(app, gathered, resolved)
        uses = tuple(await asyncio.to_thread(find_uses, gathered))
        found = _Read(resolved, model, variables, (*variables.faults, *faults), (*variables.doubts, *doubts), uses)
        if not gathered.violations:  # one can also be of what is on the disk, not in the files
            self._latest[app] = fingerprint, found
        return found

    async def _ask(self, app: App, gathered: Gathered, variables: Variables) -> tuple[Resolved, ComposeModel | None]:
        """Ask Compose about files whose variables can be read; its answer, and the model in it."""
        resolved = await self._engine.runtime.resolve(app.name, app.path, gathered.merged, gathered.for_compose)
        model = None
        if resolved.model is not None:
            model = adapt_for_preview(app.name, parse_model(resolved.model))
            resolved = replace(resolved, model=model.raw)
        secrets = await asyncio.to_thread(_collect_secrets, gathered, variables, model)
        self._secrets[app] = tuple(secrets)
        if resolved.error is not None:
            error = await asyncio.to_thread(leave_out_parts, resolved.error, list_encodings(secrets))
            resolved = replace(resolved, error=error)
        return resolved, model

    async def _read_variables(self, app: App, gathered: Gathered) -> Variables:
        """Read what is set for the compose files: by .env, and by the one beside them."""
        own = await self.reader.read(app, gathered.files.get(ENV, b""))
        if gathered.beside is None:
            return own
        content = gathered.files.get(gathered.beside, b"")
        other = await self.reader.read(app, content, file=gathered.beside)
        return Variables({**other.values, **own.values}, (*own.faults, *other.faults), (*own.doubts, *other.doubts))

    async def _check_variables_files(
        self, app: App, gathered: Gathered, resolved: Resolved | None
    ) -> tuple[list[VariableFault], list[VariableFault]]:
        """Faults and doubts of the files besides .env that services take variables from."""
        faults: list[VariableFault] = []
        doubts: list[VariableFault] = []
        if resolved is None:
            return faults, doubts
        for file in await asyncio.to_thread(find_variables_files, gathered):
            content = gathered.files.get(file.path, b"")
            if file.path in (ENV, gathered.beside) or not (resolved.model is None or b"$" in content):
                continue
            beside = _join_variables_files(gathered)
            found = await self.reader.read(app, content, file=file.path, beside=beside, raw=file.raw)
            faults += found.faults
            doubts += found.doubts
        return faults, doubts


def _read_env(app: App) -> bytes:
    """The app's .env; nothing where it cannot be had, which is said when all files are read."""
    try:
        content = dotenv.read_bytes(app)
    except IkomaError:
        return b""
    return content if len(content) <= _LARGEST else b""


def _join_variables_files(gathered: Gathered) -> bytes:
    """The files of variables that Compose reads first, as one: what comes later counts."""
    other = gathered.files.get(gathered.beside, b"") if gathered.beside else b""
    own = gathered.files.get(ENV, b"")
    return b"\n".join((other, own)) if other else own


def _collect_secrets(gathered: Gathered, variables: Variables, model: ComposeModel | None) -> list[Secret]:
    """Collect what is secret in the files of variables, as it is written, and in what Compose made of it."""
    files = {ENV, *(file.path for file in find_variables_files(gathered))}
    found = [
        secret
        for name in sorted(files)
        for secret in app_secrets.find_in_text(gathered.files.get(name, b"").decode(errors="replace"))
    ]
    found += app_secrets.find_in_variables(variables.values)
    if model is not None:
        found += app_secrets.find_in_model(model)
    return list(dict.fromkeys(found))


def leave_out_parts(message: str, secrets: Sequence[str]) -> str:
    """The message without parts of these secrets, in capitals or not.

    Compose takes values apart, and then quotes what it cannot read. Whole values are taken out of all that leaves;
    a part would be found by nobody.
    """
    said, known = message.lower(), [secret.lower() for secret in secrets]
    everything = "\n".join(known)
    runs = {said[begin : begin + _LEAST_HIDDEN] for begin in range(len(said))}
    at_an_end = [part for part in known if part[:_LEAST_HIDDEN] in runs or part[-_LEAST_HIDDEN:] in runs]
    return _BETWEEN_QUOTES.sub(lambda piece: _leave_out_of_piece(piece[0], everything, at_an_end), message)


def _leave_out_of_piece(piece: str, everything: str, at_an_end: Sequence[str]) -> str:
    said = piece.lower()
    head = max((_measure_overlap(secret, said) for secret in at_an_end), default=0)
    tail = max((_measure_overlap(said, secret) for secret in at_an_end), default=0)
    if len(said) >= _LEAST_HIDDEN and (said in everything or head + tail >= len(piece)):
        return HIDDEN
    return (HIDDEN if head else "") + piece[head : len(piece) - tail] + (HIDDEN if tail else "")


def _measure_overlap(first: str, second: str) -> int:
    """The length of one text's end that is the other's beginning; 0 where that is too little to tell a secret."""
    begin = first.find(second[:_LEAST_HIDDEN], max(0, len(first) - len(second)))
    while 0 <= begin <= len(first) - _LEAST_HIDDEN:
        if second.startswith(first[begin:]):
            return len(first) - begin
        begin = first.find(second[:_LEAST_HIDDEN], begin + 1)
    return 0


def _hash_files(gathered: Gathered) -> bytes:
    digest = hashlib.sha256("\0".join(gathered.merged).encode())
    for path, content in sorted(gathered.files.items()):
        digest.update(f"{path}:{len(content)}:".encode())
        digest.update(content)
    return digest.digest()

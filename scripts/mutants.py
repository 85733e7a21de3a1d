"""`make mutants`: takes one rule of the policy, or one step of the pipeline, away at a time, and sees a test fail.

A check that can be removed while every test passes is a check that nobody would miss, or one that no test looks at.
Each mutant is the source with one statement less, or with one entry of a table of checks answering nothing. Policy
mutants are judged by the corpus of compose files, in this process's children; pipeline mutants by the kernel's own
tests, on a copy of the package. Exit status 0 means that none survived.

    scripts/mutants.py [policy] [pipeline]
"""

from __future__ import annotations

import ast
import asyncio
import importlib.abc
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
APPS = SOURCE / "ikoma" / "apps"
POLICY = ("containers", "dockerfile", "images", "model", "network", "rules", "storage")
JUDGING = [
    *(APPS / "policy" / f"{name}.py" for name in POLICY),
    *(APPS / "yaml" / f"{name}.py" for name in ("reading", "references", "named_variables", "form")),
]
TABLES = ("CHECKS", "TOP")
KERNEL = SOURCE / "ikoma" / "kernel"
PIPELINE = [
    *(KERNEL / f"{name}.py" for name in ("pipeline", "admission")),
    *(KERNEL / "access" / f"{name}.py" for name in ("authentication", "consent")),
    KERNEL / "answers" / "scrubbing.py",
    KERNEL / "audit" / "call_record.py",
]
KERNEL_TESTS = tuple(f"tests/unit/kernel/{name}.py" for name in ("test_pipeline", "test_steps", "audit/test_refusals"))
_HERE = "@folder@"  # in kept models, where the app's own folder was
_MOST_MEMORY, _MOST_SECONDS = 2 << 30, 120  # a mutant may lack what keeps a bomb from going off
PATIENCE = 300  # seconds for the kernel's tests


@dataclass(frozen=True, slots=True)
class Mutant:
    """The source of one file with something taken away."""

    path: Path
    line: int
    what: str
    code: str

    @property
    def module(self) -> str:
        return ".".join(self.path.relative_to(SOURCE).with_suffix("").parts)

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {self.what}"


# --- what is taken away ---


def without_statements(path: Path) -> Iterator[Mutant]:
    """One mutant for each statement that finds, refuses or does something."""
    yield from _each(path, _acts, _nothing)


def without_wrappers(path: Path) -> Iterator[Mutant]:
    """One mutant for each block that is entered without its lock, and for each value that is not scrubbed."""
    yield from _each(path, _wraps, _inside)


def _each(path: Path, chosen: Callable[[ast.AST], bool], instead: Callable[[Any], ast.AST]) -> Iterator[Mutant]:
    text = path.read_text()
    for number in range(sum(map(chosen, ast.walk(ast.parse(text))))):
        tree = ast.parse(text)
        target: Any = [node for node in ast.walk(tree) if chosen(node)][number]
        what = " ".join(ast.unparse(target).split())[:100]
        code = ast.unparse(ast.fix_missing_locations(_Replaced(target, instead).visit(tree)))
        yield Mutant(path, target.lineno, what, code)


class _Replaced(ast.NodeTransformer):
    def __init__(self, target: ast.AST, instead: Callable[[Any], ast.AST]) -> None:
        self._target, self._instead = target, instead

    def generic_visit(self, node: ast.AST) -> ast.AST:
        return ast.copy_location(self._instead(node), node) if node is self._target else super().generic_visit(node)


def _acts(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Raise | ast.AugAssign)


def _nothing(node: ast.stmt) -> ast.AST:
    """A statement that does nothing; where one yielded, its function is still a generator."""
    yields = any(isinstance(part, ast.Yield | ast.YieldFrom) for part in ast.walk(node))
    return ast.parse("yield from ()" if yields else "pass").body[0]


def _wraps(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return bool(node.args) and isinstance(node.func, ast.Attribute) and "scrubber" in ast.unparse(node.func.value)
    return isinstance(node, ast.With | ast.AsyncWith)


def _inside(node: ast.Call | ast.With | ast.AsyncWith) -> ast.AST:
    return node.args[0] if isinstance(node, ast.Call) else ast.If(ast.Constant(True), node.body, [])


def without_entries(path: Path) -> Iterator[Mutant]:
    """One mutant for each entry of a table of checks, which then finds nothing."""
    text = path.read_text()
    for table, number in _entries(ast.parse(text)):
        tree = ast.parse(text)
        values = _table(tree, table)
        key = values.keys[number]
        assert isinstance(key, ast.Constant)
        values.values[number] = ast.parse("lambda facts, place, value: iter(())", mode="eval").body
        yield Mutant(path, key.lineno, f"{table}[{key.value!r}]", ast.unparse(ast.fix_missing_locations(tree)))


def _entries(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for table in TABLES:
        if any(_is_table(node, table) for node in tree.body):
            values = _table(tree, table)
            for number, (key, check) in enumerate(zip(values.keys, values.values, strict=True)):
                if key is not None and ast.unparse(check) != "_allow_anything":
                    yield table, number


def _table(tree: ast.Module, name: str) -> ast.Dict:
    found = next(node for node in tree.body if _is_table(node, name))
    assert isinstance(found, ast.AnnAssign)
    assert isinstance(found.value, ast.Dict)
    return found.value


def _is_table(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name


# --- the policy ---


def policy_mutants() -> list[Mutant]:
    return [mutant for path in JUDGING for mutant in (*without_statements(path), *without_entries(path))]


def try_policy(folder: Path) -> list[tuple[Mutant, bool]]:
    """Each mutant, and whether no compose file of the corpus tells it from the real policy."""
    sys.path[:0] = [str(SOURCE), str(ROOT)]
    kept = folder / "models.json"
    if not _forked(lambda: _keep_models(folder / "real", kept), silent=False):
        raise SystemExit("The policy does not pass its own corpus: see tests/hostile/test_compose.py.")
    mutants = policy_mutants()

    def survives(numbered: tuple[int, Mutant]) -> bool:
        number, mutant = numbered
        return _forked(lambda: _passes(mutant, folder / str(number), kept))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(zip(mutants, pool.map(survives, enumerate(mutants)), strict=True))


def _forked(work: Callable[[], bool], *, silent: bool = True) -> bool:
    """Return what `work` says in a child process, whose imports nobody else sees. One that breaks says False."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (_MOST_SECONDS, _MOST_SECONDS))
        try:
            os._exit(0 if work() else 1)
        except BaseException:  # a mutant that breaks is noticed
            if not silent:
                traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _keep_models(folder: Path, kept: Path) -> bool:
    """Judge the corpus with the real policy, and keep what Compose made of each file: that is the slow part."""
    corpus = importlib.import_module("tests.hostile.corpus")
    models = {}
    for case in _cases(corpus):
        app, facts = corpus.lay_out(case, folder / _key(case))
        violations, _, model = asyncio.run(corpus.judged(app, facts))
        if {violation.rule for violation in violations} != ({case.rule} if case.rule else set()):
            print(f"{_key(case)}: {violations}", file=sys.stderr)
            return False
        if model is not None:
            models[_key(case)] = json.dumps(model.copy_raw()).replace(str(folder), _HERE)
    kept.write_text(json.dumps(models))
    return True


def _passes(mutant: Mutant, folder: Path, kept: Path) -> bool:
    """Whether every file of the corpus is judged by this mutant as it should be."""
    sys.meta_path.insert(0, _Instead(mutant))
    corpus = importlib.import_module("tests.hostile.corpus")
    models = json.loads(kept.read_text())
    try:
        cases = sorted(_cases(corpus), key=lambda case: case.rule is None or repr(case.rule) not in mutant.what)
        return all(_as_known(corpus, case, folder, models) for case in cases) and _models_too(corpus, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_known(corpus: ModuleType, case: Any, folder: Path, models: Mapping[str, str]) -> bool:
    """Whether one file gets what its header says, once."""
    app, facts = corpus.lay_out(case, folder / _key(case))
    model = models.get(_key(case))
    reading = importlib.import_module("ikoma.apps.yaml.reading")
    violations = reading.gather(app, paths={}).violations
    if model is not None and not violations:
        parse_model = importlib.import_module("ikoma.compose.model").parse_model
        violations = corpus.policy.check(parse_model(json.loads(model.replace(_HERE, str(folder)))), facts)
    elif not violations:
        violations, _, _ = asyncio.run(corpus.judged(app, facts))
    rules = {violation.rule for violation in violations}
    return rules == ({case.rule} if case.rule else set()) and len(violations) == len(set(violations))


def _models_too(corpus: ModuleType, folder: Path) -> bool:
    app, facts = corpus.lay_out(corpus.cases("accepted")[0], folder / "model")
    found = {name: {item.rule for item in corpus.judged_model(name, app, facts)} for name in corpus.MODELS}
    return found == {name: {rule} for name, (rule, _) in corpus.MODELS.items()}


def _cases(corpus: ModuleType) -> list[Any]:
    return [*corpus.cases("refused"), *corpus.cases("accepted")]


def _key(case: Any) -> str:
    return f"{case.path.parent.name}/{case.name}"


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports a mutant in place of the real module."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self._mutant.module:
            return None
        return importlib.util.spec_from_loader(name, self, origin=str(self._mutant.path))

    def get_source(self, fullname: str) -> str:
        return self._mutant.code


# --- the pipeline ---


def pipeline_mutants() -> list[Mutant]:
    return [mutant for path in PIPELINE for mutant in (*without_statements(path), *without_wrappers(path))]


def try_pipeline(folder: Path) -> list[tuple[Mutant, bool]]:
    """Each mutant, and whether all tests of the kernel pass with it."""
    mutants = pipeline_mutants()

    def survives(numbered: tuple[int, Mutant]) -> bool:
        number, mutant = numbered
        source = folder / str(number)
        shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        (source / mutant.path.relative_to(SOURCE)).write_text(mutant.code)
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *KERNEL_TESTS]
        with suppress(subprocess.TimeoutExpired):
            env = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
            tried = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=PATIENCE)
            return tried.returncode == 0
        return False

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(zip(mutants, pool.map(survives, enumerate(mutants)), strict=True))


# --- the report ---


def main() -> int:
    trials = {"policy": try_policy, "pipeline": try_pipeline}
    chosen = sys.argv[1:] or list(trials)
    if unknown := set(chosen) - set(trials):
        raise SystemExit(f"scripts/mutants.py takes policy and pipeline, not {', '.join(sorted(unknown))}.")
    survivors = 0
    for name in chosen:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="ikoma-mutants-") as folder:
            tried = trials[name](Path(folder))
        alive = [mutant for mutant, survived in tried if survived]
        for mutant in alive:
            print(f"  survived: {mutant}")
        print(f"{name}: {len(tried)} tried, {len(tried) - len(alive)} noticed, in {time.monotonic() - began:.0f} s")
        survivors += len(alive)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())

"""Names say what a thing is: each class has its own, and docstrings begin with a subject or a verb."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path

import ikoma

SOURCE = Path(ikoma.__file__).parent
BESIDE = [Path(__file__).parents[2] / name for name in ("tests", "bench", "scripts")]
NO_SUBJECT = re.compile(r"(What|The same|Those|Who|Whom|Whose|It|Its|Of)\b")
NO_ANSWER = re.compile(r"(Where|Why|How|As|Which|When)\b")
"""Questions, which say what is asked and not what there is."""
VERBS = frozenset(Path(__file__).with_name("verbs.txt").read_text(encoding="utf-8").split())
"""First words of functions. Another verb is added here; what is no verb is a property, or has one in front."""
NOUNS_BY_CUSTOM = (
    *("property", "contextmanager", "classmethod", "validator"),
    *("capability(", "listed(", ".command(", ".group("),
)
"""Ways to make a function of which the name is not the function's own: a command or a capability is called by it."""
NAMED_ELSEWHERE = re.compile(r"main$|on_|connection_(made|lost)$|data_received$|(model|dataclass)_schema$")
"""Functions that programs and libraries call by these names."""
KNOWN = {"kernel/registry.py: capability", "kernel/listing.py: listed"}
STILL_NOUNS = ("compose/placement.py", "engines/compose/")
"""Places where private functions are still called by nouns."""
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the product; templates are apps of their own."""
    for file in sorted(SOURCE.rglob("*.py")):
        path = file.relative_to(SOURCE)
        if "templates" not in path.parts:
            yield str(path), ast.parse(file.read_text(encoding="utf-8"))


def test_no_two_classes_have_the_same_name() -> None:
    where = defaultdict(list)
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                where[node.name].append(path)
    assert {name: paths for name, paths in where.items() if len(paths) > 1} == {}


def programs_beside() -> Iterator[tuple[str, ast.Module]]:
    """Every module of tests, measurements and scripts."""
    for folder in BESIDE:
        for file in sorted(folder.rglob("*.py")):
            yield str(file.relative_to(folder.parent)), ast.parse(file.read_text(encoding="utf-8"))


def attribute_docstrings(tree: ast.Module) -> Iterator[str]:
    """Texts that stand below an assignment in a module or a class, and document it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef):
            for statement, text in pairwise(node.body):
                match statement, text:
                    case ast.Assign() | ast.AnnAssign(), ast.Expr(value=ast.Constant(value=str(words))):
                        yield words.strip()


def test_docstrings_begin_with_a_subject_or_a_verb() -> None:
    found = []
    for path, tree in modules():
        if path.startswith("errors/"):  # an error's docstring is the message that a person reads
            continue
        for node in ast.walk(tree):
            text = ast.get_docstring(node) if isinstance(node, Documented) else None
            if text and (NO_SUBJECT.match(text) or NO_ANSWER.match(text)):
                found.append(f"{path}: {text.splitlines()[0]}")
    assert found == []


def test_docstrings_of_attributes_begin_with_a_subject_or_a_verb() -> None:
    found = [
        f"{path}: {text.splitlines()[0]}"
        for path, tree in chain(modules(), programs_beside())
        for text in attribute_docstrings(tree)
        if NO_SUBJECT.match(text)
    ]
    assert found == []


def test_docstrings_of_tests_and_scripts_begin_with_a_subject_or_a_verb() -> None:
    found = [
        f"{path}: {text.splitlines()[0]}"
        for path, tree in programs_beside()
        for node in ast.walk(tree)
        if isinstance(node, Documented) and (text := ast.get_docstring(node)) and NO_SUBJECT.match(text)
    ]
    assert found == []


def test_functions_of_the_doors_for_people_are_named_by_verbs() -> None:
    """Views and pages show, word, list or make: a noun would not say what a function does."""
    nouns = re.compile(
        r"_?(listing|shown|status|health|entries|rows|page|names|document|parts|arguments|example|errors)$"
    )
    found = [
        f"{path}: {node.name}"
        for path, tree in modules()
        if path.startswith(("cli/views/", "web/"))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and nouns.match(node.name)
    ]
    assert found == []


def test_public_functions_are_named_by_verbs() -> None:
    """Functions of modules and classes: properties, context managers and other ways to make one may be nouns."""
    found = {
        f"{path}: {item.name}"
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and not item.name.startswith("_")
        if item.name.split("_")[0] not in VERBS and not NAMED_ELSEWHERE.match(item.name)
        if not any(custom in ast.unparse(mark) for mark in item.decorator_list for custom in NOUNS_BY_CUSTOM)
    }
    assert found == KNOWN


def test_private_functions_are_named_by_verbs() -> None:
    """Functions that only their own module calls are held to the same, wherever they stand."""
    found = {
        f"{path}: {node.name}"
        for path, tree in modules()
        if not path.startswith(STILL_NOUNS)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and re.match(r"_[a-z]", node.name)
        if node.name[1:].split("_")[0] not in VERBS
        if not any(custom in ast.unparse(mark) for mark in node.decorator_list for custom in NOUNS_BY_CUSTOM)
    }
    assert found == set()

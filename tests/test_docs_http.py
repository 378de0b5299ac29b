"""docs/http.md names, for each requirement, the function and the test that hold it: all of them exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "http.md").read_text()
NAMED = re.compile(r"`([\w/]+\.py): ([\w.]+)`")
ROWS = [
    line.split(" | ") for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| § ", "| --- "))
]


@cache
def defined(path: Path) -> frozenset[str]:
    """The functions and classes of a module, methods as `Class.method`."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
            names.update(f"{node.name}.{each.name}" for each in inner)
    return frozenset(names)


def missing(cell: str, below: Path) -> list[str]:
    """What a cell names and the code does not have."""
    named = NAMED.findall(cell)
    return [
        f"{path}: {name}" for path, name in named if not (below / path).exists() or name not in defined(below / path)
    ]


def test_every_function_and_every_test_that_the_page_names_exists() -> None:
    lost = [name for row in ROWS for name in missing(row[3], ROOT / "rcache") + missing(row[4], ROOT)]
    assert not lost


def test_every_requirement_has_a_function_and_a_test_or_a_word_on_why_not() -> None:
    assert len(ROWS) > 100
    for row in ROWS:
        where, test = row[3], row[4].rstrip(" |")
        assert len(row) == 5, row
        assert NAMED.search(where) or re.search(r"\w{3}", where), row
        assert NAMED.search(test) or (test == "—" and not NAMED.search(where)), row


def test_what_the_page_names_is_spelled_as_the_check_reads_it() -> None:
    assert len(re.findall(r"`[^`]*\.py:[^`]*`", PAGE)) == len(NAMED.findall(PAGE))


def test_the_check_finds_what_is_lost() -> None:
    assert missing("`core/storing.py: may_store`, `core/storing.py: nowhere`", ROOT / "rcache") == [
        "core/storing.py: nowhere"
    ]
    assert missing("`core/nowhere.py: may_store`", ROOT / "rcache") == ["core/nowhere.py: may_store"]
    assert missing("`asgi/fill.py: Fill._cover`, `asgi/fill.py: Fill._uncover`", ROOT / "rcache") == [
        "asgi/fill.py: Fill._uncover"
    ]

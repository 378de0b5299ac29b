"""A page of Markdown as the blocks it shows, and as the code it hides.

Every block of Python runs, from top to bottom, in one module per page, as if the page were one file in which `await` may stand
anywhere. What an example rests on and the reader has seen often enough stands in a comment, which no reader is shown:

    <!-- python
    engine = create_engine("sqlite://")
    -->

So does what is asserted after it. A comment runs where it stands. Pages take from the suite what they name: `redis_url`, and
`postgres_url` (an empty database). They run in an empty folder. A block of `text` is what the Python before it has
printed, where that prints.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

_FENCED = r"^(?P<indent> *)```(?P<language>[\w+-]*)(?P<words>[^\n]*)\n(?P<code>.*?)^ *```$"
_HIDDEN = r"^<!-- (?P<hidden>\w+)\n(?P<rest>.*?)^-->$"
_BLOCK = re.compile(f"{_FENCED}|{_HIDDEN}", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of a page. `line` is where its first line of code stands, counted from 1."""

    page: Path
    line: int
    language: str
    code: str
    is_shown: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """The pages whose blocks are checked: all of the site."""
    return sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")])


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page in the order in which they stand, hidden ones too."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        is_shown = found["hidden"] is None
        start = found.start("code" if is_shown else "rest")
        language = found["language"] if is_shown else found["hidden"]
        code = textwrap.dedent(found["code"] if is_shown else found["rest"])
        yield Block(page, text.count("\n", 0, start) + 1, language, code, is_shown)


async def run(block: Block, space: dict[str, Any]) -> None:
    """Runs a block of Python in a module's names. What goes wrong is told with the page's own lines."""
    tree = ast.parse(block.code, str(block.page))
    ast.increment_lineno(tree, block.line - 1)
    code = compile(tree, str(block.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, space)
    if inspect.iscoroutine(result):
        await result

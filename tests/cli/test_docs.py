"""The pages name each command and each option that there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rcache.cli.commands import commands

DOCS = Path(__file__).parents[2] / "docs"
ELSEWHERE = {"pg", "queue", "sweep", "warm", "worker"}
"""Commands that other pages tell of."""


def each(command: Any, path: str) -> Iterator[tuple[str, set[str]]]:
    """Every command below this one, with its options."""
    yield path, {max(option.opts, key=len) for option in command.params if option.opts[0].startswith("-")}
    for name, below in getattr(command, "commands", {}).items():
        yield from each(below, f"{path} {name}")


def test_the_page_names_every_command_and_option() -> None:
    page = (DOCS / "cli.md").read_text()
    for path, options in each(commands(), "rcache"):
        words = path.split()
        is_elsewhere = words[1:] and words[1] in ELSEWHERE
        text = "".join(each.read_text() for each in DOCS.rglob("*.md")) if is_elsewhere else page
        assert re.search(rf"\b{re.escape(path)}\b|^## {re.escape(words[-1])}:", text, re.MULTILINE), path
        assert [option for option in sorted(options) if not re.search(rf"(?<![\w-]){option}(?![\w-])", text)] == [], (
            path
        )

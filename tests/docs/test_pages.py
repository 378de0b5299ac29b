"""Whatever a page shows has been tried: its Python runs, its commands exist, its other blocks can be read."""

from __future__ import annotations

import ast
import json
import logging
import sys
import tomllib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import django.conf
import pytest
import yaml
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

import rcache
from rcache.engine.work import APPLICATION
from tests.docs import commands
from tests.docs.blocks import ROOT, blocks, pages, run

ALL = {page: list(blocks(page)) for page in pages()}
HAND_WRITTEN = {ROOT / "README.md"}  # tests/test_readme.py runs what it shows
READERS: dict[str, Callable[[str], object]] = {
    "toml": tomllib.loads,
    "json": json.loads,
    "yaml": yaml.safe_load,
    "py": ast.parse,  # Python that is not ours to run: another library's side of a comparison
}
AS_TEXT = {"sql", "http", "text", "html", "ini", "lua", "sh"}
"""Languages of what is shown and not checked. `text` is what a program printed or is typed into another one."""


def name(page: Path) -> str:
    """A page as tests call it."""
    return str(page.relative_to(ROOT))


def having(language: str) -> list[Any]:
    """The pages with a block in this language."""
    found = [page for page, made in ALL.items() if any(block.language == language for block in made)]
    return [pytest.param(page, id=name(page)) for page in found if page not in HAND_WRITTEN]


def given(page: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the suite has of what the page names."""
    text = "".join(block.code for block in ALL[page] if block.language == "python")
    names: dict[str, Any] = {}
    if "redis_url" in text:
        names["redis_url"] = request.getfixturevalue("redis_server").url
    if "postgres_url" in text:
        server = request.getfixturevalue("postgres_server")
        database = f"docs_{uuid4().hex}"
        server.create_database(database)
        names["postgres_url"] = server.url(database=database)
    return names


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, no_other_caches: None) -> Iterator[None]:
    """What a page, or a framework on it, sets up for a process does not outlive the page."""
    monkeypatch.setattr(APPLICATION, "_functions", {})
    monkeypatch.setattr(APPLICATION, "_schedules", [])
    configured = django.conf.settings._wrapped
    django.conf.settings._wrapped = django.conf.empty
    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, logging.root.manager.disable
    yield
    django.conf.settings._wrapped = configured
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.disable(disabled)


@pytest.mark.parametrize("page", having("python"))
async def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RCACHE_URL", raising=False)
    module = ModuleType(f"rcache_page_{page.stem.replace('-', '_')}")
    space = module.__dict__
    space.update(given(page, request))
    if "redis_url" in space:
        monkeypatch.setenv("RCACHE_DEADLINE", "30")  # a busy machine is no outage of Redis
    sys.modules[module.__name__] = module  # where annotations are looked up
    try:
        shown = printed = ""
        for block in ALL[page]:
            if block.language == "python":
                await run(block, space)
                shown, printed = (block.code, "") if block.is_shown else (shown, printed)
                printed += capsys.readouterr().out
            elif block.language == "text" and "print(" in shown:
                assert (str(block), block.code) == (str(block), printed)
                shown = ""
    except Exception as error:
        if (place := where(error, page)) is None:
            raise
        pytest.fail(place, pytrace=False)
    finally:
        del sys.modules[module.__name__]
        await close(space)


def where(error: Exception, page: Path) -> str | None:
    """The page's own line and the error, where it was raised there: a traceback would show the whole page."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{name(page)}:{frame.lineno}: {frame.line}\n{error!r}" if frame.filename == str(page) else None


async def close(space: dict[str, Any]) -> None:
    """Ends what a page has opened and, as pages do, left to the end of the process."""
    for value in list({id(each): each for each in space.values()}.values()):
        if isinstance(value, rcache.Cache):
            await value.close()
        elif isinstance(value, AsyncEngine):
            await value.dispose()
        elif isinstance(value, Engine):
            value.dispose()


@pytest.mark.parametrize("page", having("console"))
def test_the_commands_of_a_page_exist(page: Path) -> None:
    found = [line for block in ALL[page] if block.language == "console" for line in commands.typed(block.code)]
    assert found, "a console block shows what is typed after a $"
    assert [wrong for line in found if (wrong := commands.unknown(line))] == []


def test_a_block_says_its_language_and_can_be_read() -> None:
    known = {"python", "console", *READERS, *AS_TEXT}
    shown = [block for made in ALL.values() for block in made if block.is_shown]
    assert [f"{block}: {block.language or 'no language'}" for block in shown if block.language not in known] == []
    for block in shown:
        READERS.get(block.language, str)(block.code)


async def test_what_fails_is_told_with_the_line_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n<!-- python\nstart = 1\n-->\n- in a list\n\n  ```python\n  await start\n  ```\n")
    space: dict[str, Any] = {}
    hidden, shown = blocks(page)
    await run(hidden, space)
    with pytest.raises(TypeError) as failed:
        await run(shown, space)
    assert (hidden.is_shown, shown.is_shown, shown.code) == (False, True, "await start\n")
    assert failed.traceback[-1].lineno + 1 == 9


@pytest.mark.parametrize(
    "line",
    [
        "make nothing",
        "pip install 'rcache[nothing]'",
        "python -m examples.nothing",
        "scripts/nothing",
        "rcache nothing",
        "rcache pg nothing",
        "rcache pg install --nothing",
    ],
)
def test_a_command_that_is_not_there_is_found(line: str) -> None:
    (typed,) = commands.typed(f"$ {line}  # a comment\nwhat it printed\n")
    assert "no " in commands.unknown(typed)


def test_commands_are_read_as_a_shell_reads_them() -> None:
    shown = "$ RCACHE_URL=redis://here rcache pg drain \\\n    --once | tee log\nprinted\n$ make test\n"
    assert list(commands.typed(shown)) == ["RCACHE_URL=redis://here rcache pg drain --once", "tee log", "make test"]
    assert [commands.unknown(line) for line in commands.typed(shown)] == ["", "", ""]

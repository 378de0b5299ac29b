"""The commands of a console block, and whether they exist."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from unittest.mock import patch

from rcache.cli import main
from tests.docs.blocks import ROOT

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_EXTRAS = set(_PROJECT["optional-dependencies"])
_TARGETS = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
_SCRIPTS = {path.name for path in (ROOT / "scripts").iterdir()}


def typed(text: str) -> Iterator[str]:
    """What is typed: lines after `$ `, continued after a backslash, comments left out, each part of a pipe by itself."""
    for line in re.sub(r"\\\n(> )?", " ", text).splitlines():
        if line.startswith("$ "):
            words = shlex.split(line[2:], comments=True)
            part: list[str] = []
            for word in [*words, "|"]:
                if word in ("|", "&&", ">", "&"):
                    if part:
                        yield shlex.join(part)
                    part = []
                else:
                    part.append(word)


def unknown(line: str) -> str:
    """What a command names that is not there, empty where all is. Programs that are not ours are believed."""
    words = shlex.split(line)
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words.pop(0)
    program, *arguments = words or [""]
    if program == "rcache":
        return _unknown_of_ours(arguments)
    if program == "make":
        return _lost(line, [each for each in arguments if "=" not in each], _TARGETS)
    if program == "pip":
        named = re.findall(r"rcache\[([\w,]+)\]", line)
        return _lost(line, [extra for each in named for extra in each.split(",")], _EXTRAS)
    if program == "python" and arguments[:1] == ["-m"]:
        module = arguments[1]
        is_ours = module.split(".")[0] in ("examples", "benchmarks", "tests", "rcache")
        return f"{line}: no module {module}" if is_ours and importlib.util.find_spec(module) is None else ""
    if program.startswith("scripts/"):
        return _lost(line, [program.removeprefix("scripts/")], _SCRIPTS)
    return ""


def _lost(line: str, named: list[str], known: set[str]) -> str:
    lost = [each for each in named if each not in known]
    return f"{line}: no {', '.join(lost)}" if lost else ""


def _unknown_of_ours(arguments: list[str]) -> str:
    """Reads the help of the command: each option has to stand in it."""
    line = shlex.join(["rcache", *arguments])
    words: tuple[str, ...] = ()
    text = _help(())
    while re.search(
        r"\b[A-Z]+ (\.\.\.|\[ARGS\])", text.strip().partition("\n")[0]
    ):  # a group: its next word is a command
        following = arguments[len(words) : len(words) + 1]
        if not following or following[0].startswith("-"):
            break
        words += (following[0],)
        text = _help(words)
    if not text:
        return f"{line}: no such command"
    options = [each.partition("=")[0] for each in arguments if re.match(r"-{1,2}[a-zA-Z]", each)]
    return _lost(line, options, set(re.findall(r"(?<![\w-])-{1,2}[a-zA-Z][\w-]*", text)) | {"--help"})


@cache
def _help(words: tuple[str, ...]) -> str:
    """What `rcache WORDS --help` prints, empty where there is no such command."""
    out = io.StringIO()
    wide = patch.dict(os.environ, COLUMNS="300")  # nothing is cut or wrapped
    with wide, contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            code = main([*words, "--help"])
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
    return out.getvalue() if code == 0 else ""

"""What is said of settings elsewhere than in code: in the environment, and in a file.

`[tool.rcache]` of the nearest pyproject.toml that has such a table, from the working directory upwards, or of the file that
RCACHE_CONFIG names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from rcache.core.configuration import CHECKS, AllSettings, nearest
from rcache.core.errors import ConfigurationError

PREFIX: Final = "RCACHE_"
OTHERS: Final = ("RCACHE_CONFIG", "RCACHE_DSN")
"""Variables that are read elsewhere, and are no settings of a cache."""

SERVICE: Final = ("RCACHE_PORT", "RCACHE_SERVICE_")
"""What Kubernetes puts into the environment of everybody beside a service that is called rcache."""


class Said(NamedTuple):
    """A value that passed its check, and who said it."""

    value: Any
    source: str


def from_environment(environment: Mapping[str, str]) -> dict[str, Said]:
    """What variables say; one that is empty says nothing."""
    said = {}
    for variable in environment:
        if not variable.startswith(PREFIX) or variable in OTHERS or variable.startswith(SERVICE):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in CHECKS or variable != PREFIX + name.upper():
            meant = nearest(name.upper(), map(str.upper, CHECKS), PREFIX + "{}")
            raise ConfigurationError(f"{variable} in the environment is no setting: {meant}")
        if text := environment[variable].strip():
            said[name] = _checked(name, _as_written(name, text), f"environment {variable}")
    return said


def _checked(name: str, value: Any, source: str) -> Said:
    if name == "guard":
        raise ConfigurationError(f"{source}: guard is a callable, and can only be given in code")
    try:
        return Said(CHECKS[name](value, name), source)
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from None


def _as_written(name: str, text: str) -> Any:
    """What code would write for a text in the environment."""
    lower = text.lower()
    if name in _OPTIONAL and lower == "none":
        return None
    if name in _FLAGS and lower in _BOOLEANS:
        return _BOOLEANS[lower]
    if name in _COUNTS:
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text
    if name in _LISTS and text not in ("declared", "ignore"):
        return tuple(part.strip() for part in text.split(","))
    if name in ("early", "audit"):
        return float(text) if text.replace(".", "", 1).isdigit() and text.isascii() else text
    return text


_BOOLEANS: Final = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


def _those_typed(word: str) -> frozenset[str]:
    return frozenset(name for name, kind in AllSettings.__annotations__.items() if word in str(kind))


# How a text is read follows from what code may write.
_OPTIONAL: Final = _those_typed("None")
_FLAGS: Final = _those_typed("bool")
_LISTS: Final = _those_typed("Iterable")
_COUNTS: Final = _those_typed("'int'") | _those_typed("'int | None'")


# The file


def from_file() -> dict[str, Said]:
    """What `[tool.rcache]` says."""
    named = os.environ.get("RCACHE_CONFIG")
    if named:
        path = Path(named)
        table = _table_of(path, is_named=True)
    else:
        path, table = _nearest_table()
    source = f"{path} [tool.rcache]"
    said = {}
    for name, value in table.items():
        if name not in CHECKS:
            raise ConfigurationError(f"{source}: {name} is no setting: {nearest(name, CHECKS, '{}')}")
        said[name] = _checked(name, tuple(value) if isinstance(value, list) else value, source)
    return said


def _nearest_table() -> tuple[Path, Mapping[str, Any]]:
    try:
        here = Path.cwd()
    except FileNotFoundError:  # it was removed under this process
        return Path(), {}
    for folder in (here, *here.parents):
        path = folder / "pyproject.toml"
        if table := _table_of(path, is_named=False):
            return path, table
    return here, {}


def _table_of(path: Path, *, is_named: bool) -> Mapping[str, Any]:
    """The table `[tool.rcache]` of a file. Raises ConfigurationError where it cannot be read, or a file that was named has none."""
    try:
        found = path.stat()
        table = _parsed(path, found.st_mtime_ns, found.st_size)
    except (FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError) as error:
        if is_named:
            raise ConfigurationError(f"RCACHE_CONFIG={path}: {error.strerror or error}") from None
        return {}
    if table is None:
        if is_named:
            raise ConfigurationError(f"RCACHE_CONFIG={path}: the file has no table [tool.rcache]")
        return {}
    return table


@lru_cache(maxsize=32)
def _parsed(path: Path, changed: int, length: int) -> Mapping[str, Any] | None:
    """The file's table, read again when the file has changed; None where it has none."""
    text = path.read_bytes()
    if b"rcache" not in text:  # most often: and then nothing is to be parsed
        return None
    import tomllib

    try:
        table = tomllib.loads(text.decode()).get("tool", {}).get("rcache")
    except (ValueError, AttributeError) as error:
        raise ConfigurationError(f"{path} is no TOML that can be read: {error}") from None
    if table is not None and not isinstance(table, dict):
        raise ConfigurationError(f"{path}: tool.rcache is no table: write [tool.rcache] and a setting a line")
    return table

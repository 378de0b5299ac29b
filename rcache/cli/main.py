"""The frame of the commands: what they share, and how they end.

A command is a module with `add(commands)`, which adds a parser and sets two defaults of it: `run`, a function that takes what was
parsed and returns the exit code, and `extra`, the one that the command needs.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from rcache.cli import pg
from rcache.core.errors import ConfigurationError, RCacheError

COMMANDS = (pg,)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. 0: done; 1: it has failed; 2: it cannot work as it was called; 130: it was interrupted."""
    parser = argparse.ArgumentParser("rcache", description="Response caching that is right when data changes.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    parsed = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        return int(parsed.run(parsed))
    except ModuleNotFoundError as error:
        return _failed(f"{error}: pip install 'rcache[{parsed.extra}]'", 2)
    except ConfigurationError as error:
        return _failed(str(error), 2)
    except (RCacheError, OSError) as error:
        return _failed(str(error), 1)
    except KeyboardInterrupt:
        return 130


def _failed(reason: str, code: int) -> int:
    sys.stderr.write(f"rcache: {reason}\n")
    return code

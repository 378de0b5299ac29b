"""How the commands begin and end: exit codes, and errors as one line."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Sequence
from typing import Any

from rcache.core.errors import BackendError, ConfigurationError, RCacheError

PROGRAM = "rcache"
DONE, FAILED, CANNOT_WORK, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. 0: done; 1: it failed, or found something; 2: it cannot work as it was called; 130: interrupted."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        from rcache.cli.commands import commands
    except ModuleNotFoundError as error:
        return _failed(f"{error}: pip install 'rcache[cli]'", CANNOT_WORK)
    # What a command has to say it says by itself; the library's own words are for applications.
    logging.getLogger("rcache").addHandler(logging.NullHandler())
    try:
        return _run(commands(), arguments)
    except BrokenPipeError:  # `rcache tags | head`: who read it has enough
        with contextlib.suppress(OSError):
            sys.stdout.close()
        return FAILED
    except ConfigurationError as error:
        return _failed(str(error), CANNOT_WORK)
    except BackendError as error:
        return _failed(f"{error} (rcache doctor looks for the cause)", FAILED)
    except (RCacheError, OSError) as error:
        return _failed(str(error), FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if TRACEBACK in arguments:
            raise
        return _failed(f"{type(error).__name__}: {error} (a defect of rcache's: {TRACEBACK} says where)", FAILED)


TRACEBACK = "--traceback"


def _run(command: Any, arguments: Sequence[str]) -> int:
    from typer.exceptions import Abort, TyperException

    try:
        return int(command.main(args=arguments, prog_name=PROGRAM, standalone_mode=False) or DONE)
    except Abort:
        return INTERRUPTED
    except TyperException as error:  # how it was called
        context: Any = getattr(error, "ctx", None)
        path = PROGRAM if context is None else context.command_path
        told: Any = getattr(error, "format_message", error.__str__)
        return _failed(f"{' '.join(told().split())} ({path} --help)", CANNOT_WORK)


def _failed(reason: str, code: int) -> int:
    sys.stderr.write(f"{PROGRAM}: {' '.join(reason.split())}\n")
    return code

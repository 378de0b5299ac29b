"""Which commands there are.

A command is a module with `add(app)`, which registers its function: `app.command(...)(takes(function))`.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

import rcache
from rcache.cli import doctor, explain, pg, purge, queue, show, stats, sweep, tags, tail, top, warm, worker
from rcache.cli.main import CANNOT_WORK, DONE, TRACEBACK

COMMANDS = (stats, top, tags, show, explain, purge, tail, doctor, warm, sweep, pg, queue, worker)


def commands() -> Any:
    """The command `rcache`, with all of them."""
    app = typer.Typer(
        help="Response caching that is right when data changes: look into a cache, explain it, run it.",
        epilog="Exit codes: 0 done; 1 it has failed, or found something; 2 it cannot work as it was called; 130 interrupted.",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_root)
    for command in COMMANDS:
        command.add(app)
    return typer.main.get_command(app)


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False,
    traceback: Annotated[bool, typer.Option(TRACEBACK, help="Show where an unexpected error arose.")] = False,
) -> None:
    if version:
        typer.echo(f"rcache {rcache.__version__}")
        raise typer.Exit(DONE)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(CANNOT_WORK)

"""`rcache`: what is done from a terminal. Each command is a module here, with one function that says what it takes."""

from rcache.cli.main import main

__all__ = ["main"]

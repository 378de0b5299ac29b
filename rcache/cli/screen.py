"""What a command shows: tables for people, JSON for programs, from the same rows."""

from __future__ import annotations

import base64
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Literal, TypeVar

import orjson
from rich import box
from rich.cells import cell_len
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from rcache.cli.words import plain

T = TypeVar("T")

GAP = 3  # characters between two columns


@dataclasses.dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column of a table, or a line of a card: its title, and what it says of a row."""

    title: str
    text: Callable[[T], str]
    is_number: bool = False
    is_extra: bool = False  # left out where there is no room for all
    style: Callable[[T], str] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """Rows of one kind; `name` is theirs in JSON."""

    name: str
    rows: Sequence[T]
    columns: Sequence[Column[T]]
    title: str | None = None
    empty: str = "nothing"  # what is said where there are none
    note: str | None = None  # what is said below them


@dataclasses.dataclass(frozen=True, slots=True)
class Card(Generic[T]):
    """One thing, a line for each of its columns."""

    name: str
    row: T
    columns: Sequence[Column[T]]
    title: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """One value that programs are told, and people are not, or elsewhere."""

    name: str
    value: Any


Part = Rows[Any] | Card[Any] | Value


def through(columns: Sequence[Column[T]], inner: Callable[[Any], T]) -> tuple[Column[Any], ...]:
    """The same columns for rows that hold what these are of."""

    def of(column: Column[T]) -> Column[Any]:
        style = column.style
        outer = None if style is None else lambda row: style(inner(row))
        return dataclasses.replace(column, text=lambda row: column.text(inner(row)), style=outer)

    return tuple(map(of, columns))


class Screen:
    """Standard output, for people or for programs."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.is_terminal = sys.stdout.isatty()
        # What is piped is not cut to the width of some screen.
        self._console = Console(file=sys.stdout, highlight=False, width=None if self.is_terminal else 10_000)

    def put(self, *parts: Part) -> None:
        """Shows the parts below each other, or as one JSON object with a member for each."""
        if self.as_json:
            self._write(orjson.dumps(json(*parts)))
        else:
            self._print(rendered(*parts, width=self._console.width))

    def line(self, row: object, text: Text) -> None:
        """Shows one row of a stream: one line, or one line of JSON."""
        if self.as_json:
            self._write(orjson.dumps(spelled(row)))
        else:
            self._print(text, is_folded=False)

    def say(self, text: str) -> None:
        """A sentence for people; programs are not told."""
        if not self.as_json:
            self._print(Text(plain(text)))

    def raw(self, octets: bytes) -> None:
        """Shows bytes as they are; on a terminal without what would move its cursor."""
        if self.is_terminal:
            lines = octets.decode("utf-8", "replace").split("\n")
            octets = "".join(f"{plain(line)}\n" for line in lines).encode()
        sys.stdout.flush()
        sys.stdout.buffer.write(octets)
        sys.stdout.buffer.flush()

    def _write(self, octets: bytes) -> None:
        sys.stdout.write(octets.decode() + "\n")
        sys.stdout.flush()

    def _print(self, what: Any, *, is_folded: bool = True) -> None:
        if self.is_terminal:
            self._console.print(what, soft_wrap=not is_folded)
            return
        with self._console.capture() as captured:
            self._console.print(what)
        sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))
        sys.stdout.flush()

    @property
    def console(self) -> Console:
        """For what is drawn again and again."""
        return self._console


def progress() -> Progress:
    """A bar for long work, on standard error, gone when the work is done; silent where that is no terminal."""
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def rendered(*parts: Part, width: int) -> Group:
    """The parts for people, an empty line between two. `width`: the columns of the terminal."""
    pieces: list[Any] = []
    for part in parts:
        if isinstance(part, Value):
            continue
        if pieces:
            pieces.append(Text())
        if part.title is not None:
            pieces.append(Text(part.title, style="bold"))
        pieces += _table(part, width) if isinstance(part, Rows) else [_card(part)]
    return Group(*pieces)


def _table(part: Rows[Any], width: int) -> list[Any]:
    if not part.rows:
        return [Text(part.empty, style="dim")]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim")
    shown, left_out = _fitting(part, width)
    for column in shown:
        justify: Literal["left", "right"] = "right" if column.is_number else "left"
        table.add_column(column.title, justify=justify, overflow="fold", no_wrap=column.is_number)
    for row in part.rows:
        table.add_row(*(_cell(column, row) for column in shown))
    notes = [] if part.note is None else [part.note]
    if left_out:
        notes.append(f"No room here for: {', '.join(column.title for column in left_out)}")
    return [table, *(Text(note, style="dim") for note in notes)]


def _fitting(part: Rows[Any], width: int) -> tuple[list[Column[Any]], list[Column[Any]]]:
    """The columns that are shown, and those that are left out where not all fit: extra ones, the last first."""
    shown = list(part.columns)
    widths = {column.title: max(map(cell_len, (column.title, *_texts(column, part.rows)))) for column in shown}
    left_out: list[Column[Any]] = []
    for column in reversed(part.columns):
        if sum(widths[each.title] + GAP for each in shown) - GAP <= width:
            break
        if column.is_extra:
            shown.remove(column)
            left_out.insert(0, column)
    return shown, left_out


def _texts(column: Column[Any], rows: Sequence[Any]) -> Iterator[str]:
    return (line for row in rows for line in _cell(column, row).plain.split("\n"))


def _card(part: Card[Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for column in part.columns:
        cell = _cell(column, part.row)
        if cell.plain:  # of what says nothing not even the title
            table.add_row(Text(column.title), cell)
    return table


def _cell(column: Column[Any], row: Any) -> Text:
    lines = (plain(line) for line in column.text(row).split("\n"))
    return Text("\n".join(lines), style="" if column.style is None else column.style(row))


def json(*parts: Part) -> dict[str, Any]:
    """The parts for programs."""
    return {part.name: spelled(_content(part)) for part in parts}


def _content(part: Part) -> Any:
    match part:
        case Rows():
            return part.rows
        case Card():
            return part.row
        case Value():
            return part.value


def spelled(value: Any) -> Any:
    """A row as JSON has it: its fields by name; bytes as text, or as {"base64": ...} where they are none."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: spelled(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(name): spelled(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [spelled(each) for each in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate is no JSON
    return value

# SPDX-License-Identifier: Apache-2.0
"""What a command says, in one of two forms.

* ``--json``: one object, ``{"apiVersion": "holdfast/v1", "kind": …, …}``, on stdout and nothing
  else there. Fields are only ever added. JSON itself escapes what is not ASCII, and controls.
* text, for people: may change at any time. Tables and colour on a terminal, plain columns
  elsewhere; ``NO_COLOR`` and ``TERM=dumb`` turn every escape sequence off. Whatever is printed
  passes ``terminal.escape`` here, so no caller can forget it.

Data goes to stdout, talk to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, Protocol

import click

from sidecar.cli.terminal import escape, escape_block

__all__ = ["API_VERSION", "Page", "emit", "is_json", "set_json", "talk"]

API_VERSION: Final = "holdfast/v1"
_is_json: ContextVar[bool] = ContextVar("holdfast_cli_json", default=False)


def is_json() -> bool:
    """Return whether the command was asked for JSON."""
    return _is_json.get()


def set_json(value: bool) -> None:
    """Remember what the command was asked for."""
    _is_json.set(value)


class Page(Protocol):
    """Where a command shows its result to people. Escapes all it is given."""

    def line(self, text: object = "", *, style: str = "") -> None:
        """Show one line."""

    def block(self, text: object) -> None:
        """Show several lines as they are."""

    def fields(self, rows: Iterable[tuple[str, object]]) -> None:
        """Show names and values below each other."""

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Show a table."""

    def mark(self, is_good: bool | None, text: object) -> None:
        """Show a line with ✓, ✗ or (None) ! before it."""


def emit(kind: str, data: Mapping[str, Any], show: Callable[[Page], None]) -> None:
    """Print the result of a command: *data* as a *kind* for programs, or *show* for people."""
    if is_json():
        document = {"apiVersion": API_VERSION, "kind": kind, **data}
        click.echo(json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False))
        return
    show(_page())


def talk(text: object, *, style: str = "") -> None:
    """Say something to the person at the terminal; never data."""
    line = escape_block(text)
    if style and _is_rich(sys.stderr):
        line = click.style(line, fg=style)
    click.echo(line, err=True)


def _is_rich(stream: Any) -> bool:
    return (
        bool(getattr(stream, "isatty", bool)())
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )


def _page() -> Page:
    if getattr(sys.stdout, "isatty", bool)():
        return _RichPage(is_coloured=_is_rich(sys.stdout))
    return _PlainPage()


_MARKS: Final[Mapping[bool | None, tuple[str, str]]] = {
    True: ("✓", "green"),
    False: ("✗", "red"),
    None: ("!", "yellow"),
}


class _PlainPage:
    """For pipes and files: no escape sequences, nothing cut off."""

    def line(self, text: object = "", *, style: str = "") -> None:
        click.echo(escape(text))

    def block(self, text: object) -> None:
        click.echo(escape_block(text))

    def fields(self, rows: Iterable[tuple[str, object]]) -> None:
        pairs = [(escape(name), escape(value)) for name, value in rows]
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            click.echo(f"{name:<{width}}  {value}".rstrip())

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        cells = [[escape(cell) for cell in row] for row in [columns, *rows]]
        widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
        for row in cells:
            text = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            click.echo(text.rstrip())

    def mark(self, is_good: bool | None, text: object) -> None:
        click.echo(f"{_MARKS[is_good][0]} {escape(text)}")


class _RichPage:
    """For a terminal. Values are ``Text``, never markup."""

    def __init__(self, *, is_coloured: bool) -> None:
        from rich.console import Console

        # Without a colour system rich writes no escape sequence at all, not even bold.
        self._console = Console(
            file=sys.stdout,
            highlight=False,
            markup=False,
            emoji=False,
            color_system="auto" if is_coloured else None,
        )

    def line(self, text: object = "", *, style: str = "") -> None:
        self._print(escape(text), style)

    def block(self, text: object) -> None:
        self._print(escape_block(text), "")

    def fields(self, rows: Iterable[tuple[str, object]]) -> None:
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for name, value in rows:
            grid.add_row(Text(escape(name), style="dim"), Text(escape(value), overflow="fold"))
        self._console.print(grid)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(Text(escape(column)), overflow="fold")
        for row in rows:
            table.add_row(*(Text(escape(cell)) for cell in row))
        self._console.print(table)

    def mark(self, is_good: bool | None, text: object) -> None:
        from rich.text import Text

        mark, colour = _MARKS[is_good]
        self._console.print(Text.assemble((mark, colour), " ", escape(text)), soft_wrap=True)

    def _print(self, text: str, style: str) -> None:
        from rich.text import Text

        self._console.print(Text(text, style=style), soft_wrap=True)

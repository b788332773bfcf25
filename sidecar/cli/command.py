# SPDX-License-Identifier: Apache-2.0
"""What every command has: examples before options, ``--json``, and a suggestion on a typo."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from sidecar.cli.output import set_json

__all__ = ["Command", "Group", "LazyGroup", "command", "group", "setting"]

AnyCallable = TypeVar("AnyCallable", bound=Callable[..., Any])
_CLOSE: Final = 0.6


def _choose_output(_ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        set_json(value == "json")


def _choose_json(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        set_json(True)


def _output_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["-o", "--output"],
            type=click.Choice(["text", "json"]),
            callback=_choose_output,
            expose_value=False,
            is_eager=True,
            help="Form of the answer.",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            callback=_choose_json,
            expose_value=False,
            is_eager=True,
            help="The same as -o json: one versioned object on stdout.",
        ),
    ]


class Command(click.Command):
    """A command whose help begins with examples.

    Args:
        examples: Whole command lines.
        has_output: False for one that runs others, whose output is theirs.
    """

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), has_output: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        if has_output:
            self.params.extend(_output_options())

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one sentence, the examples, then the rest."""
        first, _, rest = inspect.cleandoc(self.help or "").partition("\n\n")
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(first)
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
        if rest:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(rest)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options first, then how to reach control."""
        own: list[tuple[str, str]] = []
        connection: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and (record[1] or isinstance(param, click.Option)):
                is_ours = not (param.name or "").startswith("client_")
                (own if is_ours else connection).append(record)
        for title, rows in (("Options", own), ("Reaching control", connection)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class Group(click.Group):
    """A group that says what was probably meant."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            raise click.UsageError(_no_such(name, self.list_commands(ctx), ctx), ctx)
        return super().resolve_command(ctx, args)


def _no_such(name: str, commands: Iterable[str], ctx: click.Context) -> str:
    names = list(commands)
    near = difflib.get_close_matches(name[:64], names, n=2, cutoff=_CLOSE)
    near += [other for other in names if other.startswith(name) and other not in near][:2]
    text = f"There is no command {name!r}."
    if near:
        text += f" Did you mean {' or '.join(f'`{ctx.command_path} {word}`' for word in near)}?"
    return text


class LazyGroup(Group):
    """A group that imports a command only when it is run.

    Args:
        lazy: By name: the module, the attribute in it, and the sentence for the list of commands.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = self._lazy.get(cmd_name)
        if entry is None:
            return None
        module, attribute, _ = entry
        found = getattr(importlib.import_module(module), attribute)
        assert isinstance(found, click.Command)  # noqa: S101 - our own table
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(self.help_rows())

    def help_rows(self) -> list[tuple[str, str]]:
        """Return name and sentence of every command."""
        return [(name, text) for name, (_, _, text) in self._lazy.items()]


def command(
    *, examples: Sequence[str], name: str | None = None, **kwargs: Any
) -> Callable[[Any], Command]:
    """Make a function a command with *examples* in its help."""

    def decorate(function: Any) -> Command:
        return click.command(name=name, cls=Command, examples=examples, **kwargs)(function)

    return decorate


def group(*, name: str | None = None) -> Callable[[Any], Group]:
    """Make a function a group of commands."""

    def decorate(function: Any) -> Group:
        return click.group(name=name, cls=Group)(function)

    return decorate


_PATH: Final = click.Path(path_type=Path)


def setting(*names: str) -> Callable[[AnyCallable], AnyCallable]:
    """Add the flags of the settings *names*, and ``--config``, to a command.

    The values arrive as text, unchecked: ``Settings.load`` checks them as it checks the file's.
    """
    from sidecar.settings import Settings, flag_of

    def decorate(function: AnyCallable) -> AnyCallable:
        for name in reversed(names):
            text = Settings.model_fields[name].description or ""
            function = click.option(flag_of(name), name, help=text)(function)
        return click.option(
            "--config", type=_PATH, help="Settings file (default: /etc/holdfast/holdfast.yaml)."
        )(function)

    return decorate

# SPDX-License-Identifier: Apache-2.0
"""``holdfast completion``: the script that a shell reads once."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from sidecar.cli.command import command
from sidecar.cli.exits import Exit
from sidecar.cli.output import emit

__all__ = ["completion"]


@command(
    name="completion",
    examples=(
        'eval "$(holdfast completion bash)"',
        "holdfast completion fish > ~/.config/fish/completions/holdfast.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> Exit:
    """Print the completion script for a shell."""
    from sidecar.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choice above
    script = kind(cli, {}, "holdfast", "_HOLDFAST_COMPLETE").source()
    emit("Completion", {"shell": shell, "script": script}, lambda page: page.block(script))
    return Exit.OK

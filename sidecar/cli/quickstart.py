# SPDX-License-Identifier: Apache-2.0
"""``holdfast quickstart``: see it work on real recorded tool calls."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from sidecar.cli.command import command
from sidecar.cli.output import is_json

__all__ = ["quickstart"]


@command(examples=["holdfast quickstart", "holdfast quickstart --exit --json"])
@click.option(
    "--dataset",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Directory of recorded calls and bundle; default: the AgentDojo calls that are shipped.",
)
@click.option("--exit", "is_exit", is_flag=True, help="End when done, instead of staying up.")
def quickstart(dataset: Path | None, is_exit: bool) -> int:
    """See it work: recorded tool calls through real gates, then a kill, proved.

    Ends with 0 if every attack was stopped and the kill held, else with 1.
    """
    from sidecar.quickstart.run import quickstart as run

    return asyncio.run(run(dataset=dataset, is_exit=is_exit, is_json=is_json()))

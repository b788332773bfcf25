# SPDX-License-Identifier: Apache-2.0
"""``holdfast verify-containment``: do not believe it, try it."""

from __future__ import annotations

import asyncio
from collections import Counter

import click

from sidecar.api.v1 import containment_pb2
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import command
from sidecar.cli.exits import Exit
from sidecar.cli.output import Page, emit
from sidecar.cli.views import effect_name, verification_data

__all__ = ["verify_containment"]


@command(
    name="verify-containment",
    examples=(
        "holdfast verify-containment banking",
        "holdfast verify-containment banking --calls 1000 --json",
    ),
)
@click.argument("agent")
@click.option(
    "--calls", type=click.IntRange(1, 1000), default=100, show_default=True,
    help="How many of its last calls to ask again.",
)  # fmt: skip
@connected
def verify_containment(options: ClientOptions, agent: str, calls: int) -> Exit:
    """Ask an agent's last recorded calls again, as a dry run. Exits 1 if any would be allowed."""
    request = containment_pb2.VerifyContainmentRequest(agent=agent, max_calls=calls)
    return asyncio.run(_verify(options, request))


async def _verify(
    options: ClientOptions, request: containment_pb2.VerifyContainmentRequest
) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.containment.VerifyContainment, request)

    def show(page: Page) -> None:
        page.mark(answer.contained, answer.statement)
        counts = Counter(
            (effect_name(item.original_effect), effect_name(item.effect), item.reason.code)
            for item in answer.items
        )
        if counts:
            page.table(
                ("CALLS", "WAS", "IS", "WHY"),
                [(count, *key) for key, count in counts.most_common()],
            )

    emit("ContainmentVerification", {"agent": request.agent, **verification_data(answer)}, show)
    return Exit.OK if answer.contained else Exit.FAILURE

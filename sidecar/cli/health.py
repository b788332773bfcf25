# SPDX-License-Identifier: Apache-2.0
"""``holdfast health``: for probes. Exits 0 only if the process itself says that it serves."""

from __future__ import annotations

import asyncio
import os
from typing import Final

import click

from sidecar.cli.client import ClientOptions, connected, health_status
from sidecar.cli.command import command
from sidecar.cli.exits import Exit
from sidecar.cli.output import emit

__all__ = ["health"]

_VARIABLE: Final = "HOLDFAST_HEALTH_SOCKET"


@command(
    name="health",
    examples=(
        "holdfast health /run/holdfast/agents/banking/guard.sock",
        "holdfast health                             # control, over its local socket",
        "holdfast health control.example:7443 --cert me.pem --key me.key --ca ca.pem",
    ),
)
@click.argument("address", required=False)
@click.option("--socket", help="The same as ADDRESS, for a socket's path.")
@connected
def health(options: ClientOptions, address: str | None, socket: str | None) -> Exit:
    """Ask a control or a gate whether it serves: exit 0 if so, 1 if not, 5 if nobody answers.

    ADDRESS is a socket's path or host:port; default $HOLDFAST_HEALTH_SOCKET, else control's local
    socket on this host. A gate serves only while it would allow something: with a policy, a fresh
    heartbeat of control, and a log it can write.
    """
    if address is not None and socket is not None:
        raise click.UsageError("name one address")
    asked = address or socket or os.environ.get(_VARIABLE) or ""
    where, status = asyncio.run(health_status(options, asked))
    emit(
        "Health",
        {"address": where, "status": status},
        lambda page: page.mark(status == "SERVING", f"{status} {where}"),
    )
    if status == "UNREACHABLE":
        return Exit.UNAVAILABLE
    return Exit.OK if status == "SERVING" else Exit.FAILURE

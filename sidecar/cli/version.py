# SPDX-License-Identifier: Apache-2.0
"""``holdfast version``: what this program is, and what runs here."""

from __future__ import annotations

import asyncio
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any, Final

from sidecar import __version__
from sidecar.api.v1 import containment_pb2, policy_pb2
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import command
from sidecar.cli.exits import Exit
from sidecar.cli.output import Page, emit
from sidecar.errors import HoldfastError

__all__ = ["version"]

_API: Final = "sidecar.api.v1"
_LIBRARIES: Final = ("grpcio", "protobuf", "cedarpy", "cryptography")


@command(name="version", examples=("holdfast version", "holdfast version --json"))
@connected
def version(options: ClientOptions) -> Exit:
    """Show versions of this program and of the API; of a control that answers, policy and epoch."""
    control = asyncio.run(_control(options))
    libraries = {name: _library(name) for name in _LIBRARIES}
    data = {
        "client": __version__,
        "api": _API,
        "python": platform.python_version(),
        "libraries": libraries,
        "control": control,
    }

    def show(page: Page) -> None:
        page.fields(
            [
                ("holdfast", __version__),
                ("API", _API),
                ("Python", data["python"]),
                *libraries.items(),
            ]
        )
        if control is None:
            page.line("no control answers here")
        else:
            page.fields([("policy", control["policy_digest"]), ("epoch", control["epoch"])])

    emit("Version", data, show)
    return Exit.OK


async def _control(options: ClientOptions) -> dict[str, Any] | None:
    try:
        async with connect(options) as client:
            policy = await client.ask(client.policy.GetPolicySet, policy_pb2.GetPolicySetRequest())
            directives = await client.ask(
                client.containment.ListDirectives,
                containment_pb2.ListDirectivesRequest(page_size=1),
            )
    except HoldfastError:
        return None
    return {"policy_digest": policy.policy_set.digest, "epoch": directives.epoch}


def _library(name: str) -> str | None:
    try:
        return version_of(name)
    except PackageNotFoundError:
        return None

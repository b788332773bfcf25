# SPDX-License-Identifier: Apache-2.0
"""``holdfast approvals watch``: one line for every request that waits, and for every change.

A stream that broke off is not begun again: what changed in between would be lost without a word.
"""

from __future__ import annotations

import asyncio
import json

import click

from sidecar.api.v1 import approval_pb2
from sidecar.cli.approval_views import approval_data, state_name
from sidecar.cli.client import ClientOptions, connect
from sidecar.cli.exits import Exit
from sidecar.cli.output import API_VERSION, is_json, talk
from sidecar.cli.terminal import escape
from sidecar.cli.views import time_text
from sidecar.errors import EnvironmentFailure, ErrorReason

__all__ = ["watch_approvals"]


def watch_approvals(options: ClientOptions, *, is_mine: bool) -> Exit:
    """Print changes until Ctrl-C, which is how a watch ends well.

    Raises:
        HoldfastError: The stream was refused, did not begin, or ended by itself.
    """
    try:
        asyncio.run(_watch(options, approval_pb2.WatchApprovalsRequest(mine_only=is_mine)))
    except KeyboardInterrupt:
        return Exit.OK
    raise EnvironmentFailure(
        "control ended the stream",
        reason=ErrorReason.CONTROL_UNAVAILABLE,
        hint="begin it again: `holdfast approvals watch` starts with what waits",
    )


async def _watch(options: ClientOptions, request: approval_pb2.WatchApprovalsRequest) -> None:
    async with connect(options) as client:
        if not is_json():
            talk(f"watching {client.where}; Ctrl-C ends it")
        async for change in client.stream(client.approvals.WatchApprovals, request):
            click.echo(_line(change))


def _line(change: approval_pb2.WatchApprovalsResponse) -> str:
    approval = change.approval
    if is_json():
        document = {
            "apiVersion": API_VERSION,
            "kind": "ApprovalChange",
            "initial": change.initial,
            "approval": approval_data(approval),
        }
        return json.dumps(document, ensure_ascii=True, allow_nan=False)
    ended = time_text(approval.end_time) if approval.HasField("end_time") else None
    parts = [
        ended or time_text(approval.create_time) or "-",
        state_name(approval),
        approval.tier,
        approval.name,
        approval.summary,
    ]
    if approval.detail and approval.state != approval_pb2.Approval.STATE_PENDING:
        parts.append(f"({approval.detail})")
    return escape("  ".join(parts))

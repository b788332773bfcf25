# SPDX-License-Identifier: Apache-2.0
"""``holdfast operations``: orders that a human must grant first, and what came of them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import click

from sidecar.api.v1 import operation_pb2
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import group
from sidecar.cli.contain import parse_duration
from sidecar.cli.exits import Exit
from sidecar.cli.held import operation_data, operation_exit, show_operation, until_ended
from sidecar.cli.names import resource_name
from sidecar.cli.output import Page, emit
from sidecar.clock import SystemClock

__all__ = ["operations"]


@group(name="operations")
def operations() -> None:
    """Orders that a human must grant first, and what came of them."""


@operations.command(
    name="list",
    examples=("holdfast operations list", "holdfast operations list --all --json"),
)
@click.option("--all", "is_all", is_flag=True, help="Also those that wait for nobody any more.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--page-token", default="", help="From an earlier answer.")
@connected
def list_operations(options: ClientOptions, is_all: bool, limit: int, page_token: str) -> Exit:
    """List operations that wait for a human, newest first."""
    request = operation_pb2.ListOperationsRequest(
        page_size=limit, page_token=page_token, pending_only=not is_all
    )
    return asyncio.run(_list(options, request))


async def _list(options: ClientOptions, request: operation_pb2.ListOperationsRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.operations.ListOperations, request)
    rows = [operation_data(operation) for operation in answer.operations]

    def show(page: Page) -> None:
        for row in rows:
            page.line(f"{row['name']}  {row['state']}  {row['action']}  by {row['requester']}")
            page.line(f"    {row['summary']}")
        if not rows:
            page.line("no operation waits" if request.pending_only else "there is no operation")
        if answer.next_page_token:
            page.line(f"there are more: --page-token {answer.next_page_token}")

    data = {"operations": rows, "next_page_token": answer.next_page_token or None}
    emit("OperationList", data, show)
    return Exit.OK


@operations.command(
    name="show",
    examples=(
        "holdfast operations show operations/apr_0123456789abcdef0123456789abcdef",
        "holdfast operations show apr_0123456789abcdef0123456789abcdef --wait 30m",
    ),
)
@click.argument("operation")
@click.option("--wait", metavar="DURATION", help="Wait this long (90s, 30m, …) for it to end.")
@connected
def show_operation_(options: ClientOptions, operation: str, wait: str | None) -> Exit:
    """Show one operation: what waits and for whom, or what came of it.

    Exits 0 if it was carried out, 4 while it waits, 3 if it was refused, expired or cancelled, and
    1 if it was granted and could not be carried out.
    """
    name = resource_name("operations", operation)
    return asyncio.run(_show(options, name, parse_duration(wait) if wait else None))


async def _show(options: ClientOptions, name: str, wait: timedelta | None) -> Exit:
    async with connect(options) as client:
        request = operation_pb2.GetOperationRequest(name=name)
        answer = await client.ask(client.operations.GetOperation, request)
        operation = await until_ended(client, answer.operation, wait)
    now_ns = SystemClock().wall_ns()
    emit(
        "Operation",
        {"operation": operation_data(operation)},
        lambda page: show_operation(page, operation, now_ns=now_ns),
    )
    return operation_exit(operation)

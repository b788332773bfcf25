# SPDX-License-Identifier: Apache-2.0
"""``holdfast operations``: what a human must grant first, and what came of it; and questions."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from sidecar.api.v1 import operation_pb2
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import group
from sidecar.cli.contain import parse_duration
from sidecar.cli.exits import Exit
from sidecar.cli.held import (
    operation_data,
    operation_exit,
    rehearsal,
    show_operation,
    until_ended,
)
from sidecar.cli.keyfiles import read_input
from sidecar.cli.names import resource_name
from sidecar.cli.output import Page, emit
from sidecar.clock import SystemClock
from sidecar.errors import UntrustedInputError
from sidecar.ids import RandomIds

__all__ = ["operations"]

_MAX_DETAILS_BYTES: Final = 16 * 1024


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
    name="ask",
    examples=(
        'holdfast operations ask "May the backup of 14:00 be restored?" --agent banking',
        'holdfast operations ask "Reimage host 17?" --details @why.txt --wait 30m --json',
    ),
)
@click.argument("question")
@click.option("--details", default="", help="What to know before answering; @FILE reads a file.")
@click.option("--agent", default="", help="The agent it is about; its owner may not answer.")
@click.option("--wait", metavar="DURATION", help="Wait this long (90s, 30m, …) for the answer.")
@click.option("--dry-run", is_flag=True, help="Say who could answer, and ask nobody.")
@click.option("--request-id", help="Makes a retry the same question; default: a fresh one.")
@connected
def ask(
    options: ClientOptions,
    question: str,
    details: str,
    agent: str,
    wait: str | None,
    dry_run: bool,
    request_id: str | None,
) -> Exit:
    """Ask humans QUESTION, to be granted or refused. Nothing but the answer comes of it.

    Exits 0 if it was granted, 4 while it waits, 3 if it was refused, expired or cancelled.
    """
    request = operation_pb2.RequestConfirmationRequest(
        request_id=request_id or RandomIds().new("cli"),
        question=question,
        details=_text_of(details),
        agent=agent,
        validate_only=dry_run,
    )
    return asyncio.run(_ask(options, request, parse_duration(wait) if wait else None))


def _text_of(given: str) -> str:
    if not given.startswith("@"):
        return given
    try:
        return read_input(Path(given[1:]), max_bytes=_MAX_DETAILS_BYTES).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise UntrustedInputError("the details are no text in UTF-8") from exc


async def _ask(
    options: ClientOptions,
    request: operation_pb2.RequestConfirmationRequest,
    wait: timedelta | None,
) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.operations.RequestConfirmation, request)
        operation = answer.operation
        if not request.validate_only:
            operation = await until_ended(client, operation, wait)
    now_ns = SystemClock().wall_ns()

    def show(page: Page) -> None:
        if request.validate_only:
            page.line(rehearsal(operation))
            page.line(f"may answer: {', '.join(operation.approvers) or 'nobody'}")
            return
        show_operation(page, operation, now_ns=now_ns)

    data = {
        "operation": operation_data(operation),
        "validate_only": request.validate_only,
        "repeated_request": answer.repeated_request,
        "request_id": request.request_id,
    }
    emit("Operation", data, show)
    return Exit.OK if request.validate_only else operation_exit(operation)


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

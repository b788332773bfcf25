# SPDX-License-Identifier: Apache-2.0
"""``holdfast approvals``: the command-line twin of the console's pages, for whoever decides.

Laws:

1. A grant is of what was shown: whoever grants repeats the beginning of its fingerprint, the command
   compares it with what control has now, and the whole fingerprint of that travels with the vote.
2. What does not hash to its fingerprint, or is not shown at all, is not granted.
3. There is no ``--yes``, and no question that a return key answers.
4. Who decides is whoever the connection says: the command speaks for its own operator only.
"""

from __future__ import annotations

import asyncio
import sys

import click

from sidecar.api.v1 import approval_pb2
from sidecar.cli.approval_views import (
    approval_data,
    problem_of,
    show_approval,
    show_brief,
    state_name,
)
from sidecar.cli.approval_watch import watch_approvals
from sidecar.cli.client import ClientOptions, ControlClient, connect, connected
from sidecar.cli.command import group
from sidecar.cli.exits import Exit
from sidecar.cli.fingerprints import ask_for_fingerprint, check_fingerprint, check_prefix
from sidecar.cli.names import resource_name
from sidecar.cli.output import Page, emit, is_json, talk
from sidecar.cli.targets import is_interactive
from sidecar.cli.terminal import escape
from sidecar.clock import SystemClock
from sidecar.errors import ErrorReason, IntegrityError, PreconditionError, RefusedError
from sidecar.ids import RandomIds

__all__ = ["approvals"]

Approval = approval_pb2.Approval
_EXAMPLE = "apr_0123456789abcdef0123456789abcdef"


@group(name="approvals")
def approvals() -> None:
    """Requests that wait for a human: look, grant, refuse."""


@approvals.command(
    name="list",
    examples=(
        "holdfast approvals list",
        "holdfast approvals list --mine --as bob",
        "holdfast approvals list --all --agent banking --json",
    ),
)
@click.option("--mine", is_flag=True, help="Only those that you may decide now.")
@click.option("--all", "is_all", is_flag=True, help="Also those that are decided, used or over.")
@click.option("--agent", default="", help="Only those of this agent.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--page-token", default="", help="From an earlier answer.")
@connected
def list_approvals(
    options: ClientOptions, mine: bool, is_all: bool, agent: str, limit: int, page_token: str
) -> Exit:
    """List what waits for a human, newest first."""
    request = approval_pb2.ListApprovalsRequest(
        page_size=limit,
        page_token=page_token,
        pending_only=not is_all,
        mine_only=mine,
        agent=agent,
    )
    return asyncio.run(_list(options, request))


async def _list(options: ClientOptions, request: approval_pb2.ListApprovalsRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.approvals.ListApprovals, request)
    now_ns = SystemClock().wall_ns()

    def show(page: Page) -> None:
        for approval in answer.approvals:
            show_brief(page, approval, now_ns=now_ns)
        if not answer.approvals:
            page.line("nothing waits" if request.pending_only else "there is no approval")
        if answer.next_page_token:
            page.line(f"there are more: --page-token {answer.next_page_token}")

    data = {
        "approvals": [approval_data(approval) for approval in answer.approvals],
        "next_page_token": answer.next_page_token or None,
    }
    emit("ApprovalList", data, show)
    return Exit.OK


@approvals.command(name="show", examples=(f"holdfast approvals show {_EXAMPLE}",))
@click.argument("approval")
@connected
def show(options: ClientOptions, approval: str) -> Exit:
    """Show one request as whoever decides must see it: who wants what, byte for byte, and why.

    Exits 6 if what control shows is not what its fingerprint names.
    """
    return asyncio.run(_show(options, resource_name("approvals", approval)))


async def _show(options: ClientOptions, name: str) -> Exit:
    async with connect(options) as client:
        approval = await _get(client, name)
    _emit(approval)
    return Exit.INTEGRITY if problem_of(approval) else Exit.OK


@approvals.command(
    name="grant",
    examples=(
        f"holdfast approvals grant {_EXAMPLE} --fingerprint 3f9a01c2 --as bob",
        f'holdfast approvals grant {_EXAMPLE} --fingerprint 3f9a01c2 --reason "INC-7, checked"',
    ),
)
@click.argument("approval")
@click.option(
    "--fingerprint",
    metavar="PREFIX",
    help="What you were shown: at least the first 8 digits, or digits and words as shown.",
)
@click.option("--reason", default="", help="Why; asked for from tier HIGH.")
@click.option("--request-id", help="Makes a retry the same vote; default: a fresh one.")
@connected
def grant(
    options: ClientOptions,
    approval: str,
    fingerprint: str | None,
    reason: str,
    request_id: str | None,
) -> Exit:
    """Grant one request, once.

    Without --fingerprint the request is shown first, and whoever sits at the terminal types the
    beginning of its fingerprint. Exits 4 while other humans must still grant it too.
    """
    name = resource_name("approvals", approval)
    if fingerprint is not None:
        check_prefix(fingerprint)
    elif is_json() or not _is_attended():
        raise click.UsageError(
            "say what you grant: add --fingerprint with at least the first 8 digits that "
            f"`holdfast approvals show {escape(approval)}` displays"
        )
    request = approval_pb2.DecideApprovalRequest(
        request_id=request_id or RandomIds().new("cli"),
        name=name,
        verdict=Approval.VERDICT_GRANT,
        reason=reason,
        channel="cli",
    )
    return asyncio.run(_grant(options, request, fingerprint))


async def _grant(
    options: ClientOptions, request: approval_pb2.DecideApprovalRequest, prefix: str | None
) -> Exit:
    async with connect(options) as client:
        approval = await _get(client, request.name)
        _check_grantable(approval)
        if prefix is not None:
            check_fingerprint(prefix, approval.fingerprint)
        else:
            _check_open(approval)
            _emit(approval)
        if approval.state == Approval.STATE_PENDING and approval.passkey_required:
            raise _passkey_needed(approval)
        if prefix is None:
            ask_for_fingerprint(approval)
            if approval.reason_required and not request.reason:
                request.reason = click.prompt("Why do you grant it", err=True)
        request.fingerprint = approval.fingerprint  # law 1
        try:
            answer = await client.ask(client.approvals.DecideApproval, request)
        except RefusedError as exc:
            if exc.reason is ErrorReason.PASSKEY_NEEDED:
                raise _passkey_needed(approval) from exc
            raise
    return _tell(request, answer)


@approvals.command(
    name="refuse",
    examples=(f'holdfast approvals refuse {_EXAMPLE} --reason "not this customer"',),
)
@click.argument("approval")
@click.option("--reason", required=True, help="Why; the requester is told.")
@click.option("--request-id", help="Makes a retry the same vote; default: a fresh one.")
@connected
def refuse(options: ClientOptions, approval: str, reason: str, request_id: str | None) -> Exit:
    """Refuse one request. One refusal ends it."""
    request = approval_pb2.DecideApprovalRequest(
        request_id=request_id or RandomIds().new("cli"),
        name=resource_name("approvals", approval),
        verdict=Approval.VERDICT_REFUSE,
        reason=reason,
        channel="cli",
    )
    return asyncio.run(_refuse(options, request))


async def _refuse(options: ClientOptions, request: approval_pb2.DecideApprovalRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.approvals.DecideApproval, request)
    return _tell(request, answer)


@approvals.command(
    name="watch", examples=("holdfast approvals watch --mine", "holdfast approvals watch --json")
)
@click.option("--mine", is_flag=True, help="Only those that you may decide.")
@connected
def watch(options: ClientOptions, mine: bool) -> Exit:
    """Print one line for every request that waits and for every change, until Ctrl-C.

    With --json, one object a line. Exits 5 if control ends the stream: what changed after that is
    not known, so it is not begun again silently.
    """
    return watch_approvals(options, is_mine=mine)


# -- what a grant is held to, and what is told ----------------------------------------------------


def _is_attended() -> bool:
    """Return whether somebody sees what is shown and can answer."""
    return is_interactive() and sys.stdout.isatty()


async def _get(client: ControlClient, name: str) -> approval_pb2.Approval:
    request = approval_pb2.GetApprovalRequest(name=name)
    answer: approval_pb2.GetApprovalResponse = await client.ask(
        client.approvals.GetApproval, request
    )
    return answer.approval


def _emit(approval: approval_pb2.Approval) -> None:
    now_ns = SystemClock().wall_ns()
    emit(
        "Approval",
        {"approval": approval_data(approval)},
        lambda page: show_approval(page, approval, now_ns=now_ns),
    )


def _check_grantable(approval: approval_pb2.Approval) -> None:
    """Refuse to grant what cannot be seen, or is not what it says (law 2)."""
    problem = problem_of(approval)
    if problem:
        raise IntegrityError(f"{problem}; nothing was granted")
    if not approval.canonical:
        raise RefusedError(
            "control does not show you what would run, so you cannot grant it",
            reason=ErrorReason.NOT_AN_APPROVER,
            hint=f"members of the role {approval.approver_role} can",
        )


def _check_open(approval: approval_pb2.Approval) -> None:
    if approval.state != Approval.STATE_PENDING:
        raise PreconditionError(
            f"it does not wait any more: {escape(approval.detail or state_name(approval))}",
            reason=ErrorReason.APPROVAL_CLOSED,
        )


def _passkey_needed(approval: approval_pb2.Approval) -> RefusedError:
    where = approval.url or "the console; this control has none (see `console_listen`)"
    return RefusedError(
        "granting this needs a passkey, which a terminal cannot ask for",
        reason=ErrorReason.PASSKEY_NEEDED,
        hint=f"decide it in the console: {where}",
    )


def _tell(
    request: approval_pb2.DecideApprovalRequest, answer: approval_pb2.DecideApprovalResponse
) -> Exit:
    approval = answer.approval
    is_grant = request.verdict == Approval.VERDICT_GRANT
    is_waiting = approval.state == Approval.STATE_PENDING
    is_over = approval.state in (Approval.STATE_EXPIRED, Approval.STATE_CANCELLED)

    def show(page: Page) -> None:
        page.mark(not is_over, f"{'granted' if is_grant else 'refused'}: {approval.summary}")
        page.line(f"  {approval.name}  {state_name(approval)}")
        if is_waiting:
            granted = sum(vote.verdict == Approval.VERDICT_GRANT for vote in approval.votes)
            page.mark(None, f"{granted} of {approval.quorum} granted: others must grant it too")
        elif approval.detail:
            page.line(f"  {approval.detail}")
        if approval.operation and is_grant and not is_waiting:
            page.line(f"  see `holdfast operations show {approval.operation} --wait 30s`")

    data = {
        "approval": approval_data(approval),
        "verdict": "GRANT" if is_grant else "REFUSE",
        "request_id": request.request_id,
        "repeated_request": answer.repeated_request,
    }
    emit("ApprovalDecision", data, show)
    if answer.repeated_request:
        talk("an earlier request with this id had decided it so; nothing new was done")
    if is_over:
        return Exit.FAILURE
    return Exit.HELD if is_grant and is_waiting else Exit.OK

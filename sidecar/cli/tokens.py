# SPDX-License-Identifier: Apache-2.0
"""``holdfast tokens``: take away what agents carry. There is no way to give it back."""

from __future__ import annotations

import asyncio
from datetime import datetime

import click

from sidecar.api.v1 import token_pb2
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import group
from sidecar.cli.exits import Exit
from sidecar.cli.output import Page, emit, talk
from sidecar.cli.targets import confirm_simply
from sidecar.cli.views import revocation_data
from sidecar.ids import RandomIds

__all__ = ["tokens"]


@group(name="tokens")
def tokens() -> None:
    """Revoke the tokens that agents carry."""


@tokens.command(
    name="revoke",
    examples=(
        'holdfast tokens revoke --agent banking --reason "key leaked"',
        "holdfast tokens revoke --jti 5e1f --issuer https://idp.example --reason INC-7 --yes",
    ),
)
@click.option("--agent", default="", help="Tokens of this agent.")
@click.option("--session", default="", help="Tokens of this session.")
@click.option("--issuer", default="", help="Tokens of this issuer (its `iss`).")
@click.option("--jti", default="", help="The token with this id; needs --issuer.")
@click.option("--issued-before", metavar="TIME", help="Tokens issued until then, RFC 3339.")
@click.option("--reason", required=True, help="Why; goes into the log.")
@click.option("--yes", "is_yes", is_flag=True, help="Do not ask.")
@click.option("--request-id", help="Makes a retry the same order; default: a fresh one.")
@connected
def revoke(
    options: ClientOptions,
    agent: str,
    session: str,
    issuer: str,
    jti: str,
    issued_before: str | None,
    reason: str,
    is_yes: bool,
    request_id: str | None,
) -> Exit:
    """Revoke every token that fits all that is named. It cannot be taken back.

    Effective at the agent's next call. Tokens that are issued later are not touched.
    """
    request = token_pb2.RevokeTokensRequest(
        request_id=request_id or RandomIds().new("cli"),
        agent=agent,
        session=session,
        issuer=issuer,
        jti=jti,
        reason=reason,
    )
    if issued_before is not None:
        request.issued_before.FromDatetime(_moment(issued_before))
    named = [
        name
        for name, value in (
            ("agent", agent),
            ("session", session),
            ("issuer", issuer),
            ("jti", jti),
            ("issue time", issued_before),
        )
        if value
    ]
    if not named:
        raise click.UsageError("name what to revoke: --agent, --session, --issuer, --jti, …")
    confirm_simply(f"Revoke by {', '.join(named)}? It cannot be taken back.", is_yes=is_yes)
    return asyncio.run(_revoke(options, request))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise click.UsageError("--issued-before is no time like 2026-11-22T14:00:00Z") from exc
    if moment.tzinfo is None:
        raise click.UsageError("--issued-before needs a zone: end it with Z or +01:00")
    return moment


async def _revoke(options: ClientOptions, request: token_pb2.RevokeTokensRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.tokens.RevokeTokens, request)

    def show(page: Page) -> None:
        page.mark(True, f"revoked, epoch {answer.revocation.epoch}")
        for gate in answer.laggards:
            page.mark(False, f"gate {gate} has not acknowledged yet")

    data = {
        "revocation": revocation_data(answer.revocation),
        "repeated_request": answer.repeated_request,
        "laggards": list(answer.laggards),
        "request_id": request.request_id,
    }
    emit("Revocation", data, show)
    if answer.repeated_request:
        talk("an earlier request with this id had ordered it; nothing new was done")
    return Exit.FAILURE if answer.laggards else Exit.OK


@tokens.command(name="list", examples=("holdfast tokens list", "holdfast tokens list --json"))
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--page-token", default="", help="From an earlier answer.")
@connected
def list_revocations(options: ClientOptions, limit: int, page_token: str) -> Exit:
    """List revocations, newest first."""
    request = token_pb2.ListRevocationsRequest(page_size=limit, page_token=page_token)
    return asyncio.run(_list(options, request))


async def _list(options: ClientOptions, request: token_pb2.ListRevocationsRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.tokens.ListRevocations, request)
    rows = [revocation_data(revocation) for revocation in answer.revocations]

    def show(page: Page) -> None:
        if not rows:
            page.line("nothing is revoked")
            return
        names = ("epoch", "agent", "session", "issuer", "jti", "issued_before", "author", "reason")
        page.table(
            [name.upper() for name in names],
            [[row[name] if row[name] is not None else "-" for name in names] for row in rows],
        )
        if answer.next_page_token:
            page.line(f"there are more: --page-token {answer.next_page_token}")

    data = {"revocations": rows, "next_page_token": answer.next_page_token or None}
    emit("RevocationList", data, show)
    return Exit.OK

# SPDX-License-Identifier: Apache-2.0
"""``holdfast accounts``: the passkeys with which humans sign in and sign what they grant.

Which operators there are stands in the policy bundle; here somebody among them gets a link to add a
passkey, or loses one. Both are in control's log, with who did it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import click

from sidecar.api.v1 import account_pb2
from sidecar.cli.client import ClientOptions, ControlClient, connect, connected
from sidecar.cli.command import group
from sidecar.cli.exits import Exit
from sidecar.cli.output import Page, emit, talk
from sidecar.cli.targets import confirm_simply
from sidecar.cli.views import remaining_text, time_text
from sidecar.clock import SystemClock
from sidecar.errors import NotFoundError
from sidecar.ids import RandomIds

__all__ = ["accounts"]

_MIN_PREFIX: Final = 8
_SHORT: Final = 16
_PAGE: Final = 1000


@group(name="accounts")
def accounts() -> None:
    """Passkeys of operators: enrol, list, remove."""


@accounts.command(
    name="enrol",
    examples=("holdfast accounts enrol alice", "holdfast accounts enrol alice --as carol --json"),
)
@click.argument("name")
@click.option("--request-id", help="Makes a retry the same order; default: a fresh one.")
@connected
def enrol(options: ClientOptions, name: str, request_id: str | None) -> Exit:
    """Make a one-time link with which NAME adds a passkey.

    NAME is a human of operators.yaml. Hand the link to that person alone: whoever opens it first has
    the passkey. It works once, for 15 minutes, and voids an earlier one that was not used.
    """
    request = account_pb2.EnrolAccountRequest(
        request_id=request_id or RandomIds().new("cli"), operator=name
    )
    return asyncio.run(_enrol(options, request))


async def _enrol(options: ClientOptions, request: account_pb2.EnrolAccountRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.accounts.EnrolAccount, request)

    def show(page: Page) -> None:
        page.line(answer.url)

    emit(
        "EnrolmentLink",
        {
            "operator": request.operator,
            "url": answer.url,
            "expire_time": time_text(answer.expire_time),
            "request_id": request.request_id,
        },
        show,
    )
    lapses = remaining_text(answer.expire_time, now_ns=SystemClock().wall_ns())
    talk(f"for {request.operator} alone; works once, lapses {lapses}")
    return Exit.OK


@accounts.command(
    name="list",
    examples=("holdfast accounts list", "holdfast accounts list alice --json"),
)
@click.argument("name", default="")
@click.option("--limit", type=click.IntRange(1, _PAGE), default=100, show_default=True)
@click.option("--page-token", default="", help="From an earlier answer.")
@connected
def list_passkeys(options: ClientOptions, name: str, limit: int, page_token: str) -> Exit:
    """List passkeys, of NAME or of everybody, oldest first."""
    request = account_pb2.ListPasskeysRequest(page_size=limit, page_token=page_token, operator=name)
    return asyncio.run(_list(options, request))


async def _list(options: ClientOptions, request: account_pb2.ListPasskeysRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.accounts.ListPasskeys, request)
    rows = [passkey_data(passkey) for passkey in answer.passkeys]

    def show(page: Page) -> None:
        if not rows:
            page.line("nobody has a passkey: holdfast accounts enrol NAME gives a link for one")
            return
        page.table(
            ["OPERATOR", "PASSKEY", "CREDENTIAL", "ENROLLED", "LINK BY", "LAST USED", "CONFIRMED"],
            [
                [
                    row["operator"],
                    row["display_name"],
                    row["credential"][:_SHORT],
                    row["create_time"],
                    row["author"],
                    row["use_time"] or "never",
                    "yes" if row["confirmed"] else "no",
                ]
                for row in rows
            ],
        )
        if answer.next_page_token:
            page.line(f"there are more: --page-token {answer.next_page_token}")

    emit("PasskeyList", {"passkeys": rows, "next_page_token": answer.next_page_token or None}, show)
    return Exit.OK


@accounts.command(
    name="remove",
    examples=(
        "holdfast accounts remove alice --credential cdNJRwH_J_ZfuGZM",
        "holdfast accounts remove alice --credential cdNJRwH_J_ZfuGZM --yes",
    ),
)
@click.argument("name")
@click.option(
    "--credential",
    required=True,
    metavar="ID",
    help=f"Which one, as `accounts list` shows it; at least {_MIN_PREFIX} characters.",
)
@click.option("--yes", "is_yes", is_flag=True, help="Do not ask.")
@click.option("--request-id", help="Makes a retry the same order; default: a fresh one.")
@connected
def remove(
    options: ClientOptions, name: str, credential: str, is_yes: bool, request_id: str | None
) -> Exit:
    """Remove a passkey of NAME for good, and end the sessions that it opened.

    It cannot be taken back; a new passkey can be enrolled.
    """
    if len(credential) < _MIN_PREFIX:
        raise click.UsageError(f"--credential needs at least {_MIN_PREFIX} characters")
    confirm_simply(f"Remove this passkey of {name}? It cannot be taken back.", is_yes=is_yes)
    return asyncio.run(_remove(options, name, credential, request_id or RandomIds().new("cli")))


async def _remove(options: ClientOptions, name: str, credential: str, request_id: str) -> Exit:
    async with connect(options) as client:
        request = account_pb2.RemovePasskeyRequest(
            request_id=request_id,
            operator=name,
            credential=await _whole(client, name, credential),
        )
        answer = await client.ask(client.accounts.RemovePasskey, request)

    def show(page: Page) -> None:
        page.mark(True, f"removed {answer.passkey.display_name} of {answer.passkey.operator}")

    emit(
        "PasskeyRemoval",
        {
            "passkey": passkey_data(answer.passkey),
            "repeated_request": answer.repeated_request,
            "request_id": request_id,
        },
        show,
    )
    if answer.repeated_request:
        talk("it had been removed before; nothing new was done")
    return Exit.OK


async def _whole(client: ControlClient, name: str, prefix: str) -> str:
    """Return the one credential id of *name* that begins with *prefix*.

    A whole id that is not in the list goes to control as it is: it may have been removed before.
    """
    try:
        answer = await client.ask(
            client.accounts.ListPasskeys,
            account_pb2.ListPasskeysRequest(page_size=_PAGE, operator=name),
        )
    except NotFoundError:
        return prefix
    found = [item.credential for item in answer.passkeys if item.credential.startswith(prefix)]
    if len(found) > 1:
        raise click.UsageError("several passkeys begin so: give more of the credential")
    return str(found[0]) if found else prefix


def passkey_data(passkey: account_pb2.Passkey) -> dict[str, Any]:
    """Return *passkey* as plain data."""
    return {
        "credential": passkey.credential,
        "operator": passkey.operator,
        "display_name": passkey.display_name,
        "author": passkey.author,
        "create_time": time_text(passkey.create_time),
        "use_time": time_text(passkey.use_time),
        "public_key_sha256": passkey.public_key_sha256,
        "confirmed": passkey.confirmed,
    }

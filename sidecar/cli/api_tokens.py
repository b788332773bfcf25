# SPDX-License-Identifier: Apache-2.0
"""``holdfast api-tokens``: the tokens with which automation calls control without a certificate.

A secret is shown by the command that made it, once: on stdout, or in a file that nobody else can
read. It is never taken from, nor put on, a command line.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from sidecar.api.v1 import api_token_pb2
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import group
from sidecar.cli.contain import parse_duration
from sidecar.cli.exits import Exit
from sidecar.cli.output import Page, emit, is_json, talk
from sidecar.cli.targets import confirm_simply
from sidecar.cli.views import time_text
from sidecar.errors import EnvironmentFailure
from sidecar.ids import RandomIds

__all__ = ["api_token_data", "api_tokens"]

_PAGE: Final = 1000
_PREFIX: Final = "apiTokens/"
_SECRET_FILE = click.option(
    "--secret-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the secret to this new file, mode 0600, instead of showing it.",
)
_REQUEST_ID = click.option(
    "--request-id", help="Makes a retry the same order; default: a fresh one."
)


@group(name="api-tokens")
def api_tokens() -> None:
    """API tokens of operators: create, list, rotate, revoke."""


@api_tokens.command(
    name="create",
    examples=(
        'holdfast api-tokens create soar --permission contain --description "Splunk SOAR"',
        "holdfast api-tokens create soar --permission contain --agent banking --ttl 30d "
        '--description "drill" --secret-file ./soar.token',
    ),
)
@click.argument("operator")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    required=True,
    metavar="ROLE",
    help="A role of OPERATOR's that it may use: contain, release, policy-author or audit-read. "
    "Repeat it for more.",
)
@click.option(
    "--agent", "agents", multiple=True, help="Limit it to this agent. Repeat it for more."
)
@click.option("--ttl", metavar="SPAN", help="How long it works: 5m to 366d; default: 90d.")
@click.option("--description", required=True, help="What it is for; at most 200 characters.")
@_SECRET_FILE
@_REQUEST_ID
@connected
def create(
    options: ClientOptions,
    operator: str,
    permissions: tuple[str, ...],
    agents: tuple[str, ...],
    ttl: str | None,
    description: str,
    secret_file: Path | None,
    request_id: str | None,
) -> Exit:
    """Make a token that acts for OPERATOR of operators.yaml, and show its secret once.

    It can never approve, approve policy, administer or break glass, and it has no role that OPERATOR
    does not have at the moment it is used.
    """
    request = api_token_pb2.CreateApiTokenRequest(
        request_id=request_id or RandomIds().new("cli"),
        operator=operator,
        permissions=permissions,
        agents=agents,
        description=description,
    )
    if ttl is not None:
        request.ttl.FromTimedelta(parse_duration(ttl))
    return asyncio.run(_issue(options, "CreateApiToken", request, secret_file))


@api_tokens.command(
    name="rotate",
    examples=(
        "holdfast api-tokens rotate qk3x7m2vhtzd --overlap 24h --secret-file ./soar.token.new",
        "holdfast api-tokens rotate qk3x7m2vhtzd --yes",
    ),
)
@click.argument("token")
@click.option("--overlap", metavar="SPAN", help="How long the old secret still works; at most 7d.")
@click.option("--yes", "is_yes", is_flag=True, help="Do not ask.")
@_SECRET_FILE
@_REQUEST_ID
@connected
def rotate(
    options: ClientOptions,
    token: str,
    overlap: str | None,
    is_yes: bool,
    secret_file: Path | None,
    request_id: str | None,
) -> Exit:
    """Give TOKEN a new secret and show it once. It expires when it would have."""
    request = api_token_pb2.RotateApiTokenRequest(
        request_id=request_id or RandomIds().new("cli"), name=_name(token)
    )
    if overlap is not None:
        request.overlap.FromTimedelta(parse_duration(overlap))
    else:
        confirm_simply("The old secret ends at once. Rotate?", is_yes=is_yes)
    return asyncio.run(_issue(options, "RotateApiToken", request, secret_file))


async def _issue(
    options: ClientOptions, method: str, request: Any, secret_file: Path | None
) -> Exit:
    # The file comes first: a secret that cannot be put anywhere would be lost for ever.
    with _reserved(secret_file) as descriptor:
        async with connect(options) as client:
            answer = await client.ask(getattr(client.api_tokens, method), request)
        if descriptor is not None:
            _write(descriptor, answer.secret, token=answer.token.name)

    def show(page: Page) -> None:
        page.line(answer.token.name if secret_file else answer.secret)

    data = {"token": api_token_data(answer.token), "request_id": request.request_id}
    if secret_file is None:
        data["secret"] = answer.secret
    emit("IssuedApiToken", data, show)
    ends = time_text(answer.token.expire_time)
    talk(f"{answer.token.name} of {answer.token.operator}; it expires at {ends}")
    if answer.token.HasField("previous_expire_time"):
        talk(f"the old secret works until {time_text(answer.token.previous_expire_time)}")
    if secret_file is not None:
        talk(f"its secret is in {secret_file}, and nowhere else")
    elif not is_json():
        talk("this is its secret: keep it safe, it is not shown again")
    return Exit.OK


@contextmanager
def _reserved(path: Path | None) -> Iterator[int | None]:
    """Make the file *path* anew, for us alone; take it away again if nothing came of it."""
    if path is None:
        yield None
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError as exc:
        raise click.UsageError(f"--secret-file: {path} exists; name a new file") from exc
    except OSError as exc:
        raise click.UsageError(f"--secret-file: {path} cannot be made: {exc.strerror}") from exc
    try:
        yield descriptor
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _write(descriptor: int, secret: str, *, token: str) -> None:
    try:
        os.write(descriptor, f"{secret}\n".encode())
        os.fsync(descriptor)
    except OSError as exc:
        raise EnvironmentFailure(
            f"the secret of {token} could not be written: {exc.strerror}",
            hint="it is lost: make another, and end this one with "
            f"`holdfast api-tokens revoke {token.removeprefix(_PREFIX)}`",
        ) from exc


@api_tokens.command(
    name="list",
    examples=("holdfast api-tokens list", "holdfast api-tokens list --all --json"),
)
@click.option("--all", "is_all", is_flag=True, help="Also those that expired or were revoked.")
@click.option("--limit", type=click.IntRange(1, _PAGE), default=100, show_default=True)
@click.option("--page-token", default="", help="From an earlier answer.")
@connected
def list_api_tokens(options: ClientOptions, is_all: bool, limit: int, page_token: str) -> Exit:
    """List tokens, newest first, without their secrets."""
    request = api_token_pb2.ListApiTokensRequest(
        page_size=limit, page_token=page_token, include_ended=is_all
    )
    return asyncio.run(_list(options, request))


async def _list(options: ClientOptions, request: api_token_pb2.ListApiTokensRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.api_tokens.ListApiTokens, request)
    rows = [api_token_data(token) for token in answer.tokens]

    def show(page: Page) -> None:
        if not rows:
            page.line("there are none: holdfast api-tokens create OPERATOR --permission contain …")
            return
        page.table(
            ["TOKEN", "OPERATOR", "PERMISSIONS", "AGENTS", "STATE", "EXPIRES", "LAST USED", "FOR"],
            [
                [
                    row["name"].removeprefix(_PREFIX),
                    row["operator"],
                    ",".join(row["permissions"]),
                    ",".join(row["agents"]) or "all",
                    row["state"],
                    row["expire_time"],
                    row["use_time"] or "never",
                    row["description"],
                ]
                for row in rows
            ],
        )
        if answer.next_page_token:
            page.line(f"there are more: --page-token {answer.next_page_token}")

    emit("ApiTokenList", {"tokens": rows, "next_page_token": answer.next_page_token or None}, show)
    return Exit.OK


@api_tokens.command(
    name="revoke",
    examples=(
        'holdfast api-tokens revoke qk3x7m2vhtzd --reason "found in a chat"',
        "holdfast api-tokens revoke qk3x7m2vhtzd --reason INC-7 --yes",
    ),
)
@click.argument("token")
@click.option("--reason", required=True, help="Why; goes into the log.")
@click.option("--yes", "is_yes", is_flag=True, help="Do not ask.")
@_REQUEST_ID
@connected
def revoke(
    options: ClientOptions, token: str, reason: str, is_yes: bool, request_id: str | None
) -> Exit:
    """End TOKEN for good, at its very next call. It cannot be taken back."""
    request = api_token_pb2.RevokeApiTokenRequest(
        request_id=request_id or RandomIds().new("cli"), name=_name(token), reason=reason
    )
    confirm_simply("Revoke this token? It cannot be taken back.", is_yes=is_yes)
    return asyncio.run(_revoke(options, request))


async def _revoke(options: ClientOptions, request: api_token_pb2.RevokeApiTokenRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.api_tokens.RevokeApiToken, request)

    def show(page: Page) -> None:
        page.mark(True, f"revoked {answer.token.name} of {answer.token.operator}")

    emit(
        "ApiTokenRevocation",
        {"token": api_token_data(answer.token), "request_id": request.request_id},
        show,
    )
    return Exit.OK


def api_token_data(token: api_token_pb2.ApiToken) -> dict[str, Any]:
    """Return *token* as plain data."""
    return {
        "name": token.name,
        "operator": token.operator,
        "permissions": list(token.permissions),
        "agents": list(token.agents),
        "description": token.description,
        "author": token.author,
        "state": api_token_pb2.ApiToken.State.Name(token.state).removeprefix("STATE_"),
        "create_time": time_text(token.create_time),
        "expire_time": time_text(token.expire_time),
        "use_time": time_text(token.use_time),
        "rotate_time": time_text(token.rotate_time),
        "previous_expire_time": time_text(token.previous_expire_time),
        "revoke_time": time_text(token.revoke_time),
    }


def _name(token: str) -> str:
    """Return the resource name; a secret that was pasted by mistake goes nowhere."""
    if token.startswith("hfat_"):
        raise click.UsageError(
            "that is a secret, and it is in your shell's history now: rotate the token. "
            "Name a token by its id, as `api-tokens list` shows it"
        )
    return token if token.startswith(_PREFIX) else _PREFIX + token

# SPDX-License-Identifier: Apache-2.0
"""``holdfast soar``: run an action exactly as a platform's adapter does."""

from __future__ import annotations

import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any, Final

import click

from soar_actions.catalogue import ACTIONS
from soar_actions.client.connection import Connection
from soar_actions.client.grpc_transport import GrpcTransport
from soar_actions.client.http import HttpTransport
from soar_actions.client.transport import Transport
from soar_actions.errors import ActionError, ErrorClass, clean_text
from soar_actions.run import HANDLERS, failure, run_action
from soar_actions.show import declaration, declaration_text
from soar_actions.steps import Status

__all__ = ["soar"]

_GRPC, _GRPC_TOKEN, _JSON = "127.0.0.1:7443", "127.0.0.1:7446", "127.0.0.1:7445"
_EXIT: Final = {
    ErrorClass.BAD_INPUT: 2,
    ErrorClass.NOT_FOUND: 1,
    ErrorClass.CONFLICT: 1,
    ErrorClass.REFUSED: 3,
    ErrorClass.UNAVAILABLE: 5,
    ErrorClass.FAILED: 1,
}


@click.group()
def soar() -> None:
    """Run SOAR actions as a playbook would."""


@soar.command("list")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
def list_actions(is_json: bool) -> None:
    """List the actions of the catalogue."""
    if is_json:
        actions = [declaration(action) for action in ACTIONS.values()]
        click.echo(json.dumps({"apiVersion": "holdfast/v1", "kind": "Actions", "actions": actions}))
        return
    for slug, action in ACTIONS.items():
        said = action.description.split(". ")[0].rstrip(".")
        click.echo(f"{slug:22}{action.effect.value:9}{said}")


@soar.command("show")
@click.argument("action")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
def show(action: str, is_json: bool) -> None:
    """Print the whole declaration of ACTION: parameters, outputs, errors, who must grant it."""
    _known(action)
    if is_json:
        data = {"apiVersion": "holdfast/v1", "kind": "Action", **declaration(ACTIONS[action])}
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        click.echo(declaration_text(ACTIONS[action]))


@soar.command(
    "run",
    epilog="Exit codes: 0 success, 1 failed or partial, 2 bad input, 3 refused, 4 pending (a human "
    "must decide first), 5 unavailable.",
)
@click.argument("action")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter.")
@click.option("--key", default="", help="Idempotency key of the playbook run; default: a new one.")
@click.option(
    "--transport",
    type=click.Choice(["grpc", "json"]),
    default="grpc",
    show_default=True,
    help="How to call control; platforms use json.",
)
@click.option(
    "--address",
    default="",
    help="Control's host:port; default: HOLDFAST_LISTEN or 127.0.0.1:7443; with an API "
    "token HOLDFAST_TOKEN_LISTEN or 127.0.0.1:7446; with --transport json "
    "HOLDFAST_API_LISTEN or 127.0.0.1:7445.",
)
@click.option("--ca", type=click.Path(path_type=Path), help="CA of control's certificate (PEM).")
@click.option("--cert", type=click.Path(path_type=Path), help="Client certificate (PEM).")
@click.option("--private-key", type=click.Path(path_type=Path), help="Its private key (PEM).")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File that holds an API token, instead of a certificate.",
)
@click.option("--timeout", default="10", show_default=True, help="Seconds of one attempt, 1 to 60.")
@click.option(
    "--as",
    "operator",
    default="soar",
    show_default=True,
    help="Development certificate to use when --cert is not given.",
)
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")  # fmt: skip
def run(
    action: str,
    params: tuple[str, ...],
    key: str,
    transport: str,
    address: str,
    ca: Path | None,
    cert: Path | None,
    private_key: Path | None,
    token_file: Path | None,
    timeout: str,
    operator: str,
    is_json: bool,
) -> None:
    """Run ACTION, for example:

    \b
    holdfast soar run contain-agent --param agent=banking --param level=KILL --param reason="alert"
    """
    _known(action)
    parameters = dict(_pair(text) for text in params)
    key = key or f"soar-{uuid.uuid4()}"
    pki = _development_pki()
    if token_file is None:
        ca = ca or pki / "ca.pem"
        cert = cert or pki / f"{operator}.pem"
        private_key = private_key or pki / f"{operator}.key"
    elif ca is None and (pki / "ca.pem").exists():
        ca = pki / "ca.pem"
    asset = {
        "endpoint": f"https://{address or _address(transport, has_token=token_file is not None)}",
        "ca_certificate": _path(ca),
        "client_certificate": _path(cert),
        "client_key": _path(private_key),
        "timeout_seconds": timeout,
    }
    try:
        asset["api_token"] = _token(token_file)
        connection = Connection.from_asset(asset)
    except ActionError as exc:
        result = failure(exc, action=ACTIONS[action].name, key=key)
    else:
        result = _perform(action, connection, transport, parameters, key)
    click.echo(json.dumps(result, indent=2) if is_json else _text(result))
    sys.exit(_exit_code(result))


def _perform(
    slug: str, connection: Connection, transport: str, parameters: dict[str, str], key: str
) -> dict[str, Any]:
    """Do the action over *transport*; the same handler runs over both."""
    action = ACTIONS[slug]

    def over(way: Transport) -> dict[str, Any]:
        return run_action(action, HANDLERS[slug], transport=way, parameters=parameters, key=key)

    if transport == "json":
        with HttpTransport(connection, total_s=action.deadline_s) as http:
            return over(http)
    with GrpcTransport(connection, total_s=action.deadline_s) as grpc:
        return over(grpc)


def _known(action: str) -> None:
    if action not in ACTIONS:
        raise click.UsageError(f"no action {action!r}; there are: {', '.join(ACTIONS)}")


def _address(transport: str, *, has_token: bool) -> str:
    if transport == "json":
        return os.environ.get("HOLDFAST_API_LISTEN") or _JSON
    if has_token:
        return os.environ.get("HOLDFAST_TOKEN_LISTEN") or _GRPC_TOKEN
    return os.environ.get("HOLDFAST_LISTEN") or _GRPC


def _path(path: Path | None) -> str:
    return str(path.absolute()) if path is not None else ""


def _token(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise ActionError(
            ErrorClass.BAD_INPUT,
            f"the file {path} with the API token cannot be read",
            reason="BAD_SETTING",
            remedy="`holdfast api-tokens create` prints a token; put it into a file of mode 0600",
        ) from None


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise click.UsageError(f"--param takes NAME=VALUE, not {text!r}")
    return name, value


def _development_pki() -> Path:
    named = os.environ.get("HOLDFAST_STATE_DIR")
    if named:
        root = Path(named)
    elif os.geteuid() == 0:
        root = Path("/var/lib/holdfast")
    else:
        base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        root = Path(base) / "holdfast"
    return root / "control" / "dev-pki"


def _text(result: dict[str, Any]) -> str:
    lines = [f"{result['status']}: {result['summary']}"]
    error = result.get("error")
    if error and error["remedy"]:
        lines.append(f"what to do: {error['remedy']}")
    operation = result.get("operation")
    if operation:
        lines += [
            f"operation: {operation['name']}, {operation['state']}",
            f"fingerprint: {operation['fingerprint_words']}",
        ]
    if result.get("link"):
        lines.append(f"decide at: {result['link']}")
    if result["status"] == Status.PENDING or (error and error["retryable"]):
        lines.append(f"to learn how it ended, run it again with --key {result['idempotency_key']}")
    for target in result.get("targets", []):
        lines.append(f"  {target['agent']}: {target['status']}: {target['summary']}")
    receipt = result.get("receipt")
    if receipt:
        lines.append(f"receipt: {receipt['directive']}, durable: {receipt['durable']}")
        lines += [f"  gate {gate['gate']}: {gate['state']}" for gate in receipt["gates"]]
    return "\n".join(map(clean_text, lines))


def _exit_code(result: dict[str, Any]) -> int:
    if "error" in result:
        return _EXIT[ErrorClass(result["error"]["class"])]
    return {Status.SUCCESS.value: 0, Status.PENDING.value: 4}.get(result["status"], 1)

# SPDX-License-Identifier: Apache-2.0
"""``holdfast soar``: run an action exactly as a platform's adapter does."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import uuid
from pathlib import Path
from typing import Any, Final

import click

from soar_actions.catalogue import ACTIONS
from soar_actions.client import Connection
from soar_actions.errors import ErrorClass
from soar_actions.handlers import HANDLERS, Status, run_action

__all__ = ["soar"]

_EXIT: Final = {
    ErrorClass.BAD_INPUT: 2,
    ErrorClass.NOT_FOUND: 1,
    ErrorClass.CONFLICT: 1,
    ErrorClass.REFUSED: 3,
    ErrorClass.UNAVAILABLE: 5,
    ErrorClass.FAILED: 1,
}
_UNPRINTABLE: Final = re.compile(
    "[\0-\x1f\x7f-\x9f\u2028\u2029\u200b-\u200f\u202a-\u202e\u2066-\u2069]"
)


@click.group()
def soar() -> None:
    """Run SOAR actions as a playbook would."""


@soar.command("list")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
def list_actions(is_json: bool) -> None:
    """List the actions of the catalogue."""
    if is_json:
        actions = [_declaration(slug) for slug in ACTIONS]
        click.echo(json.dumps({"apiVersion": "holdfast/v1", "kind": "Actions", "actions": actions}))
        return
    for slug, action in ACTIONS.items():
        click.echo(f"{slug:22}{action.effect:9}{action.description.split('. ')[0]}")


@soar.command(
    "run",
    epilog="Exit codes: 0 success, 1 failed or partial, 2 bad input, 3 refused, 4 pending (a human "
    "must decide first), 5 unavailable.",
)
@click.argument("action")
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter.")
@click.option("--key", default="", help="Idempotency key of the playbook run; default: a new one.")
@click.option("--address", envvar="HOLDFAST_LISTEN", default="127.0.0.1:7443", show_default=True,
              help="Control's host:port.")  # fmt: skip
@click.option("--ca", type=click.Path(path_type=Path), help="CA of control's certificate (PEM).")
@click.option("--cert", type=click.Path(path_type=Path), help="Client certificate (PEM).")
@click.option("--private-key", type=click.Path(path_type=Path), help="Its private key (PEM).")
@click.option("--as", "operator", default="soar", show_default=True,
              help="Development certificate to use when --cert is not given.")  # fmt: skip
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object.")
def run(
    action: str,
    params: tuple[str, ...],
    key: str,
    address: str,
    ca: Path | None,
    cert: Path | None,
    private_key: Path | None,
    operator: str,
    is_json: bool,
) -> None:
    """Run ACTION, for example:

    \b
    holdfast soar run contain-agent --param agent=banking --param level=KILL --param reason="alert"
    """
    if action not in ACTIONS:
        raise click.UsageError(f"no action {action!r}; there are: {', '.join(ACTIONS)}")
    pki = _development_pki()
    connection = Connection(
        address=address,
        ca=ca or pki / "ca.pem",
        certificate=cert or pki / f"{operator}.pem",
        key=private_key or pki / f"{operator}.key",
    )
    result = asyncio.run(
        run_action(
            ACTIONS[action],
            HANDLERS[action],
            connection=connection,
            parameters=dict(_pair(text) for text in params),
            key=key or f"soar-{uuid.uuid4()}",
        )
    )
    click.echo(json.dumps(result, indent=2) if is_json else _text(result))
    sys.exit(_exit_code(result))


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


def _declaration(slug: str) -> dict[str, Any]:
    action = ACTIONS[slug]
    return {
        "name": action.name,
        "slug": slug,
        "effect": action.effect.value,
        "read_only": action.is_read_only,
        "permission": action.permission,
        "description": action.description,
        "parameters": [
            {
                "name": parameter.name,
                "required": parameter.is_required,
                "default": parameter.default,
                "choices": list(parameter.choices),
                "description": parameter.description,
            }
            for parameter in action.parameters
        ],
    }


def _text(result: dict[str, Any]) -> str:
    lines = [f"{result['status']}: {_UNPRINTABLE.sub('?', result['summary'])}"]
    error = result.get("error")
    if error and error["remedy"]:
        lines.append(f"what to do: {_UNPRINTABLE.sub('?', error['remedy'])}")
    operation = result.get("operation")
    if operation:
        lines += [
            f"operation: {operation['name']}, {operation['state']}",
            f"fingerprint: {_UNPRINTABLE.sub('?', operation['fingerprint_words'])}",
        ]
    if result.get("link"):
        lines.append(f"decide at: {_UNPRINTABLE.sub('?', result['link'])}")
    if result["status"] == Status.PENDING:
        key = _UNPRINTABLE.sub("?", result["idempotency_key"])
        lines.append(f"to learn how it ended, run it again with --key {key}")
    receipt = result.get("receipt")
    if receipt:
        lines.append(f"receipt: {receipt['directive']}, durable: {receipt['durable']}")
        lines += [f"  gate {gate['gate']}: {gate['state']}" for gate in receipt["gates"]]
    return "\n".join(lines)


def _exit_code(result: dict[str, Any]) -> int:
    if "error" in result:
        return _EXIT[ErrorClass(result["error"]["class"])]
    return {Status.SUCCESS.value: 0, Status.PENDING.value: 4}.get(result["status"], 1)

# SPDX-License-Identifier: Apache-2.0
"""``holdfast receipt``: the proof of a containment, shown again and verified without control."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from pathlib import Path
from typing import Any

import click

from sidecar.api.v1 import containment_pb2
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import group
from sidecar.cli.exits import Exit
from sidecar.cli.keyfiles import public_key, read_input
from sidecar.cli.output import Page, emit
from sidecar.cli.views import laggards_of, receipt_data, show_receipt
from sidecar.containment.receipt import Receipt, verify_envelope, verify_receipt
from sidecar.errors import UntrustedInputError

__all__ = ["receipt"]

_MAX_BYTES = 8 * 1024 * 1024
_HINT = "give what `holdfast contain --json` or `holdfast receipt show --json` printed"


@group(name="receipt")
def receipt() -> None:
    """Proofs of containment: show, verify."""


@receipt.command(
    name="show", examples=("holdfast receipt show 17", "holdfast receipt show 17 --json > r.json")
)
@click.argument("epoch", type=click.IntRange(1, 2**63 - 1))
@connected
def show(options: ClientOptions, epoch: int) -> Exit:
    """Show the receipt of the directive that EPOCH numbers, as it stands now.

    Exits 1 while a connected gate has not acknowledged.
    """
    return asyncio.run(_show(options, containment_pb2.GetReceiptRequest(epoch=epoch)))


async def _show(options: ClientOptions, request: containment_pb2.GetReceiptRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.containment.GetReceipt, request)
    data = {"receipt": receipt_data(answer.receipt)}
    emit("Receipt", data, lambda page: show_receipt(page, answer.receipt))
    return Exit.FAILURE if laggards_of(answer.receipt) else Exit.OK


@receipt.command(
    name="verify",
    examples=(
        "holdfast receipt verify r.json --key control.vkey",
        "holdfast receipt show 17 --json | holdfast receipt verify - --key control.vkey",
    ),
)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--key", required=True, help="Control's verifier key or PEM public key, or its file.")
def verify(file: Path, key: str) -> Exit:
    """Verify the signature of a receipt, offline. Exits 6 if it is not control's word.

    KEY must come from elsewhere than the receipt: a copy that was made when control was installed.
    """
    signer = public_key(key)
    proved = _verified(read_input(file, max_bytes=_MAX_BYTES), signer)

    def tell(page: Page) -> None:
        directive = proved.directive
        page.mark(True, f"signed by key {proved.key_id}")
        page.fields(
            [
                ("directive", directive.epoch),
                ("target", directive.target.describe()),
                ("level", directive.level.name),
                ("ordered by", directive.author),
                ("durable", "yes" if proved.is_durable else "no"),
                ("contained", "yes" if proved.is_contained else "no"),
                ("not enforcing", ", ".join(proved.laggards) or "none"),
            ]
        )

    emit("ReceiptVerification", {"ok": True, "receipt": proved.to_json()}, tell)
    return Exit.OK


def _verified(data: bytes, signer: Any) -> Receipt:
    """Return the receipt in *data* in whichever of our forms it comes.

    Raises:
        UntrustedInputError: *data* is no receipt.
        IntegrityError: It is one, and not what *signer* signed.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise UntrustedInputError("the file is no JSON", hint=_HINT) from exc
    if not isinstance(body, dict):
        raise UntrustedInputError("the file holds no receipt", hint=_HINT)
    inner = body.get("receipt", body)
    if isinstance(inner, dict) and "signed_json" in inner:
        try:
            signed = base64.b64decode(inner["signed_json"], validate=True)
            signature = base64.b64decode(inner.get("signature", ""), validate=True)
        except (binascii.Error, ValueError, TypeError) as exc:
            raise UntrustedInputError("the receipt is not base64", hint=_HINT) from exc
        return verify_receipt(signed, signature, signer)
    if isinstance(body.get("receipt"), dict) and "signature" in body:
        return verify_envelope(data, signer)
    raise UntrustedInputError("the file holds no signed receipt", hint=_HINT)

# SPDX-License-Identifier: Apache-2.0
"""The signed proof of a containment."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sidecar.canonical import canonicalise
from sidecar.containment.acks import GateItem, GateStanding
from sidecar.containment.isolation import IsolationItem, IsolationResult
from sidecar.containment.receipt import (
    NO_LOG_INDEX,
    DirectiveState,
    Receipt,
    ReceiptSigner,
    key_id_of,
    sign_receipt,
    verify_envelope,
    verify_receipt,
)
from sidecar.errors import IntegrityError
from tests.unit.containment.containment_kit import KEY, directive

PUBLIC = KEY.public_key()
ENFORCED = GateItem(
    gate="g1",
    standing=GateStanding.ENFORCED,
    applied_epoch=2**60,
    ack_time_ns=1_760_000_000_000_000_001,
    last_allow_time_ns=1_759_999_999_999_999_999,
)
LAGGARD = GateItem(gate="g2", standing=GateStanding.LAGGARD, applied_epoch=3)
GONE = GateItem(gate="g3", standing=GateStanding.DISCONNECTED, applied_epoch=0)
RECEIPT = Receipt(
    directive=directive(7, reason="it said <b>hi</b>\n☠"),
    state=DirectiveState.ACTIVE,
    is_durable=True,
    agents=("banking",),
    gates=(ENFORCED, GONE),
    isolation=(
        IsolationItem(
            driver="process_group",
            subject="pgid 4711 (agent banking)",
            result=IsolationResult.KILLED,
            detail="did not end within 5 s and was killed",
        ),
    ),
    log_index=12,
    checkpoint="holdfast/control\n13\nabc\n\n— key sig\n",
    issue_time_ns=1_760_000_000_500_000_000,
    key_id=key_id_of(PUBLIC),
)


def test_receipt_is_verified_with_the_public_key() -> None:
    """Whoever has the public key gets back exactly what control signed."""
    signed = ReceiptSigner(KEY).sign(RECEIPT)

    assert verify_receipt(signed.signed_json, signed.signature, PUBLIC) == RECEIPT
    assert verify_envelope(signed.envelope(), PUBLIC) == RECEIPT
    assert canonicalise(json.loads(signed.signed_json)) == signed.signed_json


def test_receipt_sums_up_its_gates() -> None:
    """Contained means: it stands, some gate enforces it, and no connected one does not."""
    late = replace(RECEIPT, gates=(ENFORCED, LAGGARD, GONE))

    assert (RECEIPT.is_contained, RECEIPT.laggards) == (True, ("g3",))
    assert (late.is_contained, late.laggards) == (False, ("g2", "g3"))
    assert not replace(RECEIPT, gates=()).is_contained
    assert not replace(RECEIPT, gates=(GONE,)).is_contained
    assert not replace(RECEIPT, state=DirectiveState.RELEASED).is_contained
    assert RECEIPT.last_allow_time_ns == ENFORCED.last_allow_time_ns
    assert replace(RECEIPT, gates=(GONE,)).last_allow_time_ns is None


def test_unavailable_log_is_said() -> None:
    """A receipt without a log entry says so in words."""
    assert replace(RECEIPT, log_index=NO_LOG_INDEX).to_json()["audit"] == "unavailable"
    assert RECEIPT.to_json()["audit"] == "recorded"


def test_every_flipped_byte_is_noticed() -> None:
    """No byte of what was signed, nor of the signature, can be another one."""
    signed = sign_receipt(RECEIPT, KEY)
    accepted = []
    for name, content in (("json", signed.signed_json), ("signature", signed.signature)):
        for position in range(len(content)):
            flipped = bytearray(content)
            flipped[position] ^= 0x01
            parts = {"json": signed.signed_json, "signature": signed.signature} | {
                name: bytes(flipped)
            }
            try:
                verify_receipt(parts["json"], parts["signature"], PUBLIC)
            except IntegrityError:
                continue
            accepted.append((name, position))

    assert accepted == []


def test_flipped_byte_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the signature, a laggard could be written out of a receipt."""
    late = sign_receipt(replace(RECEIPT, gates=(ENFORCED, LAGGARD)), KEY)
    body = json.loads(late.signed_json)
    body["gates"] = body["gates"][:1]

    class Credulous:
        def verify(self, *_: bytes) -> None:
            return

        def public_bytes(self, *args: Any) -> bytes:
            return PUBLIC.public_bytes(*args)

    forged: Any = Credulous()

    assert verify_receipt(canonicalise(body), late.signature, forged).is_contained


def test_other_key_is_refused() -> None:
    """A receipt that another control signed is not this one's."""
    other = Ed25519PrivateKey.generate()
    signed = sign_receipt(RECEIPT, KEY)

    with pytest.raises(IntegrityError):
        verify_receipt(signed.signed_json, signed.signature, other.public_key())
    mine = sign_receipt(RECEIPT, other)  # it names our key
    with pytest.raises(IntegrityError, match="another key"):
        verify_receipt(mine.signed_json, mine.signature, other.public_key())


def test_signature_is_bound_to_receipts() -> None:
    """The same bytes, signed as something else, are no receipt."""
    signed = canonicalise(RECEIPT.to_json())

    with pytest.raises(IntegrityError, match="signature"):
        verify_receipt(signed, KEY.sign(signed), PUBLIC)


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 20000,
        b'{"receipt":[],"signature":""}',
        b'{"receipt":{},"signature":"!"}',
        b'{"receipt":{"a":1e999},"signature":""}',
        b"x" * (4 * 1024 * 1024 + 1),
    ],
    ids=lambda envelope: str(envelope[:20]),
)
def test_garbage_is_no_receipt(envelope: bytes) -> None:
    """Whatever the bytes are, nothing but an integrity error comes out."""
    with pytest.raises(IntegrityError):
        verify_envelope(envelope, PUBLIC)


@pytest.mark.parametrize(
    "change",
    [{"v": 2}, {"gates": [{}]}, {"directive": {}}, {"isolation": 7}, {"log_index": "x"}],
    ids=repr,
)
def test_well_signed_nonsense_is_no_receipt(change: dict[str, Any]) -> None:
    """What our key signed but is no receipt of this version is refused too."""
    body = canonicalise(RECEIPT.to_json() | change)
    prefix = b"holdfast containment receipt v1\n"

    with pytest.raises(IntegrityError):
        verify_receipt(body, KEY.sign(prefix + body), PUBLIC)


def test_signer_does_not_show_its_key() -> None:
    """The representation names the key, and is not the key."""
    assert repr(ReceiptSigner(KEY)) == f"ReceiptSigner(key_id='{key_id_of(PUBLIC)}')"
    assert isinstance(PUBLIC, Ed25519PublicKey)

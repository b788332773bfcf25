# SPDX-License-Identifier: Apache-2.0
"""The receipt: signed proof of a containment.

Laws:

1. What is signed is the canonical JSON of the whole receipt behind a fixed prefix, so the signature
   can be mistaken for that of nothing else control signs with the same key.
2. A receipt says what control knows and no more: a directive that is not durable, a gate that did
   not acknowledge and a log that was not written are in it.
3. A later receipt for the same directive replaces none: each has its own time of issue.

Compatibility: keys may be added, never renamed or removed; ``v`` changes only if an old verifier
would read a new receipt wrongly.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.canonical import canonicalise
from sidecar.containment.acks import GateItem, GateStanding
from sidecar.containment.events import directive_from_json, directive_to_json
from sidecar.containment.isolation import IsolationItem, IsolationResult
from sidecar.errors import HoldfastError, IntegrityError
from sidecar.model import Directive

__all__ = [
    "NO_LOG_INDEX",
    "DirectiveState",
    "Receipt",
    "ReceiptSigner",
    "SignedReceipt",
    "key_id_of",
    "sign_receipt",
    "verify_envelope",
    "verify_receipt",
]

NO_LOG_INDEX: Final = -1
_PREFIX: Final = b"holdfast containment receipt v1\n"
_VERSION: Final = 1
_KEY_ID_HEX: Final = 16
_MAX_BYTES: Final = 4 * 1024 * 1024


class DirectiveState(StrEnum):
    """Where in its life a directive is."""

    ACTIVE = "ACTIVE"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What control can prove about one directive.

    Attributes:
        directive: What was ordered.
        state: Whether it still stands.
        is_durable: False if it may not survive a power cut: it holds in memory.
        agents: Agents the target reaches, as far as they are known.
        gates: Where each gate stands.
        isolation: What became of the runtimes.
        log_index: The directive's entry in control's log, or ``NO_LOG_INDEX``: log unavailable.
        checkpoint: Control's signed checkpoint that covers it, or empty.
        issue_time_ns: Wall time of this receipt.
        key_id: Which key signs it.
    """

    directive: Directive
    state: DirectiveState
    is_durable: bool
    agents: tuple[str, ...]
    gates: tuple[GateItem, ...]
    isolation: tuple[IsolationItem, ...]
    log_index: int
    checkpoint: str
    issue_time_ns: int
    key_id: str

    @property
    def laggards(self) -> tuple[str, ...]:
        """Gates that do not enforce the directive, connected or not."""
        return tuple(item.gate for item in self.gates if item.standing is not GateStanding.ENFORCED)

    @property
    def is_contained(self) -> bool:
        """Whether it stands, a gate enforces it, and no connected one does not."""
        standings = {item.standing for item in self.gates}
        return (
            self.state is DirectiveState.ACTIVE
            and GateStanding.ENFORCED in standings
            and GateStanding.LAGGARD not in standings
        )

    @property
    def last_allow_time_ns(self) -> int | None:
        """The last ALLOW any gate gave to the target before it enforced; None if none is known."""
        times = [item.last_allow_time_ns for item in self.gates]
        return max((time for time in times if time is not None), default=None)

    def to_json(self) -> dict[str, Any]:
        """Return the receipt as a JSON object."""
        return {
            "v": _VERSION,
            "directive": directive_to_json(self.directive),
            "state": self.state.value,
            "durable": self.is_durable,
            "agents": list(self.agents),
            "gates": [
                {
                    "gate": item.gate,
                    "state": item.standing.value,
                    "applied_epoch": str(item.applied_epoch),
                    **_time("ack_time_ns", item.ack_time_ns),
                    **_time("last_allow_time_ns", item.last_allow_time_ns),
                }
                for item in self.gates
            ],
            "contained": self.is_contained,
            "laggards": list(self.laggards),
            **_time("last_allow_time_ns", self.last_allow_time_ns),
            "isolation": [
                {
                    "driver": item.driver,
                    "subject": item.subject,
                    "result": item.result.value,
                    "detail": item.detail,
                }
                for item in self.isolation
            ],
            "audit": "unavailable" if self.log_index == NO_LOG_INDEX else "recorded",
            "log_index": self.log_index,
            "checkpoint": self.checkpoint,
            "issue_time_ns": str(self.issue_time_ns),
            "key_id": self.key_id,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedReceipt:
    """A receipt, the bytes that were signed, and the signature over them."""

    receipt: Receipt
    signed_json: bytes
    signature: bytes

    def envelope(self) -> bytes:
        """Return one JSON document that holds receipt and signature; see ``verify_envelope``."""
        return canonicalise(
            {
                "receipt": self.receipt.to_json(),
                "signature": base64.b64encode(self.signature).decode(),
            }
        )


class ReceiptSigner:
    """Signs with control's key."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        self.key_id = key_id_of(private_key.public_key())

    def sign(self, receipt: Receipt) -> SignedReceipt:
        """Return *receipt* with its signature."""
        return sign_receipt(receipt, self._private_key)

    def __repr__(self) -> str:
        return f"ReceiptSigner(key_id={self.key_id!r})"


def key_id_of(public_key: Ed25519PublicKey) -> str:
    """Return the name of a key: the first 16 hex digits of its SHA-256."""
    raw = public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return sha256(raw).hexdigest()[:_KEY_ID_HEX]


def sign_receipt(receipt: Receipt, private_key: Ed25519PrivateKey) -> SignedReceipt:
    """Return *receipt* with the signature of *private_key* (law 1)."""
    signed = canonicalise(receipt.to_json())
    return SignedReceipt(
        receipt=receipt, signed_json=signed, signature=private_key.sign(_PREFIX + signed)
    )


def verify_receipt(signed_json: bytes, signature: bytes, public_key: Ed25519PublicKey) -> Receipt:
    """Return the receipt in *signed_json* if *public_key* signed exactly these bytes.

    Raises:
        IntegrityError: It did not, or they are no receipt.
    """
    try:
        public_key.verify(signature, _PREFIX + signed_json)
    except InvalidSignature as exc:
        raise IntegrityError("the receipt's signature does not match") from exc
    receipt = _receipt_from_json(_parsed(signed_json))
    if receipt.key_id != key_id_of(public_key):
        raise IntegrityError("the receipt names another key than the one that signed it")
    return receipt


def verify_envelope(envelope: bytes, public_key: Ed25519PublicKey) -> Receipt:
    """Return the receipt in what ``SignedReceipt.envelope`` made, if *public_key* signed it.

    Raises:
        IntegrityError: It did not, or it is no envelope.
    """
    body = _parsed(envelope)
    receipt, signature = body.get("receipt"), body.get("signature")
    if not isinstance(receipt, dict) or not isinstance(signature, str):
        raise IntegrityError("this is no signed receipt")
    try:
        signed = canonicalise(receipt)
        raw = base64.b64decode(signature, validate=True)
    except (HoldfastError, binascii.Error, ValueError) as exc:
        raise IntegrityError("this is no signed receipt") from exc
    return verify_receipt(signed, raw, public_key)


def _parsed(document: bytes) -> Mapping[str, Any]:
    if len(document) > _MAX_BYTES:
        raise IntegrityError("a receipt is not that long")
    try:
        body = json.loads(document)
    except (ValueError, RecursionError) as exc:
        raise IntegrityError("a receipt is JSON") from exc
    if not isinstance(body, dict):
        raise IntegrityError("a receipt is a JSON object")
    return body


def _receipt_from_json(body: Mapping[str, Any]) -> Receipt:
    try:
        if body["v"] != _VERSION:
            raise IntegrityError("the receipt is of a version that is not known")
        return Receipt(
            directive=directive_from_json(body["directive"]),
            state=DirectiveState(body["state"]),
            is_durable=body["durable"] is True,
            agents=tuple(str(agent) for agent in body["agents"]),
            gates=tuple(
                GateItem(
                    gate=str(item["gate"]),
                    standing=GateStanding(item["state"]),
                    applied_epoch=int(item["applied_epoch"]),
                    ack_time_ns=_time_of(item, "ack_time_ns"),
                    last_allow_time_ns=_time_of(item, "last_allow_time_ns"),
                )
                for item in body["gates"]
            ),
            isolation=tuple(
                IsolationItem(
                    driver=str(item["driver"]),
                    subject=str(item["subject"]),
                    result=IsolationResult(item["result"]),
                    detail=str(item["detail"]),
                )
                for item in body["isolation"]
            ),
            log_index=int(body["log_index"]),
            checkpoint=str(body["checkpoint"]),
            issue_time_ns=int(body["issue_time_ns"]),
            key_id=str(body["key_id"]),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise IntegrityError("the receipt lacks what a receipt has") from exc


def _time(name: str, value: int | None) -> dict[str, str]:
    return {} if value is None else {name: str(value)}


def _time_of(item: Mapping[str, Any], name: str) -> int | None:
    return int(item[name]) if name in item else None

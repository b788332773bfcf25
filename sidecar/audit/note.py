# SPDX-License-Identifier: Apache-2.0
"""Signed notes and checkpoints (C2SP ``signed-note`` and ``tlog-checkpoint``), without I/O.

A checkpoint is the text ``origin\\nsize\\nbase64(root)\\n``, a blank line and one signature line
``— name base64(key id ‖ Ed25519 signature)``. Laws:

1. The text counts only after its signature was verified; ``Checkpoint`` values come only from
   ``open_checkpoint`` or from our own signer.
2. The key's name is the log's origin, and both are compared exactly: the checkpoint of another
   sidecar is a stranger's, even under the same key bytes.
3. Exactly one signature. The public format lets verifiers ignore signatures of unknown keys; our
   logs have none, and a second line in a checkpoint can only be tampering.
4. Every number and base64 text has one spelling; anything else is refused.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sidecar.audit.merkle import HASH_SIZE
from sidecar.errors import IntegrityError, UntrustedInputError

__all__ = [
    "MAX_NOTE_BYTES",
    "Checkpoint",
    "CheckpointKey",
    "check_key_name",
    "format_vkey",
    "open_checkpoint",
    "parse_vkey",
    "sign_checkpoint",
]

MAX_NOTE_BYTES: Final = 16 * 1024
_ED25519: Final = b"\x01"
_SIGNATURE_BYTES: Final = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}\Z")
_SIZE = re.compile(r"(?:0|[1-9][0-9]{0,18})\Z")
_KEY_ID = re.compile(r"[0-9a-f]{8}\Z")
_MALFORMED_HINT: Final = "fetch the checkpoint again from the log or from another holder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signed tree head: *origin*'s first ``size`` entries have the Merkle root ``root``."""

    origin: str
    size: int
    root: bytes
    text: str
    """The whole note, signature included, as it is handed out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointKey:
    """The public key of one log: its name, which is the log's origin, and the Ed25519 key."""

    name: str
    public_key: Ed25519PublicKey

    @property
    def key_id(self) -> bytes:
        """The four bytes that name this key in a signature line."""
        return _key_id(self.name, self.public_key.public_bytes_raw())


def check_key_name(name: str) -> str:
    """Return *name* if it can name a log.

    Raises:
        ValueError: it holds a space, a plus sign or another character that notes do not allow.
    """
    if not _NAME.match(name):
        raise ValueError(f"a log's origin must match {_NAME.pattern}, got {name!r}")
    return name


def format_vkey(name: str, public_key: Ed25519PublicKey) -> str:
    """Return the verifier key as text: ``name+hex key id+base64(type ‖ public key)``."""
    raw = public_key.public_bytes_raw()
    key = base64.b64encode(_ED25519 + raw).decode("ascii")
    return f"{name}+{_key_id(name, raw).hex()}+{key}"


def parse_vkey(text: str) -> CheckpointKey:
    """Return the key that *text* names.

    Raises:
        UntrustedInputError: *text* is no Ed25519 verifier key, or its key id does not fit.
    """
    parts = text.strip().split("+", 2)
    if len(parts) != 3 or not _NAME.match(parts[0]) or not _KEY_ID.match(parts[1]):
        raise UntrustedInputError("not a verifier key", hint="expected name+keyid+base64")
    name, key_id, encoded = parts
    raw = _strict_base64(encoded, "verifier key")
    if len(raw) != 1 + 32 or raw[:1] != _ED25519:
        raise UntrustedInputError("the verifier key is not an Ed25519 key")
    if _key_id(name, raw[1:]).hex() != key_id:
        raise UntrustedInputError("the verifier key's id does not fit its name and key")
    return CheckpointKey(name=name, public_key=Ed25519PublicKey.from_public_bytes(raw[1:]))


def sign_checkpoint(
    *, origin: str, size: int, root: bytes, signing_key: Ed25519PrivateKey
) -> Checkpoint:
    """Return the signed checkpoint of (*size*, *root*).

    Only ``head.HeadSigner`` calls this: it first proves that the new head extends the last one.
    """
    body = f"{origin}\n{size}\n{base64.b64encode(root).decode('ascii')}\n"
    raw_key = signing_key.public_key().public_bytes_raw()
    signature = signing_key.sign(body.encode())
    line = base64.b64encode(_key_id(origin, raw_key) + signature).decode("ascii")
    text = f"{body}\n— {origin} {line}\n"
    return Checkpoint(origin=origin, size=size, root=root, text=text)


def open_checkpoint(text: str | bytes, *, key: CheckpointKey) -> Checkpoint:
    """Return the checkpoint in the note *text* after verifying its one signature by *key*.

    Raises:
        UntrustedInputError: *text* is not a checkpoint.
        IntegrityError: it is one, but not of this log or not signed by *key*.
    """
    note = _decode(text)
    body, separator, tail = note.rpartition("\n\n")
    lines = body.split("\n")
    if not separator or len(lines) != 3:
        raise UntrustedInputError("not a checkpoint", hint=_MALFORMED_HINT)
    origin, size_text, root_text = lines
    if not _SIZE.match(size_text):
        raise UntrustedInputError("the checkpoint's size is malformed", hint=_MALFORMED_HINT)
    root = _strict_base64(root_text, "checkpoint root")
    if len(root) != HASH_SIZE:
        raise UntrustedInputError("the checkpoint's root is malformed", hint=_MALFORMED_HINT)
    _verify_signature(f"{body}\n".encode(), tail, key)
    if origin != key.name:  # law 2
        raise IntegrityError("the checkpoint is of another log than the key")
    return Checkpoint(origin=origin, size=int(size_text), root=root, text=note)


def _verify_signature(signed: bytes, tail: str, key: CheckpointKey) -> None:
    lines = tail.split("\n")
    if len(lines) != 2 or lines[1]:  # law 3
        raise IntegrityError("the checkpoint must carry exactly one signature")
    dash, _, rest = lines[0].partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != "—":
        raise UntrustedInputError("the signature line is malformed", hint=_MALFORMED_HINT)
    raw = _strict_base64(encoded, "signature")
    if len(raw) != 4 + _SIGNATURE_BYTES:
        raise UntrustedInputError("the signature is malformed", hint=_MALFORMED_HINT)
    if name != key.name or raw[:4] != key.key_id:
        raise IntegrityError("the checkpoint is not signed by this log's key")
    try:
        key.public_key.verify(raw[4:], signed)
    except InvalidSignature as exc:
        raise IntegrityError("the checkpoint's signature is wrong") from exc


def _decode(text: str | bytes) -> str:
    if len(text) > MAX_NOTE_BYTES:
        raise UntrustedInputError("the checkpoint is too large", hint=_MALFORMED_HINT)
    try:
        note = text.decode("utf-8") if isinstance(text, bytes) else text
        note.encode("utf-8")
    except UnicodeError as exc:
        raise UntrustedInputError("the checkpoint is not UTF-8", hint=_MALFORMED_HINT) from exc
    if any(ord(char) < 0x20 and char != "\n" for char in note):
        raise UntrustedInputError("control character in a checkpoint", hint=_MALFORMED_HINT)
    return note


def _strict_base64(text: str, what: str) -> bytes:
    """Decode *text*, which must be the one spelling of its bytes (law 4)."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise UntrustedInputError(f"the {what} is not base64") from exc
    if base64.b64encode(raw).decode("ascii") != text:
        raise UntrustedInputError(f"the {what} is not canonical base64")
    return raw


def _key_id(name: str, raw_key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + _ED25519 + raw_key).digest()[:4]

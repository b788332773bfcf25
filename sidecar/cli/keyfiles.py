# SPDX-License-Identifier: Apache-2.0
"""Public keys as people hand them over: the text itself, a file of it, or PEM."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sidecar.audit.note import parse_vkey
from sidecar.errors import ErrorReason, UntrustedInputError

__all__ = ["MAX_INPUT_BYTES", "public_key", "read_input", "verifier_key"]

MAX_INPUT_BYTES: Final = 16 * 1024 * 1024
_MAX_KEY_BYTES: Final = 16 * 1024


def read_input(path: Path, *, max_bytes: int = MAX_INPUT_BYTES) -> bytes:
    """Return the content of a file that somebody named; ``-`` is standard input.

    Raises:
        UntrustedInputError: It cannot be read, or is too long.
    """
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(max_bytes + 1)
        else:
            with path.open("rb") as file:
                data = file.read(max_bytes + 1)
    except OSError as exc:
        raise UntrustedInputError(
            f"{path} cannot be read: {exc.strerror}", reason=ErrorReason.INVALID_ARGUMENT
        ) from exc
    if len(data) > max_bytes:
        raise UntrustedInputError(
            f"{path} is longer than {max_bytes} bytes", reason=ErrorReason.INVALID_ARGUMENT
        )
    return data


def verifier_key(given: str) -> str:
    """Return the verifier key that *given* is, or that lies in the file it names.

    Raises:
        UntrustedInputError: It is neither.
    """
    is_text = given.count("+") >= 2 and not Path(given).exists()
    return given.strip() if is_text else _text_of(given)


def public_key(given: str) -> Ed25519PublicKey:
    """Return the key that *given* is or names: a verifier key or a PEM public key.

    Raises:
        UntrustedInputError: It is neither.
    """
    text = verifier_key(given)
    if "-----BEGIN" not in text:
        return parse_vkey(text.partition(" ")[0]).public_key
    try:
        key = serialization.load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise UntrustedInputError("--key holds no public key in PEM form") from exc
    if not isinstance(key, Ed25519PublicKey):
        raise UntrustedInputError("--key is not an Ed25519 key")
    return key


def _text_of(given: str) -> str:
    data = read_input(Path(given), max_bytes=_MAX_KEY_BYTES)
    try:
        text = data.decode("ascii").strip()
    except UnicodeDecodeError as exc:
        raise UntrustedInputError(f"{given} holds no verifier key") from exc
    if not text:
        raise UntrustedInputError(f"{given} is empty", hint="expected name+keyid+base64")
    return text

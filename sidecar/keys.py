# SPDX-License-Identifier: Apache-2.0
"""The Ed25519 key of a process: made once, private from its first byte, never in a message."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.errors import EnvironmentFailure, ErrorReason
from sidecar.safe_paths import read_secret_file

__all__ = ["load_or_create_key", "load_or_create_secret"]

_SECRET_BYTES = 32


def load_or_create_key(path: Path) -> Ed25519PrivateKey:
    """Return the signing key in *path* (PEM, mode 0600), made if there is no such file.

    Raises:
        EnvironmentFailure: The file is unsafe, unreadable or no Ed25519 key.
    """
    if not os.path.lexists(path):
        _create(path)
    try:
        key = serialization.load_pem_private_key(read_secret_file(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise _unusable(path) from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise _unusable(path)
    return key


def load_or_create_secret(path: Path) -> bytes:
    """Return the 32 random bytes in *path* (mode 0600), made if there is no such file.

    Raises:
        EnvironmentFailure: The file is unsafe, unreadable or of another length.
    """
    if not os.path.lexists(path):
        _write_private(path, secrets.token_bytes(_SECRET_BYTES))
    secret = read_secret_file(path)
    if len(secret) != _SECRET_BYTES:
        raise EnvironmentFailure(
            f"{path} does not hold {_SECRET_BYTES} bytes",
            reason=ErrorReason.INVALID_CONFIGURATION,
            hint="restore it from a backup, or remove it to have a new one made",
        )
    return secret


def _create(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write_private(path, pem)


def _write_private(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as exc:
        raise EnvironmentFailure(
            f"{path} cannot be made: {exc.strerror}",
            hint="give this process a state directory it can write",
        ) from exc


def _unusable(path: Path) -> EnvironmentFailure:
    return EnvironmentFailure(
        f"{path} does not hold an Ed25519 private key in PEM form",
        reason=ErrorReason.INVALID_CONFIGURATION,
        hint="restore it from a backup; a new key cannot continue the old log",
    )

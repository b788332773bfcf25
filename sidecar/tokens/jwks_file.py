# SPDX-License-Identifier: Apache-2.0
"""Reads an issuer's JWK set from a file.

The file is a trust anchor: whoever can write it can make tokens. So it must be a regular file that
belongs to root or to us and that not everybody may write. It is read through one descriptor, so
what was checked is what is read, and never beyond the size limit.
"""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

from sidecar.errors import EnvironmentFailure, ErrorReason, UntrustedInputError
from sidecar.tokens.jwks import MAX_SET_BYTES, KeySet, parse_jwk_set

__all__ = ["JwksFile"]


class JwksFile:
    """The key set in the file at *path*."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def fetch(self) -> KeySet:
        """Return the key set that the file holds now; see ``load``."""
        return await asyncio.to_thread(self.load)

    def load(self) -> KeySet:
        """Return the key set that the file holds now.

        Raises:
            EnvironmentFailure: The file cannot be read or is not safe to trust.
            UntrustedInputError: It does not hold an acceptable key set.
        """
        try:
            # O_NONBLOCK: opening a FIFO that nobody writes to must not hang.
            handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (OSError, ValueError) as exc:
            raise EnvironmentFailure(
                f"the key file {self._path} cannot be opened",
                reason=ErrorReason.ISSUER_UNAVAILABLE,
                hint="check jwks_file in issuers.yaml and the file's permissions",
            ) from exc
        try:
            self._refuse_unsafe(os.fstat(handle))
            data = self._read(handle)
        except OSError as exc:
            raise EnvironmentFailure(
                f"the key file {self._path} cannot be read", reason=ErrorReason.ISSUER_UNAVAILABLE
            ) from exc
        finally:
            os.close(handle)
        return parse_jwk_set(data)

    def _refuse_unsafe(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise EnvironmentFailure(
                f"the key file {self._path} is not a regular file", reason=ErrorReason.UNSAFE_PATH
            )
        if status.st_uid not in (0, os.geteuid()):
            raise EnvironmentFailure(
                f"the key file {self._path} belongs to another user",
                reason=ErrorReason.UNSAFE_PATH,
                hint="chown it to root or to the user of this process",
            )
        if status.st_mode & stat.S_IWOTH:
            raise EnvironmentFailure(
                f"the key file {self._path} can be written by everybody",
                reason=ErrorReason.UNSAFE_PATH,
                hint="chmod o-w it",
            )

    def _read(self, handle: int) -> bytes:
        data = b""
        while len(data) <= MAX_SET_BYTES:
            chunk = os.read(handle, MAX_SET_BYTES + 1 - len(data))
            if not chunk:
                return data
            data += chunk
        raise UntrustedInputError(f"the key file {self._path} is larger than {MAX_SET_BYTES} bytes")

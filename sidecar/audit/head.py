# SPDX-License-Identifier: Apache-2.0
"""The signer of checkpoints, which cannot be brought to sign a fork.

Laws:

1. A head is signed only if a consistency proof shows that it extends the last head that was
   signed. A directory that was rolled back, restored from a backup or edited is refused, and the
   refusal names both heads.
2. The head is durable **before** it is signed: a crash in between forgets no signature that may
   have left the process.
3. The same head may be signed again (Ed25519 is deterministic: it is the same checkpoint).

The file ``head`` holds ``origin``, ``size``, hex ``root`` and a SHA-256 over these lines. The
checksum is against accidents; it is the checkpoint's signature that is against people.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.audit.files import Files, read_regular, replace_file
from sidecar.audit.merkle import EMPTY_ROOT, verify_consistency
from sidecar.audit.note import Checkpoint, sign_checkpoint
from sidecar.errors import IntegrityError

__all__ = ["Head", "HeadSigner", "encode_head", "parse_head", "read_head"]

_TITLE: Final = "holdfast audit head v1"
_MAX_HEAD_BYTES: Final = 1024
_HEAD = re.compile(
    rf"({_TITLE}\n([^\n]{{1,128}})\n(0|[1-9][0-9]{{0,18}})\n([0-9a-f]{{64}})\n)([0-9a-f]{{64}})\n\Z"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A tree head: *origin*'s first ``size`` entries have the root ``root``."""

    origin: str
    size: int
    root: bytes

    def describe(self) -> str:
        """Return the head as messages write it."""
        return f"{self.size} entries, root {self.root.hex()}"


def encode_head(head: Head) -> bytes:
    """Return the bytes of the head file."""
    body = f"{_TITLE}\n{head.origin}\n{head.size}\n{head.root.hex()}\n".encode()
    return body + sha256(body).hexdigest().encode() + b"\n"


def parse_head(data: bytes) -> Head:
    """Return the head in *data*.

    Raises:
        IntegrityError: *data* is not a whole head file.
    """
    match = _HEAD.match(data.decode("utf-8", errors="replace"))
    if not match or sha256(match[1].encode()).hexdigest() != match[5]:
        raise IntegrityError("the file head is damaged")
    return Head(origin=match[2], size=int(match[3]), root=bytes.fromhex(match[4]))


def read_head(directory: Path) -> Head | None:
    """Return the last signed head of the log in *directory*, or None if there is no head file.

    Raises:
        IntegrityError: the file is damaged.
    """
    try:
        return parse_head(read_regular(directory / "head", max_bytes=_MAX_HEAD_BYTES))
    except FileNotFoundError:
        return None


class HeadSigner:
    """Signs the heads of one log, each an extension of the last."""

    def __init__(
        self,
        directory: Path,
        *,
        files: Files,
        origin: str,
        signing_key: Ed25519PrivateKey,
        last: Head | None,
    ) -> None:
        self._directory = directory
        self._files = files
        self._origin = origin
        self._signing_key = signing_key
        self._last = last or Head(origin=origin, size=0, root=EMPTY_ROOT)
        if self._last.origin != origin:
            raise IntegrityError(f"the log is of {self._last.origin}, not of {origin}")

    @property
    def last(self) -> Head:
        """The last head that was made durable to be signed."""
        return self._last

    def sign(self, *, size: int, root: bytes, proof: Sequence[bytes]) -> Checkpoint:
        """Return the signed checkpoint of (*size*, *root*).

        Args:
            size: How many entries it covers.
            root: The Merkle root over them.
            proof: The consistency proof from ``last`` to this head.

        Raises:
            IntegrityError: the head does not extend the last one (law 1).
            OSError: the head could not be made durable; nothing was signed (law 2).
        """
        last = self._last
        try:
            verify_consistency(
                old_size=last.size, old_root=last.root, new_size=size, new_root=root, path=proof
            )
        except IntegrityError as exc:
            head = Head(origin=self._origin, size=size, root=root)
            raise IntegrityError(
                f"refusing to sign a fork: already signed {last.describe()}; now asked for"
                f" {head.describe()}, which does not extend it",
                hint="was the directory restored from a backup? keep both and start a new log",
            ) from exc
        self._persist(Head(origin=self._origin, size=size, root=root))
        return sign_checkpoint(
            origin=self._origin, size=size, root=root, signing_key=self._signing_key
        )

    def _persist(self, head: Head) -> None:
        replace_file(
            self._files,
            scratch=self._directory / "tmp",
            path=self._directory / "head",
            data=encode_head(head),
        )
        self._files.sync_directory(self._directory)
        self._last = head

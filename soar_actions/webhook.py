# SPDX-License-Identifier: Apache-2.0
"""Checks that a notice which a webhook received is from Holdfast, is fresh, and is new.

For playbooks that are started by a notice, for example when an approval was decided. Copy this file
next to whatever receives it: it needs the standard library alone and runs on Python 3.10 and newer.

    check = WebhookCheck(secrets=[secret], memory=Path("/var/lib/soar/holdfast-notices"))
    verdict = check.verdict(headers, body)      # the body as it came, before anything parsed it
    if verdict.is_ours: answer 204, else: answer 401
    if verdict is Verdict.NEW: act on json.loads(body)

Laws:

1. Forged is forged: without a signature over id, time and body by one of the secrets nothing else
   is looked at, and nothing is remembered.
2. A notice is fresh for five minutes, either way; the time is signed, so nobody can renew it.
3. An id is acted on once, also after a restart and by several processes: it is remembered as a file
   that only one can create, before anybody is told that it is new. If it cannot be remembered, that
   is an error and not a new notice.
4. Holdfast delivers at least once. A repetition is answered like the first one, without acting.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from hashlib import sha256
from pathlib import Path

__all__ = ["KEEP_S", "TOLERANCE_S", "Verdict", "WebhookCheck"]

TOLERANCE_S = 300
KEEP_S = 30 * 86_400
"""How long an id is remembered: longer than Holdfast goes on trying to deliver."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TIME = re.compile(r"[0-9]{1,12}")
_MAX_SIGNATURES = 8
_PING = "ping"


class Verdict(str, Enum):  # noqa: UP042 - StrEnum is newer than the oldest platform
    """What a received notice is."""

    NEW = "NEW"
    """From Holdfast, and nobody has acted on it yet: act."""
    REPEATED = "REPEATED"
    """From Holdfast, and acted on before: answer 2xx and do nothing."""
    PING = "PING"
    """Holdfast tries whether the receiver is there: answer 2xx and do nothing."""
    LATE = "LATE"
    """Signed, but not about now: recorded and sent again by somebody, or a clock is wrong."""
    FORGED = "FORGED"
    """Not signed with any of the secrets."""

    @property
    def is_ours(self) -> bool:
        """Whether to answer 2xx."""
        return self in (Verdict.NEW, Verdict.REPEATED, Verdict.PING)


class WebhookCheck:
    """Judges notices, and remembers the ids of those that it called new.

    Args:
        secrets: Every secret that is good at the moment; two while one is being replaced.
        memory: A directory of the receiver's own, for the ids; it is made if it is not there.
        now: Returns the Unix time.
    """

    def __init__(
        self, *, secrets: Sequence[str], memory: Path, now: Callable[[], float] = time.time
    ) -> None:
        if not secrets or not all(secrets):
            raise ValueError("a check without a secret would believe anybody")
        self._secrets = tuple(secrets)
        self._memory = memory
        self._now = now
        memory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def verdict(self, headers: Mapping[str, str], body: bytes) -> Verdict:
        """Return what the notice *body* with *headers* is.

        Raises:
            OSError: Its id cannot be remembered; answer 503, and it is delivered again.
        """
        named = {name.lower(): value for name, value in headers.items()}
        notice, moment = named.get("holdfast-id", ""), named.get("holdfast-timestamp", "")
        if not _ID.fullmatch(notice) or not _TIME.fullmatch(moment):
            return Verdict.FORGED
        if not self._is_signed(notice, moment, named.get("holdfast-signature", ""), body):  # law 1
            return Verdict.FORGED
        now = self._now()
        if abs(now - int(moment)) > TOLERANCE_S:  # law 2
            return Verdict.LATE
        if notice == _PING:
            return Verdict.PING
        return Verdict.NEW if self._is_first(notice) else Verdict.REPEATED

    def forget(self) -> int:
        """Remove ids that are older than ``KEEP_S``, and return how many; call it once a day."""
        count = 0
        for entry in os.scandir(self._memory):
            with contextlib.suppress(FileNotFoundError):  # another process forgets as well
                if entry.stat(follow_symlinks=False).st_mtime < time.time() - KEEP_S:
                    os.unlink(entry.path)
                    count += 1
        return count

    def _is_signed(self, notice: str, moment: str, signature: str, body: bytes) -> bool:
        signed = f"{notice}.{moment}.".encode("ascii") + body
        given = [one[3:] for one in signature.split(" ") if one.startswith("v1=")]
        is_good = False
        for secret in self._secrets:
            expected = hmac.new(secret.encode(), signed, sha256).hexdigest().encode()
            for one in given[:_MAX_SIGNATURES]:
                is_good |= hmac.compare_digest(expected, one.encode("utf-8", "replace"))
        return is_good

    def _is_first(self, notice: str) -> bool:
        try:
            descriptor = os.open(self._memory / notice, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return False
        os.close(descriptor)
        try:
            place = os.open(self._memory, os.O_RDONLY)
            try:
                os.fsync(place)  # law 3: the name is on disk before anybody acts
            finally:
                os.close(place)
        except OSError:  # nobody was told, so the next delivery is not a repetition
            os.unlink(self._memory / notice)
            raise
        return True

# SPDX-License-Identifier: Apache-2.0
"""What a gate takes over from its own log when it starts: used budgets, decisions, recent calls."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sidecar.audit.outcomes import OutcomeJoiner
from sidecar.audit.reader import read_entries, signed_size
from sidecar.authorize.limits import RecordedCharge
from sidecar.authorize.question import Question
from sidecar.authorize.record import RecentCall, Recorder
from sidecar.errors import NotFoundError, UntrustedInputError
from sidecar.model import AgentId, Effect

__all__ = ["recover_from_log"]

_MAX_ENTRIES: Final = 200_000
"""How far back a start looks. A budget that counts more calls than this is counted short."""
_BLOCK: Final = 2000


def recover_from_log(
    directory: Path, *, joiner: OutcomeJoiner, recorder: Recorder
) -> list[RecordedCharge]:
    """Return the recorded charges, oldest first.

    *joiner* learns the latest decisions, *recorder* the latest calls, without their arguments: the
    log does not have them.
    """
    try:
        size = signed_size(directory)
    except NotFoundError:
        return []
    charges: list[RecordedCharge] = []
    start = max(0, size - _MAX_ENTRIES)
    while start < size + _BLOCK:
        block = read_entries(directory, start, _BLOCK, is_unsigned_included=True)
        if not block:
            break
        for entry in block:
            fields = entry.fields()
            joiner.replay(fields)
            if fields.get("kind") == "decision" and "fingerprint" in fields:
                recorder.recall(_recent_call(fields))
            if "charges" in fields:
                charges.append(
                    RecordedCharge.from_entry(
                        fields["agent"], _wall_ns(fields["time"]), fields["charges"]
                    )
                )
        start += len(block)
    return charges


def _recent_call(fields: dict[str, Any]) -> RecentCall:
    question = Question(
        AgentId(fields["agent"]), fields["tool"], b"{}", session=fields.get("session", "")
    )
    return RecentCall(question, fields["decision_id"], Effect(fields["effect"]))


def _wall_ns(text: str) -> int:
    """Return the wall nanoseconds of an entry's time (RFC 3339 with nanoseconds)."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    try:
        seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
        return seconds * 1_000_000_000 + int((fraction + "000000000")[:9])
    except ValueError as exc:
        raise UntrustedInputError("a log entry has no valid time") from exc

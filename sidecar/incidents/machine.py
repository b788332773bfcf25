# SPDX-License-Identifier: Apache-2.0
"""What may become of an incident. No I/O.

Laws:

1. What was gathered never changes: no order reaches it.
2. Notes and techniques are added, never changed or taken away; the verdict is the last one given.
3. A closed incident takes notes and nothing else, and is never open again.
4. Every change makes the next version.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from sidecar.errors import PreconditionError
from sidecar.incidents.values import (
    MAX_NOTES,
    MAX_NOTES_BYTES,
    MAX_TECHNIQUES,
    Gathered,
    Incident,
    IncidentState,
    Note,
    OpenOrder,
    UpdateOrder,
)

__all__ = ["opened", "updated"]

_DEFAULT_SEVERITY: Final = "MEDIUM"


def opened(order: OpenOrder, gathered: Gathered, *, id_: str, author: str, now_ns: int) -> Incident:
    """Return the incident that *order* of *author* opens; its place in store and log come later."""
    note = Note(author=author, create_time_ns=now_ns, text=order.note)
    return Incident(
        id=id_,
        seq=0,
        version=1,
        state=IncidentState.OPEN,
        title=order.title,
        severity=order.severity or _DEFAULT_SEVERITY,
        agent=order.agent,
        document=gathered.document,
        brief=gathered.brief,
        sha256=gathered.sha256,
        techniques=tuple(dict.fromkeys(order.techniques)),
        verdict=order.verdict,
        notes=(note,) if order.note else (),
        author=author,
        create_time_ns=now_ns,
        update_time_ns=now_ns,
        end_time_ns=0,
        external_reference=order.external_reference,
        log_index=-1,
    )


def updated(incident: Incident, order: UpdateOrder, *, author: str, now_ns: int) -> Incident:
    """Return *incident* after *order* of *author* (laws 1 to 4).

    Raises:
        PreconditionError: It is closed, or full.
    """
    is_closed = incident.state is IncidentState.CLOSED
    if is_closed and (order.verdict or order.techniques or order.is_closing):  # law 3
        raise PreconditionError(
            "the incident is closed: it takes notes and nothing else",
            hint="open another one if it begins again, and name this one in a note",
        )
    techniques = tuple(dict.fromkeys((*incident.techniques, *order.techniques)))
    note = Note(author=author, create_time_ns=now_ns, text=order.note)
    notes = (*incident.notes, note) if order.note else incident.notes
    size = sum(len(note.text.encode()) for note in notes)
    is_full = len(notes) > MAX_NOTES or size > MAX_NOTES_BYTES or len(techniques) > MAX_TECHNIQUES
    if is_full:
        raise PreconditionError(
            f"the incident is full: {MAX_NOTES} notes of {MAX_NOTES_BYTES // 1024} KiB together and "
            f"{MAX_TECHNIQUES} techniques are the most",
            hint="go on in the system that `external_reference` names",
        )
    return replace(
        incident,
        version=incident.version + 1,
        state=IncidentState.CLOSED if order.is_closing else incident.state,
        techniques=techniques,
        verdict=order.verdict or incident.verdict,
        notes=notes,
        update_time_ns=max(now_ns, incident.update_time_ns),
        end_time_ns=now_ns if order.is_closing else incident.end_time_ns,
    )

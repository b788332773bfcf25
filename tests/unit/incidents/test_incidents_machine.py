# SPDX-License-Identifier: Apache-2.0
"""What may become of an incident, and what orders there are."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.errors import PreconditionError, UntrustedInputError
from sidecar.incidents.machine import opened, updated
from sidecar.incidents.values import (
    MAX_NOTES,
    MAX_NOTES_BYTES,
    MAX_TECHNIQUES,
    Gathered,
    Incident,
    IncidentState,
    IncidentVerdict,
    OpenOrder,
    UpdateOrder,
)
from sidecar.shape import ShapeError

GATHERED = Gathered(document=b'{"agent":"alpha","events":[]}', brief=b'{"agent":"alpha"}')


def open_order(**fields: Any) -> OpenOrder:
    """Return an order to open."""
    return OpenOrder(
        **{"request_id": "request-1", "agent": "alpha", "title": "it wires money", **fields}
    )


def update_order(**fields: Any) -> UpdateOrder:
    """Return an order to update."""
    return UpdateOrder(
        **{"request_id": "request-2", "incident_id": "inc_1", "note": "more", **fields}
    )


def fresh(**fields: Any) -> Incident:
    """Return an incident that was just opened."""
    return opened(open_order(**fields), GATHERED, id_="inc_1", author="soar", now_ns=10)


def change(incident: Incident, **fields: Any) -> Incident:
    """Return *incident* after an order of bob."""
    return updated(incident, update_order(**fields), author="bob", now_ns=20)


def test_opened_incident_holds_what_was_gathered_and_asked() -> None:
    """MEDIUM unless it is said, its first note, each technique once."""
    incident = fresh(techniques=("T1041", "T1041"), note="first")

    assert (incident.state, incident.severity, incident.version) == (
        IncidentState.OPEN,
        "MEDIUM",
        1,
    )
    assert incident.techniques == ("T1041",)
    assert [(note.author, note.text) for note in incident.notes] == [("soar", "first")]
    assert (incident.document, incident.sha256) == (GATHERED.document, GATHERED.sha256)
    assert incident.name == "incidents/inc_1"


@pytest.mark.parametrize(
    "fields",
    [
        {"note": "n"}, {"verdict": IncidentVerdict.THREAT}, {"techniques": ("T1000",)},
        {"is_closing": True},
    ],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_what_was_gathered_never_changes(fields: dict[str, Any]) -> None:
    """No order reaches it; every order makes the next version."""
    incident = fresh()

    changed = change(incident, **{"note": "", **fields})

    assert (changed.document, changed.brief, changed.sha256) == (
        incident.document, incident.brief, incident.sha256
    )  # fmt: skip
    assert (changed.title, changed.agent, changed.author) == (
        incident.title, incident.agent, incident.author
    )  # fmt: skip
    assert changed.version == 2
    assert changed.update_time_ns == 20


def test_things_are_added_and_the_last_verdict_counts() -> None:
    """Nothing that was said before is gone."""
    incident = change(fresh(techniques=("T1041",), note="one"), techniques=("T1000", "T1041"))
    incident = change(incident, note="", verdict=IncidentVerdict.THREAT)
    incident = change(incident, note="", verdict=IncidentVerdict.FALSE_POSITIVE)

    assert incident.techniques == ("T1041", "T1000")
    assert [note.text for note in incident.notes] == ["one", "more"]
    assert incident.verdict is IncidentVerdict.FALSE_POSITIVE


def test_closed_incident_takes_notes_and_nothing_else() -> None:
    """It is never open again."""
    closed = change(fresh(), is_closing=True, verdict=IncidentVerdict.THREAT)
    noted = change(closed)

    assert (closed.state, closed.end_time_ns) == (IncidentState.CLOSED, 20)
    assert (noted.state, noted.end_time_ns) == (IncidentState.CLOSED, 20)
    assert len(noted.notes) == 2
    for fields in (
        {"is_closing": True},
        {"verdict": IncidentVerdict.THREAT},
        {"techniques": ("T1000",)},
    ):
        with pytest.raises(PreconditionError):
            change(closed, **fields)


def test_incident_is_full_at_some_time() -> None:
    """Notes and techniques are bounded, however many orders there are."""
    incident = fresh()
    for _ in range(MAX_NOTES):
        incident = change(incident)
    several = fresh(techniques=tuple(f"T{i:04d}" for i in range(MAX_TECHNIQUES)))

    with pytest.raises(PreconditionError):
        change(incident)
    with pytest.raises(PreconditionError):
        change(several, techniques=("AML.T0053",))
    assert change(incident, note="", is_closing=True).state is IncidentState.CLOSED


@pytest.mark.parametrize("technique", ["T1041", "T1567.002", "AML.T0053", "AML.T0051.001"], ids=str)
def test_technique_of_attack_or_atlas_is_taken(technique: str) -> None:
    """As MITRE writes them."""
    assert fresh(techniques=(technique,)).techniques == (technique,)


@pytest.mark.parametrize(
    "fields",
    [
        {"title": ""}, {"title": "x" * 201}, {"title": "a\u2028b"}, {"title": "a\x7f"},
        {"severity": "high"}, {"techniques": ("T104",)}, {"techniques": ("t1041",)},
        {"techniques": ("T1041 ",)}, {"techniques": ("ATLAS.T0053",)}, {"techniques": ("T１041",)},
        {"note": "x" * 4001}, {"note": "a\x00"}, {"external_reference": "a\nb"},
        {"request_id": "short"}, {"agent": "Alpha"},
    ],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_what_is_no_order_does_not_come_to_be(fields: dict[str, Any]) -> None:
    """An order that exists is well-formed."""
    with pytest.raises((UntrustedInputError, ShapeError)):
        open_order(**fields)


def test_order_that_adds_nothing_is_none() -> None:
    """There is always something to add."""
    with pytest.raises(UntrustedInputError):
        update_order(note="")


@pytest.mark.parametrize(
    "fields",
    [
        {"title": "other"}, {"agent": "beta"}, {"severity": "LOW"}, {"since_ns": 1},
        {"until_ns": 1}, {"techniques": ("T1041",)}, {"verdict": IncidentVerdict.THREAT},
        {"note": "n"}, {"external_reference": "r"},
    ],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_fingerprint_tells_orders_apart(fields: dict[str, Any]) -> None:
    """Each field and the author count; the request id, which names it, does not."""
    one = open_order()

    assert open_order(**fields).fingerprint("soar") != one.fingerprint("soar")
    assert one.fingerprint("bob") != one.fingerprint("soar")
    assert open_order(request_id="request-9").fingerprint("soar") == one.fingerprint("soar")


def test_notes_are_bounded_together() -> None:
    """Whoever reads an incident gets all its notes: few long ones fill it as many short ones do."""
    longest = "\U0001f525" * 4000
    incident = fresh(note=longest)
    while sum(len(note.text.encode()) for note in incident.notes) <= MAX_NOTES_BYTES - 16_000:
        incident = change(incident, note=longest)

    with pytest.raises(PreconditionError, match="512 KiB"):
        change(incident, note=longest)
    assert change(incident, note="", is_closing=True).state is IncidentState.CLOSED
    assert len(incident.notes) < MAX_NOTES

# SPDX-License-Identifier: Apache-2.0
"""What control gathers for an incident out of real logs, and what a repeated order gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.api.v1 import incident_pb2
from sidecar.containment.answers import DirectivePage
from sidecar.containment.history import DirectiveEntry
from sidecar.containment.orders import MAX_REASON
from sidecar.control import incidents as module
from sidecar.control.incidents import IncidentServicer
from sidecar.errors import NotFoundError, UntrustedInputError
from sidecar.ids import SequentialIds
from sidecar.incidents.service import Incidents
from sidecar.incidents.store_sqlite import SqliteIncidents
from tests.unit.containment.containment_kit import contained
from tests.unit.incidents.test_incidents_service import SOAR, _Log
from tests.unit.investigate.test_investigate_traces import Host, call


class _Containment:
    """Says what holds an agent."""

    def __init__(self) -> None:
        self.entries: tuple[DirectiveEntry, ...] = ()

    async def list_directives(self, *, agent: str, limit: int) -> DirectivePage:
        shown = self.entries[:limit]
        more = shown[-1].epoch if len(self.entries) > limit else None
        return DirectivePage(entries=shown, next_before_epoch=more, epoch=1, is_complete=True)


class Desk:
    """The servicer over the logs of a host without processes."""

    def __init__(self, root: Path) -> None:
        self.host = Host(root)
        self.store = SqliteIncidents(root / "incidents.db")
        self.log = _Log()
        self.containment = _Containment()
        containment: Any = self.containment
        self.servicer = IncidentServicer(
            incidents=Incidents(
                store=self.store, audit=self.log, clock=self.host.clock, ids=SequentialIds()
            ),
            traces=self.host.traces,
            containment=containment,
            policy_digest=lambda: "ab" * 32,
        )

    async def open(self, **fields: Any) -> Any:
        """Open an incident."""
        request = incident_pb2.OpenIncidentRequest(
            **{"request_id": "request-1", "agent": "alpha", "title": "t", **fields}
        )
        context: Any = None
        return await self.servicer.OpenIncident(request, context)

    def close(self) -> None:
        self.store.close()
        self.host.close()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    made = Desk(tmp_path)
    monkeypatch.setattr(module, "caller", lambda: SOAR)
    yield made
    made.close()


async def test_repeated_order_is_answered_after_its_agent_is_gone(desk: Desk) -> None:
    """A playbook's retry gets its incident, whatever is known of the agent by then; a new one not."""
    desk.host.serve("gate", "alpha")
    await desk.host.write("gate", call(1))
    first = await desk.open()
    desk.host.gates._known.clear()

    again = await desk.open()

    assert again.repeated_request
    assert again.incident.name == first.incident.name
    with pytest.raises(NotFoundError):
        await desk.open(request_id="request-2")


async def test_what_cannot_be_gathered_opens_and_logs_nothing(desk: Desk) -> None:
    """An unknown agent, an empty window."""
    desk.host.serve("gate", "alpha")
    at = {"seconds": 1_800_000_000}
    with pytest.raises(NotFoundError):
        await desk.open(agent="beta")
    with pytest.raises(UntrustedInputError):
        await desk.open(since=at, until=at)

    assert desk.log.entries == []
    assert not (await desk.open()).repeated_request


async def test_largest_incident_can_be_read_over_every_client(desk: Desk) -> None:
    """The longest names, calls and reasons in any number stay far below a client's 16 MiB."""
    host = desk.host
    for batch in range(3):
        await host.write(
            "gate",
            *(
                call(
                    batch * 1000 + n,
                    tool=f"{n % 50:03d}{'t' * 125}",
                    session=f"s{n:05d}{'s' * 122}",
                    hosts=[f"{batch}{n:04d}.{'h' * 247}"],
                    reasons=["POLICY_ALLOW"],
                )
                for n in range(1000)
            ),
        )
    host.serve("gate", "alpha")
    one = contained(7)
    entry = DirectiveEntry(
        contained=replace(one, directive=replace(one.directive, reason="\U0001f525" * MAX_REASON))
    )
    desk.containment.entries = (entry,) * 101

    incident = (await desk.open()).incident
    context: Any = None
    listed = await desk.servicer.ListIncidents(incident_pb2.ListIncidentsRequest(), context)

    assert incident.truncated
    assert (len(incident.events), len(incident.directives)) == (1000, 100)
    assert incident.ByteSize() < 3 * 1024 * 1024
    assert listed.ByteSize() < 1024 * 1024


async def test_directives_that_are_left_out_are_said(desk: Desk) -> None:
    """At the bound nothing is missing; beyond it the incident says so."""
    desk.host.serve("gate", "alpha")
    await desk.host.write("gate", call(1))
    desk.containment.entries = (DirectiveEntry(contained=contained(7)),) * 100
    whole = (await desk.open()).incident
    desk.containment.entries = (*desk.containment.entries, desk.containment.entries[0])
    cut = (await desk.open(request_id="request-2")).incident

    assert (len(whole.directives), whole.truncated) == (100, False)
    assert (len(cut.directives), cut.truncated) == (100, True)

# SPDX-License-Identifier: Apache-2.0
"""Incidents over a real store and a log that can be made to fail."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.clock import ManualClock
from sidecar.errors import (
    ConflictError,
    EnvironmentFailure,
    ErrorReason,
    NotFoundError,
)
from sidecar.ids import SequentialIds
from sidecar.incidents import service
from sidecar.incidents.service import Incidents, UnusableStore
from sidecar.incidents.store_sqlite import SqliteIncidents
from sidecar.incidents.values import Gathered, IncidentState, OpenOrder, UpdateOrder
from sidecar.model import Operator, OperatorKind, Role

SOAR = Operator(
    name="soar",
    identity="spiffe://x/soar",
    kind=OperatorKind.AUTOMATION,
    roles=frozenset({Role.CONTAIN}),
    human_id="",
)
BOB = replace(SOAR, name="bob", kind=OperatorKind.HUMAN, human_id="bob")
LIMITED = replace(SOAR, agents=frozenset({"alpha"}), token="abc")


@dataclass(frozen=True)
class _Position:
    index: int


class _Log:
    def __init__(self) -> None:
        self.entries: list[tuple[str, Mapping[str, Any]]] = []
        self.failure: Exception | None = None

    async def append(self, kind: str, body: Mapping[str, Any]) -> _Position:
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.entries.append((kind, dict(body)))
        return _Position(index=len(self.entries))


class Desk:
    """One run of the service over one file."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteIncidents(path)
        self.log = _Log()
        self.gathered = 0
        self.incidents = Incidents(
            store=self.store, audit=self.log, clock=ManualClock(), ids=SequentialIds()
        )

    async def gather(self) -> Gathered:
        """Count how often something is gathered."""
        self.gathered += 1
        await asyncio.sleep(0)
        return Gathered(document=b'{"agent":"alpha"}', brief=b"{}")

    async def open(self, caller: Operator = SOAR, **fields: Any) -> Any:
        """Open an incident."""
        order = OpenOrder(**{"request_id": "request-1", "agent": "alpha", "title": "t", **fields})
        return await self.incidents.open(order, caller, self.gather)

    async def update(self, incident: str, caller: Operator = SOAR, **fields: Any) -> Any:
        """Add to one."""
        order = UpdateOrder(
            **{"request_id": "request-2", "incident_id": incident, "note": "n", **fields}
        )
        return await self.incidents.update(order, caller, agents=caller.agents)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store lies."""
    return tmp_path / "incidents.db"


@pytest.fixture
def desk(path: Path) -> Iterator[Desk]:
    """A service over a fresh store."""
    made = Desk(path)
    yield made
    made.store.close()


async def test_fifty_at_once_with_one_request_id_open_one(desk: Desk) -> None:
    """It is gathered, logged and kept once; the others are told so."""
    answers = await asyncio.gather(*(desk.open() for _ in range(50)))

    assert len({answer.incident.id for answer in answers}) == 1
    assert sum(answer.is_repeated for answer in answers) == 49
    assert (desk.gathered, len(desk.log.entries)) == (1, 1)


async def test_fifty_updates_at_once_all_count(desk: Desk) -> None:
    """None overwrites another: fifty notes are fifty notes."""
    incident = (await desk.open()).incident

    await asyncio.gather(
        *(desk.update(incident.id, request_id=f"update-{i:04d}", note=str(i)) for i in range(50))
    )

    found = await desk.incidents.get(incident.id)
    assert sorted(int(note.text) for note in found.notes) == list(range(50))
    assert found.version == 51


async def test_two_services_over_one_store_lose_no_update(desk: Desk, path: Path) -> None:
    """The compare-and-swap is the store's, not the lock's of one process."""
    other = Desk(path)
    incident = (await desk.open()).incident

    await asyncio.gather(
        *(
            (desk, other)[i % 2].update(incident.id, request_id=f"update-{i:04d}", note=str(i))
            for i in range(6)
        )
    )

    found = await desk.incidents.get(incident.id)
    other.store.close()
    assert sorted(note.text for note in found.notes) == [str(i) for i in range(6)]


async def test_request_id_belongs_to_its_first_order(desk: Desk) -> None:
    """Another body, another operator, another kind of order: a conflict; the same order: the answer."""
    incident = (await desk.open()).incident
    first = await desk.update(incident.id)
    again = await desk.update(incident.id)

    assert (again.incident, again.is_repeated) == (first.incident, True)
    for attempt in (
        desk.open(title="other"),
        desk.open(BOB),
        desk.open(request_id="request-2"),
        desk.update(incident.id, note="other"),
        desk.update(incident.id, BOB),
        desk.update(incident.id, request_id="request-1"),
    ):
        with pytest.raises(ConflictError):
            await attempt


async def test_log_that_fails_lets_nothing_come_to_be(desk: Desk) -> None:
    """Neither an incident nor a change; the same order works once the log does."""
    desk.log.failure = OSError("disk full")
    with pytest.raises(EnvironmentFailure) as failed:
        await desk.open()
    assert failed.value.reason is ErrorReason.AUDIT_UNAVAILABLE
    assert (await desk.incidents.list()).incidents == ()

    desk.log.failure = None
    incident = (await desk.open()).incident
    desk.log.failure = OSError("disk full")
    with pytest.raises(EnvironmentFailure):
        await desk.update(incident.id)
    desk.log.failure = None

    assert (await desk.incidents.get(incident.id)).version == 1
    assert (await desk.update(incident.id)).incident.version == 2


async def test_log_holds_no_words_of_people(desk: Desk) -> None:
    """Who, what, the SHA-256; titles and notes are fingerprinted. A token is named by its id."""
    incident = (await desk.open(LIMITED, title="canary-1", note="canary-2")).incident
    await desk.update(incident.id, LIMITED, note="canary-3", techniques=("T1041",))

    (opened, body), (updated, change) = desk.log.entries
    assert (opened, updated) == ("incident", "incident_update")
    assert body["sha256"] == incident.sha256
    assert (body["operator"], body["api_token"]) == ("soar", "abc")
    assert change["techniques"] == ["T1041"]
    assert "canary" not in str(desk.log.entries)


async def test_limited_caller_sees_incidents_of_its_agents(desk: Desk) -> None:
    """Another agent's incident does not exist for it: neither read, nor changed, nor listed."""
    mine = (await desk.open()).incident
    other = (await desk.open(agent="beta", request_id="request-9")).incident
    alpha = LIMITED.agents

    assert (await desk.incidents.get(mine.id, agents=alpha)).id == mine.id
    assert [i.id for i in (await desk.incidents.list(agents=alpha)).incidents] == [mine.id]
    assert len((await desk.incidents.list()).incidents) == 2
    with pytest.raises(NotFoundError):
        await desk.incidents.get(other.id, agents=alpha)
    with pytest.raises(NotFoundError):
        await desk.update(other.id, LIMITED)
    assert (await desk.incidents.get(other.id)).version == 1


async def test_pages_are_stable_while_incidents_are_opened(desk: Desk) -> None:
    """What is opened meanwhile is on no later page; nothing is told twice."""
    for number in range(5):
        await desk.open(request_id=f"open-{number:04d}", title=str(number))
    first = await desk.incidents.list(limit=2)
    await desk.open(request_id="open-late", title="late")
    second = await desk.incidents.list(limit=2, before_seq=first.next_before_seq)
    third = await desk.incidents.list(limit=2, before_seq=second.next_before_seq)

    titles = [i.title for page in (first, second, third) for i in page.incidents]
    assert titles == ["4", "3", "2", "1", "0"]
    assert third.next_before_seq is None
    assert all(i.document == b"" for page in (first, second) for i in page.incidents)


async def test_acknowledged_is_there_after_a_crash(desk: Desk, path: Path) -> None:
    """Another run over the same file finds it, with its request ids."""
    incident = (await desk.open(note="one")).incident
    closed = (await desk.update(incident.id, is_closing=True)).incident
    desk.store.close()
    later = Desk(path)

    found = await later.incidents.get(incident.id)
    again = await later.open(note="one")

    later.store.close()
    assert found == closed
    assert found.state is IncidentState.CLOSED
    assert (again.is_repeated, again.incident) == (True, closed)


def test_store_is_durable_and_private(path: Path) -> None:
    """WAL, for the owner alone."""
    store = SqliteIncidents(path)
    other = sqlite3.connect(path)

    assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert path.stat().st_mode & 0o777 == 0o600
    other.close()
    store.close()


@pytest.mark.parametrize("damage", ["noise", "newer", "closed"])
def test_store_that_cannot_be_used_raises(path: Path, damage: str) -> None:
    """Noise, a newer schema, a closed file: never a guess, always STORE_UNAVAILABLE."""
    if damage == "noise":
        path.write_bytes(b"this is no database" * 500)
        path.chmod(0o600)
    else:
        SqliteIncidents(path).close()
    if damage == "newer":
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE incident_schema SET version = 2")

    def use() -> None:
        store = SqliteIncidents(path)
        store.close()
        store.get("inc_1")

    with pytest.raises(EnvironmentFailure) as failed:
        use()

    assert failed.value.reason is ErrorReason.STORE_UNAVAILABLE


async def test_store_that_breaks_later_raises_and_changes_nothing(desk: Desk, path: Path) -> None:
    """A table that is gone is an error of the environment, not one of ours."""
    incident = (await desk.open()).incident
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE incident_requests")

    with pytest.raises(EnvironmentFailure):
        await desk.update(incident.id)

    assert (await desk.incidents.get(incident.id)).version == 1


async def test_page_of_large_incidents_is_short_and_the_next_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that filled its record does not make the list unreadable; one at least is told."""
    for number in range(4):
        await desk.open(request_id=f"open-{number:04d}", title=str(number), note="x" * 4000)
    monkeypatch.setattr(service, "_MAX_PAGE_BYTES", 9000)
    monkeypatch.setattr(service, "_STEP", 3)
    pages = [await desk.incidents.list()]
    while pages[-1].next_before_seq is not None:
        pages.append(await desk.incidents.list(before_seq=pages[-1].next_before_seq))
    monkeypatch.setattr(service, "_MAX_PAGE_BYTES", 1)
    one = await desk.incidents.list()

    assert [[i.title for i in page.incidents] for page in pages] == [["3", "2"], ["1", "0"]]
    assert [i.title for i in one.incidents] == ["3"]
    assert one.next_before_seq is not None


async def test_store_that_never_opened_says_why(tmp_path: Path) -> None:
    """Every order and every question; nothing is logged of it."""
    failure = EnvironmentFailure("incidents.db is corrupt", reason=ErrorReason.STORE_UNAVAILABLE)
    log = _Log()
    incidents = Incidents(
        store=UnusableStore(failure), audit=log, clock=ManualClock(), ids=SequentialIds()
    )
    order = OpenOrder(request_id="request-1", agent="alpha", title="t")
    update = UpdateOrder(request_id="request-2", incident_id="inc_1", note="n")

    async def gather() -> Gathered:
        raise AssertionError("nothing is gathered for what cannot be kept")

    for attempt in (
        incidents.open(order, SOAR, gather),
        incidents.update(update, SOAR),
        incidents.get("inc_1"),
        incidents.list(),
    ):
        with pytest.raises(EnvironmentFailure) as failed:
            await attempt
        assert failed.value is failure
    assert log.entries == []

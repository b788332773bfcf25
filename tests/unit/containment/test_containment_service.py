# SPDX-License-Identifier: Apache-2.0
"""The levers: contain, release, revoke."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.clock import NS_PER_SECOND, ManualClock
from sidecar.containment import service as service_module
from sidecar.containment.acks import GateStanding
from sidecar.containment.answers import AuditPosition, ServiceLimits
from sidecar.containment.consent import Consent
from sidecar.containment.events import (
    Contained,
    Event,
    Expired,
    PolicyActivated,
    Released,
    TokensRevoked,
    decode_event,
)
from sidecar.containment.history import MemoryHistory, MemoryRevocations
from sidecar.containment.isolation import IsolationResult
from sidecar.containment.machine import ContainmentState
from sidecar.containment.orders import RevocationOrder, UnsealOrder
from sidecar.containment.receipt import DirectiveState, verify_envelope
from sidecar.containment.rules import FleetAgent
from sidecar.containment.store_sqlite import SqliteHistory
from sidecar.errors import (
    ConflictError,
    EnvironmentFailure,
    ErrorReason,
    NotDurableError,
    NotFoundError,
    PreconditionError,
    RefusedError,
)
from sidecar.latch.format import PAGE
from sidecar.latch.placing import JournalFullError
from sidecar.latch.reader import LatchReader, LatchState
from sidecar.model import Level, Operator, Subject, Target, TargetKind
from tests.unit.containment.containment_kit import (
    ALICE,
    ALL,
    BOB,
    BOOT,
    BY_CAROL,
    KEY,
    ROOT,
    SOAR,
    Bench,
    BrokenHistory,
    FakeDriver,
    ListFleet,
    agent,
    agreed,
    bench,
    order,
    release,
)
from tests.unit.latch.latch_disk import ForgetfulDisk

OTHER_BOOT = "99999999-8888-7777-6666-555555555555"


def seen_by_a_gate(latch: Path) -> tuple[LatchState, ContainmentState]:
    """Return what a gate that starts now sees."""
    reader = LatchReader(latch, boot_id=BOOT)
    latched = reader.read()
    reader.close()
    return latched, ContainmentState.empty().apply_all(map(decode_event, latched.records))


def held_at_a_gate(latch: Path, name: str = "banking") -> Level | None:
    """Return how a gate that starts now holds an agent."""
    verdict = seen_by_a_gate(latch)[1].effective(Subject(agent=name))
    return None if verdict is None else verdict.level


async def contain(made: Bench, request_id: str = "request-1", target: Target | None = None) -> int:
    """Let alice kill an agent and return the directive's epoch."""
    answer = await made.service.contain(order(request_id, target), ALICE)
    return answer.receipt.receipt.directive.epoch


# -- containing ---------------------------------------------------------------------------------


async def test_containment_is_proved(latch: Path) -> None:
    """The answer is a signed receipt: durable, logged, acknowledged by the gate, laggards named."""
    async with bench(latch) as made:
        made.acks.connect("g1", agents=["banking"])
        made.acks.connect("g2", agents=["mail"])
        made.service.add_listener(
            lambda event: made.acks.acknowledge(
                "g1", epoch=event.epoch, last_allow_ns={"banking": 5, "mail": 9}, wall_ns=77
            )
        )

        answer = await made.service.contain(order(), SOAR)
        receipt = verify_envelope(answer.receipt.envelope(), KEY.public_key())

    assert (receipt.directive.author, receipt.directive.level) == ("soar", Level.KILL)
    assert (receipt.is_durable, receipt.state) == (True, DirectiveState.ACTIVE)
    assert [item.standing for item in receipt.gates] == [
        GateStanding.ENFORCED,
        GateStanding.LAGGARD,
    ]
    assert (receipt.laggards, receipt.is_contained) == (("g2",), False)
    assert (receipt.gates[0].ack_time_ns, receipt.last_allow_time_ns) == (77, 5)
    assert (receipt.log_index, receipt.checkpoint) == (0, "checkpoint 1")
    assert (answer.is_repeated, receipt.agents) == (False, ("banking",))
    assert held_at_a_gate(latch) is Level.KILL


async def test_kill_also_revokes_the_agents_tokens(latch: Path) -> None:
    """A KILL of an agent carries a revocation, in the same moment, under the next epoch."""
    async with bench(latch) as made:
        epoch = await contain(made)
        await made.service.contain(order("request-2", agent("mail"), Level.FREEZE), ALICE)

        rules = made.rules()
        latched, _ = seen_by_a_gate(latch)

    assert [(rule.agent, rule.epoch) for rule in rules] == [("banking", epoch + 1)]
    assert rules[0].issued_before_s == 1_760_000_000
    assert [record.epoch for record in latched.records] == [1, 2, 3]


@pytest.mark.parametrize(
    ("target", "selectors"),
    [
        (ALL, [(None, None, 1_760_000_000)]),
        (Target(kind=TargetKind.SESSION, agent="banking", session="s1"), [("banking", "s1", None)]),
        (
            Target(kind=TargetKind.PRINCIPAL, principal="emma"),
            [("banking", None, 1_760_000_000), ("mail", None, 1_760_000_000)],
        ),
        (Target(kind=TargetKind.TOOL, tool="t"), []),
        (Target(kind=TargetKind.DESTINATION, destination="x.com"), []),
    ],
    ids=lambda value: value.describe() if isinstance(value, Target) else "",
)
async def test_kill_revokes_what_its_target_covers(
    latch: Path, target: Target, selectors: list[tuple[str | None, str | None, int | None]]
) -> None:
    """Everything, a session, all agents of a person; but not for the sake of a tool or a host."""
    fleet = ListFleet(
        *(FleetAgent(id=name, principals=frozenset({"emma"})) for name in ("banking", "mail"))
    )
    async with bench(latch, fleet=fleet) as made:
        await made.service.contain(order(target=target), ROOT)

        rules = made.rules()

    assert [(rule.agent, rule.session, rule.issued_before_s) for rule in rules] == selectors


async def test_e01_256_at_once_make_one_directive(latch: Path) -> None:
    """The same kill 256 times at once: one directive, the same answer, quickly."""
    async with bench(latch) as made:
        begin = time.monotonic()
        answers = await asyncio.gather(*(made.service.contain(order(), ALICE) for _ in range(256)))
        took = time.monotonic() - begin
        with pytest.raises(ConflictError) as caught:
            await made.service.contain(order(reason="another"), ALICE)
        with pytest.raises(ConflictError):
            await made.service.contain(order(target=agent("mail")), ALICE)

        assert len(made.service.state.directives) == 1

    assert {answer.receipt.receipt.directive.epoch for answer in answers} == {1}
    assert sorted(answer.is_repeated for answer in answers) == [False] + [True] * 255
    assert caught.value.reason is ErrorReason.REQUEST_ID_CONFLICT
    assert made.audit.kinds == ["contain"]
    assert took < 5


async def test_e01_256_different_kills_at_once_share_their_syncs(latch: Path) -> None:
    """Many kills of different agents are each in front of the gates at once, and soon durable."""
    disk = ForgetfulDisk()
    async with bench(latch, ops=disk) as made:
        before = disk.operations
        answers = await asyncio.gather(
            *(made.service.contain(order(f"request-{n}", agent(f"a{n}")), SOAR) for n in range(256))
        )
        operations = disk.operations - before

        assert len(made.service.state.directives) == 256

    assert all(answer.receipt.receipt.is_durable for answer in answers)
    assert operations < 256 * 2 + 40  # two writes each, and a handful of syncs for all


async def test_e01_request_id_outlives_a_restart(latch: Path) -> None:
    """The id is in the journal: a retry after a restart is the same order, another body is not."""
    async with bench(latch) as made:
        epoch = await contain(made)

    async with bench(latch) as again:
        answer = await again.service.contain(order(), SOAR)
        with pytest.raises(ConflictError):
            await again.service.contain(order(level=Level.FREEZE), ALICE)

    assert (answer.is_repeated, answer.receipt.receipt.directive.epoch) == (True, epoch)


async def test_e01_request_id_negative_control(
    latch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the ledger of ids, a retry makes a second directive."""
    monkeypatch.setattr("sidecar.containment.ledger.Ledger.find", lambda *_: None)
    async with bench(latch) as made:
        await contain(made)
        await contain(made)

        assert len(made.service.state.directives) == 2


async def test_e01_request_id_outlives_compaction_in_the_history(
    latch: Path, tmp_path: Path
) -> None:
    """When the journal has dropped an order, the history still knows its id."""
    history = SqliteHistory(tmp_path / "control.db")
    async with bench(latch, history=history, half_bytes=4 * PAGE) as made:
        await contain(made, "request-0")
        await made.service.release(release(1), BOB, BY_CAROL)
        for number in range(1, 40):
            epoch = await contain(made, f"request-{number}")
            await made.service.release(release(epoch, f"release-{number}x"), BOB, BY_CAROL)
    async with bench(latch, history=history) as again:
        assert len(again.service._journal.recovered) < 100
        answer = await again.service.contain(order("request-0"), ALICE)

    assert (answer.is_repeated, answer.receipt.receipt.directive.epoch) == (True, 1)
    assert answer.receipt.receipt.state is DirectiveState.RELEASED
    history.close()


async def test_e15_kill_is_applied_although_the_caller_gave_up(latch: Path) -> None:
    """A deadline that passed at once ends the waiting, not the kill."""
    async with bench(latch) as made:
        made.audit.is_hanging = True
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await made.service.contain(order(), ALICE)
        assert held_at_a_gate(latch) is Level.KILL
        made.audit.is_hanging = False
        answer = await made.service.contain(order(), ALICE)

    assert answer.is_repeated
    assert answer.receipt.receipt.is_durable


async def test_p1_kill_is_visible_before_the_first_wait(latch: Path) -> None:
    """Memory first: one step of the coroutine, no turn of the loop, and every gate denies."""
    async with bench(latch) as made:
        coroutine = made.service.contain(order(), ALICE)
        coroutine.send(None)

        assert held_at_a_gate(latch) is Level.KILL
        coroutine.close()


@pytest.mark.parametrize("fault", ["is_failing", "is_hanging"])
async def test_p2_log_that_is_down_does_not_stop_a_kill(latch: Path, fault: str) -> None:
    """The receipt says that the log was unavailable; the entry is made when it is back."""
    async with bench(latch) as made:
        setattr(made.audit, fault, True)
        answer = await made.service.contain(order(), ALICE)
        sick = made.service.health()
        setattr(made.audit, fault, False)
        made.service.tick()
        await made.service._errands.aclose()
        later = await made.service.get_receipt(1)

    assert answer.receipt.receipt.to_json()["audit"] == "unavailable"
    assert answer.receipt.receipt.is_durable
    assert "the log lacks 1 entries" in sick.problems
    assert later.receipt.log_index == 0
    assert made.audit.entries[0][1]["is_late"] is True
    assert made.service.health().problems == ()


async def test_p2_log_that_stays_down_is_remembered_within_bounds(
    latch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had to be dropped is counted, and health stays red for it."""
    monkeypatch.setattr("sidecar.containment.dossier._MAX_UNLOGGED", 2)
    async with bench(latch) as made:
        made.audit.is_failing = True
        for number in range(3):
            await contain(made, f"request-{number}")
        made.service.tick()
        await made.service._errands.aclose()
        assert made.service.health().problems == ("the log lacks 3 entries",)
        made.audit.is_failing = False
        made.service.tick()
        await made.service._errands.aclose()

        assert made.service.health().problems == ("the log lacks 1 entries",)
    assert made.audit.kinds == ["contain", "contain"]


async def test_p2_history_that_is_down_does_not_stop_a_kill(latch: Path) -> None:
    """The mirror is written after the acknowledgement, and again when it can be."""
    history = BrokenHistory()
    history.is_failing = True
    async with bench(latch, history=history) as made:
        answer = await made.service.contain(order(), ALICE)
        await made.service._mirror.flush()
        sick = made.service.health()
        history.is_failing = False
        made.service.tick()
        await made.service._mirror.flush()

        assert made.service.health().problems == ()

    assert answer.receipt.receipt.is_durable
    assert "the history lags behind" in sick.problems[0]
    assert history.directive(1) is not None


async def test_i11_laggard_becomes_enforced_when_it_acknowledges(latch: Path) -> None:
    """A later receipt for the same directive lists the gate that acknowledged since."""
    async with bench(latch) as made:
        made.acks.connect("g1", agents=["banking"])
        first = (await made.service.contain(order(), ALICE)).receipt.receipt
        made.acks.acknowledge("g1", epoch=2, last_allow_ns={}, wall_ns=99)
        second = (await made.service.get_receipt(1)).receipt

    assert (first.laggards, first.is_contained) == (("g1",), False)
    assert (second.laggards, second.is_contained) == ((), True)


async def test_gates_are_remembered_beyond_a_restart(latch: Path) -> None:
    """A gate that does not come back after control's restart is in the receipt, as disconnected."""
    history = MemoryHistory()
    async with bench(latch, history=history) as made:
        made.acks.connect("g1", agents=["banking"])
        made.service.tick()
    async with bench(latch, history=history) as again:
        receipt = (await again.service.contain(order(), ALICE)).receipt.receipt

    assert [(item.gate, item.standing) for item in receipt.gates] == [
        ("g1", GateStanding.DISCONNECTED)
    ]


async def test_receipt_of_nothing_is_not_found(latch: Path) -> None:
    """An epoch that is no directive's has no receipt."""
    async with bench(latch) as made:
        await contain(made)
        for epoch in (2, 99):
            with pytest.raises(NotFoundError):
                await made.service.get_receipt(epoch)


async def test_e02_wide_order_is_refused_and_previewed(latch: Path) -> None:
    """SOAR cannot contain everything; a preview says what an order would reach."""
    async with bench(latch) as made:
        with pytest.raises(RefusedError) as caught:
            await made.service.contain(order(target=ALL), SOAR)
        held = made.service.preview(order(target=ALL), SOAR)
        wide = made.service.preview(order(target=ALL), ROOT)
        narrow = made.service.preview(order(), SOAR)
        with pytest.raises(RefusedError):
            made.service.preview(order(), replace(BOB, roles=frozenset()))

        assert made.service.state.directives == ()

    assert caught.value.reason is ErrorReason.WIDE_BLAST
    assert (held.agents, held.is_wide, held.is_consent_needed) == (("banking", "mail"), True, True)
    assert (wide.agents, wide.is_wide, wide.is_consent_needed) == (held.agents, True, False)
    assert (narrow.agents, narrow.is_wide, narrow.is_consent_needed) == (("banking",), False, False)


async def test_e02_wide_order_with_the_consent_of_another_human_stands(latch: Path) -> None:
    """Who agreed is in the event, in the log and in the answer, also after a restart."""
    async with bench(latch) as made:
        answer = await made.service.contain(order(target=ALL), SOAR, BY_CAROL)

        [(kind, entry)] = made.audit.entries
    async with bench(latch) as again:
        found = await again.service.find_containment(order(target=ALL))
        [contained] = again.service.state.contained.values()

    assert (kind, entry["approval"], entry["approvers"]) == (
        "contain",
        BY_CAROL.approval,
        ["carol"],
    )
    assert found is not None
    assert (answer.approval, found.approval) == (BY_CAROL.approval, BY_CAROL.approval)
    assert found.is_repeated
    assert (contained.approval, contained.approvers) == (BY_CAROL.approval, ("carol",))


async def test_protected_agent_takes_consent_or_break_glass(latch: Path) -> None:
    """SOAR cannot stop a protected agent alone; break-glass can, and observing stops nothing."""
    fleet = ListFleet(FleetAgent(id="banking", is_protected=True), FleetAgent(id="mail"))
    async with bench(latch, fleet=fleet) as made:
        with pytest.raises(RefusedError) as caught:
            await made.service.contain(order(), SOAR)
        preview = made.service.preview(order(), SOAR)
        await made.service.contain(order("request-2", level=Level.OBSERVE), SOAR)
        await made.service.contain(order("request-3"), ROOT)
        await made.service.contain(order("request-4"), SOAR, BY_CAROL)

        assert len(made.service.state.directives) == 3

    assert caught.value.reason is ErrorReason.SECOND_HUMAN_NEEDED
    assert (preview.protected, preview.is_wide, preview.is_consent_needed) == (
        ("banking",),
        False,
        True,
    )


async def test_e12_kill_of_an_agent_nobody_knows(latch: Path) -> None:
    """A directive on an agent to come stands, and holds it at its first call."""
    async with bench(latch) as made:
        await contain(made, target=agent("not-yet-there"))

    assert held_at_a_gate(latch, "not-yet-there") is Level.KILL


# -- isolation ----------------------------------------------------------------------------------


async def test_kill_stops_runtimes_after_it_is_durable(latch: Path) -> None:
    """The receipt says RUNNING first; when the drivers are done, a new one says what they did."""
    drivers = [FakeDriver("banking", name="first"), FakeDriver("banking", name="second")]
    drivers[0].may_finish.clear()
    async with bench(latch, isolation=drivers) as made:
        first = (await made.service.contain(order(), ALICE)).receipt.receipt
        asked_early = list(drivers[1].asked)
        drivers[0].may_finish.set()
        await made.service._errands.aclose()
        second = (await made.service.get_receipt(1)).receipt

    assert first.is_durable
    assert {item.result for item in first.isolation} == {IsolationResult.RUNNING}
    assert asked_early == []  # in order: the second driver waits for the first
    assert [(item.driver, item.result) for item in second.isolation] == [
        ("first", IsolationResult.TERMINATED),
        ("second", IsolationResult.TERMINATED),
    ]
    assert "isolate" in made.audit.kinds


@pytest.mark.parametrize(
    ("target", "level"),
    [
        (agent("banking"), Level.FREEZE),
        (Target(kind=TargetKind.SESSION, agent="banking", session="s"), Level.KILL),
        (Target(kind=TargetKind.TOOL_AT_AGENT, agent="banking", tool="t"), Level.KILL),
    ],
    ids=["freeze", "session", "tool"],
)
async def test_runtime_is_left_alone_unless_the_whole_agent_is_killed(
    latch: Path, target: Target, level: Level
) -> None:
    """FREEZE keeps the process for forensics; a session or a tool is not the agent."""
    driver = FakeDriver("banking")
    async with bench(latch, isolation=[driver]) as made:
        await made.service.contain(order(target=target, level=level), ALICE)
        await made.service._errands.aclose()

    assert driver.asked == []


async def test_driver_that_fails_is_a_result(latch: Path) -> None:
    """What a driver raises is in the receipt, and the next driver is asked all the same."""
    broken, other = FakeDriver("banking", name="broken"), FakeDriver("banking", name="other")
    broken.error = OSError(errno.EPERM, "not permitted")
    async with bench(latch, isolation=[broken, other]) as made:
        await contain(made)
        await made.service._errands.aclose()
        receipt = (await made.service.get_receipt(1)).receipt

    assert [(item.driver, item.result) for item in receipt.isolation] == [
        ("broken", IsolationResult.FAILED),
        ("other", IsolationResult.TERMINATED),
    ]


async def test_runtime_that_registers_under_a_kill_is_stopped(latch: Path) -> None:
    """A killed agent that is started again is stopped again."""
    driver = FakeDriver()
    async with bench(latch, isolation=[driver]) as made:
        await contain(made)
        await made.service._errands.aclose()
        driver.agents = ("banking", "mail")
        await made.service.isolate_if_killed("banking")
        await made.service.isolate_if_killed("mail")
        receipt = (await made.service.get_receipt(1)).receipt

    assert driver.asked == [("banking",)]
    assert [item.result for item in receipt.isolation] == [IsolationResult.TERMINATED]


# -- releasing ----------------------------------------------------------------------------------


async def test_release_by_a_second_human(latch: Path) -> None:
    """A release names the directive, raises the epoch, and is at the gates and in the log."""
    async with bench(latch) as made:
        epoch = await contain(made)
        answer = await made.service.release(release(epoch), BOB, BY_CAROL)
        receipt = (await made.service.get_receipt(epoch)).receipt

    assert (answer.epoch, answer.is_repeated, answer.remaining) == (3, False, ())
    assert answer.entry.state is DirectiveState.RELEASED
    assert (answer.entry.releaser, answer.entry.release_reason) == ("bob", "it was a test")
    assert receipt.state is DirectiveState.RELEASED
    assert made.audit.kinds == ["contain", "release_requested", "release"]
    for _, entry in made.audit.entries[1:]:
        assert (entry["approval"], entry["approvers"]) == (BY_CAROL.approval, ["carol"])
    assert (answer.entry.release_approval, answer.entry.release_approvers) == (
        BY_CAROL.approval,
        ("carol",),
    )
    assert held_at_a_gate(latch) is None


@pytest.mark.parametrize(
    ("caller", "consent"),
    [
        (ALICE, None),
        (BOB, None),
        (BOB, agreed("bob")),
        (replace(BOB, human_id="alice"), agreed("Alice")),
        (BOB, agreed()),
        (BOB, agreed(" ")),
        (SOAR, agreed("alice", "bob")),
        (replace(SOAR, roles=ALICE.roles), agreed("alice")),
    ],
    ids=[
        "nobody-granted",
        "another-asks-nobody-granted",
        "granted-by-the-asker",
        "granted-by-the-asker-in-capitals",
        "granted-by-no-human",
        "granted-by-a-blank",
        "automation-asks",
        "automation-with-every-role-asks",
    ],
)
async def test_e02_release_by_the_wrong_one_changes_nothing(
    latch: Path, caller: Operator, consent: Consent | None
) -> None:
    """One human, under however many names, and automation are refused before anything happens."""
    async with bench(latch) as made:
        epoch = await contain(made)
        with pytest.raises(RefusedError):
            await made.service.release(release(epoch), caller, consent)

        assert made.audit.kinds == ["contain"]
    assert held_at_a_gate(latch) is Level.KILL


async def test_e03_release_of_the_first_leaves_the_second(latch: Path) -> None:
    """A newer kill stands, and the answer says so."""
    async with bench(latch) as made:
        first = await contain(made)
        second = await contain(made, "request-2")
        answer = await made.service.release(release(first), BOB, BY_CAROL)

        assert [held.epoch for held in answer.remaining] == [second]
        with pytest.raises(PreconditionError) as caught:
            await made.service.release(release(first, "release-2"), BOB, BY_CAROL)
        with pytest.raises(NotFoundError):
            await made.service.release(release(99, "release-3"), BOB, BY_CAROL)

    assert caught.value.reason is ErrorReason.ALREADY_RELEASED
    assert held_at_a_gate(latch) is Level.KILL


async def test_release_is_idempotent_by_request_id(latch: Path) -> None:
    """The same release again, at once or after a restart, is that release; another one conflicts."""
    async with bench(latch) as made:
        first = await contain(made)
        second = await contain(made, "request-2")
        answers = await asyncio.gather(
            *(made.service.release(release(first), BOB, BY_CAROL) for _ in range(20))
        )
        with pytest.raises(ConflictError):
            await made.service.release(release(second), BOB, BY_CAROL)
    async with bench(latch) as again:
        late = await again.service.release(release(first), BOB, BY_CAROL)
        with pytest.raises(ConflictError):
            await again.service.release(release(first, reason="another"), BOB, BY_CAROL)

    assert {answer.epoch for answer in answers} == {late.epoch}
    assert [answer.is_repeated for answer in answers].count(False) == 1
    assert late.is_repeated
    assert late.entry.state is DirectiveState.RELEASED


async def test_release_that_was_carried_out_is_found_again(latch: Path) -> None:
    """What came of an order can be asked without giving it; an id used for another one conflicts."""
    async with bench(latch) as made:
        epoch = await contain(made)
        before = await made.service.find_release(release(epoch))
        with pytest.raises(ConflictError):
            await made.service.find_release(release(epoch, "request-1"))
        answer = await made.service.release(release(epoch), BOB, BY_CAROL)
    async with bench(latch) as again:
        found = await again.service.find_release(release(epoch))
        with pytest.raises(ConflictError):
            await again.service.find_release(release(epoch, reason="another"))

    assert before is None
    assert found is not None
    assert (found.epoch, found.is_repeated) == (answer.epoch, True)
    assert found.entry.release_approval == BY_CAROL.approval


async def test_releasable_names_what_stands(latch: Path) -> None:
    """Who may ask for what to be released is said before anybody is asked."""
    async with bench(latch) as made:
        epoch = await contain(made)
        standing = await made.service.releasable(release(epoch), ALICE)
        with pytest.raises(RefusedError):
            await made.service.releasable(release(epoch), SOAR)
        with pytest.raises(NotFoundError):
            await made.service.releasable(release(99), ALICE)
        await made.service.release(release(epoch), BOB, BY_CAROL)
        with pytest.raises(PreconditionError) as caught:
            await made.service.releasable(release(epoch, "release-2"), ALICE)

    assert standing.epoch == epoch
    assert caught.value.reason is ErrorReason.ALREADY_RELEASED


async def test_request_id_that_was_used_while_the_release_was_logged_conflicts(
    latch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill that takes the id of a release under way keeps it; the release is refused."""
    async with bench(latch) as made:
        epoch = await contain(made)
        real = made.service._dossiers.require_log
        killing: list[asyncio.Task[int]] = []

        async def slowly(kind: str, body: Mapping[str, Any]) -> AuditPosition:
            killing.append(asyncio.create_task(contain(made, "shared-id", agent("mail"))))
            await asyncio.sleep(0)
            return await real(kind, body)

        monkeypatch.setattr(made.service._dossiers, "require_log", slowly)
        with pytest.raises(ConflictError):
            await made.service.release(release(epoch, "shared-id"), BOB, BY_CAROL)
        await killing[0]

        assert len(made.service.state.directives) == 2


async def test_what_was_answered_is_durable(latch: Path) -> None:
    """When an order was answered, both slots hold what came of it."""
    async with bench(latch) as made:

        def is_durable() -> bool:
            return made.writer._durable is made.writer._slot

        epoch = await contain(made)
        assert is_durable()
        await made.service.release(release(epoch), BOB, BY_CAROL)
        assert is_durable()
        await made.service.revoke_tokens(revocation(), SOAR)
        assert is_durable()
        await made.service.activate_policy("d1", author="alice")
        assert is_durable()


async def test_two_releases_at_once_end_it_once(latch: Path) -> None:
    """Of two different release orders for one directive, one finds it ended."""
    async with bench(latch) as made:
        epoch = await contain(made)
        answers = await asyncio.gather(
            made.service.release(release(epoch, "release-1"), BOB, BY_CAROL),
            made.service.release(release(epoch, "release-2"), ROOT, BY_CAROL),
            return_exceptions=True,
        )

    assert [type(answer).__name__ for answer in answers].count("PreconditionError") == 1


async def test_release_needs_the_log(latch: Path) -> None:
    """What loosens is logged before it happens, or does not happen."""
    async with bench(latch) as made:
        epoch = await contain(made)
        made.audit.is_failing = True
        with pytest.raises(EnvironmentFailure) as caught:
            await made.service.release(release(epoch), BOB, BY_CAROL)

        assert caught.value.reason is ErrorReason.AUDIT_UNAVAILABLE
        assert held_at_a_gate(latch) is Level.KILL
        made.audit.is_failing = False
        await made.service.release(release(epoch), BOB, BY_CAROL)
    assert held_at_a_gate(latch) is None


async def test_release_negative_control_without_a_log(
    latch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the log were optional for a release, it would go through unrecorded."""
    async with bench(latch) as made:
        epoch = await contain(made)
        made.audit.is_failing = True
        monkeypatch.setattr(made.service._dossiers, "require_log", made.service._dossiers.log)

        await made.service.release(release(epoch), BOB, BY_CAROL)

        assert held_at_a_gate(latch) is None


async def test_release_waits_for_a_steady_clock(latch: Path) -> None:
    """After a step of the wall clock nothing is released for a minute; kills are."""
    async with bench(latch) as made:
        epoch = await contain(made)
        made.clock.step_wall(seconds=-3600)
        with pytest.raises(EnvironmentFailure) as caught:
            await made.service.release(release(epoch), BOB, BY_CAROL)
        await contain(made, "request-2", agent("mail"))
        assert "the wall clock has just stepped" in made.service.health().problems
        made.clock.advance(seconds=61)
        await made.service.release(release(epoch), BOB, BY_CAROL)

    assert caught.value.reason is ErrorReason.CLOCK_UNSTABLE


async def test_kill_that_arrives_while_a_release_is_logged_stands(latch: Path) -> None:
    """The release ends the directive it names; the newer one it has never heard of holds."""
    async with bench(latch) as made:
        first = await contain(made)
        made.audit.is_hanging = True
        releasing = asyncio.create_task(made.service.release(release(first), BOB, BY_CAROL))
        await asyncio.sleep(0)
        killing = asyncio.create_task(contain(made, "request-2"))
        await asyncio.sleep(0)
        with pytest.raises(EnvironmentFailure):
            await releasing
        made.audit.is_hanging = False
        await killing
        await made.service.release(release(first, "release-2"), BOB, BY_CAROL)

    assert held_at_a_gate(latch) is Level.KILL


# -- ttl ----------------------------------------------------------------------------------------


async def test_e15_ttl_is_measured_on_the_boot_clock(latch: Path) -> None:
    """No step of the wall clock ends or prolongs a directive; its time does."""
    async with bench(latch) as made:
        await made.service.contain(order(ttl=timedelta(hours=1)), ALICE)
        made.clock.step_wall(seconds=86_400)
        made.service.tick()
        assert held_at_a_gate(latch) is Level.KILL
        made.clock.step_wall(seconds=-2 * 86_400)
        made.clock.advance(seconds=3599)
        made.service.tick()
        assert held_at_a_gate(latch) is Level.KILL
        made.clock.advance(seconds=1)
        made.service.tick()
        await made.service._errands.aclose()
        page = await made.service.list_directives(include_ended=True)

    assert held_at_a_gate(latch) is None
    assert [entry.state for entry in page.entries] == [DirectiveState.EXPIRED]
    assert made.audit.kinds == ["contain", "expire"]


async def test_e15_ttl_negative_control(latch: Path) -> None:
    """Measured on the wall clock, a step would have ended the kill."""
    async with bench(latch) as made:
        answer = await made.service.contain(order(ttl=timedelta(hours=1)), ALICE)
        made.clock.step_wall(seconds=86_400)
        shown = answer.receipt.receipt.directive.expire_time_ns

        assert shown is not None
        assert shown < made.clock.wall_ns()
        assert made.service._journal.due() == ()


@pytest.mark.parametrize(
    ("boot_id", "seconds", "level"),
    [
        (BOOT, 1800, Level.KILL),  # the same boot: half an hour is left
        (BOOT, 3700, None),
        (OTHER_BOOT, 1800, Level.KILL),  # another boot: nobody knows, it starts anew
    ],
)
async def test_ttl_outlives_a_restart(
    latch: Path, boot_id: str, seconds: int, level: Level | None
) -> None:
    """A restart within one boot keeps the deadline; a reboot starts it anew: late, never early."""
    clock = ManualClock()
    async with bench(latch, clock=clock) as made:
        await made.service.contain(order(ttl=timedelta(hours=1)), ALICE)
    if boot_id != BOOT:
        # Up for two hours already: by the old boot's clock the directive would have ended.
        clock = ManualClock(
            wall_ns=clock.wall_ns() + 86_400 * NS_PER_SECOND, boot_ns=7200 * NS_PER_SECOND
        )
    async with bench(latch, clock=clock, boot_id=boot_id) as again:
        clock.advance(seconds=seconds)
        again.service.tick()

        verdict = again.service.state.effective(Subject(agent="banking"))
        assert (verdict.level if verdict else None) is level
        clock.advance(seconds=3600)
        again.service.tick()
        assert again.service.state.effective(Subject(agent="banking")) is None


# -- tokens and policy --------------------------------------------------------------------------


def revocation(request_id: str = "revoke-11", **selectors: object) -> RevocationOrder:
    """Return an order to revoke."""
    return RevocationOrder(
        **{"request_id": request_id, "reason": "leaked", "agent": "banking", **selectors}  # type: ignore[arg-type]
    )


async def test_revocation_is_durable_and_idempotent(latch: Path) -> None:
    """Tokens are revoked once, for the gates, the archive and the next run."""
    revocations = MemoryRevocations()
    async with bench(latch, revocations=revocations) as made:
        made.acks.connect("g1", agents=["banking"])
        answers = [await made.service.revoke_tokens(revocation(), SOAR) for _ in range(2)]
        with pytest.raises(ConflictError):
            await made.service.revoke_tokens(revocation(reason="other"), SOAR)
    async with bench(latch, revocations=revocations) as again:
        late = await again.service.revoke_tokens(revocation(), SOAR)
        rules = again.rules()

    assert [answer.is_repeated for answer in (*answers, late)] == [False, True, True]
    assert {answer.rule for answer in (*answers, late)} == set(rules) == set(revocations.load_all())
    assert answers[0].laggards == ("g1",)
    assert made.audit.kinds == ["revoke_tokens"]


async def test_revocation_by_the_wrong_one_is_refused(latch: Path) -> None:
    """Roles count, and revoking everything needs break-glass."""
    async with bench(latch) as made:
        with pytest.raises(RefusedError):
            await made.service.revoke_tokens(revocation(), replace(SOAR, roles=frozenset()))
        with pytest.raises(RefusedError):
            await made.service.revoke_tokens(revocation(agent="", issued_before_s=5), SOAR)

        await made.service.revoke_tokens(revocation(agent="", issued_before_s=5), ROOT)
        assert [rule.issued_before_s for rule in made.rules()] == [5]


async def test_revocation_that_left_the_journal_is_still_known(latch: Path) -> None:
    """When compaction dropped it, the archive has it; a retry gets it from there."""
    revocations = MemoryRevocations()
    async with bench(latch, revocations=revocations, half_bytes=4 * PAGE) as made:
        for number in range(60):
            await made.service.revoke_tokens(revocation(f"revoke-{number}x"), SOAR)
            await made.service._mirror.flush()
        known = made.service._journal.ledger.revocations
        answer = await made.service.revoke_tokens(revocation("revoke-0x"), SOAR)

        assert len(known) < 60
        assert len(made.rules()) == 60
        revocations._rules.clear()
        with pytest.raises(NotFoundError, match="outlived"):
            await made.service.revoke_tokens(revocation("revoke-0x"), SOAR)

    assert answer.is_repeated
    assert answer.rule.agent == "banking"


async def test_activation_of_a_policy_raises_the_epoch_once(latch: Path) -> None:
    """Gates learn which bundle decides; saying it again changes nothing."""
    async with bench(latch) as made:
        first = await made.service.activate_policy("d1", author="alice")
        again = await made.service.activate_policy("d1", author="bob")
        other = await made.service.activate_policy("d2", author="bob")

    assert (first, again, other) == (1, 1, 2)
    assert seen_by_a_gate(latch)[1].policy_digest == "d2"


# -- listing ------------------------------------------------------------------------------------


async def test_directives_are_listed_newest_first(latch: Path) -> None:
    """Standing ones by default, ended ones on demand, in pages, by agent."""
    async with bench(latch) as made:
        first = await contain(made)
        second = await contain(made, "request-2", agent("mail"))
        third = await contain(made, "request-3")
        await made.service.release(release(first), BOB, BY_CAROL)

        standing = await made.service.list_directives()
        everything = await made.service.list_directives(include_ended=True, limit=2)
        rest = await made.service.list_directives(
            include_ended=True, limit=2, before_epoch=everything.next_before_epoch
        )
        mail = await made.service.list_directives(include_ended=True, agent="mail")

    assert [entry.epoch for entry in standing.entries] == [third, second]
    assert [entry.epoch for entry in (*everything.entries, *rest.entries)] == [third, second, first]
    assert (everything.next_before_epoch, rest.next_before_epoch) == (second, None)
    assert [entry.epoch for entry in mail.entries] == [second]
    assert standing.epoch == made.service.epoch


@pytest.mark.parametrize("page_size", [2, 3, 1000])
async def test_pages_of_the_history_are_joined(
    latch: Path, monkeypatch: pytest.MonkeyPatch, page_size: int
) -> None:
    """However the history is cut into pages, every directive is listed once, and stands again."""
    monkeypatch.setattr("sidecar.containment.lookup._MAX_PAGE", page_size)
    history = MemoryHistory()
    async with bench(latch, history=history) as made:
        epochs = [await contain(made, f"request-{n}", agent(f"a{n % 2}")) for n in range(7)]
    (latch / "journal").unlink()
    async with bench(latch, history=history, epoch_floor=history.highest_epoch()) as again:
        listed: list[int] = []
        before = None
        while True:
            page = await again.service.list_directives(
                include_ended=True, limit=2, before_epoch=before, agent="a1"
            )
            listed += [entry.epoch for entry in page.entries]
            before = page.next_before_epoch
            if before is None:
                break

        assert [held.epoch for held in again.service.state.directives] == epochs
    assert listed == epochs[1::2][::-1]


async def test_list_goes_on_into_the_history(latch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directives that left memory are listed from the history; without it the page says so."""
    monkeypatch.setattr("sidecar.containment.dossier._MAX_ENDED", 2)
    history = BrokenHistory()
    async with bench(latch, history=history) as made:
        epochs = []
        for number in range(6):
            epochs.append(await contain(made, f"request-{number}"))
            await made.service.release(release(epochs[-1], f"release-{number}"), BOB, BY_CAROL)
        await made.service._mirror.flush()
        whole = await made.service.list_directives(include_ended=True)
        receipt = await made.service.get_receipt(epochs[0])
        history.is_failing = True
        partial = await made.service.list_directives(include_ended=True)
        history.is_failing = False

    assert [entry.epoch for entry in whole.entries] == epochs[::-1]
    assert receipt.receipt.state is DirectiveState.RELEASED
    assert (whole.is_complete, partial.is_complete) == (True, False)
    assert len(partial.entries) == 2


# -- a latch that fails -------------------------------------------------------------------------


async def test_e07_failed_disk_answers_applied_but_not_durable(latch: Path) -> None:
    """The kill holds in memory, every gate is sealed, health is red, and control is to exit."""
    disk = ForgetfulDisk()
    async with bench(latch, ops=disk) as made:
        disk.sync_error = OSError(errno.EIO, "broken")
        answer = await made.service.contain(order(), ALICE)
        health = made.service.health()
        later = await made.service.contain(order("request-2", agent("mail")), ALICE)
        with pytest.raises(NotDurableError):
            await made.service.release(release(1), BOB, BY_CAROL)
        with pytest.raises(NotDurableError):
            await made.service.revoke_tokens(revocation(), SOAR)
        with pytest.raises(NotDurableError):
            await made.service.activate_policy("d1", author="alice")
        made.service.tick()

        assert made.service.failed.is_set()
        assert len(made.service.state.directives) == 2
        await asyncio.wait_for(made.service.run(), timeout=1)

    assert not answer.receipt.receipt.is_durable
    assert not later.receipt.receipt.is_durable
    assert (health.is_ready, health.is_sealed) == (False, True)
    assert seen_by_a_gate(latch)[0].is_sealed


async def test_e07_slow_disk_is_not_a_failed_one(
    latch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receipt that cannot wait any longer says not durable; the next one says it is."""
    limits = ServiceLimits(ack_timeout_s=0.01, durable_timeout_s=0.02)
    async with bench(latch, limits=limits) as made:
        may_end = asyncio.Event()
        real = made.service._commits.durable

        async def slowly() -> None:
            await may_end.wait()
            await real()

        monkeypatch.setattr(made.service._commits, "durable", slowly)
        first = await made.service.contain(order(), ALICE)
        may_end.set()
        await made.service._errands.aclose()
        second = await made.service.get_receipt(1)

    assert (first.receipt.receipt.is_durable, second.receipt.is_durable) == (False, True)
    assert not made.service.failed.is_set()


async def test_e07_expiry_on_a_failed_disk_is_no_end(latch: Path) -> None:
    """If the expiry cannot be published, the latch is sealed and nobody is let go."""
    disk = ForgetfulDisk()
    async with bench(latch, ops=disk) as made:
        await made.service.contain(order(ttl=timedelta(seconds=5)), ALICE)
        made.clock.advance(seconds=5)
        disk.write_error = OSError(errno.EIO, "broken")
        made.service.tick()

        assert made.service.failed.is_set()
    assert seen_by_a_gate(latch)[0].is_sealed


async def test_e18_vanished_latch_is_noticed_by_the_tick(latch: Path) -> None:
    """Control whose latch was replaced stops beating and is to exit."""
    async with bench(latch) as made:
        (latch / "slots").unlink()
        made.service.tick()

        assert made.service.failed.is_set()
        assert not made.service.health().is_ready


async def fill_up(made: Bench) -> int:
    """Kill one agent after the other until there is no room; return the number of the last."""
    number = 0
    for length in (900, 200, 1):
        while True:
            number += 1
            try:
                await made.service.contain(
                    order(f"request-{number}", agent(f"a{number}"), reason="x" * length), SOAR
                )
            except JournalFullError:
                break
    return number


async def test_full_journal_still_takes_a_kill_of_everything(latch: Path) -> None:
    """When nothing more fits, one agent's kill is refused; everybody's is not, and can be released."""
    async with bench(latch, half_bytes=4 * PAGE) as made:
        number = await fill_up(made)
        assert held_at_a_gate(latch, f"a{number}") is None
        standing = len(made.service.state.directives)
        with pytest.raises(JournalFullError):  # a gate could not tell what READ_ONLY holds
            await made.service.contain(
                order("request-mild", ALL, Level.READ_ONLY, reason="x" * 500), ROOT
            )
        answer = await made.service.contain(order("request-all", ALL, reason="x" * 500), ROOT)
        latched, _ = seen_by_a_gate(latch)

        assert (latched.global_level, latched.is_sealed) == (Level.KILL, False)
        assert answer.receipt.receipt.is_durable
    async with bench(latch) as again:
        orphan = again.service.state.directives[-1]
        assert len(again.service.state.directives) == standing + 1
        assert (orphan.target, orphan.level, orphan.author) == (ALL, Level.KILL, "")
        verdict = again.service.state.effective(Subject(agent="anybody"))
        assert verdict is not None
        with pytest.raises(RefusedError):
            await again.service.release(release(orphan.epoch), BOB, BY_CAROL)
        await again.service.release(release(1, "release-0"), BOB, BY_CAROL)
        await again.service.release(release(orphan.epoch), ROOT, BY_CAROL)

        assert seen_by_a_gate(latch)[0].global_level == 0


async def test_kill_that_the_level_alone_holds_outlives_what_comes_after(latch: Path) -> None:
    """A smaller directive that still fits does not push it out, before or after a restart."""
    async with bench(latch, half_bytes=4 * PAGE) as made:
        number = 0
        with contextlib.suppress(JournalFullError):
            for number in range(1, 99):
                await made.service.contain(
                    order(f"request-{number}", agent(f"a{number}"), Level.FREEZE, reason="x" * 700),
                    SOAR,
                )
        everything = await made.service.contain(order("request-all", ALL, reason="x" * 1000), ROOT)
        kill = everything.receipt.receipt.directive.epoch
        assert made.writer.level_epoch == kill
        await made.service.contain(order("request-s1", agent("s1"), Level.FREEZE, reason="x"), SOAR)
        assert made.writer.level_epoch == kill
    for restart in (1, 2):
        async with bench(latch) as again:
            standing = {held.epoch: held for held in again.service.state.directives}
            assert standing[kill].target == ALL
            assert again.writer.level == Level.KILL
            if restart == 1:
                await again.service.contain(
                    order("request-s2", agent("s2"), Level.FREEZE, reason="x"), SOAR
                )


async def test_full_journal_can_always_be_released_from(latch: Path) -> None:
    """Ending a directive makes room and needs none, not even for its own record."""
    async with bench(latch, half_bytes=4 * PAGE) as made:
        await fill_up(made)
        await made.service.contain(order("request-all", ALL, reason="x" * 500), ROOT)
        standing = [held.epoch for held in made.service.state.directives]
        for epoch in standing:
            caller = ROOT if epoch != standing[-1] else BOB
            await made.service.release(
                release(epoch, f"release-{epoch}x", reason="y" * 1000), caller, BY_CAROL
            )

        assert made.service.state.directives == ()
        latched, state = seen_by_a_gate(latch)
    assert (state.directives, latched.global_level, latched.is_sealed) == ((), 0, False)


async def test_lost_latch_starts_sealed_with_what_the_history_knows(latch: Path) -> None:
    """After a loss the gates deny everything, the known directives stand, and a human unseals."""
    history = MemoryHistory()
    async with bench(latch, history=history) as made:
        epoch = await contain(made)
        await contain(made, "request-2", agent("mail"))
        await made.service.release(release(3), BOB, BY_CAROL)
    (latch / "slots").unlink()
    async with bench(latch, history=history, epoch_floor=history.highest_epoch()) as again:
        assert again.service.health().is_sealed
        assert "missing" in again.service.health().problems[0]
        latched, state = seen_by_a_gate(latch)
        assert latched.is_sealed
        assert [held.epoch for held in state.directives] == [epoch]
        for caller in (ALICE, BOB, SOAR, replace(ROOT, is_local=False)):
            with pytest.raises(RefusedError):
                await again.service.unseal(UnsealOrder(request_id="unseal-1", reason="ok"), caller)
        unsealed = await again.service.unseal(UnsealOrder(request_id="unseal-1", reason="ok"), ROOT)
        with pytest.raises(PreconditionError, match="not sealed"):
            await again.service.unseal(UnsealOrder(request_id="unseal-2", reason="ok"), ROOT)
        same = await again.service.unseal(UnsealOrder(request_id="unseal-1", reason="ok"), ROOT)

    latched, _ = seen_by_a_gate(latch)
    assert not latched.is_sealed
    assert unsealed == same == latched.epoch > epoch
    assert again.audit.kinds == ["unseal_requested", "unseal"]
    assert held_at_a_gate(latch) is Level.KILL


async def test_lost_latch_is_restored_above_the_epochs_it_had(latch: Path) -> None:
    """Even if nobody told the latch how far epochs had come, none is used twice."""
    history = MemoryHistory()
    async with bench(latch, history=history) as made:
        epochs = [await contain(made, f"request-{n}", agent(f"a{n}")) for n in range(3)]
    (latch / "slots").unlink()
    async with bench(latch, history=history) as again:
        assert [held.epoch for held in again.service.state.directives] == epochs
        assert again.service.epoch >= epochs[-1]
        assert await contain(again, "request-new") > epochs[-1]
        latched, state = seen_by_a_gate(latch)

    assert latched.is_sealed
    assert len(state.directives) == 4


async def test_disk_that_fails_while_a_lost_latch_is_restored_stops_control(latch: Path) -> None:
    """What cannot be made durable again is no ground to start on."""
    history = MemoryHistory()
    async with bench(latch, history=history) as made:
        await contain(made)
    (latch / "slots").unlink()
    disk = ForgetfulDisk()
    again = Bench(latch, history=history, ops=disk)
    disk.sync_error = OSError(errno.EIO, "broken")

    with pytest.raises(NotDurableError):
        await again.service.start()

    await again.aclose()


async def test_lost_latch_and_lost_history_start_sealed(latch: Path) -> None:
    """With nothing left to restore, everything is denied all the same."""
    history = BrokenHistory()
    async with bench(latch, history=history) as made:
        await contain(made)
    (latch / "journal").unlink()
    history.is_failing = True
    async with bench(latch, history=history) as again:
        assert again.service.health().is_sealed
        assert again.service.state.directives == ()

    assert seen_by_a_gate(latch)[0].is_sealed


# -- restart ------------------------------------------------------------------------------------


async def test_p11_restart_changes_nothing(latch: Path) -> None:
    """Directives, ends, revocations, policy and epoch are what they were."""
    history, revocations = MemoryHistory(), MemoryRevocations()
    async with bench(latch, history=history, revocations=revocations) as made:
        first = await contain(made)
        await contain(made, "request-2", agent("mail"))
        await made.service.activate_policy("d1", author="alice")
        await made.service.release(release(first), BOB, BY_CAROL)
        before = (made.service.state, made.service.epoch, made.rules())
        receipt = (await made.service.get_receipt(3)).receipt
    async with bench(latch, history=history, revocations=revocations) as again:
        after = (again.service.state, again.service.epoch, again.rules())
        later = (await again.service.get_receipt(3)).receipt
        ended = (await again.service.get_receipt(first)).receipt

    assert before == after
    assert replace(later, issue_time_ns=0) == replace(receipt, issue_time_ns=0)
    assert ended.state is DirectiveState.RELEASED


async def test_history_that_missed_an_end_is_set_right(latch: Path) -> None:
    """The journal is the truth: what it does not hold does not stand, whatever the history says."""
    history = BrokenHistory()
    async with bench(latch, history=history) as made:
        epoch = await contain(made)
        await made.service._mirror.flush()
        history.is_failing = True
        await made.service.release(release(epoch), BOB, BY_CAROL)
    stale = history._entries[epoch]
    assert stale.state is DirectiveState.ACTIVE
    ghost = replace(stale, contained=Contained(directive=replace(stale.directive, epoch=77)))
    history._entries[77] = ghost
    history.is_failing = False
    async with bench(latch, history=history) as again:
        page = await again.service.list_directives(include_ended=True)

        assert again.service.state.directives == ()
    assert [(entry.epoch, entry.state) for entry in page.entries] == [
        (77, DirectiveState.RELEASED),
        (epoch, DirectiveState.RELEASED),
    ]
    assert page.entries[1].releaser == "bob"


async def test_listeners_hear_every_event_after_it_was_published(latch: Path) -> None:
    """Who listens is told in order, and cannot hold a kill up by failing."""
    heard: list[Event] = []
    problems: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))

    def fail(_: Event) -> None:
        raise RuntimeError("a listener's own trouble")

    async with bench(latch) as made:
        made.service.add_listener(fail)
        made.service.add_listener(heard.append)
        await made.service.contain(order(ttl=timedelta(seconds=5)), ALICE)
        await contain(made, "request-2", agent("mail"))
        await made.service.release(release(3), BOB, BY_CAROL)
        made.clock.advance(seconds=5)
        made.service.tick()
        await made.service.activate_policy("d1", author="alice")

    assert [type(event) for event in heard] == [
        Contained,
        TokensRevoked,
        Contained,
        TokensRevoked,
        Released,
        Expired,
        PolicyActivated,
    ]
    assert [event.epoch for event in heard] == list(range(1, 8))
    assert len(problems) == 7


async def test_e10_service_beats_while_its_loop_turns(
    latch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat comes from the event loop, at start and with every tick, and from nowhere else."""
    monkeypatch.setattr(service_module, "_BEAT_S", 0)
    async with bench(latch) as made:
        reader = LatchReader(latch, boot_id=BOOT)
        assert reader.heartbeat_age_ns(made.clock.boot_ns()) == 0
        made.clock.advance(seconds=6)
        await contain(made)
        assert reader.heartbeat_age_ns(made.clock.boot_ns()) == 6 * NS_PER_SECOND
        running = asyncio.create_task(made.service.run())
        await asyncio.sleep(0)
        assert reader.heartbeat_age_ns(made.clock.boot_ns()) == 0
        running.cancel()
        reader.close()

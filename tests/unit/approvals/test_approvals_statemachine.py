# SPDX-License-Identifier: Apache-2.0
"""P4, P5, P11: every interleaving against a simple model.

The model knows who may decide, who voted, and what has killed an approval. It decides nothing by the
service's code. After every step it looks at every approval and at the log.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sidecar.approvals.answers import Consumed, HoldAnswer, Pending
from sidecar.approvals.values import Approval, ApprovalState, Cause, Request, Verdict
from sidecar.errors import EnvironmentFailure, HoldfastError
from tests.unit.approvals.approvals_kit import (
    ALICE,
    BOB,
    CAROL,
    EPOCH,
    EVERYBODY,
    OWNER,
    SOAR,
    Host,
    call_request,
    operator,
)
from tests.unit.approvals.conftest import MEMORY

_T = TypeVar("_T")

BOB_2 = operator("bob-2", human_id=" BOB")
VERDICTS = st.sampled_from(Verdict)
PEOPLE = {person.name: person for person in (ALICE, BOB, BOB_2, CAROL, OWNER, SOAR)}
VOTERS = list(PEOPLE)
# Who is who, said once more and by hand.
HUMAN_OF = {"alice": "alice", "bob": "bob", "bob-2": "bob", "carol": "carol"}
CALLS = [(1, "1"), (2, "2"), (2, "3")]
ENDED = {
    ApprovalState.CONSUMED,
    ApprovalState.REFUSED,
    ApprovalState.EXPIRED,
    ApprovalState.CANCELLED,
}
FAST = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Modelled:
    """What the model knows of one approval."""

    request: Request
    granters: list[str] = field(default_factory=list)
    seen: Approval | None = None
    why_dead: str = ""
    uses: list[str] = field(default_factory=list)


class ApprovalMachine(RuleBasedStateMachine):
    """One agent, three calls, six people, one control."""

    def __init__(self) -> None:
        super().__init__()
        self.base = Path(tempfile.mkdtemp(dir=MEMORY))
        self.runner = asyncio.Runner()
        self.known: dict[str, Modelled] = {}
        self.count = 0
        self.digest_count = 0
        self.host = self.run(self.begin())

    async def begin(self) -> Host:
        host = Host(self.base / "approvals.db", is_inline=True)
        host.directory.known = [*EVERYBODY, BOB_2]
        await host.approvals.start()
        return host

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do *work* in the machine's loop."""
        return self.runner.run(work)

    def teardown(self) -> None:
        try:
            self.look_at_everything()
        finally:
            self.run(self.host.close())
            self.runner.close()
            shutil.rmtree(self.base)

    # -- the model ------------------------------------------------------------------------------

    def call(self, index: int) -> Request:
        quorum, nonce = CALLS[index]
        return call_request(quorum=quorum, nonce=nonce, policy_digest=self.host.digest)

    def eligible(self) -> set[str]:
        """Return the names of operators whose vote counts now."""
        return {item.name for item in self.host.directory.known if item.name in HUMAN_OF}

    def humans(self, modelled: Modelled) -> set[str]:
        """Return the people who granted and still may."""
        return {HUMAN_OF[name] for name in modelled.granters if name in self.eligible()}

    def kill_where(self, why: str, **wanted: Any) -> None:
        """Note that every live approval in one of those states is dead from now on."""
        states = wanted.get("states", {ApprovalState.PENDING, ApprovalState.GRANTED})
        for modelled in self.known.values():
            if modelled.seen is not None and modelled.seen.state in states:
                modelled.why_dead = modelled.why_dead or why

    def usable(self, modelled: Modelled) -> bool:
        """Return whether a use must succeed now."""
        seen = modelled.seen
        if seen is None or seen.state is not ApprovalState.GRANTED or modelled.why_dead:
            return False
        return (
            len(self.humans(modelled)) >= modelled.request.quorum
            and self.host.clock.wall_ns() < seen.expire_time_ns
            and self.host.clock.boot_ns() < seen.deadline_boot_ns
            and modelled.request.policy_digest == self.host.digest
        )

    def took(self, answer: HoldAnswer, decision_id: str) -> None:
        """Note what a held call got."""
        if isinstance(answer, Pending):
            self.known.setdefault(answer.approval.id, Modelled(answer.approval.request))
        if isinstance(answer, Consumed):
            modelled = self.known[answer.approval.id]
            assert not modelled.why_dead, modelled.why_dead
            assert len(self.humans(modelled)) >= modelled.request.quorum
            modelled.uses.append(decision_id)

    def choose(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.known)))

    def decision(self) -> str:
        self.count += 1
        return f"dec_{self.count}"

    # -- what happens ---------------------------------------------------------------------------

    @initialize()
    def nothing_yet(self) -> None:
        assert self.run(self.host.approvals.list()).approvals == ()

    @rule(index=st.integers(0, 2))
    def hold(self, index: int) -> None:
        """The agent makes a call."""
        request, decision_id = self.call(index), self.decision()
        usable = [
            modelled
            for modelled in self.known.values()
            if modelled.request.fingerprint == request.fingerprint and self.usable(modelled)
        ]

        answer = self.run(self.host.hold(request, decision_id=decision_id))

        can_write = not (
            self.host.audit.is_failing
            or self.host.store.fails
            or self.host.store.commits_then_fails
        )
        assert isinstance(answer, Consumed) == bool(usable and can_write)
        self.took(answer, decision_id)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), voter=st.sampled_from(VOTERS), verdict=VERDICTS)
    def vote(self, data: st.DataObject, voter: str, verdict: Verdict) -> None:
        """Somebody votes."""
        approval_id = self.choose(data)
        self.run(self.cast(approval_id, voter, verdict))

    async def cast(self, approval_id: str, voter: str, verdict: Verdict) -> None:
        """Vote, and note that it counted."""
        modelled = self.known[approval_id]
        before = modelled.seen
        assert before is not None
        try:
            await self.host.vote(before, PEOPLE[voter], verdict)
        except EnvironmentFailure:
            if verdict is Verdict.REFUSE:
                modelled.why_dead = modelled.why_dead or "refused"
            elif self.host.store.commits_then_fails:
                modelled.granters.append(voter)  # it counts, though nobody was told
            return
        except HoldfastError:
            return
        assert voter in self.eligible()
        assert not modelled.why_dead
        if verdict is Verdict.REFUSE:
            modelled.why_dead = "refused"
        else:
            modelled.granters.append(voter)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        """The agent gives up."""
        approval_id = self.choose(data)
        try:
            ended = self.run(
                self.host.approvals.cancel(approval_id, Cause.WITHDRAWN, detail="withdrawn")
            )
        except EnvironmentFailure:
            ended = self.known[approval_id].seen
        if ended is not None:
            self.known[approval_id].why_dead = self.known[approval_id].why_dead or "withdrawn"

    @rule()
    def kill(self) -> None:
        """The agent is contained: the epoch moves, and everything of it is cancelled."""
        self.host.epoch += 1
        self.kill_where("killed")
        self.run(self.host.approvals.cancel_agent("banking", Cause.CONTAINED, detail="killed"))

    @rule(is_told=st.booleans())
    def move_epoch(self, is_told: bool) -> None:
        """Something else is contained; approvals may not be told."""
        self.host.epoch += 1
        self.kill_where("epoch moved", states={ApprovalState.GRANTED})
        if is_told:
            self.run(self.host.approvals.epoch_moved(self.host.epoch))

    @rule()
    def change_policy(self) -> None:
        """Another policy comes into force, and with it another epoch."""
        self.digest_count += 1
        self.host.digest = f"{self.digest_count:064x}"
        self.host.epoch += 1
        self.kill_where("policy changed")
        self.run(self.host.approvals.policy_changed(self.host.digest))

    @rule(seconds=st.sampled_from([0.001, 299, 301, 899, 901, 1801]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.host.clock.advance(seconds=seconds)

    @rule(seconds=st.sampled_from([-3600, -60, 60, 3600]))
    def step_clock(self, seconds: int) -> None:
        """Somebody sets the wall clock."""
        self.host.clock.step_wall(seconds=seconds)

    @rule()
    def tick(self) -> None:
        """The service looks at the clock."""
        now = (self.host.clock.wall_ns(), self.host.clock.boot_ns())
        for modelled in self.known.values():
            seen = modelled.seen
            if seen is not None and seen.is_live:
                is_late = now[0] >= seen.expire_time_ns or (
                    seen.boot_id == self.host.boot_id and now[1] >= seen.deadline_boot_ns
                )
                modelled.why_dead = modelled.why_dead or ("expired" if is_late else "")
        self.run(self.host.approvals.tick())

    @rule(name=st.sampled_from(sorted(HUMAN_OF)))
    def hire_or_fire(self, name: str) -> None:
        """An operator comes or goes (the policy that says so is somebody else's business)."""
        known, person = self.host.directory.known, PEOPLE[name]
        if person in known:
            known.remove(person)
        else:
            known.append(person)

    @precondition(lambda self: not self.host.approvals.waits().unwritten)
    @rule(is_reboot=st.booleans())
    def restart(self, is_reboot: bool) -> None:
        """Control stops and starts."""
        if is_reboot:
            self.kill_where("rebooted", states={ApprovalState.GRANTED})
        self.run(self.host.restart(is_reboot=is_reboot))

    @precondition(lambda self: self.known)
    @rule(
        data=st.data(),
        fault=st.sampled_from(["log", "disk", "both", "answer"]),
        what=st.sampled_from(["hold", "vote", "withdraw", "kill", "tick"]),
    )
    def fail_once(self, data: st.DataObject, fault: str, what: str) -> None:
        """Log or disk fail during one event, or the disk does it and says that it did not."""
        self.host.audit.is_failing = fault in {"log", "both"}
        self.host.store.fails = frozenset({"swap", "insert"} if fault in {"disk", "both"} else ())
        self.host.store.commits_then_fails = fault == "answer"
        match what:
            case "hold":
                self.hold(data.draw(st.integers(0, 2)))
            case "vote":
                voter, verdict = data.draw(st.sampled_from(VOTERS)), data.draw(VERDICTS)
                self.run(self.cast(self.choose(data), voter, verdict))
            case "withdraw":
                self.withdraw(data)
            case "kill":
                self.kill()
            case "tick":
                self.tick()
        self.host.audit.is_failing, self.host.store.fails = False, frozenset()
        self.host.store.commits_then_fails = False

    @rule(index=st.integers(0, 2), voters=st.permutations(VOTERS))
    def ask_and_grant(self, index: int, voters: list[str]) -> None:
        """The agent makes a call, and people grant it."""
        self.hold(index)
        self.look()
        wanted = self.call(index).fingerprint
        for approval_id, modelled in list(self.known.items()):
            seen = modelled.seen
            if seen is None or seen.state is not ApprovalState.PENDING or modelled.why_dead:
                continue
            for voter in voters if modelled.request.fingerprint == wanted else ():
                self.run(self.cast(approval_id, voter, Verdict.GRANT))

    @precondition(lambda self: self.known)
    @rule(data=st.data(), is_kill=st.booleans())
    def storm(self, data: st.DataObject, is_kill: bool) -> None:
        """Everything at once on one call: uses, votes, a withdrawal, perhaps a kill."""
        approval_id = self.choose(data)
        modelled = self.known[approval_id]
        before = modelled.seen
        assert before is not None
        request = replace(modelled.request, policy_digest=self.host.digest)
        names, earlier = [self.decision() for _ in range(4)], list(self.known.values())
        voters = data.draw(st.permutations(VOTERS))[:2]
        verdicts = data.draw(st.tuples(VERDICTS, VERDICTS))
        answers: dict[str, HoldAnswer] = {}

        async def use(name: str) -> None:
            answers[name] = await self.host.hold(request, decision_id=name)

        async def cast(voter: str, verdict: Verdict) -> None:
            if verdict is Verdict.GRANT:
                modelled.granters.append(voter)  # whether it counted, the look below finds
            try:
                await self.host.vote(before, PEOPLE[voter], verdict)
            except HoldfastError:
                return

        async def kill() -> None:
            self.host.epoch += 1
            await self.host.approvals.cancel_agent("banking", Cause.CONTAINED, detail="killed")

        works: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            **{name: partial(use, name) for name in names},
            **{voter: partial(cast, voter, verdicts[at]) for at, voter in enumerate(voters)},
            **({"kill": kill} if is_kill else {}),
        }
        order = data.draw(st.permutations(sorted(works)))
        self.run(_gather([works[name] for name in order]))
        for name, answer in answers.items():
            if isinstance(answer, Pending):
                self.known.setdefault(answer.approval.id, Modelled(answer.approval.request))
            if isinstance(answer, Consumed):
                self.known[answer.approval.id].uses.append(name)
        found = self.run(self.host.approvals.get(approval_id))
        modelled.granters = [vote.operator for vote in found.votes if vote.verdict is Verdict.GRANT]
        if is_kill:  # what was asked after the kill, waits
            for other in earlier:
                other.why_dead = other.why_dead or "killed"

    # -- what must hold -------------------------------------------------------------------------

    @invariant()
    def look(self) -> None:
        """What is live lives by the rules."""
        for approval_id, modelled in self.known.items():
            if modelled.seen is None or modelled.seen.state not in ENDED:
                self.look_at(approval_id, modelled)

    def look_at(self, approval_id: str, modelled: Modelled) -> None:
        """At most one use; a state that ended stays; a grant has its quorum."""
        found = self.run(self.host.approvals.get(approval_id))
        before = modelled.seen
        assert len(modelled.uses) <= 1
        if modelled.uses:
            assert found.state is ApprovalState.CONSUMED
            assert found.consuming_decision_id == modelled.uses[0]
        if before is not None and before.state in ENDED:
            assert replace(found, folded_count=0) == replace(before, folded_count=0)
        was_pending = before is None or before.state is ApprovalState.PENDING
        if found.state is ApprovalState.GRANTED and was_pending:
            assert len(self.humans(modelled)) >= modelled.request.quorum
        if found.state is ApprovalState.CONSUMED and modelled.why_dead:
            assert modelled.uses or not was_pending
        modelled.seen = found

    @rule()
    def look_at_everything(self) -> None:
        """Nothing that ended has changed, and each version of each approval has its entry."""
        for approval_id, modelled in self.known.items():
            self.look_at(approval_id, modelled)
        for _ in range(3):
            self.run(self.host.approvals._entries.catch_up())
        versions: dict[str, set[int]] = {}
        for entry in self.host.audit.entries:
            if entry["event"] != "lapsed":
                versions.setdefault(entry["approval"], set()).add(entry["version"])
        for approval in self.run(self.host.approvals.list(limit=1000)).approvals:
            assert versions[approval.name] >= set(range(1, approval.version + 1))


async def _gather(works: Sequence[Callable[[], Coroutine[Any, Any, None]]]) -> None:
    await asyncio.gather(*(work() for work in works))


def test_d04_d07_d08_d09_d25_p11_every_interleaving_holds() -> None:
    """Open, vote, use, kill, expire, restart and fail in any order, one by one and at once."""
    run_state_machine_as_test(ApprovalMachine, settings=FAST)


def _fired(machine: ApprovalMachine) -> None:
    machine.ask_and_grant(0, ["alice"])
    machine.look()
    machine.hire_or_fire("alice")
    machine.hold(0)


def _alone(machine: ApprovalMachine) -> None:
    machine.ask_and_grant(1, ["alice"])
    machine.look()


def _late(machine: ApprovalMachine) -> None:
    machine.ask_and_grant(0, ["alice"])
    machine.look()
    machine.wait(901)
    machine.hold(0)


def _killed(machine: ApprovalMachine) -> None:
    machine.ask_and_grant(0, ["alice"])
    machine.look()
    machine.host.store.fails = frozenset({"swap"})
    machine.kill()
    machine.host.store.fails = frozenset()
    machine.host.epoch = EPOCH
    machine.hold(0)


GUARDS: dict[str, tuple[Callable[[ApprovalMachine], None], dict[str, Any]]] = {
    "recount": (_fired, {"machine._use_refusal_of_votes": lambda approval, electorate: None}),
    "quorum": (_alone, {"machine.granting_humans": lambda votes, electorate: frozenset("ab")}),
    "deadline": (
        _late,
        {
            "machine.is_due": lambda approval, moment: False,
            "holding.is_due": lambda approval, moment: False,
            "store_sqlite._UNEXPIRED": "",
        },
    ),
    "owed end": (_killed, {"transitions.Transitions.is_owed": lambda self, approval_id: False}),
}


@pytest.mark.parametrize("guard", GUARDS)
def test_d06_d07_d25_the_model_notices_a_missing_guard_negative_control(
    guard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attack passes the model as long as the guard is there; without it, the model objects."""
    attack, taken_out = GUARDS[guard]
    guarded, unguarded = ApprovalMachine(), ApprovalMachine()
    attack(guarded)
    guarded.teardown()
    for name, nothing in taken_out.items():
        monkeypatch.setattr(f"sidecar.approvals.{name}", nothing)

    with pytest.raises(AssertionError):
        attack(unguarded)

    monkeypatch.undo()
    with suppress(AssertionError):
        unguarded.teardown()

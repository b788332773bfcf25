# SPDX-License-Identifier: Apache-2.0
"""``WatchApprovals``: what waits, every change, and who the caller is by then."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from sidecar.api.v1 import approval_pb2
from sidecar.control import approvals as servicer
from sidecar.errors import EnvironmentFailure
from sidecar.model import Role
from tests.support.polling import eventually
from tests.unit.control_approvals.approvals_rig import OPERATORS, code_of

Message = approval_pb2.Approval
LONG_S = 20


class Watch:
    """One open stream."""

    def __init__(self, rig, who: str, *, mine: bool = False) -> None:
        request = approval_pb2.WatchApprovalsRequest(mine_only=mine)
        self._call = rig.as_(who).approvals.WatchApprovals(request)

    async def begun(self) -> Watch:
        """Return once control has admitted the caller."""
        await self._call.initial_metadata()
        return self

    async def next(self) -> approval_pb2.WatchApprovalsResponse:
        """Return the next message."""
        async with asyncio.timeout(LONG_S):
            return await self._call.read()

    async def take(self, count: int) -> list[tuple[str, str, bool]]:
        """Return name, state and whether it was there before, of the next *count*."""
        found = [await self.next() for _ in range(count)]
        return [(m.approval.name, Message.State.Name(m.approval.state)[6:], m.initial)
                for m in found]  # fmt: skip

    def cancel(self) -> None:
        self._call.cancel()


async def vote(rig, who: str, approval, verdict: str = "GRANT") -> None:
    await rig.as_(who).approvals.DecideApproval(
        approval_pb2.DecideApprovalRequest(
            request_id=f"vote-{approval.id[-4:]}-{who}",
            name=approval.name,
            verdict=f"VERDICT_{verdict}",
            fingerprint=approval.request.fingerprint,
        )
    )


async def test_a_watch_begins_with_what_waits_and_tells_every_change(rig):
    """Opened, granted, used, refused: each once."""
    first = await rig.hold(number=1)
    watch = await Watch(rig, "bob").begun()
    second = await rig.hold(number=2)
    await vote(rig, "carol", first)
    await rig.ask(number=1)
    await vote(rig, "carol", second, "REFUSE")

    told = await watch.take(5)

    assert told == [
        (first.name, "PENDING", True),
        (second.name, "PENDING", False),
        (first.name, "GRANTED", False),
        (first.name, "CONSUMED", False),
        (second.name, "REFUSED", False),
    ]
    watch.cancel()


async def test_others_are_not_told(rig):
    """Neither at the beginning nor later."""
    await rig.act("activate_policy", role=Role.POLICY_APPROVE)
    watch = await Watch(rig, "bob").begun()
    await rig.act("activate_policy", role=Role.POLICY_APPROVE)
    call = await rig.hold()

    assert await watch.take(1) == [(call.name, "PENDING", False)]
    watch.cancel()


async def test_ones_own_are_told_to_their_end(rig):
    """Only what one may decide; of that also how it ended without one."""
    await rig.hold(owner="bob")
    mine = await rig.hold()
    watch = await Watch(rig, "bob", mine=True).begun()
    begun = await watch.take(1)
    await rig.hold(owner="bob")
    await vote(rig, "carol", mine)

    assert begun == [(mine.name, "PENDING", True)]
    assert await watch.take(1) == [(mine.name, "GRANTED", False)]
    watch.cancel()


async def test_what_changes_while_the_list_is_read_is_told_once(rig, monkeypatch):
    """A change that the list holds already is not told again."""
    first = await rig.hold()
    listed = rig.approvals.list

    async def slow(**fields):
        added = await rig.hold(number=99)
        await asyncio.sleep(0)  # its listeners run
        assert added.id
        return await listed(**fields)

    monkeypatch.setattr(rig.approvals, "list", slow)
    watch = await Watch(rig, "bob").begun()
    told = await watch.take(2)
    await vote(rig, "carol", first)

    assert {name for name, _, _ in told} == {first.name, f"approvals/apr_{2:032x}"}
    assert await watch.take(1) == [(first.name, "GRANTED", False)]
    watch.cancel()


async def test_an_auditor_watches_without_arguments(rig):
    """As in every other answer."""
    watch = await Watch(rig, "audrey").begun()
    await rig.hold()

    message = (await watch.next()).approval

    assert message.canonical == b""
    assert "hunter2" not in str(message)
    watch.cancel()


async def test_a_watcher_who_loses_the_role_reads_no_argument_any_more(rig):
    """The roles of the moment count, in a stream too."""
    watch = await Watch(rig, "bob").begun()
    await rig.hold()
    before = await watch.next()
    rig.give("bob", Role.AUDIT_READ)

    await rig.hold()
    after = await watch.next()

    assert b"hunter2" in before.approval.canonical
    assert after.approval.canonical == b""
    assert "hunter2" not in str(after)
    watch.cancel()


async def test_a_watcher_who_loses_the_role_negative_control(rig, monkeypatch):
    """With the look at the moment's roles patched out, the arguments still come."""
    monkeypatch.setattr(servicer, "current_caller", lambda: OPERATORS["bob"])
    watch = await Watch(rig, "bob").begun()
    rig.give("bob", Role.AUDIT_READ)

    await rig.hold()

    assert b"hunter2" in (await watch.next()).approval.canonical
    watch.cancel()


@pytest.mark.parametrize("is_gone", [False, True])
async def test_a_watch_ends_with_the_right_to_it(rig, is_gone):
    """No role at all, or no operator any more: refused at the next message."""
    watch = await Watch(rig, "bob").begun()
    if is_gone:
        del rig.in_force["bob"]
    else:
        rig.give("bob", Role.CONTAIN)
    await rig.hold()

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await watch.next()

    assert code_of(caught.value) == ("UNAUTHENTICATED" if is_gone else "PERMISSION_DENIED")
    await eventually(lambda: rig.servicer.watchers == 0)


async def test_somebody_watches(rig):
    """People who could decide are counted, as long as they are there; scripts and auditors are not."""
    watches = [await Watch(rig, who).begun() for who in ("bob", "carol", "audrey", "robot")]

    there = (rig.servicer.watchers, rig.servicer.watching)
    watches[0].cancel()
    await eventually(lambda: rig.servicer.watchers == 1)
    for watch in watches:
        watch.cancel()
    await eventually(lambda: rig.servicer.watchers == 0)

    assert there == (2, {"bob", "carol"})
    assert rig.servicer.watching == frozenset()


async def test_watching_without_a_role_is_refused(rig):
    """Before anything is told."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await Watch(rig, "soar").next()

    assert code_of(caught.value) == "PERMISSION_DENIED"


async def test_a_watcher_who_does_not_read_is_let_go(rig, monkeypatch):
    """What it leaves behind is bounded, and it is told that changes were lost."""
    monkeypatch.setattr(servicer, "_MAX_BACKLOG", 2)
    watcher = servicer._Watcher(OPERATORS["bob"])
    approval = await rig.hold()
    for _ in range(2):
        watcher.put(approval)
    assert await watcher.next() == approval
    for _ in range(2):
        watcher.put(approval)

    with pytest.raises(EnvironmentFailure, match="lost"):
        await watcher.next()


async def test_a_watcher_who_does_not_read_negative_control(rig, monkeypatch):
    """Without the bound, everything it does not read is kept."""
    monkeypatch.setattr(servicer, "_MAX_BACKLOG", 10**9)
    watcher = servicer._Watcher(OPERATORS["bob"])
    approval = await rig.hold()

    for _ in range(5000):
        watcher.put(approval)

    assert len(watcher._changes) == 5000

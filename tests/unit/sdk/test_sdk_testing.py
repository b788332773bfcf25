# SPDX-License-Identifier: Apache-2.0
"""The fakes that users' tests are written with."""

from __future__ import annotations

import pytest

from sidecar.sdk import ApprovalState, Denied, Effect, Guard, Held, Result, Suspended, SyncGuard
from sidecar.sdk.testing import FakeGuard, FakeSyncGuard


async def test_unscripted_calls_are_denied_and_recorded() -> None:
    """A fake denies by default, like an empty policy."""
    guard = FakeGuard(session="s")

    decision = await guard.authorize("t", {"a": 1}, url="u", cwd="c", nonce="n")

    assert decision.reason.code == "NO_POLICY_ALLOWS"
    call = guard.calls[0]
    assert (call.tool, call.session, call.url, call.cwd, call.nonce) == ("t", "s", "u", "c", "n")
    assert call.decision is decision


async def test_answers_can_be_queued() -> None:
    """``once`` answers are used up in order, then the standing one holds."""
    guard = FakeGuard()
    guard.deny("t")
    guard.allow("t", once=True)
    guard.hold("t", once=True)

    effects = [(await guard.authorize("t", {})).effect for _ in range(3)]

    assert effects == [Effect.ALLOW, Effect.HOLD, Effect.DENY]


async def test_kill_denies_until_release() -> None:
    """A killed fake denies what is allowed otherwise."""
    guard = FakeGuard()
    guard.allow("t")
    guard.kill()
    killed = await guard.authorize("t", {})
    guard.release()
    released = await guard.authorize("t", {})

    assert (killed.reason.code, released.allowed) == ("KILLED", True)
    with pytest.raises(ValueError, match="KILL"):
        guard.kill("OBSERVE")


async def test_log_marks_like_a_gate() -> None:
    """Orphans and doubles are marked."""
    guard = FakeGuard()
    guard.allow("t")
    decision = await guard.authorize("t", {})

    marks = [
        (await guard.log(id_, Result.SUCCESS)).mark
        for id_ in (decision.decision_id, decision.decision_id, "dec_unknown")
    ]

    assert marks == ["", "duplicate", "orphan"]


async def test_fakes_are_guards() -> None:
    """Code that is annotated with the real classes takes the fakes."""
    fake, blocking = FakeGuard(), FakeSyncGuard()

    assert isinstance(fake, Guard)
    assert isinstance(blocking, SyncGuard)
    async with fake as entered:
        await entered.wait_ready(1)
    assert (await fake.authorize("t", {})).reason.code == "SHUTTING_DOWN"
    assert not fake.calls
    with blocking:
        blocking.wait_ready(1)
        assert blocking.log("dec_1", Result.ERROR).mark == "orphan"
        assert blocking.containment.level == ""


@pytest.mark.parametrize("arguments", [b"not json", b"\xff", {"a": object()}])
async def test_fakes_refuse_what_the_sdk_refuses(arguments: object) -> None:
    """Arguments that are not JSON are denied before the script is asked."""
    guard = FakeGuard()
    guard.allow("t")

    decision = await guard.authorize("t", arguments)  # type: ignore[arg-type]

    assert decision.reason.code == "MALFORMED"
    assert guard.calls == []


# -- held calls ---------------------------------------------------------------------------------


@pytest.fixture
def guard() -> FakeGuard:
    """What a user's own fixture looks like."""
    return FakeGuard(session="s", hold_timeout=60)


async def test_held_call_that_nobody_decides_stays_held(guard: FakeGuard) -> None:
    """Without a script for the human the time is taken to have passed, at once."""
    guard.hold("pay", "ask first")

    decision = await guard.authorize("pay", {"a": 1}, hold_timeout=3600)
    with pytest.raises(Held) as raised:
        async with guard.call("pay", {"a": 1}):
            pytest.fail("ran")

    held = raised.value
    assert decision.effect is Effect.HOLD
    assert held.approval == decision.obligations.approval != ""
    assert (held.approvers, held.reason) == (("alice",), "ask first")
    assert held.expire_time is not None
    assert (await held.wait(timeout=3600)).effect is Effect.HOLD
    assert (await guard.wait_approval(held.approval, 3600)).state is ApprovalState.PENDING


async def test_scripted_grant_runs_the_function_once(guard: FakeGuard) -> None:
    """HOLD, then GRANTED, then the same call again: both questions are recorded."""
    guard.hold("pay", then="GRANTED")

    @guard.tool("pay")
    async def pay(to: str) -> str:
        return f"paid {to}"

    @guard.tool("pay")
    def pay_blocking(to: str) -> str:
        return f"paid {to}"

    answer = await pay("bob")
    with pytest.raises(Held):
        pay_blocking("eve")
    next_time = await guard.authorize("pay", {"to": "bob"})

    assert answer == "paid bob"
    assert [call.decision.effect for call in guard.calls] == [
        Effect.HOLD,
        Effect.ALLOW,
        Effect.HOLD,
        Effect.HOLD,
    ]
    assert guard.calls[0].arguments == guard.calls[1].arguments
    assert guard.calls[1].decision.reason.text == "granted by alice"
    assert next_time.effect is Effect.HOLD
    assert [outcome.result for outcome in guard.outcomes] == [Result.SUCCESS]


@pytest.mark.parametrize("then", ["REFUSED", "EXPIRED", "CANCELLED"])
async def test_scripted_refusal_is_a_denial(guard: FakeGuard, then: str) -> None:
    """Whatever else the human does, the function does not run."""
    guard.hold("pay", then=then, by="bob")

    with pytest.raises(Denied) as raised:
        async with guard.call("pay"):
            pytest.fail("ran")

    assert raised.value.reasons[0].code == f"APPROVAL_{then}"
    assert ("bob" in raised.value.for_model()) == (then == "REFUSED")
    assert len(guard.calls) == 1


async def test_scripted_grant_beats_no_denial(guard: FakeGuard) -> None:
    """A policy that forbids the call by the time it is granted wins, and so does a kill."""
    guard.hold("pay", then="GRANTED")
    held = [await guard.authorize("pay", {"n": n}) for n in range(2)]
    guard.deny("pay")
    denied = await Held(held[0]).wait()
    guard.kill()
    killed = await Held(held[1]).wait()

    assert denied.reason.code == "POLICY_DENY"
    assert killed.reason.code == "KILLED"
    assert guard.withdrawn == [decision.obligations.approval for decision in held]
    with pytest.raises(Suspended):
        killed.raise_for_effect()


async def test_identical_held_calls_share_a_request(guard: FakeGuard) -> None:
    """As with a real gate: same call, same request; another call, another one."""
    guard.hold("pay", then="GRANTED")

    names = [(await guard.authorize("pay", {"n": n})).obligations.approval for n in (1, 1, 2)]
    status = await guard.wait_approval(names[0], 1)
    allowed = await guard.authorize("pay", {"n": 1})
    held = await guard.authorize("pay", {"n": 1})

    assert names[0] == names[1] != names[2]
    assert status.state is ApprovalState.GRANTED
    assert (allowed.effect, held.effect) == (Effect.ALLOW, Effect.HOLD)
    assert allowed.obligations.approval == names[0]


async def test_withdrawn_requests_are_recorded(guard: FakeGuard) -> None:
    """A test can look whether its agent took back what it did not want any more."""
    guard.hold("pay", then="GRANTED")
    with pytest.raises(Held) as raised:
        (await guard.authorize("pay", {})).raise_for_effect()
    status = await raised.value.cancel()
    decision = await raised.value.wait()

    assert status.state is ApprovalState.CANCELLED
    assert guard.withdrawn == [raised.value.approval]
    assert decision.reason.code == "APPROVAL_CANCELLED"
    assert (await guard.wait_approval("approvals/other", 1)).state is ApprovalState.UNKNOWN


def test_blocking_fake_waits_as_the_real_one_does() -> None:
    """The same script, without await."""
    guard = FakeSyncGuard(hold_timeout=60)
    guard.hold("pay", then="GRANTED", once=True)
    guard.hold("pay", then="REFUSED", once=True)

    with guard.call("pay", {"n": 1}) as permit:
        granted = permit.obligations.approval
    held = guard.authorize("pay", {"n": 2})
    with pytest.raises(Held) as raised:
        held.raise_for_effect()
    refused = raised.value.wait(timeout=60)
    status = guard.wait_approval(held, 60)

    assert granted.startswith("approvals/")
    assert refused.reason.code == "APPROVAL_REFUSED"
    assert status.state is ApprovalState.REFUSED
    assert guard.cancel_approval(held).state is ApprovalState.REFUSED
    guard.close()
    assert raised.value.wait().reason.code == "SHUTTING_DOWN"


def test_a_human_does_what_humans_can_do() -> None:
    """A script that makes no sense is refused."""
    for then in ("PENDING", "CONSUMED", "UNKNOWN", "ALLOW"):
        with pytest.raises(ValueError, match=then):
            FakeGuard().hold("pay", then=then)

# SPDX-License-Identifier: Apache-2.0
"""The fakes that users' tests are written with."""

from __future__ import annotations

import pytest

from sidecar.sdk import Effect, Guard, Result, SyncGuard
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

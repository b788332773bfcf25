# SPDX-License-Identifier: Apache-2.0
"""What a human's grant lifts in the pipeline: the hold of exactly one call, once, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sidecar.authorize.evaluator import Evaluator
from sidecar.authorize.question import Question
from sidecar.model import AgentId, Decision, Effect, Level, Reason, ReasonCode
from tests.support.rig import GateRig, TableResolver, codes_of

HELD_NETWORK = """
@id("held-dial") @hold("A new destination.")
permit (principal == Agent::"beta", action == Action::"net.get", resource)
when { context.args.url == "https://held.example/" };
"""


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[GateRig]:
    async with GateRig(tmp_path) as rig:
        yield rig


def question(text: str = "hello", **fields: str) -> Question:
    arguments = json.dumps({"text": text}).encode()
    return Question(AgentId("alpha"), "note.held", arguments, **fields)


async def granted(rig: GateRig, **changes: Any) -> Decision:
    """Hold a call, grant it, and ask again."""
    held = await rig.pipeline.authorize(question())
    assert held.effect is Effect.HOLD
    rig.desk.grant(rig.desk.asked[-1], **changes)
    return await rig.pipeline.authorize(question())


async def test_d04_a_grant_lifts_the_hold_of_its_call_once(rig: GateRig) -> None:
    """The identical call is allowed once; the one after it waits again."""
    allowed = await granted(rig)
    again = await rig.pipeline.authorize(question())

    assert codes_of(allowed) == "ALLOW APPROVAL_GRANTED"
    assert allowed.obligations.approval.startswith("approvals/apr_")
    assert codes_of(again) == "HOLD POLICY_HOLD"


async def test_a_hold_says_who_decides_and_until_when(rig: GateRig) -> None:
    """HOLD names the request, its deadline and its approvers, at once."""
    held = await rig.pipeline.authorize(question())

    assert held.obligations.approval == f"approvals/apr_{1:032x}"
    assert held.obligations.hold_approvers == ("bob",)
    assert held.obligations.hold_expire_time_ns == 2**60
    assert held.obligations.hold_quorum == 1


async def test_d18_the_desk_gets_the_bytes_that_were_hashed(rig: GateRig) -> None:
    """What a human will be shown hashes to the fingerprint of the decision."""
    held = await rig.pipeline.authorize(question("ünï\u202e", session="s-1", nonce="n"))

    asked = rig.desk.asked[-1]
    assert sha256(asked.canonical).hexdigest() == asked.fingerprint == held.fingerprint
    assert json.loads(asked.canonical)["arguments"] == {"text": "ünï\u202e"}


@pytest.mark.parametrize("field", ["fingerprint", "policy_digest", "epoch"])
async def test_d05_a_grant_for_anything_else_is_void(rig: GateRig, field: str) -> None:
    """A grant that is bound to another call, policy or epoch denies instead of lifting."""
    decision = await granted(rig, **{field: 10**6 if field == "epoch" else "0" * 64})

    assert codes_of(decision) == "DENY APPROVAL_BINDING"


async def test_d05_negative_control(rig: GateRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the comparison, a grant for another call would lift this one's hold."""
    original = Evaluator._apply_grant

    def careless(self: Evaluator, draft: Any, policy: Any) -> None:
        if draft.grant is not None and draft.call is not None:
            bound = {
                "fingerprint": draft.call.fingerprint,
                "policy_digest": policy.bundle.digest,
                "epoch": draft.world.epoch,
            }
            for name, value in bound.items():
                object.__setattr__(draft.grant, name, value)
        original(self, draft, policy)

    monkeypatch.setattr(Evaluator, "_apply_grant", careless)

    assert (await granted(rig, fingerprint="0" * 64)).effect is Effect.ALLOW


async def test_d07_a_kill_beats_a_grant(rig: GateRig) -> None:
    """Granted, then killed: the identical call is denied, and the grant is not even asked for."""
    await rig.pipeline.authorize(question())
    rig.desk.grant(rig.desk.asked[-1])
    rig.contain("alpha", Level.KILL)

    decision = await rig.pipeline.authorize(question())

    assert codes_of(decision) == "DENY KILLED"
    assert len(rig.desk.grants) == 1


async def test_d07_a_kill_while_the_grant_is_used_wins(rig: GateRig) -> None:
    """The kill lands between the use of the grant and the reply: the reply is a denial."""
    await rig.pipeline.authorize(question())
    rig.desk.grant(rig.desk.asked[-1])

    async def kill(_call: object) -> None:
        rig.contain("alpha", Level.KILL)

    rig.desk.before_answer = kill

    assert codes_of(await rig.pipeline.authorize(question())) == "DENY KILLED"


async def test_d08_a_policy_that_forbids_beats_a_grant(rig: GateRig) -> None:
    """Granted, then forbidden by policy: denied."""
    await rig.pipeline.authorize(question())
    rig.desk.grant(rig.desk.asked[-1])
    await rig.activate(
        extra_policies='@id("no") forbid (principal, action == Action::"note.held", resource);'
    )

    assert codes_of(await rig.pipeline.authorize(question())) == "DENY POLICY_DENY"


async def test_d08_negative_control(rig: GateRig) -> None:
    """Under the unchanged policy the same grant lifts the hold: it is the policy that beat it."""
    assert (await granted(rig)).effect is Effect.ALLOW


async def test_an_epoch_that_moves_while_the_grant_is_used_voids_it(rig: GateRig) -> None:
    """Something else is contained in between: the grant was for the world before."""
    await rig.pipeline.authorize(question())
    rig.desk.grant(rig.desk.asked[-1])

    async def move(_call: object) -> None:
        rig.contain("beta", Level.OBSERVE)

    rig.desk.before_answer = move

    assert codes_of(await rig.pipeline.authorize(question())) == "DENY APPROVAL_BINDING"


async def test_a_call_that_containment_holds_can_be_granted(rig: GateRig) -> None:
    """A directive at HOLD makes every call wait for a human, who can let one pass."""
    rig.contain("alpha", Level.HOLD)
    ask = Question(AgentId("alpha"), "note.read", b"{}")
    held = await rig.pipeline.authorize(ask)
    rig.desk.grant(rig.desk.asked[-1])

    allowed = await rig.pipeline.authorize(ask)

    assert codes_of(held) == "HOLD CONTAINMENT_HOLD"
    assert (rig.desk.asked[-1].tier, rig.desk.asked[-1].quorum) == ("MEDIUM", 1)
    assert codes_of(allowed) == "ALLOW APPROVAL_GRANTED"


async def test_one_grant_lifts_policy_and_containment_together(rig: GateRig) -> None:
    """Held by both, asked once."""
    rig.contain("alpha", Level.HOLD)

    decision = await granted(rig)

    assert codes_of(decision) == "ALLOW APPROVAL_GRANTED"


async def test_a_grant_does_not_lift_a_destination_rule(tmp_path: Path) -> None:
    """A granted call to a name that resolves to loopback is denied; addresses come with the grant."""
    resolver = TableResolver({"held.example": [("127.0.0.1",), ("93.184.215.14",)]})
    async with GateRig(tmp_path, resolver=resolver) as rig:
        await rig.activate(extra_policies=HELD_NETWORK)
        ask = Question(AgentId("beta"), "net.get", b'{"url":"https://held.example/"}')
        outcomes = []
        for _ in range(2):
            await rig.pipeline.authorize(ask)
            rig.desk.grant(rig.desk.asked[-1])
            outcomes.append(await rig.pipeline.authorize(ask))

    assert codes_of(outcomes[0]) == "DENY DESTINATION_ADDRESS"
    assert codes_of(outcomes[1]) == "ALLOW APPROVAL_GRANTED"
    assert outcomes[1].obligations.addresses == ("93.184.215.14",)
    assert len(resolver.asked) == 2  # nothing is looked up for a call that waits


async def test_the_desk_can_turn_a_call_away(rig: GateRig) -> None:
    """Nobody to ask is a denial that says so, not a hold without an end."""
    rig.desk.turned = Reason(ReasonCode.NO_APPROVER, "nobody may decide this")

    assert codes_of(await rig.pipeline.authorize(question())) == "DENY NO_APPROVER"


async def test_a_held_call_holds_up_no_other(rig: GateRig) -> None:
    """While the desk takes its time over one call, others are decided."""
    gate = asyncio.Event()

    async def wait(_call: object) -> None:
        await gate.wait()

    rig.desk.before_answer = wait
    waiting = asyncio.create_task(rig.pipeline.authorize(question()))

    others = [await rig.verdict() for _ in range(20)]
    is_waiting = not waiting.done()
    gate.set()

    assert set(others) == {"ALLOW POLICY_ALLOW"}
    assert is_waiting
    assert (await waiting).effect is Effect.HOLD


async def test_a_rehearsal_asks_nobody_and_uses_no_grant(rig: GateRig) -> None:
    """The replay that proves a containment must not use up what a human granted."""
    await rig.pipeline.authorize(question())
    rig.desk.grant(rig.desk.asked[-1])

    rehearsed = await rig.pipeline.rehearse(question())

    assert rehearsed.effect is Effect.HOLD
    assert len(rig.desk.grants) == 1


async def test_the_log_names_the_approval_of_a_hold_and_of_its_use(rig: GateRig) -> None:
    """One decision each, under the id the desk was told, with the approval beside it."""
    await granted(rig)
    await rig.audit.checkpoint()

    lines = [json.loads(line) for line in rig.log_lines() if b'"note.held"' in line]
    assert [entry["effect"] for entry in lines] == ["HOLD", "ALLOW"]
    assert all(entry["approval"].startswith("approvals/apr_") for entry in lines)
    assert lines[1]["decision_id"] == rig.desk.asked[1].decision_id

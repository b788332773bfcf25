# SPDX-License-Identifier: Apache-2.0
"""Showing, explaining and reloading the policy: all of a bundle comes into force, or nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sidecar.api.v1 import containment_pb2, guard_pb2, operation_pb2, policy_pb2, types_pb2
from tests.support.clients import AgentClient, refused
from tests.support.polling import eventually
from tests.support.testbed import Testbed

ALLOWED = "ALLOW POLICY_ALLOW"


@pytest.fixture
def own(make_bed: Callable[..., Testbed]) -> Testbed:
    """A host whose bundle this test changes."""
    return make_bed().begin(["alpha", "beta"])


async def _settled(agent: AgentClient, verdict: str, *tool: str) -> None:
    """Wait until the gate has built the new policy: until then it denies NOT_READY."""

    async def ready() -> bool:
        return await agent.verdict(*tool) != "DENY NOT_READY"

    await eventually(ready, 5)
    assert await agent.verdict(*tool) == verdict


async def test_policy_set_is_what_was_read(own: Testbed) -> None:
    """The bundle in force is shown with its digest, its files and its number of policies."""
    async with own.operator("carol") as carol, own.agent() as agent:
        answer = await carol.policy.GetPolicySet(policy_pb2.GetPolicySetRequest())
        decision = await agent.ask()

    shown = answer.policy_set
    assert shown.digest == decision.policy_digest
    assert shown.policy_count == 7
    assert shown.files["policies/all.cedar"] == (own.bundle / "policies/all.cedar").read_bytes()


async def test_explain_names_policies_projection_and_directives(own: Testbed) -> None:
    """An explanation says which policies were asked, what they can read, and what holds the call."""
    call = guard_pb2.ToolCall(tool="note.named", arguments=b'{"name":"good"}')
    bad = guard_pb2.ToolCall(tool="note.named", arguments=b'{"name":"bad"}')
    async with own.operator("carol") as carol, own.operator("alice") as alice:
        good_answer = await carol.policy.ExplainDecision(
            policy_pb2.ExplainDecisionRequest(agent="alpha", tool_call=call)
        )
        bad_answer = await carol.policy.ExplainDecision(
            policy_pb2.ExplainDecisionRequest(agent="alpha", tool_call=bad)
        )
        held = await alice.contain("alpha", "FREEZE")
        held_answer = await carol.policy.ExplainDecision(
            policy_pb2.ExplainDecisionRequest(agent="alpha", tool_call=call)
        )
        unknown = await refused(
            carol.policy.ExplainDecision(
                policy_pb2.ExplainDecisionRequest(agent="nobody", tool_call=call)
            )
        )

    assert good_answer.effect == types_pb2.EFFECT_ALLOW
    assert [(p.id, p.matched) for p in good_answer.policies] == [("named", True)]
    assert good_answer.policies[0].file == "policies/all.cedar"
    assert good_answer.policies[0].line > 0
    assert any("name" in part for part in good_answer.projection)
    assert bad_answer.effect == types_pb2.EFFECT_DENY
    assert [(p.id, p.matched) for p in bad_answer.policies] == [("named", False)]
    assert [d.epoch for d in held_answer.directives] == [held.receipt.directive.epoch]
    assert unknown.code.name == "NOT_FOUND"


async def test_unchanged_bundle_reloads_to_nothing(own: Testbed) -> None:
    """Reloading what is in force changes neither digest nor epoch."""
    async with own.operator("carol") as carol, own.operator("alice") as alice:
        before = await alice.epoch()
        answer = await carol.reload()
        after = await alice.epoch()

    assert not answer.changed
    assert before == after


async def test_c03_tightened_bundle_bites_at_the_next_call(own: Testbed) -> None:
    """A call that was allowed a moment ago, from the cache even, is not allowed after the reload."""
    async with own.operator("carol") as carol, own.agent() as agent:
        before = [await agent.ask("note.read") for _ in range(2)]
        own.write_bundle(unless='principal == Agent::"alpha"')
        answer = await carol.reload()
        first = await agent.verdict("note.read")
        await _settled(agent, "DENY NO_POLICY_ALLOWS", "note.read")
        own.write_bundle()
        again = await carol.reload()
        await _settled(agent, ALLOWED, "note.read")

    assert before[1].cached
    assert answer.changed
    assert first.startswith("DENY ")
    assert again.policy_set.digest == before[0].policy_digest
    assert again.policy_set.epoch > answer.policy_set.epoch > before[0].epoch


@pytest.mark.parametrize("is_careless", [False, True], ids=["", "negative_control"])
async def test_reload_interrupts_nobody(
    make_bed: Callable[..., Testbed], is_careless: bool
) -> None:
    """A gate has built the new policy before the latch names it: no call falls into a gap.

    Negative control: if control does not wait for that, calls are denied NOT_READY meanwhile.
    """
    bed = make_bed()
    bed.begin(["alpha"], control_breakages=["hasty-activation"] if is_careless else [])
    seen: set[str] = set()
    is_over = False

    async def call_on_and_on() -> None:
        async with bed.agent() as agent:
            while not is_over:
                seen.add(await agent.verdict())

    async with bed.operator("carol") as carol:
        callers = [asyncio.create_task(call_on_and_on()) for _ in range(4)]
        for number in range(6):
            bed.write_bundle(unless=f'resource.class == "none-{number}"')
            assert (await carol.reload()).changed
        is_over = True
        await asyncio.gather(*callers)

    assert seen == ({ALLOWED, "DENY NOT_READY"} if is_careless else {ALLOWED})


async def test_k02_invalid_bundle_changes_nothing(own: Testbed) -> None:
    """Not one part of a bad bundle comes into force: digest, epoch, operators and verdicts stay."""
    async with (
        own.operator("carol") as carol,
        own.operator("alice") as alice,
        own.agent() as agent,
    ):
        before = (await carol.policy.GetPolicySet(policy_pb2.GetPolicySetRequest())).policy_set
        epoch = await alice.epoch()
        # Good operators without alice, beside a policy that names an argument that is not there.
        own.write_bundle(
            without_operators=["alice"],
            extra_policies='@id("x") permit (principal, action == Action::"note.read", resource)'
            " when { context.args.tetx == 1 };",
        )
        error = await refused(carol.reload())
        after = (await carol.policy.GetPolicySet(policy_pb2.GetPolicySetRequest())).policy_set
        still = await alice.epoch()
        verdict = await agent.verdict()

    assert error.code.name == "INVALID_ARGUMENT"
    assert "all.cedar" in error.message
    assert before == after
    assert (epoch, verdict) == (still, ALLOWED)


async def test_k10_bundle_whose_own_tests_disagree_is_refused(own: Testbed) -> None:
    """A bundle is as good as its tests: one that fails keeps the old one in force."""
    (own.bundle / "tests").mkdir()
    cases = own.bundle / "tests" / "cases.yaml"
    case = "  - {name: reads, agent: alpha, tool: note.read, arguments: {}, expect: %s}\n"
    async with own.operator("carol") as carol, own.operator("alice") as alice:
        before = await alice.epoch()
        cases.write_text("version: 1\ntests:\n" + case % "DENY")
        error = await refused(carol.reload())
        unchanged = await alice.epoch()
        cases.write_text("version: 1\ntests:\n" + case % "ALLOW")
        answer = await carol.reload()

    assert error.reason == "INVALID_BUNDLE"
    assert before == unchanged
    assert answer.changed


async def test_validate_only_checks_and_changes_nothing(own: Testbed) -> None:
    """A good new bundle is reported as a change, with what it would wait for; nothing else happens."""
    async with own.operator("carol") as carol, own.agent() as agent:
        own.write_bundle(unless='principal == Agent::"alpha"')
        answer = await carol.ask_reload(validate_only=True)
        verdict = await agent.verdict()
        waiting = await carol.operations.ListOperations(operation_pb2.ListOperationsRequest())

    assert answer.changed
    assert answer.operation.state == types_pb2.Operation.STATE_PENDING_APPROVAL
    assert answer.operation.name == ""
    assert "permit read has changed" in answer.operation.detail
    assert list(waiting.operations) == []
    assert verdict == ALLOWED


async def test_removed_operator_loses_access_at_once(own: Testbed) -> None:
    """On a connection that stays open, the next RPC of an operator who was removed is refused."""
    async with own.operator("carol") as carol, own.operator("alice") as alice:
        await alice.directives()
        own.write_bundle(without_operators=["alice"])
        await carol.reload()
        error = await refused(alice.directives())
        kill = await refused(alice.contain("alpha"))

    assert (error.code.name, error.reason) == ("PERMISSION_DENIED", "PERMISSION_MISSING")
    assert kill.code.name == "PERMISSION_DENIED"


@pytest.mark.parametrize("removal", ["operator", "role"])
async def test_removed_operator_is_cut_off_from_a_running_stream(
    own: Testbed, removal: str
) -> None:
    """A watch that began with a role ends before it tells anything that came after its loss."""
    async with (
        own.operator("carol") as carol,
        own.operator("bob") as bob,
        own.operator("alice") as alice,
    ):
        await bob.contain("beta", "OBSERVE")
        watch = alice.containment.WatchDirectives(containment_pb2.WatchDirectivesRequest())
        first = await watch.read()
        if removal == "operator":
            own.write_bundle(without_operators=["alice"])
        else:
            own.write_bundle(roles={"alice": ["approve"]})
        await carol.reload()
        secret = await bob.contain("alpha", "OBSERVE", reason="not for alice any more")
        error = await refused(asyncio.wait_for(watch.read(), 5))

    assert first.directive.target.agent == "beta"
    assert secret.receipt.directive.epoch
    assert error.code.name == "PERMISSION_DENIED"


async def test_control_refuses_to_start_with_an_invalid_bundle(
    make_bed: Callable[..., Testbed],
) -> None:
    """A restart over a broken bundle ends at once; gates deny by themselves then."""
    own = make_bed(max_staleness_s=0.6).begin(["alpha"])
    assert own.control is not None
    own.control.kill()
    tools = own.bundle / "tools.yaml"
    tools.write_text(tools.read_text().replace("class: read", "class: raed", 1))
    broken = own.launch_control()
    code = await asyncio.to_thread(broken.wait)
    said = broken.tail()

    assert code == 2
    assert "tools.yaml:4: tools." in said
    assert "raed" in said
    async with own.agent() as agent:

        async def stale() -> bool:
            return await agent.verdict() == "DENY STALE"

        await eventually(stale, 8)

# SPDX-License-Identifier: Apache-2.0
"""E01–E03: one order is one directive, loosening takes a second human, a newer kill wins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import grpc
import pytest

from sidecar.api.v1 import types_pb2
from tests.support.clients import Refused, new_id, refused
from tests.support.testbed import Testbed

ALLOWED = "ALLOW POLICY_ALLOW"
KILLED = "DENY KILLED"


# -- E01 ------------------------------------------------------------------------------------------


async def test_e01_256_times_the_same_kill_at_once_is_one_directive(bed: Testbed) -> None:
    """All 256 get the same directive, one of them as its first; later retries get it too."""
    name, request_id = bed.fresh_agent(), new_id()
    async with (
        bed.operator("alice") as alice,
        bed.operator("bob") as bob,
        bed.operator("dora") as dora,
        bed.operator("soar") as soar,
    ):
        clients = (alice, bob, dora, soar)  # a connection carries at most 100 calls at a time
        before = await alice.epoch()
        answers = await asyncio.gather(
            *(
                client.contain(name, request_id=request_id, timeout_s=30)
                for client in clients
                for _ in range(64)
            )
        )
        later = await alice.contain(name, request_id=request_id)
        standing = await alice.directives(agent=name)
        after = await alice.epoch()

    epochs = {answer.receipt.directive.epoch for answer in answers}
    assert len(epochs) == 1
    assert sum(not answer.repeated_request for answer in answers) == 1
    assert later.repeated_request
    assert {later.receipt.directive.epoch} == epochs == {d.epoch for d in standing}
    # A KILL of one agent takes two epochs: its own and that of the tokens it revokes.
    assert after - before == 2


@pytest.mark.parametrize(
    "change",
    [{"level": "FREEZE"}, {"target": "alpha"}, {"reason": "another reason"}, {"ttl": True}],
)
async def test_e01_same_id_with_another_body_is_a_conflict(
    bed: Testbed, change: dict[str, object]
) -> None:
    """Whatever differs: nothing is ordered, and the first order stands as it was."""
    name, request_id = bed.fresh_agent(), new_id()
    second = {"target": name, "level": "KILL", **change}
    if "ttl" in second:
        second["ttl"] = timedelta(minutes=1)
    async with bed.operator("alice") as alice:
        first = await alice.contain(name, request_id=request_id)
        before = await alice.epoch()
        error = await refused(alice.contain(**second, request_id=request_id))  # type: ignore[arg-type]
        after = await alice.epoch()
        standing = await alice.directives(agent=name)

    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_CONFLICT")
    assert before == after
    assert [d.epoch for d in standing] == [first.receipt.directive.epoch]


async def test_e01_request_id_outlives_a_crash(make_bed: Callable[..., Testbed]) -> None:
    """A retry after SIGKILL and restart finds its directive, not a second one."""
    bed = make_bed().begin(["alpha"])
    request_id = new_id()
    async with bed.operator("alice") as alice:
        first = await alice.contain("alpha", request_id=request_id)
        assert bed.control is not None
        bed.control.kill()
        bed.restart_control()
    async with bed.operator("alice") as alice:
        again = await alice.contain("alpha", request_id=request_id)
        conflict = await refused(alice.contain("beta", request_id=request_id))

    assert again.repeated_request
    assert again.receipt.directive.epoch == first.receipt.directive.epoch
    assert conflict.code == grpc.StatusCode.ALREADY_EXISTS


async def test_e01_without_the_ledger_every_retry_is_an_order_negative_control(
    make_bed: Callable[..., Testbed],
) -> None:
    """With request ids forgotten, a playbook that retries stacks up directives."""
    bed = make_bed()
    bed.launch_control(breakages=["no-request-ids"])
    bed.wait_control()
    request_id = new_id()
    async with bed.operator("alice") as alice:
        answers = await asyncio.gather(
            *(alice.contain("alpha", request_id=request_id) for _ in range(8))
        )

    assert len({answer.receipt.directive.epoch for answer in answers}) == 8


# -- E02 ------------------------------------------------------------------------------------------

_AUTHORS = ("alice", "soar", "dora", "local")
# Who may ask for a release, whoever ordered the directive; everybody else may not even ask.
_MAY_ASK = {"alice", "alice.second", "bob", "dora", "only-release"}
_RELEASERS = (
    "alice",
    "alice.second",
    "bob",
    "dora",
    "only-release",
    "soar",
    "greedy-bot",
    "only-contain",
    "only-admin",
    "only-break-glass",
    "carol",
    "nobody",
    "local",
)


@pytest.mark.parametrize("author", _AUTHORS)
async def test_e02_release_takes_a_second_human(bed: Testbed, author: str) -> None:
    """Whoever asks, author or not: nobody releases alone, and not everybody may ask."""
    name = bed.fresh_agent()
    asked, reasons = set(), {}
    async with bed.agent(name) as agent, _caller(bed, author) as one:
        for releaser in _RELEASERS:
            epoch = (await one.contain(name)).receipt.directive.epoch
            async with _caller(bed, releaser) as two:
                try:
                    operation = (await two.ask_release(epoch)).operation
                    asked.add(releaser)
                except grpc.aio.AioRpcError as exc:
                    reasons[releaser] = (await refused(_raise(exc))).reason
                    async with bed.operator("only-release") as other:
                        operation = (await other.ask_release(epoch)).operation
                assert await agent.verdict() == KILLED
                await two.have_granted(operation)
                assert await agent.verdict() == ALLOWED

    assert asked == _MAY_ASK
    # Automation with the role may ask too; but it takes two humans then, and here is one approver.
    assert reasons.pop("greedy-bot") == "NO_APPROVER"
    assert set(reasons.values()) == {"PERMISSION_MISSING"}


@pytest.mark.parametrize("requester", sorted(_MAY_ASK))
async def test_e02_only_another_human_with_the_role_grants_a_release(
    bed: Testbed, requester: str
) -> None:
    """Not the requester, no alias, no other role, no automation, not root at the host."""
    name = bed.fresh_agent()
    codes = {}
    async with bed.agent(name) as agent, bed.operator(requester) as one:
        async with bed.operator("alice") as author:
            epoch = (await author.contain(name)).receipt.directive.epoch
        operation = (await one.ask_release(epoch)).operation
        for granter in (*_RELEASERS, "only-policy-approve", "only-audit-read"):
            async with _caller(bed, granter) as two:
                vote = two.decide(operation.approval, fingerprint=operation.fingerprint)
                codes[granter] = (await refused(vote)).code.name
            assert await agent.verdict() == KILLED
        ended = await one.have_granted(operation)
        free = await agent.verdict()

    assert set(codes.values()) <= {"PERMISSION_DENIED", "NOT_FOUND"}
    assert ended.state == types_pb2.Operation.STATE_DONE
    assert free == ALLOWED


async def test_e02_agent_has_no_way_to_release(bed: Testbed) -> None:
    """An agent reaches its own socket, and that has no such verb."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        await alice.contain(name)
        error = await refused(agent.raw("/sidecar.api.v1.ContainmentService/Release", b""))

        assert error.code == grpc.StatusCode.UNIMPLEMENTED
        assert await agent.verdict() == KILLED


async def test_e02_without_the_rule_one_hand_does_both_negative_control(
    make_bed: Callable[..., Testbed],
) -> None:
    """With the rule taken out, whoever killed also releases, and so does automation."""
    bed = make_bed()
    bed.launch_control(breakages=["one-hand-releases"])
    bed.wait_control()
    async with bed.operator("alice") as alice, bed.operator("greedy-bot") as bot:
        epoch = (await alice.contain("alpha")).receipt.directive.epoch
        await alice.ask_release(epoch)
        epoch = (await alice.contain("alpha")).receipt.directive.epoch
        await bot.ask_release(epoch)
        standing = await alice.directives(agent="alpha")

    assert not standing


def _caller(bed: Testbed, name: str):  # type: ignore[no-untyped-def]
    return bed.local() if name == "local" else bed.operator(name)


async def _raise(error: grpc.aio.AioRpcError) -> None:
    raise error


# -- E03 ------------------------------------------------------------------------------------------


async def test_e03_release_of_an_older_kill_leaves_the_newer(bed: Testbed) -> None:
    """Two kills on one agent: each needs its own release, by its own epoch."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.operator("bob") as bob, bed.agent(name) as agent:
        first = (await alice.contain(name)).receipt.directive.epoch
        second = (await alice.contain(name)).receipt.directive.epoch
        answer = await bob.release(first)
        held = await agent.verdict()
        again = await refused(bob.release(first))
        guessed = await refused(bob.release(10**9))
        await bob.release(second)
        free = await agent.verdict()

    assert [d.epoch for d in answer.remaining] == [second]
    assert held == KILLED
    assert (again.code.name, again.reason) == ("FAILED_PRECONDITION", "ALREADY_RELEASED")
    assert guessed.code == grpc.StatusCode.NOT_FOUND
    assert free == ALLOWED


async def test_e03_release_races_a_newer_kill_and_the_kill_wins(bed: Testbed) -> None:
    """However the two orders interleave, the newer kill stands and every call is denied."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.operator("bob") as bob, bed.agent(name) as agent:
        standing = (await alice.contain(name)).receipt.directive.epoch
        for _ in range(25):
            _, kill = await asyncio.gather(bob.release(standing), alice.contain(name))
            standing = kill.receipt.directive.epoch
            assert await agent.verdict() == KILLED
        held = await alice.directives(agent=name)

    assert [d.epoch for d in held] == [standing]


async def test_e03_many_releases_of_one_kill_at_once(bed: Testbed) -> None:
    """One of the granted releases happens; the others learn that it did."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.operator("bob") as bob:
        epoch = (await alice.contain(name)).receipt.directive.epoch
        before = await alice.epoch()
        asked = await asyncio.gather(*(bob.ask_release(epoch) for _ in range(32)))
        ended = await asyncio.gather(*(bob.have_granted(one.operation) for one in asked))
        late = await refused(bob.ask_release(epoch))
        after = await alice.epoch()
        directives = [d for d in await alice.directives(include_ended=True) if d.epoch == epoch]

    states = [operation.state for operation in ended]
    failed = {o.error_reason for o in ended if o.state == types_pb2.Operation.STATE_FAILED}
    assert states.count(types_pb2.Operation.STATE_DONE) == 1
    assert failed <= {"ALREADY_RELEASED"}
    assert late.reason == "ALREADY_RELEASED"
    assert after - before == 1
    assert [d.state for d in directives] == [types_pb2.Directive.STATE_RELEASED]


async def test_e03_release_by_target_would_lift_the_newer_kill_negative_control(
    make_bed: Callable[..., Testbed],
) -> None:
    """If a release named a target instead of a directive, the second kill would be gone."""
    bed = make_bed().begin(
        ["alpha"], control_breakages=["release-by-target"], gate_breakages=["release-by-target"]
    )
    async with bed.operator("alice") as alice, bed.operator("bob") as bob, bed.agent() as agent:
        first = (await alice.contain("alpha")).receipt.directive.epoch
        await alice.contain("alpha")
        await bob.release(first)
        verdict = await agent.verdict()

    assert verdict == ALLOWED


def test_refusals_carry_their_reason() -> None:
    """The helper that these tests rest on keeps code and reason apart."""
    error = Refused(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "x")

    assert (error.code.name, error.reason) == ("NOT_FOUND", "NOT_FOUND")

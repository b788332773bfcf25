# SPDX-License-Identifier: Apache-2.0
"""Control actions that wait for a second human, over the wire: asked, granted, carried out once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from hashlib import sha256

import grpc
import pytest

from sidecar.api.v1 import operation_pb2, types_pb2
from tests.support.bundles import ROLES
from tests.support.clients import ControlClient, new_id, refused
from tests.support.testbed import Testbed

ALLOWED = "ALLOW POLICY_ALLOW"
KILLED = "DENY KILLED"
Operation = types_pb2.Operation
ALL = types_pb2.Target(all=types_pb2.Target.All())


@pytest.fixture
def own(make_bed: Callable[..., Testbed]) -> Testbed:
    """A host of its own."""
    return make_bed().begin(["alpha"])


async def _operations(client: ControlClient, **fields: object) -> list[types_pb2.Operation]:
    answer = await client.operations.ListOperations(
        operation_pb2.ListOperationsRequest(page_size=1000, **fields)
    )
    return list(answer.operations)


async def test_e02_release_is_carried_out_when_a_second_human_grants_it(bed: Testbed) -> None:
    """Asking changes nothing; every answer with the request id tells how it stands."""
    name, request_id = bed.fresh_agent(), new_id()
    async with (
        bed.operator("alice") as alice,
        bed.operator("only-approve") as human,
        bed.agent(name) as agent,
    ):
        epoch = (await alice.contain(name)).receipt.directive.epoch
        asked = await alice.ask_release(epoch, request_id=request_id)
        held = await agent.verdict()
        shown = await human.approval(asked.operation.approval)
        waiting = asyncio.create_task(alice.operation(asked.operation.name, wait_s=10))
        await human.decide(asked.operation.approval)
        done = await waiting
        after = await agent.verdict()
        again = await alice.ask_release(epoch, request_id=request_id)

    assert asked.operation.state == Operation.STATE_PENDING_APPROVAL
    assert (asked.epoch, asked.HasField("directive")) == (0, False)
    assert list(asked.operation.approvers) == ["only-approve"]
    assert (shown.operation, shown.requester) == (asked.operation.name, "alice")
    assert sha256(shown.canonical).hexdigest() == asked.operation.fingerprint
    assert json.loads(shown.canonical)["body"]["directive"]["target"]["agent"] == name
    assert (held, after) == (KILLED, ALLOWED)
    assert done.state == Operation.STATE_DONE
    assert (done.directive.releaser, done.directive.state) == (
        "alice",
        types_pb2.Directive.STATE_RELEASED,
    )
    assert done.detail.startswith("granted by only-approve; ")
    assert (again.operation.name, again.epoch) == (done.name, done.epoch)
    assert again.directive == done.directive


async def test_e02_requester_cannot_grant_its_own_release(bed: Testbed) -> None:
    """A certificate with every role does not make two of one human."""
    name = bed.fresh_agent()
    async with (
        bed.operator("alice") as alice,
        bed.operator("alice.second") as alias,
        bed.operator("dora") as dora,
        bed.agent(name) as agent,
    ):
        epoch = (await alice.contain(name)).receipt.directive.epoch
        asked = await alice.ask_release(epoch)
        codes = [
            (await refused(one.decide(asked.operation.approval, fingerprint=shown))).code.name
            for one, shown in ((alice, asked.operation.fingerprint), (alias, "0" * 64), (dora, ""))
        ]
        verdict = await agent.verdict()

    assert set(codes) <= {"PERMISSION_DENIED", "NOT_FOUND"}
    assert verdict == KILLED


async def test_refused_release_says_who_refused_it(bed: Testbed) -> None:
    """The requester learns it, and may ask again with a fresh id."""
    name = bed.fresh_agent()
    async with (
        bed.operator("bob") as bob,
        bed.operator("only-approve") as human,
        bed.agent(name) as agent,
    ):
        epoch = (await bob.contain(name)).receipt.directive.epoch
        asked = await bob.ask_release(epoch)
        await human.decide(asked.operation.approval, "REFUSE")
        ended = await bob.operation(asked.operation.name, wait_s=5)
        verdict = await agent.verdict()
        fresh = await bob.release(epoch)

    assert ended.state == Operation.STATE_REFUSED
    assert "refused by only-approve" in ended.detail
    assert verdict == KILLED
    assert fresh.operation.state == Operation.STATE_DONE


async def test_e12_wide_containment_waits_and_its_receipt_comes_with_the_grant(
    own: Testbed,
) -> None:
    """SOAR asks to freeze everything: nothing happens until a human grants it."""
    request_id = new_id()
    async with (
        own.operator("soar") as soar,
        own.operator("bob") as bob,
        own.agent() as agent,
    ):
        preview = await soar.contain(ALL, "FREEZE", validate_only=True)
        asked = await soar.contain(ALL, "FREEZE", request_id=request_id)
        before = await agent.verdict()
        done = await soar.have_granted(asked.operation)
        after = await agent.verdict()
        again = await soar.contain(ALL, "FREEZE", request_id=request_id)
        other = await refused(soar.contain(ALL, "KILL", request_id=request_id))
        await bob.release(done.epoch)
        free = await agent.verdict()

    assert preview.operation.state == Operation.STATE_PENDING_APPROVAL
    assert (preview.operation.name, "alpha" in preview.agents) == ("", True)
    assert (before, after, free) == (ALLOWED, "DENY FROZEN", ALLOWED)
    assert done.receipt.contained
    assert done.receipt.directive.author == "soar"
    assert again.receipt.directive == done.receipt.directive
    assert again.repeated_request
    assert other.reason == "REQUEST_ID_CONFLICT"


async def test_break_glass_and_the_local_socket_wait_for_nobody(own: Testbed) -> None:
    """P2: everything is contained at once by break-glass, over TLS and over the host's own socket."""
    async with own.operator("dora") as dora, own.local() as local, own.agent() as agent:
        at_once = [await dora.contain(ALL, "FREEZE"), await local.contain(ALL, "KILL")]
        verdict = await agent.verdict()
        waiting = await _operations(local)

    assert [answer.receipt.directive.level for answer in at_once] == [
        types_pb2.LEVEL_FREEZE,
        types_pb2.LEVEL_KILL,
    ]
    assert not any(answer.HasField("operation") for answer in at_once)
    assert verdict == KILLED
    assert waiting == []


async def test_e02_local_socket_asks_for_no_release(own: Testbed) -> None:
    """Root at the host tightens; it does not so much as ask for a release."""
    async with own.operator("alice") as alice, own.local() as local:
        epoch = (await alice.contain("alpha")).receipt.directive.epoch
        error = await refused(local.ask_release(epoch))

    assert error.reason == "PERMISSION_MISSING"


async def test_loosened_policy_waits_and_tightened_policy_does_not(own: Testbed) -> None:
    """A permit more waits for a policy approver; a forbid more is in force when it is answered."""
    forbid = '@id("no") forbid (principal, action == Action::"note.peek", resource);\n'
    permit = '@id("yes") permit (principal, action == Action::"note.forbidden", resource);\n'
    async with (
        own.operator("only-policy-author") as author,
        own.operator("carol") as carol,
        own.agent() as agent,
    ):
        own.write_bundle(extra_policies=forbid)
        tightened = await author.ask_reload()
        peek = await agent.verdict("note.peek")
        own.write_bundle(extra_policies=forbid + permit)
        asked = await author.ask_reload()
        before = await agent.verdict("note.forbidden")
        own_grant = await refused(author.decide(asked.operation.approval))
        await carol.decide(asked.operation.approval)
        done = await author.operation(asked.operation.name, wait_s=10)
        after = await agent.verdict("note.forbidden")

    assert (tightened.changed, tightened.HasField("operation")) == (True, False)
    assert peek.startswith("DENY ")
    assert (asked.changed, asked.operation.state) == (False, Operation.STATE_PENDING_APPROVAL)
    assert asked.policy_set.digest == tightened.policy_set.digest
    assert sorted(asked.operation.approvers) == ["carol", "only-policy-approve"]
    assert before.startswith("DENY ")
    assert own_grant.code.name in ("PERMISSION_DENIED", "NOT_FOUND")
    assert done.state == Operation.STATE_DONE
    assert done.policy_digest != tightened.policy_set.digest
    assert after == ALLOWED


async def test_p11_what_waited_waits_on_and_what_was_done_is_told_after_a_crash(
    own: Testbed,
) -> None:
    """Control dies without a word: the pending one can be granted, the other keeps its answer."""
    first_id, second_id = new_id(), new_id()
    async with own.operator("alice") as alice:
        first = (await alice.contain("alpha")).receipt.directive.epoch
        second = (await alice.contain("alpha")).receipt.directive.epoch
        done = await alice.release(first, request_id=first_id)
        waiting = await alice.ask_release(second, request_id=second_id)
    assert own.control is not None
    own.control.kill()
    own.restart_control()
    async with own.operator("alice") as alice, own.agent() as agent:
        again = await alice.ask_release(first, request_id=first_id)
        same = await alice.ask_release(second, request_id=second_id)
        held = await agent.verdict()
        ended = await alice.have_granted(same.operation)
        free = await agent.verdict()

    assert (again.operation.name, again.epoch) == (done.operation.name, done.epoch)
    assert same.operation.name == waiting.operation.name
    assert held == KILLED
    assert ended.state == Operation.STATE_DONE
    assert free == ALLOWED


async def test_operations_are_listed_for_those_they_concern(own: Testbed) -> None:
    """The requester, the approvers and auditors see one; for the other roles there is none."""
    async with own.operator("bob") as bob:
        epoch = (await bob.contain("alpha")).receipt.directive.epoch
        name = (await bob.ask_release(epoch)).operation.name
    seen: dict[str, tuple[int, str]] = {}
    for role in ("contain", "release", "approve", "policy-author", "policy-approve", "audit-read"):
        assert role in ROLES
        async with own.operator(f"only-{role}") as one:
            try:
                found = (await one.operation(name)).name
            except grpc.aio.AioRpcError as exc:
                found = exc.code().name
            seen[role] = (len(await _operations(one, pending_only=True)), found)

    nothing = (0, "NOT_FOUND")
    assert seen == {
        "contain": nothing,
        "release": nothing,
        "approve": (1, name),
        "policy-author": nothing,
        "policy-approve": nothing,
        "audit-read": (1, name),
    }


async def test_wait_is_bounded_and_names_are_strict(own: Testbed) -> None:
    """No name but that of an operation names one; nobody waits longer than thirty seconds."""
    async with own.operator("alice") as alice:
        codes = [
            (await refused(alice.operation(name))).code.name
            for name in ("", "operations/", "operations/x", "approvals/apr_" + "0" * 32, "*")
        ]
        too_long = await refused(alice.operation("operations/apr_" + "0" * 32, wait_s=31))

    assert set(codes) == {"NOT_FOUND"}
    assert too_long.code.name == "INVALID_ARGUMENT"

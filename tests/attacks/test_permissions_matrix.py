# SPDX-License-Identifier: Apache-2.0
"""P10, I09, G16, E02: every method of the control plane against every role, from the descriptors.

The table is not written down here: the methods and their permissions come from the proto files, the
callers from a bundle with one operator per role. What a SOAR credential may do is written down, so
that a change of a proto option cannot widen it unnoticed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from sidecar.api.v1 import (
    agent_pb2,
    api_token_pb2,
    approval_pb2,
    audit_pb2,
    containment_pb2,
    operation_pb2,
    options_pb2,
    policy_pb2,
    token_pb2,
)
from tests.support.bundles import ROLES
from tests.support.clients import ControlClient, refused
from tests.support.testbed import Testbed

_MODULES = (
    agent_pb2,
    api_token_pb2,
    approval_pb2,
    audit_pb2,
    containment_pb2,
    operation_pb2,
    policy_pb2,
    token_pb2,
)
METHODS: list[MethodDescriptor] = [
    method
    for module in _MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
_LOOSENING = '@id("x") permit (principal, action == Action::"note.forbidden", resource);'
SOAR_MAY = {
    "Contain",
    "RevokeTokens",
    "ListDirectives",
    "GetReceipt",
    "WatchDirectives",
    "VerifyContainment",
    "ListRevocations",
    "GetCheckpoint",
    "ListAgents",
    "GetAgent",
    "ListTools",
    "GetOperation",
    "ListOperations",
    "RequestConfirmation",
    "ListApprovals",
    "GetApproval",
    "VerifyLogs",
}
SOAR_MAY_CHANGE = {"Contain", "RevokeTokens", "RequestConfirmation"}


def _permissions(method: MethodDescriptor) -> set[str]:
    return set(method.GetOptions().Extensions[options_pb2.permission])


def _mutates(method: MethodDescriptor) -> bool:
    return bool(method.GetOptions().Extensions[options_pb2.mutates])


async def _outcome(client: ControlClient, method: MethodDescriptor) -> str:
    """Return ``PERMISSION_MISSING`` or what else came of an empty request."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    request = GetMessageClass(method.input_type)()
    answer = GetMessageClass(method.output_type)
    kinds = {False: client.channel.unary_unary, True: client.channel.unary_stream}
    call: Any = kinds[method.server_streaming](
        path,
        request_serializer=type(request).SerializeToString,
        response_deserializer=answer.FromString,
    )(request, timeout=10)
    try:
        if method.server_streaming:
            await call.read()
            call.cancel()
        else:
            await call
    except grpc.aio.AioRpcError as exc:
        if exc.code() is grpc.StatusCode.PERMISSION_DENIED:
            return (await refused(_again(exc))).reason
        return str(exc.code().name)
    return "OK"


async def _again(error: grpc.aio.AioRpcError) -> None:
    raise error


@pytest.fixture(scope="module")
def held(bed: Testbed) -> Testbed:
    """The host with a directive standing and requests waiting: each watch has something to tell."""

    async def order() -> None:
        async with (
            bed.local() as local,
            bed.operator("only-release") as releaser,
            bed.operator("only-policy-author") as author,
        ):
            epoch = (await local.contain(bed.fresh_agent(), "OBSERVE")).receipt.directive.epoch
            await releaser.ask_release(epoch)
            bed.write_bundle(extra_policies=_LOOSENING)
            await author.ask_reload()

    asyncio.run(order())
    return bed


def test_every_control_method_declares_who_may_call_it() -> None:
    """A method without the option would be closed; one that changes state takes a request id."""
    for method in METHODS:
        assert _permissions(method), method.full_name
        assert _permissions(method) <= set(ROLES), method.full_name
        if _mutates(method):
            assert "request_id" in method.input_type.fields_by_name, method.full_name


@pytest.mark.parametrize("role", ROLES)
async def test_i09_p10_every_method_against_every_role(held: Testbed, role: str) -> None:
    """A role opens exactly the methods that name it."""
    async with held.operator(f"only-{role}") as client:
        outcomes = await asyncio.gather(*(_outcome(client, method) for method in METHODS))

    opened = {
        method.name
        for method, outcome in zip(METHODS, outcomes, strict=True)
        if outcome != "PERMISSION_MISSING"
    }
    assert opened == {method.name for method in METHODS if role in _permissions(method)}


async def test_i09_operator_without_roles_may_do_nothing(held: Testbed) -> None:
    """Being known is no permission."""
    async with held.operator("nobody") as client:
        outcomes = await asyncio.gather(*(_outcome(client, method) for method in METHODS))

    assert set(outcomes) == {"PERMISSION_MISSING"}


async def test_i09_local_socket_tightens_and_reads_and_never_loosens(held: Testbed) -> None:
    """Break-glass at the host: contain, revoke, read, reload; no release, no approval."""
    async with held.local() as client:
        outcomes = await asyncio.gather(*(_outcome(client, method) for method in METHODS))

    closed = {
        method.name
        for method, outcome in zip(METHODS, outcomes, strict=True)
        if outcome == "PERMISSION_MISSING"
    }
    assert closed == {"Release", "DecideApproval"}


async def test_i09_compromised_soar_credential(held: Testbed) -> None:
    """It may contain and revoke; it may not release, approve, change policy or read arguments."""
    async with held.operator("soar") as soar:
        outcomes = await asyncio.gather(*(_outcome(soar, method) for method in METHODS))
        epoch = (await soar.contain(held.fresh_agent())).receipt.directive.epoch
        revoked = await soar.revoke(agent=held.fresh_agent())
        release = await refused(soar.release(epoch))
        wide = await refused(soar.contain(containment_pb2.ContainRequest().target))

    opened = {
        method.name
        for method, outcome in zip(METHODS, outcomes, strict=True)
        if outcome != "PERMISSION_MISSING"
    }
    assert opened == SOAR_MAY
    assert {m.name for m in METHODS if _mutates(m)} & SOAR_MAY == SOAR_MAY_CHANGE
    assert revoked.revocation.epoch > epoch
    assert release.reason == "PERMISSION_MISSING"
    assert wide.reason == "INVALID_ARGUMENT"


async def test_i09_without_the_interceptor_soar_reads_everything_negative_control(
    make_bed: Callable[..., Testbed],
) -> None:
    """Reading asks nobody but the interceptor; what lets a policy in asks once more by itself."""
    bed = make_bed()
    bed.launch_control(breakages=["no-permissions"])
    bed.wait_control()
    async with bed.operator("soar") as soar:
        entries = await soar.audit.ListEntries(audit_pb2.ListEntriesRequest())
        policy = await soar.policy.GetPolicySet(policy_pb2.GetPolicySetRequest())
        reloaded = await refused(soar.ask_reload())

    assert entries.entries
    assert policy.policy_set.digest
    assert reloaded.reason == "PERMISSION_MISSING"


async def test_g16_refusals_are_recorded_with_who_and_what(held: Testbed) -> None:
    """Whoever tried something is in the log, also when nothing came of it."""
    async with held.operator("only-approve") as intruder, held.operator("alice") as alice:
        await refused(intruder.audit.ListEntries(audit_pb2.ListEntriesRequest()))
        answer = await alice.audit.ListEntries(
            audit_pb2.ListEntriesRequest(kind="refused", page_size=1000)
        )

    recorded = [json.loads(entry.json) for entry in answer.entries]
    assert {
        "method": "/sidecar.api.v1.AuditService/ListEntries",
        "operator": "only-approve",
        "reason": "PERMISSION_MISSING",
    } in [{key: entry.get(key) for key in ("method", "operator", "reason")} for entry in recorded]

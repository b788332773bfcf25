# SPDX-License-Identifier: Apache-2.0
"""P6, P9: what is malformed is refused by name, and no request to control ends as an internal error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from sidecar.api.v1 import (
    agent_pb2,
    audit_pb2,
    containment_pb2,
    guard_pb2,
    policy_pb2,
    token_pb2,
    types_pb2,
)
from tests.support.clients import ControlClient, new_id
from tests.support.testbed import Testbed

MAX = 2**64 - 1
HOSTILE_TEXT = [
    "",
    "\0",
    "a\0b",
    "\u202e",
    "'; drop table directives; --",
    "../../etc/passwd",
    "x" * 100_000,
    "*",
    "%s%n",
    "🔥" * 100,
]
EXPECTED = {
    "OK",
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "FAILED_PRECONDITION",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
}
_PATHS = {
    method.input_type.full_name: f"/{service.full_name}/{method.name}"
    for module in (agent_pb2, audit_pb2, containment_pb2, policy_pb2, token_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}

Contain = containment_pb2.ContainRequest
Release = containment_pb2.ReleaseRequest
Receipt = containment_pb2.GetReceiptRequest
Verify = containment_pb2.VerifyContainmentRequest
Revoke = token_pb2.RevokeTokensRequest
Entries = audit_pb2.ListEntriesRequest
Inclusion = audit_pb2.GetInclusionProofRequest
Consistency = audit_pb2.GetConsistencyProofRequest
Explain = policy_pb2.ExplainDecisionRequest


async def _status(client: ControlClient, request: Message) -> str:
    """Return how *request* ends: a status, with its message if it is not one of those expected."""
    call = client.channel.unary_unary(_PATHS[request.DESCRIPTOR.full_name])
    try:
        await call(request.SerializeToString(), timeout=10)
    except grpc.aio.AioRpcError as exc:
        name = exc.code().name
        return name if name in EXPECTED else f"{name}: {exc.details()}"
    return "OK"


async def _unexpected(client: ControlClient, requests: Iterator[Message]) -> dict[str, str]:
    outcomes = [(repr(request)[:200], await _status(client, request)) for request in requests]
    return {request: outcome for request, outcome in outcomes if outcome not in EXPECTED}


def _contain(**changes: Any) -> Message:
    fields: dict[str, Any] = {
        "request_id": new_id(),
        "target": types_pb2.Target(agent="hostile-target"),
        "level": types_pb2.LEVEL_OBSERVE,
        "reason": "hostile",
    }
    return Contain(**{**fields, **changes})


def _revoke(**changes: Any) -> Message:
    fields: dict[str, Any] = {"request_id": new_id(), "agent": "hostile-target", "reason": "x"}
    return Revoke(**{**fields, **changes})


def _numbers() -> Iterator[Message]:
    sizes = (0, 1, 2**63 - 1, 2**63, MAX)
    for number in sizes:
        yield Receipt(epoch=number)
        yield Release(request_id=new_id(), epoch=number, reason="x")
        for other in sizes:
            yield Inclusion(index=number, tree_size=other)
            yield Consistency(first_tree_size=number, second_tree_size=other)
    for seconds in (-1, 0, 1, 2**62, -(2**62)):
        yield _contain(ttl=Duration(seconds=seconds))
        yield _revoke(issued_before=Timestamp(seconds=seconds))
        yield Entries(since=Timestamp(seconds=seconds), until=Timestamp(seconds=seconds))
    for nanos in (-1, 2**31 - 1, -(2**31)):
        yield _contain(ttl=Duration(seconds=1, nanos=nanos))
        yield _revoke(issued_before=Timestamp(nanos=nanos))
        yield Entries(since=Timestamp(nanos=nanos), until=Timestamp(nanos=nanos))
    for small in (-(2**31), -1, 0, 7, 1001, 2**31 - 1):
        yield _contain(throttle_calls_per_minute=small)
        yield _contain(level=small)
        yield Verify(agent="alpha", max_calls=small)


def _pages() -> Iterator[Message]:
    kinds: tuple[Callable[..., Message], ...] = (
        containment_pb2.ListDirectivesRequest,
        token_pb2.ListRevocationsRequest,
        agent_pb2.ListAgentsRequest,
        agent_pb2.ListToolsRequest,
        Entries,
    )
    for kind in kinds:
        for size in (-1, 1001, 2**31 - 1):
            yield kind(page_size=size)
        for token in ("9" * 17, "9" * 400, "-1", "٣", "\0"):
            yield kind(page_token=token)


def _shapes() -> Iterator[Message]:
    yield Contain()
    yield Contain(request_id=new_id())
    yield _contain(target={"labels": {}})
    yield _contain(target={"labels": {"labels": {f"k{number}": "v" for number in range(1000)}}})
    yield _contain(target={"session": {}})
    yield _contain(target={"tool_at_agent": {"agent": "a"}})
    bad = (b"", b"[]", b"null", b"{", b'{"name":1e999}', b'{"name":"\xff"}', b"[" * 60_000)
    for arguments in bad:
        call = guard_pb2.ToolCall(tool="note.named", arguments=arguments)
        yield Explain(agent="alpha", tool_call=call)


def _texts(text: str) -> Iterator[Message]:
    yield _contain(request_id=text)
    yield _contain(reason=text)
    for kind in ("agent", "tool", "destination", "principal"):
        yield _contain(target={kind: text})
    yield _contain(target={"session": {"agent": "a", "session": text}})
    yield _contain(target={"labels": {"labels": {text: text}}})
    yield containment_pb2.ListDirectivesRequest(agent=text)
    yield Verify(agent=text)
    for selector in ("jti", "agent", "session", "issuer"):
        yield _revoke(**{selector: text})
    for field in ("log", "kind", "effect", "decision_id", "agent", "tool"):
        yield Entries(**{field: text})
    yield audit_pb2.GetCheckpointRequest(log=text)
    yield agent_pb2.GetAgentRequest(agent=text)
    yield Explain(agent="alpha", tool_call={"tool": text, "session_id": text, "url": text})
    yield Explain(agent=text, tool_call={"tool": "note.read", "arguments": b"{}"})
    yield policy_pb2.ReloadPolicySetRequest(request_id=text, validate_only=True)


@pytest.mark.parametrize("requests", [_numbers, _pages, _shapes])
async def test_values_out_of_bounds_are_refused_by_name(
    bed: Testbed, requests: Callable[[], Iterator[Message]]
) -> None:
    """Epochs, sizes, times, spans, levels, pages, shapes: at every limit and beyond."""
    async with bed.local() as client:
        assert await _unexpected(client, requests()) == {}
        assert await client.epoch() > 0


@pytest.mark.parametrize("text", HOSTILE_TEXT, ids=lambda text: repr(text)[:24])
async def test_hostile_text_in_every_field_is_refused_or_kept_as_text(
    bed: Testbed, text: str
) -> None:
    """In names, reasons, selectors and filters; control serves on."""
    async with bed.local() as client:
        assert await _unexpected(client, _texts(text)) == {}
        assert await client.epoch() > 0


async def test_unexpected_failure_tells_the_caller_nothing(
    make_bed: Callable[..., Testbed],
) -> None:
    """An error of ours is logged; its words, which may hold anything, are not sent."""
    bed = make_bed()
    bed.launch_control(breakages=["failing-inventory"])
    bed.wait_control()
    async with bed.operator("alice") as alice:
        outcome = await _status(alice, agent_pb2.ListAgentsRequest())
        still = await alice.epoch()
    assert bed.control is not None
    logged = [event for event in bed.control.logged() if "call failed" in event["event"]]

    assert outcome.startswith("INTERNAL: ")
    assert "hunter2" not in outcome
    assert len(logged) == 1
    assert still > 0


async def test_gate_survives_hostile_calls(bed: Testbed) -> None:
    """Every field of a call filled with every text: a decision each time, never an RPC error."""
    async with bed.agent() as agent:
        for text in HOSTILE_TEXT:
            for field in ("url", "cwd", "environment_digest", "nonce"):
                assert (await agent.ask("note.read", **{field: text})).reasons, (field, text)
            assert (await agent.ask(text)).reasons
            assert (await agent.ask("note.read", session=text)).reasons
            assert (await agent.ask("vault.read", token=text)).reasons

        assert await agent.verdict() == "ALLOW POLICY_ALLOW"

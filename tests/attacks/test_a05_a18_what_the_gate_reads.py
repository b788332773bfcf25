# SPDX-License-Identifier: Apache-2.0
"""A05, A06, A15, A16, A18 on the real server: no second reading of a request is ever acted on."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from sidecar.api.v1 import containment_pb2, guard_pb2, types_pb2
from sidecar.audit.reader import read_entries
from tests.support.clients import codes, effect, new_id, refused
from tests.support.testbed import Testbed
from tests.support.wire import field, grpc_message, raw_call, varint

AUTHORIZE = "/sidecar.api.v1.GuardService/Authorize"
GOOD = guard_pb2.AuthorizeRequest(
    tool_call=guard_pb2.ToolCall(tool="note.read", arguments=b"{}")
).SerializeToString()
CALL = field(1, "note.read") + field(2, "{}")
WRITE = field(1, "note.write") + field(2, "{}")
TOOL, ARGUMENTS, SESSION, TOKEN = 1, 2, 3, 2

# -- A05 ------------------------------------------------------------------------------------------

_DOUBLE = {
    "call twice": field(1, CALL) + field(1, WRITE),
    "tool twice": field(
        1, field(TOOL, "note.forbidden") + field(TOOL, "note.read") + b"\x12\x02{}"
    ),
    "arguments twice": field(1, CALL + field(ARGUMENTS, '{"text":"x"}')),
    "session twice": field(1, CALL + field(SESSION, "s-1") + field(SESSION, "s-2")),
    "token twice": field(1, CALL) + field(TOKEN, "a") + field(TOKEN, "b"),
}
_PADDED = {
    "unknown field": field(1, CALL) + field(99, "x"),
    "unknown field inside": field(1, CALL + field(99, "x")),
    "unknown number": field(1, CALL) + varint(50 << 3) + varint(1),
    "default written out": field(1, CALL + field(SESSION, "")),
    "length padded": field(1, field(TOOL, "note.read", padding=1) + field(ARGUMENTS, "{}")),
    "tag padded": b"\x8a\x00" + varint(len(CALL)) + CALL,
    "group": field(1, CALL) + b"\x9b\x06\x9c\x06",
}
_BROKEN = {
    "truncated": GOOD[:-1],
    "trailing byte": GOOD + b"\x0a",
    "no protobuf": b"\xff" * 20,
    "json": b'{"toolCall":{"tool":"note.read"}}',
    "bad utf-8": field(1, field(TOOL, b"note\xff.read") + field(ARGUMENTS, "{}")),
    "wrong wire type": varint(1 << 3) + varint(5),
}


@pytest.mark.parametrize("name", [*_DOUBLE, *_PADDED, *_BROKEN])
async def test_a05_bytes_that_another_reader_could_read_otherwise_are_denied(
    bed: Testbed, name: str
) -> None:
    """Twice the same field, unknown fields, padding, other bytes: DENY(MALFORMED), on record."""
    data = {**_DOUBLE, **_PADDED, **_BROKEN}[name]
    async with bed.agent() as agent:
        decision = await agent.authorize_bytes(data)
        good = await agent.authorize_bytes(GOOD)

    assert (effect(decision), codes(decision)) == ("DENY", ["MALFORMED"])
    assert decision.fingerprint == ""
    assert effect(good) == "ALLOW"


async def test_a05_empty_request_is_a_call_of_no_tool(bed: Testbed) -> None:
    """No bytes are the exact form of an empty message, and that names no tool."""
    async with bed.agent() as agent:
        decision = await agent.authorize_bytes(b"")

    assert (effect(decision), codes(decision)) == ("DENY", ["TOOL_NAME"])


async def test_a05_malformed_batch_ends_the_stream(bed: Testbed) -> None:
    """Which questions it held cannot be told, so none is answered; the others' streams go on."""
    async with bed.agent() as agent:
        method = "/sidecar.api.v1.GuardService/AuthorizeStream"
        stream = agent.channel.stream_stream(method)()
        await stream.write(field(1, b"\x08\x01" + field(2, _DOUBLE["tool twice"])))
        error = await refused(stream.read())
        verdict = await agent.verdict()

    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert verdict == "ALLOW POLICY_ALLOW"


async def test_a05_lenient_parser_acts_on_one_reading_negative_control(
    make_bed: Callable[..., Testbed],
) -> None:
    """With the exactness check out, the last of two tools is decided and the call allowed."""
    bed = make_bed()
    bed.begin(["alpha"], gate_breakages=["lenient-protobuf"])
    async with bed.agent() as agent:
        for name in ("tool twice", "call twice", "unknown field"):
            assert (
                effect(await agent.authorize_bytes(_DOUBLE.get(name) or _PADDED[name])) == "ALLOW"
            )


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(
            field(7, field(1, field(1, "team") + field(2, "x")) * 2), id="label key twice, same"
        ),
        pytest.param(
            field(
                7,
                field(1, field(1, "team") + field(2, "x"))
                + field(1, field(1, "team") + field(2, "y")),
            ),
            id="label key twice, different",
        ),
        pytest.param(field(1, "gamma") + field(8, ""), id="agent and all"),
        pytest.param(field(1, "gamma") + field(1, "delta"), id="agent twice"),
        pytest.param(field(1, "gamma") + field(77, "x"), id="unknown field"),
    ],
)
async def test_a05_order_to_contain_is_read_exactly_too(bed: Testbed, target: bytes) -> None:
    """An order that two parsers could read differently is refused, and nothing is contained."""
    request = (
        field(1, new_id())
        + field(2, target)
        + varint(3 << 3)
        + varint(types_pb2.LEVEL_KILL)
        + field(4, "because")
    )
    async with bed.operator("dora") as dora:
        before = await dora.epoch()
        call = dora.channel.unary_unary("/sidecar.api.v1.ContainmentService/Contain")
        error = await refused(call(request, timeout=5))
        after = await dora.epoch()

    assert (error.code.name, error.reason) == ("INVALID_ARGUMENT", "MALFORMED")
    assert before == after


async def test_a05_order_in_exact_bytes_is_carried_out_negative_control(bed: Testbed) -> None:
    """The same bytes with one target are an order: the ones above are refused for what they add."""
    name = bed.fresh_agent()
    request = (
        field(1, new_id())
        + field(2, field(1, name))
        + varint(3 << 3)
        + varint(types_pb2.LEVEL_OBSERVE)
        + field(4, "because")
    )
    async with bed.operator("dora") as dora:
        call = dora.channel.unary_unary("/sidecar.api.v1.ContainmentService/Contain")
        answer = containment_pb2.ContainResponse.FromString(await call(request, timeout=5))

    assert answer.receipt.directive.target.agent == name


# -- A06 ------------------------------------------------------------------------------------------

_NAMES = {
    "upper case": "Note.read",
    "all upper": "NOTE.READ",
    "trailing space": "note.read ",
    "leading space": " note.read",
    "trailing tab": "note.read\t",
    "trailing newline": "note.read\n",
    "carriage return": "note.read\r\n",
    "full width": "ｎｏｔｅ.read",
    "full stop": "note．read",
    "zero width": "note.\u200bread",
    "soft hyphen": "note.\u00adread",
    "byte order mark": "\ufeffnote.read",
}
_LOOK_ALIKES = {
    "cyrillic": "nоte.read",
    "nul suffix": "note.read\0",
    "decomposed": "note.réad",
    "trailing dot": "note.read.",
    "double dot": "note..read",
    "slash": "note/read",
    "backslash": "note\\read",
    "percent": "note%2eread",
    "path": "../note.read",
    "empty": "",
    "too long": "n" * 129,
}


def _normalised(name: str) -> str:
    """What a helpful library makes of a name."""
    text = unicodedata.normalize("NFKC", name).casefold().strip()
    return "".join(c for c in text if unicodedata.category(c) not in {"Cf", "Cc"})


@pytest.mark.parametrize("name", [*_NAMES, *_LOOK_ALIKES])
async def test_a06_only_the_name_in_the_registry_is_that_tool(bed: Testbed, name: str) -> None:
    """Rejected as it came: never trimmed, folded or brought into another form first."""
    spelling = {**_NAMES, **_LOOK_ALIKES}[name]
    async with bed.agent() as agent:
        verdict = await agent.verdict(spelling)

    is_well_formed = name in {"trailing dot", "double dot", "slash"}
    assert verdict == ("DENY UNKNOWN_TOOL" if is_well_formed else "DENY TOOL_NAME")


async def test_a06_normalising_would_let_them_in_negative_control(bed: Testbed) -> None:
    """What is wrong with the first dozen is gone once somebody normalises before asking."""
    async with bed.agent() as agent:
        for name in _NAMES.values():
            assert await agent.verdict(_normalised(name)) == "ALLOW POLICY_ALLOW", name


# -- A15, A16 -------------------------------------------------------------------------------------


def _arguments(size: int) -> bytes:
    """Return a JSON object of exactly *size* bytes, of strings below the limit for one string."""
    empty = json.dumps({"text": ""}).encode()
    return b'{"text":"' + b"x" * (size - len(empty) + 1) + b'"}'


async def test_a15_arguments_at_the_limit_pass_and_one_byte_more_is_denied(bed: Testbed) -> None:
    """64 KiB is the limit: never cut, never treated as a call without arguments."""
    limit = 64 * 1024
    async with bed.agent() as agent:
        at = await agent.ask("note.read", _arguments(limit))
        over = await agent.ask("note.read", _arguments(limit + 1))
        far_over = await agent.ask("note.read", _arguments(limit * 16))

    assert effect(at) == "ALLOW"
    assert (effect(over), codes(over)) == ("DENY", ["TOO_LARGE"])
    assert (effect(far_over), codes(far_over)) == ("DENY", ["TOO_LARGE"])


async def test_a15_message_above_the_transports_limit_is_refused_whole(bed: Testbed) -> None:
    """Beyond 4 MiB nothing is parsed; the connection's other calls go on."""
    async with bed.agent() as agent:
        error = await refused(agent.ask("note.read", _arguments(5 * 1024 * 1024)))
        verdict = await agent.verdict()

    assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert verdict == "ALLOW POLICY_ALLOW"


async def test_a15_batch_above_its_limit_is_refused_whole(bed: Testbed) -> None:
    """1,024 questions to a message; one more, and none of them is answered."""
    item = guard_pb2.AuthorizeStreamRequest.Item
    request = guard_pb2.AuthorizeRequest.FromString(GOOD)
    async with bed.agent() as agent:
        counts = {}
        for size in (1024, 1025):
            stream = agent.guard.AuthorizeStream()
            message = guard_pb2.AuthorizeStreamRequest(
                items=[item(id=n, request=request) for n in range(size)]
            )
            await stream.write(message)
            answered, ended = 0, "whole"
            try:
                while answered < size:
                    answered += len((await asyncio.wait_for(stream.read(), 10)).items)
            except grpc.aio.AioRpcError as exc:
                ended = exc.code().name
            stream.cancel()
            counts[size] = (answered, ended)

    assert counts == {1024: (1024, "whole"), 1025: (0, "INVALID_ARGUMENT")}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (b"{}", "MISSING_ARGUMENT"),
        (b"", "MALFORMED"),
        (b"null", "MALFORMED"),
        (b"[]", "MALFORMED"),
        (b'{"nam":"good"}', "SCHEMA"),
        (b'{"name":null}', "SCHEMA"),
        (b'{"name":["good"]}', "SCHEMA"),
        (b'{"name":"good","name":"good"}', "MALFORMED"),
    ],
)
async def test_a16_absent_argument_is_never_a_match(
    bed: Testbed, arguments: bytes, code: str
) -> None:
    """A rule over an argument is not skipped because the argument is not there."""
    async with bed.agent() as agent:
        decision = await agent.ask("note.named", arguments)
        good = await agent.verdict("note.named", {"name": "good"})
        other = await agent.verdict("note.named", {"name": "bad"})

    assert effect(decision) == "DENY"
    assert codes(decision)[0] in {code, "MISSING_ARGUMENT"}
    assert (good, other) == ("ALLOW POLICY_ALLOW", "DENY NO_POLICY_ALLOWS")


# -- A18 ------------------------------------------------------------------------------------------

_PATHS = [
    "sidecar.api.v1.GuardService/Authorize",
    "//sidecar.api.v1.GuardService/Authorize",
    "/sidecar.api.v1.GuardService//Authorize",
    "/sidecar.api.v1.GuardService/Authorize/",
    "/sidecar.api.v1.GuardService/Authorize?x=1",
    "/sidecar.api.v1.GuardService/Authorize#x",
    "/sidecar.api.v1.GuardService/authorize",
    "/SIDECAR.API.V1.GUARDSERVICE/AUTHORIZE",
    "/sidecar.api.v1.guardservice/Authorize",
    "/./sidecar.api.v1.GuardService/Authorize",
    "/sidecar.api.v1.GuardService/../sidecar.api.v1.GuardService/Authorize",
    "/sidecar.api.v1.GuardService%2fAuthorize",
    "/sidecar.api.v1.GuardService/Authorize%00",
    "/sidecar.api.v1.GuardService/Authorize ",
    "/GuardService/Authorize",
    "/Authorize",
    "/",
    "*",
]


@pytest.mark.parametrize("path", _PATHS)
async def test_a18_path_that_is_not_exactly_a_methods_reaches_no_handler(
    bed: Testbed, path: str
) -> None:
    """What is authorised is the handler that was found, and these paths have none."""
    answer = await raw_call(bed.layout.agent_socket("alpha"), path, grpc_message(GOOD))

    assert answer.grpc_status == "12" or answer.is_reset or answer.headers.get(":status") != "200"
    assert not answer.body


async def test_a18_the_exact_path_reaches_the_handler_negative_control(bed: Testbed) -> None:
    """The same bytes over the same hand-made connection, with the right path, are decided."""
    answer = await raw_call(bed.layout.agent_socket("alpha"), AUTHORIZE, grpc_message(GOOD))
    decision = guard_pb2.AuthorizeResponse.FromString(answer.body[5:]).decision

    assert answer.grpc_status == "0"
    assert effect(decision) == "ALLOW"


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "GET"},
        # What a page in a browser can send: it cannot set ``te``.
        {"headers": (("content-type", "text/plain"),)},
        {"headers": (("content-type", "application/grpc"),)},
    ],
)
async def test_a18_what_is_no_grpc_call_is_not_decided(
    bed: Testbed, changes: dict[str, Any]
) -> None:
    """Another HTTP method, or a request that a web page could make, is no way in."""
    answer = await raw_call(
        bed.layout.agent_socket("alpha"), AUTHORIZE, grpc_message(GOOD), **changes
    )

    assert answer.grpc_status != "0"
    assert not answer.body


async def test_every_denial_above_is_in_the_log(bed: Testbed) -> None:
    """What could not even be read is recorded all the same, one canonical line each."""
    async with bed.agent("zeta") as agent:
        asked = [
            await agent.authorize_bytes(_DOUBLE["tool twice"]),
            await agent.ask("Note.Read"),
            await agent.ask("note.read", b'{"a":1,"a":2}'),
        ]
    async with bed.operator("alice") as alice:
        from sidecar.api.v1 import audit_pb2

        await alice.audit.ListEntries(audit_pb2.ListEntriesRequest(log="gate"))
    wanted = {decision.decision_id for decision in asked}
    entries = read_entries(bed.layout.gate_audit("gate"), 0, 100_000, is_unsigned_included=True)
    found = [entry.fields() for entry in entries if entry.fields().get("decision_id") in wanted]

    assert {entry["decision_id"] for entry in found} == wanted
    assert {entry["effect"] for entry in found} == {"DENY"}

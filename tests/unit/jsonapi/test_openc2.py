# SPDX-License-Identifier: Apache-2.0
"""OpenC2 commands become calls of control's methods, exactly; everything else has its status."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from importlib.resources import files
from typing import Any

import jsonschema_rs
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.api.v1 import agent_pb2, containment_pb2, token_pb2, types_pb2
from sidecar.clock import SystemClock
from sidecar.errors import (
    ConflictError,
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    RefusedError,
    UntrustedInputError,
)
from sidecar.jsonapi import openc2
from sidecar.jsonapi.errors import ApiError
from sidecar.jsonapi.openc2 import PAIRS, OpenC2Consumer, Said

SCHEMA = json.loads(files("sidecar.jsonapi").joinpath("openc2.schema.json").read_text())
NOW_MS = 1_800_000_000_000
Operation = types_pb2.Operation


class _Clock(SystemClock):
    def wall_ns(self) -> int:
        return NOW_MS * 1_000_000


class Control:
    """Stands where the methods are: notes what is called, and answers as it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Message]] = []
        self.answers: dict[str, Any] = {
            "Contain": containment_pb2.ContainResponse(
                receipt=types_pb2.Receipt(contained=True, durable=True)
            ),
            "Release": containment_pb2.ReleaseResponse(
                operation=types_pb2.Operation(
                    name="operations/apr_1", state=Operation.STATE_PENDING_APPROVAL
                )
            ),
            "ListDirectives": containment_pb2.ListDirectivesResponse(),
            "RevokeTokens": token_pb2.RevokeTokensResponse(
                revocation=token_pb2.Revocation(epoch=3, jti="j")
            ),
            "GetAgent": agent_pb2.GetAgentResponse(agent=agent_pb2.Agent(agent="alpha")),
        }

    async def call(self, path: str, message: Message) -> Any:
        name = path.rsplit("/", 1)[-1]
        self.calls.append((name, message))
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stands(self, *directives: tuple[int, types_pb2.Target, int]) -> None:
        """Let ``ListDirectives`` answer with *directives*: epoch, target, state."""
        self.answers["ListDirectives"] = containment_pb2.ListDirectivesResponse(
            directives=[
                types_pb2.Directive(epoch=epoch, target=target, state=state)
                for epoch, target, state in directives
            ]
        )

    async def send(self, request: dict[str, Any], **headers: Any) -> Said:
        """Send a command, which our schema must allow, and take what our schema must allow."""
        message = {
            "headers": {"request_id": "request-1", "created": NOW_MS, "from": "p", **headers},
            "body": {"openc2": {"request": request}},
        }
        said = await OpenC2Consumer(clock=_Clock()).answer(json.dumps(message).encode(), self.call)
        if said.body is not None:
            jsonschema_rs.validate(SCHEMA, said.body)
        return said


@pytest.fixture
def control() -> Control:
    """The methods."""
    return Control()


def _response(said: Said) -> dict[str, Any]:
    assert said.body is not None
    found: dict[str, Any] = said.body["body"]["openc2"]["response"]
    return found


def _command(action: str, target: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"action": action, "target": {target: value}, "command_id": "cmd-1", **more}


AGENT = {"agent": "alpha"}
T = types_pb2.Target


@pytest.mark.parametrize(
    ("command", "target", "level"),
    [
        (_command("contain", "x-holdfast:agent", AGENT), T(agent="alpha"), "FREEZE"),
        (
            _command("contain", "x-holdfast:agent", AGENT, args={"x-holdfast": {"level": "HOLD"}}),
            T(agent="alpha"),
            "HOLD",
        ),
        (
            _command("contain", "x-holdfast:session", {"agent": "alpha", "session": "s1"}),
            T(session=T.Session(agent="alpha", session="s1")),
            "FREEZE",
        ),
        (_command("stop", "x-holdfast:agent", AGENT), T(agent="alpha"), "KILL"),
        (_command("deny", "domain_name", "evil.example"), T(destination="evil.example"), "FREEZE"),
        (_command("deny", "ipv4_net", "192.0.2.7"), T(destination="192.0.2.7"), "FREEZE"),
        (_command("deny", "ipv4_net", "192.0.2.7/32"), T(destination="192.0.2.7"), "FREEZE"),
        (
            _command("deny", "uri", "https://evil.example:8443/a?b#c"),
            T(destination="evil.example"),
            "FREEZE",
        ),
        (_command("deny", "x-holdfast:tool", {"tool": "mail.send"}), T(tool="mail.send"), "FREEZE"),
        (
            _command("deny", "x-holdfast:tool", {"tool": "mail.send", "agent": "alpha"}),
            T(tool_at_agent=T.ToolAtAgent(agent="alpha", tool="mail.send")),
            "FREEZE",
        ),
    ],
    ids=["agent", "level", "session", "stop", "domain", "ip", "net", "uri", "tool", "tool-at"],
)
async def test_what_tightens_becomes_one_containment(
    control: Control, command: dict[str, Any], target: T, level: str
) -> None:
    """Target, level, request id and a reason; nothing else is called."""
    said = await control.send(command)

    (called,) = control.calls
    assert called == (
        "Contain",
        containment_pb2.ContainRequest(
            request_id="openc2:cmd-1",
            target=target,
            level=types_pb2.Level.Value(f"LEVEL_{level}"),
            reason="ordered by the OpenC2 command cmd-1",
        ),
    )
    assert said.http_status == _response(said)["status"] == 200
    assert _response(said)["results"]["x-holdfast"]["receipt"]["contained"] is True
    assert said.body is not None
    assert said.body["headers"] == {
        "request_id": "request-1",
        "created": NOW_MS,
        "from": "holdfast-control",
        "to": ["p"],
    }


async def test_what_waits_for_a_human_is_102_with_the_operation(control: Control) -> None:
    """A 1xx cannot end an HTTP exchange: HTTP says 200, the message 102."""
    control.answers["Contain"] = containment_pb2.ContainResponse(
        operation=types_pb2.Operation(
            name="operations/apr_1", state=Operation.STATE_PENDING_APPROVAL
        )
    )

    said = await control.send(_command("stop", "x-holdfast:agent", AGENT))

    assert (said.http_status, _response(said)["status"]) == (200, 102)
    assert _response(said)["results"]["x-holdfast"]["operation"]["name"] == "operations/apr_1"


@pytest.mark.parametrize(
    ("state", "status"),
    [("REFUSED", 403), ("EXPIRED", 403), ("CANCELLED", 403), ("FAILED", 500), ("RUNNING", 102)],
)
async def test_how_an_operation_ended_is_told(control: Control, state: str, status: int) -> None:
    """What humans refused is never told as done."""
    control.answers["Contain"] = containment_pb2.ContainResponse(
        operation=types_pb2.Operation(
            name="operations/apr_1", state=Operation.State.Value(f"STATE_{state}")
        )
    )

    said = await control.send(_command("stop", "x-holdfast:agent", AGENT))

    assert _response(said)["status"] == status


_RELEASED = types_pb2.Directive(state=types_pb2.Directive.STATE_RELEASED)
_FAILED = types_pb2.Receipt.IsolationItem(subject="pgid 7", result="FAILED")


@pytest.mark.parametrize(
    ("fields", "unknown", "word"),
    [
        ({"durable": True}, (), "a connected gate does not enforce it yet, or none does"),
        ({"durable": True, "directive": _RELEASED}, (), "proven: it has ended since."),
        ({"contained": True}, (), "it is not durable"),
        ({"contained": True, "durable": True, "isolation": [_FAILED]}, (), "not stopped: pgid 7"),
        ({"contained": True, "durable": True}, ("alhpa",), "nothing declares or serves alhpa"),
    ],
    ids=["laggard", "ended", "not-durable", "still-running", "unknown-agent"],
)
async def test_what_a_receipt_does_not_prove_is_told(
    control: Control, fields: dict[str, Any], unknown: tuple[str, ...], word: str
) -> None:
    """A misspelt agent, and an order that has ended since, are never told as held."""
    control.answers["Contain"] = containment_pb2.ContainResponse(
        receipt=types_pb2.Receipt(**fields), unknown_agents=unknown
    )

    said = await control.send(_command("stop", "x-holdfast:agent", AGENT))

    text = _response(said)["status_text"]
    assert text.startswith("It was ordered, and is not proven: ")
    assert word in text


async def test_what_a_receipt_proves_is_told(control: Control) -> None:
    """And nothing else of it."""
    said = await control.send(_command("stop", "x-holdfast:agent", AGENT))

    assert _response(said)["status_text"] == "It holds, and every connected gate has said so."


@pytest.mark.parametrize(
    ("args", "ttl"),
    [
        ({"duration": 60_000}, timedelta(minutes=1)),
        ({"start_time": NOW_MS, "duration": 60_000}, timedelta(minutes=1)),
        ({"start_time": NOW_MS - 1000, "stop_time": NOW_MS + 1000}, timedelta(seconds=2)),
        ({"stop_time": NOW_MS + 5000}, timedelta(seconds=5)),
    ],
    ids=["duration", "start-duration", "start-stop", "stop"],
)
async def test_time_becomes_a_ttl(control: Control, args: dict[str, int], ttl: timedelta) -> None:
    """From the message alone, so that a retry says the same."""
    await control.send(_command("stop", "x-holdfast:agent", AGENT, args=args))

    (_, order), *_ = control.calls
    assert isinstance(order, containment_pb2.ContainRequest)
    assert order.ttl.ToTimedelta() == ttl


@pytest.mark.parametrize(
    ("args", "status"),
    [
        ({"start_time": NOW_MS + 60_000}, 501),
        ({"start_time": 1, "stop_time": 2, "duration": 3}, 400),
        ({"start_time": NOW_MS, "stop_time": NOW_MS}, 400),
        ({"duration": -1}, 400),
        ({"duration": "60"}, 400),
        ({"duration": 1.5}, 400),
        ({"duration": True}, 400),
        ({"response_requested": "maybe"}, 400),
        ({"custom": {}}, 501),
        ({"x-other": {}}, 501),
        ({"x-holdfast": {"force": "yes"}}, 400),
        ({"x-holdfast": {"level": "LEVEL_KILL"}}, 400),
        ({"x-holdfast": {"level": "UNSPECIFIED"}}, 400),
        ({"x-holdfast": {"level": "OBSERVE"}}, 400),
        ({"x-holdfast": "KILL"}, 400),
        ([], 400),
    ],
)
async def test_arguments_that_are_not_done_are_refused(
    control: Control, args: Any, status: int
) -> None:
    """A time or an option is never silently left out."""
    said = await control.send(_command("stop", "x-holdfast:agent", AGENT, args=args))

    assert (said.http_status, control.calls) == (status, [])


async def test_stop_time_without_a_beginning_is_refused(control: Control) -> None:
    """Measured from when it is read, a retry would be another order."""
    message = {
        "body": {
            "openc2": {
                "request": _command(
                    "stop", "x-holdfast:agent", AGENT, args={"stop_time": NOW_MS + 5000}
                )
            }
        }
    }

    said = await OpenC2Consumer(clock=_Clock()).answer(json.dumps(message).encode(), control.call)

    assert (said.http_status, control.calls) == (400, [])


async def test_restore_asks_for_the_release_of_what_stands_on_exactly_the_target(
    control: Control,
) -> None:
    """One release each, with a key of its own; what others hold, and what ended, is left alone."""
    control.stands(
        (9, T(agent="alpha"), types_pb2.Directive.STATE_ACTIVE),
        (7, T(agent="beta"), types_pb2.Directive.STATE_ACTIVE),
        (5, T(agent="alpha"), types_pb2.Directive.STATE_ACTIVE),
        (3, T(agent="alpha"), types_pb2.Directive.STATE_RELEASED),
    )

    said = await control.send(_command("restore", "x-holdfast:agent", AGENT))

    listed, *released = control.calls
    assert listed[0] == "ListDirectives"
    assert [(name, m.request_id, m.epoch) for name, m in released] == [  # type: ignore[attr-defined]
        ("Release", "openc2:cmd-1:9", 9),
        ("Release", "openc2:cmd-1:5", 5),
    ]
    assert _response(said)["status"] == 102
    assert [one["epoch"] for one in _response(said)["results"]["x-holdfast"]["releases"]] == [
        "9",
        "5",
    ]


async def test_without_comparing_the_target_all_would_be_released_negative_control(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison is what leaves another's directive alone."""
    control.stands((7, T(agent="beta"), types_pb2.Directive.STATE_ACTIVE))
    monkeypatch.setattr(openc2, "_target", lambda command: T(agent="beta"))

    await control.send(_command("restore", "x-holdfast:agent", AGENT))

    assert [name for name, _ in control.calls] == ["ListDirectives", "Release"]


async def test_restore_of_a_directive_names_it(control: Control) -> None:
    """By its epoch, as number or text; the key is the command's own."""
    for epoch in (9, "9"):
        await control.send(_command("restore", "x-holdfast:directive", {"epoch": epoch}))

    assert {(name, m.request_id, m.epoch) for name, m in control.calls} == {  # type: ignore[attr-defined]
        ("Release", "openc2:cmd-1", 9)
    }


async def test_restore_once_more_after_the_release_is_done(control: Control) -> None:
    """What ended stays ended: 200, and nothing is asked."""
    control.stands((3, T(agent="alpha"), types_pb2.Directive.STATE_RELEASED))

    said = await control.send(_command("restore", "x-holdfast:agent", AGENT))

    assert said.http_status == 200
    assert {name for name, _ in control.calls} == {"ListDirectives"}


async def test_restore_finds_what_stands_behind_more_that_ended_than_a_page_holds(
    control: Control,
) -> None:
    """It would otherwise be told that nothing was to be done."""
    ended = types_pb2.Directive.STATE_RELEASED
    control.stands(
        *((epoch, T(agent="alpha"), ended) for epoch in range(2000, 1, -1)),
        (1, T(agent="alpha"), types_pb2.Directive.STATE_ACTIVE),
    )

    async def call(path: str, message: Message) -> Any:
        answer = await control.call(path, message)
        if not isinstance(message, containment_pb2.ListDirectivesRequest):
            return answer
        shown = [
            one
            for one in answer.directives
            if message.include_ended or one.state == types_pb2.Directive.STATE_ACTIVE
        ]
        return containment_pb2.ListDirectivesResponse(directives=shown[: message.page_size])

    request = _command("restore", "x-holdfast:agent", AGENT)
    message = {"body": {"openc2": {"request": request}}}
    said = await OpenC2Consumer(clock=_Clock()).answer(json.dumps(message).encode(), call)

    assert _response(said)["status"] == 102
    assert [m.epoch for name, m in control.calls if name == "Release"] == [1]  # type: ignore[attr-defined]


async def test_restore_of_what_nothing_ever_held_is_404(control: Control) -> None:
    """A misspelt agent is not told as restored."""
    said = await control.send(_command("restore", "x-holdfast:agent", AGENT))

    assert said.http_status == 404


async def test_of_several_releases_the_worst_is_told(control: Control) -> None:
    """One refusal among them is the status, and every one is in the results."""
    control.stands(
        (9, T(destination="x.example"), types_pb2.Directive.STATE_ACTIVE),
        (5, T(destination="x.example"), types_pb2.Directive.STATE_ACTIVE),
    )
    answers = [
        control.answers["Release"],
        PreconditionError("it was released already", reason=ErrorReason.ALREADY_RELEASED),
    ]

    async def call(path: str, message: Message) -> Any:
        if path.endswith("Release"):
            control.answers["Release"] = answers.pop(0)
        return await control.call(path, message)

    message = {"body": {"openc2": {"request": _command("allow", "domain_name", "x.example")}}}
    said = await OpenC2Consumer(clock=_Clock()).answer(json.dumps(message).encode(), call)

    releases = _response(said)["results"]["x-holdfast"]["releases"]
    assert _response(said)["status"] == 400
    assert ["operation" in one for one in releases] == [True, False]
    assert releases[1]["error"] == "it was released already"


async def test_delete_of_a_token_revokes(control: Control) -> None:
    """Every selector that is named, and no other."""
    said = await control.send(_command("delete", "x-holdfast:token", {"jti": "j", "issuer": "i"}))

    assert control.calls == [
        (
            "RevokeTokens",
            token_pb2.RevokeTokensRequest(
                request_id="openc2:cmd-1",
                jti="j",
                issuer="i",
                reason="ordered by the OpenC2 command cmd-1",
            ),
        )
    ]
    assert _response(said)["results"]["x-holdfast"]["revocation"]["epoch"] == "3"


async def test_gates_that_do_not_enforce_a_revocation_yet_are_told(control: Control) -> None:
    """It is ordered for good, and a token still works there."""
    control.answers["RevokeTokens"] = token_pb2.RevokeTokensResponse(laggards=["gate-1", "gate-2"])

    said = await control.send(_command("delete", "x-holdfast:token", {"jti": "j"}))

    assert _response(said)["status_text"] == (
        "Revoked for good. Not yet enforced by: gate-1, gate-2."
    )


async def test_query_features_tells_what_was_asked(control: Control) -> None:
    """Versions, profiles, pairs and rate limit; nothing asked is a heartbeat."""
    everything = await control.send(
        {"action": "query", "target": {"features": ["versions", "profiles", "pairs", "rate_limit"]}}
    )
    nothing = await control.send({"action": "query", "target": {"features": []}})

    assert _response(everything)["results"] == {
        "versions": ["1.0"],
        "profiles": ["x-holdfast"],
        "pairs": {action: list(targets) for action, targets in PAIRS.items()},
        "rate_limit": 6000,
    }
    assert _response(nothing) == {"status": 200}
    assert control.calls == []


async def test_query_of_an_agent_reads_it(control: Control) -> None:
    """Without a command id: nothing changes."""
    said = await control.send({"action": "query", "target": {"x-holdfast:agent": AGENT}})

    assert _response(said)["results"] == {"x-holdfast": {"agent": {"agent": "alpha"}}}


_ALL_ACTIONS = [
    "scan",
    "locate",
    "query",
    "deny",
    "contain",
    "allow",
    "start",
    "stop",
    "restart",
    "cancel",
    "set",
    "update",
    "redirect",
    "create",
    "delete",
    "detonate",
    "restore",
    "copy",
    "investigate",
    "remediate",
    "nonsense",
]
_ALL_TARGETS = [
    "artifact",
    "command",
    "device",
    "domain_name",
    "email_addr",
    "features",
    "file",
    "idn_domain_name",
    "idn_email_addr",
    "ipv4_net",
    "ipv6_net",
    "ipv4_connection",
    "ipv6_connection",
    "iri",
    "mac_addr",
    "process",
    "properties",
    "uri",
    "x-holdfast:agent",
    "x-holdfast:session",
    "x-holdfast:tool",
    "x-holdfast:directive",
    "x-holdfast:token",
    "x-other:thing",
    "nonsense",
]


@pytest.mark.parametrize("action", _ALL_ACTIONS)
async def test_pairs_that_are_not_named_are_not_implemented(control: Control, action: str) -> None:
    """Every action of the language with every target: 501 if, and only if, features do not name it."""
    for target in _ALL_TARGETS:
        said = await control.send(_command(action, target, 1))
        assert (said.http_status == 501) == (target not in PAIRS.get(action, ())), target

    assert control.calls == []


@pytest.mark.parametrize(
    ("target", "value", "status"),
    [
        ("ipv4_net", "192.0.2.0/24", 501),
        ("ipv4_net", "192.0.2.1/24", 400),
        ("ipv4_net", "0.0.0.0/0", 501),
        ("ipv4_net", "192.0.2.01", 400),
        ("ipv4_net", "0xC0000207", 400),
        ("domain_name", ".example.com", 400),
        ("domain_name", 7, 400),
        ("domain_name", "exämple.com", 400),
        ("uri", "https:///path", 400),
        ("uri", "https://user@evil.example/", 400),
        ("uri", "https://evil.example%2f@good.example/", 400),
        ("uri", "https://[::1", 400),
        ("uri", "not a uri", 400),
        ("x-holdfast:tool", {"tool": ""}, 400),
        ("x-holdfast:tool", {"agent": "alpha"}, 400),
        ("x-holdfast:tool", {"tool": "t", "x": "y"}, 400),
        ("x-holdfast:tool", "mail.send", 400),
    ],
)
async def test_targets_that_are_not_exact_are_refused(
    control: Control, target: str, value: Any, status: int
) -> None:
    """Nothing is guessed: a network is not an address, a user is not a host."""
    said = await control.send(_command("deny", target, value))

    assert (said.http_status, control.calls) == (status, [])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RefusedError("no"), 403),
        (RefusedError("no", reason=ErrorReason.UNAUTHENTICATED), 401),
        (NotFoundError("no"), 404),
        (ConflictError("no"), 400),
        (PreconditionError("no"), 400),
        (UntrustedInputError("no"), 400),
        (EnvironmentFailure("no"), 503),
        (IntegrityError("no"), 500),
        (ApiError(code="unimplemented", message="no"), 501),
        (ApiError(code="internal", message="no"), 500),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
async def test_errors_have_their_status(
    control: Control, error: HoldfastError | ApiError, status: int
) -> None:
    """The statuses of the language, with the method's own words."""
    control.answers["Contain"] = error

    said = await control.send(_command("stop", "x-holdfast:agent", AGENT))

    assert (said.http_status, _response(said)) == (status, {"status": status, "status_text": "no"})


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"body": {}},
        {"body": {"openc2": {}}},
        {"body": {"openc2": {"response": {"status": 200}}}},
        {"body": {"openc2": {"request": {"action": "stop"}}}},
        {"body": {"openc2": {"request": {"action": 1, "target": {"features": []}}}}},
        {"body": {"openc2": {"request": {"action": "query", "target": {}}}}},
        {
            "body": {
                "openc2": {"request": {"action": "query", "target": {"features": [], "uri": ""}}}
            }
        },
        {"body": {"openc2": {"request": {"action": "query", "target": {"features": ["x"]}}}}},
        {"body": {"openc2": {"request": {"action": "query", "target": {"features": [["x"]]}}}}},
        {"signature": "x", "body": {"openc2": {"request": {}}}},
        {"headers": {"x": 1}, "body": {"openc2": {"request": {}}}},
        {"headers": {"request_id": "a b"}, "body": {"openc2": {"request": {}}}},
        {"headers": [], "body": {"openc2": {"request": {}}}},
    ],
    ids=range(14),
)
async def test_what_is_no_message_is_400(control: Control, message: Any) -> None:
    """And our schema says the same."""
    said = await OpenC2Consumer(clock=_Clock()).answer(json.dumps(message).encode(), control.call)

    assert (said.http_status, control.calls) == (400, [])
    assert not jsonschema_rs.is_valid(SCHEMA, message)


async def test_what_changes_something_needs_an_id(control: Control) -> None:
    """Without one a retry would be another order."""
    message = {
        "body": {"openc2": {"request": {"action": "stop", "target": {"x-holdfast:agent": AGENT}}}}
    }

    said = await OpenC2Consumer(clock=_Clock()).answer(json.dumps(message).encode(), control.call)

    assert (said.http_status, control.calls) == (400, [])


async def test_the_message_s_id_serves_for_a_command_without_one(control: Control) -> None:
    """The request id of the transfer names the command then."""
    await control.send({"action": "stop", "target": {"x-holdfast:agent": AGENT}})

    assert control.calls[0][1].request_id == "openc2:request-1"  # type: ignore[attr-defined]


@pytest.mark.parametrize("requested", ["ack", "status", "complete"])
async def test_a_response_is_given_when_it_is_wanted(control: Control, requested: str) -> None:
    """Each is answered with how it stands, which is more than asked."""
    said = await control.send(
        _command("stop", "x-holdfast:agent", AGENT, args={"response_requested": requested})
    )

    assert _response(said)["status"] == 200


async def test_no_response_is_given_when_none_is_wanted(control: Control) -> None:
    """But HTTP still says whether it was done."""
    command = _command("stop", "x-holdfast:agent", AGENT, args={"response_requested": "none"})
    done = await control.send(command)
    control.answers["Contain"] = RefusedError("no")
    refused = await control.send(command)

    assert (done.http_status, done.body) == (204, None)
    assert (refused.http_status, refused.body) == (403, None)


@pytest.mark.parametrize(
    "actuator",
    [{"slpf": {}}, {"x-holdfast": {"asset_id": "1"}}, {"x-holdfast": {}, "slpf": {}}, {}],
)
async def test_another_actuator_is_not_this_one(control: Control, actuator: Any) -> None:
    """A command for somebody else is not carried out here."""
    said = await control.send(_command("stop", "x-holdfast:agent", AGENT, actuator=actuator))

    assert (said.http_status, control.calls) == (501, [])


async def test_a_command_for_this_actuator_is_carried_out(control: Control) -> None:
    """By its profile's name."""
    said = await control.send(
        _command("stop", "x-holdfast:agent", AGENT, actuator={"x-holdfast": {}})
    )

    assert said.http_status == 200


def _good_commands() -> list[dict[str, Any]]:
    values: dict[str, Any] = {
        "features": ["pairs"],
        "domain_name": "x.example",
        "ipv4_net": "192.0.2.1/32",
        "uri": "https://x.example/",
        "x-holdfast:agent": AGENT,
        "x-holdfast:session": {"agent": "alpha", "session": "s"},
        "x-holdfast:tool": {"tool": "mail.send"},
        "x-holdfast:directive": {"epoch": 3},
        "x-holdfast:token": {"agent": "alpha"},
    }
    return [
        _command(action, target, values[target])
        for action, targets in PAIRS.items()
        for target in targets
    ]


@pytest.mark.parametrize(
    "command", _good_commands(), ids=lambda c: f"{c['action']}-{next(iter(c['target']))}"
)
async def test_schema_allows_every_pair_that_is_done(
    control: Control, command: dict[str, Any]
) -> None:
    """Our schema and our consumer agree on what a command is."""
    message = {"body": {"openc2": {"request": command}}}
    target = T(agent="alpha")
    control.stands((3, target, types_pb2.Directive.STATE_RELEASED))

    said = await control.send(command)

    jsonschema_rs.validate(SCHEMA, message)
    assert said.http_status in (200, 404)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(
    request=st.fixed_dictionaries(
        {"action": st.sampled_from(_ALL_ACTIONS) | _JSON},
        optional={
            "target": st.dictionaries(
                st.sampled_from(_ALL_TARGETS), _JSON | st.just(AGENT), max_size=2
            ),
            "args": st.dictionaries(
                st.sampled_from(["duration", "stop_time", "x-holdfast", "response_requested"]),
                _JSON,
                max_size=2,
            ),
            "command_id": _JSON | st.just("cmd-1"),
            "actuator": _JSON,
        },
    )
)
async def test_any_message_gets_a_status_of_the_language(request: Any) -> None:
    """Nothing that comes makes it fail, and whatever it answers is a valid response."""
    said = await Control().send(request)

    assert said.http_status in (200, 204, 400, 404, 501)


def test_schema_refuses_an_unknown_pair_negative_control() -> None:
    """The schema does say no."""
    is_valid: Callable[[Any], bool] = jsonschema_rs.validator_for(SCHEMA).is_valid
    good = {"body": {"openc2": {"request": _command("stop", "x-holdfast:agent", AGENT)}}}
    bad = {"body": {"openc2": {"request": _command("stop", "domain_name", "x.example")}}}

    assert is_valid(good)
    assert not is_valid(bad)

# SPDX-License-Identifier: Apache-2.0
"""Who is admitted to what, and what is recorded of those who are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import structlog
from google.protobuf.message import Message

from sidecar.api.v1 import (
    api_token_pb2,
    audit_pb2,
    containment_pb2,
    operation_pb2,
    token_pb2,
    types_pb2,
)
from sidecar.apitokens.values import TokenRefused
from sidecar.clock import ManualClock
from sidecar.control.admission import (
    MAX_STRANGERS_A_MINUTE,
    Admission,
    caller,
    current_caller,
    methods_of,
)
from sidecar.control.identity import Identities, one_authorization
from sidecar.control.routes import Routes
from sidecar.errors import (
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    RefusedError,
    UntrustedInputError,
)
from sidecar.model import Operator, OperatorKind, Role

_SERVICES = (
    containment_pb2.DESCRIPTOR.services_by_name["ContainmentService"],
    token_pb2.DESCRIPTOR.services_by_name["TokenService"],
    audit_pb2.DESCRIPTOR.services_by_name["AuditService"],
    operation_pb2.DESCRIPTOR.services_by_name["OperationService"],
    api_token_pb2.DESCRIPTOR.services_by_name["ApiTokenService"],
)
_CONTAIN = "/sidecar.api.v1.ContainmentService/Contain"
_RELEASE = "/sidecar.api.v1.ContainmentService/Release"
_REVOKE = "/sidecar.api.v1.TokenService/RevokeTokens"
_LIST = "/sidecar.api.v1.ContainmentService/ListDirectives"
_LIMITED = Operator(
    name="soar",
    kind=OperatorKind.AUTOMATION,
    human_id="",
    roles=frozenset({Role.CONTAIN, Role.RELEASE, Role.AUDIT_READ}),
    identity="spiffe://x/soar",
    agents=frozenset({"alpha", "beta"}),
    token="abcdefghijkl",
)
_Target = types_pb2.Target


@dataclass
class Refusals:
    """What was recorded."""

    seen: list[tuple[str, str, str, int]] = field(default_factory=list)
    is_broken: bool = False

    async def note(
        self, path: str, operator: Operator | None, error: HoldfastError, omitted: int
    ) -> None:
        """Record one."""
        if self.is_broken:
            raise EnvironmentFailure("no space")
        name = operator.name if operator else ""
        self.seen.append((path.rpartition("/")[2], name, error.reason.value, omitted))


@pytest.fixture
def refusals() -> Refusals:
    """Nothing yet."""
    return Refusals()


@pytest.fixture
def clock() -> ManualClock:
    """A clock that moves only when told to."""
    return ManualClock()


@pytest.fixture
def admission(refusals: Refusals, clock: ManualClock) -> Admission:
    """Over the real services."""
    return Admission(methods=methods_of(*_SERVICES), refused=refusals.note, clock=clock)


async def test_whoever_is_admitted_is_the_caller_from_now_on(admission: Admission) -> None:
    """Also of a long stream, as long as they may go on."""
    whoever = [_LIMITED]
    request = containment_pb2.ListDirectivesRequest(agent="alpha")

    admitted = await admission.admit(_LIST, request, lambda: whoever[0])

    assert admitted is caller() is current_caller() is _LIMITED
    whoever[0] = _without(_LIMITED)
    with pytest.raises(RefusedError):
        current_caller()


async def test_a_token_is_named_in_the_log_of_its_call_alone(admission: Admission) -> None:
    """Also where one task answers call after call."""
    request = containment_pb2.ListDirectivesRequest(agent="alpha")
    await admission.admit(_LIST, request, lambda: _LIMITED)
    during = structlog.contextvars.get_contextvars().get("via")
    await admission.admit(_LIST, request, lambda: replace(_LIMITED, token=""))

    assert during == "apiTokens/abcdefghijkl"
    assert "via" not in structlog.contextvars.get_contextvars()


def _without(operator: Operator) -> Operator:
    return replace(operator, roles=frozenset())


@pytest.mark.parametrize(
    ("path", "request_", "is_admitted"),
    [
        (_CONTAIN, containment_pb2.ContainRequest(target=_Target(agent="alpha")), True),
        (_CONTAIN, containment_pb2.ContainRequest(target=_Target(agent="beta")), True),
        (_CONTAIN, containment_pb2.ContainRequest(target=_Target(agent="gamma")), False),
        (_CONTAIN, containment_pb2.ContainRequest(target=_Target(agent="")), False),
        (_CONTAIN, containment_pb2.ContainRequest(target=_Target()), False),
        (_CONTAIN, containment_pb2.ContainRequest(), False),
        (
            _CONTAIN,
            containment_pb2.ContainRequest(
                target=_Target(session=_Target.Session(agent="alpha", session="s"))
            ),
            True,
        ),
        (
            _CONTAIN,
            containment_pb2.ContainRequest(
                target=_Target(session=_Target.Session(agent="gamma", session="s"))
            ),
            False,
        ),
        (
            _CONTAIN,
            containment_pb2.ContainRequest(
                target=_Target(tool_at_agent=_Target.ToolAtAgent(agent="beta", tool="t"))
            ),
            True,
        ),
        (
            _CONTAIN,
            containment_pb2.ContainRequest(
                target=_Target(tool_at_agent=_Target.ToolAtAgent(tool="t"))
            ),
            False,
        ),
        (_CONTAIN, containment_pb2.ContainRequest(target=_Target(tool="alpha")), False),
        (_CONTAIN, containment_pb2.ContainRequest(target=_Target(destination="alpha")), False),
        (_CONTAIN, containment_pb2.ContainRequest(target=_Target(principal="alpha")), False),
        (
            _CONTAIN,
            containment_pb2.ContainRequest(
                target=_Target(labels=_Target.Labels(labels={"agent": "alpha"}))
            ),
            False,
        ),
        (_CONTAIN, containment_pb2.ContainRequest(target=_Target(all=_Target.All())), False),
        (_REVOKE, token_pb2.RevokeTokensRequest(agent="alpha", session="s"), True),
        (_REVOKE, token_pb2.RevokeTokensRequest(session="alpha"), False),
        (_REVOKE, token_pb2.RevokeTokensRequest(agent="Alpha"), False),
        (_LIST, containment_pb2.ListDirectivesRequest(agent="alpha"), True),
        (_LIST, containment_pb2.ListDirectivesRequest(), False),
        (_LIST, containment_pb2.ListDirectivesRequest(target=_Target(agent="alpha")), False),
        (_RELEASE, containment_pb2.ReleaseRequest(epoch=1), False),
        (
            "/sidecar.api.v1.OperationService/GetOperation",
            operation_pb2.GetOperationRequest(name="operations/x"),
            True,
        ),
        (
            "/sidecar.api.v1.OperationService/ListOperations",
            operation_pb2.ListOperationsRequest(),
            False,
        ),
        ("/sidecar.api.v1.AuditService/ListEntries", audit_pb2.ListEntriesRequest(), False),
        (
            "/sidecar.api.v1.AuditService/ListEntries",
            audit_pb2.ListEntriesRequest(agent="beta"),
            True,
        ),
        (
            "/sidecar.api.v1.AuditService/GetCheckpoint",
            audit_pb2.GetCheckpointRequest(),
            False,
        ),
    ],
    ids=lambda item: _short(item),
)
async def test_i09_a_limited_token_asks_about_its_agents_alone(
    admission: Admission, path: str, request_: Message, is_admitted: bool
) -> None:
    """What does not say that it is about exactly one of them is refused; without a limit it passes."""
    unlimited = _with_agents(frozenset())

    await admission.admit(path, request_, lambda: unlimited)
    if is_admitted:
        await admission.admit(path, request_, lambda: _LIMITED)
    else:
        with pytest.raises(RefusedError, match="limited to agents"):
            await admission.admit(path, request_, lambda: _LIMITED)


def _short(item: Any) -> str:
    if isinstance(item, Message):
        text = " ".join(str(item).split())
        return text.replace('"', "") or "nothing"
    return item.rpartition("/")[2] if isinstance(item, str) else str(item)


def _with_agents(agents: frozenset[str]) -> Operator:
    return replace(_LIMITED, agents=agents)


async def test_i09_a_limit_that_is_not_looked_at_negative_control(
    admission: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is this one look that keeps a limited token from everything."""
    monkeypatch.setattr("sidecar.control.admission._check_scope", lambda *_: None)
    everything = containment_pb2.ContainRequest(target=_Target(all=_Target.All()))

    assert await admission.admit(_CONTAIN, everything, lambda: _LIMITED)


async def test_nothing_is_read_for_whoever_may_not_ask(admission: Admission) -> None:
    """Neither for a stranger nor for somebody without the role."""
    read: list[int] = []

    def read_it() -> Message | None:
        read.append(1)
        return containment_pb2.ContainRequest()

    with pytest.raises(RefusedError):
        await admission.admit(_CONTAIN, read_it, _nobody)
    with pytest.raises(RefusedError):
        await admission.admit(_CONTAIN, read_it, lambda: _without(_LIMITED))
    assert read == []
    await admission.admit(_CONTAIN, read_it, lambda: _with_agents(frozenset()))
    assert read == [1]


def _nobody() -> Operator:
    raise RefusedError("who?", reason=ErrorReason.UNAUTHENTICATED)


def _proven() -> Operator:
    raise TokenRefused("it was revoked", token="abcdefghijkl", hint="")


@pytest.mark.parametrize("request_", [None, lambda: None], ids=["none", "reads none"])
async def test_an_inexact_request_is_refused_after_the_permission(
    admission: Admission, refusals: Refusals, request_: Any
) -> None:
    """Whoever may not call is told that, and not what is wrong with the bytes."""
    with pytest.raises(UntrustedInputError):
        await admission.admit(_CONTAIN, request_, lambda: _LIMITED)
    with pytest.raises(RefusedError):
        await admission.admit(_CONTAIN, request_, lambda: _without(_LIMITED))

    assert [reason for _, _, reason, _ in refusals.seen] == ["MALFORMED", "PERMISSION_MISSING"]


async def test_a_method_nobody_knows_is_refused(admission: Admission) -> None:
    """Also to whoever holds every role."""
    with pytest.raises(RefusedError, match="no such method"):
        await admission.admit("/sidecar.api.v1.X/Y", None, lambda: _LIMITED)


async def test_strangers_fill_no_disk(
    admission: Admission, refusals: Refusals, clock: ManualClock
) -> None:
    """A few a minute are recorded, the rest are counted, and the count is recorded."""
    await _knock(admission, 1000)
    assert len(refusals.seen) == MAX_STRANGERS_A_MINUTE
    clock.advance(seconds=60)
    await _knock(admission, 1)
    await _knock(admission, 100)
    await admission.aclose()

    assert len(refusals.seen) == 2 * MAX_STRANGERS_A_MINUTE + 1
    counted = sum(1 + omitted for _, _, _, omitted in refusals.seen)
    assert counted == 1101
    assert {reason for _, _, reason, _ in refusals.seen} == {"UNAUTHENTICATED"}


async def test_strangers_fill_the_disk_negative_control(
    admission: Admission, refusals: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the bound each of them is a record."""
    monkeypatch.setattr("sidecar.control.admission.MAX_STRANGERS_A_MINUTE", 10**9)
    await _knock(admission, 1000)

    assert len(refusals.seen) == 1000


async def test_strangers_do_not_hide_operators_or_proven_tokens(
    admission: Admission, refusals: Refusals
) -> None:
    """Whoever proved who they are is recorded in the midst of a flood."""
    await _knock(admission, 100)
    await _knock(admission, 1, identify=_proven)
    await _knock(admission, 20, identify=lambda: _without(_LIMITED))

    assert len(refusals.seen) == MAX_STRANGERS_A_MINUTE + 1 + 20
    assert refusals.seen[-1][1] == "soar"
    await admission.aclose()


async def test_a_refusal_that_cannot_be_recorded_is_a_refusal(
    admission: Admission, refusals: Refusals
) -> None:
    """The log may fail."""
    refusals.is_broken = True

    await _knock(admission, 2)


async def _knock(
    admission: Admission, times: int, identify: Callable[[], Operator] = _nobody
) -> None:
    for _ in range(times):
        with pytest.raises(RefusedError):
            await admission.admit(_CONTAIN, containment_pb2.ContainRequest(), identify)


@pytest.mark.parametrize(
    ("headers", "is_token"),
    [([], None), (["Bearer x"], "Bearer x"), (["Bearer x", "Bearer x"], "")],
    ids=["none", "one", "two"],
)
def test_two_headers_are_no_token(headers: list[str], is_token: str | None) -> None:
    """Nobody chooses between them."""
    found = one_authorization(headers)

    assert found == is_token if is_token != "" else found not in (None, "Bearer x")


def test_without_any_credential_nobody_is_anybody(clock: ManualClock) -> None:
    """And a token is nobody where none are taken."""
    identities = Identities(operators=_Nobody(), clock=clock)

    for authorization in (None, "Bearer x"):
        with pytest.raises(RefusedError) as refused:
            identities.of_peer(certificate_pem=None, authorization=authorization)
        assert refused.value.reason is ErrorReason.UNAUTHENTICATED


class _Nobody:
    def operators(self) -> dict[str, Operator]:
        return {}


def test_routes_hold_every_method_that_was_added() -> None:
    """Filled by generated code as a gRPC server is."""
    from sidecar.api.v1 import containment_pb2_grpc

    routes = Routes()
    servicer = containment_pb2_grpc.ContainmentServiceServicer()
    containment_pb2_grpc.add_ContainmentServiceServicer_to_server(servicer, routes)

    assert routes.unary.keys() | routes.streams == set(methods_of(_SERVICES[0]))
    assert routes.streams == {"/sidecar.api.v1.ContainmentService/WatchDirectives"}
    assert routes.unary[_CONTAIN] == servicer.Contain

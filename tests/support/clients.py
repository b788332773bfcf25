# SPDX-License-Identifier: Apache-2.0
"""Raw clients: an operator with a certificate, and an agent with nothing but its socket.

They use the generated stubs and nothing of ours, so that a test sees what travels on the wire.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import duration_pb2, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2

from sidecar.api.v1 import (
    agent_pb2,
    agent_pb2_grpc,
    api_token_pb2,
    api_token_pb2_grpc,
    approval_pb2,
    approval_pb2_grpc,
    audit_pb2_grpc,
    containment_pb2,
    containment_pb2_grpc,
    guard_pb2,
    guard_pb2_grpc,
    operation_pb2,
    operation_pb2_grpc,
    policy_pb2,
    policy_pb2_grpc,
    token_pb2,
    token_pb2_grpc,
    types_pb2,
)
from tests.support.certificates import Credential

__all__ = ["AgentClient", "ControlClient", "Refused", "codes", "effect", "new_id", "refused"]

_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 20),
    # For all its name, how long one attempt to connect may take: a handshake waits on a busy machine.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 100),
)
_TIMEOUT_S = 10.0
_LIVE = (types_pb2.Operation.STATE_PENDING_APPROVAL, types_pb2.Operation.STATE_RUNNING)


def new_id() -> str:
    """Return a fresh request id."""
    return str(uuid.uuid4())


def effect(decision: types_pb2.Decision) -> str:
    """Return ``ALLOW``, ``DENY`` or ``HOLD``."""
    return types_pb2.Effect.Name(decision.effect).removeprefix("EFFECT_")


def codes(decision: types_pb2.Decision) -> list[str]:
    """Return the codes of a decision's reasons."""
    return [reason.code for reason in decision.reasons]


class Refused(Exception):
    """An RPC that ended with an error: its status and the ``ErrorInfo`` reason, if it has one."""

    def __init__(self, code: grpc.StatusCode, reason: str, message: str) -> None:
        super().__init__(f"{code.name} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message


async def refused(call: Awaitable[Any]) -> Refused:
    """Return how *call* was refused; fail if it was not."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as exc:
        reason = ""
        for key, value in exc.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                status = status_pb2.Status.FromString(value)
                info = error_details_pb2.ErrorInfo()
                if status.details and status.details[0].Unpack(info):
                    reason = info.reason
        return Refused(exc.code(), reason, exc.details() or "")
    raise AssertionError(f"this was not refused: {answer}")


class _Client:
    channel: grpc.aio.Channel

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.channel.close()


class ControlClient(_Client):
    """Calls control over TLS with a certificate, a token or both, or over its local socket.

    Args:
        address: Where control serves.
        ca: Who must have issued control's certificate.
        credential: Who calls.
        token: Secret of the API token to call with, if any.
        colleague: Opens a client of another operator, by name: whoever grants what this one asks.
    """

    def __init__(
        self,
        address: str,
        *,
        ca: bytes = b"",
        credential: Credential | None = None,
        token: str = "",
        colleague: Callable[[str], ControlClient] | None = None,
    ) -> None:
        self._colleague = colleague
        options = [*_OPTIONS, ("grpc.ssl_target_name_override", "localhost")]
        if address.startswith("unix:"):
            self.channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        else:
            credentials = grpc.ssl_channel_credentials(
                root_certificates=ca,
                private_key=credential.key_pem if credential else None,
                certificate_chain=credential.chain if credential else None,
            )
            if token:
                credentials = grpc.composite_channel_credentials(
                    credentials, grpc.access_token_call_credentials(token)
                )
            self.channel = grpc.aio.secure_channel(address, credentials, options=options)
        # The generated stubs are untyped.
        self.containment: Any = containment_pb2_grpc.ContainmentServiceStub(self.channel)
        self.tokens: Any = token_pb2_grpc.TokenServiceStub(self.channel)
        self.audit: Any = audit_pb2_grpc.AuditServiceStub(self.channel)
        self.agents: Any = agent_pb2_grpc.AgentServiceStub(self.channel)
        self.policy: Any = policy_pb2_grpc.PolicyServiceStub(self.channel)
        self.approvals: Any = approval_pb2_grpc.ApprovalServiceStub(self.channel)
        self.operations: Any = operation_pb2_grpc.OperationServiceStub(self.channel)
        self.api_tokens: Any = api_token_pb2_grpc.ApiTokenServiceStub(self.channel)

    async def contain(
        self,
        target: types_pb2.Target | str,
        level: str = "KILL",
        *,
        request_id: str = "",
        reason: str = "a test ordered it",
        ttl: timedelta | None = None,
        calls_per_minute: int = 0,
        timeout_s: float = _TIMEOUT_S,
        validate_only: bool = False,
    ) -> containment_pb2.ContainResponse:
        """Order a containment; a target that is text is an agent."""
        request = containment_pb2.ContainRequest(
            request_id=request_id or new_id(),
            target=types_pb2.Target(agent=target) if isinstance(target, str) else target,
            level=types_pb2.Level.Value(f"LEVEL_{level}"),
            reason=reason,
            throttle_calls_per_minute=calls_per_minute,
            validate_only=validate_only,
        )
        if ttl is not None:
            span = duration_pb2.Duration()
            span.FromTimedelta(ttl)
            request.ttl.CopyFrom(span)
        return await self.containment.Contain(request, timeout=timeout_s)

    async def release(
        self, epoch: int, *, request_id: str = "", reason: str = "the test is over"
    ) -> containment_pb2.ReleaseResponse:
        """Have the directive of *epoch* ended: ask for it, and let another human grant it."""
        request_id = request_id or new_id()
        asked = await self.ask_release(epoch, request_id=request_id, reason=reason)
        if asked.operation.state not in _LIVE:
            return asked
        await self.have_granted(asked.operation)
        return await self.ask_release(epoch, request_id=request_id, reason=reason)

    async def ask_release(
        self, epoch: int, *, request_id: str = "", reason: str = "the test is over"
    ) -> containment_pb2.ReleaseResponse:
        """Ask for the end of the directive of *epoch*, and leave it at that."""
        return await self.containment.Release(
            containment_pb2.ReleaseRequest(
                request_id=request_id or new_id(), epoch=epoch, reason=reason
            ),
            timeout=_TIMEOUT_S,
        )

    async def revoke(
        self, *, request_id: str = "", issued_before_s: int | None = None, **selectors: str
    ) -> token_pb2.RevokeTokensResponse:
        """Revoke tokens."""
        request = token_pb2.RevokeTokensRequest(
            request_id=request_id or new_id(), reason="a test ordered it", **selectors
        )
        if issued_before_s is not None:
            request.issued_before.CopyFrom(timestamp_pb2.Timestamp(seconds=issued_before_s))
        return await self.tokens.RevokeTokens(request, timeout=_TIMEOUT_S)

    async def directives(self, **fields: Any) -> list[types_pb2.Directive]:
        """Return the directives of one page."""
        answer = await self.containment.ListDirectives(
            containment_pb2.ListDirectivesRequest(page_size=1000, **fields), timeout=_TIMEOUT_S
        )
        return list(answer.directives)

    async def epoch(self) -> int:
        """Return the epoch now."""
        answer = await self.containment.ListDirectives(
            containment_pb2.ListDirectivesRequest(page_size=1), timeout=_TIMEOUT_S
        )
        return int(answer.epoch)

    async def receipt(self, epoch: int) -> types_pb2.Receipt:
        """Return a receipt as it stands now."""
        answer = await self.containment.GetReceipt(
            containment_pb2.GetReceiptRequest(epoch=epoch), timeout=_TIMEOUT_S
        )
        return answer.receipt

    async def reload(self) -> policy_pb2.ReloadPolicySetResponse:
        """Have the bundle read again, and another human grant it if it may permit more."""
        request_id = new_id()
        asked = await self.ask_reload(request_id=request_id)
        if asked.operation.state not in _LIVE:
            return asked
        ended = await self.have_granted(asked.operation, by="only-policy-approve")
        answer = await self.ask_reload(request_id=request_id)
        answer.changed = ended.state == types_pb2.Operation.STATE_DONE
        return answer

    async def ask_reload(
        self, *, request_id: str = "", validate_only: bool = False
    ) -> policy_pb2.ReloadPolicySetResponse:
        """Ask for the bundle to be read again, and leave it at that."""
        return await self.policy.ReloadPolicySet(
            policy_pb2.ReloadPolicySetRequest(
                request_id=request_id or new_id(), validate_only=validate_only
            ),
            timeout=_TIMEOUT_S,
        )

    async def have_granted(
        self, operation: types_pb2.Operation, *, by: str = "only-approve"
    ) -> types_pb2.Operation:
        """Let the operator *by* grant *operation*, and return it once it has ended.

        Somebody else may have decided it, or something else ended it, in the meantime.
        """
        if self._colleague is None:
            raise AssertionError("this client has nobody who could grant what it asks")
        async with self._colleague(by) as human:
            try:
                await human.decide(operation.approval)
            except grpc.aio.AioRpcError as exc:
                if exc.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                    raise
            return await human.operation(operation.name, wait_s=_TIMEOUT_S)

    async def approval(self, name: str) -> approval_pb2.Approval:
        """Return one approval."""
        answer = await self.approvals.GetApproval(
            approval_pb2.GetApprovalRequest(name=name), timeout=_TIMEOUT_S
        )
        return answer.approval

    async def pending(self, **fields: Any) -> list[approval_pb2.Approval]:
        """Return what waits for humans, newest first."""
        answer = await self.approvals.ListApprovals(
            approval_pb2.ListApprovalsRequest(pending_only=True, page_size=1000, **fields),
            timeout=_TIMEOUT_S,
        )
        return list(answer.approvals)

    async def decide(
        self,
        name: str,
        verdict: str = "GRANT",
        *,
        fingerprint: str | None = None,
        request_id: str = "",
        reason: str = "a test decided it",
        assertion: bytes = b"",
    ) -> approval_pb2.Approval:
        """Decide an approval as a human would: look at it first, then vote on what was seen."""
        if fingerprint is None:
            fingerprint = (await self.approval(name)).fingerprint
        answer = await self.approvals.DecideApproval(
            approval_pb2.DecideApprovalRequest(
                request_id=request_id or new_id(),
                name=name,
                verdict=approval_pb2.Approval.Verdict.Value(f"VERDICT_{verdict}"),
                fingerprint=fingerprint,
                reason=reason,
                passkey_assertion=assertion,
            ),
            timeout=_TIMEOUT_S,
        )
        return answer.approval

    async def operation(self, name: str, *, wait_s: float = 0) -> types_pb2.Operation:
        """Return an operation, at once or when it has ended."""
        request = operation_pb2.GetOperationRequest(name=name)
        if wait_s:
            request.wait.FromTimedelta(timedelta(seconds=wait_s))
        answer = await self.operations.GetOperation(request, timeout=_TIMEOUT_S + wait_s)
        return answer.operation

    async def make_token(
        self,
        operator: str = "soar",
        *permissions: str,
        agents: Iterable[str] = (),
        request_id: str = "",
        ttl: timedelta | None = None,
    ) -> api_token_pb2.CreateApiTokenResponse:
        """Make an API token, of ``contain`` alone unless *permissions* say otherwise."""
        request = api_token_pb2.CreateApiTokenRequest(
            request_id=request_id or new_id(),
            operator=operator,
            permissions=permissions or ("contain",),
            agents=agents,
            description="a test made it",
        )
        if ttl is not None:
            request.ttl.FromTimedelta(ttl)
        return await self.api_tokens.CreateApiToken(request, timeout=_TIMEOUT_S)

    async def rotate_token(
        self, name: str, *, request_id: str = "", overlap: timedelta | None = None
    ) -> api_token_pb2.RotateApiTokenResponse:
        """Give an API token a new secret."""
        request = api_token_pb2.RotateApiTokenRequest(request_id=request_id or new_id(), name=name)
        if overlap is not None:
            request.overlap.FromTimedelta(overlap)
        return await self.api_tokens.RotateApiToken(request, timeout=_TIMEOUT_S)

    async def revoke_token(self, name: str, *, request_id: str = "") -> api_token_pb2.ApiToken:
        """End an API token."""
        answer = await self.api_tokens.RevokeApiToken(
            api_token_pb2.RevokeApiTokenRequest(
                request_id=request_id or new_id(), name=name, reason="a test ordered it"
            ),
            timeout=_TIMEOUT_S,
        )
        return answer.token

    async def agent(self, name: str) -> agent_pb2.Agent:
        """Return what is known of an agent."""
        answer = await self.agents.GetAgent(
            agent_pb2.GetAgentRequest(agent=name), timeout=_TIMEOUT_S
        )
        return answer.agent


class AgentClient(_Client):
    """Calls a gate over one agent's socket."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self.guard: Any = guard_pb2_grpc.GuardServiceStub(self.channel)

    async def ask(
        self,
        tool: str = "note.read",
        arguments: Mapping[str, Any] | bytes | None = None,
        *,
        session: str = "",
        token: str = "",
        metadata: tuple[tuple[str, str], ...] = (),
        timeout_s: float = _TIMEOUT_S,
        **call: str,
    ) -> types_pb2.Decision:
        """Return the gate's decision on one call."""
        if not isinstance(arguments, bytes):
            arguments = json.dumps(arguments or {}).encode()
        request = guard_pb2.AuthorizeRequest(
            tool_call=guard_pb2.ToolCall(
                tool=tool, arguments=arguments, session_id=session, **call
            ),
            token=token,
        )
        answer = await self.guard.Authorize(request, timeout=timeout_s, metadata=metadata)
        return answer.decision

    async def verdict(self, *args: Any, **kwargs: Any) -> str:
        """Return effect and first reason of one call, such as ``DENY KILLED``."""
        decision = await self.ask(*args, **kwargs)
        return f"{effect(decision)} {decision.reasons[0].code}"

    async def wait(self, approval: str, *, timeout_s: float = _TIMEOUT_S) -> str:
        """Return how an approval stands once it is no longer pending, or at the timeout."""
        request = guard_pb2.WaitApprovalRequest(approval=approval)
        request.timeout.FromTimedelta(timedelta(seconds=timeout_s))
        answer = await self.guard.WaitApproval(request, timeout=timeout_s + _TIMEOUT_S)
        return str(answer.state)

    async def withdraw(self, approval: str) -> str:
        """Take a held call back and return how its approval stands then."""
        answer = await self.guard.CancelApproval(
            guard_pb2.CancelApprovalRequest(approval=approval), timeout=_TIMEOUT_S
        )
        return str(answer.state)

    async def raw(self, method: str, data: bytes, *, timeout_s: float = _TIMEOUT_S) -> bytes:
        """Send *data* as the request of *method* and return the bytes of the answer."""
        call = self.channel.unary_unary(method, request_serializer=None, response_deserializer=None)
        return await call(data, timeout=timeout_s)

    async def authorize_bytes(self, data: bytes) -> types_pb2.Decision:
        """Send *data* as an ``AuthorizeRequest``."""
        answer = await self.raw("/sidecar.api.v1.GuardService/Authorize", data)
        return guard_pb2.AuthorizeResponse.FromString(answer).decision

    async def report(
        self, decision_id: str, result: str = "SUCCESS", **fields: Any
    ) -> guard_pb2.LogResponse:
        """Report an outcome."""
        outcome = guard_pb2.Outcome(
            decision_id=decision_id,
            result=guard_pb2.Outcome.Result.Value(f"RESULT_{result}"),
            **fields,
        )
        return await self.guard.Log(guard_pb2.LogRequest(outcome=outcome), timeout=_TIMEOUT_S)


async def settle(*calls: Awaitable[Any]) -> list[Any]:
    """Run *calls* together and return what each returned or raised."""
    return list(await asyncio.gather(*calls, return_exceptions=True))

# SPDX-License-Identifier: Apache-2.0
"""Calls of the control plane, as a playbook makes them.

A call that may have arrived is sent again only with the same request id, so a playbook that retries
after a timeout has one effect. What control refuses is never retried.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, TypeVar

import grpc
from google.rpc import error_details_pb2, status_pb2
from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_attempt,
    stop_after_delay,
    wait_exponential_jitter,
)

from sidecar.api.v1 import (
    agent_pb2,
    agent_pb2_grpc,
    containment_pb2,
    containment_pb2_grpc,
)
from soar_actions.client.connection import Connection
from soar_actions.errors import ActionError, ErrorClass

__all__ = ["ControlClient"]

_T = TypeVar("_T")
_MAX_ATTEMPTS: Final = 4
_DETAILS: Final = "grpc-status-details-bin"
_CLASS: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: ErrorClass.BAD_INPUT,
    grpc.StatusCode.NOT_FOUND: ErrorClass.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: ErrorClass.CONFLICT,
    grpc.StatusCode.PERMISSION_DENIED: ErrorClass.REFUSED,
    grpc.StatusCode.UNAUTHENTICATED: ErrorClass.REFUSED,
    grpc.StatusCode.FAILED_PRECONDITION: ErrorClass.REFUSED,
    grpc.StatusCode.UNAVAILABLE: ErrorClass.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: ErrorClass.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ErrorClass.UNAVAILABLE,
}
_REMEDY: Final = {
    ErrorClass.UNAVAILABLE: "run it again with the same idempotency key, or order the containment "
    "on the agent's host with `holdfast contain --local`",
}


class ControlClient:
    """One connection to control; use as ``async with``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> ControlClient:
        self._channel = self._connection.channel()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def contain(
        self, request: containment_pb2.ContainRequest
    ) -> containment_pb2.ContainResponse:
        """Order a containment; *request* carries the idempotency key."""
        return await self._call(self._containment().Contain, request)

    async def release(
        self, request: containment_pb2.ReleaseRequest
    ) -> containment_pb2.ReleaseResponse:
        """End a directive; *request* carries the idempotency key."""
        return await self._call(self._containment().Release, request)

    async def verify_containment(
        self, request: containment_pb2.VerifyContainmentRequest
    ) -> containment_pb2.VerifyContainmentResponse:
        """Have an agent's recorded calls decided again."""
        return await self._call(self._containment().VerifyContainment, request)

    async def get_agent(self, agent: str) -> agent_pb2.Agent:
        """Return one agent."""
        stub = agent_pb2_grpc.AgentServiceStub(self._open())
        response: agent_pb2.GetAgentResponse = await self._call(
            stub.GetAgent, agent_pb2.GetAgentRequest(agent=agent)
        )
        return response.agent

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise RuntimeError("use ControlClient as `async with`")
        return self._channel

    def _containment(self) -> containment_pb2_grpc.ContainmentServiceStub:
        return containment_pb2_grpc.ContainmentServiceStub(self._open())

    async def _call(self, method: Callable[..., Awaitable[_T]], request: Any) -> _T:
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda exc: isinstance(exc, ActionError) and exc.is_retryable),
            stop=stop_after_attempt(_MAX_ATTEMPTS) | stop_after_delay(self._connection.total_s),
            wait=wait_exponential_jitter(initial=0.1, max=2.0),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                try:
                    return await method(request, timeout=self._connection.deadline_s)
                except grpc.aio.AioRpcError as exc:
                    raise _error_of(exc) from None  # its text can name files of the asset
        raise AssertionError  # tenacity re-raises


def _error_of(exc: grpc.aio.AioRpcError) -> ActionError:
    kind = _CLASS.get(exc.code(), ErrorClass.FAILED)
    reason, hint = _error_info(exc)
    if not reason and exc.code() is grpc.StatusCode.UNAVAILABLE:
        message = "control could not be reached"
    elif not reason and exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        message = "control did not answer in time"
    else:
        message = exc.details() or exc.code().name
    return ActionError(kind, message, reason=reason, remedy=hint or _REMEDY.get(kind, ""))


def _error_info(exc: grpc.aio.AioRpcError) -> tuple[str, str]:
    """Return (reason, hint) of control's ``ErrorInfo``; empty if there is none."""
    for key, value in exc.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            status = status_pb2.Status.FromString(value)
            for detail in status.details:
                info = error_details_pb2.ErrorInfo()
                if detail.Unpack(info):
                    return info.reason, info.metadata.get("hint", "")
    return "", ""

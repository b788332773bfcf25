# SPDX-License-Identifier: Apache-2.0
"""One place that decides who may call which control method, over gRPC and over HTTP alike.

Laws:
1. The permission is the method's own proto option (``sidecar.api.v1.permission``); a method without
   it, or one that we do not know, is refused to everybody.
2. A message must be exact (``sidecar.wire``): an unknown field in an order to contain is an order we
   did not understand. Whoever calls is told so only after they are let in.
3. A token that is limited to agents calls methods that say by their ``scope`` option which agent a
   request is about, and only about its agents. What cannot be told apart is refused: no option, an
   empty field, a target that covers more than one agent.
4. A refusal is recorded, with who and what; the record can fail, the refusal cannot. What nobody
   vouches for is counted once it is more than a few a minute, so that a stranger cannot fill the
   disk; each token that was proven has a count of its own, so that strangers cannot hide its misuse.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import structlog
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from sidecar.api.v1 import options_pb2, types_pb2
from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.errors import (
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    RefusedError,
    UntrustedInputError,
)
from sidecar.model import Operator

__all__ = [
    "MAX_STRANGERS_A_MINUTE",
    "Admission",
    "RefusalLog",
    "caller",
    "current_caller",
    "methods_of",
    "via",
]

log = structlog.get_logger("holdfast.control")

MAX_STRANGERS_A_MINUTE: Final = 10
"""Refusals a minute that are recorded one by one although nobody vouches for them."""

_WINDOW_S: Final = 60
_NO_AGENT_IN_IT: Final = "none"
_ONE_AGENT: Final = ("session", "tool_at_agent")

_caller: ContextVar[Operator] = ContextVar("holdfast_caller")
_current: ContextVar[Callable[[], Operator]] = ContextVar("holdfast_current_caller")
_INEXACT: Final = UntrustedInputError(
    "the request holds unknown fields or a field twice",
    reason=ErrorReason.MALFORMED,
    hint="use a client of this version",
)

Request = Message | Callable[[], Message | None] | None

RefusalLog = Callable[[str, Operator | None, HoldfastError, int], Awaitable[None]]
"""Records one refusal: method, caller if known, why, and how many like it went unrecorded before."""


def caller() -> Operator:
    """Return the operator on whose behalf the current call runs."""
    return _caller.get()


def current_caller() -> Operator:
    """Return who the caller of a long stream is by now, who may have other roles than at first.

    Raises:
        RefusedError: It is nobody we know any more, or may not call the method any more.
    """
    return _current.get()()


def via(token: str) -> str:
    """Return how the log names the API token with the id *token*, or "" if there was none."""
    return f"apiTokens/{token}" if token else ""


def methods_of(*services: ServiceDescriptor) -> dict[str, MethodDescriptor]:
    """Return the methods of *services* by their path, ``/package.Service/Method``."""
    return {
        f"/{service.full_name}/{method.name}": method
        for service in services
        for method in service.methods
    }


class Admission:
    """Lets a call through if its caller may make it.

    Args:
        methods: Every method there is, by path (``methods_of``).
        refused: Records refusals (law 4).
        clock: Time.
    """

    def __init__(
        self, *, methods: Mapping[str, MethodDescriptor], refused: RefusalLog, clock: Clock
    ) -> None:
        self.methods = methods
        self._refused = refused
        self._clock = clock
        self._strangers: dict[str, _Window] = {}
        self._telling: set[asyncio.Task[None]] = set()

    async def admit(
        self, path: str, request: Request, identify: Callable[[], Operator]
    ) -> Operator:
        """Return who calls, and let ``caller()`` and ``current_caller()`` say so from now on.

        Args:
            path: ``/package.Service/Method``, as it was found, not as it was written.
            request: What was sent, or what reads it; None if its bytes were not exactly one message.
                Nothing is read for a stranger.
            identify: Says who calls, by what they showed; asked again by ``current_caller()``.

        Raises:
            HoldfastError: They may not, or nobody understands what they want.
        """
        # Several calls may run in one task, one after the other, as HTTP's do on a connection.
        structlog.contextvars.unbind_contextvars("via")
        operator: Operator | None = None
        try:
            operator = identify()
            _check_permission(self._method(path), operator)
            message = request() if callable(request) else request
            self.check(path, operator, message)
        except HoldfastError as exc:
            await self._refuse(path, operator, exc)
            raise
        if operator.token:
            # Every line that is logged on the way to the answer names the token.
            structlog.contextvars.bind_contextvars(via=via(operator.token))
        _caller.set(operator)

        def current() -> Operator:
            found = identify()
            self.check(path, found, message)
            return found

        _current.set(current)
        return operator

    def check(self, path: str, operator: Operator, request: Message | None) -> None:
        """Refuse *operator* what they may not ask of *path* (laws 1 to 3).

        Raises:
            RefusedError: They may not.
            UntrustedInputError: The request was not exactly one message.
        """
        method = self._method(path)
        _check_permission(method, operator)
        if request is None:
            raise _INEXACT
        _check_scope(method, operator, request)

    def may_call(self, path: str, operator: Operator) -> bool:
        """Return whether *operator* has a role for *path*: no admission, and needs no request."""
        method = self.methods.get(path)
        return method is not None and _has_role(method, operator)

    def _method(self, path: str) -> MethodDescriptor:
        method = self.methods.get(path)
        if method is None:
            raise RefusedError("control has no such method", hint="use a client of this version")
        return method

    async def aclose(self) -> None:
        """Record what was only counted so far."""
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        for window in self._strangers.values():
            await self._tell(window)

    # -- refusals (law 4) -------------------------------------------------------------------------

    async def _refuse(self, path: str, operator: Operator | None, error: HoldfastError) -> None:
        before = 0
        if operator is None:
            window = self._strangers.setdefault(getattr(error, "token", ""), _Window())
            now_s = self._clock.boot_ns() // NS_PER_SECOND
            if now_s - window.start_s >= _WINDOW_S:
                before = window.begin(now_s)
            window.count += 1
            if window.count > MAX_STRANGERS_A_MINUTE:
                window.omitted += 1
                window.last = (path, error)
                if window.omitted == 1:
                    self._tell_later(window)
                return
        log.warning(
            "control call refused",
            method=path,
            operator=operator.name if operator else None,
            via=via(operator.token if operator else getattr(error, "token", "")) or None,
            reason=error.reason,
        )
        await self._record(path, operator, error, before)

    async def _record(
        self, path: str, operator: Operator | None, error: HoldfastError, omitted: int
    ) -> None:
        try:
            await self._refused(path, operator, error, omitted)
        except EnvironmentFailure:
            log.error("a refusal could not be recorded", method=path)

    def _tell_later(self, window: _Window) -> None:
        async def tell() -> None:
            await asyncio.sleep(_WINDOW_S)
            await self._tell(window)

        task = asyncio.create_task(tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, window: _Window) -> None:
        if window.omitted and window.last is not None:
            (path, error), omitted = window.last, window.omitted
            window.omitted = 0
            log.warning("control calls refused to strangers", count=omitted, reason=error.reason)
            # The last of them stands for all: it is one of those that were not recorded.
            await self._record(path, None, error, omitted - 1)


@dataclass(slots=True)
class _Window:
    """One minute of refusals to somebody whom nobody vouches for."""

    start_s: int = -(2**62)
    count: int = 0
    omitted: int = 0
    last: tuple[str, HoldfastError] | None = None

    def begin(self, now_s: int) -> int:
        """Begin a new minute; return how many of the last one were not recorded."""
        omitted, self.omitted = self.omitted, 0
        self.start_s, self.count = now_s, 0
        return omitted


# -- law 1 ------------------------------------------------------------------------------------------


def _wanted(method: MethodDescriptor) -> list[str]:
    return list(_options(method)[options_pb2.permission])


def _has_role(method: MethodDescriptor, operator: Operator) -> bool:
    wanted = _wanted(method)
    return any(role in wanted for role in operator.roles)


def _check_permission(method: MethodDescriptor, operator: Operator) -> None:
    if _has_role(method, operator):
        return
    wanted = _wanted(method)
    raise RefusedError(
        f"{operator.name} may not call {method.name}: it needs one of the roles "
        f"{', '.join(wanted) or '(none: the method is closed)'}",
        hint="an API token has some of its operator's roles: use one that has this role"
        if operator.token
        else "ask an operator who holds the role; roles are set in operators.yaml",
    )


# -- law 3 ------------------------------------------------------------------------------------------


def _check_scope(method: MethodDescriptor, operator: Operator, request: Message) -> None:
    if not operator.agents:
        return
    scope = str(_options(method)[options_pb2.scope])
    if scope == _NO_AGENT_IN_IT:
        return
    agent = _agent_of(method, scope, request)
    if agent and operator.may_touch(agent):
        return
    raise RefusedError(
        f"this API token is limited to agents of its own, and {method.name} "
        + ("is not for one agent" if not scope else "was not asked about exactly one of them"),
        hint="name one of the token's agents, or use a token without a limit",
    )


def _agent_of(method: MethodDescriptor, scope: str, request: Message) -> str:
    """Return the one agent that *request* is about, or "" if that cannot be told."""
    if scope not in method.input_type.fields_by_name:
        return ""
    value = getattr(request, scope)
    if isinstance(value, str):
        return value
    if not isinstance(value, types_pb2.Target):
        return ""
    kind = value.WhichOneof("kind")
    if kind == "agent":
        return value.agent
    return str(getattr(value, kind).agent) if kind in _ONE_AGENT else ""


def _options(method: MethodDescriptor) -> Any:
    return method.GetOptions().Extensions

# SPDX-License-Identifier: Apache-2.0
"""The forms in which an asynchronous runtime uses a guard, over one ``authorize``.

Laws:

1. The body or function runs only after an ALLOW that is still valid, with the arguments decided on.
2. However it ends, its outcome is reported, once, without waiting.
3. A kill cancels what runs (unless asked not to), and shows as ``Suspended``.
4. Nothing waits for a human unless that was asked for, and nothing blocks an event loop for one.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from sidecar.sdk._containment import ContainmentState
from sidecar.sdk._holds import hold_seconds
from sidecar.sdk._local import local_denial
from sidecar.sdk._permit import Permit, Signature
from sidecar.sdk.errors import error_of
from sidecar.sdk.values import Decision, Result

if TYPE_CHECKING:
    from sidecar.sdk.sync import SyncGuard

__all__ = ["Call", "Forms", "KillScope", "KilledEvent", "is_coroutine_function", "refuse_generator"]

P = ParamSpec("P")
R = TypeVar("R")


class Forms:
    """What every asynchronous guard offers on top of deciding."""

    _state: ContainmentState
    _hold_s: float = 0.0
    """How long to wait for a human where the form does not say it."""

    async def authorize(
        self,
        tool: str,
        arguments: Mapping[str, Any] | bytes,
        *,
        url: str | None = None,
        cwd: str | None = None,
        nonce: str | None = None,
        session: str | None = None,
        hold_timeout: timedelta | float | None = None,
    ) -> Decision:
        """Return whether *tool* may be called."""
        raise NotImplementedError

    def _report(
        self,
        decision_id: str,
        result: Result,
        *,
        detail: str = "",
        duration: timedelta | None = None,
        response_digest: str = "",
    ) -> None:
        raise NotImplementedError

    def _start(self) -> None:
        """Begin to watch, if not yet done."""
        raise NotImplementedError

    @property
    def sync(self) -> SyncGuard:
        """The blocking twin."""
        raise NotImplementedError

    def call(
        self,
        tool: str,
        arguments: Mapping[str, Any] | bytes | None = None,
        *,
        url: str | None = None,
        cwd: str | None = None,
        nonce: str | None = None,
        session: str | None = None,
        cancel_on_kill: bool = True,
        ambiguous: tuple[type[BaseException], ...] = (),
        hold_timeout: timedelta | float | None = None,
    ) -> Call:
        """Authorize on enter, report the outcome on exit.

        ::

            async with guard.call("http.get", {"url": url}) as permit:
                await fetch(url, addresses=permit.addresses)

        Entering raises a ``GuardError`` unless the call is allowed.

        Args:
            tool: As for ``authorize``, like the arguments up to *session*.
            arguments: None is the same as no arguments.
            url: See ``authorize``.
            cwd: See ``authorize``.
            nonce: See ``authorize``.
            session: See ``authorize``.
            cancel_on_kill: Whether a kill cancels the body.
            ambiguous: Exceptions of the body after which nobody knows if it had its effect, besides
                time-outs, lost connections and cancellations.
            hold_timeout: How long entering waits for a human who must decide; 0 raises ``Held`` at
                once. None is the guard's own ``hold_timeout``.
        """
        wait_s = self._hold_s if hold_timeout is None else hold_seconds(hold_timeout)
        return Call(
            self,
            lambda: self.authorize(
                tool,
                {} if arguments is None else arguments,
                url=url,
                cwd=cwd,
                nonce=nonce,
                session=session,
                hold_timeout=wait_s,
            ),
            cancel_on_kill=cancel_on_kill,
            ambiguous=ambiguous,
        )

    def tool(
        self,
        name: str,
        *,
        session: Callable[[], str] | None = None,
        permit_parameter: str | None = None,
        cancel_on_kill: bool = True,
        ambiguous: tuple[type[BaseException], ...] = (),
        hold_timeout: timedelta | float | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function so that it runs only when the gate allows it.

        The tool's arguments are the function's, by name, with defaults; they must be plain JSON.
        A function that is not a coroutine function is guarded by the blocking twin (``sync``).

        Args:
            name: Name of the tool in the policy's registry.
            session: Returns the session of the call, instead of the guard's.
            permit_parameter: Parameter that takes the ``Permit`` (for its addresses).
            cancel_on_kill: Whether a kill cancels the function; not possible for a blocking one.
            ambiguous: As for ``call``.
            hold_timeout: As for ``call``. A blocking function that is called in an event loop's own
                thread never waits: that would stop the loop.
        """
        wait_s = self._hold_s if hold_timeout is None else hold_seconds(hold_timeout)

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            refuse_generator(function)
            if not is_coroutine_function(function):
                return lazily_blocking(function)

            signature = Signature(function, permit_parameter=permit_parameter)

            @functools.wraps(function)
            async def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
                bound = signature.bind(args, kwargs)
                call = Call(
                    self,
                    lambda: self.authorize(
                        name,
                        bound.arguments,
                        session=session() if session else None,
                        hold_timeout=wait_s,
                    ),
                    cancel_on_kill=cancel_on_kill,
                    ambiguous=ambiguous,
                )
                async with call as permit:
                    bound.check_unchanged(permit)
                    return await bound.invoke(function, permit)

            return cast("Callable[P, R]", guarded)

        def lazily_blocking(function: Callable[P, R]) -> Callable[P, R]:
            # The twin is looked up at each call: it starts late, and a fork replaces it.
            signature = Signature(function, permit_parameter=permit_parameter)

            @functools.wraps(function)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
                return self.sync.run_tool(
                    name,
                    function,
                    signature.bind(args, kwargs),
                    session,
                    ambiguous,
                    0.0 if _is_in_loop() else wait_s,
                )

            return guarded

        return decorate

    def cancel_on_kill(self) -> KillScope:
        """Cancel the body when the agent is killed or frozen; it then ends with ``Suspended``.

        Entering raises ``Suspended`` if the agent already is.
        """
        return KillScope(self)


def is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Return whether calling *function* (a function, partial or object) makes a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - the method itself, not whether it is there
    )


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def refuse_generator(function: Callable[..., Any]) -> None:
    """Refuse what does not do its work while it is called.

    Raises:
        TypeError: *function* is a generator function.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("a generator runs after its call: use guard.call() around its body")


class KilledEvent:
    """Tells whether the agent is killed or frozen; set and cleared only by the gate's word."""

    def __init__(self, forms: Forms) -> None:
        self._forms = forms

    def is_set(self) -> bool:
        """Return whether the agent is killed or frozen, as far as this process knows."""
        return self._forms._state.is_killed

    async def wait(self) -> bool:
        """Wait until the agent is killed or frozen."""
        self._forms._start()
        await self._forms._state.event.wait()
        return True


class KillScope:
    """Cancels the task that entered it when the agent is killed."""

    def __init__(self, forms: Forms) -> None:
        self._forms = forms
        self._state = forms._state
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._has_cancelled = False
        self._is_active = False

    async def __aenter__(self) -> KillScope:
        self.enter()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave(error)

    def enter(self, *, refuse_killed: bool = True) -> None:
        """Begin.

        Args:
            refuse_killed: False after a decision, which has taken the kill we know of into account.

        Raises:
            Suspended: the agent is already killed.
            RuntimeError: outside of a task, or entered twice.
        """
        task = asyncio.current_task()
        if task is None or self._task is not None:
            raise RuntimeError("a kill scope is entered once, inside a task")
        self._forms._start()
        if refuse_killed and self._state.is_killed:
            raise error_of(local_denial(self._state.cause))
        self._task = task
        self._cancelling = task.cancelling()
        self._is_active = True
        self._state.listen(self._changed)

    def leave(self, error: BaseException | None) -> None:
        """End.

        Raises:
            Suspended: *error* is the cancellation that the kill caused.
        """
        self._is_active = False
        self._state.unlisten(self._changed)
        if not self._has_cancelled or self._task is None:
            return
        is_ours = self._task.uncancel() <= self._cancelling
        if is_ours and isinstance(error, asyncio.CancelledError):
            raise error_of(local_denial(self._state.cause)) from error

    def _changed(self, is_killed: bool) -> None:
        if is_killed and self._task is not None:
            # From the loop, never from inside the task: a task that cancels itself may be past its
            # last await, and the cancellation would strike outside of this scope.
            self._task.get_loop().call_soon(self._cancel)

    def _cancel(self) -> None:
        if self._is_active and not self._has_cancelled and self._task is not None:
            self._has_cancelled = True
            self._task.cancel("the agent was contained")


class Call:
    """One call of a tool as an asynchronous context manager; see ``Forms.call``."""

    def __init__(
        self,
        forms: Forms,
        authorize: Callable[[], Any],
        *,
        cancel_on_kill: bool,
        ambiguous: tuple[type[BaseException], ...],
    ) -> None:
        self._forms = forms
        self._authorize = authorize
        self._ambiguous = ambiguous
        self._scope = KillScope(forms) if cancel_on_kill else None
        self._permit: Permit | None = None
        self._is_entered = False

    async def __aenter__(self) -> Permit:
        if self._is_entered:
            raise RuntimeError("a call is entered once: each use needs its own decision")
        self._is_entered = True
        permit = Permit(
            await self._authorize(), report=self._forms._report, ambiguous=self._ambiguous
        )
        # No await from here to the body: nothing can come between the decision and the action.
        if self._scope is not None:
            self._scope.enter(refuse_killed=False)
        self._permit = permit
        return permit

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._permit is not None  # noqa: S101 - set on enter
        self._permit.close(error)
        if self._scope is not None:
            self._scope.leave(error)

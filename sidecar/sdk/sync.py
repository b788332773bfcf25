# SPDX-License-Identifier: Apache-2.0
"""The blocking twin of the guard, for threads and plain scripts.

A background thread of its own runs an event loop with a ``Guard`` in it. Laws:

1. Usable from any number of threads; no call waits longer than its deadline and ``_GRACE_S``, but for
   one that waits for a human: that many seconds and ``OVERTIME_S`` more.
2. After a fork the child never uses the parent's thread, loop or connection.
3. The thread starts with the first use and never keeps the process alive.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import functools
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, TypeVar

from sidecar.sdk import _fork
from sidecar.sdk._arguments import Unfit, encode_arguments
from sidecar.sdk._holds import OVERTIME_S, HeldCall, Origin, hold_seconds, remember
from sidecar.sdk._local import Cause, local_denial
from sidecar.sdk._settings import DEFAULT_DEADLINE, Settings, TokenProvider
from sidecar.sdk._sync_forms import SyncForms
from sidecar.sdk.errors import GateUnavailable
from sidecar.sdk.guard import Guard
from sidecar.sdk.values import (
    ApprovalStatus,
    Containment,
    Decision,
    Effect,
    LogConfirmation,
    Result,
)

__all__ = ["KilledFlag", "SyncGuard"]

T = TypeVar("T")

_GRACE_S: Final = 2.0
"""How much longer than the deadline a thread waits for its own background thread, which imports
grpc at first use and competes for the interpreter."""
_LOG_TIMEOUT: Final = timedelta(seconds=2)


class KilledFlag:
    """Tells other threads whether the agent is killed or frozen."""

    def __init__(self, event: threading.Event, start: Callable[[], object]) -> None:
        self._event = event
        self._start = start

    def is_set(self) -> bool:
        """Return whether the agent is killed or frozen, as far as this process knows."""
        return self._event.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the agent is killed or frozen; return False if *timeout* passed first."""
        self._start()
        return self._event.wait(timeout)


class _Runner:
    """The background thread: one loop, one guard."""

    def __init__(self, settings: Settings, killed: threading.Event) -> None:
        self.guard = Guard(
            settings.address,
            session=settings.session,
            deadline=settings.deadline,
            token_provider=settings.token_provider,
        )
        self.guard._state.listen(lambda is_killed: killed.set() if is_killed else killed.clear())
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, name="holdfast-guard", daemon=True)
        self.thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T] | None:
        """Run *work* in the loop; None if another thread has closed it meanwhile."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self.loop)
        except RuntimeError:
            work.close()
            return None

    def post(self, function: Callable[..., object], *args: object, **kwargs: object) -> None:
        """Call *function* in the loop, unless another thread has closed it meanwhile."""
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(functools.partial(function, *args, **kwargs))

    def stop(self, timeout_s: float) -> None:
        self.post(self.loop.stop)
        self.thread.join(timeout_s)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self.loop.close()


class SyncGuard(SyncForms):
    """Asks one gate, from any thread.

    Args:
        address: ``unix:`` and the path of the agent's ``guard.sock``.
        session: Session that calls belong to unless they say otherwise.
        deadline: How long a call waits for its decision before it is denied here.
        token_provider: Called for each decision in the guard's own thread; must not block.
        hold_timeout: How long the decorator and ``call`` wait for a human where they don't say it.

    Raises:
        ValueError: an argument can't be used.
    """

    def __init__(
        self,
        address: str,
        *,
        session: str | None = None,
        deadline: timedelta = DEFAULT_DEADLINE,
        token_provider: TokenProvider | None = None,
        hold_timeout: timedelta | float = 0.0,
    ) -> None:
        self._settings = Settings(
            address=address,
            session=session or "",
            deadline=deadline,
            token_provider=token_provider,
            hold_timeout=timedelta(seconds=hold_seconds(hold_timeout)),
        )
        self._hold_s = self._settings.hold_timeout.total_seconds()
        self._lock = threading.Lock()
        self._killed = threading.Event()
        self._runner: _Runner | None = None
        self._is_closed = False
        _fork.watch_over(self)
        atexit.register(_close_at_exit, weakref.ref(self))

    @classmethod
    def from_env(cls) -> SyncGuard:
        """Return the guard that the environment describes (see ``Settings.from_env``).

        Raises:
            ValueError: a variable is missing or can't be used.
        """
        settings = Settings.from_env()
        return cls(
            settings.address,
            session=settings.session,
            deadline=settings.deadline,
            token_provider=settings.token_provider,
            hold_timeout=settings.hold_timeout,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.address!r})"

    def authorize(
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
        """Return whether *tool* may be called with *arguments*, now and once; see ``Guard``."""
        wait_s = 0.0 if hold_timeout is None else hold_seconds(hold_timeout)
        runner = self._started()
        if runner is None:
            return self._unreachable()
        try:
            # In the caller's thread: what is decided is what the caller has at this moment.
            data = encode_arguments(arguments)
        except Unfit as unfit:
            return local_denial(unfit.cause)
        return self._decided(
            runner,
            runner.guard.authorize(
                tool, data, url=url, cwd=cwd, nonce=nonce, session=session, hold_timeout=wait_s
            ),
            wait_s,
        )

    def _decided(
        self, runner: _Runner, work: Coroutine[Any, Any, Decision], wait_s: float
    ) -> Decision:
        """Return the decision of *work*, which may wait *wait_s* for a human."""
        future = runner.submit(work)
        if future is None:
            return local_denial(Cause.CLOSED)
        timeout_s = self._settings.deadline.total_seconds() + _GRACE_S
        if wait_s:
            timeout_s += wait_s + OVERTIME_S + self._settings.deadline.total_seconds()
        try:
            return self._own(future.result(timeout_s))
        except TimeoutError:
            cause = Cause.NO_ANSWER
        except concurrent.futures.CancelledError:
            cause = Cause.CLOSED
        except BaseException:
            # Interrupted: nobody will act on the answer.
            self._discard(runner, future)
            raise
        self._discard(runner, future)
        return local_denial(cause)

    def _own(self, decision: Decision) -> Decision:
        """Return *decision* so that, if it is held, it is this guard that waits for it."""
        origin = decision._origin
        return remember(decision, self, origin.call) if isinstance(origin, Origin) else decision

    def _discard(self, runner: _Runner, future: concurrent.futures.Future[Decision]) -> None:
        if future.cancel() or future.cancelled() or future.exception() is not None:
            return
        decision = future.result()
        if decision.effect is Effect.ALLOW:
            self._report(decision.decision_id, Result.CANCELLED, detail="answered too late")

    def wait_approval(self, approval: Decision | str, timeout: timedelta | float) -> ApprovalStatus:
        """Return how the request stands, as soon as it is not PENDING; see ``Guard``.

        Raises:
            GateUnavailable: the gate did not say in all that time.
            Suspended: the agent was killed or frozen meanwhile.
            ValueError: no human was asked about this decision.
        """
        seconds = hold_seconds(timeout)
        return self._wait(
            lambda guard: guard.wait_approval(approval, seconds), seconds + OVERTIME_S
        )

    def cancel_approval(self, approval: Decision | str) -> ApprovalStatus:
        """Withdraw the request for a human's decision and return how it stands then; see ``Guard``.

        Raises:
            GateUnavailable: the gate could not be told; the request ends by itself in time.
            ValueError: no human was asked about this decision.
        """
        return self._wait(lambda guard: guard.cancel_approval(approval), OVERTIME_S)

    def _outlast(self, held: Decision, call: HeldCall, timeout_s: float) -> Decision:
        """Wait for the human who must decide *held* and return what the gate says then."""
        runner = self._started()
        if runner is None:
            return self._unreachable()
        return self._decided(runner, runner.guard._outlast(held, call, timeout_s), timeout_s)

    def wait_ready(self, timeout: timedelta | float) -> None:
        """Return as soon as the gate answers.

        Raises:
            GateUnavailable: it did not within *timeout* (seconds, if a number).
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
        self._wait(lambda guard: guard.wait_ready(seconds), seconds)

    def log(
        self,
        decision_id: str,
        result: Result,
        *,
        detail: str = "",
        duration: timedelta | None = None,
        response_digest: str = "",
        timeout: timedelta | float = _LOG_TIMEOUT,
    ) -> LogConfirmation:
        """Report an outcome and return the gate's durable confirmation; see ``Guard.log``.

        Raises:
            GateUnavailable: not confirmed in time; the report stays queued.
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
        return self._wait(
            lambda guard: guard.log(
                decision_id,
                result,
                detail=detail,
                duration=duration,
                response_digest=response_digest,
                timeout=seconds,
            ),
            seconds,
        )

    @property
    def killed(self) -> KilledFlag:
        """Set while the agent is killed or frozen."""
        return KilledFlag(self._killed, self._watching)

    @property
    def containment(self) -> Containment:
        """How tightly the gate last said that the agent is held."""
        runner = self._runner
        return Containment() if runner is None else runner.guard.containment

    def close(self) -> None:
        """Hang up: calls that wait and later ones are denied, outcomes get a second to leave."""
        with self._lock:
            self._is_closed = True
            runner, self._runner = self._runner, None
        if runner is None:
            return
        closing = runner.submit(runner.guard.aclose())
        try:
            if closing is not None:
                closing.result(_GRACE_S)
        except (TimeoutError, concurrent.futures.CancelledError):
            pass  # The thread is a daemon and denies; it does not keep the process.
        finally:
            runner.stop(_GRACE_S)

    def __enter__(self) -> SyncGuard:
        self._watching()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def bury(self) -> object:
        """Give up thread and connection in a forked child, without touching them."""
        buried = (self._runner, self._lock, self._killed)
        self._runner, self._lock, self._killed = None, threading.Lock(), threading.Event()
        return buried

    def _report(
        self,
        decision_id: str,
        result: Result,
        *,
        detail: str = "",
        duration: timedelta | None = None,
        response_digest: str = "",
    ) -> None:
        runner = self._runner
        if runner is None:
            return
        runner.post(
            runner.guard._report,
            decision_id,
            result,
            detail=detail,
            duration=duration,
            response_digest=response_digest,
        )

    def _started(self) -> _Runner | None:
        """Return the background thread, started if need be; None if this guard can only deny."""
        runner = self._runner
        if runner is None:
            with self._lock:
                if self._is_closed or _fork.is_cut_off():
                    return None
                if self._runner is None:
                    self._runner = _Runner(self._settings, self._killed)
                runner = self._runner
        if threading.current_thread() is runner.thread:
            raise RuntimeError("a SyncGuard can't be used from its own thread")
        return runner

    def _watching(self) -> None:
        runner = self._started()
        if runner is not None:
            runner.post(runner.guard._start)

    def _unreachable(self) -> Decision:
        return local_denial(Cause.CLOSED if self._is_closed else Cause.FORKED)

    def _wait(self, work: Callable[[Guard], Coroutine[Any, Any, T]], timeout_s: float) -> T:
        runner = self._started()
        if runner is None:
            raise GateUnavailable(self._unreachable())
        future = runner.submit(work(runner.guard))
        if future is None:
            raise GateUnavailable(local_denial(Cause.CLOSED))
        try:
            return future.result(timeout_s + _GRACE_S)
        except (TimeoutError, concurrent.futures.CancelledError):
            future.cancel()
            raise GateUnavailable(local_denial(Cause.NO_ANSWER)) from None
        except BaseException:
            # Interrupted: a wait for a human is given up by that. What has ended is not changed.
            future.cancel()
            raise


def _close_at_exit(reference: weakref.ref[SyncGuard]) -> None:
    guard = reference()
    if guard is not None:
        guard.close()

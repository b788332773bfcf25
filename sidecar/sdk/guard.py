# SPDX-License-Identifier: Apache-2.0
"""The guard: asks the gate about every tool call and denies whatever it can't ask.

Laws:

1. ``authorize`` returns a decision or is cancelled; it raises only for misuse (``TypeError``,
   ``ValueError``, ``RuntimeError``). Whatever is uncertain is a local denial.
2. An ALLOW comes from the gate, for this question, on this connection, in time; nothing in this
   process can make one, and neither can a human's grant: the gate is asked again.
3. An ALLOW that is not used is reported as CANCELLED.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from sidecar.sdk import _fork
from sidecar.sdk._arguments import Unfit, encode_arguments
from sidecar.sdk._containment import ContainmentState
from sidecar.sdk._forms import Forms, KilledEvent
from sidecar.sdk._holds import HeldCall, approval_name, hold_seconds, remember
from sidecar.sdk._local import Cause, local_denial
from sidecar.sdk._settings import DEFAULT_DEADLINE, Settings, TokenProvider
from sidecar.sdk.errors import GateUnavailable, error_of
from sidecar.sdk.values import (
    ApprovalStatus,
    Containment,
    Decision,
    Effect,
    LogConfirmation,
    Result,
)

if TYPE_CHECKING:
    from sidecar.sdk._link import Link
    from sidecar.sdk.sync import SyncGuard

__all__ = ["Guard"]

log = logging.getLogger("sidecar.sdk")

_LOG_TIMEOUT: Final = timedelta(seconds=2)
_FLUSH_TIMEOUT: Final = timedelta(seconds=1)


class Guard(Forms):
    """Asks one gate, from one event loop.

    Args:
        address: ``unix:`` and the path of the agent's ``guard.sock``.
        session: Session that calls belong to unless they say otherwise.
        deadline: How long a call waits for its decision before it is denied here.
        token_provider: Called for each decision; returns the agent's token and must not block.
        hold_timeout: How long the decorator and ``call`` wait for a human where they don't say it
            themselves. They do not, unless it is set here, and raise ``Held`` at once.

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
        self._setup(
            Settings(
                address=address,
                session=session or "",
                deadline=deadline,
                token_provider=token_provider,
                hold_timeout=timedelta(seconds=hold_seconds(hold_timeout)),
            )
        )

    @classmethod
    def from_env(cls) -> Guard:
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

    def _setup(self, settings: Settings) -> None:
        self._settings = settings
        self._session = settings.session
        self._token_provider = settings.token_provider
        self._hold_s = settings.hold_timeout.total_seconds()
        self._state = ContainmentState()
        self._link: Link | None = None
        self._twins: dict[str, SyncGuard] = {}
        self._is_closed = False
        _fork.watch_over(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.address!r})"

    # -- deciding -----------------------------------------------------------------------------

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
        """Return whether *tool* may be called with *arguments*, now and once.

        If a human must decide, that is a HOLD, at once. With *hold_timeout*, the human is awaited and
        the gate asked again; what it says then is returned, the HOLD if the time passed, or a denial
        that says who refused. Cancelling this call withdraws the request.

        Args:
            tool: Name of the tool in the policy's registry.
            arguments: A mapping that is plain JSON, or the JSON itself as UTF-8.
            url: Where a network tool will go, if no argument says it.
            cwd: Working directory that the tool will run in.
            nonce: Makes two otherwise equal calls differ.
            session: Session of this call, instead of the guard's.
            hold_timeout: How long to wait for a human who must decide (seconds, if a number), beyond
                the deadline. Not at all by default, whatever the guard's own ``hold_timeout`` is.
        """
        wait_s = 0.0 if hold_timeout is None else hold_seconds(hold_timeout)
        link = self._link
        if link is None or link.loop is not asyncio.get_running_loop():
            link = self._connected()
        if link is None:
            return self._unreachable()
        if session is None:
            session = self._session
        try:
            data = encode_arguments(arguments)
            question = link.question_of(
                tool,
                data,
                session,
                url,
                cwd,
                nonce,
                "" if self._token_provider is None else self._token(self._token_provider),
            )
        except Unfit as unfit:
            return local_denial(unfit.cause)
        if wait_s:
            answer = await link.ask_for_waiter(question, is_again=False)
        else:
            future = link.ask(question)
            try:
                answer = await future
            except asyncio.CancelledError:
                # The answer may have come in the same turn of the loop.
                if future.done() and not future.cancelled():
                    link.discard(future.result())
                raise
        decision = link.conclude(answer, session == self._session)
        if decision.effect is not Effect.HOLD:
            return decision
        call = HeldCall(
            tool=tool,
            arguments=data,
            session=session,
            url=url or "",
            cwd=cwd or "",
            nonce=nonce or "",
        )
        held = remember(decision, self, call)
        return await self._outlast(held, call, wait_s) if wait_s else held

    @staticmethod
    def _token(provider: TokenProvider) -> str:
        try:
            token = provider()
        except Exception:  # noqa: BLE001 - the runtime's code; its error may hold the token
            raise Unfit(Cause.TOKEN_UNREADABLE) from None
        if not isinstance(token, str):
            raise Unfit(Cause.TOKEN_UNREADABLE)
        return token

    # -- waiting for a human ------------------------------------------------------------------

    async def wait_approval(
        self, approval: Decision | str, timeout: timedelta | float
    ) -> ApprovalStatus:
        """Return how the request for a human's decision stands, as soon as it is not PENDING.

        Or when *timeout* (seconds, if a number) has passed. No status is a permission: once it is
        GRANTED, ask ``authorize`` again with the identical call, which ``Held.wait`` and
        ``hold_timeout`` do by themselves. Cancelling this withdraws the request; letting the time
        pass does not.

        Args:
            approval: The held decision, or its ``obligations.approval``.
            timeout: How long to wait; 0 to just look.

        Raises:
            GateUnavailable: the gate did not say in all that time.
            Suspended: the agent was killed or frozen meanwhile.
            ValueError: no human was asked about this decision.
        """
        name, timeout_s = approval_name(approval), hold_seconds(timeout)
        link = self._connected()
        if link is None:
            raise GateUnavailable(self._unreachable())
        status = await link.approvals.wait(name, timeout_s=timeout_s, is_own=True)
        if isinstance(status, Decision):
            raise error_of(status)
        if status is None:
            raise GateUnavailable(local_denial(Cause.NO_ANSWER))
        return status

    async def cancel_approval(self, approval: Decision | str) -> ApprovalStatus:
        """Withdraw the request for a human's decision and return how it stands then.

        Every caller that waits for it is denied. One that was decided already stays as it is.

        Args:
            approval: The held decision, or its ``obligations.approval``.

        Raises:
            GateUnavailable: the gate could not be told; the request ends by itself in time.
            ValueError: no human was asked about this decision.
        """
        name = approval_name(approval)
        link = self._connected()
        if link is None:
            raise GateUnavailable(self._unreachable())
        status = await link.approvals.withdraw(name)
        if status is None:
            raise GateUnavailable(local_denial(Cause.NO_ANSWER))
        return status

    async def _outlast(self, held: Decision, call: HeldCall, timeout_s: float) -> Decision:
        """Wait for the human who must decide *held* and return what the gate says then."""
        link = self._connected()
        if link is None:
            return self._unreachable()
        return await link.approvals.outlast(
            held,
            ask=lambda: self._ask_again(link, call),
            timeout_s=timeout_s,
            is_own=call.session == self._session,
        )

    async def _ask_again(self, link: Link, call: HeldCall) -> Decision:
        try:
            question = link.question_of(
                call.tool,
                call.arguments,
                call.session,
                call.url,
                call.cwd,
                call.nonce,
                "" if self._token_provider is None else self._token(self._token_provider),
            )
        except Unfit as unfit:
            return local_denial(unfit.cause)
        answer = await link.ask_for_waiter(question, is_again=True)
        return remember(link.conclude(answer, call.session == self._session), self, call)

    # -- the connection -----------------------------------------------------------------------

    def _connected(self) -> Link | None:
        """Return this loop's link, made if need be; None if this guard can only deny."""
        if self._is_closed or _fork.is_cut_off():
            return None
        loop = asyncio.get_running_loop()
        link = self._link
        if link is not None and link.loop is not loop:
            if link.loop.is_running():
                raise RuntimeError(
                    "a Guard belongs to one event loop; other threads need SyncGuard"
                )
            link = None
        if link is None:
            # Imported here: grpc takes a fifth of a second, and importing the SDK must not.
            from sidecar.sdk._link import Link

            try:
                link = self._link = Link(settings=self._settings, state=self._state)
            except Exception:
                # Out of descriptors or threads: the process is in trouble, and the call is denied.
                log.exception("the guard can't connect")
        return link

    def _start(self) -> None:
        self._connected()

    def _unreachable(self) -> Decision:
        if self._is_closed:
            return local_denial(Cause.CLOSED)
        return local_denial(Cause.FORKED if _fork.is_cut_off() else Cause.NOT_CONNECTED)

    def bury(self) -> object:
        """Give up the connection in a forked child, without touching it."""
        buried = (self._link, self._state, self._twins)
        self._link, self._state, self._twins = None, ContainmentState(), {}
        return buried

    async def wait_ready(self, timeout: timedelta | float) -> None:
        """Return as soon as the gate answers.

        Raises:
            GateUnavailable: it did not within *timeout* (seconds, if a number).
        """
        link = self._connected()
        if link is None:
            raise GateUnavailable(self._unreachable())
        try:
            async with asyncio.timeout(_seconds(timeout)):
                await link.ready()
        except TimeoutError:
            raise GateUnavailable(local_denial(Cause.NOT_CONNECTED)) from None

    async def aclose(self) -> None:
        """Hang up: calls that wait and later ones are denied, outcomes get a second to leave."""
        self._is_closed = True
        link, self._link = self._link, None
        twin = self._twins.get("twin")
        if twin is not None:
            await asyncio.to_thread(twin.close)
        if link is None or link.loop.is_closed():
            return
        if link.loop is not asyncio.get_running_loop():
            raise RuntimeError("a Guard is closed in the event loop it was used in")
        await link.aclose(flush_s=_FLUSH_TIMEOUT.total_seconds())

    async def __aenter__(self) -> Guard:
        self._connected()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    # -- outcomes -----------------------------------------------------------------------------

    async def log(
        self,
        decision_id: str,
        result: Result,
        *,
        detail: str = "",
        duration: timedelta | None = None,
        response_digest: str = "",
        timeout: timedelta | float = _LOG_TIMEOUT,
    ) -> LogConfirmation:
        """Report what came of an allowed call and return the gate's durable confirmation.

        The decorator and ``call`` report by themselves; this is for the plain form.

        Args:
            decision_id: From the decision that allowed the call.
            result: How it ended.
            detail: One line about it, without secrets.
            duration: How long the action took.
            response_digest: SHA-256 of the tool's answer in hex, to bind it.
            timeout: How long to wait for the confirmation.

        Raises:
            GateUnavailable: not confirmed in time; the report stays queued.
        """
        link = self._connected()
        if link is None:
            raise GateUnavailable(self._unreachable())
        confirmation = await link.confirm(
            decision_id,
            result,
            detail=detail,
            duration=duration,
            response_digest=response_digest,
            timeout_s=_seconds(timeout),
        )
        if confirmation is None:
            raise GateUnavailable(local_denial(Cause.NO_ANSWER))
        return confirmation

    def _report(
        self,
        decision_id: str,
        result: Result,
        *,
        detail: str = "",
        duration: timedelta | None = None,
        response_digest: str = "",
    ) -> None:
        if self._link is None:
            log.warning("an outcome was not reported: the guard is closed")
            return
        self._link.report(
            decision_id,
            result,
            detail=detail,
            duration=duration,
            response_digest=response_digest,
        )

    # -- containment --------------------------------------------------------------------------

    @property
    def killed(self) -> KilledEvent:
        """Set while the agent is killed or frozen; ``await guard.killed.wait()``."""
        return KilledEvent(self)

    @property
    def containment(self) -> Containment:
        """How tightly the gate last said that the agent is held."""
        return self._state.latest

    # -- the blocking twin --------------------------------------------------------------------

    @property
    def sync(self) -> SyncGuard:
        """The blocking twin with the same settings, a thread and a connection of its own."""
        twin = self._twins.get("twin")
        if twin is None:
            # Imported here because the twin holds a guard.
            from sidecar.sdk.sync import SyncGuard

            made = SyncGuard(
                self._settings.address,
                session=self._settings.session,
                deadline=self._settings.deadline,
                token_provider=self._settings.token_provider,
                hold_timeout=self._settings.hold_timeout,
            )
            # Atomic, so that threads that race here get the same twin; the other never starts.
            twin = self._twins.setdefault("twin", made)
            if self._is_closed:
                twin.close()
        return twin


def _seconds(timeout: timedelta | float) -> float:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)

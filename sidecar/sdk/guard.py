# SPDX-License-Identifier: Apache-2.0
"""The guard: asks the gate about every tool call and denies whatever it can't ask.

Laws:

1. ``authorize`` returns a decision or is cancelled; it raises only for misuse (``TypeError``,
   ``RuntimeError``). Whatever is uncertain is a local denial.
2. An ALLOW comes from the gate, for this question, on this connection, in time; nothing in this
   process can make one.
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
from sidecar.sdk._local import Cause, local_denial
from sidecar.sdk._settings import DEFAULT_DEADLINE, Settings, TokenProvider
from sidecar.sdk.errors import GateUnavailable
from sidecar.sdk.values import Containment, Decision, LogConfirmation, Result

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
    ) -> None:
        self._setup(
            Settings(
                address=address,
                session=session or "",
                deadline=deadline,
                token_provider=token_provider,
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
        )

    def _setup(self, settings: Settings) -> None:
        self._settings = settings
        self._session = settings.session
        self._token_provider = settings.token_provider
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
    ) -> Decision:
        """Return whether *tool* may be called with *arguments*, now and once.

        Args:
            tool: Name of the tool in the policy's registry.
            arguments: A mapping that is plain JSON, or the JSON itself as UTF-8.
            url: Where a network tool will go, if no argument says it.
            cwd: Working directory that the tool will run in.
            nonce: Makes two otherwise equal calls differ.
            session: Session of this call, instead of the guard's.
        """
        link = self._link
        if link is None or link.loop is not asyncio.get_running_loop():
            link = self._connected()
        if link is None:
            return self._unreachable()
        try:
            question = link.question_of(
                tool,
                encode_arguments(arguments),
                self._session if session is None else session,
                url,
                cwd,
                nonce,
                "" if self._token_provider is None else self._token(self._token_provider),
            )
        except Unfit as unfit:
            return local_denial(unfit.cause)
        future = link.ask(question)
        try:
            answer = await future
        except asyncio.CancelledError:
            # The answer may have come in the same turn of the loop.
            if future.done() and not future.cancelled():
                link.discard(future.result())
            raise
        return link.conclude(answer, session is None or session == self._session)

    @staticmethod
    def _token(provider: TokenProvider) -> str:
        try:
            token = provider()
        except Exception:  # noqa: BLE001 - the runtime's code; its error may hold the token
            raise Unfit(Cause.TOKEN_UNREADABLE) from None
        if not isinstance(token, str):
            raise Unfit(Cause.TOKEN_UNREADABLE)
        return token

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
            )
            # Atomic, so that threads that race here get the same twin; the other never starts.
            twin = self._twins.setdefault("twin", made)
            if self._is_closed:
                twin.close()
        return twin


def _seconds(timeout: timedelta | float) -> float:
    return timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)

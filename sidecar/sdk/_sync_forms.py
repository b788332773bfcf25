# SPDX-License-Identifier: Apache-2.0
"""The forms in which threads and plain scripts use a guard, over one blocking ``authorize``.

Laws:

1. The body or function runs only after an ALLOW that is still valid, with the arguments decided on.
2. However it ends, its outcome is reported, once, without waiting.
3. Nothing cancels blocking code: a kill shows at its next call. A wait for a human it does end.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from sidecar.sdk._forms import is_coroutine_function, refuse_generator
from sidecar.sdk._holds import hold_seconds
from sidecar.sdk._permit import BoundCall, Permit, Signature
from sidecar.sdk.values import Decision, Result

__all__ = ["SyncCall", "SyncForms"]

P = ParamSpec("P")
R = TypeVar("R")


class SyncForms:
    """What every blocking guard offers on top of deciding."""

    _hold_s: float = 0.0
    """How long to wait for a human where the form does not say it."""

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

    def call(
        self,
        tool: str,
        arguments: Mapping[str, Any] | bytes | None = None,
        *,
        url: str | None = None,
        cwd: str | None = None,
        nonce: str | None = None,
        session: str | None = None,
        ambiguous: tuple[type[BaseException], ...] = (),
        hold_timeout: timedelta | float | None = None,
    ) -> SyncCall:
        """Authorize on enter, report the outcome on exit; see ``Guard.call``."""
        wait_s = self._hold_s if hold_timeout is None else hold_seconds(hold_timeout)
        return SyncCall(
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
            ambiguous=ambiguous,
        )

    def tool(
        self,
        name: str,
        *,
        session: Callable[[], str] | None = None,
        permit_parameter: str | None = None,
        ambiguous: tuple[type[BaseException], ...] = (),
        hold_timeout: timedelta | float | None = None,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate a function so that it runs only when the gate allows it; see ``Guard.tool``."""
        wait_s = self._hold_s if hold_timeout is None else hold_seconds(hold_timeout)

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            refuse_generator(function)
            if is_coroutine_function(function):
                raise TypeError("a coroutine function needs the asynchronous Guard")
            signature = Signature(function, permit_parameter=permit_parameter)

            @functools.wraps(function)
            def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
                return self.run_tool(
                    name, function, signature.bind(args, kwargs), session, ambiguous, wait_s
                )

            return guarded

        return decorate

    def run_tool(
        self,
        name: str,
        function: Callable[..., R],
        bound: BoundCall,
        session: Callable[[], str] | None,
        ambiguous: tuple[type[BaseException], ...],
        wait_s: float = 0.0,
    ) -> R:
        """Run *function* as *bound* if the gate allows it; what the decorators do at each call."""
        call = SyncCall(
            self,
            lambda: self.authorize(
                name,
                bound.arguments,
                session=session() if session else None,
                hold_timeout=wait_s,
            ),
            ambiguous=ambiguous,
        )
        with call as permit:
            bound.check_unchanged(permit)
            result: R = bound.invoke(function, permit)
            if inspect.isawaitable(result) or inspect.isgenerator(result):
                # Its work would be done later, outside of the permit.
                permit.revoke()
                close = getattr(result, "close", None)
                if close is not None:
                    close()
                raise TypeError("the tool's function put its work off: it must do it when called")
            return result


class SyncCall:
    """One call of a tool as a context manager; see ``SyncForms.call``."""

    def __init__(
        self,
        forms: SyncForms,
        authorize: Callable[[], Decision],
        *,
        ambiguous: tuple[type[BaseException], ...],
    ) -> None:
        self._forms = forms
        self._authorize = authorize
        self._ambiguous = ambiguous
        self._permit: Permit | None = None
        self._is_entered = False

    def __enter__(self) -> Permit:
        if self._is_entered:
            raise RuntimeError("a call is entered once: each use needs its own decision")
        self._is_entered = True
        self._permit = Permit(
            self._authorize(), report=self._forms._report, ambiguous=self._ambiguous
        )
        return self._permit

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._permit is not None  # noqa: S101 - set on enter
        self._permit.close(error)

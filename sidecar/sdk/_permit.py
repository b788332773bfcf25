# SPDX-License-Identifier: Apache-2.0
"""What the forms share: the permit, how an action ended, and a function's call as arguments.

Laws:

1. A permit exists only for a decision that is allowed at that moment, and is used once.
2. How an action ended is never guessed for the better: what was interrupted is AMBIGUOUS.
3. An outcome's detail names the type of an exception, never its text.
4. The function runs with what was decided: the arguments are encoded before the question and again
   before the call, and a difference is a denial.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Protocol

from sidecar.sdk._arguments import Unfit, encode_arguments
from sidecar.sdk._executables import is_unchanged
from sidecar.sdk._local import Cause, local_denial
from sidecar.sdk.errors import error_of
from sidecar.sdk.values import Decision, Effect, Obligations, Result

__all__ = ["BoundCall", "Permit", "Report", "Signature", "is_interruption"]

_INTERRUPTIONS: Final = (TimeoutError, ConnectionError)


class Report(Protocol):
    """Takes an outcome without waiting."""

    def __call__(
        self,
        decision_id: str,
        result: Result,
        *,
        detail: str = "",
        duration: timedelta | None = None,
        response_digest: str = "",
    ) -> None: ...


class Permit:
    """An ALLOW in use; reports how the action ended.

    Args:
        decision: What the gate said.
        report: Takes the outcome.
        ambiguous: Exceptions after which nobody knows whether the action had its effect, besides
            time-outs, lost connections and cancellations.

    Raises:
        GuardError: the decision does not allow (any more).
    """

    def __init__(
        self,
        decision: Decision,
        *,
        report: Report,
        ambiguous: tuple[type[BaseException], ...] = (),
    ) -> None:
        try:
            decision.raise_for_effect()
        except Exception:
            if decision.effect is Effect.ALLOW:
                report(decision.decision_id, Result.CANCELLED, detail="lapsed")
            raise
        self.decision = decision
        self._report = report
        self._ambiguous = ambiguous
        self._begin_time = time.monotonic()
        self._finish: tuple[Result, str, str] | None = None
        self._is_closed = False

    @property
    def obligations(self) -> Obligations:
        """Conditions under which the call is allowed."""
        return self.decision.obligations

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses the destination resolved to: dial one of these, do not resolve again."""
        return self.decision.obligations.addresses

    def verify_executables(self) -> None:
        """Look, just before running them, whether the call's programs are still those decided on.

        Raises:
            Denied: one is not; the permission is reported as not used.
        """
        if not all(map(is_unchanged, self.decision.obligations.executables)):
            self.revoke()
            raise error_of(local_denial(Cause.EXECUTABLE_CHANGED))

    def finish(self, result: Result, *, detail: str = "", response_digest: str = "") -> None:
        """Say how the action ended, where an exception or its absence does not tell.

        Args:
            result: How it ended.
            detail: One line about it, without secrets.
            response_digest: SHA-256 of the tool's answer in hex, to bind it.
        """
        self._finish = (Result(result), detail, response_digest)

    def revoke(self) -> None:
        """Report that the action did not begin."""
        self._close(Result.CANCELLED, "", "")

    def close(self, error: BaseException | None) -> None:
        """Report the outcome of an action that ended with *error*."""
        if self._finish is not None:
            self._close(*self._finish)
        elif error is None:
            self._close(Result.SUCCESS, "", "")
        else:
            is_known = not (is_interruption(error) or isinstance(error, self._ambiguous))
            result = Result.ERROR if is_known else Result.AMBIGUOUS
            self._close(result, type(error).__name__, "")

    def _close(self, result: Result, detail: str, response_digest: str) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._report(
            self.decision.decision_id,
            result,
            detail=detail,
            duration=timedelta(seconds=time.monotonic() - self._begin_time),
            response_digest=response_digest,
        )


def is_interruption(error: BaseException) -> bool:
    """Return whether after *error* nobody knows if the action had its effect."""
    # What is no Exception (cancellation, interrupt, exit) struck from outside, at any point.
    return isinstance(error, _INTERRUPTIONS) or not isinstance(error, Exception)


class BoundCall:
    """One call of a function: its arguments as the gate will see them."""

    def __init__(self, signature: Signature, bound: inspect.BoundArguments) -> None:
        self._signature = signature
        self._bound = bound
        self.arguments = self._encoded()

    def check_unchanged(self, permit: Permit) -> None:
        """Refuse to run if the arguments are no longer those that were decided.

        Raises:
            Denied: they changed; the permission is reported as not used.
        """
        try:
            is_same = self._encoded() == self.arguments
        except Exception:
            permit.revoke()
            raise
        if not is_same:
            permit.revoke()
            raise error_of(local_denial(Cause.ARGUMENTS_CHANGED))

    def invoke(self, function: Callable[..., Any], permit: Permit) -> Any:
        """Call *function*."""
        if self._signature.permit_parameter is not None:
            self._bound.arguments[self._signature.permit_parameter] = permit
        return function(*self._bound.args, **self._bound.kwargs)

    def _encoded(self) -> bytes:
        try:
            return encode_arguments(self._signature.arguments_of(self._bound))
        except Unfit as unfit:
            raise error_of(local_denial(unfit.cause)) from None


class Signature:
    """How a function's parameters become a tool's arguments.

    Defaults are applied, ``**kwargs`` are spread, ``*args`` become a list; the instance or class a
    method belongs to and the permit are left out.

    Args:
        function: The function.
        permit_parameter: The parameter that takes the permit, if one does.

    Raises:
        ValueError: there is no such parameter.
    """

    def __init__(self, function: Callable[..., Any], *, permit_parameter: str | None) -> None:
        self._signature = inspect.signature(function)
        self.permit_parameter = permit_parameter
        parameters = self._signature.parameters
        if permit_parameter is not None and permit_parameter not in parameters:
            raise ValueError(f"{function!r} has no parameter {permit_parameter!r}")
        self._left_out = {permit_parameter} | _receiver(function, list(parameters))
        self._keywords = next(
            (p.name for p in parameters.values() if p.kind is p.VAR_KEYWORD), None
        )

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> BoundCall:
        """Return the call with *args* and *kwargs*.

        Raises:
            TypeError: the function does not take them.
            GuardError: they are not plain JSON.
        """
        if self.permit_parameter is None:
            bound = self._signature.bind(*args, **kwargs)
        elif self.permit_parameter in kwargs:
            raise TypeError(f"{self.permit_parameter!r} is given by the guard")
        else:
            bound = self._signature.bind(*args, **kwargs, **{self.permit_parameter: None})
        bound.apply_defaults()
        return BoundCall(self, bound)

    def arguments_of(self, bound: inspect.BoundArguments) -> dict[str, Any]:
        """Return *bound* as a tool's arguments."""
        arguments = {
            name: value
            for name, value in bound.arguments.items()
            if name not in self._left_out and name != self._keywords
        }
        if self._keywords is not None:
            spread = bound.arguments.get(self._keywords, {})
            twice = spread.keys() & arguments.keys()
            if twice:
                raise TypeError(f"given twice: {sorted(twice)}")
            arguments.update(spread)
        return arguments


def _receiver(function: Callable[..., Any], names: list[str]) -> set[str | None]:
    """Return the name of the parameter that takes the instance or class, if there is one."""
    owner = getattr(function, "__qualname__", "").rpartition(".")[0]
    is_method = bool(owner) and not owner.endswith("<locals>")
    return {names[0]} if is_method and names[:1] in (["self"], ["cls"]) else set()

# SPDX-License-Identifier: Apache-2.0
"""Trying again: a few times, at random distances, and never past the time that the action has.

Only what could not be reached or did not answer is tried again, with the same request id, so that
an order that arrived after all is carried out once. What control refused is never sent again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

from soar_actions.errors import ActionError, ErrorClass

__all__ = ["MAX_ATTEMPTS", "with_retries"]

MAX_ATTEMPTS: Final = 4
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 3.0
_LEAST_S: Final = 0.05
"""An attempt that has less time than this is not begun."""
_REMEDY: Final = (
    "run it again with the same idempotency key; an agent that must be stopped now is stopped on its "
    "host, as root: `holdfast contain agent AGENT --level kill --reason INCIDENT --local`"
)
_Answer = TypeVar("_Answer")


def with_retries(
    attempt: Callable[[float], _Answer],
    *,
    attempt_s: float,
    deadline: float,
    max_attempts: int = MAX_ATTEMPTS,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> _Answer:
    """Return what *attempt* returns, which is given the seconds it has.

    Args:
        attempt: Does one attempt.
        attempt_s: Longest time of one.
        deadline: When the action's time is over, on *clock*.
        max_attempts: How often at most.
        clock: Seconds that never go back.
        sleep: Waits.
        jitter: From 0 to 1.

    Raises:
        ActionError: Of the last attempt; how many there were, in what time, stands in its message.
    """
    begin = clock()
    count = 0
    last: ActionError | None = None
    while count < max_attempts:
        if count:
            pause = min(_FIRST_PAUSE_S * 2 ** (count - 1), _LONGEST_PAUSE_S) * (0.5 + jitter())
            if clock() + pause >= deadline - _LEAST_S:
                break
            sleep(pause)
        left_s = deadline - clock()
        if left_s < _LEAST_S:
            break
        count += 1
        try:
            return attempt(min(attempt_s, left_s))
        except ActionError as exc:
            if not exc.is_retryable:
                raise
            last = exc
    spent = f"{count} attempt{'' if count == 1 else 's'} in {clock() - begin:.1f} s"
    if last is None:
        raise ActionError(
            ErrorClass.UNAVAILABLE,
            f"the time of the action was over ({spent})",
            reason="DEADLINE",
            remedy=_REMEDY,
        )
    raise ActionError(
        last.kind, f"{last.message} ({spent})", reason=last.reason, remedy=last.remedy or _REMEDY
    ) from None

# SPDX-License-Identifier: Apache-2.0
"""How a command ends: one place maps what went wrong to an exit code and a sentence.

Scripts and playbooks branch on these numbers; they never change their meaning.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from sidecar.errors import (
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    IntegrityError,
    RefusedError,
    UntrustedInputError,
)

__all__ = ["EXIT_CODES", "Exit", "exit_of"]


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    DENIED = 3
    HELD = 4
    UNAVAILABLE = 5
    INTEGRITY = 6


EXIT_CODES: Final = {
    Exit.OK: "it was done; or allowed; or every check passed",
    Exit.FAILURE: "it failed: a check did not pass, nothing matched, the thing is in another state",
    Exit.USAGE: "the command, its input or the configuration is wrong; nothing was done",
    Exit.DENIED: "a policy denied, or the operator may not do this; a contained agent's command",
    Exit.HELD: "a human must decide first",
    Exit.UNAVAILABLE: "control, a gate or the disk did not answer; nothing is known to be done",
    Exit.INTEGRITY: "evidence does not verify: a log, a receipt or a checkpoint was changed",
}

# Failures of the machine that trying again does not cure.
_STUBBORN: Final = frozenset({ErrorReason.UNSAFE_PATH})


def exit_of(error: HoldfastError) -> Exit:
    """Return the exit code that says *error*."""
    if isinstance(error, IntegrityError) or error.reason is ErrorReason.INTEGRITY_BROKEN:
        return Exit.INTEGRITY
    if isinstance(error, RefusedError) or error.reason is ErrorReason.WIDE_BLAST:
        return Exit.DENIED
    if isinstance(error, UntrustedInputError):
        return Exit.USAGE
    if isinstance(error, EnvironmentFailure) and error.reason not in _STUBBORN:
        return Exit.UNAVAILABLE
    return Exit.FAILURE

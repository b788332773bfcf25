# SPDX-License-Identifier: Apache-2.0
"""The first moment of a supervised child: a program that ties itself to its parent and becomes another.

It runs by itself with nothing but the standard library. The tie (``PR_SET_PDEATHSIG``) can only be
made inside the child; making it between fork and exec would run gRPC's fork handlers while gRPC's
threads run, and they may abort the child.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1
_ORPHANED, _NOT_RUNNABLE = 125, 126


def main(argv: list[str]) -> int:
    """Die with the process ``argv[1]``, and become the command ``argv[2:]``."""
    parent, command = int(argv[1]), argv[2:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return _ORPHANED  # it died before the tie was made
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them; a program expects them
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execv(command[0], command)  # noqa: S606 - this is what we are for
    except OSError as exc:
        sys.stderr.write(f"holdfast: cannot run {ascii(command[0])[1:-1]}: {exc.strerror}\n")
        return _NOT_RUNNABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv))

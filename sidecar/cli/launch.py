# SPDX-License-Identifier: Apache-2.0
"""The last moment before an agent's runtime: what ``holdfast run`` starts, and it becomes.

A program of its own, with nothing but the standard library. It makes sure of two things that can
only be done inside the new process, and then replaces itself:

1. It runs only after it was registered: it waits for one byte. If ``holdfast run`` dies first, it
   reads the end of the pipe and goes.
2. It dies with ``holdfast run`` (``PR_SET_PDEATHSIG``), so nobody's kill runs into the void.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

__all__ = ["GO", "main"]

GO = b"g"
_PR_SET_PDEATHSIG = 1
_NOT_FOUND, _NOT_RUNNABLE = 127, 126


def main(argv: list[str]) -> int:
    """Wait on the descriptor ``argv[1]``, then become the command ``argv[2:]``."""
    descriptor, command = int(argv[1]), argv[2:]
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with contextlib.suppress(OSError):
        if os.read(descriptor, 1) != GO:
            return _NOT_RUNNABLE
    os.close(descriptor)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them; a program expects them
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - this is what we are for
    except OSError as exc:
        name = ascii(command[0])[1:-1]
        sys.stderr.write(f"holdfast run: cannot run {name}: {exc.strerror}\n")
        return _NOT_FOUND if isinstance(exc, FileNotFoundError) else _NOT_RUNNABLE


if __name__ == "__main__":
    sys.exit(main(sys.argv))

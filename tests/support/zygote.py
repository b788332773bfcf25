# SPDX-License-Identifier: Apache-2.0
"""Starts control and gates in milliseconds: a process that has imported everything, and forks.

A fresh interpreter takes a second to import gRPC, Cedar and the rest, which is most of what a crash
test would do. This process imports them once, never starts gRPC itself (a fork after that is not
safe) and has one thread. A child is the process that ``holdfast control`` or ``holdfast gate`` is:
the same composition root over the same settings, the same exit codes.

A child can be started with a *breakage* of ``tests.support.breakages``: a guard taken out, for the
negative control of an attack.

Protocol: one JSON object per line over the socket whose number is the first argument.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve orders until the other end hangs up; children die with this process."""
    _die_with_parent()
    connection = socket.socket(fileno=int(sys.argv[1]))
    _preload()
    gc.collect()
    gc.freeze()
    with connection, connection.makefile("rw", encoding="utf-8") as stream:
        for line in stream:
            order = json.loads(line)
            answer = _spawn(order, connection) if order["op"] == "spawn" else _reap(order)
            stream.write(json.dumps(answer) + "\n")
            stream.flush()


_PRELOADED = (
    "sidecar.cli.exits",
    "sidecar.compose.control",
    "sidecar.compose.gate",
    "sidecar.observe.logging",
    "sidecar.settings",
    "tests.support.breakages",
)


def _preload() -> None:
    for name in _PRELOADED:
        importlib.import_module(name)


def _spawn(order: Mapping[str, Any], connection: socket.socket) -> dict[str, Any]:
    pid = os.fork()
    if pid:
        return {"pid": pid}
    code = 1
    try:
        connection.close()
        _die_with_parent()
        os.setpgid(0, 0)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        code = _run(order)
    except BaseException:  # noqa: BLE001 - the last line of a child
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _run(order: Mapping[str, Any]) -> int:
    from sidecar.cli.exits import exit_of
    from sidecar.compose.control import run_control
    from sidecar.compose.gate import run_gate
    from sidecar.errors import HoldfastError
    from sidecar.observe.logging import configure_logging
    from sidecar.settings import Settings
    from tests.support.breakages import apply

    configure_logging(style="json", level="info", process=order["kind"])
    for name in order["breakages"]:
        apply(name)
    try:
        settings = Settings.load(flags=order["flags"], environ={}, config=_config(order))
        if order["kind"] == "control":
            accept = order.get("accept_policy", "")
            asyncio.run(run_control(settings, is_dev=order["is_dev"], accept_policy=accept))
        else:
            asyncio.run(run_gate(settings, agents=order["agents"]))
    except HoldfastError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return int(exit_of(exc))
    return 0


def _config(order: Mapping[str, Any]) -> Path | None:
    return Path(order["config"]) if order.get("config") else None


def _reap(order: Mapping[str, Any]) -> dict[str, Any]:
    _, status = os.waitpid(order["pid"], 0)
    return {"code": os.waitstatus_to_exitcode(status)}


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()

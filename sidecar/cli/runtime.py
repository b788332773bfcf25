# SPDX-License-Identifier: Apache-2.0
"""An agent's runtime as a child: in a session of its own, registered, stopped as a whole.

Laws:

1. The runtime and all it starts form one process group, whose leader is our child.
2. It executes nothing before it was registered with control, or that was tried and told.
3. Stopping is SIGTERM to the group, a grace, SIGKILL to the group; members that outlive their
   leader get the SIGKILL too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import grpc

from sidecar.cli import launch
from sidecar.errors import EnvironmentFailure
from sidecar.internal.v1 import sync_pb2, sync_pb2_grpc

__all__ = ["AgentRuntime", "start_time_of"]

_START_TIME_AFTER_NAME: Final = 19  # field 22 of /proc/<pid>/stat; the name is field 2
_REGISTER_TIMEOUT_S: Final = 2.0
_KILL_WAIT_S: Final = 5.0


def start_time_of(pid: int) -> int:
    """Return when *pid* began, in clock ticks since boot: with it, a reused number is noticed.

    Raises:
        OSError: There is no such process.
    """
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return int(fields[_START_TIME_AFTER_NAME])


class AgentRuntime:
    """One running agent."""

    def __init__(self, process: asyncio.subprocess.Process, *, go: int) -> None:
        self._process = process
        self._go: int | None = go
        self.start_time = start_time_of(process.pid)

    @classmethod
    async def launch(cls, command: Sequence[str], *, env: Mapping[str, str]) -> AgentRuntime:
        """Make the process; it waits until ``go``."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", launch.__file__, str(reading), *command,
                env=dict(env), pass_fds=(reading,), start_new_session=True,
            )  # fmt: skip
        except OSError as exc:
            os.close(writing)
            raise EnvironmentFailure(f"no process can be started: {exc.strerror}") from exc
        finally:
            os.close(reading)
        return cls(process, go=writing)

    @property
    def pid(self) -> int:
        """Process id of the leader; also the number of its process group and session (law 1)."""
        return self._process.pid

    async def register(self, agent: str, socket: Path) -> str:
        """Register with control; return why that failed, or an empty string."""
        request = sync_pb2.RegisterRuntimeRequest(
            agent=agent,
            process_group=self.pid,
            leader=self.pid,
            leader_start_time=self.start_time,
        )
        try:
            async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
                stub = sync_pb2_grpc.SyncServiceStub(channel)
                await stub.RegisterRuntime(request, timeout=_REGISTER_TIMEOUT_S)
        except grpc.aio.AioRpcError as exc:
            return str(exc.details() or exc.code().name)
        return ""

    def go(self) -> None:
        """Let it run (law 2)."""
        if self._go is not None:
            with suppress(OSError):  # it was killed while it waited
                os.write(self._go, launch.GO)
            os.close(self._go)
            self._go = None

    def signal(self, number: int) -> None:
        """Send a signal to the whole group."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    async def wait(self) -> int:
        """Return the exit code once the leader has ended: 128 + n after signal n."""
        code = await self._process.wait()
        return 128 - code if code < 0 else code

    async def stop(self, *, grace_s: float) -> None:
        """Stop the whole group (law 3)."""
        if self._process.returncode is None:
            self.signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(grace_s):
                    await self._process.wait()
            except TimeoutError:
                pass
        self.signal(signal.SIGKILL)
        async with asyncio.timeout(_KILL_WAIT_S):
            await self._process.wait()
        if self._go is not None:
            os.close(self._go)
            self._go = None

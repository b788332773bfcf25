# SPDX-License-Identifier: Apache-2.0
"""One supervised child process: started, waited for until it serves, stopped within a grace.

A child never outlives its supervisor: the kernel kills it when the parent dies (``leash``), so a
crashed ``holdfast up`` leaves no gate behind that nobody watches.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sidecar.errors import EnvironmentFailure, ErrorReason
from sidecar.supervisor import leash
from sidecar.supervisor.health import is_serving

__all__ = ["ManagedProcess", "holdfast_command"]

_POLL_S: Final = 0.02
_TAIL_BYTES: Final = 2000


def holdfast_command(*arguments: str) -> list[str]:
    """Return the command line of ``holdfast`` with *arguments*, in this very environment."""
    return [sys.executable, "-m", "sidecar.cli.main", *arguments]


def _leashed(command: Sequence[str]) -> list[str]:
    # -I and -S: the leash needs neither this environment's packages nor its variables.
    return [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command]


class ManagedProcess:
    """A child of ours and its log file."""

    def __init__(
        self, name: str, command: Sequence[str], *, log_file: Path, env: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log_file = log_file
        self._command = list(command)
        self._env = dict(env)
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id, or None before the start."""
        return self._process.pid if self._process is not None else None

    @property
    def is_running(self) -> bool:
        """Whether the child was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the child; its output goes to the log file."""
        with self.log_file.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *_leashed(self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self._env},
            )

    async def wait_serving(self, address: str, *, deadline_s: float) -> None:
        """Wait until the child answers SERVING on *address*.

        Raises:
            EnvironmentFailure: It ended before, or did not serve in time; says what it printed last.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + deadline_s
        while not await is_serving(address, timeout_s=0.5):
            if not self.is_running:
                raise self._failure("ended before it served")
            if loop.time() >= deadline:
                raise self._failure(f"did not serve within {deadline_s:g} s")
            await asyncio.sleep(_POLL_S)

    async def wait(self) -> int:
        """Wait for the end and return the exit code."""
        assert self._process is not None  # noqa: S101 - wait() after start()
        return await self._process.wait()

    async def stop(self, *, grace_s: float = 5.0) -> int | None:
        """End the child: SIGTERM, then SIGKILL after the grace; return its exit code."""
        if self._process is None:
            return None
        if self.is_running:
            self._process.terminate()
            try:
                async with asyncio.timeout(grace_s):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
        return await self._process.wait()

    async def kill(self) -> None:
        """End the child as a crash would."""
        assert self._process is not None  # noqa: S101 - kill() after start()
        if self.is_running:
            self._process.kill()
        await self._process.wait()

    def _failure(self, what: str) -> EnvironmentFailure:
        try:
            tail = self.log_file.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()
        except OSError:
            tail = ""
        return EnvironmentFailure(
            f"{self.name} {what}" + (f"; it said:\n{tail}" if tail else ""),
            reason=ErrorReason.SOCKET_UNAVAILABLE,
            hint=f"the whole story is in {self.log_file}",
        )

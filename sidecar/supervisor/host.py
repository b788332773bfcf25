# SPDX-License-Identifier: Apache-2.0
"""A whole host in miniature: one control and one gate per agent, as child processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from sidecar.layout import StateLayout
from sidecar.safe_paths import ensure_private_directory
from sidecar.supervisor.process import ManagedProcess, holdfast_command

__all__ = ["Host"]

_START_DEADLINE_S: Final = 30.0


class Host:
    """Starts, restarts and stops control and gates over one state directory."""

    def __init__(
        self,
        *,
        layout: StateLayout,
        bundle: Path,
        agents: Sequence[str],
        listen: str,
        console_listen: str = "",
    ) -> None:
        self.layout = layout
        self.bundle = bundle
        self.agents = tuple(agents)
        self.listen = listen
        self._env = {
            "HOLDFAST_STATE_DIR": str(layout.root),
            "HOLDFAST_RUNTIME_DIR": str(layout.runtime),
            "HOLDFAST_LISTEN": listen,
        }
        if console_listen:
            self._env["HOLDFAST_CONSOLE_LISTEN"] = console_listen
        self.control = ManagedProcess(
            "control",
            holdfast_command("control", "--dev", "--bundle", str(bundle), "--listen", listen),
            log_file=layout.logs / "control.log",
            env=self._env,
        )
        self.gates: dict[str, ManagedProcess] = {}
        self._gate_ids: list[str] = []
        for agent in agents:
            self.add_gate(agent, gate_id=agent)

    def add_gate(self, agent: str, *, gate_id: str) -> None:
        """Let *agent* have a gate of its own with this id, in place of an earlier one."""
        self.gates[agent] = ManagedProcess(
            f"gate {gate_id}",
            holdfast_command("gate", "--agent", agent, "--gate-id", gate_id),
            log_file=self.layout.logs / f"gate-{gate_id}.log",
            env=self._env,
        )
        self._gate_ids.append(gate_id)

    def audit_logs(self) -> list[tuple[str, Path, Path]]:
        """Return (name, directory, verifier key file) of every log of this host."""
        layout = self.layout
        logs = [("control", layout.control_audit)]
        logs += [(f"gate {gate}", layout.gate_audit(gate)) for gate in self._gate_ids]
        return [(name, path, path.parent / "audit.vkey") for name, path in logs]

    async def __aenter__(self) -> Host:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start everything at once and wait until all of it serves."""
        for directory, mode in (
            (self.layout.root, 0o711),
            (self.layout.runtime, 0o711),
            (self.layout.logs, 0o700),
        ):
            ensure_private_directory(directory, mode)
        await asyncio.gather(self.start_control(), *(self.start_gate(a) for a in self.agents))

    async def start_control(self) -> None:
        """Start control and wait until it serves."""
        await self.control.start()
        await self.control.wait_serving(self.local_address, deadline_s=_START_DEADLINE_S)

    async def start_gate(self, agent: str) -> None:
        """Start the gate of *agent* and wait until it serves."""
        gate = self.gates[agent]
        await gate.start()
        await gate.wait_serving(self.agent_address(agent), deadline_s=_START_DEADLINE_S)

    async def stop(self) -> None:
        """Stop gates first, then control."""
        await asyncio.gather(*(gate.stop() for gate in self.gates.values()))
        await self.control.stop()

    @property
    def local_address(self) -> str:
        """Address of control's local socket."""
        return f"unix:{self.layout.local_socket}"

    def agent_address(self, agent: str) -> str:
        """Address of an agent's socket."""
        return f"unix:{self.layout.agent_socket(agent)}"

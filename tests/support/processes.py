# SPDX-License-Identifier: Apache-2.0
"""A host under test: one control and its gates as real processes over one state directory."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidecar.layout import StateLayout

__all__ = ["Deployment", "Process", "Zygote", "free_port", "short_directory"]

_START_S = 30.0
_ROOT = Path(__file__).resolve().parents[2]
_CHANNEL = (
    ("grpc.initial_reconnect_backoff_ms", 10),
    # For all its name, how long one attempt to connect may take: a handshake waits on a busy machine.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 20),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
)


def free_port() -> int:
    """Return a TCP port of the loopback that nobody has now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def short_directory() -> Path:
    """Return a fresh private directory whose name is short enough for socket paths."""
    path = Path(tempfile.mkdtemp(prefix="hf-", dir="/tmp"))
    path.chmod(0o711)
    return path


class Process:
    """One forked child, held by a pidfd: a number that the kernel reuses is never signalled."""

    def __init__(self, zygote: Zygote, pid: int, log: Path) -> None:
        self._zygote = zygote
        self._pidfd = os.pidfd_open(pid)
        self.pid = pid
        self.log = log
        self.code: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self.code is None and not select.select([self._pidfd], [], [], 0)[0]

    def signal(self, number: int) -> None:
        """Send *number*."""
        signal.pidfd_send_signal(self._pidfd, number)

    def wait(self, deadline_s: float = 15.0) -> int:
        """Return the exit code (negative: the signal) once it has ended."""
        if self.code is None:
            if not select.select([self._pidfd], [], [], deadline_s)[0]:
                raise AssertionError(f"process {self.pid} goes on; it said:\n{self.tail()}")
            self.code = self._zygote.reap(self.pid)
            os.close(self._pidfd)
        return self.code

    def kill(self) -> None:
        """End it as a crash would."""
        if self.code is None:
            if self.is_running:
                self.signal(signal.SIGKILL)
            self.wait()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        if self.code is None and self.is_running:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        return self.wait()

    def tail(self, count: int = 4000) -> str:
        """Return the end of what it printed."""
        try:
            return self.log.read_bytes()[-count:].decode(errors="replace")
        except OSError:
            return ""

    def logged(self) -> list[dict[str, Any]]:
        """Return the events it logged."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


class Zygote:
    """The process that forks the others (``tests.support.zygote``)."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.zygote", str(theirs.fileno())],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._socket = ours
        self._stream = ours.makefile("rw", encoding="utf-8")

    def spawn(
        self,
        kind: str,
        *,
        log: Path,
        flags: dict[str, Any],
        agents: Sequence[str] = (),
        is_dev: bool = True,
        config: Path | None = None,
        breakages: Iterable[str] = (),
        accept_policy: str = "",
    ) -> Process:
        """Start a control or a gate."""
        order = {
            "op": "spawn",
            "kind": kind,
            "log": str(log),
            "flags": flags,
            "agents": list(agents),
            "is_dev": is_dev,
            "config": str(config) if config else "",
            "breakages": list(breakages),
            "accept_policy": accept_policy,
        }
        return Process(self, self._ask(order)["pid"], log)

    def reap(self, pid: int) -> int:
        """Return the exit code of a child that has ended."""
        return int(self._ask({"op": "reap", "pid": pid})["code"])

    def close(self) -> None:
        """End it, and with it every child that still runs."""
        self._stream.close()
        self._socket.close()
        self._process.kill()
        self._process.wait()

    def _ask(self, order: dict[str, Any]) -> Any:
        self._stream.write(json.dumps(order) + "\n")
        self._stream.flush()
        line = self._stream.readline()
        if not line:
            raise AssertionError("the zygote is gone")
        return json.loads(line)


class Deployment:
    """One host: its state directory, its control, its gates."""

    def __init__(
        self, zygote: Zygote, *, bundle: Path, root: Path | None = None, **settings: Any
    ) -> None:
        self._zygote = zygote
        self._is_own_root = root is None
        self.root = root or short_directory()
        self.layout = StateLayout.of(self.root / "s", self.root / "r")
        self.layout.root.mkdir(mode=0o711, exist_ok=True)
        self.bundle = bundle
        self.settings = settings
        self.listen = f"127.0.0.1:{free_port()}"
        self.control: Process | None = None
        self.gates: dict[str, Process] = {}
        self._channels: dict[str, grpc.Channel] = {}

    # -- starting and ending ------------------------------------------------------------------

    def start(self, agents: Sequence[str], *, gate_id: str = "gate") -> Deployment:
        """Start control and one gate that serves *agents*; return when both serve."""
        self.launch_control()
        self.launch_gate(agents, gate_id=gate_id)
        self.wait_control()
        for agent in agents:
            self.wait_gate(agent)
        return self

    def launch_control(
        self,
        *,
        breakages: Iterable[str] = (),
        is_dev: bool = True,
        accept_policy: str = "",
        **settings: Any,
    ) -> Process:
        """Start control without waiting for it."""
        flags = {
            "state_dir": str(self.layout.root),
            "runtime_dir": str(self.layout.runtime),
            "bundle": str(self.bundle),
            "listen": self.listen,
            **{name: value for name, value in self.settings.items() if name in _CONTROL_SETTINGS},
            **settings,
        }
        self.control = self._zygote.spawn(
            "control",
            log=self.root / "control.log",
            flags=flags,
            is_dev=is_dev,
            breakages=breakages,
            accept_policy=accept_policy,
        )
        return self.control

    def launch_gate(
        self,
        agents: Sequence[str],
        *,
        gate_id: str = "gate",
        breakages: Iterable[str] = (),
        **settings: Any,
    ) -> Process:
        """Start a gate without waiting for it."""
        flags = {
            "state_dir": str(self.layout.root),
            "runtime_dir": str(self.layout.runtime),
            "gate_id": gate_id,
            **{name: value for name, value in self.settings.items() if name in _GATE_SETTINGS},
            **settings,
        }
        gate = self._zygote.spawn(
            "gate",
            log=self.root / f"gate-{gate_id}.log",
            flags=flags,
            agents=agents,
            breakages=breakages,
        )
        self.gates[gate_id] = gate
        return gate

    def wait_control(self, deadline_s: float = _START_S) -> None:
        """Return when control serves."""
        assert self.control is not None
        self._wait_serving(self.local_address, self.control, deadline_s)

    def wait_gate(self, agent: str, gate_id: str = "gate", deadline_s: float = _START_S) -> None:
        """Return when the gate serves *agent*."""
        self._wait_serving(self.agent_address(agent), self.gates[gate_id], deadline_s)

    def wait_answering(self, agent: str, gate_id: str = "gate") -> None:
        """Return when the gate answers on the socket of *agent*, ready or not."""
        from tests.support.polling import eventually_sync

        def is_up() -> bool:
            process = self.gates[gate_id]
            if not process.is_running:
                raise AssertionError(f"it ended ({process.wait()}); it said:\n{process.tail()}")
            return self.health(self.agent_address(agent), timeout_s=0.2) != "UNREACHABLE"

        eventually_sync(is_up, _START_S)

    def close(self) -> None:
        """Kill what still runs and remove the state."""
        for process in (*self.gates.values(), self.control):
            if process is not None:
                process.kill()
        for channel in self._channels.values():
            channel.close()
        if self._is_own_root:
            shutil.rmtree(self.root, ignore_errors=True)

    # -- where it is --------------------------------------------------------------------------

    @property
    def local_address(self) -> str:
        """Control's local socket."""
        return f"unix:{self.layout.local_socket}"

    @property
    def internal_address(self) -> str:
        """Where gates meet control."""
        return f"unix:{self.layout.internal_socket}"

    def agent_address(self, agent: str) -> str:
        """One agent's socket."""
        return f"unix:{self.layout.agent_socket(agent)}"

    def health(self, address: str, *, timeout_s: float = 0.5) -> str:
        """Return ``SERVING``, ``NOT_SERVING`` or ``UNREACHABLE``."""
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = grpc.insecure_channel(address, options=_CHANNEL)
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=timeout_s, wait_for_ready=True
            )
        except grpc.RpcError:
            return "UNREACHABLE"
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    def _wait_serving(self, address: str, process: Process, deadline_s: float) -> None:
        # A socket of an earlier process may still be there: ask until it is this one that answers.
        from tests.support.polling import eventually_sync

        def is_up() -> bool:
            if not process.is_running:
                raise AssertionError(f"it ended ({process.wait()}); it said:\n{process.tail()}")
            return self.health(address, timeout_s=0.2) == "SERVING"

        try:
            eventually_sync(is_up, deadline_s)
        except AssertionError as exc:
            raise AssertionError(f"{address} does not serve: {exc}\n{process.tail()}") from None


_CONTROL_SETTINGS = {
    "ack_timeout_s",
    "isolation_grace_s",
    "wide_blast_share",
    "metrics_listen",
    "anchor_file",
    "console_listen",
    "api_listen",
    "token_listen",
    "max_pending_approvals",
    "notifications",
}
_GATE_SETTINGS = {"max_staleness_s", "max_in_flight", "outcomes_per_minute"}

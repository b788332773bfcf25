# SPDX-License-Identifier: Apache-2.0
"""``holdfast run``: an agent behind its gate, that stops when it is killed.

The gate enforces; this makes sure that a killed agent does not go on in silence. It watches what the
gate says and ends the whole process group on KILL. FREEZE leaves it, for forensics.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import click
import grpc

from sidecar.api.v1 import guard_pb2, guard_pb2_grpc, types_pb2
from sidecar.cli.client import CHANNEL_OPTIONS
from sidecar.cli.command import command, setting
from sidecar.cli.exits import Exit
from sidecar.cli.output import talk
from sidecar.cli.runtime import AgentRuntime
from sidecar.cli.serve import check_agents
from sidecar.errors import ConfigurationError, EnvironmentFailure, ErrorReason, UntrustedInputError
from sidecar.identifiers import check_session_id
from sidecar.ids import RandomIds
from sidecar.safe_paths import ensure_private_directory
from sidecar.settings import ENVIRONMENT_PREFIX, Settings, pass_on
from sidecar.supervisor.health import serving_status
from sidecar.supervisor.process import ManagedProcess, holdfast_command

__all__ = ["run"]

_FORWARDED: Final = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGWINCH,
)  # fmt: skip
_SDK_VARIABLES: Final = frozenset(
    {"HOLDFAST_DEADLINE_MS", "HOLDFAST_HOLD_TIMEOUT_MS", "HOLDFAST_TOKEN_FILE"}
)
_START_DEADLINE_S: Final = 30.0
_PROBE_S: Final = 1.0
_FIRST_WORD_S: Final = 10.0
_AGAIN_S: Final = 0.25
_REGISTER_EVERY_S: Final = 5.0
_CONTROL_FIRST_S: Final = 0.5
_LAST_WORD_S: Final = 0.5
_OWN_DIRECTORY_MODE: Final = 0o711


@command(
    name="run",
    has_output=False,
    context_settings={"allow_interspersed_args": False},
    examples=(
        "holdfast run --agent banking -- python agent.py",
        "holdfast run --dev --agent banking --session s-42 -- ./agent --verbose",
    ),
)
@click.option("--agent", required=True, help="Which agent it is, as agents.yaml names it.")
@click.option("--session", help="Session its calls belong to; default: a fresh one.")
@click.option("--dev", "is_dev", is_flag=True, help="Start control too, if none runs here.")
@setting("state_dir", "runtime_dir", "bundle", "isolation_grace_s")
@click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    agent: str,
    session: str | None,
    is_dev: bool,
    config: Path | None,
    cmd: tuple[str, ...],
    **flags: Any,
) -> int:
    """Run CMD as an agent: start its gate if need be, and stop CMD if the agent is killed.

    CMD finds its gate in HOLDFAST_ADDRESS and its session in HOLDFAST_SESSION. Signals are passed
    on. Exits with CMD's exit code, or 3 if the agent was killed.
    """
    settings = Settings.load(flags=flags, config=config, is_dev=is_dev)
    check_agents((agent,))
    session = session or os.environ.get("HOLDFAST_SESSION") or RandomIds().new("run")
    try:
        check_session_id(session)
    except UntrustedInputError as exc:
        raise ConfigurationError(exc.message, key="--session", hint="for example s-42") from exc
    inherited = dict(os.environ)
    pass_on(flags, config)
    return asyncio.run(
        _run(settings, agent, session, cmd, is_dev=is_dev, env=_environment(inherited))
    )


def _environment(inherited: dict[str, str]) -> dict[str, str]:
    """Return the environment for an agent: none of our settings, for they are not its business."""
    return {
        name: value
        for name, value in inherited.items()
        if not name.startswith(ENVIRONMENT_PREFIX) or name in _SDK_VARIABLES
    }


async def _run(
    settings: Settings,
    agent: str,
    session: str,
    command_line: Sequence[str],
    *,
    is_dev: bool,
    env: dict[str, str],
) -> int:
    address = f"unix:{settings.layout.agent_socket(agent)}"
    env |= {"HOLDFAST_ADDRESS": address, "HOLDFAST_SESSION": session}
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(_serving(settings, agent, is_dev=is_dev))
        channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        await stack.enter_async_context(channel)
        watch = _Watch(guard_pb2_grpc.GuardServiceStub(channel), session)
        killed = await watch.first()
        if killed is not None:
            talk(f"not started: agent {agent} is killed ({killed})")
            return Exit.DENIED
        runtime = await AgentRuntime.launch(command_line, env=env)
        stack.push_async_callback(runtime.stop, grace_s=settings.isolation_grace_s)
        return await _accompany(settings, agent, runtime, watch, own)


async def _accompany(
    settings: Settings,
    agent: str,
    runtime: AgentRuntime,
    watch: _Watch,
    own: Sequence[ManagedProcess],
) -> int:
    """Let the runtime run, and stay with it until it ends or must end."""
    passed_on: set[int] = set()

    def pass_on_signal(number: int) -> None:
        passed_on.add(number)
        runtime.signal(number)

    loop = asyncio.get_running_loop()
    for number in _FORWARDED:
        loop.add_signal_handler(number, pass_on_signal, number)
    socket = settings.layout.internal_socket
    problem = await runtime.register(agent, socket)
    if problem:
        talk(
            f"warning: control does not know this runtime ({problem}): on KILL it is stopped from "
            "here alone",
            style="yellow",
        )
    runtime.go()
    ending = asyncio.create_task(runtime.wait())
    killing = asyncio.create_task(watch.until_killed())
    registering = asyncio.create_task(_keep_registered(runtime, agent, socket))
    deaths = {asyncio.create_task(process.wait()): process for process in own}
    tasks: set[asyncio.Task[Any]] = {ending, killing, registering, *deaths}
    try:
        await asyncio.wait({ending, killing, *deaths}, return_when=asyncio.FIRST_COMPLETED)
        if killing.done():
            talk(f"agent {agent} is killed ({killing.result()}): stopping it")
            if not problem:  # what control stops, its receipt proves
                await asyncio.wait({ending}, timeout=_CONTROL_FIRST_S)
            await runtime.stop(grace_s=settings.isolation_grace_s)
            return Exit.DENIED
        if ending.done():
            # Control may have stopped it a moment before the gate's word arrived here.
            return await _verdict(ending.result(), passed_on, killing, agent)
        process = next(process for task, process in deaths.items() if task.done())
        talk(f"error: {process.name} ended, so the agent was stopped; see {process.log_file}")
        await runtime.stop(grace_s=settings.isolation_grace_s)
        return Exit.UNAVAILABLE
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _verdict(code: int, passed_on: set[int], killing: asyncio.Task[str], agent: str) -> int:
    """Return the exit code of a runtime that ended by itself, or because control stopped it."""
    if code - 128 not in {signal.SIGTERM, signal.SIGKILL} - passed_on:
        return code
    await asyncio.wait({killing}, timeout=_LAST_WORD_S)
    if not killing.done():
        return code
    talk(f"agent {agent} was killed ({killing.result()})")
    return Exit.DENIED


async def _keep_registered(runtime: AgentRuntime, agent: str, socket: Path) -> None:
    """Register again and again: a control that was restarted has forgotten."""
    while True:
        await asyncio.sleep(_REGISTER_EVERY_S)
        await runtime.register(agent, socket)


class _Watch:
    """What the gate says about the agent."""

    def __init__(self, stub: guard_pb2_grpc.GuardServiceStub, session: str) -> None:
        self._stub = stub
        self._request = guard_pb2.WatchContainmentRequest(session_id=session)

    async def first(self) -> str | None:
        """Return why the agent is killed already, or None.

        Raises:
            EnvironmentFailure: The gate does not say.
        """
        stream = self._stub.WatchContainment(self._request)
        try:
            async with asyncio.timeout(_FIRST_WORD_S):
                message = await stream.read()
        except (TimeoutError, grpc.aio.AioRpcError) as exc:
            raise EnvironmentFailure(
                "the gate does not say how the agent is held",
                reason=ErrorReason.SOCKET_UNAVAILABLE,
                hint="look at the gate's log",
            ) from exc
        finally:
            stream.cancel()
        return None if message is grpc.aio.EOF else _why_killed(message)

    async def until_killed(self) -> str:
        """Return why, once the agent is killed; a gate that restarts is asked again."""
        while True:
            try:
                async for message in self._stub.WatchContainment(self._request):
                    why = _why_killed(message)
                    if why is not None:
                        return why
            except grpc.aio.AioRpcError:
                pass  # nobody decides now, so every call of the agent is denied
            await asyncio.sleep(_AGAIN_S)


def _why_killed(message: guard_pb2.WatchContainmentResponse) -> str | None:
    if message.level < types_pb2.LEVEL_KILL:
        return None
    return message.reason.text or message.reason.code or "KILL"


@asynccontextmanager
async def _serving(
    settings: Settings, agent: str, *, is_dev: bool
) -> AsyncIterator[list[ManagedProcess]]:
    """Make sure that the agent's gate serves; yield what had to be started for that."""
    layout = settings.layout
    address = f"unix:{layout.agent_socket(agent)}"
    started: list[ManagedProcess] = []
    env = {"HOLDFAST_STATE_DIR": str(layout.root), "HOLDFAST_RUNTIME_DIR": str(layout.runtime)}
    try:
        status = await serving_status(address, timeout_s=_PROBE_S)
        if status != "SERVING":
            ensure_private_directory(layout.root, _OWN_DIRECTORY_MODE)
            if is_dev:
                await _start_control(settings, started, env)
            if status == "UNREACHABLE":
                gate = ManagedProcess(
                    f"the gate of {agent}",
                    holdfast_command("gate", "--agent", agent),
                    log_file=layout.logs / f"gate-{agent}.log",
                    env=env,
                )
                started.insert(0, gate)
                await gate.start()
                await gate.wait_serving(address, deadline_s=_START_DEADLINE_S)
            await _wait_serving(address, agent)
        yield started
    finally:
        for process in started:  # the gate first
            await process.stop()


async def _start_control(
    settings: Settings, started: list[ManagedProcess], env: dict[str, str]
) -> None:
    local = f"unix:{settings.layout.local_socket}"
    if await serving_status(local, timeout_s=_PROBE_S) == "SERVING":
        return
    control = ManagedProcess(
        "control",
        holdfast_command("control", "--dev", "--bundle", str(settings.bundle)),
        log_file=settings.layout.logs / "control.log",
        env=env,
    )
    started.append(control)
    await control.start()
    await control.wait_serving(local, deadline_s=_START_DEADLINE_S)


async def _wait_serving(address: str, agent: str) -> None:
    """Wait for a gate that somebody else runs."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _START_DEADLINE_S
    while (status := await serving_status(address, timeout_s=_PROBE_S)) != "SERVING":
        if loop.time() >= deadline:
            raise EnvironmentFailure(
                f"the gate of {agent} does not serve ({status})",
                reason=ErrorReason.SOCKET_UNAVAILABLE,
                hint="is control running? `holdfast doctor` looks",
            )
        await asyncio.sleep(_AGAIN_S)

# SPDX-License-Identifier: Apache-2.0
"""``holdfast up``: a whole host from one terminal. In production a service manager does this."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from sidecar.cli.command import command, setting
from sidecar.cli.endpoint import control_address
from sidecar.cli.exits import Exit
from sidecar.cli.output import Page, emit, is_json, talk
from sidecar.cli.serve import check_agents
from sidecar.documents import did_you_mean
from sidecar.errors import ConfigurationError
from sidecar.policy.bundle import load_bundle
from sidecar.safe_paths import ensure_private_directory
from sidecar.settings import Settings, pass_on, variable_of
from sidecar.supervisor.host import Host
from sidecar.supervisor.process import ManagedProcess, holdfast_command

__all__ = ["up"]

_OWN_DIRECTORY_MODE: Final = 0o711
_DEV_LISTENERS: Final = {
    "console_listen": "127.0.0.1:7444",
    "api_listen": "127.0.0.1:7445",
    "token_listen": "127.0.0.1:7446",
}
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@command(
    name="up",
    examples=(
        "holdfast up --dev",
        "holdfast up --dev --bundle ./bundle --agent banking --agent travel",
        "holdfast up --config /etc/holdfast/holdfast.yaml",
    ),
)
@click.option(
    "--dev",
    "is_dev",
    is_flag=True,
    help="Make certificates by itself, use the built-in bundle. Never in production.",
)
@click.option(
    "--agent",
    "agents",
    multiple=True,
    help="An agent to start a gate for; default: every agent of the bundle.",
)
@setting(
    "state_dir", "runtime_dir", "bundle", "listen", "console_listen", "api_listen", "token_listen"
)
def up(is_dev: bool, agents: tuple[str, ...], config: Path | None, **flags: Any) -> Exit:
    """Start control and one gate per agent, and keep them together until Ctrl-C.

    If one of them ends, says which, stops the others and exits 1.
    """
    settings = Settings.load(flags=flags, config=config, is_dev=is_dev)
    settings.check_for_control(is_dev=is_dev)
    if is_dev:
        update = {
            name: address
            for name, address in _DEV_LISTENERS.items()
            if settings.origin_of(name) == "default"
        }
        settings = settings.model_copy(update=update)
    check_agents(agents)
    chosen = agents_of(settings, agents)
    pass_on({**flags, "metrics_listen": ""}, config)
    ensure_private_directory(settings.state_dir, _OWN_DIRECTORY_MODE)
    return asyncio.run(_up(settings, chosen, is_dev=is_dev))


def agents_of(settings: Settings, named: Sequence[str]) -> tuple[str, ...]:
    """Return *named*, or every agent of the bundle.

    Raises:
        ConfigurationError: An agent is not in the bundle, or there is none.
        DocumentErrors: The bundle does not load.
    """
    assert settings.bundle is not None  # noqa: S101 - check_for_control()
    declared = load_bundle(settings.bundle).agents
    for agent in named:
        if agent not in declared:
            raise ConfigurationError(
                f"{agent} is not in {settings.bundle / 'agents.yaml'}",
                key="--agent",
                hint=did_you_mean(agent, declared) or f"there are: {', '.join(declared)}",
            )
    chosen = tuple(named) or tuple(declared)
    if not chosen:
        raise ConfigurationError(
            "the bundle declares no agent", key="bundle", hint="add one to agents.yaml"
        )
    return chosen


async def _up(settings: Settings, agents: Sequence[str], *, is_dev: bool) -> Exit:
    assert settings.bundle is not None  # noqa: S101 - check_for_control()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    host = Host(
        layout=settings.layout, bundle=settings.bundle, agents=agents, listen=settings.listen
    )
    host.control = _control(settings, is_dev=is_dev)
    talk(f"starting control and {len(agents)} gate(s) …")
    starting = asyncio.create_task(host.start())
    try:
        await _either(starting, stop)
        if stop.is_set():
            return Exit.OK
        await starting
        _tell(settings, host, is_dev=is_dev)
        ended = await _first_end(host, stop)
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await host.stop()
    if ended is None:
        talk("stopped")
        return Exit.OK
    name, code, log_file = ended
    talk(f"error: {name} ended (exit {code}), so everything was stopped; see {log_file}")
    return Exit.FAILURE


def _control(settings: Settings, *, is_dev: bool) -> ManagedProcess:
    """Return control's process; the only one that serves metrics, for there is one address."""
    layout = settings.layout
    return ManagedProcess(
        "control",
        holdfast_command(
            "control", *(["--dev"] if is_dev else []),
            "--bundle", str(settings.bundle), "--listen", settings.listen,
        ),
        log_file=layout.logs / "control.log",
        env={
            variable_of("state_dir"): str(layout.root),
            variable_of("runtime_dir"): str(layout.runtime),
            variable_of("metrics_listen"): settings.metrics_listen,
            **{variable_of(name): getattr(settings, name) for name in _DEV_LISTENERS},
        },
    )  # fmt: skip


async def _either(task: asyncio.Task[Any], stop: asyncio.Event) -> None:
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


async def _first_end(host: Host, stop: asyncio.Event) -> tuple[str, int, Path] | None:
    """Wait for a signal or the first process to end; return which one, and how."""
    processes = [host.control, *host.gates.values()]
    waits = {asyncio.create_task(process.wait()): process for process in processes}
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({*waits, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            return None
        task = next(task for task in waits if task in done)
        return waits[task].name, task.result(), waits[task].log_file
    finally:
        for pending in (*waits, stopping):
            pending.cancel()


def _tell(settings: Settings, host: Host, *, is_dev: bool) -> None:
    layout = settings.layout
    address = control_address(layout, settings.listen)
    sockets = {agent: str(layout.agent_socket(agent)) for agent in host.agents}
    operators = sorted(load_bundle(host.bundle).operators) if is_dev else []
    certificates: dict[str, Any] = {
        "ca": str(layout.pki / "ca.pem") if is_dev else str(settings.client_ca),
        "operators": {
            name: {
                "certificate": str(layout.pki / f"{name}.pem"),
                "key": str(layout.pki / f"{name}.key"),
            }
            for name in operators
        },
    }
    data = {
        "dev": is_dev,
        "address": address,
        "console": settings.console_origin,
        "api": f"https://{settings.api_listen}" if settings.api_listen else "",
        "token_address": settings.token_listen,
        "local_socket": str(layout.local_socket),
        "agents": sockets,
        "certificates": certificates,
        "logs": str(layout.logs),
    }
    agent = host.agents[0]
    where = _where(settings)
    rows: list[tuple[str, object]] = [
        ("control", f"{address} and {layout.local_socket}"),
        *((("console", settings.console_origin),) if settings.console_origin else ()),
        *((("JSON API", f"https://{settings.api_listen}"),) if settings.api_listen else ()),
        *((("API tokens", settings.token_listen),) if settings.token_listen else ()),
        *((f"agent {name}", socket) for name, socket in sockets.items()),
        ("logs", layout.logs),
        *((f"operator {name}", layout.pki / f"{name}.pem") for name in operators),
    ]

    def show(page: Page) -> None:
        if is_dev:
            page.mark(None, "DEVELOPMENT MODE: certificates of our own making")
        page.fields(rows)
        page.line()
        page.line("Next, in another terminal:")
        for text in where:
            page.line(f"  {text}")
        page.line(f"  holdfast run --agent {agent} -- COMMAND …")
        page.line(f"  holdfast agents show {agent}")
        page.line(f'  holdfast contain agent {agent} --level kill --reason "drill"')
        page.line()
        page.line("Ctrl-C stops everything.")

    emit("Host", data, show)
    if is_json():
        sys.stdout.flush()


def _where(settings: Settings) -> list[str]:
    """Return what another terminal must know, unless it would find out by itself."""
    names = [name for name in ("state_dir", "runtime_dir") if settings.origin_of(name) != "default"]
    if not names:
        return []
    values = " ".join(f"{variable_of(name)}={getattr(settings, name)}" for name in names)
    return [f"export {values}"]

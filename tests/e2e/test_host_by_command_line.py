# SPDX-License-Identifier: Apache-2.0
"""A host as people run it: the real command line, the example bundle, the SDK, nothing forked."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.layout import StateLayout
from sidecar.sdk import Guard
from sidecar.supervisor.health import is_serving
from sidecar.supervisor.host import Host
from sidecar.supervisor.process import holdfast_command
from tests.support.polling import eventually
from tests.support.processes import free_port, short_directory

BUNDLE = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "agentdojo" / "bundle"
KNOWN_PAYEE = "GB29NWBK60161331926819"
PAYMENT = {"recipient": KNOWN_PAYEE, "amount": 12.5, "subject": "Lunch", "date": "2022-04-02"}


async def holdfast(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run the command line; return exit code, stdout and stderr."""
    process = await _spawn(*arguments, env=env, output=asyncio.subprocess.PIPE)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def _spawn(
    *arguments: str, env: dict[str, str] | None, output: Any
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *holdfast_command(*arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={**os.environ, **(env or {})},
    )


class Commands:
    """Control and gates, each started by ``holdfast`` as a service manager starts it."""

    def __init__(self, root: Path) -> None:
        self.layout = StateLayout.of(root / "s", root / "r")
        self.env = {
            "HOLDFAST_STATE_DIR": str(self.layout.root),
            "HOLDFAST_RUNTIME_DIR": str(self.layout.runtime),
        }
        self.running: dict[str, asyncio.subprocess.Process] = {}
        self._log = (root / "log").open("ab")
        self._control = (
            *("control", "--dev", "--bundle", str(BUNDLE)),
            *("--listen", f"127.0.0.1:{free_port()}"),
        )

    async def start(self, *names: str) -> None:
        """Start control, or the gate of an agent, and wait until each serves."""
        for name in names:
            gate = ("gate", "--agent", name, "--gate-id", name)
            arguments = self._control if name == "control" else gate
            self.running[name] = await _spawn(*arguments, env=self.env, output=self._log)
        for name in names:
            await eventually(lambda name=name: is_serving(self.address(name), timeout_s=0.5), 30)

    async def crash(self, name: str) -> None:
        """End a process with SIGKILL."""
        self.running[name].kill()
        await self.running[name].wait()

    async def terminate(self) -> dict[str, int]:
        """Ask everything to end at once; return the exit codes."""
        for process in self.running.values():
            process.terminate()
        return {
            name: await asyncio.wait_for(process.wait(), 20)
            for name, process in self.running.items()
        }

    async def close(self) -> None:
        """Kill what still runs."""
        for process in self.running.values():
            if process.returncode is None:
                process.kill()
                await process.wait()
        self._log.close()

    def address(self, name: str) -> str:
        """Address of control's local socket, or of an agent's."""
        layout = self.layout
        return f"unix:{layout.local_socket if name == 'control' else layout.agent_socket(name)}"


@pytest.fixture
async def host() -> AsyncIterator[Commands]:
    """Control and two gates."""
    root = short_directory()
    commands = Commands(root)
    try:
        await commands.start("control", "banking", "travel")
        yield commands
    finally:
        await commands.close()
        shutil.rmtree(root, ignore_errors=True)


@pytest.mark.slow
async def test_e11_a_kill_from_allow_to_proof(host: Commands) -> None:
    """Allowed, killed over the local socket, killed after crashes, released when two humans agree."""
    env = host.env

    async def run(*arguments: str) -> dict[str, Any]:
        code, out, err = await holdfast(*arguments, "--json", env=env)
        assert code == 0, err
        return dict(json.loads(out))

    async with (
        Guard(host.address("banking"), deadline=timedelta(seconds=2)) as guard,
        Guard(host.address("travel"), deadline=timedelta(seconds=5)) as other,
    ):
        await guard.wait_ready(10)
        before = await guard.authorize("send_money", PAYMENT)
        held = await guard.authorize("send_money", {**PAYMENT, "recipient": "NL91ABNA0417164300"})
        kill = await run(
            *("contain", "agent", "banking", "--level", "kill", "--reason", "e2e"),
            *("--confirm", "banking", "--local"),
        )
        during = await guard.authorize("get_balance", {})
        bystander = await other.authorize("get_all_hotels_in_city", {"city": "Rome"})

        await host.crash("control")
        await host.crash("banking")
        gone = await guard.authorize("get_balance", {})
        await host.start("control", "banking")
        await guard.wait_ready(10)
        after = await guard.authorize("get_balance", {})

        epoch = str(_find(kill, "epoch"))
        code, _, refusal = await holdfast(
            *("release", epoch, "--reason", "e2e", "--as", "soar"), env=env
        )
        waits, asked, _ = await holdfast(
            *("release", epoch, "--reason", "e2e", "--as", "alice", "--json"), env=env
        )
        approval = str(_find(json.loads(asked), "approval"))
        own, _, _ = await _grant(approval, "alice", env)
        still = await guard.authorize("get_balance", {})
        granted, _, error = await _grant(approval, "dave", env)
        assert granted == 0, error

        async def is_free() -> bool:
            return (await guard.authorize("get_balance", {})).allowed

        await eventually(is_free, 10)

    assert before.effect == "ALLOW"
    assert held.effect == "HOLD"
    assert (during.reason.code, after.reason.code) == ("KILLED", "KILLED")
    assert bystander.effect == "ALLOW"
    assert gone.is_local
    assert gone.effect == "DENY"
    assert code == 3, refusal
    assert waits == 4
    assert own != 0
    assert still.reason.code == "KILLED"

    await host.terminate()
    layout = host.layout
    for log in (layout.control_audit, layout.gate_audit("banking"), layout.gate_audit("travel")):
        key = str(log.parent / "audit.vkey")
        code, _, err = await holdfast("audit", "verify", str(log), "--key", key)
        assert code == 0, (log, err)


async def _grant(approval: str, operator: str, env: dict[str, str]) -> tuple[int, str, str]:
    """Look at a request as *operator* and grant what was seen."""
    _, shown, _ = await holdfast("approvals", "show", approval, "--as", operator, "--json", env=env)
    fingerprint = _find(json.loads(shown), "fingerprint") if shown.strip() else "0" * 64
    return await holdfast(
        *("approvals", "grant", approval, "--fingerprint", str(fingerprint), "--as", operator),
        env=env,
    )


def _find(document: Any, name: str) -> Any:
    """Return the first value under *name* anywhere in *document*."""
    if isinstance(document, dict):
        if name in document:
            return document[name]
        document = list(document.values())
    if isinstance(document, list):
        for item in document:
            found = _find(item, name)
            if found is not None:
                return found
    return None


@pytest.mark.slow
async def test_k02_command_line_refuses_a_bad_configuration_by_place(tmp_path: Path) -> None:
    """Exit code 2, and file, line and key on the terminal; the same from the environment."""
    config = tmp_path / "holdfast.yaml"
    config.write_text("state_dir: /tmp/x\nlisten: 127.0.0.1:1\nfail_open: true\n")
    by_file, by_variable, by_flag = await asyncio.gather(
        holdfast("control", "--config", str(config)),
        holdfast("gate", "--agent", "banking", env={"HOLDFAST_INSECURE": "1"}),
        holdfast("gate", "--agent", "NOT AN AGENT", "--state-dir", str(tmp_path)),
    )

    assert [code for code, _, _ in (by_file, by_variable, by_flag)] == [2, 2, 2]
    assert "holdfast.yaml:3" in by_file[2]
    assert "fail_open" in by_file[2]
    assert "HOLDFAST_INSECURE" in by_variable[2]
    assert "--agent" in by_flag[2]


@pytest.mark.slow
async def test_e17_terminated_processes_end_in_order_and_cleanly(host: Commands) -> None:
    """SIGTERM to all at once: every process ends by itself with code 0, and removes its socket."""
    codes = await host.terminate()

    assert codes == {"control": 0, "banking": 0, "travel": 0}
    assert not host.layout.agent_socket("banking").exists()


@pytest.mark.slow
async def test_supervisor_starts_and_restarts_its_children() -> None:
    """``Host``, as ``holdfast up`` uses it: what crashed is started again, every time."""
    root = short_directory()
    layout = StateLayout.of(root / "s", root / "r")
    listen = f"127.0.0.1:{free_port()}"
    try:
        async with Host(layout=layout, bundle=BUNDLE, agents=["banking"], listen=listen) as host:
            for _ in range(3):
                await asyncio.gather(host.control.kill(), host.gates["banking"].kill())
                await asyncio.gather(host.start_control(), host.start_gate("banking"))
    finally:
        shutil.rmtree(root, ignore_errors=True)

# SPDX-License-Identifier: Apache-2.0
"""A host as people run it: the real command line, the example bundle, the SDK, nothing forked."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.layout import StateLayout
from sidecar.sdk import Guard
from sidecar.supervisor.host import Host
from sidecar.supervisor.process import holdfast_command
from tests.support.polling import eventually
from tests.support.processes import free_port, short_directory

BUNDLE = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "agentdojo" / "bundle"
KNOWN_PAYEE = "GB29NWBK60161331926819"
PAYMENT = {"recipient": KNOWN_PAYEE, "amount": 12.5, "subject": "Lunch", "date": "2022-04-02"}


async def holdfast(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run the command line; return exit code, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *holdfast_command(*arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    """Control and two gates, each started by ``holdfast``."""
    root = short_directory()
    layout = StateLayout.of(root / "s", root / "r")
    try:
        async with Host(
            layout=layout,
            bundle=BUNDLE,
            agents=["banking", "travel"],
            listen=f"127.0.0.1:{free_port()}",
        ) as running:
            yield running
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.mark.slow
async def test_e11_a_kill_from_allow_to_proof(host: Host) -> None:
    """Allowed, killed over the local socket, killed after crashes, released by a second human."""
    env = {
        "HOLDFAST_STATE_DIR": str(host.layout.root),
        "HOLDFAST_RUNTIME_DIR": str(host.layout.runtime),
    }

    async def run(*arguments: str) -> dict[str, Any]:
        code, out, err = await holdfast(*arguments, "--json", env=env)
        assert code == 0, err
        return dict(json.loads(out))

    banking = host.agent_address("banking")
    async with (
        Guard(banking, deadline=timedelta(seconds=2)) as guard,
        Guard(host.agent_address("travel"), deadline=timedelta(seconds=5)) as other,
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

        await host.control.kill()
        await host.gates["banking"].kill()
        gone = await guard.authorize("get_balance", {})
        await asyncio.gather(host.start_control(), host.start_gate("banking"))
        await guard.wait_ready(10)
        after = await guard.authorize("get_balance", {})

        epoch = str(_find(kill, "epoch"))
        code, _, refusal = await holdfast(
            *("release", epoch, "--reason", "e2e", "--as", "soar"), env=env
        )
        await run("release", epoch, "--reason", "e2e", "--as", "bob")

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

    await host.stop()
    for name, directory, key in host.audit_logs():
        code, _, err = await holdfast("audit", "verify", str(directory), "--key", str(key))
        assert code == 0, (name, err)


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
async def test_e17_terminated_processes_end_in_order_and_cleanly(host: Host) -> None:
    """SIGTERM to all at once: every process ends by itself with code 0, and removes its socket."""
    processes = [host.control, *host.gates.values()]
    for process in processes:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
    codes = await asyncio.gather(*(asyncio.wait_for(process.wait(), 15) for process in processes))

    assert codes == [0, 0, 0]
    assert not host.layout.agent_socket("banking").exists()

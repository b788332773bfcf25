# SPDX-License-Identifier: Apache-2.0
"""``holdfast up``: real control and gate as children; together up, together down."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.cli.exits import Exit

DEADLINE_S = 60.0


@pytest.fixture
def up(short_dir):
    """Start ``holdfast up --dev`` and return it with what it printed once everything serves."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> tuple[subprocess.Popen[str], dict]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = subprocess.Popen(
            [
                sys.executable, "-m", "sidecar.cli.main", "up", "--dev", "--json",
                "--state-dir", str(short_dir / "s"), "--runtime-dir", str(short_dir / "r"),
                "--listen", f"127.0.0.1:{port}", *arguments,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        started.append(process)
        text = ""
        while not text.endswith("\n}\n"):
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            text += line
        told = json.loads(text)
        assert told["kind"] == "Host", told
        return process, told

    yield start
    for process in started:
        process.kill()
        process.communicate()


def children_of(pid: int) -> dict[str, int]:
    """Return the pid of each child by its holdfast command."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    words = {int(one): Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0") for one in pids}
    return {line[3].decode(): one for one, line in words.items() if len(line) > 3}


@pytest.mark.slow
def test_up_serves_and_stops_together(up, holdfast, short_dir, monkeypatch):
    """Sockets and certificates are told, commands find it, a signal ends all of it."""
    process, told = up()
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(short_dir / "s"))
    monkeypatch.setenv("HOLDFAST_RUNTIME_DIR", str(short_dir / "r"))
    children = children_of(process.pid)

    allowed = holdfast("try", "files.read", "--arg", "path=workspace/x", "--json")
    by_certificate = holdfast("directives", "list", "--as", "alice", "--json")
    doctor = holdfast("doctor", "--dev", "--json")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=DEADLINE_S)

    assert told["kind"] == "Host"
    assert set(told["agents"]) == {"demo"}
    assert Path(told["certificates"]["operators"]["alice"]["certificate"]).is_file()
    assert allowed.code == Exit.OK
    assert allowed.json()["explanation"]["policies"]
    assert by_certificate.code == Exit.OK
    assert doctor.code == Exit.OK, doctor.out
    assert process.returncode == Exit.OK
    assert "stopped" in err
    assert set(children) == {"control", "gate"}
    assert not [pid for pid in children.values() if Path(f"/proc/{pid}").exists()]


@pytest.mark.slow
def test_up_says_which_child_ended_and_stops_the_others(up):
    """A gate that dies is not a host that runs."""
    process, _ = up()
    children = children_of(process.pid)

    os.kill(children["gate"], signal.SIGKILL)
    _, err = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == Exit.FAILURE
    assert "gate demo ended (exit -9), so everything was stopped" in err
    assert not Path(f"/proc/{children['control']}").exists()

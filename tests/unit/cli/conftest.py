# SPDX-License-Identifier: Apache-2.0
"""A host in miniature for the commands: a control in memory, a real log, and a runner."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from grpc_health.v1 import health_pb2

from sidecar.audit.log import AuditLog
from sidecar.cli.main import cli
from sidecar.clock import SystemClock
from sidecar.control.pki import InsecureDevelopmentPki
from sidecar.layout import StateLayout
from tests.unit.cli import cli_server

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass(slots=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        """Return what it printed as JSON; nothing else may stand on stdout."""
        document = json.loads(self.out)
        assert document["apiVersion"] == "holdfast/v1"
        return dict(document)


@dataclass(slots=True)
class MemoryHost:
    """One control and the paths around it."""

    layout: StateLayout
    control: Any
    thread: Any
    key: Ed25519PrivateKey

    def serve_tls(self, *operators: str) -> str:
        """Serve over mutual TLS with development certificates; return the address."""
        pki = InsecureDevelopmentPki.ensure(
            self.layout.pki,
            [(name, f"spiffe://holdfast.dev/operator/{name}") for name in operators],
        )
        credentials = grpc.ssl_server_credentials(
            [(pki.key("server").read_bytes(), pki.certificate("server").read_bytes())],
            root_certificates=pki.ca.read_bytes(),
            require_client_auth=True,
        )
        port = self.thread.serve(
            cli_server.register_control(self.control, SERVING), "127.0.0.1:0", credentials
        )
        return f"127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings of the machine it runs on."""
    for name in list(os.environ):
        if name.startswith("HOLDFAST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr("sidecar.settings.DEFAULT_CONFIG", tmp_path / "no.yaml")


@pytest.fixture
def holdfast() -> Callable[..., Outcome]:
    """Run ``holdfast`` in this process."""

    def run(*arguments: str, stdin: str | bytes | None = None) -> Outcome:
        result: Result = CliRunner().invoke(
            cli, list(arguments), input=stdin, prog_name="holdfast", catch_exceptions=False
        )
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    path = Path(tempfile.mkdtemp(prefix="hf-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def host(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryHost]:
    """A control that serves on its local socket, where the commands look for it."""
    layout = StateLayout.of(short_dir / "s", short_dir / "r")
    for directory in (layout.control, layout.local_socket.parent, layout.internal_socket.parent):
        directory.mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(layout.root))
    monkeypatch.setenv("HOLDFAST_RUNTIME_DIR", str(layout.runtime))
    key = Ed25519PrivateKey.generate()
    control = cli_server.MemoryControl(key)
    thread = cli_server.ServerThread()
    thread.serve(cli_server.register_control(control, SERVING), f"unix:{layout.local_socket}")
    yield MemoryHost(layout, control, thread, key)
    thread.stop()


@dataclass(slots=True)
class SmallLog:
    """A real log of a few entries, closed."""

    directory: Path
    vkey: str
    key_file: Path


@pytest.fixture(scope="session")
def pristine_log(tmp_path_factory: pytest.TempPathFactory) -> SmallLog:
    """Written once; tests that damage it take a copy (``small_log``)."""
    home = tmp_path_factory.mktemp("log")
    home.chmod(0o700)
    log = AuditLog.open(
        home / "audit",
        origin="holdfast.test/control",
        signing_key=Ed25519PrivateKey.generate(),
        clock=SystemClock(),
    )
    for number in range(5):
        log.append(
            {
                "kind": "decision",
                "agent": "banking" if number % 2 else "travel",
                "tool": "send_money",
                "effect": "DENY",
                "decision_id": f"dec_{number}",
            }
        )
    log.close()
    key_file = home / "audit.vkey"
    key_file.write_text(log.vkey + "\n")
    return SmallLog(home / "audit", log.vkey, key_file)


@pytest.fixture
def small_log(pristine_log: SmallLog, tmp_path: Path) -> SmallLog:
    """A copy of the log that a test may damage."""
    home = tmp_path / "log"
    shutil.copytree(pristine_log.directory.parent, home)
    home.chmod(0o700)
    return SmallLog(home / "audit", pristine_log.vkey, home / "audit.vkey")

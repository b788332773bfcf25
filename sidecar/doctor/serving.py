# SPDX-License-Identifier: Apache-2.0
"""Whether control and gates answer, and whether anything that should be off was left on."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sidecar.doctor.result import CheckResult, Patient, failed, fine, warned
from sidecar.settings import split_address
from sidecar.supervisor.health import serving_status

__all__ = ["check_insecure", "check_serving"]

_TIMEOUT_S: Final = 2.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_CHATTY: Final = ("GRPC_TRACE", "GRPC_VERBOSITY")


async def check_serving(patient: Patient) -> list[CheckResult]:
    """Control and every gate whose socket is there say SERVING."""
    layout = patient.layout
    sockets = [("control", layout.local_socket)]
    try:
        agents = sorted(layout.agents.iterdir())
    except OSError:
        agents = []
    sockets += [(f"gate of {path.name}", path / "guard.sock") for path in agents]
    return list(await asyncio.gather(*(_one(name, path) for name, path in sockets)))


async def _one(name: str, path: Path) -> CheckResult:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        start = "holdfast control" if name == "control" else "its gate: every call is denied"
        return failed(name, f"{path} is not there", f"start {start}")
    except OSError as exc:
        return warned(name, f"{path}: {exc.strerror}", "run doctor as root")
    if not is_socket:
        return failed(name, f"{path} is no socket", "find out who made it, then remove it")
    if not os.access(path, os.R_OK | os.W_OK):
        return warned(name, f"{path} is not for this user", "run doctor as root")
    status = await serving_status(f"unix:{path}", timeout_s=_TIMEOUT_S)
    if status == "SERVING":
        return fine(name, f"SERVING on {path}")
    if status == "UNREACHABLE":
        return failed(name, f"nobody answers on {path}", "start it again; see its log")
    return failed(
        name, f"{status}: every call is denied", "see its log; is control alive, the disk writable?"
    )


def check_insecure(patient: Patient) -> Iterator[CheckResult]:
    """Nothing that belongs to development or debugging is on."""
    host, _ = split_address(patient.settings.listen)
    has_certificates = patient.settings.tls_certificate is not None
    problems = 0
    if not has_certificates and host not in _LOOPBACK:
        problems += 1
        yield failed(
            "exposure",
            f"development certificates, and control listens on {patient.settings.listen}",
            "listen on 127.0.0.1, or set tls_certificate, tls_key and client_ca",
        )
    for variable in _CHATTY:
        if patient.environ.get(variable):
            problems += 1
            yield warned(
                "debugging", f"{variable} is set: gRPC may print what calls carry", "unset it"
            )
    if not problems:
        yield fine("exposure", f"control listens on {patient.settings.listen}")

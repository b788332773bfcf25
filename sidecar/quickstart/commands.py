# SPDX-License-Identifier: Apache-2.0
"""Runs ``holdfast`` as a person would: another process, over the public API, with a certificate."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any, Final

from sidecar.errors import EnvironmentFailure
from sidecar.supervisor.host import Host
from sidecar.supervisor.process import holdfast_command

__all__ = ["run_holdfast"]

_DEADLINE_S: Final = 40.0


async def run_holdfast(host: Host, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run ``holdfast`` with *arguments* and ``--json``; return exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *holdfast_command(*arguments, "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "HOLDFAST_STATE_DIR": str(host.layout.root),
            "HOLDFAST_RUNTIME_DIR": str(host.layout.runtime),
            "HOLDFAST_LISTEN": host.listen,
        },
    )
    async with asyncio.timeout(_DEADLINE_S):
        out, err = await process.communicate()
    assert process.returncode is not None  # noqa: S101 - communicate() waited
    try:
        return process.returncode, json.loads(out)
    except ValueError as exc:
        raise EnvironmentFailure(
            f"holdfast {' '.join(arguments[:2])} said no JSON: {err.decode(errors='replace')[-500:]}"
        ) from exc

# SPDX-License-Identifier: Apache-2.0
"""Our own command line, over gRPC and over JSON: what scripts use, and what always runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.soar.runners.base import Asset, Outcome, Runner

__all__ = ["RUNNERS", "run_soar"]

_EXITS: Final = {"SUCCESS": (0,), "PENDING": (4,), "PARTIAL": (1,), "FAILED": (1, 2, 3, 5)}
_DEADLINE_S: Final = 120
_HOLDFAST: Final = Path(sys.executable).with_name("holdfast")


def run_soar(
    slug: str, parameters: Mapping[str, str], *, asset: Asset, key: str, transport: str = "json"
) -> subprocess.CompletedProcess[str]:
    """Run ``holdfast soar run`` as a script would, with the credential in a file."""
    with tempfile.TemporaryDirectory() as place:
        options = [
            f"--transport={transport}",
            f"--address={asset.endpoint.removeprefix('https://')}",
            f"--timeout={asset.timeout_seconds}",
            f"--key={key}",
            "--json",
        ]
        for option, name, text in (
            ("--ca", "ca.pem", asset.ca_certificate),
            ("--cert", "client.pem", asset.client_certificate),
            ("--private-key", "client.key", asset.client_key),
            ("--token-file", "token", asset.api_token),
        ):
            if text:
                file = Path(place) / name
                file.touch(mode=0o600)
                file.write_text(text)
                options.append(f"{option}={file}")
        options += [f"--param={name}={value}" for name, value in parameters.items()]
        return subprocess.run(
            [str(_HOLDFAST), "soar", "run", slug, *options],
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=False,
            # Of no host that this machine may have besides.
            env={**os.environ, "HOLDFAST_STATE_DIR": place},
        )


class _CommandLine:
    platform = "holdfast"
    is_stand_in = False

    def __init__(self, transport: str) -> None:
        self._transport = transport
        self.is_grpc = transport == "grpc"
        said = {"grpc": "gRPC", "json": "JSON over HTTPS"}[transport]
        self.runner = f"holdfast {version('holdfast')}: holdfast soar run over {said}"

    def unavailable(self) -> str:
        """Return nothing: it is what is tested."""
        return ""

    def versions(self) -> Mapping[str, str]:
        """Return ours, and those of what carries the calls."""
        found = {
            "holdfast": version("holdfast"),
            "python": "{}.{}.{}".format(*sys.version_info[:3]),
        }
        return found | ({"grpcio": version("grpcio")} if self.is_grpc else {})

    def run(self, slug: str, parameters: Mapping[str, str], *, asset: Asset, key: str) -> Outcome:
        """Run it; the exit code and the printed JSON must say the same."""
        done = run_soar(slug, parameters, asset=asset, key=key, transport=self._transport)
        native = f"{done.stdout}\n{done.stderr}"
        try:
            data = json.loads(done.stdout)
        except ValueError:
            return Outcome(status="FAILED", reason="NO_RESULT", native=native)
        status = str(data["status"])
        if done.returncode not in _EXITS[status]:
            return Outcome(status="FAILED", reason="EXIT_CODE_CONTRADICTS", native=native)
        error = data.get("error", {})
        return Outcome(
            status=status,
            reason=error.get("reason", ""),
            error_class=error.get("class", ""),
            is_retryable=error.get("retryable"),
            data=data,
            native=native,
        )


RUNNERS: tuple[Runner, ...] = (_CommandLine("grpc"), _CommandLine("json"))

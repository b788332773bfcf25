# SPDX-License-Identifier: Apache-2.0
"""The SDK needs grpcio and protobuf, and those only when it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sidecar.sdk

REPOSITORY = Path(__file__).resolve().parents[3]

REFUSING = """
import sys

class Refuse:
    '''Refuses every module that is neither standard library nor allowed.'''

    allowed = {"sidecar", "grpc", "google", "typing_extensions"} | set(sys.stdlib_module_names)

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in self.allowed:
            raise ImportError(f"refused: {name}")
        if top == "sidecar" and name != "sidecar" and not name.startswith(
            ("sidecar.sdk", "sidecar.api")
        ):
            raise ImportError(f"refused: {name}")
        return None

sys.meta_path.insert(0, Refuse())
"""

USE = """
import asyncio, importlib, pkgutil
from datetime import timedelta
import sidecar.sdk, sidecar.sdk.testing

async def main():
    async with sidecar.sdk.Guard("unix:/nonexistent/g.sock",
                                 deadline=timedelta(milliseconds=10)) as guard:
        assert not await guard.authorize("t", {})

asyncio.run(main())
for module in pkgutil.iter_modules(sidecar.sdk.__path__):
    importlib.import_module("sidecar.sdk." + module.name)
"""


def python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_sdk_works_with_grpcio_and_protobuf_alone() -> None:
    """Every module imports and a guard denies where nothing else can be imported.

    ``typing_extensions`` is grpcio's own dependency.
    """
    done = python(REFUSING + USE)

    assert done.returncode == 0, done.stderr


def test_refusing_hook_negative_control() -> None:
    """The hook does refuse: a third-party module and the rest of ``sidecar`` can't be imported."""
    for module in ("structlog", "hypothesis", "sidecar.model", "sidecar.errors"):
        done = python(REFUSING + f"import {module}")

        assert "refused" in done.stderr


def test_importing_the_sdk_imports_neither_grpc_nor_protobuf() -> None:
    """The import is cheap; grpc comes with the first use."""
    done = python(
        "import sys, sidecar.sdk, sidecar.sdk.testing\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'grpc', 'google'}, loaded\n"
        "from sidecar.sdk.testing import FakeGuard\n"
        "import asyncio; asyncio.run(FakeGuard().authorize('t', {}))\n"
        "assert 'grpc' not in sys.modules\n"
    )

    assert done.returncode == 0, done.stderr


def test_public_names() -> None:
    """What is exported is what is promised, and all of it is documented."""
    assert sorted(sidecar.sdk.__all__) == sidecar.sdk.__all__
    for name in sidecar.sdk.__all__:
        assert getattr(sidecar.sdk, name).__doc__, name
    assert "advisory" in (sidecar.sdk.__doc__ or "")

# SPDX-License-Identifier: Apache-2.0
"""What the audit tests share: a signing key, a fast directory, and logs that a test can open."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.audit.log import AuditLog, LogLimits
from sidecar.clock import ManualClock

ORIGIN = "example.com/gate/host-1"
QUIET = LogLimits(checkpoint_interval_s=1e6)
"""Checkpoints only when a test asks, so that what lies on disk does not depend on the machine."""


class SpyFiles:
    """The real file system, which counts operations and can fail one of them.

    ``fail_at`` is the number of the operation to fail; ``how`` is an errno, or ``"short"`` for a
    write that takes half of its bytes and then fails. Syncs do nothing: tests cut no power.
    """

    def __init__(self, *, fail_at: int = -1, how: int | str = 5, only: str = "") -> None:
        from sidecar.audit.files import OsFiles

        self._real = OsFiles()
        self.fail_at = fail_at
        self.how = how
        self.only = only
        self.count = 0
        self.names: list[str] = []

    def _step(self, name: str) -> bool:
        if self.only and name not in self.only.split(","):
            return False
        self.count += 1
        self.names.append(name)
        return self.count - 1 == self.fail_at

    def _fail(self) -> None:
        number = 28 if self.how == "short" else int(self.how)
        raise OSError(number, "injected")

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        if self._step("write"):
            if self.how == "short":
                self._real.write(descriptor, data[: len(data) // 2])
            self._fail()
        return self._real.write(descriptor, data)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        real = getattr(self._real, name)

        def call(*arguments: Any) -> Any:
            if self._step(name):
                self._fail()
            if name in ("fsync", "fdatasync", "sync_directory"):
                return None
            return real(*arguments)

        return call


@pytest.fixture(scope="session")
def signing_key() -> Ed25519PrivateKey:
    """The key of the log under test; fixed, so that bytes on disk are too."""
    return Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def fast_dir() -> Iterator[Path]:
    """A private directory in memory where there is one."""
    base = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(dir=base if base.is_dir() else None, prefix="audit-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def open_log(
    fast_dir: Path, signing_key: Ed25519PrivateKey, clock: ManualClock
) -> Iterator[Callable[..., AuditLog]]:
    """Open the log in ``fast_dir/log`` (or another directory); closed after the test."""
    opened: list[AuditLog] = []

    def open_it(directory: Path | None = None, **options: Any) -> AuditLog:
        settings: dict[str, Any] = {
            "origin": ORIGIN,
            "signing_key": signing_key,
            "clock": clock,
            "limits": QUIET,
            **options,
        }
        log = AuditLog.open(directory or fast_dir / "log", **settings)
        opened.append(log)
        return log

    yield open_it
    for log in opened:
        log.close()


@pytest.fixture
def spy() -> type[SpyFiles]:
    return SpyFiles


@pytest.fixture
def fields() -> Callable[..., dict[str, Any]]:
    """Fields of a decision entry."""

    def make(number: int = 0, **more: Any) -> dict[str, Any]:
        return {
            "kind": "decision",
            "decision_id": f"dec_{number:032x}",
            "agent": "banking",
            "tool": "send_money",
            "effect": "ALLOW",
            **more,
        }

    return make


@pytest.fixture
def build(
    open_log: Callable[..., AuditLog], fields: Callable[..., dict[str, Any]], fast_dir: Path
) -> Callable[..., tuple[Path, str]]:
    """Make a log of so many signed and unsigned entries, as a crash at that moment leaves it.

    Returns its directory and verifier key. Entries are committed one frame each.
    """

    def make(
        signed: int, unsigned: int = 0, *, name: str = "built", batch: bool = False, **options: Any
    ) -> tuple[Path, str]:
        source = fast_dir / f"{name}.source"
        log = open_log(source, **options)
        write = log.append if batch else log.append_sync
        for number in range(signed):
            write(fields(number, note=name))
        if batch and signed:
            log.append_sync(fields(signed, note=name))
        log.checkpoint_sync()
        for number in range(unsigned):
            log.append_sync(fields(signed + number, note=name))
        shutil.copytree(source, fast_dir / name)
        log.close()
        return fast_dir / name, log.vkey

    return make

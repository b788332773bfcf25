# SPDX-License-Identifier: Apache-2.0
"""Where a control of this host listens, for the commands beside it.

A hint, not a credential: whoever is reached there still has to show the right certificate.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sidecar.errors import EnvironmentFailure, HoldfastError
from sidecar.layout import StateLayout
from sidecar.safe_paths import ensure_private_directory
from sidecar.settings import split_address

__all__ = ["control_address", "published_address"]

_NAME: Final = "address"
_MAX_BYTES: Final = 300
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - translated, not bound


@contextmanager
def published_address(layout: StateLayout, listen: str) -> Iterator[None]:
    """Write down where control is about to listen; take it back if it does not come to that.

    A second control over the same state fails on the first one's lock, and must not leave its own
    address behind.

    Raises:
        EnvironmentFailure: Control's directory is not safe, or cannot be written.
    """
    ensure_private_directory(layout.control, 0o700)
    path = _path(layout)
    before = _read(path)
    _write(path, listen)
    try:
        yield
    except HoldfastError:
        _write(path, before or listen)
        raise


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return _checked(file.read(_MAX_BYTES))
    except (OSError, UnicodeDecodeError):
        return ""


def _write(path: Path, listen: str) -> None:
    draft = path.with_name(f"{_NAME}.{os.getpid()}.tmp")
    try:
        draft.write_text(listen + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as exc:
        raise EnvironmentFailure(
            f"{path} cannot be written: {exc.strerror}", hint="free some disk space"
        ) from exc


def control_address(layout: StateLayout, listen: str) -> str:
    """Return where to reach control: what it wrote down, else *listen*."""
    listen = _read(_path(layout)) or listen
    host, port = split_address(listen)
    host = _EVERYWHERE.get(host, f"[{host}]" if ":" in host else host)
    return f"{host}:{port}"


def _path(layout: StateLayout) -> Path:
    return layout.control / _NAME


def _checked(text: str) -> str:
    try:
        split_address(text.strip())
    except ValueError:
        return ""
    return text.strip()

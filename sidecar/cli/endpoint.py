# SPDX-License-Identifier: Apache-2.0
"""Where a control of this host listens, for the commands beside it.

A hint, not a credential: whoever is reached there still has to show the right certificate.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sidecar.layout import StateLayout
from sidecar.safe_paths import ensure_private_directory
from sidecar.settings import split_address

__all__ = ["control_address", "publish_address"]

_NAME: Final = "address"
_MAX_BYTES: Final = 300
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - translated, not bound


def publish_address(layout: StateLayout, listen: str) -> None:
    """Write down where control is about to listen.

    Raises:
        EnvironmentFailure: Control's directory is not safe, or cannot be made.
    """
    ensure_private_directory(layout.control, 0o700)
    path = _path(layout)
    draft = path.with_name(f"{_NAME}.{os.getpid()}.tmp")
    draft.write_text(listen + "\n", encoding="utf-8")
    draft.replace(path)


def control_address(layout: StateLayout, listen: str) -> str:
    """Return where to reach control: what it wrote down, else *listen*."""
    try:
        with _path(layout).open(encoding="utf-8") as file:
            listen = _checked(file.read(_MAX_BYTES)) or listen
    except (OSError, UnicodeDecodeError):
        pass
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

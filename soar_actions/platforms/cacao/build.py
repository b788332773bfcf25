# SPDX-License-Identifier: Apache-2.0
"""Builds what is installed: one archive with the three playbooks, the same bytes every time."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

__all__ = ["build"]

_HERE: Final = Path(__file__).resolve().parent
_EPOCH: Final = (2026, 1, 1, 0, 0, 0)


def build(destination: Path) -> list[Path]:
    """Write ``holdfast-cacao.zip`` into *destination* and return its path."""
    destination.mkdir(parents=True, exist_ok=True)
    archive = destination / "holdfast-cacao.zip"
    files = [*sorted((_HERE / "artefact").glob("*.json")), _HERE / "README.md"]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in files:
            entry = zipfile.ZipInfo(f"holdfast-cacao/{file.name}", _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, file.read_bytes())
    return [archive]

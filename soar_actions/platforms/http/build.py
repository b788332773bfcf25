# SPDX-License-Identifier: Apache-2.0
"""Builds what is imported: the OpenAPI document by itself, and the connector of Logic Apps."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

__all__ = ["build"]

_ARTEFACT: Final = Path(__file__).resolve().parent / "artefact"
_EPOCH: Final = (2026, 1, 1, 0, 0, 0)


def build(destination: Path) -> list[Path]:
    """Write both into *destination* and return their paths; the same bytes every time."""
    destination.mkdir(parents=True, exist_ok=True)
    document = destination / "holdfast-openapi.json"
    document.write_bytes((_ARTEFACT / "openapi.json").read_bytes())
    archive = destination / "holdfast-logic-apps.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted((_ARTEFACT / "logic-apps").iterdir()):
            entry = zipfile.ZipInfo(f"holdfast/{file.name}", _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(entry, file.read_bytes())
    return [document, archive]

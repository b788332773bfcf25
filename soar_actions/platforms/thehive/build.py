# SPDX-License-Identifier: Apache-2.0
"""The responders as Cortex reads them: a folder with definitions, one program and its code.

Cortex's ``responder.urls`` names the folder above ``Holdfast``. The same source makes the same bytes.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from soar_actions.packages.vendor import vendor

__all__ = ["VERSION", "assemble", "build"]

VERSION: Final = "1.0.0"
_ARTEFACT: Final = Path(__file__).resolve().parent / "artefact"
_TIME: Final = (1980, 1, 1, 0, 0, 0)
_PROGRAM: Final = "holdfast_responder.py"


def assemble(directory: Path) -> Path:
    """Make the responders and case templates in *directory*; return the responders' folder."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(_ARTEFACT, directory, ignore=unwanted, dirs_exist_ok=True)
    responders = directory / "Holdfast"
    vendor(responders / "holdfast_actions", prefix="holdfast_actions")
    # Cortex's process runner starts the program itself.
    (responders / _PROGRAM).chmod(0o755)
    return responders


def build(destination: Path) -> list[Path]:
    """Make ``holdfast-thehive-<version>.zip`` in *destination*, and return its path."""
    destination.mkdir(parents=True, exist_ok=True)
    archive = destination / f"holdfast-thehive-{VERSION}.zip"
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        assemble(root)
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for path in sorted(path for path in root.rglob("*") if path.is_file()):
                member = zipfile.ZipInfo(path.relative_to(root).as_posix(), _TIME)
                member.compress_type = zipfile.ZIP_DEFLATED
                mode = 0o755 if path.name == _PROGRAM else 0o644
                member.external_attr = (0o100000 | mode) << 16
                member.create_system = 3
                packed.writestr(member, path.read_bytes())
    return [archive]

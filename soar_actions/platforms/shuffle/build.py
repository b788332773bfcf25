# SPDX-License-Identifier: Apache-2.0
"""The app as Shuffle takes it: a folder below its apps folder, zipped; and the workflows to import.

The same source makes the same bytes: names are sorted, and times are not kept.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from soar_actions.packages.vendor import vendor

__all__ = ["VERSION", "assemble", "build"]

VERSION: Final = "1.0.0"
_HERE: Final = Path(__file__).resolve().parent
_ARTEFACT: Final = _HERE / "artefact"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def assemble(directory: Path) -> Path:
    """Make ``holdfast/1.0.0`` in *directory*, with the actions' code, and return its path."""
    app = directory / "holdfast" / VERSION
    shutil.copytree(
        _ARTEFACT / "holdfast" / VERSION, app, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    vendor(app / "src" / "holdfast_actions", prefix="holdfast_actions")
    readme = _HERE / "README.md"
    if readme.is_file():
        shutil.copyfile(readme, app / "README.md")
    return app


def build(destination: Path) -> list[Path]:
    """Make ``holdfast-shuffle-<version>.zip`` in *destination*, and return its path."""
    destination.mkdir(parents=True, exist_ok=True)
    archive = destination / f"holdfast-shuffle-{VERSION}.zip"
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        assemble(root)
        shutil.copytree(_ARTEFACT / "workflows", root / "workflows")
        files = {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }
    archive.write_bytes(_zipped(files))
    return [archive]


def _zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.external_attr = 0o644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, files[name])
    return packed.getvalue()

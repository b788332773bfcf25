# SPDX-License-Identifier: Apache-2.0
"""The pack as StackStorm installs it: a directory, and the archive that people are given.

``st2 pack install file:///path/to/holdfast`` takes the unpacked directory. The same source makes the
same bytes: names are sorted, and times and owners are not kept.
"""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from soar_actions.packages.vendor import vendor

__all__ = ["VERSION", "assemble", "build"]

VERSION: Final = "1.0.0"
_ARTEFACT: Final = Path(__file__).resolve().parent / "artefact"
_EPOCH: Final = 315_532_800
"""1980-01-01: older than that, some tools refuse."""


def assemble(directory: Path) -> Path:
    """Make the pack in *directory*, with the actions' code, and return its path."""
    pack = directory / "holdfast"
    shutil.copytree(
        _ARTEFACT, pack, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"), dirs_exist_ok=False
    )
    vendor(pack / "actions" / "holdfast_actions", prefix="holdfast_actions")
    return pack


def build(destination: Path) -> list[Path]:
    """Make ``holdfast-stackstorm-<version>.tar.gz`` in *destination*, and return its path."""
    destination.mkdir(parents=True, exist_ok=True)
    archive = destination / f"holdfast-stackstorm-{VERSION}.tar.gz"
    with tempfile.TemporaryDirectory() as scratch:
        archive.write_bytes(_packed(assemble(Path(scratch))))
    return [archive]


def _packed(pack: Path) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(path for path in pack.rglob("*") if path.is_file()):
            member = tarfile.TarInfo(path.relative_to(pack.parent).as_posix())
            member.size, member.mtime, member.mode = path.stat().st_size, _EPOCH, 0o644
            with path.open("rb") as content:
                tar.addfile(member, content)
    return gzip.compress(plain.getvalue(), compresslevel=9, mtime=0)

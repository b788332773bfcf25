# SPDX-License-Identifier: Apache-2.0
"""What differs between two bundles, as a human reads it before granting the new one. No I/O.

Laws:

1. Every file that differs is named. Its lines are shown as a unified diff as long as there is room;
   where there is none, that is said instead: nothing is cut in the middle. What it costs is bounded.
2. What is shown first is what decides: policies, then the registry files, then the bundle's tests.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sidecar.policy.bundle import Bundle

__all__ = ["BundleChange", "FileChange", "change_between"]

Change = Literal["added", "removed", "changed"]

_MAX_DIFF: Final = 24 * 1024
"""Characters of all diffs together: what a person can read, and what one log entry can hold."""
_MAX_FILE_BYTES: Final = 128 * 1024
_CONTEXT: Final = 3
_TOO_LONG: Final = "too long to be shown here: read the file itself\n"
_ORDER: Final = ("policies/", "", "tests/")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One file that differs; ``diff`` may say that it is too long to be shown."""

    path: str
    change: Change
    diff: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleChange:
    """What letting a bundle come into force would change, and why it may permit more."""

    digest: str
    digest_in_force: str
    reasons: tuple[str, ...]
    files: tuple[FileChange, ...]


def change_between(old: Bundle, new: Bundle, reasons: Sequence[str]) -> BundleChange:
    """Return what differs between the bundle in force and the *new* one."""
    paths = {
        path for path in {*old.files, *new.files} if old.files.get(path) != new.files.get(path)
    }
    room = _MAX_DIFF
    files = []
    for path in sorted(paths, key=lambda path: (_rank(path), path)):
        diff = _diff(old.files.get(path, b""), new.files.get(path, b""))
        if len(diff) > room:
            diff = _TOO_LONG
        else:
            room -= len(diff)
        files.append(FileChange(path=path, change=_kind(old.files, new.files, path), diff=diff))
    return BundleChange(
        digest=new.digest,
        digest_in_force=old.digest,
        reasons=tuple(reasons),
        files=tuple(files),
    )


def _rank(path: str) -> int:
    return next(rank for rank in (0, 2, 1) if path.startswith(_ORDER[rank]))


def _kind(old: Mapping[str, bytes], new: Mapping[str, bytes], path: str) -> Change:
    if path not in old:
        return "added"
    return "changed" if path in new else "removed"


def _diff(old: bytes, new: bytes) -> str:
    if max(len(old), len(new)) > _MAX_FILE_BYTES:
        return _TOO_LONG
    before, after = (data.decode(errors="replace").split("\n") for data in (old, new))
    lines = difflib.unified_diff(before, after, "in force", "new", lineterm="", n=_CONTEXT)
    return "".join(f"{line}\n" for line in lines)

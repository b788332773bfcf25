# SPDX-License-Identifier: Apache-2.0
"""Commands that other distributions add: entry points of the group ``holdfast.commands``.

``importlib.metadata`` would do it, and take as long as the rest of ``holdfast --help`` together.
The format is the packaging specification's (``*.dist-info/entry_points.txt``); it changes no more.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Plugin", "plugins"]

_SECTION: Final = "[holdfast.commands]"
_LINE: Final = re.compile(
    r"(?P<name>[a-z][a-z0-9-]{0,40})\s*=\s*(?P<module>[A-Za-z_][\w.]*):(?P<attribute>[A-Za-z_]\w*)",
    re.ASCII,
)
_MAX_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Plugin:
    """A command's name and where it is."""

    name: str
    module: str
    attribute: str

    def load(self) -> Any:
        """Import and return the command."""
        return getattr(importlib.import_module(self.module), self.attribute)


def plugins() -> dict[str, Plugin]:
    """Return the commands that installed distributions add; the first on ``sys.path`` wins."""
    found: dict[str, Plugin] = {}
    for place in dict.fromkeys(sys.path):
        for text in _entry_points(place or "."):
            for plugin in _parse(text):
                found.setdefault(plugin.name, plugin)
    return found


def _entry_points(place: str) -> Iterator[str]:
    try:
        with os.scandir(place) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(".dist-info")]
    except OSError:
        return
    for name in sorted(names):
        try:
            with Path(place, name, "entry_points.txt").open(encoding="utf-8") as file:
                yield file.read(_MAX_BYTES)
        except (OSError, UnicodeDecodeError):
            continue


def _parse(text: str) -> Iterator[Plugin]:
    is_ours = False
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            is_ours = line == _SECTION
        elif is_ours and (match := _LINE.fullmatch(line)):
            yield Plugin(match["name"], match["module"], match["attribute"])

# SPDX-License-Identifier: Apache-2.0
"""Runs in the SDK's environment: ``soarapps package build``, made repeatable.

``python package_app.py <project> <archive> <wheel cache>``. The SDK fetches some sixty wheels at once,
each with ten seconds and one try; here it is four at a time, three tries, from a cache whose every
wheel is held to the hash of the lock. Neither the manifest nor what is built from source tells the
hour.
"""

from __future__ import annotations

import asyncio
import io
import sys
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

_AT_ONCE = 4
_TRIES = 3
_TIME = "1980-01-01T00:00:00.000000Z"


def main(arguments: list[str]) -> int:
    """Package the app, and return the exit code."""
    project, archive, cache = (Path(argument).resolve() for argument in arguments)
    # By name, because they are there in the SDK's environment only.
    soarapps = import_module("soar_sdk.cli.cli").app
    processors = import_module("soar_sdk.cli.manifests.processors")
    try:
        sources = import_module("soar_sdk.meta.dependencies.sources")
    except ImportError:  # SDK 2
        sources = import_module("soar_sdk.meta.dependencies")
    cache.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(project.parent))
    _steady(sources.UvWheel, cache)
    _repeatable(sources.UvSourceDistribution)
    _timeless(processors.ManifestProcessor)
    soarapps(
        ["package", "build", str(project), "--output-file", str(archive)], standalone_mode=False
    )
    return 0 if archive.is_file() else 1


def _steady(wheels: Any, cache: Path) -> None:
    """Fetch few at a time, again if it failed, and keep what fits its hash."""
    fetch = wheels.fetch
    gates: dict[Any, asyncio.Semaphore] = {}

    async def steady(self: Any) -> bytes:
        kept = cache / f"{self.hash.partition(':')[2]}.whl"
        if kept.is_file():
            content = kept.read_bytes()
            self.validate_hash(content)
            return content
        gate = gates.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE))
        async with gate:
            for left in range(_TRIES - 1, -1, -1):
                try:
                    content = await fetch(self)
                    break
                except Exception:
                    if not left:
                        raise
                    await asyncio.sleep(1)
        part = kept.with_suffix(".part")
        part.write_bytes(content)
        part.replace(kept)
        return content

    wheels.fetch = steady


def _repeatable(distributions: Any) -> None:
    """Give what is built from source the same bytes each time: no times, names sorted."""
    built = distributions._build_wheel

    def repeatable(self: Any, sdist: bytes) -> tuple[str, bytes]:
        name, wheel = built(self, sdist)
        packed = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(wheel)) as before,
            zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as after,
        ):
            for member in sorted(before.namelist()):
                after.writestr(zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0)), before.read(member))
        return name, packed.getvalue()

    distributions._build_wheel = repeatable


def _timeless(processor: Any) -> None:
    build = processor.build

    def timeless(self: Any, *args: Any, **kwargs: Any) -> Any:
        meta = build(self, *args, **kwargs)
        meta.utctime_updated = _TIME
        return meta

    processor.build = timeless


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# SPDX-License-Identifier: Apache-2.0
"""``python -m soar_actions.packages``: renders declarations, and builds what is installed.

Every folder of ``soar_actions/platforms`` with a ``render.py`` is a platform. What is rendered is
committed, so that it can be read and reviewed; ``render --check`` says whether it is still right.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from soar_actions.packages.vendor import ROOT

__all__ = ["main", "platforms"]

_PLATFORMS: Final = ROOT / "platforms"
_MAX_DIFF: Final = 200


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Declarations and packages of the SOAR platforms."""


@main.command()
@click.argument("names", nargs=-1, metavar="[PLATFORM]...")
@click.option(
    "--check", "is_check", is_flag=True, help="Write nothing; exit 1 if anything differs."
)
def render(names: tuple[str, ...], is_check: bool) -> None:
    """Write the generated files of each PLATFORM; default: all."""
    is_stale = False
    for name in _chosen(names):
        folder = _PLATFORMS / name
        texts = generated(name)
        for path, text in sorted(texts.items()):
            is_stale |= _one(folder, path, text, is_check=is_check)
        click.echo(f"{name}: {len(texts)} files")
    if is_check and is_stale:
        click.echo("generated files differ: run `python -m soar_actions.packages render`", err=True)
        sys.exit(1)


@main.command()
@click.argument("names", nargs=-1, metavar="[PLATFORM]...")
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), required=True,
              help="Folder of the packages; each platform has one below it.")  # fmt: skip
def build(names: tuple[str, ...], into: Path) -> None:
    """Make the installable package of each PLATFORM; default: all."""
    for name in _chosen(names):
        destination = into.absolute() / name
        destination.mkdir(parents=True, exist_ok=True)
        for path in _module(name, "build").build(destination):
            click.echo(f"{name}: {path}")


def platforms() -> list[str]:
    """Return the names of all platforms, sorted."""
    return sorted(path.parent.name for path in _PLATFORMS.glob("*/render.py"))


def generated(name: str) -> Mapping[str, str]:
    """Return what is generated for the platform *name*: path below its folder → text.

    Raises:
        ValueError: A path leads out of the folder.
    """
    texts: Mapping[str, str] = _module(name, "render").generated()
    for path in texts:
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise ValueError(f"{name}: {path} is not below the platform's folder")
    return texts


def _chosen(names: Iterable[str]) -> list[str]:
    there = platforms()
    unknown = sorted(set(names) - set(there))
    if unknown:
        raise click.UsageError(f"no platform {', '.join(unknown)}; there are: {', '.join(there)}")
    return [name for name in there if not names or name in names]


def _module(name: str, part: str) -> Any:
    return importlib.import_module(f"soar_actions.platforms.{name}.{part}")


def _one(folder: Path, path: str, text: str, *, is_check: bool) -> bool:
    """Write *text*, or show how the file differs; return whether it does."""
    file = folder / path
    now = file.read_text(encoding="utf-8") if file.exists() else ""
    if now == text and file.exists():
        return False
    if not is_check:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
        return True
    label = file.relative_to(ROOT.parent).as_posix()
    lines = list(
        difflib.unified_diff(now.splitlines(), text.splitlines(), label, label, lineterm="", n=1)
    )
    for line in lines[:_MAX_DIFF]:
        click.echo(line)
    if len(lines) > _MAX_DIFF:
        click.echo(f"… {len(lines) - _MAX_DIFF} more lines")
    return True


if __name__ == "__main__":
    main()

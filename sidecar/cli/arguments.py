# SPDX-License-Identifier: Apache-2.0
"""A tool call's arguments on the command line, as the JSON bytes that travel.

``--arg key=value``: *value* is JSON if it reads as a number, true, false, null, a list, an object
or a quoted string, else it is the text itself. To send the text ``42``, write ``--arg 'id="42"'``.
``--json-args`` takes the whole object and is passed on byte for byte: it is the gate that judges it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from sidecar.cli.keyfiles import read_input
from sidecar.documents import short

__all__ = ["arguments_bytes", "arguments_mapping"]

_MAX_BYTES: Final = 1024 * 1024


def arguments_bytes(pairs: Sequence[str], whole: str | None) -> bytes:
    """Return the arguments as JSON.

    Args:
        pairs: What ``--arg`` said.
        whole: What ``--json-args`` said: JSON, ``@file``, or ``-`` for standard input.

    Raises:
        click.UsageError: They are not arguments.
    """
    if whole is None:
        return json.dumps(_from_pairs(pairs), ensure_ascii=False).encode()
    if pairs:
        raise click.UsageError("give --arg or --json-args, not both")
    if whole == "-" or whole.startswith("@"):
        path = Path("-" if whole == "-" else whole[1:])
        return read_input(path, max_bytes=_MAX_BYTES)
    return whole.encode("utf-8", errors="surrogateescape")


def arguments_mapping(pairs: Sequence[str], whole: str | None) -> dict[str, Any]:
    """Return the arguments as a mapping, for commands that decide here.

    Raises:
        click.UsageError: They are not a JSON object.
    """
    try:
        found = json.loads(arguments_bytes(pairs, whole))
    except (ValueError, RecursionError) as exc:
        raise click.UsageError("--json-args is not JSON") from exc
    if not isinstance(found, dict):
        raise click.UsageError("--json-args is not a JSON object")
    return found


def _from_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise click.UsageError(f"--arg {short(pair)}: write --arg key=value")
        if key in arguments:
            raise click.UsageError(f"--arg names {short(key)} twice")
        arguments[key] = _value(text)
    return arguments


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)  # NaN and Infinity are text here

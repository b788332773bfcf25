# SPDX-License-Identifier: Apache-2.0
"""Reads control's proto3 JSON, in which whatever has its default is left out.

What is not of the form that the contract says is an error, not a guess.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from soar_actions.errors import ActionError, ErrorClass

__all__ = [
    "bytes_of",
    "derived_key",
    "enum",
    "flag",
    "has",
    "malformed",
    "message",
    "messages",
    "number",
    "numbers",
    "required",
    "text",
    "texts",
]


def text(data: Mapping[str, Any], name: str) -> str:
    """Return a string (an id, a sentence, a time)."""
    value = data.get(name, "")
    if not isinstance(value, str):
        raise malformed(name)
    return value


def number(data: Mapping[str, Any], name: str) -> int:
    """Return an integer; proto3 JSON writes those of 64 bits as strings."""
    return _integer(name, data.get(name, 0))


def flag(data: Mapping[str, Any], name: str) -> bool:
    """Return a truth value."""
    value = data.get(name, False)
    if not isinstance(value, bool):
        raise malformed(name)
    return value


def enum(data: Mapping[str, Any], name: str, prefix: str) -> str:
    """Return the name of a value without *prefix*; empty if it is unspecified."""
    value = text(data, name)
    shown = value[len(prefix) :] if value.startswith(prefix) else value
    return "" if shown == "UNSPECIFIED" else shown


def has(data: Mapping[str, Any], name: str) -> bool:
    """Whether the message *name* is set."""
    return isinstance(data.get(name), dict)


def message(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a message; an empty one if it is not set."""
    value = data.get(name, {})
    if not isinstance(value, dict):
        raise malformed(name)
    return value


def required(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a message that control always fills: an answer without it proves nothing."""
    value = message(data, name)
    if not value:
        raise malformed(name)
    return value


def messages(data: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return a repeated message."""
    value = data.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise malformed(name)
    return value


def texts(data: Mapping[str, Any], name: str) -> list[str]:
    """Return a repeated string."""
    value = data.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise malformed(name)
    return value


def numbers(data: Mapping[str, Any], name: str) -> dict[str, int]:
    """Return a map of integers."""
    return {key: _integer(name, value) for key, value in message(data, name).items()}


def bytes_of(data: Mapping[str, Any], name: str) -> bytes:
    """Return bytes, which proto3 JSON writes in base64."""
    try:
        return base64.b64decode(text(data, name), validate=True)
    except ValueError:  # also what is no ASCII
        raise malformed(name) from None


def derived_key(key: str, part: str) -> str:
    """Return the idempotency key of one *part* of an action with *key*.

    It depends on what the part is (an agent, a directive), not on its place, so that the same run
    with the parts in another order, or with more of them, does nothing twice.
    """
    digest = hashlib.sha256(f"{key}\0{part}".encode()).hexdigest()
    return f"{key[:95]}.{digest[:32]}"


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise malformed(name)
    try:
        return int(value)
    except ValueError:
        raise malformed(name) from None


def malformed(name: str) -> ActionError:
    """Return the error of an answer whose field *name* is not what it must be."""
    return ActionError(
        ErrorClass.FAILED,
        f"control's answer is not of the form that it must have, at {name!r}",
        reason="MALFORMED_ANSWER",
        remedy="check the endpoint, and that control is not older than this plugin",
    )

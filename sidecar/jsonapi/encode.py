# SPDX-License-Identifier: Apache-2.0
"""Protobuf to JSON: ``lowerCamelCase``, defaults left out, 64-bit integers as text, bytes as base64."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

__all__ = ["encode", "json_bytes"]


def encode(message: Message) -> dict[str, Any]:
    """Return *message* as the JSON object that the proto3 mapping makes of it."""
    return MessageToDict(message)


def json_bytes(value: Mapping[str, Any], *, is_ascii: bool = False) -> bytes:
    """Return *value* as JSON in UTF-8, on one line; *is_ascii* escapes whatever is more than ASCII."""
    return json.dumps(value, ensure_ascii=is_ascii, separators=(",", ":"), allow_nan=False).encode()

# SPDX-License-Identifier: Apache-2.0
"""What the OpenAPI documents say that stands in no proto."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["ERROR", "GENERATED", "HEALTH", "INTRODUCTION", "OPENC2", "TEXT"]

GENERATED: Final = "by make gen from proto/; do not edit"
INTRODUCTION: Final = """\
The methods of Holdfast's control plane as JSON over HTTPS: contain, release, revoke, ask, verify.

* **Who calls**: an API token (`Authorization: Bearer hfat_…`), a client certificate, or both. Each
  method names the roles that may call it in `x-holdfast-permissions`; any one is enough.
* **Retries are safe**: a method that changes something takes a request id, in the body (`requestId`)
  or as the header `Idempotency-Key`. The same id with the same order is the same order; with another
  one it is refused with 409.
* **202 means that humans are asked first.** `Location` leads to the operation; ask it every few
  seconds, or repeat the same request, until it answers 200. `STATE_DONE` means that it was carried out.
* **JSON**: fields that are empty, zero or false are left out of answers. 64-bit integers are text,
  bytes are base64, times are RFC 3339 in UTC, spans are seconds with an `s` (`"90s"`). Unknown fields
  are refused.
* **Errors** carry `code`, `message`, and in `details` a stable `reason` and a `hint` that says what to
  do.
* These are also the unary methods of a Connect protocol server; streams are served over gRPC alone.
  To whoever sends `Connect-Protocol-Version: 1` what waits is 200 and not 202: Connect knows no other.
"""
TEXT: Final = {
    "key": "Makes a retry safe: 8–128 characters of `[A-Za-z0-9._:-]`, for example a UUID. Stands for "
    "an absent `requestId`; if both are there, they must be equal.",
    "timeout": "Milliseconds after which the caller gives up: at most 60000; without it 30000.",
    "location": "Where to ask how the operation stands.",
    "retry": "Seconds to wait before asking again.",
    "default": "It was refused, or could not be done. `details` says why, and what to do about it.",
    "wait": "Humans are asked first; nothing was done yet. `operation` says who and until when.",
}

ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Error",
    "description": "A Connect error.",
    "required": ["code", "message"],
    "properties": {
        "code": {
            "type": "string",
            "description": "What kind of error it is, as gRPC names them.",
            "enum": [
                "invalid_argument",
                "deadline_exceeded",
                "not_found",
                "already_exists",
                "permission_denied",
                "resource_exhausted",
                "failed_precondition",
                "unimplemented",
                "internal",
                "unavailable",
                "unauthenticated",
            ],
        },
        "message": {"type": "string", "description": "What is wrong, in a sentence."},
        "details": {
            "type": "array",
            "description": "At most one item.",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "description": "`google.rpc.ErrorInfo`."},
                    "value": {"type": "string", "description": "The message in unpadded base64."},
                    "debug": {
                        "type": "object",
                        "description": "The same as JSON.",
                        "properties": {
                            "reason": {
                                "type": "string",
                                "description": "Stable cause, in upper snake case.",
                            },
                            "domain": {"type": "string", "description": "`holdfast`."},
                            "metadata": {
                                "type": "object",
                                "description": "`hint`: what to do about it.",
                                "additionalProperties": {"type": "string"},
                            },
                        },
                    },
                },
            },
        },
    },
}
HEALTH: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Health",
    "required": ["status"],
    "properties": {
        "status": {
            "type": "string",
            "description": "Whether control serves.",
            "enum": ["SERVING", "NOT_SERVING"],
        }
    },
}
OPENC2: Final[dict[str, Any]] = {
    "type": "object",
    "title": "OpenC2 message",
    "description": "`headers` and `body.openc2.request` or `.response`; `openc2.schema.json` has the "
    "whole profile.",
    "required": ["body"],
    "properties": {
        "headers": {"type": "object", "description": "`request_id`, `created`, `from`, `to`."},
        "body": {
            "type": "object",
            "description": "`openc2`, with a `request` or a `response`.",
            "required": ["openc2"],
            "properties": {"openc2": {"type": "object"}},
        },
    },
}

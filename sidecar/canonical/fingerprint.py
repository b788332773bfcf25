# SPDX-License-Identifier: Apache-2.0
"""Fingerprints: SHA-256 of the canonical form of an intended action.

Laws:

1. A tool call's fingerprint is that of ``{"v":1,"agent","session","tool","arguments","url","cwd",
   "environment_digest","nonce"}``; a control action's that of ``{"v":1,"action","body"}``. The sets
   of keys differ, so neither can be mistaken for the other.
2. Parts are never joined by a delimiter: a quoted string ends where JSON says it ends.
3. The template below is the RFC 8785 form with the arguments' canonical bytes spliced in; a
   property test holds it against canonicalising the whole object.

Compatibility: the format is named by ``v``. A field may be added only together with a new ``v``.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from json.encoder import encode_basestring as _quote
from typing import Any, Final

from sidecar.canonical.form import canonicalise
from sidecar.canonical.words import WORDS
from sidecar.model import Fingerprint, ToolCall
from sidecar.shape import ShapeError

__all__ = [
    "canonical_call",
    "canonical_control",
    "fingerprint_call",
    "fingerprint_control",
    "fingerprint_words",
]

_HEX_SHOWN: Final = 16
_WORDS_SHOWN: Final = 4


def fingerprint_call(
    *,
    agent: str,
    session: str,
    tool: str,
    arguments_canonical: bytes,
    url: str,
    cwd: str,
    environment_digest: str,
    nonce: str,
) -> Fingerprint:
    """Return the fingerprint of a tool call.

    Args:
        arguments_canonical: From ``canonicalise`` or ``parse_and_canonicalise``, nowhere else: the
            bytes are spliced in as they are.

    Raises:
        ShapeError: If a text holds a lone surrogate.
    """
    return Fingerprint(
        sha256(
            _call_form(
                agent, session, tool, arguments_canonical, url, cwd, environment_digest, nonce
            )
        ).hexdigest()
    )


def canonical_call(call: ToolCall) -> bytes:
    """Return the canonical form of *call*: the bytes whose SHA-256 is its fingerprint.

    This is what a human is shown, so that what is granted is what was shown.
    """
    return _call_form(
        call.agent,
        call.session,
        call.tool,
        call.canonical_arguments,
        call.url,
        call.cwd,
        call.environment_digest,
        call.nonce,
    )


def _call_form(
    agent: str,
    session: str,
    tool: str,
    arguments_canonical: bytes,
    url: str,
    cwd: str,
    environment_digest: str,
    nonce: str,
) -> bytes:
    before = f'{{"agent":{_quote(agent)},"arguments":'
    after = (
        f',"cwd":{_quote(cwd)},"environment_digest":{_quote(environment_digest)}'
        f',"nonce":{_quote(nonce)},"session":{_quote(session)},"tool":{_quote(tool)}'
        f',"url":{_quote(url)},"v":1}}'
    )
    try:
        return before.encode() + arguments_canonical + after.encode()
    except UnicodeEncodeError:
        raise ShapeError("the call holds a lone surrogate") from None


def fingerprint_control(*, action: str, body: Mapping[str, Any]) -> Fingerprint:
    """Return the fingerprint of a control action.

    Raises:
        ShapeError: If *body* has no canonical form.
    """
    return Fingerprint(sha256(canonical_control(action=action, body=body)).hexdigest())


def canonical_control(*, action: str, body: Mapping[str, Any]) -> bytes:
    """Return the canonical form of a control action: the bytes whose SHA-256 is its fingerprint.

    Raises:
        ShapeError: If *body* has no canonical form.
    """
    return canonicalise({"v": 1, "action": action, "body": dict(body)})


def fingerprint_words(fingerprint: str) -> str:
    """Return what people compare: 16 hex digits and four words for the four bytes after them.

    Digits and words are different bits, 96 together: matching one does not match the other.

    Raises:
        ValueError: If *fingerprint* is not 64 lower-case hex digits.
    """
    raw = bytes.fromhex(fingerprint)
    if len(raw) != sha256().digest_size or raw.hex() != fingerprint:
        raise ValueError("a fingerprint is 64 lower-case hex digits")
    start = _HEX_SHOWN // 2
    words = "-".join(WORDS[byte] for byte in raw[start : start + _WORDS_SHOWN])
    return f"{fingerprint[:_HEX_SHOWN]} {words}"

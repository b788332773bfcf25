# SPDX-License-Identifier: Apache-2.0
"""What of a tool call may enter the log.

Laws:

1. Hidden by default. Only the top-level arguments that the tool registry *reveals* are written in
   clear; every other becomes a keyed HMAC, so equal values can be told to be equal by people who
   hold the log, and guessed by nobody who does not hold the key.
2. Revealed is not trusted. Shapes of secrets (``secretshapes``: bearer tokens, JWTs, provider and
   private keys, ``password=…``, also in base64, hex or percent signs) are replaced; of URLs the
   user information, query and fragment are replaced.
3. What comes out is bounded in length and count, escaped (``safetext``), and in the domain of
   audit entries: a number with a fraction, and null, are written as their JSON text.
4. Redaction never raises and its time is linear in its input.

A revealed string that looks like one of our own marks (``hmac:``, ``text:``) is written behind
``text:``, so that an agent cannot make a value look redacted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, Final

import orjson
import rfc8785

from sidecar.audit.safetext import DEFAULT_MAX_CHARS, clip, escape_text
from sidecar.audit.secretshapes import SHORTEST_SECRET, find_secrets, has_secret

__all__ = ["HMAC_PREFIX", "Redactor"]

HMAC_PREFIX: Final = "hmac:"
_TEXT_PREFIX: Final = "text:"
_MIN_KEY_BYTES: Final = 32
_DIGEST_HEX: Final = 32
_MARK_HEX: Final = 16
_BLOCK_BYTES: Final = 64

_MAX_ARGUMENTS: Final = 64
_MAX_STRING_CHARS: Final = 256
_MAX_TOTAL_CHARS: Final = 8192
_MAX_ITEMS: Final = 32
_MAX_DEPTH: Final = 4
_MAX_MEMO: Final = 4096
_MAX_MEMO_CHARS: Final = 128
_MAX_SAFE_INTEGER: Final = 2**53 - 1

_SCANNED_CHARS: Final = 1024
_UNSURE_CHARS: Final = 256
_MAX_SAFE_TEXT_CHARS: Final = 2048

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
_URL = re.compile(r"""(?:[A-Za-z][A-Za-z0-9+.-]{0,15}:)?//[^\s"'<>]+""")


class Redactor:
    """Redacts for one log, under one secret key."""

    def __init__(self, hmac_key: bytes) -> None:
        """Redact under *hmac_key*, 32 random bytes or more that never leave the process.

        Raises:
            ValueError: the key is too short.
        """
        if len(hmac_key) < _MIN_KEY_BYTES:
            raise ValueError(f"the redaction key needs at least {_MIN_KEY_BYTES} bytes")
        key = sha256(hmac_key).digest() if len(hmac_key) > _BLOCK_BYTES else hmac_key
        padded = key.ljust(_BLOCK_BYTES, b"\x00")
        # HMAC-SHA256 (RFC 2104) with both key blocks hashed once; half the cost of a fresh one.
        self._inner = sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = sha256(bytes(byte ^ 0x5C for byte in padded))
        self._harmless: set[str] = set()
        self._names: set[str] = set()

    def __repr__(self) -> str:
        return "Redactor(hmac_key=<secret>)"

    def redact_arguments(
        self,
        arguments: Mapping[str, Any],
        reveal: frozenset[str],
        *,
        known: frozenset[str] | None = None,
    ) -> dict[str, Any]:
        """Return *arguments* as they may be logged.

        Args:
            arguments: The parsed arguments of a tool call.
            reveal: Names of top-level arguments that the registry reveals.
            known: The names in the tool's schema; another name is a caller's text and hidden like
                a value. None if the tool is unknown to the caller of this method.
        """
        redacted: dict[str, Any] = {}
        room = _MAX_TOTAL_CHARS
        for position, (name, value) in enumerate(arguments.items()):
            if position == _MAX_ARGUMENTS:
                rest = dict(list(arguments.items())[position:])
                redacted[f"+{len(rest)}"] = self.digest(rest)
                break
            if known is None:
                key = name if name in self._names else self._name(name)
            else:
                key = name if name in known else self.digest(name)
            if name in reveal:
                if type(value) is str and value in self._harmless and room >= _MAX_STRING_CHARS:
                    shown: Any = value
                else:
                    shown = self._reveal(value, room, 0)
                room -= _cost(shown)
                redacted[key] = shown
            else:
                redacted[key] = self.digest(value)
        return redacted

    def digest(self, value: object) -> str:
        """Return ``hmac:`` and the first 32 hex digits of the keyed HMAC of *value*'s JSON."""
        return HMAC_PREFIX + self._hmac(_canonical(value))[:_DIGEST_HEX]

    def safe_text(self, text: str, max_chars: int = DEFAULT_MAX_CHARS) -> str:
        """Return *text* (a reason, a message) without secrets, escaped and clipped."""
        if len(text) <= _MAX_SAFE_TEXT_CHARS:
            return clip(escape_text(self._scrub(text)), max_chars)
        head = escape_text(self._scrub(text[:_MAX_SAFE_TEXT_CHARS]))[:-_UNSURE_CHARS]
        return f"{head[:max_chars]}… (of {len(text)} characters)"

    def redact_url(self, url: str) -> str:
        """Return *url* with user information, query and fragment replaced."""
        start = url.find("//") + 2
        end = next((i for i in range(start, len(url)) if url[i] in "/?#\\"), len(url))
        scheme, authority, rest = url[:start], url[start:end], url[end:]
        userinfo, at, host = authority.rpartition("@")
        if at:
            authority = f"{self._mark(userinfo)}@{host}"
        cut = next((i for i, char in enumerate(rest) if char in "?#"), len(rest))
        path, query = rest[:cut], rest[cut:]
        if len(query) > 1:
            query = query[0] + self._mark(query[1:])
        return scheme + authority + path + query

    def _name(self, name: str) -> str:
        if not _NAME.match(name) or has_secret(name):
            return self.digest(name)
        if len(self._names) >= _MAX_MEMO:
            self._names.clear()
        self._names.add(name)
        return name

    def _reveal(self, value: object, room: int, depth: int) -> Any:
        """Return *value* in clear as far as laws 2 and 3 allow."""
        match value:
            case str():
                return self._reveal_text(value, room)
            case bool():
                return value
            case int() if abs(value) <= _MAX_SAFE_INTEGER:
                return value
            case float():
                return _number(value)
            case None:
                return "null"
            case list() | tuple() if depth < _MAX_DEPTH and len(value) <= _MAX_ITEMS:
                return self._reveal_items(((None, item) for item in value), room, depth)[0]
            case dict() if depth < _MAX_DEPTH and len(value) <= _MAX_ITEMS:
                return self._reveal_items(value.items(), room, depth)[1]
            case _:
                return self.digest(value)

    def _reveal_items(
        self, items: Iterable[tuple[object, object]], room: int, depth: int
    ) -> tuple[list[Any], dict[str, Any]]:
        in_order: list[Any] = []
        by_name: dict[str, Any] = {}
        for name, item in items:
            shown = self._reveal(item, room, depth + 1)
            room -= _cost(shown)
            in_order.append(shown)
            if isinstance(name, str):
                by_name[self._name(name)] = shown
        return in_order, by_name

    def _reveal_text(self, text: str, room: int) -> str:
        if room < _MAX_STRING_CHARS:
            return self.digest(text)
        if len(text) <= _MAX_MEMO_CHARS and text in self._harmless:
            return text
        shown = escape_text(self._scrub(text[:_SCANNED_CHARS]))
        if shown.startswith((HMAC_PREFIX, _TEXT_PREFIX)):
            shown = _TEXT_PREFIX + shown
        if len(shown) > _MAX_STRING_CHARS or len(text) > _SCANNED_CHARS:
            if len(text) > _SCANNED_CHARS:  # a secret may have been cut in two at the end
                shown = shown[:-_UNSURE_CHARS]
            return f"{shown[:_MAX_STRING_CHARS]}… ({len(text)} characters, {self.digest(text)})"
        if shown == text and len(text) <= _MAX_MEMO_CHARS:
            if len(self._harmless) >= _MAX_MEMO:
                self._harmless.clear()
            self._harmless.add(text)
        return shown

    def _scrub(self, text: str) -> str:
        """Return *text* with secrets and the private parts of URLs replaced (law 2)."""
        if len(text) < SHORTEST_SECRET:
            return text
        if "//" in text:
            text = _URL.sub(lambda match: self.redact_url(match[0]), text)
        for start, end in reversed(find_secrets(text)):
            text = text[:start] + self._mark(text[start:end]) + text[end:]
        return text

    def _mark(self, secret: str) -> str:
        digest = self._hmac(secret.encode("utf-8", errors="surrogatepass"))
        return f"[{HMAC_PREFIX}{digest[:_MARK_HEX]}]"

    def _hmac(self, message: bytes) -> str:
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest()


def _canonical(value: object) -> bytes:
    """Return the canonical JSON of *value*; of anything that has none, some fixed bytes."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    try:
        if type(value) in (str, int, bool):  # orjson and RFC 8785 agree on these
            return orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER)
        return rfc8785.dumps(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RecursionError):
        try:
            return json.dumps(value, sort_keys=True, default=str).encode("ascii")
        except (TypeError, ValueError, RecursionError):
            return b"unrepresentable"


def _number(value: float) -> int | str:
    """Return *value* as RFC 8785 writes it; an integer where it is one."""
    if value.is_integer() and abs(value) <= _MAX_SAFE_INTEGER:
        return int(value)
    if 1e-4 <= abs(value) < 1e16:  # here Python's shortest form is the same
        return repr(value)
    return _canonical(value).decode("ascii", errors="replace")


def _cost(shown: object) -> int:
    if isinstance(shown, str):
        return len(shown)
    match shown:
        case list():
            return sum(map(_cost, shown))
        case dict():
            return sum(len(name) + _cost(item) for name, item in shown.items())
        case _:
            return SHORTEST_SECRET

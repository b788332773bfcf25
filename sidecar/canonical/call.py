# SPDX-License-Identifier: Apache-2.0
"""From what came over the socket to a ``ToolCall``: obligation 2 (shape) of the pipeline.

Laws:

1. Every part is checked before the fingerprint is made; what is refused has no fingerprint.
2. The memo holds *pure parse results of good bytes* and no decision: forgetting it changes nothing
   but time. It is bounded in entries and in (pessimistically estimated) bytes, so hostile arguments
   can only make it useless, never large.
3. Values that come out are shared between calls: treat ``ToolCall.arguments`` as immutable.

One parser belongs to one thread (the gate's event loop).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any, Final

from sidecar.canonical.fingerprint import fingerprint_call
from sidecar.canonical.parse import (
    DEFAULT_LIMITS,
    JsonLimits,
    JsonObject,
    parse_and_canonicalise,
)
from sidecar.identifiers import (
    check_agent_id,
    check_session_id,
    check_token_text,
    check_tool_name,
)
from sidecar.model import AgentId, ReasonCode, SessionId, ToolCall, ToolName
from sidecar.shape import ShapeError

__all__ = ["CallParser"]

_MAX_URL: Final = 8192
_MAX_CWD_BYTES: Final = 4096
_VISIBLE_ASCII: Final = re.compile("[!-~]+").fullmatch
_CONTROL: Final = re.compile("[\0-\x1f\x7f-\x9f\ud800-\udfff]").search
_NO_SESSION: Final = SessionId("")
# `{"":{"":…` costs 6 bytes of text and about 200 of memory to the level; nothing is worse. Text and
# canonical bytes come on top.
_MEMORY_PER_BYTE: Final = 48
_MEMORY_PER_ENTRY: Final = 512

_MAX_MEMO_CALLS: Final = 1024
_MAX_MEMO_ARGUMENTS: Final = 2048

_Key = tuple[str, bytes]
_Parsed = tuple[ToolName, JsonObject, bytes]


class CallParser:
    """Parses tool calls; identical argument bytes of one tool are parsed once.

    Args:
        limits: What one argument object may hold.
        memo_entries: Parse results kept at most (least recently used go first).
        memo_bytes: Memory they may take, estimated from the length of their text.
    """

    def __init__(
        self,
        *,
        limits: JsonLimits = DEFAULT_LIMITS,
        memo_entries: int = 4096,
        memo_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        self._limits = limits
        self._max_entries = memo_entries
        self._max_bytes = memo_bytes
        self._memo: OrderedDict[_Key, _Parsed] = OrderedDict()
        self._calls: OrderedDict[tuple[Any, ...], ToolCall] = OrderedDict()
        self._bytes = 0
        self._agent: str | None = None

    @property
    def memo_size(self) -> tuple[int, int]:
        """Entries and estimated bytes in the memo now."""
        return len(self._memo), self._bytes

    def parse(
        self,
        *,
        agent: str,
        tool: str,
        arguments: bytes,
        session: str = "",
        url: str = "",
        cwd: str = "",
        environment_digest: str = "",
        nonce: str = "",
    ) -> ToolCall:
        """Return the tool call, strictly parsed and fingerprinted.

        *agent* is the identity of the socket, never something the caller wrote. An empty *session*,
        *url*, *cwd*, *environment_digest* or *nonce* means "none".

        Raises:
            ShapeError: MALFORMED, LIMITS, TOO_LARGE, TOOL_NAME, SESSION_ID or URL.
        """
        whole = (agent, session, tool, arguments, url, cwd, environment_digest, nonce)
        known = self._calls.get(whole)
        if known is not None:
            return known
        call = self._parse(*whole)
        if len(arguments) <= _MAX_MEMO_ARGUMENTS:
            self._calls[whole] = call
            if len(self._calls) > _MAX_MEMO_CALLS:
                self._calls.popitem(last=False)
        return call

    def _parse(
        self,
        agent: str,
        session: str,
        tool: str,
        arguments: bytes,
        url: str,
        cwd: str,
        environment_digest: str,
        nonce: str,
    ) -> ToolCall:
        if agent != self._agent:
            self._agent = check_agent_id(agent)
        checked_session = check_session_id(session) if session else _NO_SESSION
        if url and not (len(url) <= _MAX_URL and _VISIBLE_ASCII(url)):
            raise ShapeError(
                f"the URL is not 1 to {_MAX_URL} visible ASCII characters", code=ReasonCode.URL
            )
        if cwd:
            _check_cwd(cwd)
        if environment_digest:
            check_token_text(environment_digest, what="environment digest")
        if nonce:
            check_token_text(nonce, what="nonce")
        checked_tool, value, canonical = self._parse_memoised(tool, arguments)
        return ToolCall(
            agent=AgentId(agent),
            session=checked_session,
            tool=checked_tool,
            arguments=value,
            canonical_arguments=canonical,
            fingerprint=fingerprint_call(
                agent=agent,
                session=session,
                tool=tool,
                arguments_canonical=canonical,
                url=url,
                cwd=cwd,
                environment_digest=environment_digest,
                nonce=nonce,
            ),
            url=url,
            cwd=cwd,
            environment_digest=environment_digest,
            nonce=nonce,
        )

    def _parse_memoised(self, tool: str, arguments: bytes) -> _Parsed:
        key = (tool, arguments)
        known = self._memo.get(key)
        if known is not None:
            self._memo.move_to_end(key)
            return known
        checked_tool = check_tool_name(tool)
        value, canonical = parse_and_canonicalise(arguments, limits=self._limits)
        parsed = (checked_tool, value, canonical)
        self._remember(key, parsed)
        return parsed

    def _remember(self, key: _Key, parsed: _Parsed) -> None:
        cost = _cost(key)
        if cost > self._max_bytes or self._max_entries < 1:
            return
        self._memo[key] = parsed
        self._bytes += cost
        while len(self._memo) > self._max_entries or self._bytes > self._max_bytes:
            oldest, _ = self._memo.popitem(last=False)
            self._bytes -= _cost(oldest)


def _cost(key: _Key) -> int:
    return _MEMORY_PER_ENTRY + _MEMORY_PER_BYTE * len(key[1])


def _check_cwd(cwd: str) -> None:
    """A working directory is bound into the fingerprint as it is; it need not exist here."""
    if _CONTROL(cwd):
        raise ShapeError("the working directory holds a control character or a lone surrogate")
    if not cwd.startswith("/"):
        raise ShapeError("the working directory is not absolute")
    if len(cwd.encode()) > _MAX_CWD_BYTES:
        raise ShapeError(f"the working directory is longer than {_MAX_CWD_BYTES} bytes")

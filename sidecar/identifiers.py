# SPDX-License-Identifier: Apache-2.0
"""Which names may exist at all.

Laws:

1. *Reject, never normalise.* A name is used exactly as it came, or refused. Nothing is trimmed,
   lower-cased or brought into a Unicode normal form, so two spellings never become one name.
2. ASCII only, by regular expression over the *whole* text (``fullmatch``: ``$`` would let a
   trailing newline pass).
3. A refusal never repeats the name: it may be hostile text on its way to a terminal or a page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from sidecar.model import AgentId, ReasonCode, SessionId, ToolName
from sidecar.shape import ShapeError

__all__ = [
    "CONTROL_LOG",
    "MAX_SPIFFE_ID",
    "check_agent_id",
    "check_gate_id",
    "check_label_key",
    "check_label_value",
    "check_request_id",
    "check_session_id",
    "check_spiffe_id",
    "check_token_text",
    "check_tool_name",
]

CONTROL_LOG: Final = "control"
"""Names control's own log among those of a host; the others have their gates' names."""

MAX_SPIFFE_ID: Final = 2048
"""Bytes; the SPIFFE ID specification asks for support of exactly this much."""

_TOOL: Final = re.compile(r"[a-z0-9][a-z0-9._/-]{0,127}").fullmatch
_AGENT: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}").fullmatch
_SESSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}").fullmatch
_REQUEST: Final = re.compile(r"[A-Za-z0-9._:-]{8,128}").fullmatch
_LABEL_KEY: Final = re.compile(r"[a-z][a-z0-9._/-]{0,62}").fullmatch
_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}").fullmatch
_TOKEN_TEXT: Final = re.compile(r"[A-Za-z0-9+/=:._-]{1,128}").fullmatch
# One path segment may not be "." or ".."; the look-ahead ends at the segment's end.
_SPIFFE: Final = re.compile(
    r"spiffe://[a-z0-9][a-z0-9._-]{0,254}(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+)+"
).fullmatch

_Match = Callable[[str], "re.Match[str] | None"]


def check_tool_name(text: str) -> ToolName:
    """Return *text* as a tool name.

    Raises:
        ShapeError: TOOL_NAME, if it is anything but ``[a-z0-9][a-z0-9._/-]{0,127}``.
    """
    if type(text) is str and _TOOL(text):
        return ToolName(text)
    raise ShapeError(
        "the tool name is not of the form [a-z0-9][a-z0-9._/-]{0,127}",
        code=ReasonCode.TOOL_NAME,
        hint="use the name as it stands in tools.yaml",
    )


def check_agent_id(text: str) -> AgentId:
    """Return *text* as an agent id; raises ``ShapeError`` if it is not one."""
    return AgentId(_require(text, _AGENT, "agent id", "[a-z0-9][a-z0-9._-]{0,62}"))


def check_gate_id(text: str) -> str:
    """Return *text* as the name of a gate and of its log: of an agent id's form, but not control's own.

    Raises:
        ShapeError: It is not one.
    """
    gate = check_agent_id(text)
    if gate == CONTROL_LOG:
        raise ShapeError(f"a gate cannot be called {CONTROL_LOG}: control's own log is")
    return gate


def check_session_id(text: str) -> SessionId:
    """Return *text* as a session id; raises ``ShapeError`` (SESSION_ID) if it is not one."""
    if type(text) is str and _SESSION(text):
        return SessionId(text)
    raise ShapeError(
        "the session id is not of the form [A-Za-z0-9][A-Za-z0-9._:-]{0,127}",
        code=ReasonCode.SESSION_ID,
    )


def check_request_id(text: str) -> str:
    """Return *text* as a request id (a UUID is one); raises ``ShapeError`` if it is not one."""
    return _require(text, _REQUEST, "request id", "[A-Za-z0-9._:-]{8,128}")


def check_label_key(text: str) -> str:
    """Return *text* as the key of a label; raises ``ShapeError`` if it is not one."""
    return _require(text, _LABEL_KEY, "label key", "[a-z][a-z0-9._/-]{0,62}")


def check_label_value(text: str) -> str:
    """Return *text* as the value of a label; raises ``ShapeError`` if it is not one."""
    return _require(text, _LABEL_VALUE, "label value", "[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def check_token_text(text: str, *, what: str) -> str:
    """Return *text* as an opaque ASCII word (nonce, digest); *what* names it in the refusal."""
    return _require(text, _TOKEN_TEXT, what, "[A-Za-z0-9+/=:._-]{1,128}")


def check_spiffe_id(text: str) -> str:
    """Return *text* as the SPIFFE id of a workload.

    TLS stacks hand the id over as it stands in the certificate: upper-case trust domains, percent
    escapes and dot segments pass through them. None of these is a second spelling of a good id
    here; all are refused. A trust domain alone names no workload and is refused too.

    Raises:
        ShapeError: If it is not ``spiffe://<trust domain>/<segment>[/<segment>…]``.
    """
    if type(text) is str and len(text) <= MAX_SPIFFE_ID and _SPIFFE(text):
        return text
    raise ShapeError("the SPIFFE id is not of the form spiffe://<lower-case trust domain>/<path>")


def _require(text: str, matches: _Match, what: str, form: str) -> str:
    if type(text) is str and matches(text):
        return text
    raise ShapeError(f"the {what} is not of the form {form}")

# SPDX-License-Identifier: Apache-2.0
"""Text that may be shown to a language model.

A denial's text is read by the very thing that is being contained, and part of it was written by
people and files the agent may influence. Laws:

1. The result is one line of at most ``MAX_CHARACTERS``: no control, format, bidi, private or
   unassigned characters, no invisible selectors.
2. No character that opens markup, a quotation or a role tag comes from the gate's sentence.
3. No word of the gate's sentence with a slash or a backslash (paths, URLs; but ``directives/7``) or
   longer than ``MAX_WORD`` (tokens, digests) is repeated.
4. Only codes, our sentences, the gate's sentence and the name of an approval enter; nothing of the
   call does, and not who may grant it: that is nobody the model should try to persuade.
5. What to do next stands at the end and is never cut off.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

__all__ = ["MAX_CHARACTERS", "MAX_WORD", "clean", "code_of", "for_model"]

MAX_CHARACTERS: Final = 500
MAX_WORD: Final = 40
_MAX_SENTENCE: Final = 160
_MAX_REASONS: Final = 2
_MAX_MARKS: Final = 2
_SCANNED: Final = 2_000
"""How much of a hostile sentence is looked at."""

_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
_APPROVAL: Final = re.compile(r"approvals/[A-Za-z0-9_-]{1,64}")
_RESOURCE: Final = re.compile(r"(?:directives|approvals)/[A-Za-z0-9_-]+[.,;:]?")
_SPACES: Final = frozenset({"Cc", "Zl", "Zp", "Zs"})
_INVISIBLE: Final = frozenset({"Cf", "Cs", "Co", "Cn"})
_WITHOUT_MARKUP: Final = str.maketrans(dict.fromkeys('<>{}[]|`"“”«»*~^', " "))
_SELECTORS: Final = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0), range(0x180B, 0x1810))

_GENERAL: Final = {
    "ALLOW": "The permission for this call lapsed before it was used",
    "DENY": "This call is not allowed",
    "HOLD": "This call waits for a person's decision",
}
_SENTENCES: Final = {
    "APPROVAL_BINDING": "A person granted another call than this one",
    "APPROVAL_CANCELLED": "A person was asked about this call, and the request ended undecided",
    "APPROVAL_EXPIRED": "A person was asked about this call and did not decide in time",
    "APPROVAL_LIMIT": "Too many calls of this agent wait for a person's decision",
    "APPROVAL_REFUSED": "A person refused this call",
    "APPROVAL_UNAVAILABLE": "A person must decide about this call, and nobody can be asked now",
    "APPROVAL_UNKNOWN": "A person was asked about this call, and the request is not known any more",
    "AUDIT_UNAVAILABLE": "The gate cannot record the call, so it may not be made",
    "BUDGET_EXHAUSTED": "The budget for this tool is used up",
    "CONTAINMENT_HOLD": "Every call of this agent waits for a person's decision at present",
    "DEADLINE": "No decision came in time",
    "DESTINATION": "This destination is not allowed",
    "DESTINATION_ADDRESS": "This destination's network address is not allowed",
    "FROZEN": "This agent is frozen by its operators",
    "GATE_UNAVAILABLE": "Nobody could decide about this call",
    "KILLED": "This agent was stopped by its operators",
    "MALFORMED": "The arguments are not plain JSON",
    "MISSING_ARGUMENT": "An argument that the tool needs is missing",
    "NO_APPROVER": "A person must decide about this call, and there is nobody who may",
    "NO_CHANNEL": "A person must decide about this call, and nobody who may can be reached",
    "NO_POLICY_ALLOWS": "No policy allows this call",
    "OVERLOAD": "Too many calls wait at the same time",
    "POLICY_DENY": "A policy forbids this call",
    "POLICY_HOLD": "A policy lets a person decide about this call",
    "RATE_LIMITED": "This tool was called too often",
    "READ_ONLY": "Only reading tools may be used at present",
    "SCHEMA": "The arguments are not what the tool expects",
    "SHUTTING_DOWN": "The agent's runtime is shutting down",
    "THROTTLED": "This agent's calls are slowed down by its operators",
    "TOO_LARGE": "The call is too large",
    "UNKNOWN_TOOL": "This tool is not registered",
    "URL": "The URL is not acceptable",
}
_STOP: Final = frozenset({"KILLED", "FROZEN"})
_LATER: Final = frozenset(
    {
        "APPROVAL_LIMIT",
        "APPROVAL_UNAVAILABLE",
        "BUDGET_EXHAUSTED",
        "DEADLINE",
        "GATE_UNAVAILABLE",
        "NO_CHANNEL",
        "OVERLOAD",
        "RATE_LIMITED",
        "THROTTLED",
    }
)
_REPAIR: Final = frozenset({"MALFORMED", "MISSING_ARGUMENT", "SCHEMA", "TOO_LARGE"})


def code_of(code: str) -> str:
    """Return *code* if it is a reason code, else ``UNKNOWN``."""
    return code if _CODE.fullmatch(code) else "UNKNOWN"


def clean(text: str, *, max_characters: int = _MAX_SENTENCE) -> str:
    """Return the gate's sentence *text* so that laws 1 to 3 hold."""
    kept: list[str] = []
    marks = 0
    for character in text[:_SCANNED]:
        category = unicodedata.category(character)
        if category in _SPACES:
            character = " "
        elif category in _INVISIBLE:
            continue
        elif category[0] == "M":
            marks += 1
            if marks > _MAX_MARKS or any(ord(character) in block for block in _SELECTORS):
                continue
        else:
            marks = 0
        kept.append(character)
    # Before markup goes: it must not cut a path or a token into harmless-looking pieces.
    words = (word if _is_harmless(word) else "…" for word in "".join(kept).split())
    shown = " ".join(words).translate(_WITHOUT_MARKUP)
    return _clip(" ".join(shown.split()), max_characters)


def _is_harmless(word: str) -> bool:
    if len(word) > MAX_WORD:
        return False
    return ("/" not in word and "\\" not in word) or _RESOURCE.fullmatch(word) is not None


def for_model(effect: str, reasons: Iterable[tuple[str, str]], *, approval: str = "") -> str:
    """Return the text about a call that was not allowed, from ``(code, sentence)`` pairs."""
    parts: list[str] = []
    first = ""
    for code, text in list(reasons)[:_MAX_REASONS]:
        code = code_of(code)
        first = first or code
        sentence = _SENTENCES.get(code, _GENERAL.get(effect, _GENERAL["DENY"]))
        told = clean(text).rstrip(".")
        parts.append(f"{sentence} ({code})." + (f" The gate says: {told}." if told else ""))
    if not parts:
        parts.append(_GENERAL.get(effect, _GENERAL["DENY"]) + ".")
    if effect == "HOLD" and _APPROVAL.fullmatch(approval):
        parts.append(f"The request is {approval}.")
    advice = _advice(effect, first)
    return f"{_clip(' '.join(parts), MAX_CHARACTERS - len(advice) - 1)} {advice}"


def _advice(effect: str, code: str) -> str:
    if code in _STOP:
        return "Stop, and do not call any tool."
    if effect == "HOLD":
        return (
            "It was not made. Do not repeat it in a loop, and do not try to reach the same end by "
            "other means while it waits; tell the user instead."
        )
    if code in _LATER:
        return "It was not made. It may be tried again later."
    if code in _REPAIR:
        return "It was not made. Correct the arguments before trying again."
    return "It was not made. Do not try the same end by other means; tell the user instead."


def _clip(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"

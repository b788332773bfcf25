# SPDX-License-Identifier: Apache-2.0
"""The one sentence on top of a page: who wants to do what.

Laws: it is made from the canonical bytes, not from a summary that travelled beside them; at most a
few short arguments are in it, and it says how many are not; it is parts of text, never markup.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from sidecar.approvals.values import Request, RequestKind
from sidecar.operations.values import Action

__all__ = ["Part", "Sentence", "say"]

_MAX_ARGUMENTS: Final = 3
_MAX_VALUE: Final = 40
_BREAKS: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the sentence. ``is_ours`` is False for words that somebody else chose; ``is_name``
    marks those that must stand out."""

    text: str
    is_name: bool = False
    is_ours: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """The sentence, and its object alone, for the button."""

    parts: tuple[Part, ...]
    object: str

    @property
    def text(self) -> str:
        """The sentence as one text."""
        return "".join(part.text for part in self.parts)


def say(request: Request, *, is_readable: bool) -> Sentence:
    """Return the sentence for *request*.

    Args:
        request: What is asked; its canonical bytes must have been checked against the fingerprint.
        is_readable: Whether the reader may see arguments.
    """
    if request.kind is RequestKind.ACTION:
        # Control wrote it itself, from the order: “alice asks to release directives/7: …”.
        rest = request.summary.removeprefix(f"{request.requester} ")
        said = (_name(request.requester), Part(" "), Part(rest, is_ours=False))
        if request.action == Action.CONFIRM:  # “soar asks: “…?””, whose end is its own
            return Sentence(parts=said, object=f"the question {rest.partition(': ')[2]}")
        return Sentence(parts=(*said, Part(".")), object=rest.removeprefix("asks to "))
    arguments = _arguments(request.canonical) if is_readable else {}
    shown = [
        (name, text)
        for name, value in arguments.items()
        if (text := _short(value)) is not None and _short(name) is not None
    ][:_MAX_ARGUMENTS]
    parts_list = [
        Part("Agent "),
        _name(request.agent),
        Part(" wants to run "),
        _name(request.tool),
    ]
    for place, (name, text) in enumerate(shown):
        joint = " with " if place == 0 else ", "
        parts_list += [Part(joint), Part(name, is_ours=False), Part(" "), _name(text)]
    if left := len(arguments) - len(shown):
        joint = " and " if shown else " with "
        more = "more " if shown else ""
        parts_list.append(Part(f"{joint}{left} {more}{'arguments' if left > 1 else 'argument'}"))
    parts_list.append(Part("."))
    values = ", ".join(f"{name} {text}" for name, text in shown)
    return Sentence(
        parts=tuple(parts_list),
        object=f"{request.tool} ({values})" if values else f"{request.tool} by {request.agent}",
    )


def _name(text: str) -> Part:
    return Part(text, is_name=True, is_ours=False)


def _arguments(canonical: bytes) -> dict[str, Any]:
    try:
        arguments = json.loads(canonical, parse_int=_Number, parse_float=_Number)["arguments"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return arguments if isinstance(arguments, dict) else {}


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _short(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, _Number):
        return str(value) if len(value) <= _MAX_VALUE else None
    if isinstance(value, str) and value and not _BREAKS.search(value):
        return value if len(value) <= _MAX_VALUE else None
    return None

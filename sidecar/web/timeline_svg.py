# SPDX-License-Identifier: Apache-2.0
"""Tool calls in the order they were made, in three lanes: allowed, held, denied.

Laws: pure; lanes have words and shapes (circle, diamond, cross), not only colours; calls stand at
equal distances, so a burst is as readable as a night, and the times under them say which it was.
The page has a table of the same calls beside the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup

from sidecar.web.ports import LogEntry
from sidecar.web.svg import element, label

__all__ = ["MAX_CALLS", "draw_calls"]

MAX_CALLS: Final = 50
_LANES: Final = (("ALLOW", "allowed", 26), ("HOLD", "held", 62), ("DENY", "denied", 98))
_LEFT: Final = 70
_HEIGHT: Final = 140
_MIN_WIDTH: Final = 640
_STEP: Final = 44
_TIGHT_STEP: Final = 20
_TICK_WIDTH: Final = 88


def draw_calls(entries: Sequence[LogEntry], *, marked: str = "") -> Markup:
    """Return the picture of *entries* (decisions, oldest first).

    Args:
        entries: At most ``MAX_CALLS`` are drawn, the newest.
        marked: A decision id to mark.
    """
    shown = [entry for entry in entries if entry.fields.get("effect") in _KNOWN][-MAX_CALLS:]
    step = _STEP if len(shown) <= 14 else _TIGHT_STEP
    width = max(_MIN_WIDTH, _LEFT + 24 + step * max(1, len(shown)))
    parts: list[Markup] = []
    for _, word, y in _LANES:
        parts.append(element("line", x1=_LEFT, x2=width, y1=y, y2=y, class_="lane"))
        parts.append(element("text", label(word), x=0, y=y + 4.5, class_="lane-name"))
    last_tick = -_TICK_WIDTH
    for place, entry in enumerate(shown):
        x = _LEFT + 24 + step * place
        parts.append(_mark(entry, x, is_marked=entry.fields.get("decision_id") == marked != ""))
        if x - last_tick >= _TICK_WIDTH and x + _TICK_WIDTH / 2 < width + 30:
            last_tick = x
            parts.append(
                element("line", x1=x, x2=x, y1=112, y2=117, class_="tick"),
            )
            parts.append(
                element(
                    "text", label(_clock(entry)), x=x, y=131, class_="time", text_anchor="middle"
                )
            )
    return element(
        "svg",
        element("title", label(_summary(shown))),
        *parts,
        class_="calls",
        viewBox=f"0 0 {width} {_HEIGHT}",
        width=width,
        height=_HEIGHT,
        role="img",
    )


_KNOWN: Final = frozenset(lane[0] for lane in _LANES)
_Y: Final = {effect: y for effect, _, y in _LANES}


def _mark(entry: LogEntry, x: float, *, is_marked: bool) -> Markup:
    effect = str(entry.fields["effect"])
    y = _Y[effect]
    match effect:
        case "ALLOW":
            shape = element("circle", cx=x, cy=y, r=6)
        case "HOLD":
            shape = element("path", d=f"M{x} {y - 8}L{x + 8} {y}L{x} {y + 8}L{x - 8} {y}Z")
        case _:
            shape = element(
                "path", d=f"M{x - 6} {y - 6}L{x + 6} {y + 6}M{x + 6} {y - 6}L{x - 6} {y + 6}"
            )
    rings = [element("circle", cx=x, cy=y, r=12, class_="ring")] if is_marked else []
    words = f"{_clock(entry)} {entry.fields.get('tool', '')}: {effect}"
    return element(
        "g", element("title", label(words)), shape, *rings, class_=f"call {effect.lower()}"
    )


def _clock(entry: LogEntry) -> str:
    return str(entry.fields.get("time", ""))[11:19]


def _summary(shown: Sequence[LogEntry]) -> str:
    counts = [
        f"{sum(entry.fields['effect'] == effect for entry in shown)} {word}"
        for effect, word, _ in _LANES
    ]
    return f"{len(shown)} calls: {', '.join(counts)}"

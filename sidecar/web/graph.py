# SPDX-License-Identifier: Apache-2.0
"""What an agent touched, as a small picture: agent → tools → destinations and data.

Laws: pure; at most ``MAX_NODES`` nodes, the rest is counted in nodes that say so; what this request
is about is always drawn; the same reach gives the same picture. The page shows a table of all of it
beside the picture, so nobody has to see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from sidecar.web.ports import ToolUse
from sidecar.web.svg import element, label

__all__ = ["MAX_NODES", "draw_reach"]

MAX_NODES: Final = 24
_MAX_TOOLS: Final = 10
_MAX_ENDS: Final = MAX_NODES - _MAX_TOOLS - 3

_WIDTH: Final = 760
_ROW: Final = 34
_BOX: Final = 26
_COLUMNS: Final = ((0, 170), (265, 210), (570, 190))
"""Left edge and width of each column."""


@dataclass(frozen=True, slots=True)
class _Node:
    text: str
    kind: str
    note: str = ""


def draw_reach(agent: str, uses: Sequence[ToolUse], *, tool: str = "") -> Markup:
    """Return the picture of what *agent* touched.

    Args:
        agent: Its id.
        uses: What it asked of each tool.
        tool: The tool this request is about; drawn first, and marked.
    """
    ordered = sorted(uses, key=lambda use: (use.tool.tool != tool, -use.call_count, use.tool.tool))
    shown, left = ordered[:_MAX_TOOLS], len(ordered[_MAX_TOOLS:])
    tools = [
        _Node(use.tool.tool, "this" if use.tool.tool == tool else "tool", _class_of(use))
        for use in shown
    ]
    if left:
        tools.append(_Node(f"+{left} more tools", "more"))
    ends, links = _ends(shown)
    rows = max(len(tools), len(ends), 1)
    height = rows * _ROW + 8
    parts: list[Markup] = []
    middle = [_at(index, len(tools), height) for index in range(len(tools))]
    last = [_at(index, len(ends), height) for index in range(len(ends))]
    centre = height / 2
    for place, node in enumerate(tools):
        parts.append(_edge(0, centre, middle[place], is_marked=node.kind == "this"))
    for tool_index, end_index in links:
        is_marked = tools[tool_index].kind == "this"
        parts.append(_edge(1, middle[tool_index], last[end_index], is_marked=is_marked))
    parts.append(_box(0, centre, _Node(agent, "agent", "agent")))
    parts += [_box(1, y, node) for y, node in zip(middle, tools, strict=True)]
    parts += [_box(2, y, node) for y, node in zip(last, ends, strict=True)]
    name = f"{agent}: {len(uses)} tools, {len(ends)} destinations and kinds of data"
    return element(
        "svg",
        element("title", label(f"What {name}")),
        *parts,
        class_="reach",
        viewBox=f"0 0 {_WIDTH} {height}",
        width=_WIDTH,
        height=height,
        role="img",
    )


def _ends(shown: Sequence[ToolUse]) -> tuple[list[_Node], list[tuple[int, int]]]:
    """Return the third column, and which tool leads to which of it."""
    wanted: dict[tuple[str, str], set[int]] = {}
    for place, use in enumerate(shown):
        for host in use.hosts:
            wanted.setdefault((host, "host"), set()).add(place)
        if use.tool.data_class:
            wanted.setdefault((use.tool.data_class, "data"), set()).add(place)
    keys = list(wanted)
    left = len(keys) - _MAX_ENDS
    if left > 0:
        keys = keys[:_MAX_ENDS]
    nodes = [_Node(name, kind, "destination" if kind == "host" else "data") for name, kind in keys]
    links = [(place, index) for index, key in enumerate(keys) for place in sorted(wanted[key])]
    if left > 0:
        nodes.append(_Node(f"+{left} more", "more"))
    return nodes, links


def _class_of(use: ToolUse) -> str:
    return use.tool.tool_class.value if use.tool.tool_class else "not declared"


def _at(index: int, count: int, height: float) -> float:
    return height / 2 + (index - (count - 1) / 2) * _ROW


def _edge(column: int, start: float, end: float, *, is_marked: bool) -> Markup:
    left = _COLUMNS[column][0] + _COLUMNS[column][1]
    right = _COLUMNS[column + 1][0]
    bend = (right - left) / 2
    first, second = f"{left + bend:.0f} {start:.0f}", f"{right - bend:.0f} {end:.0f}"
    path = f"M{left} {start:.0f} C{first} {second} {right} {end:.0f}"
    return element("path", d=path, class_="edge marked" if is_marked else "edge")


def _box(column: int, y: float, node: _Node) -> Markup:
    left, width = _COLUMNS[column]
    full = f"{node.text} ({node.note})" if node.note else node.text
    max_chars = (width - 24) // 8
    return element(
        "g",
        element("title", label(full)),
        element(
            "rect",
            x=left + 0.5,
            y=y - _BOX / 2,
            width=width - 1,
            height=_BOX,
            rx=3 if node.kind != "host" else 13,
        ),
        element("text", label(node.text, max_chars), x=left + 12, y=y + 4.5),
        class_=f"node {node.kind}",
    )

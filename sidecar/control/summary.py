# SPDX-License-Identifier: Apache-2.0
"""One sentence that says what an agent wants to do, for people.

Two forms of it: the approver, who is shown the whole call anyway, reads the arguments themselves;
whoever is notified reads only what the registry lets be written in clear. Every word of the agent is
escaped and clipped here, and is text wherever it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sidecar.audit.safetext import clip, escape_text
from sidecar.policy.tools import ToolSpec

__all__ = ["call_sentence"]

_MAX_ARGUMENTS: Final = 4
_MAX_VALUE: Final = 60


def call_sentence(
    agent: str, tool: ToolSpec, arguments: Mapping[str, Any], *, is_public: bool = False
) -> str:
    """Return ``agent banking wants to run send_money (recipient "GB29…", amount 1240)``.

    Args:
        arguments: As parsed.
        is_public: Name only arguments that ``reveal`` names.
    """
    properties = tool.arguments_schema.get("properties", {})
    ordered = [name for name in properties if name in arguments]
    shown = [name for name in ordered if not is_public or name in tool.reveal]
    parts = [f"{name} {_value(arguments[name])}" for name in shown[:_MAX_ARGUMENTS]]
    left_out = len(arguments) - len(parts)
    if left_out and parts:
        parts.append(f"and {left_out} more")
    elif left_out:
        parts.append(f"{left_out} argument{'s' if left_out > 1 else ''}")
    described = f" ({', '.join(parts)})" if parts else ""
    return f"agent {agent} wants to run {tool.name}{described}"


def _value(value: Any) -> str:
    return clip(escape_text(json.dumps(value, ensure_ascii=False)), _MAX_VALUE)

# SPDX-License-Identifier: Apache-2.0
"""One function per action: checked parameters in, a ``Result`` out. No platform knows more."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from soar_actions.handlers.contain_agent import contain_agent
from soar_actions.handlers.get_agent import get_agent
from soar_actions.handlers.release_agent import release_agent
from soar_actions.handlers.result import Handler, Result, Status
from soar_actions.handlers.run import run_action
from soar_actions.handlers.verify_containment import verify_containment

__all__ = ["HANDLERS", "Handler", "Result", "Status", "run_action"]

HANDLERS: Final[Mapping[str, Handler]] = MappingProxyType(
    {
        "contain-agent": contain_agent,
        "release-agent": release_agent,
        "get-agent": get_agent,
        "verify-containment": verify_containment,
    }
)
"""Handlers by the slug of their action."""

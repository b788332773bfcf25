# SPDX-License-Identifier: Apache-2.0
"""contain session."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.containing import contain
from soar_actions.steps import Steps

__all__ = ["contain_session"]


def contain_session(values: Mapping[str, str], key: str) -> Steps:
    """Hold one session of one agent; its other sessions go on."""
    agent, session, level = values["agent"], values["session"], values["level"]
    return contain(
        values,
        key,
        target={"session": {"agent": agent, "session": session}},
        level=level,
        said=f"session {session} of agent {agent} is held at {level}",
    )

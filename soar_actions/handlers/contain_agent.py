# SPDX-License-Identifier: Apache-2.0
"""contain agent."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.containing import contain
from soar_actions.steps import Steps

__all__ = ["contain_agent"]


def contain_agent(values: Mapping[str, str], key: str) -> Steps:
    """Hold one agent."""
    return contain(
        values,
        key,
        target={"agent": values["agent"]},
        level=values["level"],
        said=f"agent {values['agent']} is held at {values['level']}",
    )

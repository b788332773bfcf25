# SPDX-License-Identifier: Apache-2.0
"""Every action, declared once: what a platform's manifest, docs and tests are made from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from soar_actions.catalogue.action import Action
from soar_actions.catalogue.contain_agent import CONTAIN_AGENT
from soar_actions.catalogue.get_agent import GET_AGENT
from soar_actions.catalogue.release_agent import RELEASE_AGENT
from soar_actions.catalogue.verify_containment import VERIFY_CONTAINMENT

__all__ = ["ACTIONS", "Action"]

ACTIONS: Final[Mapping[str, Action]] = MappingProxyType(
    {
        action.slug: action
        for action in (CONTAIN_AGENT, RELEASE_AGENT, GET_AGENT, VERIFY_CONTAINMENT)
    }
)
"""Actions by slug (``contain-agent``)."""

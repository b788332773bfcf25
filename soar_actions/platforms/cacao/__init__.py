# SPDX-License-Identifier: Apache-2.0
"""The runbooks as CACAO 2.0 playbooks, for whatever executes or exchanges those."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

__all__ = ["WAIVERS"]

_NOT_NEEDED: Final = (
    "none of the three playbooks needs it; platforms/http/artefact/requests.md has its request"
)
WAIVERS: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(
        (
            "list-agents",
            "contain-agents",
            "contain-session",
            "block-tool",
            "unblock-tool",
            "block-destination",
            "unblock-destination",
            "list-revocations",
            "list-directives",
            "get-receipt",
            "get-agent-timeline",
            "list-approvals",
            "request-approval",
            "search-audit",
            "get-incident",
        ),
        _NOT_NEEDED,
    )
    | {
        "test-connectivity": "it takes a 404 for success, which no CACAO condition can say; the drill "
        "looks at its agent instead"
    }
)
"""Actions that no playbook uses, and why."""

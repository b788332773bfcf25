# SPDX-License-Identifier: Apache-2.0
"""block destination."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.containing import contain
from soar_actions.steps import Steps

__all__ = ["block_destination"]


def block_destination(values: Mapping[str, str], key: str) -> Steps:
    """Deny every call that would reach a host, or a domain with all below it."""
    destination = values["destination"]
    return contain(
        values,
        key,
        target={"destination": destination},
        level="FREEZE",
        said=f"destination {destination} is blocked",
    )

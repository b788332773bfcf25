# SPDX-License-Identifier: Apache-2.0
"""What an action derives from: it is given the pack's configuration, and it has a ``run``."""

from __future__ import annotations

import logging
from typing import Any

__all__ = ["Action"]


class Action:
    """The constructor and the attributes that StackStorm documents for Python actions."""

    description: str | None = None

    def __init__(self, config: dict[str, Any] | None = None, action_service: Any = None) -> None:
        self.config = config or {}
        self.action_service = action_service
        self.logger = logging.getLogger(f"actions.python.{type(self).__name__}")

    def run(self, **kwargs: Any) -> Any:
        """Do it."""
        raise NotImplementedError

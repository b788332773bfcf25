# SPDX-License-Identifier: Apache-2.0
"""The way to control, as handlers' calls take it: one call, one answer, or an ``ActionError``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from soar_actions.steps import Call

__all__ = ["Transport"]


class Transport(Protocol):
    """Sends calls; deadlines and retries are its business."""

    def send(self, call: Call) -> Mapping[str, Any]:
        """Return the answer to *call* in proto3 JSON (lowerCamelCase, defaults left out).

        Raises:
            ActionError: Control refused it, or could not be reached in time.
        """

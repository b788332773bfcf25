# SPDX-License-Identifier: Apache-2.0
"""The one entry point of every action of the pack; which one it is, the action's metadata says.

Laws:

1. An action that did not do all it was asked has failed: ``(False, result)``. Pending is no failure:
   nothing went wrong, and the workflow goes on by asking again.
2. The same execution, action and parameters make the same idempotency key, so StackStorm may run an
   execution twice and control acts once. A workflow gives its own key, made from the workflow's
   execution: then a task that StackStorm retries is still the same order.
3. What comes back holds no credential, and nothing in it can be taken for StackStorm's own frame.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from typing import Any

from holdfast_actions.run import perform  # type: ignore[import-not-found]
from st2common.runners.base_action import Action  # type: ignore[import-not-found]

__all__ = ["HoldfastAction"]

# StackStorm finds the result between two of these lines. Text that an agent wrote may hold one too,
# and the result of a containment would then be lost.
_DELIMITER = "%%%%%~=~=~=************=~=~=~%%%%"


class HoldfastAction(Action):  # type: ignore[misc]
    """Runs one action of the catalogue."""

    def run(self, holdfast_action: str, **parameters: Any) -> tuple[bool, dict[str, Any]]:
        """Return whether all was done (or waits for a human), and the result."""
        given = {name: _text(value) for name, value in parameters.items() if value is not None}
        result = perform(
            holdfast_action,
            # Every setting goes along: one that would weaken TLS is refused, not overlooked.
            asset={name: _text(value) for name, value in self.config.items() if value is not None},
            parameters=given,
            key=_key(holdfast_action, given),
        )
        return result["status"] in ("SUCCESS", "PENDING"), _harmless(result)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        # An item that holds the separator would become two of the list.
        return ",".join("\0" if "," in str(item) else str(item) for item in value)
    return str(value)


def _key(action: str, parameters: dict[str, str]) -> str:
    execution = os.environ.get("ST2_ACTION_EXECUTION_ID") or uuid.uuid4().hex
    content = json.dumps([execution, action, parameters], sort_keys=True)
    return "stackstorm-" + hashlib.sha256(content.encode()).hexdigest()[:40]


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(_DELIMITER, "[delimiter]")
    if isinstance(value, dict):
        return {_harmless(name): _harmless(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_harmless(item) for item in value]
    return value

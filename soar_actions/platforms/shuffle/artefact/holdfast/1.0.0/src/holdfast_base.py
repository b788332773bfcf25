# SPDX-License-Identifier: Apache-2.0
"""What every action of the app shares: settings, the key of a run, and how an outcome is told.

Laws:

1. An outcome is data. A node that failed is still SUCCESS for Shuffle, so whoever builds a workflow
   branches on ``success`` (true for SUCCESS and PENDING alone) and on ``status``.
2. ``PENDING`` means that nothing has been done: a human must decide first. No action waits for one;
   Shuffle ends an action after 30 seconds, and everything here ends before that.
3. Nothing is left to the SDK's own handling of exceptions: it would call the action again without
   the parameter that it did not like, and show what the exception says.
4. TLS is always verified; there is no setting that says otherwise.
5. Text is never code. The SDK renders Liquid in every argument after it has put values in, with Python
   in reach (``{% python %}``): an alert's text could otherwise run in the process that has the token.
"""

import hashlib
import json
import os
import re
import sys
import uuid

from holdfast_actions.catalogue import ACTIONS
from holdfast_actions.client.connection import Connection
from holdfast_actions.client.http import HttpTransport
from holdfast_actions.errors import ActionError, ErrorClass
from holdfast_actions.handlers import HANDLERS
from holdfast_actions.run import failure, run_action
from shuffle_sdk import AppBase

__all__ = ["HoldfastBase"]

_SHUFFLES_LIMIT_S = 30
_MARGIN_S = 6
"""For what the SDK itself does around an action."""


class _AsItIs:
    """What stands here for the SDK's template engine: gives back the text that it was given (law 5)."""

    def __init__(self, template, **_settings):
        self._template = template

    def render(self):
        """Return the text, unchanged."""
        return self._template


_SDK = sys.modules[AppBase.__module__]
if not hasattr(_SDK, "Liquid"):
    raise ImportError("this Shuffle SDK renders arguments in a way that the app cannot switch off")
_SDK.Liquid = _AsItIs


class HoldfastBase(AppBase):
    """The SDK's app, and how it carries out an action of the catalogue."""

    __version__ = "1.0.0"
    app_name = "holdfast"

    def carry_out(self, slug, settings, parameters, unknown):
        """Do the action *slug*, and return its outcome as data (laws 1 to 3).

        Args:
            slug: Of the catalogue.
            settings: Of the authentication.
            parameters: Of the action.
            unknown: What else the node was given; refused rather than forgotten.
        """
        # The SDK adds a name with underscores for one with dashes; only what is not ours counts.
        texts = {name: _text(value) for name, value in {**parameters, **unknown}.items()}
        texts = {name: text for name, text in texts.items() if text}
        key = self._key(slug, texts)
        name = ACTIONS[slug].name
        try:
            result = _perform(
                slug, {name: _text(value) for name, value in settings.items()}, texts, key
            )
        except ActionError as exc:
            result = failure(exc, action=name, key=key)
        except Exception as exc:  # noqa: BLE001 - the SDK would show its text, whatever that quotes
            error = ActionError(
                ErrorClass.FAILED,
                f"the app itself failed ({type(exc).__name__})",
                reason="INTERNAL",
                remedy="whether it was done is not known: run it again with the same idempotency key",
            )
            result = failure(error, action=name, key=key)
        result["summary"] = _untemplated(result["summary"])
        return {
            "success": result["status"] in ("SUCCESS", "PENDING"),
            "reason": _untemplated(_said(result)),
            **result,
        }

    def _key(self, slug, texts):
        """Return the same key for the same run, node, action and parameters, and another otherwise."""
        execution = node = ""
        if isinstance(self.full_execution, dict):
            execution = self.full_execution.get("execution_id") or ""
        execution = execution or self.current_execution_id or ""
        if execution in ("", "standalone"):
            execution = uuid.uuid4().hex
        if isinstance(self.action, dict):
            node = self.action.get("id") or ""
        parts = [execution, node, slug, texts]
        return (
            "shuffle-" + hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:48]
        )


def _perform(slug, settings, texts, key):
    action = ACTIONS[slug]
    connection = Connection.from_asset({name: text for name, text in settings.items() if text})
    total_s = min(action.deadline_s, _limit_s())
    with HttpTransport(connection, total_s=total_s) as transport:
        return run_action(action, HANDLERS[slug], transport=transport, parameters=texts, key=key)


def _limit_s():
    """Return how long an action may take here (law 2)."""
    set_to = os.environ.get("SHUFFLE_APP_SDK_TIMEOUT", "")
    limit = int(set_to) if set_to.isdecimal() else _SHUFFLES_LIMIT_S
    return max(limit - _MARGIN_S, 5)


def _said(result):
    if "error" not in result:
        return f"{result['status']}: {result['summary']}"
    error = result["error"]
    remedy = f" (what to do: {error['remedy']})" if error["remedy"] else ""
    return f"{error['class']}: {error['reason']}: {result['summary']}{remedy}"


def _untemplated(text):
    """Return a sentence in which another app, which repeats it, finds nothing to render (law 5)."""
    return re.sub(r"\{(?=[{%#])", "{ ", text)


def _text(value):
    """Return *value* as text: the SDK has turned what looks like JSON into what it stands for."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return str(value)

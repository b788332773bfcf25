# SPDX-License-Identifier: Apache-2.0
"""Polling: what waits for people in Holdfast becomes a container here, once each.

Denials are not polled: an agent that goes wrong makes thousands, and they belong into a SIEM.

The agent stands in the CEF field ``heldAgent`` and not in the one that names the target of the
containment playbook: that something waits is no reason to contain anybody.
"""

from collections.abc import Iterator
from typing import Any

from soar_sdk.abstract import SOARClient
from soar_sdk.exceptions import ActionFailure
from soar_sdk.models.artifact import Artifact
from soar_sdk.models.container import Container
from soar_sdk.params import OnPollParams

from .adapter import Asset, app, ask, told

__all__ = ["on_poll"]

_SEVERITY = {"LOW": "low", "MEDIUM": "medium"}
_MOST = 1000


@app.on_poll()
def on_poll(params: OnPollParams, soar: SOARClient, asset: Asset) -> Iterator[Any]:
    """Make a container of each request that waits for a human decision in Holdfast."""
    most = int(params.container_count or _MOST)
    texts = {"pending_only": "true", "limit": str(min(max(most, 1), _MOST))}
    result = ask("list-approvals", asset, texts)
    if result["status"] != "SUCCESS":
        raise ActionFailure(told(result))
    for approval in result["approvals"]:
        yield Container(
            name=f"Holdfast: a human must decide ({approval['tier']})",
            description=approval["summary"],
            source_data_identifier=approval["name"],
            severity=_SEVERITY.get(approval["tier"], "high"),
        )
        yield Artifact(
            name="held action",
            label="approval",
            source_data_identifier=approval["name"],
            severity=_SEVERITY.get(approval["tier"], "high"),
            run_automation=True,
            cef=_cef(approval),
            cef_types={
                "holdfastApproval": ["holdfast approval"],
                "holdfastOperation": ["holdfast operation"],
                "heldAgent": ["holdfast agent"],
                "holdfastLink": ["url"],
            },
        )


def _cef(approval: dict[str, Any]) -> dict[str, str]:
    values = {
        "holdfastApproval": approval["name"],
        "holdfastOperation": approval["operation"],
        "heldAgent": approval["agent"],
        "heldTool": approval["tool"],
        "holdfastLink": approval["url"],
        "holdfastExpires": approval["expire_time"],
        "holdfastFingerprint": approval["fingerprint_words"],
    }
    return {name: value for name, value in values.items() if value}

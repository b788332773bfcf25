# SPDX-License-Identifier: Apache-2.0
"""What a receipt proves: the one rule by which a containment is whole, for every action that has one.

A gate that is not connected is named and is no shortfall: it denies by itself once control is silent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soar_actions.steps import Status

__all__ = ["laggards_of", "proved"]


def laggards_of(receipt: Mapping[str, Any]) -> list[str]:
    """Return the gates that do not enforce what *receipt* (as data) is of, connected or not."""
    return [item["gate"] for item in receipt["gates"] if item["state"] != "ENFORCED"]


def proved(receipt: Mapping[str, Any]) -> tuple[Status, str]:
    """Return how the containment of *receipt* (as data) stands, and words for what is not so.

    SUCCESS only if it is durable, every connected gate enforces it, and no runtime went on; otherwise
    PARTIAL. The words follow a sentence: they are empty or begin with a semicolon.
    """
    away = [item["gate"] for item in receipt["gates"] if item["state"] == "DISCONNECTED"]
    lagging = [gate for gate in laggards_of(receipt) if gate not in away]
    running = [item["subject"] for item in receipt["isolation"] if item["result"] == "FAILED"]
    lacks = []
    if lagging:
        lacks.append(f"not yet enforced by: {', '.join(lagging)}")
    elif not receipt["contained"]:
        lacks.append("NOT called contained by control: no gate enforces it, or it has ended")
    if not receipt["durable"]:
        lacks.append("NOT durable: control's storage failed")
    if running:
        lacks.append(f"NOT stopped: {', '.join(running)}")
    notes = [f"not connected: {', '.join(away)}"] if away else []
    words = "".join(f"; {word}" for word in (*lacks, *notes))
    return Status.PARTIAL if lacks else Status.SUCCESS, words

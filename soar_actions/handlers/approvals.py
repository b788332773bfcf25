# SPDX-License-Identifier: Apache-2.0
"""Approvals as the plain data that playbooks read: who is asked what, and no argument of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from soar_actions.handlers.reading import enum, messages, number, text, texts

__all__ = ["approval_data"]


def approval_data(approval: Mapping[str, Any]) -> dict[str, Any]:
    """Return an approval as data, without its canonical form, which can hold arguments."""
    return {
        "name": text(approval, "name"),
        "state": enum(approval, "state", "STATE_"),
        "summary": text(approval, "summary"),
        "agent": text(approval, "agent"),
        "session": text(approval, "session"),
        "tool": text(approval, "tool"),
        "why": text(approval, "reason"),
        "tier": text(approval, "tier"),
        "requester": text(approval, "requester"),
        "operation": text(approval, "operation"),
        "approver_role": text(approval, "approverRole"),
        "approvers": texts(approval, "approvers"),
        "quorum": number(approval, "quorum"),
        "votes": [
            {
                "operator": text(vote, "operator"),
                "verdict": enum(vote, "verdict", "VERDICT_"),
                "reason": text(vote, "reason"),
                "create_time": text(vote, "createTime"),
            }
            for vote in messages(approval, "votes")
        ],
        "fingerprint": text(approval, "fingerprint"),
        "fingerprint_words": text(approval, "fingerprintWords"),
        "url": text(approval, "url"),
        "create_time": text(approval, "createTime"),
        "expire_time": text(approval, "expireTime"),
        "end_time": text(approval, "endTime"),
        "detail": text(approval, "detail"),
    }

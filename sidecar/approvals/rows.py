# SPDX-License-Identifier: Apache-2.0
"""An approval as a store writes it: plain columns, and two JSON documents.

Laws:

1. Whatever a compare-and-swap compares is a column of its own; nothing is kept twice.
2. What is read back is what was written, or an error: an unknown name or a missing key is never
   guessed at.

Compatibility: keys of the documents may be added with a default; none may be renamed, removed or
change its meaning. Integers that JSON cannot say exactly are decimal strings.
"""

from __future__ import annotations

import json
from typing import Any, Final

from sidecar.approvals.values import (
    Approval,
    ApprovalState,
    Cause,
    Channel,
    Request,
    RequestKind,
    Tier,
    Verdict,
    Vote,
)
from sidecar.canonical import canonicalise
from sidecar.model import Fingerprint, Role

__all__ = ["COLUMNS", "approval_of", "life_of", "row_of"]

COLUMNS: Final = (
    "id",
    "kind",
    "state",
    "version",
    "fingerprint",
    "agent",
    "session",
    "policy_digest",
    "request_id",
    "grant_epoch",
    "create_time_ns",
    "expire_time_ns",
    "deadline_boot_ns",
    "boot_id",
    "end_time_ns",
    "folded_count",
    "result",
    "summary",
    "canonical",
    "request",
    "life",
)
"""The columns that make an approval, in the order of ``row_of`` and ``approval_of``."""


def row_of(approval: Approval) -> tuple[Any, ...]:
    """Return the values of ``COLUMNS``."""
    request = approval.request
    return (
        approval.id,
        request.kind.value,
        approval.state.value,
        approval.version,
        request.fingerprint,
        request.agent,
        request.session,
        request.policy_digest,
        request.request_id,
        approval.grant_epoch,
        approval.create_time_ns,
        approval.expire_time_ns,
        approval.deadline_boot_ns,
        approval.boot_id,
        approval.end_time_ns,
        approval.folded_count,
        approval.result,
        request.summary,
        request.canonical,
        _request_document(request),
        life_of(approval),
    )


def life_of(approval: Approval) -> bytes:
    """Return the document of what changes and nobody compares."""
    return canonicalise(
        {
            "votes": [
                {
                    "human_id": vote.human_id,
                    "operator": vote.operator,
                    "identity": vote.identity,
                    "verdict": vote.verdict.value,
                    "reason": vote.reason,
                    "time_ns": str(vote.time_ns),
                    "channel": vote.channel.value,
                    "request_id": vote.request_id,
                    "assertion": vote.assertion,
                }
                for vote in approval.votes
            ],
            "detail": approval.detail,
            "cause": approval.cause.value if approval.cause is not None else "",
            "consuming_decision_id": approval.consuming_decision_id,
        }
    )


def approval_of(row: tuple[Any, ...]) -> Approval:
    """Return the approval of a row with ``COLUMNS``.

    Raises:
        ValueError, KeyError, TypeError: It is none that we wrote.
    """
    columns: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
    life: dict[str, Any] = json.loads(columns["life"])
    return Approval(
        id=columns["id"],
        request=_request_of(columns),
        state=ApprovalState(columns["state"]),
        version=columns["version"],
        create_time_ns=columns["create_time_ns"],
        expire_time_ns=columns["expire_time_ns"],
        deadline_boot_ns=columns["deadline_boot_ns"],
        boot_id=columns["boot_id"],
        votes=tuple(
            Vote(
                human_id=vote["human_id"],
                operator=vote["operator"],
                identity=vote["identity"],
                verdict=Verdict(vote["verdict"]),
                reason=vote["reason"],
                time_ns=int(vote["time_ns"]),
                channel=Channel(vote["channel"]),
                request_id=vote["request_id"],
                assertion=vote["assertion"],
            )
            for vote in life["votes"]
        ),
        grant_epoch=columns["grant_epoch"],
        end_time_ns=columns["end_time_ns"],
        detail=life["detail"],
        cause=Cause(life["cause"]) if life["cause"] else None,
        consuming_decision_id=life["consuming_decision_id"],
        folded_count=columns["folded_count"],
        result=columns["result"],
    )


def _request_document(request: Request) -> bytes:
    return canonicalise(
        {
            "reason": request.reason,
            "tier": request.tier.name,
            "role": request.role.value,
            "quorum": request.quorum,
            "is_passkey_needed": request.is_passkey_needed,
            "is_reason_needed": request.is_reason_needed,
            "expiry_s": request.expiry_s,
            "grant_life_s": request.grant_life_s,
            "epoch": str(request.epoch),
            "owner": request.owner,
            "tool": request.tool,
            "decision_id": request.decision_id,
            "policies": list(request.policies),
            "action": request.action,
            "requester": request.requester,
            "requester_human": request.requester_human,
        }
    )


def _request_of(columns: dict[str, Any]) -> Request:
    document: dict[str, Any] = json.loads(columns["request"])
    return Request(
        kind=RequestKind(columns["kind"]),
        fingerprint=Fingerprint(columns["fingerprint"]),
        canonical=columns["canonical"],
        summary=columns["summary"] or _forgotten(columns["agent"] or document["requester"]),
        reason=document["reason"],
        tier=Tier[document["tier"]],
        role=Role(document["role"]),
        quorum=document["quorum"],
        is_passkey_needed=document["is_passkey_needed"],
        is_reason_needed=document["is_reason_needed"],
        expiry_s=document["expiry_s"],
        grant_life_s=document["grant_life_s"],
        policy_digest=columns["policy_digest"],
        epoch=int(document["epoch"]),
        agent=columns["agent"],
        owner=document["owner"],
        session=columns["session"],
        tool=document["tool"],
        decision_id=document["decision_id"],
        policies=tuple(document["policies"]),
        action=document["action"],
        requester=document["requester"],
        requester_human=document["requester_human"],
        request_id=columns["request_id"],
    )


def _forgotten(asker: str) -> str:
    return f"what {asker} asked for is no longer kept"

# SPDX-License-Identifier: Apache-2.0
"""The JSON twins of pages: what programs that hold a person's session may read.

Laws: a twin holds what its page shows and no more; keys may be added, never renamed or removed. JSON
is sent in ASCII, so no reader is steered by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sidecar.approvals.values import Approval
from sidecar.model import Operator
from sidecar.web.approval_facts import is_genuine, may_read
from sidecar.web.ports import AgentView, LogEntry, PolicyView
from sidecar.web.render import iso_text

__all__ = ["agent_twin", "approval_twin", "entry_twin", "policy_twin"]


def approval_twin(
    approval: Approval, caller: Operator, approvers: Sequence[str], *, has_text: bool = False
) -> dict[str, Any]:
    """Return *approval* as *caller* may read it; what would run only with *has_text*, not in lists."""
    asked = approval.request
    twin: dict[str, Any] = {
        "name": approval.name,
        "state": approval.state.value,
        "detail": approval.detail,
        "kind": asked.kind.value,
        "tier": asked.tier.name,
        "fingerprint": asked.fingerprint,
        "agent": asked.agent,
        "session": asked.session,
        "tool": asked.tool,
        "action": asked.action,
        "requester": asked.requester,
        "reason": asked.reason,
        "policies": list(asked.policies),
        "policy_digest": asked.policy_digest,
        "decision_id": asked.decision_id,
        "approver_role": asked.role.value,
        "quorum": asked.quorum,
        "passkey_required": asked.is_passkey_needed,
        "reason_required": asked.is_reason_needed,
        "approvers": list(approvers),
        "create_time": iso_text(approval.create_time_ns),
        "expire_time": iso_text(approval.expire_time_ns),
        "version": approval.version,
        "votes": [
            {
                "operator": vote.operator,
                "verdict": vote.verdict.value,
                "reason": vote.reason,
                "time": iso_text(vote.time_ns),
                "channel": vote.channel.value,
                "signed": bool(vote.assertion),
            }
            for vote in approval.votes
        ],
    }
    if approval.end_time_ns:
        twin["end_time"] = iso_text(approval.end_time_ns)
    if has_text and may_read(asked, caller) and asked.canonical and is_genuine(asked):
        twin["canonical"] = asked.canonical.decode("utf-8")
    return twin


def agent_twin(agent: AgentView) -> dict[str, Any]:
    """Return *agent*."""
    return {
        "agent": agent.agent,
        "owner": agent.owner,
        "groups": list(agent.groups),
        "labels": dict(agent.labels),
        "declared": agent.is_declared,
        "gates": list(agent.gates),
        "level": agent.level.name if agent.level is not None else "",
        "directives": [
            {
                "epoch": directive.epoch,
                "target": directive.target.describe(),
                "level": directive.level.name,
                "reason": directive.reason,
                "author": directive.author,
                "create_time": iso_text(directive.create_time_ns),
            }
            for directive in agent.directives
        ],
        "decision_counts": dict(agent.effects),
        "last_call_time": iso_text(agent.last_call_time_ns) if agent.last_call_time_ns else "",
        "tools": [
            {
                "tool": use.tool.tool,
                "class": use.tool.tool_class.value if use.tool.tool_class else "",
                "data_class": use.tool.data_class,
                "call_count": use.call_count,
                "destinations": list(use.hosts),
            }
            for use in agent.tools
        ],
    }


def entry_twin(entry: LogEntry) -> dict[str, Any]:
    """Return *entry*."""
    return {"log": entry.log, "index": entry.index, "entry": dict(entry.fields)}


def policy_twin(policy: PolicyView) -> dict[str, Any]:
    """Return *policy*."""
    return {
        "id": policy.id,
        "file": policy.file,
        "line": policy.line,
        "effect": policy.effect,
        "outcome": policy.outcome,
        "annotations": dict(policy.annotations),
    }

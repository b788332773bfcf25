# SPDX-License-Identifier: Apache-2.0
"""The three workflows, as Shuffle imports them.

Laws:

1. No User Input is beside another one: Shuffle confuses answers of triggers that wait together.
2. A User Input never stands before something that must happen: a "no" may end the workflow. What
   contains, keeps evidence and verifies comes first; behind it comes only what loosens or looks.
3. A ``yes`` in Shuffle decides nothing in Holdfast. It asks for a release, or looks how it stands.
4. Whom it is about comes from the execution argument and is spelt exactly; the catalogue checks it.
5. What is told to be wrong is all that was not told to be right: a node that Shuffle itself ended has
   no ``status``, and would match no word for failure.

Nodes named ``tell_…`` repeat a sentence; put the app behind them that reaches your people.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["WORKFLOWS", "Branch", "Node", "Workflow", "exported"]

_NAMESPACE: Final = uuid.UUID("1f0f6a5e-6f0d-4a43-9d5b-9f5c1f6f7b1e")
_FREEZE: Final = {"agent": "$exec.agent", "level": "FREEZE", "reason": "Shuffle: $exec.reason"}


@dataclass(frozen=True)
class Node:
    """One step. ``tell_…`` is an action of Shuffle Tools; no ``action`` at all is a User Input."""

    label: str
    action: str = ""
    parameters: Mapping[str, str] | None = None
    question: str = ""

    @property
    def is_trigger(self) -> bool:
        """Whether it waits for a person."""
        return not self.action


@dataclass(frozen=True)
class Branch:
    """From one node to another one, if *value* matches the regular expression *pattern*."""

    source: str
    destination: str
    value: str = ""
    pattern: str = ""
    is_negated: bool = False


@dataclass(frozen=True)
class Workflow:
    """One workflow; the first node is where it starts."""

    name: str
    description: str
    nodes: Sequence[Node]
    branches: Sequence[Branch]


def _tell(label: str, said: str) -> Node:
    return Node(f"tell_{label}", "repeat_back_to_me", {"call": said})


def _ask(label: str, question: str) -> Node:
    return Node(label, question=question)


_CONTAIN: Final = Workflow(
    name="Holdfast: contain a rogue agent",
    description="NIST SP 800-61: detection and analysis (triage, timeline, blast radius), containment "
    "(freeze, revoke tokens), eradication (KILL, if the argument says so), recovery (a release that "
    "people grant in Holdfast), post-incident activity (incident). Argument: agent, reason, eradicate "
    "(true or false).",
    nodes=(
        Node("triage", "get_agent", {"agent": "$exec.agent"}),
        Node("timeline", "get_agent_timeline", {"agent": "$exec.agent", "limit": "50"}),
        Node("blast_radius", "get_blast_radius", {"agent": "$exec.agent"}),
        Node("contain", "contain_agent", _FREEZE),
        _tell("not_known", "Nothing was done: $triage.reason"),
        _tell("not_contained", "The agent is NOT contained: $contain.reason"),
        _tell("partly_contained", "NOT fully contained: $contain.reason"),
        _ask(
            "containment_waits",
            "The containment waits for people in Holdfast: $contain.link — press yes when they "
            "have decided there. This answer decides nothing.",
        ),
        Node("containment", "get_operation", {"operation": "$contain.operation.name"}),
        _tell("containment_refused", "The agent is NOT contained: $containment.reason"),
        _tell("granted_in_part", "NOT fully contained: $containment.reason"),
        Node(
            "revoke", "revoke_tokens", {"agent": "$exec.agent", "reason": "Shuffle: $exec.reason"}
        ),
        _tell("tokens_stand", "Not all of its tokens are revoked: $revoke.reason"),
        Node("evidence", "export_evidence", {"agent": "$exec.agent"}),
        _tell("no_evidence", "The evidence is missing or cut: $evidence.reason"),
        Node(
            "incident",
            "open_incident",
            {
                "agent": "$exec.agent",
                "title": "Rogue agent $exec.agent",
                "severity": "HIGH",
                "note": "evidence: SHA-256 $evidence.sha256",
            },
        ),
        _tell("no_incident", "There is no incident: $incident.reason"),
        Node("eradicate", "contain_agent", {**_FREEZE, "level": "KILL"}),
        _tell(
            "not_eradicated", "It was to be killed, and is NOT, or not in full: $eradicate.reason"
        ),
        Node("verify", "verify_containment", {"agent": "$exec.agent"}),
        _tell("not_verified", "NOT verified: $verify.reason"),
        Node(
            "record",
            "update_incident",
            {"incident": "$incident.incident.name", "note": "$verify.summary"},
        ),
        _tell("not_recorded", "The incident was not written up: $record.reason"),
        _ask(
            "ask_for_release",
            "Agent $exec.agent: $verify.summary — press yes to ask for its release; two people must "
            "then grant that in Holdfast. No keeps it as it is.",
        ),
        Node(
            "release", "release_agent", {"agent": "$exec.agent", "reason": "Shuffle: $exec.reason"}
        ),
        _tell("not_released", "It was not released: $release.reason"),
        _ask(
            "release_waits",
            "The release waits for people in Holdfast: $release.link — press yes when they "
            "have decided there. This answer decides nothing.",
        ),
        Node("released", "get_operation", {"operation": "$release.operation.name"}),
        Node("check", "get_agent", {"agent": "$exec.agent"}),
        _tell("still_held", "A release was granted, and the agent is still held: $check.summary"),
        Node(
            "close",
            "update_incident",
            {
                "incident": "$incident.incident.name",
                "note": "Released; granted by people.",
                "close": "true",
            },
        ),
        _tell("not_closed", "It is released, and the incident is still open: $close.reason"),
        _tell("release_refused", "It was not released: $released.reason"),
        _tell("release_still_waits", "The release still waits: $released.link"),
    ),
    branches=(
        Branch("triage", "timeline", "$triage.status", "SUCCESS"),
        Branch("triage", "tell_not_known", "$triage.status", "SUCCESS", is_negated=True),
        Branch("timeline", "blast_radius"),
        Branch("blast_radius", "contain"),
        Branch("contain", "revoke", "$contain.status", "SUCCESS|PARTIAL"),
        Branch("contain", "tell_partly_contained", "$contain.status", "PARTIAL"),
        Branch("contain", "containment_waits", "$contain.status", "PENDING"),
        Branch(
            "contain",
            "tell_not_contained",
            "$contain.status",
            "SUCCESS|PARTIAL|PENDING",
            is_negated=True,
        ),
        Branch("containment_waits", "containment"),
        Branch("containment", "revoke", "$containment.operation.state", "DONE"),
        Branch(
            "containment",
            "tell_containment_refused",
            "$containment.operation.state",
            "DONE",
            is_negated=True,
        ),
        Branch("containment", "tell_granted_in_part", "$containment.status", "PARTIAL"),
        Branch("revoke", "tell_tokens_stand", "$revoke.status", "SUCCESS", is_negated=True),
        Branch("revoke", "evidence"),
        Branch("evidence", "tell_no_evidence", "$evidence.status", "SUCCESS", is_negated=True),
        Branch("evidence", "incident"),
        Branch("incident", "tell_no_incident", "$incident.status", "SUCCESS", is_negated=True),
        Branch("incident", "eradicate", "$exec.eradicate", "(?i)true"),
        Branch("incident", "verify", "$exec.eradicate", "(?i)true", is_negated=True),
        Branch("eradicate", "tell_not_eradicated", "$eradicate.status", "SUCCESS", is_negated=True),
        Branch("eradicate", "verify"),
        Branch("verify", "tell_not_verified", "$verify.status", "SUCCESS", is_negated=True),
        Branch("verify", "record"),
        Branch("record", "tell_not_recorded", "$record.status", "SUCCESS", is_negated=True),
        Branch("record", "ask_for_release"),
        Branch("ask_for_release", "release"),
        Branch("release", "check", "$release.status", "SUCCESS"),
        Branch("release", "release_waits", "$release.status", "PENDING"),
        Branch(
            "release", "tell_not_released", "$release.status", "SUCCESS|PENDING", is_negated=True
        ),
        Branch("release_waits", "released"),
        Branch("released", "check", "$released.operation.state", "DONE"),
        # Each directive has a release of its own: one that is granted need not be the last.
        Branch("check", "close", "$check.agent.directives", r"^\[\]$"),
        Branch("check", "tell_still_held", "$check.agent.directives", r"^\[\]$", is_negated=True),
        Branch("close", "tell_not_closed", "$close.status", "SUCCESS", is_negated=True),
        Branch(
            "released",
            "tell_release_still_waits",
            "$released.operation.state",
            "PENDING_APPROVAL|RUNNING",
        ),
        Branch(
            "released",
            "tell_release_refused",
            "$released.operation.state",
            "DONE|PENDING_APPROVAL|RUNNING",
            is_negated=True,
        ),
    ),
)
_APPROVE: Final = Workflow(
    name="Holdfast: approve a held action",
    description="Tells people where to decide, waits, and says how it ended. It decides nothing. "
    "Argument: operation.",
    nodes=(
        Node("look", "get_operation", {"operation": "$exec.operation"}),
        _tell("not_known", "It cannot be found out how it stands: $look.reason"),
        _tell("over", "It has ended already: $look.reason"),
        _ask(
            "decide_in_holdfast",
            "Holdfast holds: $look.operation.summary — compare "
            "$look.operation.fingerprint_words and decide at $look.link. "
            "Press yes here when you have; this answer decides nothing.",
        ),
        Node("look_again", "get_operation", {"operation": "$exec.operation"}),
        _tell("granted", "Granted and carried out: $look_again.reason"),
        _tell("granted_in_part", "Granted, and carried out in part only: $look_again.reason"),
        _tell("refused", "Refused; nothing was done: $look_again.reason"),
        _tell("expired", "Nobody decided in time; nothing was done: $look_again.reason"),
        _tell("still_waits", "It still waits: $look_again.link"),
        _tell("failed", "It did not come to an end: $look_again.reason"),
    ),
    branches=(
        Branch("look", "decide_in_holdfast", "$look.operation.state", "PENDING_APPROVAL|RUNNING"),
        Branch(
            "look", "tell_over", "$look.operation.state", "DONE|REFUSED|EXPIRED|CANCELLED|FAILED"
        ),
        Branch(
            "look", "tell_not_known", "$look.status", "SUCCESS|PARTIAL|PENDING", is_negated=True
        ),
        Branch("decide_in_holdfast", "look_again"),
        Branch(
            "look_again",
            "tell_granted",
            "$look_again.status $look_again.operation.state",
            "SUCCESS DONE",
        ),
        Branch("look_again", "tell_granted_in_part", "$look_again.status", "PARTIAL"),
        Branch("look_again", "tell_refused", "$look_again.operation.state", "REFUSED"),
        Branch("look_again", "tell_expired", "$look_again.operation.state", "EXPIRED"),
        Branch(
            "look_again",
            "tell_still_waits",
            "$look_again.operation.state",
            "PENDING_APPROVAL|RUNNING",
        ),
        Branch(
            "look_again",
            "tell_failed",
            "$look_again.operation.state",
            "DONE|REFUSED|EXPIRED|PENDING_APPROVAL|RUNNING",
            is_negated=True,
        ),
    ),
)
_DRILL: Final = Workflow(
    name="Holdfast: containment drill",
    description="NIST SP 800-61: preparation. Freezes an agent that is there for it, for ten minutes "
    "at most, verifies agent and log, and asks for the release. Argument: agent.",
    nodes=(
        Node("reach", "test_connection", {}),
        _tell("not_reached", "Finding: $reach.reason"),
        Node(
            "contain",
            "contain_agent",
            {
                "agent": "$exec.agent",
                "level": "FREEZE",
                "reason": "containment drill",
                "ttl_seconds": "600",
            },
        ),
        _tell(
            "protected",
            "Finding: the drill's agent is protected; refuse it at $contain.link: $contain.reason",
        ),
        _tell("not_contained", "Finding: $contain.reason"),
        _tell("partly_contained", "Finding: not every gate enforced it: $contain.reason"),
        Node("verify", "verify_containment", {"agent": "$exec.agent"}),
        _tell("not_verified", "Finding: the replay did not show that it held: $verify.reason"),
        Node("log", "verify_audit_log", {}),
        _tell("log_not_verified", "Finding: the log could not be verified: $log.reason"),
        # By its epoch: another directive that holds the agent is not the drill's to end.
        Node(
            "release",
            "release_agent",
            {"epoch": "$contain.receipt.epoch", "reason": "the drill is over"},
        ),
        _tell("not_released", "The freeze lapses by itself: $release.reason"),
        _ask(
            "release_waits",
            "The drill's release waits for people in Holdfast: $release.link — press yes when they "
            "have decided there. This answer decides nothing.",
        ),
        Node("released", "get_operation", {"operation": "$release.operation.name"}),
        _tell("over", "The drill is over; the agent is released: $released.reason"),
        _tell(
            "release_refused", "The release was not granted; the freeze lapses: $released.reason"
        ),
    ),
    branches=(
        Branch("reach", "contain", "$reach.status", "SUCCESS"),
        Branch("reach", "tell_not_reached", "$reach.status", "SUCCESS", is_negated=True),
        Branch("contain", "tell_protected", "$contain.status", "PENDING"),
        Branch(
            "contain",
            "tell_not_contained",
            "$contain.status",
            "SUCCESS|PARTIAL|PENDING",
            is_negated=True,
        ),
        Branch("contain", "tell_partly_contained", "$contain.status", "PARTIAL"),
        Branch("contain", "verify", "$contain.status", "SUCCESS|PARTIAL"),
        Branch("verify", "tell_not_verified", "$verify.status", "SUCCESS", is_negated=True),
        Branch("verify", "log"),
        Branch("log", "tell_log_not_verified", "$log.status", "SUCCESS", is_negated=True),
        Branch("log", "release"),
        Branch("release", "release_waits", "$release.status", "PENDING"),
        Branch(
            "release", "tell_not_released", "$release.status", "SUCCESS|PENDING", is_negated=True
        ),
        Branch("release_waits", "released"),
        Branch("released", "tell_over", "$released.operation.state", "DONE"),
        Branch(
            "released", "tell_release_refused", "$released.operation.state", "DONE", is_negated=True
        ),
    ),
)
WORKFLOWS: Final[Mapping[str, Workflow]] = {
    "holdfast_contain_a_rogue_agent": _CONTAIN,
    "holdfast_approve_a_held_action": _APPROVE,
    "holdfast_containment_drill": _DRILL,
}
"""File name without ``.json`` to workflow."""


def exported(workflow: Workflow) -> str:
    """Return *workflow* as Shuffle exports and imports it."""
    ids = {node.label: _id(workflow.name, node.label) for node in workflow.nodes}
    actions = [
        _action(node, ids, at) for at, node in enumerate(workflow.nodes) if not node.is_trigger
    ]
    triggers = [
        _trigger(node, ids, at) for at, node in enumerate(workflow.nodes) if node.is_trigger
    ]
    actions[0]["isStartNode"] = True
    content = {
        "name": workflow.name,
        "description": workflow.description,
        "id": _id(workflow.name),
        "start": ids[workflow.nodes[0].label],
        "tags": ["holdfast", "generated from the catalogue: do not edit"],
        "is_valid": True,
        "actions": actions,
        "triggers": triggers,
        "branches": [_branch(workflow.name, branch, ids) for branch in workflow.branches],
        "workflow_variables": [],
        "execution_variables": [],
        "configuration": {"exit_on_error": False, "start_from_top": False},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _id(*parts: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "/".join(parts)))


def _place(at: int) -> dict[str, int]:
    return {"x": 100 + 260 * (at % 5), "y": 100 + 160 * (at // 5)}


def _action(node: Node, ids: Mapping[str, str], at: int) -> dict[str, Any]:
    is_ours = node.action != "repeat_back_to_me"
    return {
        "app_name": "holdfast" if is_ours else "Shuffle Tools",
        "app_version": "1.0.0" if is_ours else "1.2.0",
        "name": node.action,
        "label": node.label,
        "id": ids[node.label],
        "environment": "Shuffle",
        "is_valid": True,
        "isStartNode": False,
        "authentication_id": "",
        "parameters": [_value(name, value) for name, value in (node.parameters or {}).items()],
        "position": _place(at),
    }


def _value(name: str, value: str) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "variant": "STATIC_VALUE",
        "required": False,
        "schema": {"type": "string"},
    }


def _trigger(node: Node, ids: Mapping[str, str], at: int) -> dict[str, Any]:
    return {
        "app_name": "User Input",
        "app_version": "1.0.0",
        "name": "User Input",
        "trigger_type": "USERINPUT",
        "label": node.label,
        "id": ids[node.label],
        "environment": "Shuffle",
        "is_valid": True,
        "status": "running",
        "parameters": [
            {"name": "alertinfo", "value": node.question},
            {"name": "options", "value": "boolean"},
            {"name": "type", "value": ""},
            {"name": "email", "value": ""},
            {"name": "sms", "value": ""},
            {"name": "subflow", "value": ""},
        ],
        "position": _place(at),
    }


def _branch(name: str, branch: Branch, ids: Mapping[str, str]) -> dict[str, Any]:
    own = _id(name, branch.source, branch.destination)
    conditions = []
    if branch.value:
        conditions.append(
            {
                "condition": {
                    "id": _id(own, "condition"),
                    "name": "condition",
                    "value": "matches regex",
                    "configuration": branch.is_negated,
                },
                "source": {**_value("source", branch.value), "id": _id(own, "source")},
                "destination": {
                    **_value("destination", branch.pattern),
                    "id": _id(own, "destination"),
                },
            }
        )
    return {
        "id": own,
        "source_id": ids[branch.source],
        "destination_id": ids[branch.destination],
        "label": "",
        "has_errors": False,
        "conditions": conditions,
    }

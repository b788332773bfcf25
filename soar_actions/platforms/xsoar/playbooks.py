# SPDX-License-Identifier: Apache-2.0
"""The pack's playbooks. Headings name the phase of NIST SP 800-61 and, in brackets, of SANS.

Each of them has a way out for a human's refusal, for a decision that nobody took in time, for a
containment that not every gate enforces, and for a failure; each way ends at a human who is told what
stands, and none of them loosens anything without a human's word.
"""

from __future__ import annotations

from typing import Final

from soar_actions.platforms.xsoar.flow import (
    Ask,
    Branch,
    Command,
    Human,
    Input,
    Playbook,
    Title,
)

__all__ = ["PLAYBOOKS"]

_AGENT: Final = Input("Agent", "", "Exact id of the agent; no wildcards.", is_required=True)
_APPROVER: Final = Input(
    "Approver",
    "Administrator",
    "Who is asked at the playbook's own gates: a user, role or address.",
)
_DECISION_SECONDS: Final = Input(
    "DecisionSeconds",
    "3600",
    "How many seconds a command waits for a decision that must be taken in Holdfast.",
)
_WAIT: Final = {"interval_in_seconds": "30", "timeout_in_seconds": "${inputs.DecisionSeconds}"}
_REASON: Final = Input(
    "Reason", "XSOAR incident ${incident.id}", "Why, for the log and for those who read it later."
)
_BY_HAND: Final = (
    "On its host, as root: `holdfast contain agent AGENT --level kill --reason INCIDENT --local`"
)

CONTAIN: Final = Playbook(
    name="Holdfast - Contain a Rogue Agent",
    description="Triage, containment, revocation of tokens, evidence, incident record, a human gate, "
    "then release or eradication, and verification. Follows NIST SP 800-61 and SANS. Commands "
    "that must "
    "be granted by a human in Holdfast come back by themselves once somebody has decided; refusal, "
    "expiry, partial containment and failure each have their own branch.",
    inputs=(
        _AGENT,
        Input(
            "Level", "FREEZE", "How tightly: OBSERVE, THROTTLE, HOLD, READ_ONLY, FREEZE or KILL."
        ),
        _REASON,
        _APPROVER,
        _DECISION_SECONDS,
    ),
    steps=(
        Title("analysis", "Detection and analysis (identification)", "look"),
        Command(
            "look",
            "Who is this agent?",
            "holdfast-agent-get",
            {"agent": "${inputs.Agent}"},
            then="blast",
            error="unknown",
            description="Shows owner, gates and what already holds the agent.",
        ),
        Human(
            "unknown",
            "Find out who the agent is",
            "Holdfast does not know this agent, or could not be asked; the War Room says which. "
            "Nothing has "
            f"been done. Is an agent running out of control? {_BY_HAND}.",
            then="end_open",
        ),
        Command(
            "blast",
            "What could it have touched?",
            "holdfast-blast-radius-get",
            {"agent": "${inputs.Agent}"},
            then="containment",
            error="containment",
            description="Tools, destinations, credentials and humans in the window. Containment "
            "does not wait "
            "for it if it fails.",
        ),
        Title("containment", "Containment", "contain"),
        Command(
            "contain",
            "Contain the agent",
            "holdfast-agent-contain",
            {
                "agent": "${inputs.Agent}",
                "level": "${inputs.Level}",
                "reason": "${inputs.Reason}",
                **_WAIT,
            },
            then="contained",
            error="not_contained",
            description="Comes back by itself once another human has granted it, where that is needed.",
        ),
        Branch(
            "contained",
            "Does every gate enforce it?",
            "Holdfast.ContainAgent.status",
            {"SUCCESS": "revoke", "PARTIAL": "laggards"},
            otherwise="undecided",
        ),
        Human(
            "laggards",
            "Isolate what does not enforce it",
            "PARTIAL: a gate in `Holdfast.ContainAgent.receipt.gates` has not enforced it, or the "
            "order is "
            "not durable. Stop those hosts, or cut their network, before you go on.",
            then="revoke",
        ),
        Human(
            "undecided",
            "See that somebody decides",
            "The containment still waits for a human, and nothing has been done. Tell the "
            "approvers that "
            "`Holdfast.ContainAgent.operation` names, or order it on the agent's host.",
            then="end_open",
        ),
        Branch(
            "not_contained",
            "Why was it not contained?",
            "Holdfast.ContainAgent.error.reason",
            {
                "APPROVAL_REFUSED": "refused",
                "APPROVAL_EXPIRED": "expired",
            },
            otherwise="failed",
        ),
        Human(
            "refused",
            "A human refused the containment",
            "Read in the War Room who refused it and why. Do not simply ask again.",
            then="end_open",
        ),
        Ask(
            "expired",
            "Nobody decided in time. Ask again?",
            "The containment of agent ${inputs.Agent} was not decided in time, and nothing has "
            "been done. Ask "
            "the approvers again?",
            to="${inputs.Approver}",
            answers={"Ask again": "contain_again", "Leave it": "end_open"},
            otherwise="failed",
        ),
        Command(
            "contain_again",
            "Contain the agent: ask again",
            "holdfast-agent-contain",
            {
                "agent": "${inputs.Agent}",
                "level": "${inputs.Level}",
                "reason": "${inputs.Reason}",
                **_WAIT,
            },
            then="contained",
            error="failed",
            description="Another task is another idempotency key: a new request, and never an old "
            "approval.",
        ),
        Human(
            "failed",
            "Contain it by hand",
            f"It was not carried out; the War Room says why. {_BY_HAND}, or stop the host.",
            then="end_open",
        ),
        Command(
            "revoke",
            "Revoke its tokens",
            "holdfast-tokens-revoke",
            {"agent": "${inputs.Agent}", "reason": "${inputs.Reason}"},
            then="evidence",
            error="revoke_by_hand",
        ),
        Human(
            "revoke_by_hand",
            "Revoke its tokens by hand",
            "The tokens may still be good elsewhere; the War Room says why they were not revoked.",
            then="evidence",
        ),
        Title("evidence", "Evidence and record", "timeline"),
        Command(
            "timeline",
            "What did it do?",
            "holdfast-agent-timeline-get",
            {"agent": "${inputs.Agent}"},
            then="export",
            error="export",
        ),
        Command(
            "export",
            "Export the evidence",
            "holdfast-evidence-export",
            {"agent": "${inputs.Agent}"},
            then="record",
            error="export_by_hand",
        ),
        Human(
            "export_by_hand",
            "Export the evidence by hand",
            "Use `holdfast audit evidence` on control's host before its retention ends.",
            then="record",
        ),
        Command(
            "record",
            "Open the incident record",
            "holdfast-incident-open",
            {
                "agent": "${inputs.Agent}",
                "title": "Rogue agent ${inputs.Agent}",
                "note": "${inputs.Reason}",
                "external_reference": "XSOAR incident ${incident.id}",
            },
            then="gate",
            error="gate",
        ),
        Title("gate", "Eradication and recovery", "decide"),
        Ask(
            "decide",
            "Release it, eradicate it, or keep it contained?",
            "Agent ${inputs.Agent} is contained at ${inputs.Level}. Look at the timeline, the "
            "blast radius "
            "and the evidence first. Release: it runs again, if two humans grant that in "
            "Holdfast. "
            "Eradicate: it is killed. No answer: it stays contained.",
            to="${inputs.Approver}",
            answers={"Release": "release", "Eradicate": "kill", "Keep contained": "verify"},
            otherwise="verify",
        ),
        Command(
            "release",
            "Release the agent",
            "holdfast-agent-release",
            {"agent": "${inputs.Agent}", "reason": "${inputs.Reason}", **_WAIT},
            then="released",
            error="not_released",
            description="Two humans must grant it in Holdfast; no credential of this platform can.",
        ),
        Branch(
            "released",
            "Is it released?",
            "Holdfast.ReleaseAgent.status",
            {"SUCCESS": "look_after"},
            otherwise="still_held",
        ),
        Branch(
            "not_released",
            "Why was it not released?",
            "Holdfast.ReleaseAgent.error.reason",
            {"APPROVAL_REFUSED": "stays", "APPROVAL_EXPIRED": "stays"},
            otherwise="still_held",
        ),
        Human(
            "stays",
            "It stays contained",
            "A human refused the release, or nobody decided in time. The agent is still "
            "contained, which is "
            "the safe state. The War Room says who and why.",
            then="verify",
        ),
        Human(
            "still_held",
            "Something still holds it",
            "The release failed, reached only a part, or still waits. Look at the standing "
            "directives with "
            "holdfast-directives-list.",
            then="verify",
        ),
        Command(
            "look_after",
            "How does it stand now?",
            "holdfast-agent-get",
            {"agent": "${inputs.Agent}"},
            then="close",
            error="close",
        ),
        Command(
            "kill",
            "Eradicate: hold it at KILL",
            "holdfast-agent-contain",
            {
                "agent": "${inputs.Agent}",
                "level": "KILL",
                "reason": "${inputs.Reason}",
                **_WAIT,
            },
            then="killed",
            error="not_killed",
        ),
        Branch(
            "killed",
            "Does every gate enforce the KILL?",
            "Holdfast.ContainAgent.status",
            {"SUCCESS": "verify"},
            otherwise="not_killed",
        ),
        Human(
            "not_killed",
            "It is not killed everywhere",
            "The KILL was not carried out, not by every gate, or not durably; the War Room says "
            "which. What held the agent before still stands. Stop its hosts.",
            then="verify",
        ),
        Command(
            "verify",
            "Verify: are its recorded calls denied in full?",
            "holdfast-containment-verify",
            {"agent": "${inputs.Agent}"},
            then="verified",
            error="leaks",
        ),
        Branch(
            "verified",
            "Is every one denied?",
            "Holdfast.VerifyContainment.status",
            {"SUCCESS": "close"},
            otherwise="leaks",
        ),
        Human(
            "leaks",
            "The containment is not proved",
            "A recorded call would be allowed again, or it could not be checked. Treat the agent "
            "as running: "
            "contain it at KILL or stop its host.",
            then="end_open",
        ),
        Command(
            "close",
            "Update the incident record",
            "holdfast-incident-update",
            {
                "incident": "${Holdfast.OpenIncident.incident.name}",
                "note": "Playbook finished; agent ${inputs.Agent}.",
            },
            then="lessons",
            error="lessons",
        ),
        Human(
            "lessons",
            "Post-incident activity (lessons learned)",
            "What let it happen: policy, grant, tool or human? Change the policy where it did.",
            then="end",
        ),
        Title("end", "Done"),
        Title("end_open", "Ended with work for humans"),
    ),
    outputs=(
        ("Holdfast.ContainAgent", "How the containment ended, with its receipt."),
        ("Holdfast.VerifyContainment", "What the verification found."),
        ("Holdfast.Operation", "What had to be granted by humans."),
    ),
)

APPROVE: Final = Playbook(
    name="Holdfast - Approve a Held Action",
    description="Brings an action that waits for a human to the humans who may decide it, waits, "
    "and goes on "
    "by what they decided. It never decides: that takes a human's own sign-in to Holdfast, "
    "whatever is "
    "answered here.",
    inputs=(
        Input(
            "Operation",
            "${Holdfast.Operation.name}",
            "The held action: operations/<id>.",
            is_required=True,
        ),
        _APPROVER,
        _DECISION_SECONDS,
    ),
    steps=(
        Title("analysis", "Detection and analysis (identification)", "look"),
        Command(
            "look",
            "What waits?",
            "holdfast-operation-get",
            {"operation": "${inputs.Operation}"},
            then="stands",
            error="failed",
        ),
        Branch(
            "stands",
            "Does it still wait?",
            "Holdfast.GetOperation.operation.state",
            {"PENDING_APPROVAL": "tell", "RUNNING": "wait"},
            otherwise="ended",
        ),
        Ask(
            "tell",
            "Decide it in Holdfast",
            "Held: ${Holdfast.GetOperation.operation.summary}\n"
            "Asked by: ${Holdfast.GetOperation.operation.requester}\n"
            "Compare these words with those in Holdfast's console before you decide: "
            "${Holdfast.GetOperation.operation.fingerprint_words}\n"
            "Console: ${Holdfast.GetOperation.link}\n"
            "Your answer here decides nothing; it only says that you have seen it.",
            to="${inputs.Approver}",
            answers={
                "I have decided it in Holdfast": "wait",
                "This is not mine to decide": "escalate",
            },
            otherwise="escalate",
        ),
        Human(
            "escalate",
            "Find somebody who may decide",
            "Nothing is done meanwhile. `Holdfast.GetOperation.operation.approvers` names who may.",
            then="wait",
        ),
        Command(
            "wait",
            "Wait for the decision",
            "holdfast-operation-get",
            {"operation": "${inputs.Operation}", "wait_for_decision": "true", **_WAIT},
            then="ended",
            error="failed",
        ),
        Branch(
            "ended",
            "How did it end?",
            "Holdfast.GetOperation.operation.state",
            {
                "DONE": "done",
                "REFUSED": "refused",
                "EXPIRED": "expired",
                "CANCELLED": "moot",
                "FAILED": "failed",
            },
            otherwise="undecided",
        ),
        Branch(
            "done",
            "Is it enforced everywhere?",
            "Holdfast.GetOperation.status",
            {"PARTIAL": "laggards"},
            otherwise="end",
        ),
        Human(
            "laggards",
            "Isolate what does not enforce it",
            "It was granted and carried out, but not by every gate, or not durably: see the "
            "receipt.",
            then="end",
        ),
        Human(
            "refused",
            "It was refused",
            "Nothing was done. `Holdfast.GetOperation.operation.detail` says who refused it and "
            "why.",
            then="end",
        ),
        Human(
            "expired",
            "Nobody decided in time",
            "Nothing was done. Whoever asked must ask again, with a fresh idempotency key.",
            then="end",
        ),
        Human("moot", "It became moot", "Nothing was done; nothing need be.", then="end"),
        Human(
            "undecided",
            "It still waits",
            "Nothing was done yet. Run this playbook again once somebody can decide.",
            then="end",
        ),
        Human(
            "failed",
            "It could not be looked at, or not be carried out",
            "The War Room says why and what to do.",
            then="end",
        ),
        Title("end", "Done"),
    ),
    outputs=(("Holdfast.GetOperation", "How the held action ended."),),
)

DRILL: Final = Playbook(
    name="Holdfast - Containment Drill",
    description="Contains one agent for a quarter of an hour, proves that the containment bites, "
    "and lets it "
    "go again: practice for people and proof for auditors. The containment lapses by itself, "
    "whatever "
    "becomes of the playbook.",
    inputs=(
        Input("Agent", "", "Exact id of the agent to practise with.", is_required=True),
        Input("Seconds", "900", "After how many seconds the containment lapses by itself."),
        _APPROVER,
        _DECISION_SECONDS,
    ),
    steps=(
        Title("preparation", "Preparation", "reachable"),
        Command(
            "reachable",
            "Is control there, and is the agent known?",
            "holdfast-agent-get",
            {"agent": "${inputs.Agent}"},
            then="start",
            error="failed",
        ),
        Ask(
            "start",
            "Start the drill?",
            "Agent ${inputs.Agent} will be frozen for at most ${inputs.Seconds} seconds. Go?",
            to="${inputs.Approver}",
            answers={"Start": "containment", "Not now": "end"},
            otherwise="end",
        ),
        Title("containment", "Containment", "contain"),
        Command(
            "contain",
            "Freeze the agent, for a while",
            "holdfast-agent-contain",
            {
                "agent": "${inputs.Agent}",
                "level": "FREEZE",
                "reason": "containment drill, XSOAR incident ${incident.id}",
                "ttl_seconds": "${inputs.Seconds}",
                **_WAIT,
            },
            then="contained",
            error="not_contained",
        ),
        Branch(
            "contained",
            "Does every gate enforce it?",
            "Holdfast.ContainAgent.status",
            {"SUCCESS": "verify", "PARTIAL": "laggards"},
            otherwise="failed",
        ),
        Human(
            "laggards",
            "The drill found laggards",
            "A gate in `Holdfast.ContainAgent.receipt.gates` did not enforce it: a finding. Look "
            "at it "
            "before a real incident does.",
            then="verify",
        ),
        Branch(
            "not_contained",
            "Why was it not contained?",
            "Holdfast.ContainAgent.error.reason",
            {"APPROVAL_REFUSED": "refused", "APPROVAL_EXPIRED": "expired"},
            otherwise="failed",
        ),
        Human("refused", "A human refused the drill", "Nothing was done.", then="end"),
        Human(
            "expired",
            "Nobody decided in time",
            "Nothing was done. In a real incident that would have been too late: a finding.",
            then="end",
        ),
        Command(
            "verify",
            "Prove it: decide its recorded calls again",
            "holdfast-containment-verify",
            {"agent": "${inputs.Agent}"},
            then="verified",
            error="not_proved",
        ),
        Branch(
            "verified",
            "Is every one denied?",
            "Holdfast.VerifyContainment.status",
            {"SUCCESS": "recovery"},
            otherwise="not_proved",
        ),
        Human(
            "not_proved",
            "The containment was not proved",
            "A recorded call would be allowed, or it could not be checked: a finding.",
            then="recovery",
        ),
        Title("recovery", "Recovery", "release"),
        Command(
            "release",
            "Release the agent",
            "holdfast-agent-release",
            {"agent": "${inputs.Agent}", "reason": "the drill is over", **_WAIT},
            then="released",
            error="lapses",
        ),
        Branch(
            "released",
            "Is it released?",
            "Holdfast.ReleaseAgent.status",
            {"SUCCESS": "record"},
            otherwise="lapses",
        ),
        Human(
            "lapses",
            "It is not released yet",
            "Refused, not decided in time, or failed: the War Room says which. The containment "
            "lapses by "
            "itself.",
            then="record",
        ),
        Command(
            "record",
            "Is it all in the log?",
            "holdfast-audit-log-verify",
            {},
            then="end",
            error="failed",
        ),
        Human(
            "failed",
            "The drill could not be done",
            "The War Room says why: a finding. If a containment stands, it lapses by itself.",
            then="end",
        ),
        Title("end", "Done: write the findings down (lessons learned)"),
    ),
    outputs=(
        ("Holdfast.ContainAgent", "How the containment ended, with its receipt."),
        ("Holdfast.VerifyContainment", "What the verification found."),
    ),
)

PLAYBOOKS: Final = (CONTAIN, APPROVE, DRILL)

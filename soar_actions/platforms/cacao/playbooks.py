# SPDX-License-Identifier: Apache-2.0
"""The three playbooks: contain a rogue agent, approve a held action, containment drill.

They follow NIST SP 800-61 and the SANS steps (identification, containment, eradication, recovery,
lessons learned). Each has a way on for refusal, expiry, partial success and failure; none ever goes
on as if something had been done that was not.
"""

from __future__ import annotations

from typing import Final

from soar_actions.platforms.cacao.builder import Playbook

__all__ = ["playbooks"]

_IDENTIFY: Final = "Identification (NIST: detection and analysis)"
_CONTAIN: Final = "Containment"
_ERADICATE: Final = "Eradication"
_RECOVER: Final = "Recovery"
_LEARN: Final = "Lessons learned (NIST: post-incident activity)"
_PREPARE: Final = "Preparation"
_DAY_MS: Final = 86_400_000
_PAUSE_MS: Final = 30_000
_IS_PENDING: Final = "__state__:value = 'STATE_PENDING_APPROVAL'"
_IS_WAITING: Final = f"{_IS_PENDING} OR __state__:value = 'STATE_RUNNING'"
"""Granted and still being carried out is no end either."""
_IS_DONE: Final = "__state__:value = 'STATE_DONE'"
_ON_HOST: Final = (
    "on the agent's host, as root: "
    "holdfast contain agent AGENT --level kill --reason INCIDENT --local"
)

_OPERATION: Final = {"__state__": "/operation/state", "__operation__": "/operation/name"}
_COMMON: Final = {
    "__api_token__": ("string", "Secret of an API token; from the executor's vault."),
    "__run__": (
        "uuid",
        "Different in every run; a repeated run with the same has no second effect.",
    ),
    "__state__": ("string", "Where the operation that was asked for last stands."),
    "__operation__": ("string", "The operation that waits for a human, `operations/…`."),
}


def playbooks() -> tuple[Playbook, ...]:
    """Return the three playbooks, built anew."""
    return (_contain_rogue_agent(), _approve_held_action(), _drill())


def _contain_rogue_agent() -> Playbook:
    book = Playbook(
        slug="contain-a-rogue-agent",
        name="Contain a rogue agent",
        description="Triage, contain, revoke tokens, keep the evidence, open an incident; then a "
        "human decides whether the agent is released or stays out, and that is verified. A release "
        "is carried out only when two people grant it in Holdfast.",
        types=("mitigation", "investigation", "remediation"),
        activities=("analyze-collected-data", "restrict-access", "eliminate-risk", "revert-system"),
        variables={
            **_COMMON,
            "__agent__": ("string", "Exact id of the agent: [a-z0-9][a-z0-9._-]*, no wildcards."),
            "__epoch__": ("integer", "The directive that holds the agent."),
            "__contained__": ("bool", "Whether every gate enforces it."),
            "__durable__": ("bool", "Whether it survives a power cut."),
            "__incident__": ("string", "The incident, `incidents/…`."),
            "__verified__": ("bool", "Whether all recorded calls of the agent are denied now."),
            "__decision__": ("string", "What the analyst decided: release or eradicate."),
        },
        external=("__api_token__", "__run__", "__agent__"),
    )
    agent = {"agent": "__agent__:value"}
    book.start("look at the agent")
    book.call(
        "look at the agent",
        "get-agent",
        agent,
        phase=_IDENTIFY,
        to="estimate the blast radius",
        fails="no such agent",
    )
    book.human(
        "no such agent",
        "Control knows no agent of this name, or did not answer. Check the name with the team that "
        "runs it; if control is down, contain " + _ON_HOST + ".",
        to="nothing was done",
        phase=_IDENTIFY,
    )
    book.end("nothing was done", "No order was given.")
    book.call(
        "estimate the blast radius",
        "get-blast-radius",
        agent,
        phase=_IDENTIFY,
        to="contain it",
        fails="contain it",  # an estimate that cannot be had delays nothing
    )
    book.call(
        "contain it",
        "contain-agent",
        {**agent, "level": "KILL", "reason": "playbook: contain a rogue agent"},
        phase=_CONTAIN,
        out={
            **_OPERATION,
            "__epoch__": "/receipt/directive/epoch",
            "__contained__": "/receipt/contained",
            "__durable__": "/receipt/durable",
        },
        to="does it wait for a human?",
        fails="containment failed",
    )
    book.human(
        "containment failed",
        "Holdfast did not carry out the containment. Contain " + _ON_HOST + "; then find out why.",
        to="not contained",
        phase=_CONTAIN,
    )
    book.end("not contained", "The agent is NOT contained by this playbook.")
    book.when(
        "does it wait for a human?",
        _IS_PENDING,
        yes="call the approvers",
        no="does every gate enforce it?",
    )
    book.human(
        "call the approvers",
        "The agent is protected: another human must grant its containment in Holdfast (console, or "
        "holdfast approvals). Call them now; compare the four words before anybody grants.",
        to="wait for the containment",
        phase=_CONTAIN,
    )
    _wait(book, "wait for the containment", to="was it granted?", fails="containment failed")
    book.when("was it granted?", _IS_DONE, yes="read what was done", no="was it refused?")
    book.call(
        "read what was done",
        "get-operation",
        {"operation": "__operation__:value"},
        phase=_CONTAIN,
        out={
            "__epoch__": "/operation/epoch",
            "__contained__": "/operation/receipt/contained",
            "__durable__": "/operation/receipt/durable",
        },
        to="does every gate enforce it?",
        fails="containment failed",
    )
    book.when(
        "was it refused?",
        "__state__:value = 'STATE_REFUSED'",
        yes="containment refused",
        no="did it expire?",
    )
    book.human(
        "containment refused",
        "A human refused the containment; the operation says who and why. Talk to them; do not "
        "simply ask again.",
        to="not contained",
        phase=_CONTAIN,
    )
    book.when(
        "did it expire?",
        "__state__:value = 'STATE_EXPIRED'",
        yes="nobody decided",
        no="containment failed",
    )
    book.human(
        "nobody decided",
        "Nobody decided in time, so nothing was done. Escalate, and run the playbook again with a "
        "new __run__; in an emergency contain " + _ON_HOST + ".",
        to="not contained",
        phase=_CONTAIN,
    )
    book.when(
        "does every gate enforce it?",
        "__contained__:value = 'true'",
        yes="does it last?",
        no="it is not whole",
    )
    book.when(
        "does it last?",
        "__durable__:value = 'true'",
        yes="revoke its tokens",
        no="it is not whole",
    )
    book.human(
        "it is not whole",
        "PARTIAL: the receipt names gates that do not enforce it yet, or says that control's storage "
        "failed (durable is not true), so that it would not survive a power cut. Look at those hosts, "
        "or cut them off. The playbook goes on, because tokens must go in any case.",
        to="revoke its tokens",
        phase=_CONTAIN,
    )
    book.call(
        "revoke its tokens",
        "revoke-tokens",
        {**agent, "reason": "playbook: contain a rogue agent"},
        phase=_CONTAIN,
        to="export the evidence",
        fails="tokens stand",
    )
    book.human(
        "tokens stand",
        "The agent's tokens could not be revoked. Revoke them at the identity provider.",
        to="export the evidence",
        phase=_CONTAIN,
    )
    book.call(
        "export the evidence",
        "export-evidence",
        agent,
        phase=_IDENTIFY,
        to="open an incident",
        fails="evidence is missing",
    )
    book.human(
        "evidence is missing",
        "The evidence could not be exported. Keep control's and the gates' logs as they are.",
        to="open an incident",
        phase=_IDENTIFY,
    )
    book.call(
        "open an incident",
        "open-incident",
        {**agent, "title": "Rogue agent contained by playbook", "severity": "HIGH"},
        phase=_IDENTIFY,
        out={"__incident__": "/incident/name"},
        to="release or eradicate?",
        fails="no incident",
    )
    book.human(
        "no incident",
        "The incident could not be opened. Open a ticket by hand.",
        to="release or eradicate?",
        phase=_IDENTIFY,
    )
    book.human(
        "release or eradicate?",
        "Look at the incident: threat or misconfiguration? Set __decision__ to release (two "
        "people will have to grant it) or to eradicate (the agent stays killed).",
        to="what was decided?",
        phase=_ERADICATE,
        out=("__decision__",),
    )
    book.when(
        "what was decided?",
        "__decision__:value = 'release'",
        yes="ask for the release",
        no="replay its calls",
    )
    book.call(
        "ask for the release",
        "release-agent",
        {"epoch": "__epoch__:value", "reason": "playbook: the analyst found no threat"},
        phase=_RECOVER,
        out=_OPERATION,
        to="wait for the release",
        fails="it stays contained",
    )
    _wait(book, "wait for the release", to="was the release granted?", fails="it stays contained")
    book.when("was the release granted?", _IS_DONE, yes="look at it again", no="it stays contained")
    book.human(
        "it stays contained",
        "The release was refused, expired or failed: the agent stays killed. The operation says who "
        "decided and why.",
        to="replay its calls",
        phase=_RECOVER,
    )
    book.call(
        "look at it again",
        "get-agent",
        agent,
        phase=_RECOVER,
        to="close the incident of a released agent",
        fails="close the incident of a released agent",
    )
    book.call(
        "close the incident of a released agent",
        "update-incident",
        {
            "incident": "__incident__:value",
            "verdict": "MISCONFIGURATION",
            "note": "released by playbook after two people granted it",
            "close": "true",
        },
        phase=_LEARN,
        to="released",
        fails="close it by hand",
    )
    book.end(
        "released",
        "Its directive has ended, because two people granted that. Another one may still hold the "
        "agent: the last look at it says.",
    )
    book.human(
        "close it by hand",
        "The incident could not be closed. Close it by hand.",
        to="over by hand",
        phase=_LEARN,
    )
    book.end("over by hand", "All is done but the incident, which a human closes.")
    book.call(
        "replay its calls",
        "verify-containment",
        agent,
        phase=_ERADICATE,
        out={"__verified__": "/contained"},
        to="are all calls denied?",
        fails="not verified",
    )
    book.when(
        "are all calls denied?",
        "__verified__:value = 'true'",
        yes="close the incident of a killed agent",
        no="not verified",
    )
    book.human(
        "not verified",
        "NOT verified: the recorded calls of the agent are not all denied, or could not be replayed. "
        "Cut its hosts off the network, and look at every gate.",
        to="not contained for sure",
        phase=_ERADICATE,
    )
    book.end("not contained for sure", "Nobody may take the agent for contained.")
    book.call(
        "close the incident of a killed agent",
        "update-incident",
        {
            "incident": "__incident__:value",
            "verdict": "THREAT",
            "note": "stays killed; every recorded call is denied",
            "close": "true",
        },
        phase=_LEARN,
        to="eradicated",
        fails="close it by hand",
    )
    book.end("eradicated", "The agent stays killed, and every recorded call of it is denied.")
    return book


def _approve_held_action() -> Playbook:
    book = Playbook(
        slug="approve-a-held-action",
        name="Approve a held action",
        description="Brings an action that waits for a human to those who may decide it, waits for "
        "them, and tells how it ended. The playbook never decides: its token cannot.",
        types=("notification", "mitigation"),
        activities=("identify-audience", "deliver-content", "analyze-collected-data"),
        variables={
            **_COMMON,
            "__approval__": ("string", "The request for a decision, `approvals/…`."),
            "__detail__": ("string", "Who decided, and why."),
        },
        external=("__api_token__", "__run__", "__operation__"),
    )
    state = {**_OPERATION, "__approval__": "/operation/approval", "__detail__": "/operation/detail"}
    operation = {"operation": "__operation__:value"}
    book.start("what waits?")
    book.call(
        "what waits?",
        "get-operation",
        operation,
        phase=_IDENTIFY,
        out=state,
        to="does it wait?",
        fails="no such operation",
    )
    book.human(
        "no such operation",
        "Control knows no such operation, or this token may not see it, or control did not answer.",
        to="nothing is known",
        phase=_IDENTIFY,
    )
    book.end("nothing is known", "Nothing is known of the operation; nobody may take it for done.")
    book.when("does it wait?", _IS_PENDING, yes="what is asked?", no="wait for the decision")
    book.call(
        "what is asked?",
        "get-approval",
        {"approval": "__approval__:value"},
        phase=_IDENTIFY,
        to="bring it to a human",
        fails="bring it to a human",
    )
    book.human(
        "bring it to a human",
        "Show the summary, the reason and the four words to somebody who may decide, and where: the "
        "link of the operation, or holdfast approvals. Decide there; nothing can be decided here.",
        to="wait for the decision",
        phase=_CONTAIN,
    )
    _wait(book, "wait for the decision", to="read the decision", fails="no such operation")
    book.call(
        "read the decision",
        "get-operation",
        operation,
        phase=_CONTAIN,
        out=state,
        to="how did it end?",
        fails="no such operation",
    )
    book.when("how did it end?", _IS_DONE, yes="granted", no="was it refused?")
    book.end("granted", "It was granted and has been carried out.")
    book.when(
        "was it refused?",
        "__state__:value = 'STATE_REFUSED'",
        yes="tell the requester",
        no="did it expire?",
    )
    book.human(
        "tell the requester",
        "It was refused; __detail__ says by whom and why. Tell whoever asked.",
        to="refused",
        phase=_LEARN,
    )
    book.end("refused", "It was refused, and nothing was done.")
    book.when(
        "did it expire?",
        "__state__:value = 'STATE_EXPIRED'",
        yes="nobody decided",
        no="it failed",
    )
    book.human(
        "nobody decided",
        "Nobody decided in time. Find out why nobody was there; ask again with a new run if it is "
        "still wanted.",
        to="expired",
        phase=_LEARN,
    )
    book.end("expired", "Nobody decided, and nothing was done.")
    book.human(
        "it failed",
        "It was granted and could not be carried out, or became moot: __detail__ says what. Look at "
        "the directives that stand now.",
        to="failed",
        phase=_LEARN,
    )
    book.end("failed", "It was not carried out, or not in full.")
    return book


def _drill() -> Playbook:
    book = Playbook(
        slug="containment-drill",
        name="Containment drill",
        description="Proves, on an agent that is there for it, that containment bites, that release "
        "takes two people, and that the log is whole. Once a month.",
        types=("prevention", "detection"),
        activities=("configure-systems", "restrict-access", "revert-system", "scan-system"),
        variables={
            **_COMMON,
            "__agent__": ("string", "Exact id of the agent of the drill; it will be killed."),
            "__epoch__": ("integer", "The directive of the drill; lapses after 15 minutes."),
            "__contained__": ("bool", "Whether every gate enforces it."),
            "__verified__": ("bool", "Whether all recorded calls of the agent are denied now."),
            "__log__": ("bool", "Whether every log is whole."),
        },
        external=("__api_token__", "__run__", "__agent__"),
    )
    agent = {"agent": "__agent__:value"}
    book.start("is control there?")
    book.call(
        "is control there?",
        "get-agent",
        agent,
        phase=_PREPARE,
        to="kill the agent of the drill",
        fails="the drill failed",
    )
    book.call(
        "kill the agent of the drill",
        "contain-agent",
        {**agent, "level": "KILL", "reason": "containment drill", "ttl_seconds": "900"},
        phase=_CONTAIN,
        out={
            **_OPERATION,
            "__epoch__": "/receipt/directive/epoch",
            "__contained__": "/receipt/contained",
        },
        to="does it wait for a human?",
        fails="the drill failed",
    )
    book.when(
        "does it wait for a human?",
        _IS_PENDING,
        yes="choose another agent",
        no="does every gate enforce it?",
    )
    book.human(
        "choose another agent",
        "The agent is protected, so its containment waits for a human. Refuse it in Holdfast, and "
        "choose an agent for the drill that is not.",
        to="no drill",
        phase=_PREPARE,
    )
    book.end("no drill", "There was no drill; nothing was contained.")
    book.when(
        "does every gate enforce it?",
        "__contained__:value = 'true'",
        yes="replay its calls",
        no="some gate lags",
    )
    book.human(
        "some gate lags",
        "PARTIAL: the receipt names gates that do not enforce it. That is what the drill is for: "
        "write them down, and find out why.",
        to="replay its calls",
        phase=_CONTAIN,
    )
    book.call(
        "replay its calls",
        "verify-containment",
        agent,
        phase=_CONTAIN,
        out={"__verified__": "/contained"},
        to="are all calls denied?",
        fails="containment does not hold",
    )
    book.when(
        "are all calls denied?",
        "__verified__:value = 'true'",
        yes="ask for the release",
        no="containment does not hold",
    )
    book.human(
        "containment does not hold",
        "A killed agent was not denied everything, or that could not be shown. Treat it as an "
        "incident of Holdfast itself.",
        to="ask for the release",
        phase=_LEARN,
    )
    book.call(
        "ask for the release",
        "release-agent",
        {"epoch": "__epoch__:value", "reason": "the containment drill is over"},
        phase=_RECOVER,
        out=_OPERATION,
        to="call the approvers",
        fails="it lapses by itself",
    )
    book.human(
        "call the approvers",
        "Let two people on call grant the release in Holdfast. Take the time that it takes them.",
        to="wait for the release",
        phase=_RECOVER,
    )
    _wait(book, "wait for the release", to="was it granted?", fails="it lapses by itself")
    book.when("was it granted?", _IS_DONE, yes="verify the logs", no="it lapses by itself")
    book.human(
        "it lapses by itself",
        "Nobody granted the release, or it was refused: the directive lapses after 15 minutes. Write "
        "down why nobody was there.",
        to="verify the logs",
        phase=_RECOVER,
    )
    book.call(
        "verify the logs",
        "verify-audit-log",
        {},
        phase=_LEARN,
        out={"__log__": "/ok"},
        to="are the logs whole?",
        fails="the drill failed",
    )
    book.when("are the logs whole?", "__log__:value = 'true'", yes="passed", no="the drill failed")
    book.end("passed", "The drill is over; what was written down on the way is its result.")
    book.human(
        "the drill failed",
        "Something that must work did not. If an agent was killed, its directive lapses after 15 "
        "minutes. Treat it as an incident of Holdfast itself.",
        to="drill failed",
        phase=_LEARN,
    )
    book.end("drill failed", "The drill failed.")
    return book


def _wait(book: Playbook, step: str, *, to: str, fails: str) -> None:
    """Ask every half minute how the operation stands, for at most a day."""
    look, done = f"{step}: look", f"{step}: looked"
    book.repeat(step, _IS_WAITING, body=look, to=to, fails=fails, timeout_ms=_DAY_MS)
    book.call(
        look,
        "get-operation",
        {"operation": "__operation__:value"},
        phase=_CONTAIN,
        out={"__state__": "/operation/state"},
        delay_ms=_PAUSE_MS,
        to=done,
        fails=done,
    )
    book.end(done, "Looked once; whether to look again is said where this began.")

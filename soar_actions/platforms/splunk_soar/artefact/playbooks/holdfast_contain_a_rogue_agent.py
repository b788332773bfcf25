# SPDX-License-Identifier: Apache-2.0
# Splunk SOAR runs playbooks on Python 3.9, too.
# ruff: noqa: B905, UP017
"""Holdfast: contain a rogue agent.

Phases (NIST SP 800-61 / SANS):

* Detection and analysis / Identification: who is the agent, what did it do, what could it touch?
* Containment: freeze it (forensics stay possible), then revoke its tokens.
* Eradication and recovery: a person chooses what to ask for; Holdfast's approvers decide on a release.
* Post-incident activity / Lessons learned: verify, update the incident, leave a note.

The agent comes from the artifacts' CEF field ``holdfastAgent``: exactly one, spelt exactly. Text from
an alert names nothing else. No step here can release an agent by itself: a release waits for people
in Holdfast, whatever a prompt here was answered with.
"""

import json
from datetime import datetime, timedelta, timezone

import phantom.rules as phantom

ASSET = "holdfast"
PROMPT_ROLE = "Administrator"
PROMPT_MINUTES = 60
POLL_SECONDS = 60
MAX_POLLS = 60


@phantom.playbook_block()
def on_start(container):
    """Identify: exactly one agent, or nothing."""
    found = phantom.collect2(container=container, datapath=["artifact:*.cef.holdfastAgent"])
    agents = sorted({row[0] for row in found if row[0]})
    if len(agents) != 1:
        _end(container, f"{len(agents)} agents are named; nothing was done. Name exactly one.")
        return
    _remember(agent=agents[0])
    _act(container, "get agent", {"agent": agents[0]}, "get_agent", agent_known)


@phantom.playbook_block()
def agent_known(action=None, success=None, container=None, results=None, handle=None, **kwargs):
    """Identify: what did it do?"""
    outcome = _outcome(container, results, "get_agent")
    if outcome["status"] != "SUCCESS":
        phantom.set_severity(container=container, severity="high")
        _end(container, f"Triage failed, and nothing was done: {outcome['message']}")
        return
    _act(
        container,
        "get agent timeline",
        {"agent": _agent(), "limit": 50},
        "timeline",
        timeline_known,
    )


@phantom.playbook_block()
def timeline_known(action=None, success=None, container=None, results=None, handle=None, **kwargs):
    """Identify: what could it touch? A question that failed does not hold up the containment."""
    _act(container, "get blast radius", {"agent": _agent()}, "blast_radius", blast_radius_known)


@phantom.playbook_block()
def blast_radius_known(
    action=None, success=None, container=None, results=None, handle=None, **kwargs
):
    """Contain: freeze first, and find out everything else afterwards."""
    parameters = {"agent": _agent(), "level": "FREEZE", "reason": _reason(container)}
    _act(container, "contain agent", {**parameters, **_key("contain")}, "contain", contain_answered)


@phantom.playbook_block()
def contain_answered(
    action=None, success=None, container=None, results=None, handle=None, **kwargs
):
    """Contain: done, done in part, held for people, or not at all."""
    outcome = _outcome(container, results, "contain", "receipt.epoch", "laggards", "operation.name")
    status = outcome["status"]
    if status == "PENDING":
        _note(container, "Containment waits for people", outcome["message"])
        _remember(operation=outcome["operation.name"], polls=0)
        _poll(container, "contain_operation", contain_operation_known)
    elif status in ("SUCCESS", "PARTIAL"):
        _contained(container, outcome)
    else:
        phantom.set_severity(container=container, severity="high")
        _end(
            container,
            f"The agent is NOT contained: {outcome['message']} If it must stop now, run on its host, "
            f"as root: holdfast contain agent {_agent()} --level kill --reason INCIDENT --local",
        )


@phantom.playbook_block()
def contain_operation_known(
    action=None, success=None, container=None, results=None, handle=None, **kwargs
):
    """Contain: how did people decide?"""
    outcome = _outcome(
        container, results, "contain_operation", "operation.state", "receipt.epoch", "is_final"
    )
    state = outcome["operation.state"]
    if state == "DONE":
        _contained(container, outcome)
    elif (state in ("PENDING_APPROVAL", "RUNNING") or outcome["retryable"]) and _poll(
        container, "contain_operation", contain_operation_known
    ):
        return
    else:
        phantom.set_severity(container=container, severity="high")
        _end(container, f"The agent is NOT contained ({state or 'unknown'}): {outcome['message']}")


def _contained(container, outcome):
    """Contain: say what does not enforce it, and take its tokens away."""
    is_whole = outcome["status"] == "SUCCESS"
    if not is_whole:
        _note(
            container,
            "NOT fully contained",
            f"{outcome['message']} Stop the hosts of its gates by hand.",
        )
        phantom.set_severity(container=container, severity="high")
    _remember(epoch=outcome["receipt.epoch"], is_whole=is_whole)
    parameters = {"agent": _agent(), "reason": _reason(container), **_key("revoke")}
    _act(container, "revoke tokens", parameters, "revoke", tokens_revoked)


@phantom.playbook_block()
def tokens_revoked(action=None, success=None, container=None, results=None, handle=None, **kwargs):
    """Identify, in depth: keep the evidence before anything else changes."""
    outcome = _outcome(container, results, "revoke")
    if outcome["status"] != "SUCCESS":
        phantom.set_severity(container=container, severity="high")
        _note(container, "Its tokens may still be good", outcome["message"])
    _act(container, "export evidence", {"agent": _agent()}, "evidence", evidence_kept)


@phantom.playbook_block()
def evidence_kept(action=None, success=None, container=None, results=None, handle=None, **kwargs):
    """Identify, in depth: one record of it all."""
    outcome = _outcome(container, results, "evidence", "sha256", "count")
    if outcome["status"] == "FAILED":
        _note(container, "No evidence was collected", outcome["message"])
        said = "no evidence"
    else:
        said = f"evidence: {outcome['count']} entries, SHA-256 {outcome['sha256']}"
        if outcome["status"] != "SUCCESS":
            _note(container, "The evidence is not complete", outcome["message"])
            said = f"NOT complete {said}"
    parameters = {
        "agent": _agent(),
        "title": f"Rogue agent {_agent()}",
        "severity": "HIGH",
        "note": said,
        "external_reference": f"splunk-soar container {container['id']}",
        **_key("incident"),
    }
    _act(container, "open incident", parameters, "incident", incident_opened)


@phantom.playbook_block()
def incident_opened(action=None, success=None, container=None, results=None, handle=None, **kwargs):
    """Decide: a person says what to ask for. It decides nothing in Holdfast."""
    outcome = _outcome(container, results, "incident", "incident.name")
    _remember(incident=outcome["incident.name"] or "")
    if outcome["status"] != "SUCCESS":
        _note(container, "No incident was opened", outcome["message"])
    phantom.prompt2(
        container=container,
        role=PROMPT_ROLE,
        message=(
            f"Agent {_agent()} is {'contained' if _recall('is_whole') else 'NOT fully contained'}. "
            "What shall be asked for?"
        ),
        respond_in_mins=PROMPT_MINUTES,
        name="human_gate",
        response_types=[
            {
                "prompt": "Release has to be granted in Holdfast, too",
                "options": {
                    "type": "list",
                    "required": True,
                    "choices": ["keep contained", "eradicate", "release"],
                },
            }
        ],
        callback=human_gate_answered,
    )


@phantom.playbook_block()
def human_gate_answered(
    action=None, success=None, container=None, results=None, handle=None, **kwargs
):
    """Decide: silence keeps it contained."""
    rows = phantom.collect2(
        container=container,
        datapath=[
            "human_gate:action_result.status",
            "human_gate:action_result.summary.responses.0",
        ],
        action_results=results,
    )
    answered, choice = rows[0] if rows else (None, None)
    if answered != "success":
        _note(container, "Nobody answered", "The agent stays contained.")
        _verify(container)
    elif choice == "release":
        parameters = {"epoch": _recall("epoch"), "reason": _reason(container), **_key("release")}
        _act(container, "release agent", parameters, "release", release_answered)
    elif choice == "eradicate":
        parameters = {"agent": _agent(), "level": "KILL", "reason": _reason(container)}
        _act(container, "contain agent", {**parameters, **_key("kill")}, "kill", kill_answered)
    else:
        _verify(container)


@phantom.playbook_block()
def kill_answered(action=None, success=None, container=None, results=None, handle=None, **kwargs):
    """Eradicate: stop its runtime; the freeze stands whatever came of it."""
    outcome = _outcome(container, results, "kill")
    if outcome["status"] != "SUCCESS":
        phantom.set_severity(container=container, severity="high")
        _note(container, "Not (fully) eradicated", outcome["message"])
    _verify(container)


@phantom.playbook_block()
def release_answered(
    action=None, success=None, container=None, results=None, handle=None, **kwargs
):
    """Recover: Holdfast's approvers decide."""
    outcome = _outcome(container, results, "release", "operation.name")
    if outcome["status"] == "PENDING":
        _note(container, "The release waits for people", outcome["message"])
        _remember(operation=outcome["operation.name"], polls=0)
        _poll(container, "release_operation", release_operation_known)
    elif outcome["status"] == "SUCCESS":
        _released(container)
    else:
        _note(container, "It was not released", outcome["message"])
        _verify(container)


@phantom.playbook_block()
def release_operation_known(
    action=None, success=None, container=None, results=None, handle=None, **kwargs
):
    """Recover: granted, refused, or nobody decided in time."""
    outcome = _outcome(
        container, results, "release_operation", "operation.state", "operation.detail"
    )
    state = outcome["operation.state"]
    if state == "DONE":
        _released(container)
    elif (state in ("PENDING_APPROVAL", "RUNNING") or outcome["retryable"]) and _poll(
        container, "release_operation", release_operation_known
    ):
        return
    else:
        said = outcome["operation.detail"] or outcome["message"]
        _note(container, f"It was not released ({state or 'unknown'})", said)
        _verify(container)


def _released(container):
    _note(container, "Released", f"Directive {_recall('epoch')} has ended, granted by people.")
    _act(container, "get agent", {"agent": _agent()}, "released_agent", released_agent_known)


@phantom.playbook_block()
def released_agent_known(
    action=None, success=None, container=None, results=None, handle=None, **kwargs
):
    """Recover: the incident is over only if nothing else holds the agent."""
    outcome = _outcome(container, results, "released_agent", "agent.level")
    if outcome["status"] == "SUCCESS" and not outcome["agent.level"]:
        _update(container, "Released; granted by people.", close=True)
        return
    level = outcome["agent.level"]
    said = f"another directive holds it at {level}" if level else outcome["message"]
    _note(container, "Not known to be free", said)
    _update(container, f"Released, but: {said}", close=False)


def _verify(container):
    """Verify: replay what it did; every call must be denied now."""
    _act(container, "verify containment", {"agent": _agent()}, "verify", verified)


@phantom.playbook_block()
def verified(action=None, success=None, container=None, results=None, handle=None, **kwargs):
    """Lessons learned: into the record."""
    outcome = _outcome(container, results, "verify", "contained", "replayed", "allowed")
    if outcome["status"] == "SUCCESS" and outcome["contained"]:
        said = f"Verified: {outcome['replayed']} calls replayed, none allowed."
    else:
        said = f"NOT verified: {outcome['message']}"
        phantom.set_severity(container=container, severity="high")
    _note(container, "Containment", said)
    _update(container, said, close=False)


def _update(container, said, close):
    if not _recall("incident"):
        _end(container, said)
        return
    parameters = {"incident": _recall("incident"), "note": said, "close": close, **_key("update")}
    _act(container, "update incident", parameters, "update", incident_updated)


@phantom.playbook_block()
def incident_updated(
    action=None, success=None, container=None, results=None, handle=None, **kwargs
):
    """Lessons learned: the end."""
    outcome = _outcome(container, results, "update")
    _end(container, f"Done. Incident {_recall('incident')}: {outcome['message']}")


@phantom.playbook_block()
def on_finish(container, summary):
    """Nothing is left to do."""
    phantom.debug("on_finish() called")


# -- shared by the blocks -------------------------------------------------------------------------


def _act(container, action, parameters, name, callback, start_time=None):
    phantom.act(
        action,
        parameters=[parameters],
        assets=[ASSET],
        name=name,
        callback=callback,
        start_time=start_time,
    )


def _poll(container, name, callback):
    """Look at the operation later, and return whether there is a later left.

    A worker that waits would be one that is missing.
    """
    polls = int(_recall("polls") or 0) + 1
    _remember(polls=polls)
    if polls > MAX_POLLS:
        _note(container, "Nobody decided while we looked", f"{_recall('operation')} waits on.")
        return False
    later = datetime.now(timezone.utc) + timedelta(seconds=POLL_SECONDS)
    _act(container, "get operation", {"operation": _recall("operation")}, name, callback, later)
    return True


def _outcome(container, results, name, *paths):
    """Return status, message, retryable and the data at *paths* of the action *name*."""
    wanted = ("status", "error.retryable", *paths)
    rows = phantom.collect2(
        container=container,
        datapath=[
            f"{name}:action_result.status",
            f"{name}:action_result.message",
            *(f"{name}:action_result.data.*.{path}" for path in wanted),
        ],
        action_results=results,
    )
    row = rows[0] if rows else [None] * (len(wanted) + 2)
    values = dict(zip(wanted, row[2:]))
    # Without data the action never ran: that is a failure, whatever else is there.
    status = values.pop("status") or "FAILED"
    if row[0] != "success" and status in ("SUCCESS", "PENDING"):
        status = "FAILED"
    retryable = bool(values.pop("error.retryable"))
    return {"status": status, "message": row[1] or "no answer", "retryable": retryable, **values}


def _key(step):
    """Return the same idempotency key for the same step of the same playbook run."""
    info = phantom.get_playbook_info()
    if not info:
        return {}  # the app makes one from the run of the action
    return {"idempotency_key": f"splunk-playbook-{info[0]['run_id']}-{step}"}


def _reason(container):
    return f"Splunk SOAR container {container['id']}: rogue agent"


def _agent():
    return _recall("agent")


def _remember(**values):
    for name, value in values.items():
        phantom.save_run_data(value=json.dumps(value), key=f"holdfast_{name}", auto=False)


def _recall(name):
    value = phantom.get_run_data(key=f"holdfast_{name}")
    return json.loads(value) if value else None


def _note(container, title, content):
    # Words of an agent may be among it: as code, on one line, they are neither markup nor a link.
    text = " ".join(str(content).replace("`", "'").split())
    phantom.add_note(
        container=container,
        note_type="general",
        title=title,
        content=f"`{text}`",
        note_format="markdown",
    )


def _end(container, said):
    _note(container, "Holdfast: contain a rogue agent", said)

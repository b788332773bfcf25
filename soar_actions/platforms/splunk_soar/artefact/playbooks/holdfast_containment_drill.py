# SPDX-License-Identifier: Apache-2.0
# Splunk SOAR runs playbooks on Python 3.9, too.
# ruff: noqa: B905, UP017
"""Holdfast: containment drill.

Phase: Preparation (NIST SP 800-61 / SANS): find out on a quiet day whether the levers work.

The artifacts' CEF field ``holdfastDrillAgent`` names an agent that is there to be stopped. It is
frozen for ten minutes at most, the freeze is verified by replay, the log is verified, and the release
is asked for, which people grant in Holdfast. If nobody does, the freeze lapses by itself.
"""

import json
from datetime import datetime, timedelta, timezone

import phantom.rules as phantom

ASSET = "holdfast"
LAPSES_AFTER_SECONDS = 600
POLL_SECONDS = 30
MAX_POLLS = 20


@phantom.playbook_block()
def on_start(container):
    """Preparation: can we reach control, and whom may we stop?"""
    found = phantom.collect2(container=container, datapath=["artifact:*.cef.holdfastDrillAgent"])
    agents = sorted({row[0] for row in found if row[0]})
    if len(agents) != 1:
        _note(container, "No drill", f"{len(agents)} agents are named, not one.")
        return
    _remember(agent=agents[0], began=datetime.now(timezone.utc).isoformat())
    parameters = {
        "agent": agents[0],
        "level": "FREEZE",
        "reason": f"containment drill, Splunk SOAR container {container['id']}",
        "ttl_seconds": LAPSES_AFTER_SECONDS,
        **_key("drill"),
    }
    _act("contain agent", parameters, "drill_contain", contained)


@phantom.playbook_block()
def contained(action=None, success=None, container=None, results=None, handle=None, **kwargs):
    """Containment: how long did it take, and was it everywhere?"""
    outcome = _outcome(container, results, "drill_contain", "receipt.epoch", "operation.name")
    if outcome["status"] == "PENDING":
        # A drill does not wait for people to be allowed to begin: that it had to is the finding.
        _finding(container, "The drill's agent is protected: choose another one", outcome)
        return
    if outcome["status"] == "FAILED":
        _finding(container, "The containment failed", outcome)
        return
    if outcome["status"] == "PARTIAL":
        _finding(container, "Not every gate enforced it", outcome)
    _remember(epoch=outcome["receipt.epoch"])
    began = datetime.fromisoformat(_recall("began"))
    seconds = (datetime.now(timezone.utc) - began).total_seconds()
    _note(container, "Time to contain", f"{seconds:.1f} s, from start to receipt")
    _act("verify containment", {"agent": _recall("agent")}, "drill_verify", verified)


@phantom.playbook_block()
def verified(action=None, success=None, container=None, results=None, handle=None, **kwargs):
    """Containment: is it so, or only said so?"""
    outcome = _outcome(container, results, "drill_verify", "contained", "replayed", "statement")
    if outcome["status"] != "SUCCESS" or not outcome["contained"]:
        _finding(container, "The replay did not show that it held", outcome)
    else:
        _note(container, "Verified", f"{outcome['replayed']} calls replayed, none allowed")
    _act("verify audit log", {}, "drill_log", log_verified)


@phantom.playbook_block()
def log_verified(action=None, success=None, container=None, results=None, handle=None, **kwargs):
    """Lessons learned: does the log hold?"""
    outcome = _outcome(container, results, "drill_log", "ok")
    if outcome["status"] != "SUCCESS" or not outcome["ok"]:
        _finding(container, "The log could not be verified", outcome)
    parameters = {
        "epoch": _recall("epoch"),
        "reason": "the containment drill is over",
        **_key("drill-release"),
    }
    _act("release agent", parameters, "drill_release", release_answered)


@phantom.playbook_block()
def release_answered(
    action=None, success=None, container=None, results=None, handle=None, **kwargs
):
    """Recovery: people grant the release, or it lapses."""
    outcome = _outcome(container, results, "drill_release", "operation.name")
    if outcome["status"] == "PENDING":
        _remember(operation=outcome["operation.name"], polls=0)
        _poll(container)
    elif outcome["status"] == "SUCCESS":
        _note(container, "The drill is over", "The agent is released.")
    else:
        _note(
            container,
            "The release could not be asked for",
            f"{outcome['message']} The freeze lapses {LAPSES_AFTER_SECONDS} s after it began.",
        )


@phantom.playbook_block()
def release_operation_known(
    action=None, success=None, container=None, results=None, handle=None, **kwargs
):
    """Recovery: granted, refused, or nobody decided."""
    outcome = _outcome(container, results, "drill_operation", "operation.state")
    state = outcome["operation.state"]
    if state == "DONE":
        _note(container, "The drill is over", "The agent is released, granted by people.")
    elif state in ("PENDING_APPROVAL", "RUNNING") or outcome["retryable"]:
        _poll(container)
    else:
        _note(
            container,
            f"The release was not granted ({state or 'unknown'})",
            f"The freeze lapses {LAPSES_AFTER_SECONDS} s after it began.",
        )


@phantom.playbook_block()
def on_finish(container, summary):
    """Nothing is left to do."""
    phantom.debug("on_finish() called")


# -- shared by the blocks -------------------------------------------------------------------------


def _act(action, parameters, name, callback, start_time=None):
    phantom.act(
        action,
        parameters=[parameters],
        assets=[ASSET],
        name=name,
        callback=callback,
        start_time=start_time,
    )


def _poll(container):
    polls = int(_recall("polls") or 0) + 1
    _remember(polls=polls)
    if polls > MAX_POLLS:
        _note(
            container,
            "Nobody decided",
            f"The freeze lapses {LAPSES_AFTER_SECONDS} s after it began.",
        )
        return
    later = datetime.now(timezone.utc) + timedelta(seconds=POLL_SECONDS)
    parameters = {"operation": _recall("operation")}
    _act("get operation", parameters, "drill_operation", release_operation_known, later)


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


def _remember(**values):
    for name, value in values.items():
        phantom.save_run_data(value=json.dumps(value), key=f"holdfast_{name}", auto=False)


def _recall(name):
    value = phantom.get_run_data(key=f"holdfast_{name}")
    return json.loads(value) if value else None


def _finding(container, title, outcome):
    phantom.set_severity(container=container, severity="high")
    _note(container, f"Finding: {title}", outcome["message"])


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

# SPDX-License-Identifier: Apache-2.0
# Splunk SOAR runs playbooks on Python 3.9, too.
# ruff: noqa: B905, UP017
"""Holdfast: approve a held action.

Phase: Containment, eradication and recovery (NIST SP 800-61) / Containment (SANS), the human part.

The artifacts' CEF field ``holdfastOperation`` names an operation that waits for people. The playbook
tells the on-call people where to decide, waits without holding a worker, and writes down how it
ended. It cannot decide: no credential of a playbook can, and a prompt answered here is no vote.
"""

import json
from datetime import datetime, timedelta, timezone

import phantom.rules as phantom

ASSET = "holdfast"
PROMPT_ROLE = "Administrator"
PROMPT_MINUTES = 30
POLL_SECONDS = 60
MAX_POLLS = 60


@phantom.playbook_block()
def on_start(container):
    """Which operation? Exactly one, or nothing."""
    found = phantom.collect2(container=container, datapath=["artifact:*.cef.holdfastOperation"])
    operations = sorted({row[0] for row in found if row[0]})
    if len(operations) != 1:
        _note(container, "Nothing was done", f"{len(operations)} operations are named, not one.")
        return
    _remember(operation=operations[0], polls=0, asked=False)
    _look(container, None)


@phantom.playbook_block()
def operation_known(action=None, success=None, container=None, results=None, handle=None, **kwargs):
    """Waiting, done, refused, expired, or not to be found out."""
    outcome = _outcome(results, container)
    state = outcome["operation.state"]
    if state == "PENDING_APPROVAL":
        if not _recall("asked"):
            _remember(asked=True)
            _ask(container, outcome)
        else:
            _look(container, POLL_SECONDS)
    elif state == "RUNNING" or outcome["retryable"]:
        _look(container, POLL_SECONDS)
    elif state == "DONE" and outcome["status"] != "SUCCESS":
        phantom.set_severity(container=container, severity="high")
        _note(container, "Granted, but NOT carried out in full", outcome["message"])
    elif state == "DONE":
        _note(container, "Granted and carried out", outcome["operation.summary"])
    elif state == "REFUSED":
        _note(container, "Refused; nothing was done", outcome["operation.detail"])
    elif state == "EXPIRED":
        _note(
            container,
            "Nobody decided in time; nothing was done",
            "Run the step that asked for it again, with a fresh idempotency key.",
        )
    else:
        phantom.set_severity(container=container, severity="high")
        _note(container, f"It did not come to an end ({state or 'unknown'})", outcome["message"])


def _ask(container, outcome):
    """Tell people where to decide; their answer here only says that they have seen it."""
    phantom.prompt2(
        container=container,
        role=PROMPT_ROLE,
        message=(
            f"Holdfast holds: {outcome['operation.summary']}\n"
            f"Compare: {outcome['operation.fingerprint_words']}\n"
            f"Decide at: {outcome['link']}"
        ),
        respond_in_mins=PROMPT_MINUTES,
        name="tell_people",
        response_types=[
            {
                "prompt": "I have seen it (the decision itself is made in Holdfast)",
                "options": {"type": "list", "required": True, "choices": ["seen"]},
            }
        ],
        callback=people_told,
    )


@phantom.playbook_block()
def people_told(action=None, success=None, container=None, results=None, handle=None, **kwargs):
    """Whether they answered or not: how does it stand?"""
    rows = phantom.collect2(
        container=container, datapath=["tell_people:action_result.status"], action_results=results
    )
    if not rows or rows[0][0] != "success":
        _note(container, "Nobody answered the prompt", "The operation waits on in Holdfast.")
    _look(container, POLL_SECONDS)


@phantom.playbook_block()
def on_finish(container, summary):
    """Nothing is left to do."""
    phantom.debug("on_finish() called")


# -- shared by the blocks -------------------------------------------------------------------------


def _look(container, seconds):
    polls = int(_recall("polls") or 0) + 1
    _remember(polls=polls)
    if polls > MAX_POLLS:
        _note(container, "No end in sight", f"{_recall('operation')} waits on in Holdfast.")
        return
    later = datetime.now(timezone.utc) + timedelta(seconds=seconds) if seconds else None
    phantom.act(
        "get operation",
        parameters=[{"operation": _recall("operation")}],
        assets=[ASSET],
        name="get_operation",
        callback=operation_known,
        start_time=later,
    )


def _outcome(results, container):
    paths = (
        "operation.state",
        "operation.summary",
        "operation.detail",
        "operation.fingerprint_words",
        "link",
    )
    rows = phantom.collect2(
        container=container,
        datapath=[
            "get_operation:action_result.message",
            "get_operation:action_result.data.*.status",
            "get_operation:action_result.data.*.error.retryable",
            *(f"get_operation:action_result.data.*.{path}" for path in paths),
        ],
        action_results=results,
    )
    row = rows[0] if rows else [None] * (len(paths) + 3)
    return {
        "message": row[0] or "no answer",
        "status": row[1],
        "retryable": bool(row[2]),
        **dict(zip(paths, row[3:])),
    }


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

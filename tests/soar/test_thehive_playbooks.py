# SPDX-License-Identifier: Apache-2.0
"""What the case templates lead through, pressed button by button against a live control.

Each press is a job of the real ``cortexutils``; what TheHive would do with the operations (tags, tasks)
is read from the job's output.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from soar_actions.catalogue import ACTIONS
from tests.soar.host import SoarBed
from tests.soar.playbook_beds import let_expire
from tests.soar.runners.thehive import Job, TheHiveRunner, flavor_of
from tests.soar.scenarios import secrets_of
from tests.support.clients import new_id

if TYPE_CHECKING:
    from tests.soar.runners.base import Asset
    from tests.support.certificates import Authority
    from tests.support.processes import Zygote

RUNNER = TheHiveRunner()
KILLED, FROZEN, ALLOWED = "DENY KILLED", "DENY FROZEN", "ALLOW POLICY_ALLOW"
CASE, ARTIFACT, ALERT, TASK = (
    "thehive:case",
    "thehive:case_artifact",
    "thehive:alert",
    "thehive:case_task",
)


@dataclass(frozen=True)
class Beds:
    """Attributes: main: people decide; brief: nobody has long to; fleet: not all gates answer."""

    main: SoarBed
    brief: SoarBed
    fleet: SoarBed


@pytest.fixture(scope="module")
def beds(zygote: Zygote, authority: Authority) -> Iterator[Beds]:
    """The hosts."""
    if reason := RUNNER.unavailable():
        pytest.skip(f"not run: {reason}")
    with ExitStack() as stack:

        def bed(**options: Any) -> SoarBed:
            made = SoarBed(zygote, authority, **options)
            stack.callback(made.close)
            return made

        main = bed(spare_agents=14, guarded=4).begin()
        brief = bed(guarded=1, expiry="30s").begin()
        fleet = bed(spare_agents=1)
        fleet.begin(fleet.spare)
        yield Beds(main=main, brief=brief, fleet=fleet)


def observable(value: str, kind: str = "other", **fields: str) -> dict[str, Any]:
    """Return an observable of a case whose custom fields are *fields*."""
    named = [
        {"name": f"holdfast-{name.replace('_', '-')}", "value": text}
        for name, text in fields.items()
    ]
    case = {"_id": "~1", "_type": "case", "number": 12, "title": "x", "customFields": named}
    return {"_id": "~2", "_type": "case_artifact", "dataType": kind, "data": value, "case": case}


def press(
    bed: SoarBed,
    name: str,
    data: Mapping[str, Any],
    *,
    kind: str = ARTIFACT,
    asset: Asset | None = None,
    job: str = "",
) -> Job:
    """Press the button *name* on *data*; whatever comes of it holds no secret."""
    configured = asset or bed.asset()
    done = RUNNER.press(
        f"Holdfast_{name}", {}, asset=configured, job=job or new_id(), kind=kind, data=data
    )
    text = json.dumps(done.output) + done.printed
    assert [each for each, secret in secrets_of(configured).items() if secret in text] == []
    assert done.exit_code == (0 if done.is_success else 1), done
    assert done.printed == ""
    return done


def status(job: Job) -> str:
    """Return what the result says, which the platform's own word must agree with."""
    said = str(job.full["status"])
    assert job.is_success is (said in ("SUCCESS", "PENDING")), job
    return said


def rogue(bed: SoarBed) -> str:
    """Return an agent that has made a call, so that there is something to replay."""
    agent = bed.fresh_agent()
    assert bed.verdict(agent) == ALLOWED
    return agent


def task_of(job: Job) -> dict[str, Any]:
    """Return the task that TheHive makes of *job*'s operations."""
    (made,) = [each for each in job.operations if each["type"] == "CreateTask"]
    return {"_id": "~3", "_type": "case_task", **made, "case": {"number": 12}}


# -- the templates' ways ----------------------------------------------------------------------------


def test_rogue_agent_from_triage_to_release(beds: Beds) -> None:
    """Every button of the template, in its order, and the release that people grant."""
    bed = beds.main
    agent = rogue(bed)
    seen = [
        status(press(bed, name, observable(agent)))
        for name in ("GetAgent", "GetBlastRadius", "FreezeAgent")
    ]
    held = bed.verdict(agent)
    epoch = str(bed.directives_on(agent)[0].epoch)
    seen += [
        status(press(bed, name, observable(agent)))
        for name in ("RevokeTokens", "VerifyContainment", "ExportEvidence", "GetAgentTimeline")
    ]
    opened = press(bed, "OpenIncident", observable(agent))
    asked = press(bed, "ReleaseAgent", observable(epoch, "holdfast-epoch"))
    task = task_of(asked)
    waits = press(bed, "GetOperation", task, kind=TASK)
    bed.decide(asked.full["operation"]["name"], "GRANT")
    told = press(bed, "GetOperation", task, kind=TASK)
    record = observable(
        opened.full["incident"]["name"], "holdfast-incident", verdict="THREAT", note="poisoned"
    )
    written = press(bed, "UpdateIncident", record)

    assert seen == ["SUCCESS"] * 7
    assert held == FROZEN
    assert opened.full["incident"]["title"] == f"Rogue agent {agent} (TheHive case 12)"
    assert opened.full["incident"]["external_reference"] == "TheHive case 12"
    assert [status(asked), status(waits), status(told)] == ["PENDING", "PENDING", "SUCCESS"]
    assert waits.operations == [
        {"type": "AddTagToCase", "tag": "holdfast:get-operation=pending-approval"}
    ]
    assert told.operations == [
        {"type": "AddTagToCase", "tag": "holdfast:get-operation=done"},
        {"type": "CloseTask"},
    ]
    assert written.full["incident"]["verdict"] == "THREAT"
    assert bed.verdict(agent) == ALLOWED


def test_rogue_agent_eradicated(beds: Beds) -> None:
    """Killed after it was frozen, and proved."""
    agent = rogue(beds.main)
    jobs = [
        press(beds.main, name, observable(agent, "holdfast-agent"))
        for name in ("FreezeAgent", "KillAgent", "VerifyContainment")
    ]

    assert [status(job) for job in jobs] == ["SUCCESS"] * 3
    assert jobs[1].operations == [
        {"type": "AddTagToArtifact", "tag": "holdfast:contain-agent=success"}
    ]
    assert beds.main.verdict(agent) == KILLED


def test_protected_agent_becomes_a_task_and_is_refused(beds: Beds) -> None:
    """Pending is no failure and no success: a task says where; afterwards the no is told."""
    agent = beds.main.fresh_guarded()
    asked = press(beds.main, "KillAgent", observable(agent))
    task = task_of(asked)
    words = asked.full["operation"]["fingerprint_words"]
    beds.main.decide(asked.full["operation"]["name"], "REFUSE")
    told = press(beds.main, "GetOperation", task, kind=TASK)

    assert status(asked) == "PENDING"
    assert task["title"] == "Decide in Holdfast: contain agent"
    assert words in task["description"]
    assert {"type": "AddTagToCase", "tag": "holdfast:get-operation=refused"} in told.operations
    assert {"type": "CloseTask"} in told.operations
    assert beds.main.verdict(agent) == ALLOWED


def test_same_job_tells_how_it_ended(beds: Beds) -> None:
    """Cortex runs the same job again: it tells the refusal, and asks nobody anew."""
    agent, job = beds.main.fresh_guarded(), new_id()
    asked = press(beds.main, "KillAgent", observable(agent), job=job)
    beds.main.decide(asked.full["operation"]["name"], "REFUSE")
    again = press(beds.main, "KillAgent", observable(agent), job=job)

    assert (status(asked), status(again)) == ("PENDING", "FAILED")
    assert again.output["errorMessage"].startswith("APPROVAL_REFUSED: ")
    assert beds.main.waiting_on(agent) == []


def test_protected_agent_expires(beds: Beds) -> None:
    """Nobody decides: the check says so, and closes the task."""
    agent = beds.brief.fresh_guarded()
    asked = press(beds.brief, "KillAgent", observable(agent))
    let_expire(beds.brief, agent)
    told = press(beds.brief, "GetOperation", task_of(asked), kind=TASK)

    assert {"type": "AddTagToCase", "tag": "holdfast:get-operation=expired"} in told.operations
    assert beds.brief.verdict(agent) == ALLOWED


def test_i03_partial_is_a_failed_job(beds: Beds) -> None:
    """A gate hangs: the job failed, its message names the gate, and the whole result is there."""
    agent = rogue(beds.fleet)
    lagging = beds.fleet.launch_gate(["zeta"], gate_id="lagging")
    beds.fleet.wait_gate("zeta", gate_id="lagging")
    lagging.signal(signal.SIGSTOP)
    try:
        job = press(beds.fleet, "FreezeAgent", observable(agent))
    finally:
        lagging.signal(signal.SIGCONT)

    assert status(job) == "PARTIAL"
    assert job.output["errorMessage"].startswith("PARTIAL: ")
    assert job.full["laggards"] == ["lagging"]


def test_drill(beds: Beds) -> None:
    """Contained for a limited time, measured, proved."""
    agent = rogue(beds.main)
    job = press(beds.main, "FreezeAgent", observable(agent, ttl_seconds="900", reason="drill"))
    proved = press(beds.main, "VerifyContainment", observable(agent))
    timing = job.full["timing"]

    assert (status(job), status(proved)) == ("SUCCESS", "SUCCESS")
    assert int(timing["ack_time_ns"]) > int(timing["call_time_ns"])
    directive = beds.main.directives_on(agent)[0]
    assert directive.HasField("expire_time")
    assert directive.reason == "drill"


def test_held_action_is_found_and_read(beds: Beds) -> None:
    """What the template for held actions presses, from the list to the approval."""
    agent = beds.main.fresh_guarded()
    asked = press(beds.main, "KillAgent", observable(agent))
    case = {"_id": "~1", "_type": "case", "number": 12, "customFields": []}
    listed = press(beds.main, "ListApprovals", case, kind=CASE)
    approval = press(beds.main, "GetApproval", observable(asked.full["approval"]))
    directives = press(beds.main, "ListDirectives", case, kind=CASE)

    assert asked.full["approval"] in json.dumps(listed.full)
    assert [status(job) for job in (listed, approval, directives)] == ["SUCCESS"] * 3


@pytest.mark.parametrize("slug", sorted(ACTIONS))
def test_every_responder_starts(beds: Beds, slug: str) -> None:
    """Each runs to a result of its own on a case that says nothing: done, or what is missing."""
    case = {"_id": "~1", "_type": "case", "number": 12, "customFields": []}
    job = press(beds.main, flavor_of(slug).removeprefix("Holdfast_"), case, kind=CASE)

    assert job.full["action"] == ACTIONS[slug].name
    assert status(job) == "SUCCESS" or job.full["error"]["class"] == "BAD_INPUT", job.full


# -- what a hostile case can do ---------------------------------------------------------------------


@pytest.mark.parametrize("value", ["*", "a*", "{{agent}}", "alpha,beta", "alpha\n", "ALPHA"])
def test_i07_observable_is_exact(beds: Beds, value: str) -> None:
    """No pattern, template or list names an agent, and nothing is contained."""
    job = press(beds.main, "KillAgent", observable(value))

    assert (status(job), job.full["error"]["class"]) == ("FAILED", "BAD_INPUT")
    assert beds.main.verdict("alpha") == ALLOWED


def test_i07_field_does_not_overrule_the_observable(beds: Beds) -> None:
    """A custom field that names another agent stops it: both or neither is what was meant."""
    agent = rogue(beds.main)
    job = press(beds.main, "KillAgent", observable(agent, agent="alpha"))

    assert not job.is_success
    assert job.output["errorMessage"].startswith("BAD_INPUT: ")
    assert [beds.main.verdict(each) for each in (agent, "alpha")] == [ALLOWED, ALLOWED]


def test_i07_observable_of_another_type_is_no_agent(beds: Beds) -> None:
    """A domain that is named like an agent contains nobody."""
    job = press(beds.main, "KillAgent", observable("alpha", "domain"))

    assert not job.is_success
    assert "an observable of type domain" in job.output["errorMessage"]
    assert beds.main.verdict("alpha") == ALLOWED


def test_i07_fixed_level_cannot_be_changed_by_a_case(beds: Beds) -> None:
    """The button that kills does not merely observe because a field says so."""
    agent = rogue(beds.main)
    job = press(beds.main, "KillAgent", observable(agent, level="OBSERVE"))

    assert status(job) == "SUCCESS"
    assert beds.main.verdict(agent) == KILLED


def test_hostile_task_text_names_no_second_operation(beds: Beds) -> None:
    """Two operations in a task are one too many."""
    text = f"operations/apr_{'0' * 32} operations/apr_{'1' * 32}"
    job = press(beds.main, "GetOperation", {"_type": "case_task", "description": text}, kind=TASK)

    assert (status(job), job.full["error"]["class"]) == ("FAILED", "BAD_INPUT")


def test_alert_of_an_older_thehive(beds: Beds) -> None:
    """TheHive 4 sends custom fields in another form; an alert is tagged, and gets no task."""
    agent = rogue(beds.main)
    fields = {"holdfast-agent": {"string": agent, "order": 0}, "holdfast-level": {"string": "KILL"}}
    alert = {"_id": "~1", "_type": "alert", "customFields": fields}
    job = press(beds.main, "ContainAgent", alert, kind=ALERT)

    assert status(job) == "SUCCESS"
    assert job.operations == [{"type": "AddTagToAlert", "tag": "holdfast:contain-agent=success"}]
    assert beds.main.verdict(agent) == KILLED


# -- jobs, secrets, settings ------------------------------------------------------------------------


def test_i01_same_job_has_one_effect_and_another_press_another(beds: Beds) -> None:
    """Cortex may run a job twice; an analyst who presses again means it."""
    agent, job = rogue(beds.main), new_id()
    for name in (job, job):
        press(beds.main, "FreezeAgent", observable(agent), job=name)
    once = len(beds.main.directives_on(agent))
    # Cortex writes another job's input at another time.
    press(beds.main, "FreezeAgent", observable(agent), job=new_id())

    assert once == 1
    assert len(beds.main.directives_on(agent)) == 2


def test_i06_error_echoes_no_setting(beds: Beds) -> None:
    """The library writes its input with an error: no value of the configuration is left in it."""
    asset = replace(beds.main.certificate_asset(), api_token="hfat_canary_canary-canary")
    job = press(beds.main, "GetAgent", observable("no-such-agent"), asset=asset)

    echoed = job.output["input"]["config"]
    assert set(echoed.values()) == {"REMOVED"}
    assert {"api_token", "client_key", "ca_certificate", "endpoint"} <= set(echoed)


def test_i06_error_before_anything_ran_echoes_no_setting(beds: Beds) -> None:
    """What is pressed on the wrong kind of thing is refused, and no setting is told back."""
    job = press(beds.main, "GetAgent", {**observable("alpha"), "dataType": "file"})

    assert not job.is_success
    assert set(job.output["input"]["config"].values()) == {"REMOVED"}


def test_client_certificate_in_place_of_a_token(beds: Beds) -> None:
    """Mutual TLS works without any token."""
    job = press(beds.main, "GetAgent", observable("alpha"), asset=beds.main.certificate_asset())

    assert status(job) == "SUCCESS"

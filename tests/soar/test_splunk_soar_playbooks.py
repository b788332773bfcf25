# SPDX-License-Identifier: Apache-2.0
"""The Splunk SOAR playbooks, every branch, with the real app's answers from a live control.

The actions run in the real SDK; ``phantom.rules``, which only a Splunk SOAR server has, is a
stand-in of ours (``standins/splunk_soar``). That a server runs the playbooks likewise is not shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from soar_actions.platforms import splunk_soar
from tests.soar.host import SoarBed
from tests.soar.playbook_beds import Beds, beds_for_playbooks, fleet_with_a_hung_gate, let_expire
from tests.soar.runners.base import Asset
from tests.soar.runners.splunk_soar import RUNNERS, SplunkRunner
from tests.soar.standins.splunk_soar.rules import Platform
from tests.support.clients import new_id
from tests.support.processes import free_port

if TYPE_CHECKING:
    from tests.support.certificates import Authority
    from tests.support.processes import Zygote

PLAYBOOKS = Path(splunk_soar.__file__).parent / "artefact" / "playbooks"
CONTAIN = PLAYBOOKS / "holdfast_contain_a_rogue_agent.py"
APPROVE = PLAYBOOKS / "holdfast_approve_a_held_action.py"
DRILL = PLAYBOOKS / "holdfast_containment_drill.py"
_FROZEN = "DENY FROZEN"


@pytest.fixture(scope="module")
def beds(zygote: Zygote, authority: Authority) -> Iterator[Beds]:
    """The hosts."""
    with beds_for_playbooks(zygote, authority) as found:
        yield found


@pytest.fixture
def fleet(zygote: Zygote, authority: Authority) -> Iterator[SoarBed]:
    """A host of which a gate hangs."""
    with fleet_with_a_hung_gate(zygote, authority) as found:
        yield found


@pytest.fixture(scope="module")
def runner() -> SplunkRunner:
    """The first SDK that this machine has."""
    for found in RUNNERS:
        assert isinstance(found, SplunkRunner)
        if not found.unavailable():
            return found
    pytest.skip("no Splunk SOAR SDK on this machine")


def platform(
    runner: SplunkRunner, asset: Asset, artifact: Mapping[str, str], **more: Any
) -> Platform:
    """Return a platform whose actions run in the SDK, each as an action run of its own."""

    def act(action: str, parameters: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        slug = action.replace(" ", "-")
        answer = runner.handle(slug, parameters, asset=asdict(asset), key=new_id())
        assert not answer["crash"], answer["crash"]
        assert asset.api_token not in json.dumps(answer)
        results: Sequence[Mapping[str, Any]] = answer["results"]
        return results

    return Platform(act=act, artifacts=[artifact], run_id=new_id(), **more)


def decider(bed: SoarBed, agent: str, verdict: str) -> Any:
    """Return what happens while a playbook waits: people decide what is asked about *agent*."""

    def decide(name: str) -> None:
        for operation in bed.waiting_on(agent):
            bed.decide(operation.name, verdict)

    return decide


@pytest.mark.parametrize("choice", ["keep contained", "eradicate", None])
def test_rogue_agent_is_contained_and_verified(
    beds: Beds, runner: SplunkRunner, choice: str | None
) -> None:
    """From the alert to the record; silence and `keep contained` leave the freeze, and KILL stops."""
    agent = beds.main.fresh_agent()
    beds.main.verdict(agent)
    played = platform(
        runner,
        beds.main.asset(),
        {"holdfastAgent": agent},
        answers={"human_gate": choice},
    )

    played.play(CONTAIN)

    expected = ["get agent", "get agent timeline", "get blast radius", "contain agent"]
    expected += ["revoke tokens", "export evidence", "open incident"]
    expected += ["contain agent"] if choice == "eradicate" else []
    assert played.names() == [*expected, "verify containment", "update incident"]
    assert beds.main.verdict(agent) in (_FROZEN, "DENY KILLED")
    assert ("KILLED" in beds.main.verdict(agent)) is (choice == "eradicate")
    assert "Verified: " in played.told()
    assert "Done. Incident incidents/" in played.told()


def test_release_that_people_grant(beds: Beds, runner: SplunkRunner) -> None:
    """The prompt asks for it; only Holdfast's approvers end the freeze."""
    agent = beds.main.fresh_agent()
    verdicts = []

    def grant(name: str) -> None:
        verdicts.append(beds.main.verdict(agent))
        decider(beds.main, agent, "GRANT")(name)

    played = platform(
        runner,
        beds.main.asset(),
        {"holdfastAgent": agent},
        answers={"human_gate": "release"},
        on_wait=grant,
    )

    played.play(CONTAIN)

    assert verdicts == [_FROZEN]
    assert "Released" in played.told()
    assert played.acted[-1][1]["close"] is True
    assert beds.main.verdict(agent).startswith("ALLOW")


def test_release_that_people_refuse(beds: Beds, runner: SplunkRunner) -> None:
    """A no leaves the freeze, which is verified, and the no is written down."""
    agent = beds.main.fresh_agent()
    played = platform(
        runner,
        beds.main.asset(),
        {"holdfastAgent": agent},
        answers={"human_gate": "release"},
        on_wait=decider(beds.main, agent, "REFUSE"),
    )

    played.play(CONTAIN)

    assert "It was not released (REFUSED)" in played.told()
    assert "verify containment" in played.names()
    assert beds.main.verdict(agent) == _FROZEN


def test_release_without_the_permission(beds: Beds, runner: SplunkRunner) -> None:
    """The least token there is contains; it cannot even ask for a release."""
    agent = beds.main.fresh_agent()
    played = platform(
        runner,
        beds.main.asset("soar-contain", "contain"),
        {"holdfastAgent": agent},
        answers={"human_gate": "release"},
    )

    played.play(CONTAIN)

    assert "PERMISSION_MISSING" in played.told()
    assert beds.main.verdict(agent) == _FROZEN


@pytest.mark.parametrize("verdict", ["GRANT", "REFUSE"])
def test_containment_that_people_decide(beds: Beds, runner: SplunkRunner, verdict: str) -> None:
    """A protected agent is contained when people grant it, and not before."""
    agent = beds.main.fresh_guarded()
    beds.main.verdict(agent)
    played = platform(
        runner,
        beds.main.asset(),
        {"holdfastAgent": agent},
        on_wait=decider(beds.main, agent, verdict),
    )

    played.play(CONTAIN)

    is_granted = verdict == "GRANT"
    assert "get operation" in played.names()
    assert ("revoke tokens" in played.names()) is is_granted
    assert ("NOT contained (REFUSED)" in played.told()) is not is_granted
    assert (played.severity == "high") is not is_granted
    assert (beds.main.verdict(agent) == _FROZEN) is is_granted


def test_what_nobody_decides_expires(beds: Beds, runner: SplunkRunner) -> None:
    """Closed, said loudly, nothing done; and whoever follows the request is told the same."""
    agent = beds.brief.fresh_guarded()
    followed: list[Platform] = []

    def wait(name: str) -> None:
        if not followed:
            operation = beds.brief.waiting_on(agent)[0].name
            follower = platform(
                runner,
                beds.brief.asset(),
                {"holdfastOperation": operation},
                on_wait=lambda name: let_expire(beds.brief, agent),
            )
            followed.append(follower)
            follower.play(APPROVE)

    played = platform(runner, beds.brief.asset(), {"holdfastAgent": agent}, on_wait=wait)

    played.play(CONTAIN)

    assert "NOT contained (EXPIRED)" in played.told()
    assert played.severity == "high"
    assert "revoke tokens" not in played.names()
    assert "Nobody answered the prompt" in followed[0].told()
    assert "Nobody decided in time" in followed[0].told()


def test_i03_part_of_the_fleet_is_no_success(fleet: SoarBed, runner: SplunkRunner) -> None:
    """The gate that does not answer is named, and the playbook goes on with what can be done."""
    played = platform(runner, fleet.asset(), {"holdfastAgent": "zeta"})

    played.play(CONTAIN)

    assert "NOT fully contained" in played.told()
    assert "lagging" in played.told()
    assert played.severity == "high"
    assert "revoke tokens" in played.names()


def test_i03_negative_control(beds: Beds, runner: SplunkRunner) -> None:
    """Where every gate answers, nobody is alarmed."""
    agent = beds.main.fresh_agent()
    beds.main.verdict(agent)
    played = platform(runner, beds.main.asset(), {"holdfastAgent": agent})

    played.play(CONTAIN)

    assert "NOT fully contained" not in played.told()
    assert played.severity == "medium"


def scripted(artifact: Mapping[str, str], *, choice: str = "", **answers: Any) -> Platform:
    """Return a platform whose actions answer what *answers* says, by identifier; else plain success.

    A list is one answer after the other.
    """

    def act(action: str, parameters: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        said = answers.get(action.replace(" ", "_"), {})
        data = {"status": "SUCCESS", **(said.pop(0) if isinstance(said, list) else said)}
        is_done = data["status"] in ("SUCCESS", "PENDING")
        message = f"{data['status']}: {data.get('summary', '')}"
        return [{"status": is_done, "message": message, "data": [data], "summary": {}}]

    return Platform(act=act, artifacts=[artifact], answers={"human_gate": choice or None})


_WAITS = {"status": "PENDING", "operation": {"name": "operations/apr_1"}}
_UNDECIDED = {"status": "PENDING", "operation": {"state": "PENDING_APPROVAL"}}
_IN_PART = {
    "status": "PARTIAL",
    "summary": "not yet enforced by: lagging",
    "operation": {"state": "DONE", "summary": "soar asks to hold it"},
    "receipt": {"epoch": 7},
}


def test_i03_granted_containment_in_part_is_no_success() -> None:
    """People granted it and a gate does not enforce it: as loud as without people."""
    played = scripted({"holdfastAgent": "banking"}, contain_agent=_WAITS, get_operation=_IN_PART)

    played.play(CONTAIN)

    assert "NOT fully contained: `PARTIAL: not yet enforced by: lagging" in played.told()
    assert played.severity == "high"
    assert "revoke tokens" in played.names()
    assert "NOT fully contained" in played.prompts[0]["message"]


def test_i03_followed_action_in_part_is_no_success() -> None:
    """Whoever follows the request is not told that it was carried out."""
    played = scripted({"holdfastOperation": "operations/apr_1"}, get_operation=_IN_PART)

    played.play(APPROVE)

    assert [note.title for note in played.notes] == ["Granted, but NOT carried out in full"]
    assert played.severity == "high"


def test_containment_that_nobody_ever_decides_is_said_loudly() -> None:
    """Looking ends some day; that the agent runs on is the last word."""
    played = scripted({"holdfastAgent": "banking"}, contain_agent=_WAITS, get_operation=_UNDECIDED)

    played.play(CONTAIN)

    assert "The agent is NOT contained (PENDING_APPROVAL)" in played.told()
    assert played.severity == "high"
    assert "revoke tokens" not in played.names()


def test_release_that_nobody_ever_decides_is_verified_and_recorded() -> None:
    """The freeze stands: it is verified, and the incident says so."""
    played = scripted(
        {"holdfastAgent": "banking"},
        choice="release",
        contain_agent={"receipt": {"epoch": 7}},
        open_incident={"incident": {"name": "incidents/inc_1"}},
        release_agent=_WAITS,
        get_operation=_UNDECIDED,
        verify_containment={"contained": True, "replayed": 3, "allowed": 0},
    )

    played.play(CONTAIN)

    assert "It was not released (PENDING_APPROVAL)" in played.told()
    assert played.names()[-2:] == ["verify containment", "update incident"]


@pytest.mark.parametrize(
    ("looked", "is_over"),
    [
        ({"agent": {"level": ""}}, True),
        ({"agent": {"level": "KILL"}}, False),
        ({"status": "FAILED", "summary": "control is down"}, False),
    ],
    ids=["free", "held by another", "not known"],
)
def test_incident_is_over_only_if_nothing_holds_the_agent(
    looked: dict[str, Any], is_over: bool
) -> None:
    """One directive was released; the fleet may be held as well."""
    played = scripted(
        {"holdfastAgent": "banking"},
        choice="release",
        contain_agent={"receipt": {"epoch": 7}},
        open_incident={"incident": {"name": "incidents/inc_1"}},
        get_agent=[{"agent": {"level": "FREEZE"}}, looked],
    )

    played.play(CONTAIN)

    assert played.names()[-3:] == ["release agent", "get agent", "update incident"]
    assert played.acted[-1][1]["close"] is is_over
    assert ("Not known to be free" in played.told()) is not is_over


@pytest.mark.parametrize("playbook", [CONTAIN, APPROVE, DRILL], ids=lambda path: path.stem)
def test_i07_words_in_a_note_are_one_line_of_code(playbook: Path) -> None:
    """Neither a backtick nor a blank line ends the code that foreign words stand in."""
    failed = {"status": "FAILED", "summary": "x`\n\n[click](https://evil.example)"}
    played = scripted(
        {"holdfastAgent": "a", "holdfastOperation": "operations/a", "holdfastDrillAgent": "a"},
        get_agent=failed,
        get_operation=failed,
        contain_agent=failed,
    )

    played.play(playbook)

    assert "evil.example" in played.told()
    for note in played.notes:
        assert note.content[0] == note.content[-1] == "`"
        assert not set(note.content[1:-1]) & {"`", "\n"}


def test_control_that_is_down(beds: Beds, runner: SplunkRunner) -> None:
    """Nothing is claimed, and it says so."""
    asset = replace(beds.main.asset(), endpoint=f"https://127.0.0.1:{free_port()}")
    played = platform(runner, asset, {"holdfastAgent": "spare-000"})

    played.play(CONTAIN)

    assert played.names() == ["get agent"]
    assert "UNAVAILABLE" in played.told()
    assert played.severity == "high"


@pytest.mark.parametrize("named", ["*", "no-such-agent", "{{ agent }}", ""])
def test_i07_alert_text_selects_no_target(beds: Beds, runner: SplunkRunner, named: str) -> None:
    """What is no exact name of one agent contains nobody."""
    played = platform(runner, beds.main.asset(), {"holdfastAgent": named})

    played.play(CONTAIN)

    assert "contain agent" not in played.names()
    assert "nothing was done" in played.told()


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("GRANT", "Granted and carried out"), ("REFUSE", "Refused; nothing was done")],
)
def test_held_action_is_followed_to_its_end(
    beds: Beds, runner: SplunkRunner, verdict: str, said: str
) -> None:
    """People are told where to decide; the playbook's own prompt decides nothing."""
    agent = beds.main.fresh_agent()
    operation = ask_for_release(beds.main, runner, agent)
    played = platform(
        runner,
        beds.main.asset(),
        {"holdfastOperation": operation},
        answers={"tell_people": "seen"},
        on_wait=decider(beds.main, agent, verdict),
    )

    played.play(APPROVE)

    assert said in played.told()
    assert set(played.names()) == {"get operation"}
    assert "Decide at" in played.prompts[0]["message"]


def test_held_action_that_is_not_known(beds: Beds, runner: SplunkRunner) -> None:
    """An operation that is none ends in a note, not in a loop."""
    played = platform(
        runner, beds.main.asset(), {"holdfastOperation": f"operations/apr_{'0' * 32}"}
    )

    played.play(APPROVE)

    assert played.names() == ["get operation"]
    assert "NOT_FOUND" in played.told()


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("GRANT", "released, granted by people"), ("REFUSE", "was not granted (REFUSED)")],
)
def test_drill_measures_and_releases(
    beds: Beds, runner: SplunkRunner, verdict: str, said: str
) -> None:
    """It freezes, verifies agent and log, and asks for the release."""
    agent = beds.main.fresh_agent()
    beds.main.verdict(agent)
    played = platform(
        runner,
        beds.main.asset(),
        {"holdfastDrillAgent": agent},
        on_wait=decider(beds.main, agent, verdict),
    )

    played.play(DRILL)

    assert "Time to contain" in played.told()
    assert "Verified: " in played.told()
    assert "Finding" not in played.told()
    assert said in played.told()
    assert beds.main.verdict(agent).startswith("ALLOW" if verdict == "GRANT" else "DENY")


def test_drill_on_a_protected_agent_is_a_finding(beds: Beds, runner: SplunkRunner) -> None:
    """A drill takes nobody's decision for granted."""
    agent = beds.main.fresh_guarded()
    played = platform(runner, beds.main.asset(), {"holdfastDrillAgent": agent})

    played.play(DRILL)

    assert played.names() == ["contain agent"]
    assert "Finding: The drill's agent is protected" in played.told()
    assert beds.main.verdict(agent).startswith("ALLOW")


def test_drill_finds_a_gate_that_hangs(fleet: SoarBed, runner: SplunkRunner) -> None:
    """Finding that out is what it is for."""
    played = platform(runner, fleet.asset(), {"holdfastDrillAgent": "zeta"})

    played.play(DRILL)

    assert "Finding: Not every gate enforced it" in played.told()
    assert played.severity == "high"


def test_drill_without_control_is_a_finding(beds: Beds, runner: SplunkRunner) -> None:
    """A drill that cannot begin says so."""
    asset = replace(beds.main.asset(), endpoint=f"https://127.0.0.1:{free_port()}")
    played = platform(runner, asset, {"holdfastDrillAgent": "spare-000"})

    played.play(DRILL)

    assert "Finding: The containment failed" in played.told()


def ask_for_release(bed: SoarBed, runner: SplunkRunner, agent: str) -> str:
    """Contain *agent*, ask for its release, and return the operation that waits."""
    contained = {"agent": agent, "level": "FREEZE", "reason": "a test"}
    assert (
        runner.run("contain-agent", contained, asset=bed.asset(), key=new_id()).status == "SUCCESS"
    )
    asked = runner.run(
        "release-agent", {"agent": agent, "reason": "a test"}, asset=bed.asset(), key=new_id()
    )
    assert asked.status == "PENDING", asked
    return str(asked.data["operation"]["name"])


def test_polling_makes_a_container_of_what_waits(beds: Beds, runner: SplunkRunner) -> None:
    """Once each, by the request's own name; what it holds starts the playbook that follows it."""
    agent = beds.main.fresh_agent()
    operation = ask_for_release(beds.main, runner, agent)

    answer = runner.handle("on-poll", {}, asset=asdict(beds.main.asset()), key=new_id())
    artifact = next(
        each
        for each in answer["saved"]
        if each.get("cef", {}).get("holdfastOperation") == operation
    )
    container = next(
        each
        for each in answer["saved"]
        if "cef" not in each
        and each["source_data_identifier"] == artifact["source_data_identifier"]
    )

    assert answer["results"][0]["status"] is True
    assert "holdfastAgent" not in artifact["cef"]
    assert agent in container["description"]
    assert beds.main.asset().api_token not in json.dumps(answer)


def test_polling_that_fails_says_why(beds: Beds, runner: SplunkRunner) -> None:
    """No container, and no success."""
    asset = replace(beds.main.asset(), endpoint=f"https://127.0.0.1:{free_port()}")

    answer = runner.handle("on-poll", {}, asset=asdict(asset), key=new_id())

    assert answer["saved"] == []
    assert answer["results"][0]["status"] is False
    assert "UNAVAILABLE" in answer["results"][0]["message"]

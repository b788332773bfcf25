# SPDX-License-Identifier: Apache-2.0
"""The Shuffle workflows: whole, and every branch played with the real app against a live control.

The real SDK resolves the values and decides the branches; the order of the nodes and the people are
ours (``shuffle_engine``). That Shuffle's own server imports and schedules them is not shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from soar_actions.catalogue import ACTIONS
from soar_actions.platforms import shuffle
from soar_actions.platforms.shuffle.render import method_name
from tests.soar.host import SoarBed
from tests.soar.playbook_beds import Beds, beds_for_playbooks, fleet_with_a_hung_gate, let_expire
from tests.soar.runners.base import Asset
from tests.soar.runners.shuffle import RUNNERS, ShuffleRunner
from tests.soar.shuffle_engine import Played, play
from tests.support.clients import new_id
from tests.support.processes import free_port

if TYPE_CHECKING:
    from tests.support.certificates import Authority
    from tests.support.processes import Zygote

FOLDER = Path(shuffle.__file__).parent / "artefact" / "workflows"
CONTAIN = "holdfast_contain_a_rogue_agent"
APPROVE = "holdfast_approve_a_held_action"
DRILL = "holdfast_containment_drill"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
_FROZEN = "DENY FROZEN"
_METHODS = {method_name(slug): action for slug, action in ACTIONS.items()}


def read(name: str) -> dict[str, Any]:
    """Return the workflow of this name."""
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


# -- whole ----------------------------------------------------------------------------------------


def test_there_are_three_workflows() -> None:
    """The three that every platform has."""
    assert sorted([CONTAIN, APPROVE, DRILL]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_node_is_an_action_with_parameters_that_exist(name: str) -> None:
    """Required ones are given, and no other than declared ones; tools only repeat a sentence."""
    for action in read(name)["actions"]:
        given = {each["name"] for each in action["parameters"]}
        if action["app_name"] == "Shuffle Tools":
            assert (action["name"], given) == ("repeat_back_to_me", {"call"})
            continue
        declared = _METHODS[action["name"]].parameters
        assert given <= {each.name for each in declared}
        assert {each.name for each in declared if each.is_required} <= given


@pytest.mark.parametrize("name", NAMES)
def test_every_branch_joins_nodes_that_exist(name: str) -> None:
    """Each node is reached from the start, and ids and labels are of one node each."""
    workflow = read(name)
    nodes = [each["id"] for each in (*workflow["actions"], *workflow["triggers"])]
    labels = [each["label"] for each in (*workflow["actions"], *workflow["triggers"])]
    reached, count = {workflow["start"]}, 0
    while count != len(reached):
        count = len(reached)
        reached |= {
            each["destination_id"] for each in workflow["branches"] if each["source_id"] in reached
        }

    assert len(set(nodes)) == len(nodes)
    assert len(set(labels)) == len(labels)
    assert reached == set(nodes)


@pytest.mark.parametrize("name", NAMES)
def test_every_value_names_a_node_before_it_and_an_output_that_exists(name: str) -> None:
    """`$contain.operation.name` is an output of the action of the node `contain`, which ran before."""
    workflow = read(name)
    labels = {each["label"]: each for each in workflow["actions"]}
    for text in re.findall(r"\$([a-z_]+(?:\.[a-z_0-9]+)*)", json.dumps(workflow)):
        label, _, path = text.partition(".")
        if label == "exec":
            continue
        outputs = {each.path for each in _METHODS[labels[label]["name"]].outputs}
        outputs |= {each.partition("[]")[0] for each in outputs}
        common = {"success", "reason", "status", "summary", "error.reason"}
        assert path in outputs | common, text


@pytest.mark.parametrize("name", NAMES)
def test_no_workflow_decides_anything(name: str) -> None:
    """A SOAR credential approves nothing: there is no such action, and no credential in a file."""
    text = (FOLDER / f"{name}.json").read_text()

    assert not re.search(r'"name": "[a-z_]*(grant|approve|refuse|decide)', text)
    assert "hfat_" not in text
    assert all(each["authentication_id"] == "" for each in read(name)["actions"])


# -- played ---------------------------------------------------------------------------------------


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
def runner() -> ShuffleRunner:
    """The SDK on this machine."""
    found = RUNNERS[0]
    assert isinstance(found, ShuffleRunner)
    if found.unavailable():
        pytest.skip(f"not run: {found.unavailable()}")
    return found


def deciding(bed: SoarBed, agent: str, verdict: str) -> Callable[[str], bool]:
    """Return people who press yes, and decide in Holdfast first where they are told to."""

    def answer(label: str) -> bool:
        if label != "ask_for_release":
            for operation in bed.waiting_on(agent):
                bed.decide(operation.name, verdict)
        return True

    return answer


def run(
    name: str,
    argument: dict[str, str],
    runner: ShuffleRunner,
    asset: Asset,
    answer: Callable[[str], bool] = lambda label: False,
) -> Played:
    """Play a workflow; nothing of it may hold the credential."""
    played = play(read(name), argument, runner=runner, asset=asset, answer=answer)
    assert asset.api_token not in played.native
    return played


def about(agent: str, eradicate: str = "false") -> dict[str, str]:
    """Return the argument of the first workflow."""
    return {"agent": agent, "reason": "a test", "eradicate": eradicate}


@pytest.mark.parametrize("eradicate", ["false", "true"])
def test_rogue_agent_is_contained_and_verified(
    beds: Beds, runner: ShuffleRunner, eradicate: str
) -> None:
    """All that must happen happens before people are asked; their no leaves the agent contained."""
    agent = beds.main.fresh_agent()
    beds.main.verdict(agent)

    played = run(CONTAIN, about(agent, eradicate), runner, beds.main.asset())

    done = [label for label, result in played.results.items() if isinstance(result, dict)]
    expected = ["triage", "timeline", "blast_radius", "contain", "revoke", "evidence", "incident"]
    expected += ["eradicate"] if eradicate == "true" else []
    assert done == [*expected, "verify", "record"]
    assert [label for label in done if not played.results[label]["success"]] == []
    assert list(played.asked) == ["ask_for_release"]
    assert beds.main.verdict(agent) == ("DENY KILLED" if eradicate == "true" else _FROZEN)


@pytest.mark.parametrize("verdict", ["GRANT", "REFUSE"])
def test_release_that_people_decide(beds: Beds, runner: ShuffleRunner, verdict: str) -> None:
    """Yes in Shuffle asks; only Holdfast's approvers release."""
    agent = beds.main.fresh_agent()
    beds.main.verdict(agent)

    played = run(
        CONTAIN, about(agent), runner, beds.main.asset(), deciding(beds.main, agent, verdict)
    )

    is_granted = verdict == "GRANT"
    assert ("close" in played.ran) is is_granted
    assert ("tell_release_refused" in played.ran) is not is_granted
    assert beds.main.verdict(agent).startswith("ALLOW" if is_granted else _FROZEN)


def test_agent_that_something_else_holds_is_not_released(beds: Beds, runner: ShuffleRunner) -> None:
    """One release of two is granted: the incident stays open, and it is said that the agent is held."""
    agent = beds.main.fresh_agent()
    beds.main.verdict(agent)

    def answer(label: str) -> bool:
        if label == "release_waits":
            first, second = beds.main.waiting_on(agent)
            beds.main.decide(first.name, "GRANT")
            beds.main.decide(second.name, "REFUSE")
        return True

    played = run(CONTAIN, about(agent, "true"), runner, beds.main.asset(), answer)

    assert "close" not in played.ran
    assert {"tell_still_held", "tell_release_refused"} & set(played.ran)
    assert beds.main.verdict(agent).startswith("DENY")


def test_steps_that_fail_are_told(
    beds: Beds, runner: ShuffleRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is passed over in silence, and the rest is done all the same."""
    agent = beds.main.fresh_agent()
    execute = runner.execute
    failing = {"revoke", "evidence", "incident", "eradicate", "record"}

    def lost(action: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
        if action["label"] in failing:
            for given in action["parameters"]:
                if given["name"] == "endpoint":
                    given["value"] = f"https://127.0.0.1:{free_port()}"
        return execute(action, run)

    monkeypatch.setattr(runner, "execute", lost)
    played = run(CONTAIN, about(agent, "true"), runner, beds.main.asset())

    told = {label for label in played.ran if label.startswith("tell_")}
    assert told >= {
        "tell_tokens_stand",
        "tell_no_evidence",
        "tell_no_incident",
        "tell_not_eradicated",
        "tell_not_recorded",
    }
    assert {"verify", "ask_for_release"} <= set(played.ran)


def test_release_that_nobody_has_decided_yet(beds: Beds, runner: ShuffleRunner) -> None:
    """Whoever presses yes too early is told that it still waits; the agent stays contained."""
    agent = beds.main.fresh_agent()

    played = run(CONTAIN, about(agent), runner, beds.main.asset(), lambda label: True)

    assert "tell_release_still_waits" in played.ran
    assert beds.main.verdict(agent) == _FROZEN


def test_release_without_the_permission(beds: Beds, runner: ShuffleRunner) -> None:
    """The least token there is contains; it cannot even ask for a release."""
    agent = beds.main.fresh_agent()
    asset = beds.main.asset("soar-contain", "contain")

    played = run(CONTAIN, about(agent), runner, asset, lambda label: True)

    assert "PERMISSION_MISSING" in played.told()
    assert beds.main.verdict(agent) == _FROZEN


@pytest.mark.parametrize("verdict", ["GRANT", "REFUSE"])
def test_containment_that_people_decide(beds: Beds, runner: ShuffleRunner, verdict: str) -> None:
    """A protected agent is contained when people grant it, and not before."""
    agent = beds.main.fresh_guarded()
    decide = deciding(beds.main, agent, verdict)

    played = run(
        CONTAIN,
        about(agent),
        runner,
        beds.main.asset(),
        lambda label: label == "containment_waits" and decide(label),
    )

    is_granted = verdict == "GRANT"
    assert ("revoke" in played.ran) is is_granted
    assert ("tell_containment_refused" in played.ran) is not is_granted
    assert (beds.main.verdict(agent) == _FROZEN) is is_granted


def test_what_nobody_decides_expires(beds: Beds, runner: ShuffleRunner) -> None:
    """Closed, said, nothing done; whoever follows the request hears that it waits, and then that."""
    agent = beds.brief.fresh_guarded()
    followed: list[Played] = []

    def follow(answer: Callable[[str], bool]) -> None:
        operation = {"operation": beds.brief.waiting_on(agent)[0].name}
        followed.append(run(APPROVE, operation, runner, beds.brief.asset(), answer))

    def wait(label: str) -> bool:
        let_expire(beds.brief, agent)
        return True

    def answer(label: str) -> bool:
        follow(lambda label: True)
        follow(wait)
        return True

    played = run(CONTAIN, about(agent), runner, beds.brief.asset(), answer)

    assert "nobody decided" in played.told()
    assert "revoke" not in played.ran
    assert "tell_still_waits" in followed[0].ran
    assert "tell_expired" in followed[1].ran


def test_i03_part_of_the_fleet_is_no_success(fleet: SoarBed, runner: ShuffleRunner) -> None:
    """The gate that hangs is named, and what can be done is done."""
    played = run(CONTAIN, about("zeta"), runner, fleet.asset())

    assert played.results["contain"]["success"] is False
    assert "lagging" in str(played.results["tell_partly_contained"])
    assert "revoke" in played.ran


def test_i03_negative_control(beds: Beds, runner: ShuffleRunner) -> None:
    """Where every gate answers, nobody is alarmed."""
    agent = beds.main.fresh_agent()

    played = run(CONTAIN, about(agent), runner, beds.main.asset())

    assert "tell_partly_contained" in played.skipped
    assert played.results["contain"]["success"] is True


def test_control_that_is_down(beds: Beds, runner: ShuffleRunner) -> None:
    """Nothing is claimed, and it says so."""
    asset = replace(beds.main.asset(), endpoint=f"https://127.0.0.1:{free_port()}")

    played = run(CONTAIN, about("spare-000"), runner, asset)

    assert played.ran == ["triage", "tell_not_known"]
    assert "UNAVAILABLE" in played.told()


@pytest.mark.parametrize("name", [CONTAIN, APPROVE, DRILL])
def test_node_that_shuffle_itself_ended_is_told(
    beds: Beds, runner: ShuffleRunner, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """An order of which nobody knows whether it was done has no status, and is not passed over."""
    agent = "spare-000" if name == APPROVE else beds.main.fresh_agent()
    execute = runner.execute

    def ended(action: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
        outcome = execute(action, run)
        if action["label"] in ("contain", "look"):
            timeout = {"success": False, "reason": "Timeout error within 30 seconds"}
            outcome["sent"][0]["result"] = json.dumps(timeout)
        return outcome

    monkeypatch.setattr(runner, "execute", ended)
    argument = {**about(agent), "operation": f"operations/apr_{'0' * 32}"}
    played = run(name, argument, runner, beds.main.asset())

    assert "Timeout error" in played.told()


@pytest.mark.parametrize("named", ["*", "no-such-agent", "a,b", ""])
def test_i07_alert_text_selects_no_target(beds: Beds, runner: ShuffleRunner, named: str) -> None:
    """What is no exact name of one agent contains nobody."""
    played = run(CONTAIN, about(named), runner, beds.main.asset())

    assert "contain" not in played.ran
    assert "Nothing was done" in played.told()


@pytest.mark.parametrize(
    ("verdict", "label"), [("GRANT", "tell_granted"), ("REFUSE", "tell_refused")]
)
def test_held_action_is_followed_to_its_end(
    beds: Beds, runner: ShuffleRunner, verdict: str, label: str
) -> None:
    """People are told where to decide, and what to compare."""
    agent = beds.main.fresh_agent()
    operation = ask_for_release(beds.main, runner, agent)

    played = run(
        APPROVE,
        {"operation": operation},
        runner,
        beds.main.asset(),
        deciding(beds.main, agent, verdict),
    )
    again = run(APPROVE, {"operation": operation}, runner, beds.main.asset())

    assert label in played.ran
    assert "decide at" in played.asked["decide_in_holdfast"]
    assert again.ran == ["look", "tell_over"]


def test_held_action_that_is_not_known(beds: Beds, runner: ShuffleRunner) -> None:
    """An operation that is none is said to be none."""
    played = run(APPROVE, {"operation": f"operations/apr_{'0' * 32}"}, runner, beds.main.asset())

    assert played.ran == ["look", "tell_not_known"]


@pytest.mark.parametrize(
    ("verdict", "label"), [("GRANT", "tell_over"), ("REFUSE", "tell_release_refused")]
)
def test_drill_verifies_and_releases(
    beds: Beds, runner: ShuffleRunner, verdict: str, label: str
) -> None:
    """It freezes, verifies agent and log, and asks for the release."""
    agent = beds.main.fresh_agent()
    beds.main.verdict(agent)

    played = run(
        DRILL, {"agent": agent}, runner, beds.main.asset(), deciding(beds.main, agent, verdict)
    )

    assert played.ran[:5] == ["reach", "contain", "verify", "log", "release"]
    assert "Finding" not in played.told()
    assert label in played.ran
    assert beds.main.verdict(agent).startswith("ALLOW" if verdict == "GRANT" else "DENY")


def test_drill_on_a_protected_agent_is_a_finding(beds: Beds, runner: ShuffleRunner) -> None:
    """A drill takes nobody's decision for granted."""
    played = run(DRILL, {"agent": beds.main.fresh_guarded()}, runner, beds.main.asset())

    assert "tell_protected" in played.ran
    assert "verify" not in played.ran


def test_drill_finds_a_gate_that_hangs(fleet: SoarBed, runner: ShuffleRunner) -> None:
    """Finding that out is what it is for."""
    played = run(DRILL, {"agent": "zeta"}, runner, fleet.asset())

    assert "tell_partly_contained" in played.ran


def test_drill_without_control_is_a_finding(beds: Beds, runner: ShuffleRunner) -> None:
    """A drill that cannot begin says so."""
    asset = replace(beds.main.asset(), endpoint=f"https://127.0.0.1:{free_port()}")

    played = run(DRILL, {"agent": "spare-000"}, runner, asset)

    assert played.ran == ["reach", "tell_not_reached"]


def ask_for_release(bed: SoarBed, runner: ShuffleRunner, agent: str) -> str:
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

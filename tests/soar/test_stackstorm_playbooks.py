# SPDX-License-Identifier: Apache-2.0
"""The pack's workflows on StackStorm's real conductor: real actions, people's decisions, real gates."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
import yaml

from tests.soar.host import SoarBed
from tests.soar.runners.stackstorm import Execution, StackStormRunner, metadata, pack
from tests.soar.scenarios import secrets_of
from tests.soar.stackstorm_engine import Ended, Step, run_workflow, unavailable
from tests.support.clients import new_id
from tests.support.polling import eventually_sync

if TYPE_CHECKING:
    from tests.soar.runners.base import Asset
    from tests.support.certificates import Authority
    from tests.support.processes import Zygote

# With a checkout of StackStorm at hand, its own wrapper starts every action.
RUNNER = StackStormRunner(is_stand_in=not os.environ.get("ST2_CHECKOUT"))
CONTAIN, APPROVE, DRILL = (
    "contain_a_rogue_agent",
    "approve_a_held_action",
    "containment_drill",
)
KILLED, FROZEN, ALLOWED = "DENY KILLED", "DENY FROZEN", "ALLOW POLICY_ALLOW"
Human = Callable[[SoarBed, str], None]
REACHED: dict[str, set[str]] = {CONTAIN: set(), APPROVE: set(), DRILL: set()}


@dataclass(frozen=True)
class Beds:
    """Attributes: main: people decide; brief: nobody has long to; fleet: not all gates answer."""

    main: SoarBed
    brief: SoarBed
    fleet: SoarBed


@pytest.fixture(scope="module")
def beds(zygote: Zygote, authority: Authority) -> Iterator[Beds]:
    """The hosts."""
    if reason := unavailable() or RUNNER.unavailable():
        pytest.skip(f"not run: {reason}")
    with ExitStack() as stack:

        def bed(**options: Any) -> SoarBed:
            made = SoarBed(zygote, authority, **options)
            stack.callback(made.close)
            return made

        main = bed(spare_agents=12, guarded=8).begin()
        brief = bed(spare_agents=2, guarded=2, expiry="30s").begin()
        fleet = bed(spare_agents=2, guarded=1)
        fleet.begin([*fleet.spare, *fleet.guarded])
        yield Beds(main=main, brief=brief, fleet=fleet)


def grant(bed: SoarBed, operation: str) -> None:
    """People grant it."""
    bed.decide(operation, "GRANT")


def refuse(bed: SoarBed, operation: str) -> None:
    """A person refuses it."""
    bed.decide(operation, "REFUSE")


def let_expire(bed: SoarBed, operation: str) -> None:
    """Nobody decides, for as long as it takes."""
    wait = timedelta(seconds=10)
    eventually_sync(lambda: bed.operation(operation, wait=wait).end_time.seconds > 0, 45)


def play(
    bed: SoarBed,
    workflow: str,
    inputs: Mapping[str, Any],
    *,
    answer: Mapping[str, Any] | None = None,
    on_ask: Callable[[], None] = lambda: None,
    human: Human | None = None,
    asset: Asset | None = None,
    execution: str = "",
) -> Ended:
    """Run *workflow*; *human* decides at the first look whether somebody has; nobody: polls end.

    Args:
        bed: The host.
        workflow: Its name.
        inputs: What is given to it; few polls, unless it says otherwise.
        answer: What the person whom StackStorm asks answers; None: nobody does, until its time ends.
        on_ask: What happens on the host while StackStorm asks.
        human: What people do in Holdfast.
        asset: How the pack is configured.
        execution: The id of the workflow's execution.
    """
    configured = asset or bed.asset()
    execution = execution or new_id()[:24]
    seen: list[str] = []

    def act(step: Step) -> Execution:
        if step.action == "core.ask":
            assert_asked(step)
            on_ask()
            status = "timeout" if answer is None else "succeeded"
            return Execution(status, {} if answer is None else {"response": dict(answer)})
        if human is not None and step.count == 1 and step.task.startswith(("await_", "wait")):
            human(bed, step.input["operation"])
        done = RUNNER.execute(
            step.action.removeprefix("holdfast."),
            step.input,
            asset=configured,
            execution_id=f"{execution}-{step.task}-{step.count}",
        )
        seen.append(str(done.result))
        assert_declared(step.action, done)
        return done

    ended = run_workflow(workflow, {"poll_count": 2, **inputs}, act, execution=execution)
    REACHED[workflow] |= set(ended.path)
    text = "\n".join([*seen, str(ended.output), str(ended.errors)])
    leaked = [name for name, secret in secrets_of(configured).items() if secret in text]
    assert leaked == []
    return ended


def assert_asked(step: Step) -> None:
    """The question is of the types that StackStorm's inquirer takes, and says what it is about."""
    (question,) = step.input["schema"]["properties"].values()
    assert isinstance(step.input["ttl"], int)
    assert isinstance(step.input["users"], list)
    assert "<%" not in question["description"]


def assert_declared(action: str, done: Execution) -> None:
    """StackStorm fails an execution whose output is not of the declared form: none here is such."""
    schema = metadata(action.removeprefix("holdfast."))["output_schema"]
    assert jsonschema_rs.validator_for(dict(schema)).is_valid(dict(done.inner)), action


def rogue(bed: SoarBed) -> dict[str, str]:
    """Return what is said of an agent that has made a call, so that there is something to replay."""
    agent = bed.fresh_agent()
    assert bed.verdict(agent) == ALLOWED
    return {"agent": agent, "reason": "exfiltration alert 4711"}


def guarded(bed: SoarBed) -> dict[str, str]:
    """Return what is said of an agent whose containment a second human must grant."""
    agent = bed.fresh_guarded()
    assert bed.verdict(agent) == ALLOWED
    return {"agent": agent, "reason": "exfiltration alert 4711"}


# -- contain a rogue agent --------------------------------------------------------------------------


def test_contained_and_kept(beds: Beds) -> None:
    """It holds, it is proved, its tokens are revoked, the evidence and the record are there."""
    said = rogue(beds.main)

    ended = play(beds.main, CONTAIN, said, answer={"decision": "keep"})

    assert (ended.status, ended.output["outcome"]) == ("succeeded", "KEPT"), ended
    assert ended.output["containment"] == "CONTAINED"
    assert ended.output["tokens"] == "REVOKED"
    assert ended.output["proof"] == "VERIFIED"
    assert len(ended.output["evidence_sha256"]) == 64
    assert ended.output["incident"].startswith("incidents/")
    assert beds.main.verdict(said["agent"]) == FROZEN


def test_nobody_answers_and_it_stays_contained(beds: Beds) -> None:
    """The time of the question ends: contained is what it stays."""
    said = rogue(beds.main)

    ended = play(beds.main, CONTAIN, said)

    assert (ended.status, ended.output["outcome"]) == ("succeeded", "KEPT_WITHOUT_ANSWER"), ended
    assert beds.main.verdict(said["agent"]) == FROZEN


def test_released_when_people_grant_it(beds: Beds) -> None:
    """The answer in StackStorm only asks for it; the grants in Holdfast release it."""
    said = rogue(beds.main)

    ended = play(beds.main, CONTAIN, said, answer={"decision": "release"}, human=grant)

    assert (ended.status, ended.output["outcome"]) == ("succeeded", "RELEASED"), ended
    assert ended.path[-5:-1] == ["release", "await_release", "release_answer", "verify_release"]
    assert beds.main.verdict(said["agent"]) == ALLOWED


def test_refused_release_leaves_it_contained(beds: Beds) -> None:
    """The workflow failed to release, says by whose no, and the agent is still held."""
    said = rogue(beds.main)

    ended = play(beds.main, CONTAIN, said, answer={"decision": "release"}, human=refuse)

    assert (ended.status, ended.output["outcome"]) == ("failed", "RELEASE_APPROVAL_REFUSED"), ended
    assert ended.path[-1] == "write_record"
    assert beds.main.verdict(said["agent"]) == FROZEN


def test_expired_release_leaves_it_contained(beds: Beds) -> None:
    """Nobody granted it in time."""
    said = rogue(beds.brief)

    ended = play(beds.brief, CONTAIN, said, answer={"decision": "release"}, human=let_expire)

    assert (ended.status, ended.output["outcome"]) == ("failed", "RELEASE_APPROVAL_EXPIRED"), ended
    assert beds.brief.verdict(said["agent"]) == FROZEN


def test_polls_are_bounded(beds: Beds) -> None:
    """It looks once and twice more, each after its delay, and then says that nobody decided."""
    said = rogue(beds.main)

    ended = play(beds.main, CONTAIN, {**said, "poll_seconds": 7}, answer={"decision": "release"})

    polls = [step for step in ended.steps if step.task == "await_release"]
    assert [step.delay for step in polls] == [None, 7, 7]
    assert (ended.status, ended.output["outcome"]) == ("failed", "RELEASE_NOBODY_DECIDED"), ended
    assert beds.main.verdict(said["agent"]) == FROZEN


def test_eradicated(beds: Beds) -> None:
    """It is killed, and the kill is proved."""
    said = rogue(beds.main)

    ended = play(beds.main, CONTAIN, said, answer={"decision": "eradicate"})

    assert (ended.status, ended.output["outcome"]) == ("succeeded", "ERADICATED"), ended
    assert beds.main.verdict(said["agent"]) == KILLED


def test_unknown_agent_ends_it_at_once(beds: Beds) -> None:
    """Nobody is contained by a name that nobody has."""
    said = {"agent": "no-such-agent", "reason": "alert"}

    ended = play(beds.main, CONTAIN, said)

    assert (ended.status, ended.output["outcome"]) == ("failed", "UNKNOWN_AGENT"), ended
    assert ended.path == ["look_up"]


def test_control_down_is_retried_and_said(beds: Beds) -> None:
    """What is only unreachable is tried again with the same key; then it is loud that it runs on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        address = f"127.0.0.1:{found.getsockname()[1]}"
    nowhere = replace(beds.main.asset(), endpoint=f"https://{address}", timeout_seconds="1")

    ended = play(beds.main, CONTAIN, {"agent": "alpha", "reason": "alert"}, asset=nowhere)

    tries = [step for step in ended.steps if step.task == "contain"]
    assert len(tries) == 4
    assert len({step.input["idempotency_key"] for step in tries}) == 1
    assert (ended.status, ended.output["outcome"]) == ("failed", "UNAVAILABLE"), ended
    assert ended.output["containment"] == "NOT_CONTAINED"
    assert ended.path == ["look_up", "contain", "not_contained"]


def test_protected_agent_granted_and_eradicated(beds: Beds) -> None:
    """Each order waits for a second human, and is given once."""
    said = guarded(beds.main)

    ended = play(beds.main, CONTAIN, said, answer={"decision": "eradicate"}, human=grant)

    assert (ended.status, ended.output["outcome"]) == ("succeeded", "ERADICATED"), ended
    assert ended.path[1:4] == ["contain", "await_containment", "contain_answer"]
    assert "eradicate_answer" in ended.path
    assert beds.main.verdict(said["agent"]) == KILLED
    assert len(beds.main.directives_on(said["agent"])) == 2


def test_protected_agent_refused_is_not_contained(beds: Beds) -> None:
    """A person's no ends it: an incident says that the agent runs on."""
    said = guarded(beds.main)

    ended = play(beds.main, CONTAIN, said, human=refuse)

    assert (ended.status, ended.output["outcome"]) == ("failed", "APPROVAL_REFUSED"), ended
    assert ended.path[-1] == "not_contained"
    assert ended.output["incident"].startswith("incidents/")
    assert beds.main.verdict(said["agent"]) == ALLOWED


def test_protected_agent_expired_is_not_contained(beds: Beds) -> None:
    """Nobody decided in time: nothing was done, and nobody is told otherwise."""
    said = guarded(beds.brief)

    ended = play(beds.brief, CONTAIN, said, human=let_expire)

    assert (ended.status, ended.output["outcome"]) == ("failed", "APPROVAL_EXPIRED"), ended
    assert beds.brief.verdict(said["agent"]) == ALLOWED


def test_protected_agent_undecided_is_not_contained(beds: Beds) -> None:
    """The polls end before anybody decides."""
    said = guarded(beds.main)

    ended = play(beds.main, CONTAIN, said)

    assert (ended.status, ended.output["outcome"]) == ("failed", "NOBODY_DECIDED"), ended
    assert beds.main.verdict(said["agent"]) == ALLOWED


@contextmanager
def hanging_gate(bed: SoarBed, agent: str) -> Iterator[Callable[[], None]]:
    """Give a gate that serves *agent*, and what stops it where it stands."""
    name = f"hanging-{agent}"
    gate = bed.launch_gate([agent], gate_id=name)
    bed.wait_gate(agent, gate_id=name)
    try:
        yield lambda: gate.signal(signal.SIGSTOP)
    finally:
        gate.signal(signal.SIGCONT)
        gate.stop()


def test_i03_partial_fleet_is_no_success(beds: Beds) -> None:
    """One gate hangs: everything else is done all the same, and the workflow has failed."""
    said = rogue(beds.fleet)

    with hanging_gate(beds.fleet, "epsilon") as hang:
        hang()
        ended = play(beds.fleet, CONTAIN, said, answer={"decision": "keep"})

    assert (ended.status, ended.output["containment"]) == ("failed", "PARTIAL"), ended
    assert ended.path[-1] == "write_record"
    assert beds.fleet.verdict(said["agent"]) == FROZEN


def test_i03_partial_eradication_is_no_success(beds: Beds) -> None:
    """The gate hangs between the two orders: the kill is not enforced everywhere."""
    said = rogue(beds.fleet)

    with hanging_gate(beds.fleet, "delta") as hang:
        ended = play(beds.fleet, CONTAIN, said, answer={"decision": "eradicate"}, on_ask=hang)

    assert ended.status == "failed", ended
    assert ended.output["outcome"].startswith("ERADICATED_PARTIAL")


def test_i01_run_again_orders_nothing_twice(beds: Beds) -> None:
    """The same workflow execution, run from its start again, has one directive."""
    said = rogue(beds.main)
    execution = new_id()[:24]

    outcomes = [
        play(beds.main, CONTAIN, said, answer={"decision": "keep"}, execution=execution)
        for _ in range(2)
    ]

    assert [ended.output["outcome"] for ended in outcomes] == ["KEPT", "KEPT"]
    assert outcomes[0].output["epoch"] == outcomes[1].output["epoch"]
    assert outcomes[0].output["incident"] == outcomes[1].output["incident"]
    assert len(beds.main.directives_on(said["agent"])) == 1


def test_i09_credential_that_may_only_contain(beds: Beds) -> None:
    """Containing works without any other permission; releasing does not, and neither does evidence."""
    said = rogue(beds.main)

    ended = play(
        beds.main,
        CONTAIN,
        said,
        answer={"decision": "release"},
        asset=beds.main.asset("soar-contain", "contain"),
    )

    assert (ended.status, ended.output["outcome"]) == ("failed", "RELEASE_PERMISSION_MISSING")
    assert ended.output["containment"] == "CONTAINED"
    assert ended.output["evidence_sha256"] == ""
    assert beds.main.verdict(said["agent"]) == FROZEN


# -- approve a held action --------------------------------------------------------------------------


RELEASED = iter(("alpha", "beta", "gamma", "delta"))


def held(bed: SoarBed) -> str:
    """Return the name of an operation that waits for people: the release of an agent."""
    inputs = {"agent": next(RELEASED), "level": "FREEZE", "reason": "alert"}
    order = RUNNER.execute("contain_agent", inputs, asset=bed.asset(), execution_id=new_id())
    epoch = order.inner["receipt"]["epoch"]
    asked = RUNNER.execute(
        "release_agent",
        {"epoch": epoch, "reason": "alert"},
        asset=bed.asset(),
        execution_id=new_id(),
    )
    return str(asked.inner["operation"]["name"])


@pytest.mark.parametrize(
    ("human", "state", "status"),
    [
        pytest.param(grant, "DONE", "succeeded", id="granted"),
        pytest.param(refuse, "REFUSED", "failed", id="refused"),
    ],
)
def test_held_action_is_decided(beds: Beds, human: Human, state: str, status: str) -> None:
    """Only a grant makes the workflow a success."""
    operation = held(beds.main)

    ended = play(beds.main, APPROVE, {"operation": operation}, answer={"seen": True}, human=human)

    assert (ended.status, ended.output["state"]) == (status, state), ended
    assert ended.path == ["look", "tell", "wait"]


def test_i03_held_action_in_part_is_no_success(beds: Beds) -> None:
    """It was granted, and a gate does not enforce it: neither a success nor something to ask again."""
    said = guarded(beds.fleet)
    asked = RUNNER.execute("contain_agent", said, asset=beds.fleet.asset(), execution_id=new_id())
    operation = asked.inner["operation"]["name"]

    with hanging_gate(beds.fleet, "gamma") as hang:
        hang()
        beds.fleet.decide(operation, "GRANT")
        ended = play(beds.fleet, APPROVE, {"operation": operation})

    assert (ended.status, ended.output["state"]) == ("failed", "PARTIAL"), ended
    assert beds.fleet.verdict(said["agent"]) == FROZEN


def test_held_action_expires(beds: Beds) -> None:
    """Nobody decides."""
    operation = held(beds.brief)

    ended = play(
        beds.brief, APPROVE, {"operation": operation}, answer={"seen": True}, human=let_expire
    )

    assert (ended.status, ended.output["state"]) == ("failed", "EXPIRED"), ended


def test_held_action_that_nobody_looked_at(beds: Beds) -> None:
    """Nobody answers StackStorm: it looks once more, and says that it waits still."""
    operation = held(beds.main)

    ended = play(beds.main, APPROVE, {"operation": operation})
    decided = beds.main.decide(operation, "REFUSE")
    again = play(beds.main, APPROVE, {"operation": operation})

    assert (ended.status, ended.output["state"]) == ("failed", "PENDING_APPROVAL"), ended
    assert ended.path == ["look", "tell", "look_again"]
    assert decided.name == operation
    assert (again.path, again.output["state"]) == (["look"], "REFUSED")


def test_operation_that_nobody_knows(beds: Beds) -> None:
    """A name of nothing fails, and asks nobody."""
    ended = play(beds.main, APPROVE, {"operation": f"operations/apr_{'0' * 32}"})

    assert (ended.status, ended.path) == ("failed", ["look"]), ended
    assert ended.output["state"] not in ("DONE", "UNKNOWN")


# -- containment drill ------------------------------------------------------------------------------


def test_drill_is_measured_and_released(beds: Beds) -> None:
    """Contained, proved, timed, released."""
    agent = rogue(beds.main)["agent"]

    ended = play(beds.main, DRILL, {"agent": agent}, answer={"release": True}, human=grant)

    assert (ended.status, ended.output["outcome"]) == ("succeeded", "RELEASED"), ended
    assert int(ended.output["ack_time_ns"]) > int(ended.output["call_time_ns"])
    assert beds.main.verdict(agent) == ALLOWED


def test_drill_that_nobody_ends_has_an_end_of_its_own(beds: Beds) -> None:
    """Nobody answers: the directive lapses at its time."""
    agent = rogue(beds.main)["agent"]

    ended = play(beds.main, DRILL, {"agent": agent})

    assert (ended.status, ended.output["outcome"]) == ("succeeded", "LAPSES_BY_ITSELF"), ended
    assert beds.main.directives_on(agent)[0].HasField("expire_time")


def test_drill_whose_release_is_refused(beds: Beds) -> None:
    """It has failed, and the agent is held until its time."""
    agent = rogue(beds.main)["agent"]

    ended = play(beds.main, DRILL, {"agent": agent}, answer={"release": True}, human=refuse)
    again = play(beds.main, DRILL, {"agent": agent})

    assert (ended.status, ended.output["outcome"]) == ("failed", "RELEASE_APPROVAL_REFUSED"), ended
    assert (again.status, again.output["outcome"]) == ("failed", "ALREADY_HELD"), again


def test_drill_of_a_protected_agent(beds: Beds) -> None:
    """A second human grants the drill as well."""
    agent = guarded(beds.main)["agent"]

    ended = play(beds.main, DRILL, {"agent": agent}, human=grant)

    assert (ended.status, ended.output["outcome"]) == ("succeeded", "LAPSES_BY_ITSELF"), ended
    assert ended.path[1:4] == ["contain", "await_containment", "contain_answer"]


# -- and the whole ----------------------------------------------------------------------------------


@pytest.mark.parametrize("workflow", sorted(REACHED))
def test_every_task_was_reached(workflow: str, request: pytest.FixtureRequest) -> None:
    """No branch of a workflow is left that nothing above has taken."""
    here = [item for item in request.session.items if item.module is request.module]
    written = [name for name in globals() if name.startswith("test_")]
    if len({item.function for item in here}) < len(written) or not REACHED[workflow]:  # type: ignore[attr-defined]
        pytest.skip("not all the tests of this file ran")
    path = pack() / "actions" / "workflows" / f"{workflow}.yaml"
    tasks = yaml.safe_load(path.read_text(encoding="utf-8"))["tasks"]
    calls = {name for name, task in tasks.items() if task["action"] != "core.noop"}

    missing = calls - REACHED[workflow]

    assert missing == set()

# SPDX-License-Identifier: Apache-2.0
"""The pack's playbooks, walked against a live control: real commands, gates and decisions."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from soar_actions.platforms.xsoar.flow import Playbook, playbook
from soar_actions.platforms.xsoar.integration import FROM_VERSION, integration
from soar_actions.platforms.xsoar.playbooks import APPROVE, CONTAIN, DRILL
from tests.soar.host import SoarBed
from tests.soar.runners.xsoar import Entry, Server, params_of
from tests.soar.venvs import python_of
from tests.soar.xsoar_engine import Walk
from tests.support.polling import eventually_sync

if TYPE_CHECKING:
    from tests.soar.runners.base import Asset
    from tests.support.certificates import Authority
    from tests.support.processes import Zygote

KEEP = {"Release it, eradicate it, or keep it contained?": "Keep contained"}
RELEASE = {"Release it, eradicate it, or keep it contained?": "Release"}
KILL = {"Release it, eradicate it, or keep it contained?": "Eradicate"}
START = {"Start the drill?": "Start"}
SEEN = {"Decide it in Holdfast": "I have decided it in Holdfast"}

DECLARED = {
    command["name"]: {argument["name"] for argument in command["arguments"]}
    for command in integration()["script"]["commands"]
}
Human = Callable[[SoarBed, str], None]


@pytest.fixture(scope="module")
def python() -> Path:
    """The platform's interpreter; without it nothing is run, and nothing passes."""
    found = python_of("xsoar")
    if isinstance(found, str):
        pytest.skip(f"not run: {found}")
    return found


@pytest.fixture(scope="module")
def bed(zygote: Zygote, authority: Authority, python: Path) -> Iterator[SoarBed]:
    """A control with protected agents, whose containment a second human must grant."""
    made = SoarBed(zygote, authority, guarded=14, spare_agents=30)
    try:
        yield made.begin()
    finally:
        made.close()


@pytest.fixture(scope="module")
def server(python: Path) -> Iterator[Server]:
    """The platform's server."""
    made = Server(python)
    yield made
    made.close()


def grant(bed: SoarBed, operation: str) -> None:
    """A human grants it."""
    bed.decide(operation, "GRANT")


def refuse(bed: SoarBed, operation: str) -> None:
    """A human refuses it."""
    bed.decide(operation, "REFUSE")


def let_expire(bed: SoarBed, operation: str) -> None:
    """Nobody decides, for as long as it takes."""
    wait = timedelta(seconds=10)
    eventually_sync(lambda: bed.operation(operation, wait=wait).end_time.seconds > 0, 45)


def walk(
    server: Server,
    bed: SoarBed,
    definition: Playbook,
    inputs: Mapping[str, str],
    *,
    answers: Mapping[str, str] | None = None,
    human: Human | None = None,
    asset: Asset | None = None,
    incident: str = "",
) -> Walk:
    """Walk *definition*; *human* decides what waits in Holdfast, nobody: the polling times out."""
    params = params_of(asset or bed.asset())
    number = incident or f"{definition.name}-{'-'.join(inputs.values())}"
    server.context.clear()
    server.native.clear()

    def command(name: str, arguments: Mapping[str, str], task: str) -> bool:
        entries = server.run(name, arguments, params, incident=number, task=task)
        while (due := _due(entries)) is not None:
            assert set(due.PollingArgs) <= DECLARED[due.PollingCommand], "the server knows no other"
            if human is None:
                return False  # the server's own limit on polling
            for operation in due.PollingArgs["polled_operation"].split(","):
                human(bed, operation)
            entries = server.run(
                due.PollingCommand, due.PollingArgs, params, incident=number, task=task
            )
        return not any(entry.kind == 4 for entry in entries)

    made = Walk(
        playbook(definition, from_version=FROM_VERSION),
        inputs,
        server.context,
        command,
        answers or {},
    )
    made.run()
    return made


def _due(entries: list[Entry]) -> Entry | None:
    return next((entry for entry in entries if entry.PollingCommand), None)


def is_denied(bed: SoarBed, agent: str) -> bool:
    """Whether the gate denies a harmless call of *agent*."""
    return bed.verdict(agent).startswith("DENY")


def fresh(bed: SoarBed) -> str:
    """Return an agent that has made a call, so that there is something to verify."""
    agent = bed.fresh_agent()
    assert not is_denied(bed, agent)
    return agent


def test_contained_and_kept(bed: SoarBed, server: Server) -> None:
    """Contain, revoke, collect, record, verify: the agent stays frozen and the proof is there."""
    agent = fresh(bed)

    walked = walk(server, bed, CONTAIN, {"Agent": agent}, answers=KEEP)

    holdfast = server.context["Holdfast"]
    assert walked.names[-1] == "Done"
    assert is_denied(bed, agent)
    assert holdfast["VerifyContainment"]["contained"] is True
    assert holdfast["OpenIncident"]["incident"]["agent"] == agent
    assert holdfast["UpdateIncident"]["status"] == "SUCCESS"
    assert holdfast["ExportEvidence"]["count"] > 0
    assert "evidence" not in holdfast["ExportEvidence"]
    assert walked.names.count("Export the evidence by hand") == 0


def test_released_when_a_human_grants_it(bed: SoarBed, server: Server) -> None:
    """The answer to the ask only requests it; the grant in Holdfast releases it."""
    agent = fresh(bed)

    walked = walk(server, bed, CONTAIN, {"Agent": agent}, answers=RELEASE, human=grant)

    assert "How does it stand now?" in walked.names
    assert server.context["Holdfast"]["ReleaseAgent"]["status"] == "SUCCESS"
    assert not is_denied(bed, agent)


def test_release_refused_stays_contained(bed: SoarBed, server: Server) -> None:
    """The platform's user says release, the human in Holdfast says no: it stays contained."""
    agent = fresh(bed)

    walked = walk(server, bed, CONTAIN, {"Agent": agent}, answers=RELEASE, human=refuse)

    assert "It stays contained" in walked.names
    assert is_denied(bed, agent)


def test_release_that_nobody_decides_stays_contained(bed: SoarBed, server: Server) -> None:
    """The platform stops polling; nothing is released."""
    agent = fresh(bed)

    walked = walk(server, bed, CONTAIN, {"Agent": agent}, answers=RELEASE)

    assert "Something still holds it" in walked.names
    assert is_denied(bed, agent)


def test_eradicated(bed: SoarBed, server: Server) -> None:
    """Eradicate raises the level to KILL, as a second directive."""
    agent = fresh(bed)

    walked = walk(server, bed, CONTAIN, {"Agent": agent}, answers=KILL)

    levels = {one["level"] for one in server.context["Holdfast"]["GetAgent"].get("directives", [])}
    assert walked.names[-1] == "Done"
    assert "It is not killed everywhere" not in walked.names
    assert len(bed.directives_on(agent)) == 2, levels


def test_protected_agent_refused(bed: SoarBed, server: Server) -> None:
    """A human refuses the containment: nothing is held, and the playbook ends at a human."""
    agent = bed.fresh_guarded()

    walked = walk(server, bed, CONTAIN, {"Agent": agent}, human=refuse)

    assert "A human refused the containment" in walked.names
    assert walked.names[-1] == "Ended with work for humans"
    assert "only-approve" in "\n".join(server.native)
    assert bed.directives_on(agent) == []


def test_protected_agent_granted(bed: SoarBed, server: Server) -> None:
    """The command comes back by itself once the human has granted it, and the order is given once."""
    agent = bed.fresh_guarded()

    walked = walk(server, bed, CONTAIN, {"Agent": agent}, human=grant, answers=KEEP)

    assert "Revoke its tokens" in walked.names
    assert server.context["Holdfast"]["ContainAgent"]["receipt"]["durable"] is True
    assert len(bed.directives_on(agent)) == 1
    assert [one["state"] for one in server.context["Holdfast"]["Operation"]] == ["DONE"]


def test_protected_agent_undecided_is_not_shown_as_contained(bed: SoarBed, server: Server) -> None:
    """The platform gives up polling before anybody decides: nothing is recorded as done."""
    agent = bed.fresh_guarded()

    walked = walk(server, bed, CONTAIN, {"Agent": agent})

    assert "Contain it by hand" in walked.names
    assert bed.directives_on(agent) == []


def test_expired_is_asked_again_only_by_a_human(
    zygote: Zygote, authority: Authority, server: Server, python: Path
) -> None:
    """Nobody decides in time: the expired request stays expired, and asking again is another one."""
    bed = SoarBed(zygote, authority, guarded=1, expiry="30s")
    humans = iter((let_expire, grant))
    try:
        bed.begin()
        agent = bed.fresh_guarded()
        walked = walk(
            server,
            bed,
            CONTAIN,
            {"Agent": agent},
            human=lambda at, operation: next(humans)(at, operation),
            answers={**KEEP, "Nobody decided in time. Ask again?": "Ask again"},
        )
    finally:
        bed.close()

    states = [one["state"] for one in server.context["Holdfast"]["Operation"]]
    assert "Contain the agent: ask again" in walked.names
    assert states == ["EXPIRED", "DONE"]


def test_partial_stops_at_a_human(
    zygote: Zygote, authority: Authority, server: Server, python: Path
) -> None:
    """A gate that does not acknowledge makes the order PARTIAL, and somebody is told to isolate it."""
    bed = SoarBed(zygote, authority, spare_agents=2)
    try:
        bed.begin(bed.spare)
        lagging = bed.launch_gate(["zeta"], gate_id="lagging")
        bed.wait_gate("zeta", gate_id="lagging")
        lagging.signal(signal.SIGSTOP)
        agent = fresh(bed)
        walked = walk(server, bed, CONTAIN, {"Agent": agent}, answers=KEEP)
    finally:
        bed.close()

    assert "Isolate what does not enforce it" in walked.names
    assert "Holdfast contain agent: PARTIAL" in "\n".join(server.native)
    assert "lagging" in "\n".join(server.native)


def test_partial_kill_stops_at_a_human(
    zygote: Zygote, authority: Authority, server: Server, python: Path
) -> None:
    """A KILL that a gate does not enforce is not taken for one that every gate does."""
    bed = SoarBed(zygote, authority, spare_agents=2)
    try:
        bed.begin(bed.spare)
        lagging = bed.launch_gate(["zeta"], gate_id="lagging")
        bed.wait_gate("zeta", gate_id="lagging")
        lagging.signal(signal.SIGSTOP)
        walked = walk(server, bed, CONTAIN, {"Agent": fresh(bed)}, answers=KILL)
    finally:
        bed.close()

    assert server.context["Holdfast"]["ContainAgent"]["status"] == "PARTIAL"
    assert "It is not killed everywhere" in walked.names


def test_unknown_agent_ends_at_a_human(bed: SoarBed, server: Server) -> None:
    """Nothing is ordered for a name that nobody has."""
    walked = walk(server, bed, CONTAIN, {"Agent": "no-such-agent"})

    assert walked.names[-2:] == ["Find out who the agent is", "Ended with work for humans"]


def test_token_without_the_permission_ends_at_a_human(bed: SoarBed, server: Server) -> None:
    """A token that may only read contains nobody, and the playbook says by hand."""
    agent = fresh(bed)

    walked = walk(server, bed, CONTAIN, {"Agent": agent}, asset=bed.asset("soar-all", "audit-read"))

    assert walked.names[-1] == "Ended with work for humans"
    assert bed.directives_on(agent) == []


@pytest.mark.parametrize(
    ("human", "last"),
    [
        pytest.param(grant, "Done", id="granted"),
        pytest.param(refuse, "Done", id="refused"),
        pytest.param(None, "Done", id="nobody"),
    ],
)
def test_approve_a_held_action(
    bed: SoarBed, server: Server, human: Human | None, last: str
) -> None:
    """The people who may decide are told; the playbook goes on by what they decided in Holdfast."""
    agent = fresh(bed)
    params = params_of(bed.asset())
    contained = server.run(
        "holdfast-agent-contain",
        {"agent": agent, "reason": "a test"},
        params,
        incident=f"held-{agent}",
        task="1",
    )
    held = server.run(
        "holdfast-agent-release",
        {"agent": agent, "reason": "a test", "wait_for_decision": "false"},
        params,
        incident=f"held-{agent}",
        task="2",
    )
    operation = held[0].raw["Contents"]["operation"]["name"]

    walked = walk(server, bed, APPROVE, {"Operation": operation}, human=human, answers=SEEN)

    expected: dict[Human | None, str] = {
        grant: "Is it enforced everywhere?",
        refuse: "It was refused",
        None: "It could not",
    }
    assert contained[0].kind == 1
    assert walked.names[-1] == last
    assert any(name.startswith(expected[human]) for name in walked.names), walked.names
    assert is_denied(bed, agent) == (human is not grant)


def test_drill(bed: SoarBed, server: Server) -> None:
    """The drill freezes, proves it, is let go by a human, and leaves a sound log."""
    agent = fresh(bed)

    walked = walk(server, bed, DRILL, {"Agent": agent}, answers=START, human=grant)

    assert "The drill could not be done" not in walked.names
    assert server.context["Holdfast"]["VerifyContainment"]["status"] == "SUCCESS"
    assert server.context["Holdfast"]["VerifyAuditLog"]["status"] == "SUCCESS"
    assert not is_denied(bed, agent)


def test_drill_whose_release_is_refused_lapses(bed: SoarBed, server: Server) -> None:
    """Nobody is stuck: the containment of a drill has an end of its own."""
    agent = fresh(bed)

    walked = walk(server, bed, DRILL, {"Agent": agent}, answers=START, human=refuse)

    (directive,) = bed.directives_on(agent)
    assert "It is not released yet" in walked.names
    assert directive.expire_time.seconds > 0


def test_drill_is_not_started_without_a_word(bed: SoarBed, server: Server) -> None:
    """No answer: nothing is frozen."""
    agent = fresh(bed)

    walk(server, bed, DRILL, {"Agent": agent})

    assert bed.directives_on(agent) == []


def test_secrets_are_nowhere_on_the_platform(bed: SoarBed, server: Server) -> None:
    """Neither the token nor the client's key is in an entry, a log, an error, a file or the context."""
    token = bed.asset().api_token
    both = replace(bed.certificate_asset(), api_token=token)
    key_line = next(line for line in both.client_key.splitlines() if "-----" not in line)
    agent = fresh(bed)
    walk(server, bed, CONTAIN, {"Agent": agent}, answers=RELEASE, human=refuse, asset=both)
    down = replace(both, endpoint="https://127.0.0.1:1", timeout_seconds="1")
    server.run("test-module", {}, params_of(down))
    server.run("test-module", {}, params_of(replace(both, client_key="nonsense " + key_line)))
    server.run("test-module", {}, params_of(replace(both, api_token=token + "x")))
    native = "\n".join([*server.native, str(server.context)])

    assert agent in native
    assert [secret for secret in (token, token[-20:], key_line) if secret in native] == []


def test_secrets_are_nowhere_on_the_platform_negative_control(bed: SoarBed, server: Server) -> None:
    """The same search finds a word that the platform was given openly."""
    agent, word = fresh(bed), "canary-5f0c2e"
    server.native.clear()

    server.run(
        "holdfast-agent-contain", {"agent": agent, "reason": word}, params_of(bed.asset()), task="9"
    )

    assert word in "\n".join(server.native)


@pytest.mark.parametrize(
    ("human", "status"),
    [
        pytest.param((grant, grant), "SUCCESS", id="all-granted"),
        pytest.param((grant, refuse), "PARTIAL", id="one-refused"),
        pytest.param((refuse, refuse), "PARTIAL", id="all-that-wait-refused"),
    ],
)
def test_i03_several_agents_are_each_told(
    bed: SoarBed, server: Server, human: tuple[Human, Human], status: str
) -> None:
    """One command, three agents, two of which humans decide: a list with each one's own outcome."""
    free, first, second = fresh(bed), bed.fresh_guarded(), bed.fresh_guarded()
    arguments: Mapping[str, Any] = {"agents": [free, first, second], "reason": "a test"}
    params = params_of(bed.asset())

    entries = server.run("holdfast-agents-contain", arguments, params, incident=first, task="1")
    due = _due(entries)
    assert due is not None
    waiting = due.PollingArgs["polled_operation"].split(",")
    human[0](bed, waiting[0])
    half = _due(server.run(due.PollingCommand, due.PollingArgs, params, incident=first, task="1"))
    assert half is not None, "one still waits"
    human[1](bed, waiting[1])
    (done,) = server.run(half.PollingCommand, half.PollingArgs, params, incident=first, task="1")

    targets = {one["agent"]: one for one in done.raw["Contents"]["targets"]}
    kinds = {"SUCCESS": 1, "PARTIAL": 11}
    assert (done.raw["Contents"]["status"], done.kind) == (status, kinds[status])
    assert targets[free]["status"] == "SUCCESS"
    for agent, decided in ((first, human[0]), (second, human[1])):
        assert targets[agent]["status"] == ("SUCCESS" if decided is grant else "FAILED")
        assert targets[agent]["reason"] == ("" if decided is grant else "APPROVAL_REFUSED")
        assert is_denied(bed, agent) is (decided is grant)


def test_release_of_two_directives_waits_for_both(bed: SoarBed, server: Server) -> None:
    """An agent that two directives hold is free when humans have granted both releases."""
    agent, params = fresh(bed), params_of(bed.asset())
    for level in ("FREEZE", "KILL"):
        server.run(
            "holdfast-agent-contain",
            {"agent": agent, "level": level, "reason": "a test"},
            params,
            incident=agent,
            task=level,
        )
    entries = server.run(
        "holdfast-agent-release", {"agent": agent, "reason": "x"}, params, incident=agent, task="3"
    )
    due = _due(entries)
    assert due is not None
    for operation in due.PollingArgs["polled_operation"].split(","):
        assert is_denied(bed, agent)
        grant(bed, operation)
    (done,) = server.run(due.PollingCommand, due.PollingArgs, params, incident=agent, task="3")

    assert done.raw["Contents"]["status"] == "SUCCESS"
    assert [one["status"] for one in done.raw["Contents"]["releases"]] == ["SUCCESS", "SUCCESS"]
    assert not is_denied(bed, agent)


READING = ("agents-list", "directives-list", "revocations-list", "approvals-list", "audit-search")
OF_AN_AGENT = ("agent-get", "agent-timeline-get", "blast-radius-get", "evidence-export")


@pytest.mark.parametrize("name", [*READING, "audit-log-verify", *OF_AN_AGENT])
def test_every_reading_command_answers(bed: SoarBed, server: Server, name: str) -> None:
    """Each puts its result where its declaration says, and lets nobody's words be extracted."""
    agent = bed.spare[0]
    arguments = {"agent": agent} if name in OF_AN_AGENT else {}
    server.context.clear()

    entries = server.run(f"holdfast-{name}", arguments, params_of(bed.asset()))

    *noun, verb = name.split("-")
    place = "".join(word.capitalize() for word in (verb, *noun))
    assert server.context["Holdfast"][place]["status"] in ("SUCCESS", "PARTIAL")
    assert all(entry.IgnoreAutoExtract for entry in entries if entry.kind != 9)


def test_evidence_is_a_file_with_the_stated_hash(bed: SoarBed, server: Server) -> None:
    """The War Room gets the file; its SHA-256 is the one that the result names."""
    agent = fresh(bed)
    server.native.clear()

    entries = server.run("holdfast-evidence-export", {"agent": agent}, params_of(bed.asset()))

    files = json.loads(server.native[-1])["files"]
    (content,) = files.values()
    stated = server.context["Holdfast"]["ExportEvidence"]
    assert hashlib.sha256(content.encode()).hexdigest() == stated["sha256"]
    assert [entry.File for entry in entries if entry.kind == 9] == [stated["file"]]

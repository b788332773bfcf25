# SPDX-License-Identifier: Apache-2.0
"""The CACAO playbooks: of the standard's form, and walked through every branch against a live host.

The form is checked with a JSON schema of ours for the part of CACAO 2.0 that is used. The walking is
done by an interpreter of ours (``cacao_walker``): no CACAO executor is run here.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from sidecar.cli.contain import contain
from soar_actions.catalogue import ACTIONS
from soar_actions.handlers.held import HAS_ENDED, IS_WAITING
from soar_actions.platforms.cacao import WAIVERS
from soar_actions.platforms.cacao.playbooks import playbooks
from soar_actions.platforms.cacao.requests import request_of
from tests.soar.cacao_walker import Human, Walk, holds
from tests.soar.host import EVERYTHING, SoarBed, waiting
from tests.support.certificates import Authority
from tests.support.processes import Zygote

ALLOWED = "ALLOW POLICY_ALLOW"
KILLED = "DENY KILLED"
ARTEFACT = Path(__file__).resolve().parents[2] / "soar_actions/platforms/cacao/artefact"
BOOKS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(ARTEFACT.glob("*.json"))
}
CONTAIN, APPROVE, DRILL = "contain-a-rogue-agent", "approve-a-held-action", "containment-drill"
SCHEMA = json.loads((Path(__file__).parent / "cacao_subset.schema.json").read_text())


# -- of the right form ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOOKS)
def test_playbook_is_of_the_form_of_cacao(name: str) -> None:
    """Every object has what it must have and nothing else; every reference leads somewhere."""
    book = BOOKS[name]
    known = {
        *book["workflow"],
        *book["agent_definitions"],
        *book["target_definitions"],
        *book["extension_definitions"],
        *book["authentication_info_definitions"],
    }

    errors = list(jsonschema_rs.validator_for(SCHEMA).iter_errors(book))

    assert [error.message for error in errors] == []
    for step in book["workflow"].values():
        leads = [step[key] for key in step if key.startswith("on_")]
        leads += [step["agent"]] if "agent" in step else []
        leads += [*step.get("targets", ()), *step.get("step_extensions", ())]
        assert set(leads) <= known
        assert set(step.get("out_args", ())) <= set(book["playbook_variables"])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda book: book.pop("spec_version"),
        lambda book: book.update(created="2026-01-01T00:00:00Z"),
        lambda book: book["workflow"].update({"action--1": {"type": "action"}}),
        lambda book: [step.pop("agent", None) for step in book["workflow"].values()],
        lambda book: [step.pop("on_failure", None) for step in book["workflow"].values()],
        lambda book: next(iter(book["target_definitions"].values()))["address"].update(
            url=["http://holdfast.example.com:7445"]
        ),
        lambda book: next(iter(book["target_definitions"].values()))["address"].update(
            url=["https://holdfast.example.com"]
        ),
    ],
    ids=[
        "no version",
        "no milliseconds",
        "a bad id",
        "no agent",
        "no way on",
        "plain http",
        "no port",
    ],
)
def test_playbook_that_is_broken_is_seen_negative_control(spoil: Callable[[Any], object]) -> None:
    """The schema is not one that takes everything."""
    book = json.loads(json.dumps(BOOKS[CONTAIN]))
    spoil(book)

    assert not jsonschema_rs.validator_for(SCHEMA).is_valid(book)


def test_every_action_is_used_or_waived() -> None:
    """Parity: a playbook uses the action, or the waiver says why none does."""
    used = {
        step["description"].rpartition(": ")[2].rstrip(".")
        for book in BOOKS.values()
        for step in book["workflow"].values()
        if step.get("commands", [{}])[0].get("type") == "http-api"
    }

    assert used | set(WAIVERS) == set(ACTIONS)
    assert used & set(WAIVERS) == set()


def test_playbooks_are_the_same_every_time() -> None:
    """Identifiers come from names: a new build is no new version."""
    first, second = ([book.as_data() for book in playbooks()] for _ in range(2))

    assert first == second
    assert {book["id"] for book in first} == {book["id"] for book in BOOKS.values()}


@pytest.mark.parametrize("variable", ["__alert_text__", "__decision__", "__api_token__"])
def test_text_of_an_alert_cannot_stand_in_a_request(variable: str) -> None:
    """Only names, numbers and ids are put into JSON as they are."""
    with pytest.raises(ValueError, match="may not stand"):
        request_of("contain-agent", {"agent": "a", "reason": f"{variable}:value"})


@pytest.mark.parametrize("name", BOOKS)
def test_playbook_waits_until_an_operation_has_ended(name: str) -> None:
    """Granted and being carried out is no end: what comes next would take it for refused."""
    loops = [step for step in BOOKS[name]["workflow"].values() if step["type"] == "while-condition"]

    assert loops
    for loop in loops:
        waits = {
            state
            for state in (*IS_WAITING, *HAS_ENDED)
            if any(
                holds(one, {"__state__": f"STATE_{state}"})
                for one in loop["condition"].split(" OR ")
            )
        }
        assert waits == IS_WAITING


def test_emergency_commands_are_ones_that_holdfast_takes() -> None:
    """What a person is told to type when control is down is not refused for its form."""
    text = json.dumps(BOOKS)
    commands = set(re.findall(r"holdfast (contain [^.;,\"]*--local)", text))

    assert commands
    for command in commands:
        with contain.make_context("holdfast", shlex.split(command)[1:]) as context:
            assert context.params["target"] == ("agent", "AGENT")


@pytest.mark.parametrize("name", BOOKS)
def test_no_playbook_decides(name: str) -> None:
    """Whoever steals a playbook's token cannot approve with it, and no playbook tries to."""
    text = json.dumps(BOOKS[name])

    assert "DecideApproval" not in text
    assert "hfat_" not in text


# -- walked ---------------------------------------------------------------------------------------


@dataclass
class Stage:
    """The hosts that playbooks are walked on."""

    main: SoarBed
    brief: SoarBed
    fleet: SoarBed

    def walk(self, case: Case) -> tuple[Walk, str]:
        """Walk *case* to its end; return the walk and the agent that it was about."""
        bed: SoarBed = getattr(self, case.host)
        agent = bed.fresh_guarded() if case.is_guarded else bed.fresh_agent()
        bed_asset = bed.asset("soar-all", *case.permissions)
        called = (
            bed_asset if case.is_reachable else replace(bed_asset, endpoint="https://127.0.0.1:9")
        )
        if case.has_calls:
            waiting(_tool_calls(bed, agent))
        variables = {"__run__": str(uuid.uuid4())}
        if case.book != APPROVE:
            variables["__agent__"] = agent
        elif "__operation__" not in case.variables:
            variables["__operation__"] = _held(bed, agent, case.decided)
        variables |= case.variables
        walk = Walk(
            book=BOOKS[case.book],
            asset=called,
            variables=variables,
            humans={name: human(bed) for name, human in case.humans.items()},
            lost=case.lost,
        )
        return walk, agent


@pytest.fixture(scope="module")
def stage(zygote: Zygote, authority: Authority) -> Iterator[Stage]:
    with ExitStack() as stack:

        def bed(**options: Any) -> SoarBed:
            made = SoarBed(zygote, authority, **options)
            stack.callback(made.close)
            return made

        fleet = bed(spare_agents=4)
        fleet.begin(fleet.spare)
        lagging = fleet.launch_gate(["zeta"], gate_id="lagging")
        fleet.wait_gate("zeta", gate_id="lagging")
        lagging.signal(signal.SIGSTOP)
        yield Stage(
            main=bed(spare_agents=30, guarded=12).begin(),
            brief=bed(spare_agents=4, guarded=4, expiry="30s").begin(),
            fleet=fleet,
        )


async def _tool_calls(bed: SoarBed, agent: str) -> None:
    async with bed.agent(agent) as client:
        for _ in range(2):
            await client.ask()


def _held(bed: SoarBed, agent: str, decided: str) -> str:
    """Ask for a containment that waits, let humans decide it if *decided* says how; return it."""

    async def ask(client: Any) -> str:
        return str((await client.contain(agent)).operation.name)

    name = bed.ask("soar-all", ask)
    if decided:
        bed.decide(name, decided)
    return name


def deciding(verdict: str) -> Callable[[SoarBed], Human]:
    """Return what a human does who decides the operation that the playbook waits for."""

    def on(bed: SoarBed) -> Human:
        def decide(variables: dict[str, str]) -> None:
            bed.decide(variables["__operation__"], verdict)

        return decide

    return on


def saying(decision: str) -> Callable[[SoarBed], Human]:
    """Return what an analyst does who sets __decision__."""
    return lambda bed: lambda variables: {"__decision__": decision}


@dataclass(frozen=True)
class Case:
    """One way through a playbook: how it is provoked, where it ends, what it must come by."""

    book: str
    name: str
    end: str
    visits: tuple[str, ...] = ()
    host: str = "main"
    is_guarded: bool = False
    has_calls: bool = True
    is_reachable: bool = True
    permissions: tuple[str, ...] = EVERYTHING
    humans: Mapping[str, Callable[[SoarBed], Human]] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    decided: str = ""
    verdict: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


_ERADICATE = {"release or eradicate?": saying("eradicate")}
_RELEASE = {"release or eradicate?": saying("release")}
CASES = (
    Case(
        CONTAIN,
        "eradicated",
        "eradicated",
        (
            "look at the agent",
            "estimate the blast radius",
            "contain it",
            "does it wait for a human?",
            "does every gate enforce it?",
            "does it last?",
            "revoke its tokens",
            "export the evidence",
            "open an incident",
            "release or eradicate?",
            "what was decided?",
            "replay its calls",
            "are all calls denied?",
            "close the incident of a killed agent",
        ),
        humans=_ERADICATE,
        verdict=KILLED,
    ),
    Case(
        CONTAIN,
        "released",
        "released",
        (
            "ask for the release",
            "wait for the release",
            "wait for the release: look",
            "wait for the release: looked",
            "was the release granted?",
            "look at it again",
            "close the incident of a released agent",
            "over",
        ),
        humans=_RELEASE | {"wait for the release: look": deciding("GRANT")},
        verdict=ALLOWED,
    ),
    Case(
        CONTAIN,
        "release refused",
        "eradicated",
        ("it stays contained",),
        humans=_RELEASE | {"wait for the release: look": deciding("REFUSE")},
        verdict=KILLED,
    ),
    Case(
        CONTAIN,
        "release not permitted",
        "eradicated",
        ("evidence is missing", "it stays contained"),
        permissions=("contain",),
        humans=_RELEASE,
        verdict=KILLED,
    ),
    Case(
        CONTAIN,
        "protected and granted",
        "eradicated",
        (
            "call the approvers",
            "wait for the containment",
            "wait for the containment: look",
            "wait for the containment: looked",
            "was it granted?",
            "read what was done",
        ),
        is_guarded=True,
        humans=_ERADICATE | {"call the approvers": deciding("GRANT")},
        verdict=KILLED,
    ),
    Case(
        CONTAIN,
        "protected and refused",
        "not contained",
        ("was it refused?", "containment refused"),
        is_guarded=True,
        humans={"call the approvers": deciding("REFUSE")},
        verdict=ALLOWED,
    ),
    Case(
        CONTAIN,
        "partial fleet",
        "not contained for sure",
        ("it is not whole", "not verified"),
        host="fleet",
        humans=_ERADICATE,
        lost=("replay its calls",),
        verdict=KILLED,
    ),
    Case(
        CONTAIN,
        "no such agent",
        "nothing was done",
        ("no such agent",),
        variables={"__agent__": "nobody-of-this-name"},
    ),
    Case(CONTAIN, "control down", "nothing was done", ("no such agent",), is_reachable=False),
    Case(
        CONTAIN,
        "control goes away before the order",
        "not contained",
        ("containment failed",),
        lost=("contain it",),
        verdict=ALLOWED,
    ),
    Case(
        CONTAIN,
        "everything after the order fails",
        "over by hand",
        ("tokens stand", "evidence is missing", "no incident", "close it by hand"),
        humans=_ERADICATE,
        lost=(
            "revoke its tokens",
            "export the evidence",
            "open an incident",
            "close the incident of a killed agent",
        ),
        verdict=KILLED,
    ),
    Case(
        APPROVE,
        "granted",
        "granted",
        (
            "what waits?",
            "does it wait?",
            "what is asked?",
            "bring it to a human",
            "wait for the decision",
            "wait for the decision: look",
            "wait for the decision: looked",
            "read the decision",
            "how did it end?",
        ),
        is_guarded=True,
        humans={"wait for the decision: look": deciding("GRANT")},
        verdict=KILLED,
    ),
    Case(
        APPROVE,
        "refused",
        "refused",
        ("was it refused?", "tell the requester"),
        is_guarded=True,
        humans={"bring it to a human": deciding("REFUSE")},
        verdict=ALLOWED,
    ),
    Case(
        APPROVE,
        "decided before",
        "granted",
        ("how did it end?", "over"),
        is_guarded=True,
        decided="GRANT",
        verdict=KILLED,
    ),
    Case(
        APPROVE,
        "no such operation",
        "nothing is known",
        ("no such operation",),
        variables={"__operation__": f"operations/apr_{'0' * 32}"},
    ),
    Case(
        DRILL,
        "passed",
        "passed",
        (
            "is control there?",
            "kill the agent of the drill",
            "does it wait for a human?",
            "does every gate enforce it?",
            "replay its calls",
            "are all calls denied?",
            "ask for the release",
            "call the approvers",
            "wait for the release",
            "wait for the release: look",
            "wait for the release: looked",
            "was it granted?",
            "verify the logs",
            "are the logs whole?",
            "over",
        ),
        humans={"wait for the release: look": deciding("GRANT")},
        verdict=ALLOWED,
    ),
    Case(
        DRILL,
        "release refused",
        "passed",
        ("it lapses by itself",),
        humans={"call the approvers": deciding("REFUSE")},
        verdict=KILLED,
    ),
    Case(
        DRILL,
        "a protected agent",
        "no drill",
        ("choose another agent",),
        is_guarded=True,
        verdict=ALLOWED,
    ),
    Case(
        DRILL,
        "partial fleet",
        "passed",
        ("some gate lags", "containment does not hold"),
        host="fleet",
        lost=("replay its calls",),
        humans={"call the approvers": deciding("GRANT")},
        verdict=ALLOWED,
    ),
    Case(DRILL, "control down", "drill failed", ("the drill failed",), is_reachable=False),
)
EXPIRING = (
    Case(
        CONTAIN,
        "nobody decides the containment",
        "not contained",
        ("did it expire?", "nobody decided"),
        host="brief",
        is_guarded=True,
        verdict=ALLOWED,
    ),
    Case(
        CONTAIN,
        "nobody decides the release",
        "eradicated",
        ("it stays contained",),
        host="brief",
        humans=_RELEASE,
        verdict=KILLED,
    ),
    Case(
        APPROVE,
        "nobody decides",
        "expired",
        ("did it expire?", "nobody decided"),
        host="brief",
        is_guarded=True,
        verdict=ALLOWED,
    ),
    Case(
        DRILL,
        "nobody decides the release",
        "passed",
        ("it lapses by itself",),
        host="brief",
        verdict=KILLED,
    ),
)
# Of an operation that was granted and failed, or became moot: nothing here can be made to do that.
NOT_WALKED = {APPROVE: {"it failed", "failed"}, CONTAIN: set(), DRILL: set()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.book}: {case.name}")
def test_playbook_ends_where_it_must(stage: Stage, case: Case) -> None:
    """It comes by the steps that are there for this case, and what it says is so on the host."""
    walk, agent = stage.walk(case)

    end = walk.run()

    _check(stage, case, walk, agent, end)


def test_playbooks_end_where_they_must_when_nobody_decides(stage: Stage) -> None:
    """Half a minute passes for all of them at once; then each says that nothing was done."""
    walks = [stage.walk(case) for case in EXPIRING]
    with ThreadPoolExecutor(len(walks)) as pool:
        ends = list(pool.map(lambda made: made[0].run(), walks))

    for case, (walk, agent), end in zip(EXPIRING, walks, ends, strict=True):
        _check(stage, case, walk, agent, end)


def _check(stage: Stage, case: Case, walk: Walk, agent: str, end: str) -> None:
    said = f"{case.name}: {list(dict.fromkeys(walk.steps))} {walk.answers[-3:]}"
    assert end == case.end, said
    assert set(case.visits) <= set(walk.steps), said
    assert walk.asset.api_token not in said
    if case.verdict:
        assert getattr(stage, case.host).verdict(agent) == case.verdict, said


@pytest.mark.parametrize("name", BOOKS)
def test_every_step_is_walked(name: str) -> None:
    """Every branch: each step of the playbook is one that some case must come by, or end at."""
    steps = {step.get("name", "start") for step in BOOKS[name]["workflow"].values()}
    walked = {"start"}
    for case in (*CASES, *EXPIRING):
        if case.book == name:
            walked |= {*case.visits, case.end}

    assert steps - walked == NOT_WALKED[name]

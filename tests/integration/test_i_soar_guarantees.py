# SPDX-License-Identifier: Apache-2.0
"""Group I of the security catalogue, from a playbook's end to a real control and real gates.

A "playbook" here is ``perform``, which every platform's adapter calls, over the JSON port with an API
token. What each platform makes of it is the business of ``tests/soar``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from sidecar.api.v1 import types_pb2
from soar_actions.run import perform
from tests.soar.host import SoarBed, waiting
from tests.soar.runners.base import Asset
from tests.soar.runners.holdfast import run_soar
from tests.soar.servers import DroppingProxy, Impostor, SlowServer
from tests.support.certificates import Authority
from tests.support.clients import ControlClient, refused
from tests.support.polling import eventually_sync
from tests.support.processes import Zygote

ALLOWED = "ALLOW POLICY_ALLOW"
KILLED = "DENY KILLED"
_TOTAL_S = 30


@pytest.fixture(scope="module")
def bed(zygote: Zygote, authority: Authority) -> Iterator[SoarBed]:
    """A host that all tests here share; each takes agents of its own."""
    host = SoarBed(zygote, authority, spare_agents=170, guarded=4)
    try:
        yield host.begin()
    finally:
        host.close()


@pytest.fixture
def make_soar_bed(zygote: Zygote, authority: Authority) -> Iterator[Callable[..., SoarBed]]:
    """Make hosts that are this test's alone; they are not started yet."""
    hosts: list[SoarBed] = []

    def make(**options: Any) -> SoarBed:
        hosts.append(SoarBed(zygote, authority, **options))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


def run(asset: Asset, slug: str, key: str = "", /, **parameters: str) -> dict[str, Any]:
    """Run an action as an adapter does."""
    return perform(
        slug, asset=asset.settings(), parameters=parameters, key=key or f"run-{uuid.uuid4()}"
    )


def contain(asset: Asset, agent: str, key: str = "", **more: str) -> dict[str, Any]:
    return run(
        asset, "contain-agent", key, **{"agent": agent, "level": "KILL", "reason": "a test", **more}
    )


def error_of(result: Mapping[str, Any]) -> tuple[str, str]:
    """Return class and reason of a result that failed."""
    assert result["status"] == "FAILED", result
    return str(result["error"]["class"]), str(result["error"]["reason"])


# -- I01: the answer is lost, the deed is done ----------------------------------------------------


def test_i01_retry_after_a_lost_answer_has_one_effect(bed: SoarBed, authority: Authority) -> None:
    """Control does it, the answer is lost on the way; the action asks again by itself."""
    agent = bed.fresh_agent()
    with DroppingProxy(authority, bed.api_listen) as proxy:
        asset = replace(bed.asset(), endpoint=f"https://{proxy.address}")
        result = contain(asset, agent)

    assert proxy.dropped == 1
    assert result["status"] == "SUCCESS"
    assert result["repeated_request"] is True
    assert len(bed.directives_on(agent)) == 1
    assert bed.verdict(agent) == KILLED


def test_i01_playbook_that_runs_again_has_one_effect(bed: SoarBed, authority: Authority) -> None:
    """Every answer of the first run is lost, so it failed; the second run says what was done."""
    agent, key = bed.fresh_agent(), "the-same-run"
    with DroppingProxy(authority, bed.api_listen, drops=100) as proxy:
        asset = replace(bed.asset(), endpoint=f"https://{proxy.address}", timeout_seconds="1")
        first = contain(asset, agent, key)
    second = contain(bed.asset(), agent, key)

    assert error_of(first)[0] == "UNAVAILABLE"
    assert first["error"]["retryable"] is True
    assert second["status"] == "SUCCESS"
    assert [one.epoch for one in bed.directives_on(agent)] == [int(second["receipt"]["epoch"])]


def test_i01_control_that_forgets_keys_does_it_twice_negative_control(
    make_soar_bed: Callable[..., SoarBed], authority: Authority
) -> None:
    """Without the memory of request ids the same retry is a second directive."""
    host = make_soar_bed(spare_agents=1)
    host.begin(control_breakages=["no-request-ids"])
    agent = host.fresh_agent()
    with DroppingProxy(authority, host.api_listen) as proxy:
        contain(replace(host.asset(), endpoint=f"https://{proxy.address}"), agent)

    assert len(host.directives_on(agent)) == 2


# -- I02 ------------------------------------------------------------------------------------------


def test_i02_same_key_for_something_else_is_a_conflict(bed: SoarBed) -> None:
    """Another agent, another level and another reason are something else."""
    agent, other, key = bed.fresh_agent(), bed.fresh_agent(), "one-key-for-two"
    done = contain(bed.asset(), agent, key)
    changed = [
        contain(bed.asset(), other, key),
        contain(bed.asset(), agent, key, level="FREEZE"),
        contain(bed.asset(), agent, key, reason="another one"),
    ]

    assert done["status"] == "SUCCESS"
    assert {error_of(one) for one in changed} == {("CONFLICT", "REQUEST_ID_CONFLICT")}
    assert not any(one["error"]["retryable"] for one in changed)
    assert bed.verdict(other) == ALLOWED


# -- I03 ------------------------------------------------------------------------------------------


def test_i03_hundred_targets_of_which_three_cannot_be_reached(bed: SoarBed) -> None:
    """Every target is listed with how it ended; the whole is PARTIAL and not success."""
    targets = [bed.fresh_agent() for _ in range(100)]
    lost = [targets[0], targets[50], targets[99]]
    token = bed.token("soar-all", "contain", agents=[one for one in targets if one not in lost])

    result = run(
        replace(bed.asset(), api_token=token),
        "contain-agents",
        agents=",".join(targets),
        level="KILL",
        reason="a test",
    )

    listed = {item["agent"]: item["status"] for item in result["targets"]}
    assert result["status"] == "PARTIAL"
    assert list(listed) == targets
    assert [name for name, status in listed.items() if status == "FAILED"] == lost
    assert [name for name, status in listed.items() if status == "SUCCESS"] == [
        name for name in targets if name not in lost
    ]
    assert all(name in result["summary"] for name in lost)
    assert {bed.verdict(name) for name in (targets[1], targets[98])} == {KILLED}
    assert {bed.verdict(name) for name in lost} == {ALLOWED}


def test_i03_command_line_ends_with_an_error(bed: SoarBed) -> None:
    """A script that looks at the exit code alone does not take PARTIAL for success."""
    agents = [bed.fresh_agent(), bed.fresh_agent()]
    token = bed.token("soar-all", "contain", agents=agents[:1])
    parameters = {"agents": ",".join(agents), "level": "KILL", "reason": "a test"}

    done = run_soar(
        "contain-agents",
        parameters,
        asset=replace(bed.asset(), api_token=token),
        key="a-run-of-two",
    )

    assert json.loads(done.stdout)["status"] == "PARTIAL"
    assert done.returncode != 0


# -- I04 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_dripping", [False, True], ids=["silent", "dripping"])
def test_i04_slow_control_holds_no_playbook(
    bed: SoarBed, authority: Authority, is_dripping: bool
) -> None:
    """A few attempts, each with a deadline by the clock, and an end that was stated before."""
    agent = bed.fresh_agent()
    with SlowServer(authority, is_dripping=is_dripping) as slow:
        asset = replace(bed.asset(), endpoint=f"https://{slow.address}", timeout_seconds="1")
        began = time.monotonic()
        result = contain(asset, agent)
        took_s = time.monotonic() - began

    assert error_of(result)[0] == "UNAVAILABLE"
    assert result["error"]["retryable"] is True
    assert 2 <= slow.connections <= 8
    assert took_s < _TOTAL_S


# -- I05 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"verify": "false"},
        {"verify_ssl": "False"},
        {"insecure": "true"},
        {"trust_any_certificate": "true"},
        {"endpoint": "http://127.0.0.1:7445"},
        {"endpoint": "127.0.0.1:7445"},
        {"endpoint": "https://user:password@127.0.0.1:7445"},
    ],
    ids=lambda changes: " ".join(f"{name}={value}" for name, value in changes.items()),
)
def test_i05_asset_that_weakens_tls_is_refused(bed: SoarBed, changes: Mapping[str, str]) -> None:
    """It is not obeyed, and not ignored either: nothing is sent at all."""
    agent = bed.fresh_agent()
    result = perform(
        "contain-agent",
        asset={**bed.asset().settings(), **changes},
        parameters={"agent": agent, "level": "KILL", "reason": "a test"},
        key="run-of-a-bad-asset",
    )

    assert error_of(result)[0] == "BAD_INPUT"
    assert "password" not in json.dumps(result)
    assert bed.verdict(agent) == ALLOWED


def test_i07_agent_that_nobody_knows_is_contained_and_no_success(bed: SoarBed) -> None:
    """A misspelt name is held from its first call on, but whoever asked is told to look again."""
    known, unknown = bed.fresh_agent(), "nobody-knows-this-one"

    results = {agent: contain(bed.asset(), agent) for agent in (known, unknown)}

    assert (results[known]["status"], results[known]["unknown_agents"]) == ("SUCCESS", [])
    assert results[unknown]["status"] == "PARTIAL"
    assert results[unknown]["unknown_agents"] == [unknown]
    assert results[unknown]["receipt"]["durable"]


def test_i05_certificate_of_an_unknown_ca_is_refused(bed: SoarBed) -> None:
    """Control's certificate is of a private CA, which the system's CAs do not know."""
    agent = bed.fresh_agent()
    result = contain(replace(bed.asset(), ca_certificate=""), agent)

    assert error_of(result)[1] == "SERVER_NOT_TRUSTED"
    assert bed.verdict(agent) == ALLOWED


@pytest.mark.parametrize("impostor", ["of another CA", "of another host"])
def test_i05_impostor_is_not_told_the_token(
    bed: SoarBed, authority: Authority, impostor: str
) -> None:
    """The right name of a wrong CA, or a wrong name of the right CA: it hears nothing at all."""
    server = (
        Impostor(Authority("another CA"))
        if impostor == "of another CA"
        else Impostor(authority, "control.somewhere.example")
    )
    with server:
        asset = replace(bed.asset(), endpoint=f"https://{server.address}")
        result = contain(asset, bed.fresh_agent())

    assert error_of(result)[1] == "SERVER_NOT_TRUSTED"
    assert server.connections >= 1
    assert server.heard == b""


def test_i05_server_that_is_trusted_hears_the_token_negative_control(
    bed: SoarBed, authority: Authority
) -> None:
    """With control's own kind of certificate the request arrives: the server above is not deaf."""
    with Impostor(authority) as server:
        asset = replace(bed.asset(), endpoint=f"https://{server.address}", timeout_seconds="1")
        contain(asset, bed.fresh_agent())

    assert bed.asset().api_token.encode() in server.heard


# -- I06 ------------------------------------------------------------------------------------------


def test_i06_no_secret_is_in_any_result_or_log(
    bed: SoarBed, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """Success, every kind of failure, both credentials: the secrets are nowhere but in the asset."""
    agent = bed.fresh_agent()
    token, certificate = bed.asset(), bed.certificate_asset()
    with SlowServer(authority) as slow:
        assets = [
            token,
            certificate,
            replace(token, endpoint="https://127.0.0.1:9"),
            replace(token, endpoint=f"https://{slow.address}", timeout_seconds="1"),
            replace(token, ca_certificate=""),
            replace(token, ca_certificate="no certificate"),
            replace(token, endpoint=f"https://{token.api_token}@{bed.api_listen}"),
            replace(token, endpoint=f"https://{bed.api_listen}/?t={token.api_token}"),
            replace(token, api_token=token.api_token[:-1] + "A"),
            replace(certificate, client_key=certificate.client_key[:-40]),
            replace(certificate, client_certificate="", client_key=certificate.client_key),
        ]
        results = [
            run(asset, slug, agent=agent, **more)
            for asset in assets
            for slug, more in (
                ("get-agent", {}),
                ("contain-agent", {"level": "OBSERVE", "reason": "a test"}),
            )
            if slug == "get-agent" or slow.address not in asset.endpoint
        ]
    key_lines = certificate.client_key.splitlines()
    secrets = [token.api_token, token.api_token.split("_", 2)[2], *key_lines[1:-1]]

    text = json.dumps(results) + caplog.text + bed.printed()
    assert {one["status"] for one in results} == {"SUCCESS", "FAILED"}
    assert [secret for secret in secrets if secret in text] == []


def test_i06_search_would_find_a_secret_negative_control(bed: SoarBed) -> None:
    """What the playbook itself writes into a reason is kept: the search above is not blind."""
    agent, token = bed.fresh_agent(), bed.asset().api_token
    result = contain(bed.asset(), agent, reason=f"look: {token[:30]}")
    shown = run(bed.asset(), "list-directives", agent=agent)

    assert result["status"] == "SUCCESS"
    assert agent in json.dumps(shown)


# -- I07 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "agent",
    [
        "*",
        "spare-*",
        "spare-00?",
        "{{ alert.agent }}",
        "${agent}",
        "alpha,beta",
        "alpha beta",
        "alpha\nbeta",
        "../alpha",
        "ALPHA",
        "group:staff",
        '{"all":{}}',
        "alpha\u200b",
        "аlpha",  # the first letter is Cyrillic
        "",
    ],
    ids=ascii,
)
def test_i07_text_of_an_alert_selects_nobody_else(bed: SoarBed, agent: str) -> None:
    """A target is one exact name of one agent, or it is refused before anything is sent."""
    before = waiting(_epoch(bed))
    result = contain(bed.asset(), agent)

    assert error_of(result)[0] in ("BAD_INPUT", "NOT_FOUND")
    assert waiting(_epoch(bed)) == before
    assert bed.verdict("alpha") == ALLOWED


async def _epoch(bed: SoarBed) -> int:
    async with bed.operator("alice") as alice:
        return await alice.epoch()


def test_i07_agent_called_all_is_one_agent(bed: SoarBed) -> None:
    """A word that means everybody elsewhere is a name like any other here."""
    result = contain(bed.asset(), "all")

    assert [one.level for one in bed.directives_on("all")] == [types_pb2.LEVEL_KILL]
    assert "agent all" in result["summary"]
    assert bed.verdict("alpha") == ALLOWED


def test_i07_resolved_target_is_shown(bed: SoarBed) -> None:
    """Whoever reads the playbook's run sees who was meant, as control resolved it."""
    agent = bed.fresh_agent()
    result = contain(bed.asset(), agent)

    assert agent in result["summary"]
    assert bed.directives_on(agent)[0].target.agent == agent


# -- I08 ------------------------------------------------------------------------------------------


async def test_i08_thousand_kills_are_all_taken_and_each_is_done_once(
    make_soar_bed: Callable[..., SoarBed],
) -> None:
    """A storm of alerts: 1,000 orders with 50 keys. None is limited, none is done twice."""
    host = make_soar_bed(spare_agents=50)
    host.begin()
    agents = [host.fresh_agent() for _ in range(50)]
    async with host.operator("soar-contain") as soar, host.operator("alice") as alice:
        queue = [(name, f"storm-{name}") for _ in range(20) for name in agents]
        answers = await _all(soar, queue)
        standing = await alice.directives()

    assert len(answers) == 1000
    assert all(answer.HasField("receipt") for answer in answers)
    assert sum(not answer.repeated_request for answer in answers) == 50
    assert sorted(one.target.agent for one in standing) == sorted(agents)
    async with host.agent(agents[-1]) as client:
        assert await client.verdict() == KILLED


async def _all(soar: ControlClient, queue: list[tuple[str, str]]) -> list[Any]:
    limit = asyncio.Semaphore(20)

    async def one(agent: str, key: str) -> Any:
        async with limit:
            return await soar.contain(agent, request_id=key, timeout_s=60)

    return await asyncio.gather(*(one(agent, key) for agent, key in queue))


async def test_i02_i08_control_that_forgets_keys_negative_control(
    make_soar_bed: Callable[..., SoarBed],
) -> None:
    """Without the memory of request ids every repetition is done again, and none is a conflict."""
    host = make_soar_bed(spare_agents=2)
    host.begin(control_breakages=["no-request-ids"])
    agent, other = host.fresh_agent(), host.fresh_agent()
    async with host.operator("soar-contain") as soar, host.operator("alice") as alice:
        await _all(soar, [(agent, "storm-of-one")] * 5 + [(other, "storm-of-one")])
        standing = await alice.directives()

    assert len(standing) == 6


async def test_i08_what_is_limited_is_release(make_soar_bed: Callable[..., SoarBed]) -> None:
    """The same caller cannot bury approvers in questions, and may go on to kill."""
    host = make_soar_bed(spare_agents=2)
    host.begin()
    agent, other = host.fresh_agent(), host.fresh_agent()
    async with host.operator("soar-all") as soar:
        epochs = [
            (await soar.contain(agent, "OBSERVE")).receipt.directive.epoch for _ in range(101)
        ]
        for epoch in epochs[:100]:
            await soar.ask_release(epoch)
        error = await refused(soar.ask_release(epochs[100]))
        killed = await soar.contain(other)

    assert error.reason == "APPROVAL_LIMIT"
    assert killed.receipt.contained


# -- I09 ------------------------------------------------------------------------------------------


def test_i09_stolen_soar_token_tightens_and_nothing_else(bed: SoarBed) -> None:
    """The usual token (``contain``): kill and revoke work; release, approval, policy and log do not."""
    agent, guarded = bed.fresh_agent(), bed.fresh_guarded()
    stolen = bed.asset("soar-contain", "contain")
    killed = contain(stolen, agent)
    revoked = run(stolen, "revoke-tokens", agent=agent, reason="a test")
    epoch = str(killed["receipt"]["epoch"])
    held = contain(stolen, guarded)

    may_not = {
        slug: error_of(run(stolen, slug, **parameters))
        for slug, parameters in {
            "release-agent": {"epoch": epoch, "reason": "a thief"},
            "search-audit": {"agent": agent},
            "export-evidence": {"agent": agent},
        }.items()
    }
    answers = waiting(_raw_refusals(bed, stolen, held["operation"]["name"]))

    assert (killed["status"], revoked["status"], held["status"]) == (
        "SUCCESS",
        "SUCCESS",
        "PENDING",
    )
    assert set(may_not.values()) == {("REFUSED", "PERMISSION_MISSING")}
    assert set(answers.values()) <= {403, 404}, answers
    assert bed.verdict(agent) == KILLED
    assert bed.verdict(guarded) == ALLOWED
    assert waiting_names(bed, guarded) == [held["operation"]["name"]]


def waiting_names(bed: SoarBed, agent: str) -> list[str]:
    return [one.name for one in bed.waiting_on(agent)]


async def _raw_refusals(bed: SoarBed, stolen: Asset, operation: str) -> dict[str, int]:
    """Return the HTTP status of what a thief tries with the token, past our actions."""
    import ssl

    import aiohttp

    human = await asyncio.to_thread(bed.operation, operation)
    attempts: dict[str, dict[str, Any]] = {
        "ApprovalService/DecideApproval": {
            "requestId": "thief-1",
            "name": human.approval,
            "verdict": "VERDICT_GRANT",
            "fingerprint": human.fingerprint,
            "reason": "because",
        },
        "PolicyService/ReloadPolicySet": {"requestId": "thief-2"},
        "PolicyService/GetPolicySet": {},
        "ApiTokenService/CreateApiToken": {
            "requestId": "thief-3",
            "operator": "soar-all",
            "permissions": ["contain"],
            "description": "more",
        },
        "ApiTokenService/ListApiTokens": {},
        "AuditService/ListEntries": {},
    }
    context = ssl.create_default_context(cadata=stolen.ca_certificate)
    found = {}
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {stolen.api_token}"}
    ) as session:
        for method, body in attempts.items():
            async with session.post(
                f"{stolen.endpoint}/sidecar.api.v1.{method}", json=body, ssl=context
            ) as answer:
                found[method] = answer.status
    return found


def test_i09_arguments_of_a_held_call_are_not_shown_to_automation(bed: SoarBed) -> None:
    """A SOAR token sees who wants to run what, and never with which arguments."""
    canary = "an-argument-that-is-nobody-elses-business"

    async def hold() -> str:
        async with bed.agent("beta") as agent:
            decision = await agent.ask("note.held", {"text": canary})
        return str(decision.obligations.approval)

    name = waiting(hold())
    shown = run(bed.asset("soar-contain", "contain"), "get-approval", approval=name)
    listed = run(bed.asset("soar-contain", "contain"), "list-approvals")

    assert shown["status"] == "SUCCESS", shown
    assert name in json.dumps(listed)
    for form in (canary, base64.b64encode(canary.encode()).decode(), canary.encode().hex()):
        assert form not in json.dumps([shown, listed])


# -- I11 ------------------------------------------------------------------------------------------


def test_i11_contained_only_when_every_live_gate_has_acknowledged(
    make_soar_bed: Callable[..., SoarBed],
) -> None:
    """One gate is stopped: PARTIAL, and it is named. It goes on: the same receipt is whole."""
    host = make_soar_bed(spare_agents=1)
    host.begin(host.spare)
    lagging = host.launch_gate(["zeta"], gate_id="lagging")
    host.wait_gate("zeta", gate_id="lagging")
    agent = host.fresh_agent()
    lagging.signal(signal.SIGSTOP)

    stale = contain(host.asset(), agent)
    epoch = str(stale["receipt"]["epoch"])
    verdict = host.verdict(agent)
    lagging.signal(signal.SIGCONT)
    whole = eventually_sync(lambda: _contained(host, epoch), 15)

    assert stale["status"] == "PARTIAL"
    assert stale["laggards"] == ["lagging"]
    assert stale["receipt"]["contained"] is False
    assert verdict == KILLED  # the gate that lives does not wait for the other
    assert {gate["gate"]: gate["state"] for gate in whole["receipt"]["gates"]} == {
        "gate": "ENFORCED",
        "lagging": "ENFORCED",
    }


def _contained(host: SoarBed, epoch: str) -> dict[str, Any] | None:
    result = run(host.asset(), "get-receipt", epoch=epoch)
    return result if result["receipt"]["contained"] else None


def test_i11_action_that_does_not_look_at_the_gates_negative_control(
    make_soar_bed: Callable[..., SoarBed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Durable is not contained: whoever takes it for that tells the playbook that all is well."""
    from soar_actions.handlers import containing

    look = containing.receipt_data

    def durable_is_enough(receipt: Mapping[str, Any]) -> dict[str, Any]:
        data = look(receipt)
        return {**data, "contained": data["durable"], "gates": []}

    monkeypatch.setattr(containing, "receipt_data", durable_is_enough)
    host = make_soar_bed(spare_agents=1)
    host.begin(host.spare)
    lagging = host.launch_gate(["zeta"], gate_id="lagging")
    host.wait_gate("zeta", gate_id="lagging")
    lagging.signal(signal.SIGSTOP)

    result = contain(host.asset(), host.fresh_agent())

    assert result["status"] == "SUCCESS"

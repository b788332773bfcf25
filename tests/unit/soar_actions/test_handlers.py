# SPDX-License-Identifier: Apache-2.0
"""Handlers against answers of the contract: what they ask, and what a playbook is told."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from soar_actions.catalogue.action import FieldType
from soar_actions.errors import ActionError, ErrorClass
from soar_actions.run import ACTIONS
from soar_actions.steps import Call
from tests.unit.soar_actions.control import ID, FakeControl, filled, operation

Contain = "ContainmentService/Contain"
Release = "ContainmentService/Release"
KEY = "run-00000001"
METHODS = {
    "list-agents": "AgentService/ListAgents",
    "get-agent": "AgentService/GetAgent",
    "contain-agent": Contain,
    "contain-agents": Contain,
    "contain-session": Contain,
    "block-tool": Contain,
    "block-destination": Contain,
    "release-agent": Release,
    "unblock-tool": Release,
    "unblock-destination": Release,
    "revoke-tokens": "TokenService/RevokeTokens",
    "list-revocations": "TokenService/ListRevocations",
    "list-directives": "ContainmentService/ListDirectives",
    "get-receipt": "ContainmentService/GetReceipt",
    "verify-containment": "ContainmentService/VerifyContainment",
    "get-agent-timeline": "InvestigationService/GetAgentTimeline",
    "get-blast-radius": "InvestigationService/GetBlastRadius",
    "list-approvals": "ApprovalService/ListApprovals",
    "get-approval": "ApprovalService/GetApproval",
    "request-approval": "OperationService/RequestConfirmation",
    "get-operation": "OperationService/GetOperation",
    "search-audit": "AuditService/ListEntries",
    "verify-audit-log": "AuditService/VerifyLogs",
    "export-evidence": "AuditService/ExportEvidence",
    "open-incident": "IncidentService/OpenIncident",
    "get-incident": "IncidentService/GetIncident",
    "update-incident": "IncidentService/UpdateIncident",
    "test-connectivity": "OperationService/GetOperation",
}


def parameters(slug: str) -> dict[str, str]:
    """Return the example of every parameter that is required, and what is needed besides."""
    given = {item.name: item.example for item in ACTIONS[slug].parameters if item.is_required}
    if slug in ("release-agent", "unblock-tool", "unblock-destination"):
        given["epoch"] = "42"
    if slug == "revoke-tokens":
        given["agent"] = "banking"
    if slug == "update-incident":
        given["note"] = "seen"
    return given


def results(slug: str) -> list[dict[str, Any]]:
    """Return what the action answers: done, with laggards, and when a human must grant it first."""
    method = METHODS[slug]
    if slug == "test-connectivity":
        return [
            FakeControl(**{method: ActionError(ErrorClass.NOT_FOUND, "no such operation")}).run(
                slug
            )
        ]
    whole = filled(method)
    if slug == "verify-containment":
        whole["items"][0]["effect"] = "EFFECT_DENY"
    answers = [whole, json.loads(json.dumps(whole).replace("STATE_ENFORCED", "STATE_LAGGARD"))]
    if ACTIONS[slug].can_be_pending:
        answers.append({"operation": operation("PENDING_APPROVAL")})
    return [FakeControl(**{method: answer}).run(slug, parameters(slug)) for answer in answers]


def at(data: Any, path: str) -> Iterator[Any]:
    """Yield what stands at *path* (``receipt.gates[].state``)."""
    name, _, rest = path.partition(".")
    is_list = name.endswith("[]")
    name = name.removesuffix("[]")
    if not isinstance(data, dict) or name not in data:
        return
    for value in data[name] if is_list else [data[name]]:
        yield from at(value, rest) if rest else [value]


@pytest.mark.parametrize("slug", ACTIONS)
def test_every_declared_output_is_answered(slug: str) -> None:
    """Manifests promise these paths; each is there, and of its type, when control fills all fields."""
    answered = results(slug)

    for output in ACTIONS[slug].outputs:
        values = [value for result in answered for value in at(result, output.path)]
        assert values, output.path
        kinds = {
            FieldType.NUMBER: int,
            FieldType.BOOLEAN: bool,
            FieldType.OBJECT: dict,
        }
        assert all(type(value) is kinds.get(output.type, str) for value in values), output.path


def test_every_declared_output_negative_control() -> None:
    """A path that nothing answers is seen."""
    assert not [value for result in results("get-agent") for value in at(result, "agent.nothing")]


@pytest.mark.parametrize("slug", sorted(set(ACTIONS) - {"test-connectivity"}))
def test_names_of_the_contract_do_not_show(slug: str) -> None:
    """Playbooks read ``KILL``, not ``LEVEL_KILL``; evidence is given as it came."""
    shown = [{**result, "evidence": ""} for result in results(slug)]

    for prefix in ("LEVEL_", "STATE_", "EFFECT_", "VERDICT_", "TOOL_CLASS_"):
        assert prefix not in json.dumps(shown)


@pytest.mark.parametrize("slug", sorted(set(ACTIONS) - {"test-connectivity"}))
def test_an_answer_of_another_form_is_a_failure(slug: str) -> None:
    """Neither a success nor an exception: what answers may be something else or too old."""
    method = METHODS[slug]
    good = filled(method)
    wrong = {name: 17 if isinstance(value, (dict, list)) else {} for name, value in good.items()}

    result = FakeControl(**{method: wrong}).run(slug, parameters(slug))

    assert result["status"] == "FAILED"


LISTS = {slug for slug in ACTIONS if slug.startswith(("list-", "search-"))}
"""An empty list is an answer too, and proto3 JSON leaves it out."""


@pytest.mark.parametrize("slug", sorted(set(ACTIONS) - LISTS - {"get-agent-timeline"}))
def test_an_answer_that_says_nothing_proves_nothing(slug: str) -> None:
    """Something else that answers 200 with an empty object has revoked, opened and proved nothing."""
    result = FakeControl(**{METHODS[slug]: {}}).run(slug, parameters(slug))

    assert result["status"] == "FAILED"
    assert "granted" not in result["summary"]


@pytest.mark.parametrize("slug", sorted(set(ACTIONS) - {"test-connectivity"}))
def test_a_refusal_of_control_is_a_failure(slug: str) -> None:
    """With its reason and remedy, and not retryable."""
    refusal = ActionError(ErrorClass.REFUSED, "no", reason="PERMISSION_MISSING", remedy="ask")

    result = FakeControl(**{METHODS[slug]: refusal}).run(slug, parameters(slug))

    assert result["status"] == "FAILED"
    assert result["error"] == {
        "class": "REFUSED", "reason": "PERMISSION_MISSING", "remedy": "ask", "retryable": False
    }  # fmt: skip


@pytest.mark.parametrize("slug", [s for s in ACTIONS if not ACTIONS[s].is_read_only])
def test_i01_every_change_carries_the_key(slug: str) -> None:
    """The request id is the playbook's key, or made from it; the parameter wins over the run's."""
    method = METHODS[slug]
    first = FakeControl(**{method: filled(method)})
    second = FakeControl(**{method: filled(method)})
    third = FakeControl(**{method: filled(method)})

    first.run(slug, parameters(slug))
    second.run(slug, parameters(slug))
    own = third.run(slug, {**parameters(slug), "idempotency_key": "my-own-key"})

    ids = [[call.body["requestId"] for call in control.calls] for control in (first, second, third)]
    assert ids[0] == ids[1] != ids[2]
    assert own["idempotency_key"] == "my-own-key"
    if slug != "contain-agents":
        assert ids[0] == [KEY]


@pytest.mark.parametrize(
    "key", ["", "short", "with space", "x" * 129, "a/b/c/d/e/f", "schlüssel-1"]
)
def test_a_change_without_a_key_is_not_sent(key: str) -> None:
    """Otherwise a retry would be a second order."""
    control = FakeControl(**{Contain: filled(Contain)})

    result = control.run("contain-agent", parameters("contain-agent"), key=key)

    assert result["error"]["reason"] == "BAD_IDEMPOTENCY_KEY"
    assert not control.calls


def test_a_key_for_an_action_that_reads_is_not_needed() -> None:
    """Reading is repeatable as it is."""
    control = FakeControl(**{"AgentService/GetAgent": filled("AgentService/GetAgent")})

    assert control.run("get-agent", {"agent": "banking"}, key="")["status"] == "SUCCESS"


def _receipt(**changes: Any) -> dict[str, Any]:
    gate = {"gate": "banking", "state": "STATE_ENFORCED"}
    return {
        "receipt": {
            "directive": {"name": "directives/42", "epoch": "42", "level": "LEVEL_KILL"},
            "durable": True,
            "contained": True,
            "gates": [gate],
            **changes,
        }
    }


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"durable": False}, "NOT durable"),
        ({"contained": False, "gates": [{"gate": "g2", "state": "STATE_LAGGARD"}]}, "g2"),
        ({"contained": False}, "banking"),
    ],
    ids=["not_durable", "laggard", "not_contained"],
)
def test_a_containment_that_is_not_whole_is_partial(changes: dict[str, Any], word: str) -> None:
    """Only one that is durable and enforced by every live gate is a success."""
    given = {"agent": "banking", "level": "KILL", "reason": "alert"}

    whole = FakeControl(**{Contain: _receipt()}).run("contain-agent", given)
    partial = FakeControl(**{Contain: _receipt(**changes)}).run("contain-agent", given)

    assert whole["status"] == "SUCCESS"
    assert partial["status"] == "PARTIAL"
    assert word in partial["summary"]


def test_a_runtime_that_could_not_be_stopped_is_partial() -> None:
    """The gates deny it; that it still runs is said."""
    still = {"driver": "process_group", "subject": "pgid 4711", "result": "FAILED"}
    given = {"agent": "banking", "level": "KILL", "reason": "alert"}

    stopped = {**still, "result": "TERMINATED"}
    whole = FakeControl(**{Contain: _receipt(isolation=[stopped])}).run("contain-agent", given)
    partial = FakeControl(**{Contain: _receipt(isolation=[still])}).run("contain-agent", given)

    assert whole["status"] == "SUCCESS"
    assert partial["status"] == "PARTIAL"
    assert "NOT stopped: pgid 4711" in partial["summary"]


def test_a_gate_that_is_not_connected_is_named() -> None:
    """It denies by itself once control is silent: no shortfall, and nothing that is kept quiet."""
    gates = [
        {"gate": "g1", "state": "STATE_ENFORCED"},
        {"gate": "g2", "state": "STATE_DISCONNECTED"},
    ]

    result = FakeControl(**{Contain: _receipt(gates=gates)}).run(
        "contain-agent", parameters("contain-agent")
    )

    assert result["status"] == "SUCCESS"
    assert result["laggards"] == ["g2"]
    assert "not connected: g2" in result["summary"]
    assert "not yet enforced" not in result["summary"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"durable": False}, "NOT durable"),
        ({"contained": False}, "NOT called contained"),
        ({"gates": [{"gate": "g2", "state": "STATE_LAGGARD"}], "contained": False}, "g2"),
    ],
    ids=["not_durable", "ended", "laggard"],
)
def test_a_receipt_that_is_not_whole_says_so(changes: dict[str, Any], word: str) -> None:
    """To look at it is a success; what it says is not."""
    method = "ContainmentService/GetReceipt"

    whole = FakeControl(**{method: _receipt()}).run("get-receipt", {"epoch": "42"})
    other = FakeControl(**{method: _receipt(**changes)}).run("get-receipt", {"epoch": "42"})

    assert "is whole" in whole["summary"]
    assert "is NOT whole" in other["summary"]
    assert word in other["summary"]


def test_i07_a_misspelt_agent_is_no_success() -> None:
    """The directive stands, and nobody is told that the agent they meant is held."""
    given = parameters("contain-agent")
    answer = {**_receipt(), "unknownAgents": [given["agent"]]}

    result = FakeControl(**{Contain: answer}).run("contain-agent", given)

    assert result["status"] == "PARTIAL"
    assert result["unknown_agents"] == [given["agent"]]
    assert "exact name" in result["summary"]


def test_what_is_asked_for_a_containment() -> None:
    """Target, level and lifetime as the playbook gave them."""
    control = FakeControl(**{Contain: _receipt()})

    control.run(
        "contain-session",
        {"agent": "banking", "session": "s-1", "level": "HOLD", "reason": "r", "ttl_seconds": "60"},
    )

    assert control.calls[0].body == {
        "requestId": KEY,
        "target": {"session": {"agent": "banking", "session": "s-1"}},
        "level": "LEVEL_HOLD",
        "reason": "r",
        "ttl": "60s",
    }


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ({"tool": "send_money"}, {"tool": "send_money"}),
        (
            {"tool": "send_money", "agent": "banking"},
            {"toolAtAgent": {"agent": "banking", "tool": "send_money"}},
        ),
    ],
    ids=["everywhere", "at_one_agent"],
)
def test_unblocking_looks_for_exactly_what_was_blocked(
    given: dict[str, str], target: dict[str, Any]
) -> None:
    """One tool at one agent is another target than the tool at all agents."""
    control = FakeControl(**{Contain: _receipt(), "ContainmentService/ListDirectives": {}})

    control.run("block-tool", {**given, "reason": "r"})
    result = control.run("unblock-tool", {**given, "reason": "r"})

    assert control.calls[0].body["target"] == control.calls[1].body["target"] == target
    assert result["status"] == "SUCCESS"
    assert not result["changed"]


FLEET = ",".join(f"agent-{number:03d}" for number in range(100))
DOWN = ActionError(ErrorClass.UNAVAILABLE, "control did not answer in time", reason="DEADLINE")


def _fleet(call: Call) -> Any:
    agent = call.body["target"]["agent"]
    return DOWN if agent in ("agent-007", "agent-042", "agent-099") else _receipt()


def test_i03_a_hundred_targets_three_unreachable() -> None:
    """Each is listed with its outcome; the whole is PARTIAL, never a success."""
    control = FakeControl(**{Contain: _fleet})

    result = control.run("contain-agents", {"agents": FLEET, "level": "KILL", "reason": "r"})

    failed = [target for target in result["targets"] if target["status"] == "FAILED"]
    assert result["status"] == "PARTIAL"
    assert len(result["targets"]) == len(control.calls) == 100
    assert [target["agent"] for target in failed] == ["agent-007", "agent-042", "agent-099"]
    assert all(target["reason"] == "DEADLINE" and target["retryable"] for target in failed)
    assert result["counts"] == {"success": 97, "pending": 0, "partial": 0, "failed": 3}
    assert "agent-042" in result["summary"]


def test_i03_negative_control_all_reachable() -> None:
    """It is those three that make it partial."""
    control = FakeControl(**{Contain: _receipt()})

    assert control.run("contain-agents", {"agents": FLEET, "reason": "r"})["status"] == "SUCCESS"


def test_i03_all_failed_and_all_pending() -> None:
    """Nothing done is FAILED; nothing but waiting is PENDING, with the first operation to follow."""
    given = {"agents": "a,b", "reason": "r"}

    failed = FakeControl(**{Contain: DOWN}).run("contain-agents", given)
    waits = {"operation": operation("PENDING_APPROVAL")}
    pending = FakeControl(**{Contain: [_receipt(), waits]}).run("contain-agents", given)

    assert failed["status"] == "FAILED"
    assert failed["error"]["reason"] == "DEADLINE"
    assert failed["error"]["retryable"]
    assert pending["status"] == "PENDING"
    assert pending["operation"]["name"] == f"operations/apr_{ID}"
    assert [target["status"] for target in pending["targets"]] == ["SUCCESS", "PENDING"]


def test_i01_keys_of_a_fleet_belong_to_the_agents() -> None:
    """In another order, or with one more, the same agent has the same key."""
    first, second = FakeControl(**{Contain: _fleet}), FakeControl(**{Contain: _fleet})

    first.run("contain-agents", {"agents": "a,b", "reason": "r"})
    second.run("contain-agents", {"agents": "c,b,a", "reason": "r"})

    keys = [
        {call.body["target"]["agent"]: call.body["requestId"] for call in control.calls}
        for control in (first, second)
    ]
    assert keys[0] == {agent: keys[1][agent] for agent in ("a", "b")}
    assert len(set(keys[1].values())) == 3


def test_release_of_an_agent_asks_for_each_directive() -> None:
    """All that name exactly this agent; PENDING while any waits, with keys by epoch."""
    waits = {"operation": operation("PENDING_APPROVAL")}
    control = FakeControl(
        **{
            "ContainmentService/ListDirectives": {"directives": [{"epoch": "7"}, {"epoch": "5"}]},
            Release: [filled(Release, operation=None), waits],
        }
    )

    result = control.run("release-agent", {"agent": "banking", "reason": "false alarm"})

    assert control.calls[0].body["target"] == {"agent": "banking"}
    assert [call.body["epoch"] for call in control.calls[1:]] == ["5", "7"]
    assert len({call.body["requestId"] for call in control.calls[1:]}) == 2
    assert result["status"] == "PENDING"
    assert [(item["epoch"], item["status"]) for item in result["releases"]] == [
        (5, "SUCCESS"),
        (7, "PENDING"),
    ]
    assert result["operation"]["name"] == f"operations/apr_{ID}"


def test_release_of_an_agent_partly_refused_is_partial() -> None:
    """One released and one refused is neither a success nor nothing."""
    control = FakeControl(
        **{
            "ContainmentService/ListDirectives": {"directives": [{"epoch": "5"}, {"epoch": "7"}]},
            Release: [filled(Release, operation=None), {"operation": operation("REFUSED")}],
        }
    )

    result = control.run("release-agent", {"agent": "banking", "reason": "false alarm"})

    assert result["status"] == "PARTIAL"
    assert result["releases"][1]["reason"] == "APPROVAL_REFUSED"


def test_what_was_refused_is_said_while_others_wait() -> None:
    """A playbook that follows the one that waits is told of the one that nobody will release."""
    control = FakeControl(
        **{
            "ContainmentService/ListDirectives": {"directives": [{"epoch": "5"}, {"epoch": "7"}]},
            Release: [
                {"operation": operation("REFUSED", detail="refused by bob")},
                {"operation": operation("PENDING_APPROVAL")},
            ],
        }
    )

    result = control.run("release-agent", {"agent": "banking", "reason": "false alarm"})

    assert result["status"] == "PENDING"
    assert "FAILED: directive 5: nothing was done: refused by bob" in result["summary"]


def test_release_of_an_agent_that_nothing_names() -> None:
    """What was wanted is so; but what else holds the agent is said, and a wrong name is an error."""
    none = {"ContainmentService/ListDirectives": {}}
    agent = {"agent": {"agent": "banking", "directives": [{"epoch": "9"}]}}
    missing = ActionError(ErrorClass.NOT_FOUND, "no such agent")
    given = {"agent": "banking", "reason": "r"}

    there = FakeControl(**{**none, "AgentService/GetAgent": agent}).run("release-agent", given)
    wrong = FakeControl(**{**none, "AgentService/GetAgent": missing}).run("release-agent", given)

    assert there["status"] == "SUCCESS"
    assert not there["changed"]
    assert [item["epoch"] for item in there["remaining"]] == [9]
    assert wrong["error"]["class"] == "NOT_FOUND"


def test_too_many_directives_are_not_released_at_once() -> None:
    """A hundred questions to humans are enough; no list is read on and on to count the rest."""
    many = {
        "directives": [{"epoch": str(number)} for number in range(1, 101)],
        "nextPageToken": "1",
    }
    control = FakeControl(**{"ContainmentService/ListDirectives": many})

    result = control.run("unblock-destination", {"destination": "evil.example", "reason": "r"})

    assert result["error"]["reason"] == "TOO_MANY"
    assert len(control.calls) == 1


@pytest.mark.parametrize("slug", ["release-agent", "unblock-tool", "unblock-destination"])
@pytest.mark.parametrize("is_both", [False, True], ids=["neither", "both"])
def test_what_to_release_is_said_once(slug: str, is_both: bool) -> None:
    """An epoch or a name."""
    name = {"release-agent": "agent", "unblock-tool": "tool"}.get(slug, "destination")
    given = {"reason": "r", **({"epoch": "4", name: "banking"} if is_both else {})}

    result = FakeControl().run(slug, given)

    assert result["error"]["class"] == "BAD_INPUT"


def test_lists_are_read_page_by_page_up_to_the_limit() -> None:
    """Never more than was asked for, and whether there is more is said."""
    page = {"agents": [{"agent": f"a{number}"} for number in range(500)], "nextPageToken": "more"}
    control = FakeControl(**{"AgentService/ListAgents": [page, page]})

    result = control.run("list-agents", {"limit": "700"})

    assert [call.body for call in control.calls] == [
        {"pageSize": 500},
        {"pageSize": 200, "pageToken": "more"},
    ]
    assert result["count"] == len(result["agents"]) == 700
    assert result["truncated"]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"contained": True, "items": [{"effect": "EFFECT_DENY"}]}, "SUCCESS"),
        ({"contained": False, "items": [{"effect": "EFFECT_ALLOW"}]}, "FAILED"),
        ({"contained": True, "items": [{"effect": "EFFECT_ALLOW"}]}, "FAILED"),
        ({"contained": True, "items": []}, "FAILED"),
        ({"items": []}, "FAILED"),
        ({}, "FAILED"),
    ],
    ids=["contained", "allowed", "contradiction", "proved_by_nothing", "nothing_replayed", "empty"],
)
def test_only_a_proved_containment_is_a_success(answer: dict[str, Any], status: str) -> None:
    """Whatever else control says, it is FAILED."""
    control = FakeControl(**{"ContainmentService/VerifyContainment": answer})

    assert control.run("verify-containment", {"agent": "banking"})["status"] == status


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"ok": True, "reports": [{"log": "control", "ok": True}]}, "SUCCESS"),
        ({"ok": False, "reports": [{"log": "control", "ok": False}]}, "FAILED"),
        ({"ok": True, "reports": [{"log": "control"}]}, "FAILED"),
        ({"ok": True, "reports": []}, "FAILED"),
    ],
    ids=["whole", "broken", "contradiction", "nothing_verified"],
)
def test_only_whole_logs_are_a_success(answer: dict[str, Any], status: str) -> None:
    """Nothing verified is not verified."""
    control = FakeControl(**{"AuditService/VerifyLogs": answer})

    assert control.run("verify-audit-log")["status"] == status


@pytest.mark.parametrize(
    ("state", "status", "is_final", "is_granted"),
    [
        ("PENDING_APPROVAL", "PENDING", False, False),
        ("RUNNING", "PENDING", False, True),
        ("DONE", "SUCCESS", True, True),
        ("REFUSED", "SUCCESS", True, False),
        ("EXPIRED", "SUCCESS", True, False),
        ("CANCELLED", "SUCCESS", True, False),
        ("FAILED", "SUCCESS", True, True),
    ],
)
def test_get_operation_tells_how_it_ended(
    state: str, status: str, is_final: bool, is_granted: bool
) -> None:
    """That it was refused is an answer, and no failure of asking; waiting is PENDING."""
    control = FakeControl(**{"OperationService/GetOperation": {"operation": operation(state)}})

    result = control.run(
        "get-operation", {"operation": f"operations/apr_{ID}", "wait_seconds": "10"}
    )

    assert (result["status"], result["is_final"], result["is_granted"]) == (
        status, is_final, is_granted
    )  # fmt: skip
    assert result["operation"]["state"] == state
    assert control.calls[0].body["wait"] == "10s"
    assert control.calls[0].patience_s == 10


@pytest.mark.parametrize(
    ("receipt", "status", "word"),
    [
        ({}, "SUCCESS", "done"),
        ({"durable": False}, "PARTIAL", "NOT durable"),
        (
            {"contained": False, "gates": [{"gate": "g2", "state": "STATE_LAGGARD"}]},
            "PARTIAL",
            "g2",
        ),
    ],
    ids=["whole", "not_durable", "laggard"],
)
def test_get_operation_says_no_more_than_its_receipt(
    receipt: dict[str, Any], status: str, word: str
) -> None:
    """A containment that was granted and is not whole is no success, whoever asks how it went."""
    done = operation("DONE", action="contain", detail="done", **_receipt(**receipt))
    control = FakeControl(**{"OperationService/GetOperation": {"operation": done}})

    result = control.run("get-operation", {"operation": f"operations/apr_{ID}"})

    assert (result["status"], result["is_final"]) == (status, True)
    assert word in result["summary"]


@pytest.mark.parametrize(
    "told",
    [operation("DONE", action="contain"), operation("A_NEW_ONE"), operation("UNSPECIFIED")],
    ids=["no_receipt", "new_state", "no_state"],
)
def test_get_operation_does_not_guess(told: dict[str, Any]) -> None:
    """A containment without a receipt, and a state that nobody knows, have not ended well."""
    control = FakeControl(**{"OperationService/GetOperation": {"operation": told}})

    result = control.run("get-operation", {"operation": f"operations/apr_{ID}"})

    assert result["status"] == "FAILED"
    assert result["error"]["reason"] == "MALFORMED_ANSWER"


def test_an_approval_in_a_new_state_is_not_final() -> None:
    """Nobody has decided as far as we know."""
    new = {"approval": {"state": "STATE_A_NEW_ONE"}}
    control = FakeControl(**{"ApprovalService/GetApproval": new})

    result = control.run("get-approval", {"approval": f"approvals/apr_{ID}"})

    assert (result["is_final"], result["is_granted"]) == (False, False)


def test_an_approval_that_was_granted_is_a_success() -> None:
    """And one that was refused is not."""
    asked = {"question": "Eradicate?"}
    method = "OperationService/RequestConfirmation"

    granted = FakeControl(**{method: {"operation": operation("DONE")}}).run(
        "request-approval", asked
    )
    refused = FakeControl(**{method: {"operation": operation("REFUSED")}}).run(
        "request-approval", asked
    )

    assert granted["status"] == "SUCCESS"
    assert refused["error"]["reason"] == "APPROVAL_REFUSED"


def test_an_approval_shows_no_argument() -> None:
    """The canonical form of a call holds its arguments; a SOAR's case is no place for them."""
    method = "ApprovalService/GetApproval"
    control = FakeControl(**{method: {"approval": {"canonical": "c2VjcmV0LWNhbmFyeQ=="}}})

    result = control.run("get-approval", {"approval": f"approvals/apr_{ID}"})

    assert "canary" not in json.dumps(result)
    assert "c2VjcmV0" not in json.dumps(result)


def test_revoking_needs_to_be_told_whose() -> None:
    """Nobody revokes everything by leaving a field empty."""
    nobody = FakeControl().run("revoke-tokens", {"reason": "r"})
    half = FakeControl().run("revoke-tokens", {"reason": "r", "token_id": "4f"})

    assert nobody["error"]["class"] == half["error"]["class"] == "BAD_INPUT"


def test_a_revocation_that_lags_is_partial() -> None:
    """The gates that have not acknowledged are named."""
    method = "TokenService/RevokeTokens"
    control = FakeControl(**{method: {"revocation": {"epoch": "4"}, "laggards": ["travel"]}})

    result = control.run("revoke-tokens", {"agent": "banking", "reason": "r"})

    assert result["status"] == "PARTIAL"
    assert "travel" in result["summary"]


def test_evidence_is_given_whole_with_its_hash() -> None:
    """All pages as they came; the hash is over what is given; more than asked for is PARTIAL."""
    method = "AuditService/ExportEvidence"
    page = filled(method, nextPageToken="more", sha256="aa")
    last = filled(method, sha256="bb")

    whole = FakeControl(**{method: [page, last]}).run("export-evidence", {"agent": "banking"})
    cut = FakeControl(**{method: [page]}).run("export-evidence", {"agent": "banking", "limit": "1"})

    canonical = json.dumps(
        whole["evidence"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert whole["status"] == "SUCCESS"
    assert whole["evidence"]["pages"] == [page, last]
    assert whole["page_sha256"] == ["aa", "bb"]
    assert whole["sha256"] == hashlib.sha256(canonical.encode()).hexdigest()
    assert cut["status"] == "PARTIAL"
    assert cut["truncated"]


def test_an_incident_is_opened_as_it_was_described() -> None:
    """Techniques become a list; what was left out is left out."""
    method = "IncidentService/OpenIncident"
    control = FakeControl(**{method: filled(method)})

    control.run(
        "open-incident",
        {"agent": "banking", "title": "t", "techniques": "AML.T0053, T1041", "severity": "HIGH"},
    )

    assert control.calls[0].body == {
        "requestId": KEY,
        "agent": "banking",
        "title": "t",
        "severity": "HIGH",
        "verdict": "VERDICT_UNDETERMINED",
        "techniques": ["AML.T0053", "T1041"],
    }


def test_an_update_of_nothing_is_refused() -> None:
    """Otherwise a playbook with an empty variable would believe that it had said something."""
    result = FakeControl().run("update-incident", {"incident": "incidents/inc_1"})

    assert result["error"]["class"] == "BAD_INPUT"


def test_connectivity_is_proved_by_what_is_not_there() -> None:
    """NOT_FOUND means: reached, trusted, accepted. Anything else is an error."""
    method = "OperationService/GetOperation"
    missing = ActionError(ErrorClass.NOT_FOUND, "no such operation")
    refused = ActionError(ErrorClass.REFUSED, "unknown token", reason="UNAUTHENTICATED")

    good = FakeControl(**{method: missing}).run("test-connectivity")
    bad = FakeControl(**{method: refused}).run("test-connectivity")
    other = FakeControl(**{method: {"operation": operation("DONE")}}).run("test-connectivity")

    assert good["status"] == "SUCCESS"
    assert bad["error"]["reason"] == "UNAUTHENTICATED"
    assert other["error"]["reason"] == "NOT_CONTROL"


def test_words_of_an_agent_steer_no_terminal() -> None:
    """What stands in a summary or an error is printable, and not endless."""
    hostile = "a\x1b]52;c;cm0=\x07\u202e\u061c\u2060\ufeff\U000e0041" + "b" * 5000
    control = FakeControl(
        **{"ContainmentService/VerifyContainment": {"statement": hostile, "contained": True}}
    )
    error = ActionError(ErrorClass.FAILED, hostile, reason=hostile, remedy=hostile)

    summary = control.run("verify-containment", {"agent": "banking"})["summary"]

    for text in (summary, error.message, error.reason, error.remedy, str(error)):
        assert not set(text) & set("\x1b\x07\u202e\u061c\u2060\ufeff\U000e0041")
        assert len(text) <= 1000


def test_words_of_an_agent_steer_nothing_in_lists_either() -> None:
    """Each target and each release has a summary of its own."""
    waits = {"operation": operation("PENDING_APPROVAL", summary="a\x1b[2J\u202e" + "b" * 5000)}
    control = FakeControl(
        **{
            Contain: waits,
            Release: waits,
            "ContainmentService/ListDirectives": {"directives": [{"epoch": "5"}]},
        }
    )

    fleet = control.run("contain-agents", parameters("contain-agents"))
    released = control.run("release-agent", {"agent": "banking", "reason": "r"})

    for item in (*fleet["targets"], *released["releases"]):
        assert "\x1b" not in item["summary"]
        assert len(item["summary"]) <= 1000


@pytest.mark.parametrize("broken", ["?", "é", "AAA"], ids=["sign", "letter", "length"])
def test_what_is_no_base64_is_a_failure(broken: str) -> None:
    """Not an exception either."""
    result = FakeControl(**{Contain: _receipt(signature=broken)}).run(
        "contain-agent", parameters("contain-agent")
    )

    assert result["error"]["reason"] == "MALFORMED_ANSWER"


def test_an_entry_that_is_nested_without_end_is_a_failure() -> None:
    """Not an exception, whatever control sends."""
    deep = base64.b64encode(b"[" * 200_000).decode()
    control = FakeControl(**{"AuditService/ListEntries": {"entries": [{"json": deep}]}})

    assert control.run("search-audit")["error"]["reason"] == "MALFORMED_ANSWER"

# ruff: noqa: S101 - the platform's own form of tests
"""Tests of the adapter, run as the platform runs such files, without a control."""

import json

import demistomock as demisto
import Holdfast
import pytest
from CommonServerPython import DemistoException

ASSET = {"endpoint": "https://127.0.0.1:1", "api_token": "hfat_canary"}
HELD = {
    "status": "PENDING",
    "summary": "waits for a human",
    "action": "contain agent",
    "idempotency_key": "key-12345678",
    "operation": {
        "name": "operations/1",
        "state": "PENDING_APPROVAL",
        "fingerprint_words": "0123 a-b-c-d",
    },
}


class Control:
    """Answers what it was told to, and remembers what was asked."""

    def __init__(self, monkeypatch, *answers):
        self.calls = []
        self._answers = list(answers)
        monkeypatch.setattr(Holdfast, "perform", self)

    def __call__(self, slug, asset, parameters, key):
        self.calls.append((slug, parameters))
        answer = self._answers.pop(0)
        return {"idempotency_key": key, "action": slug.replace("-", " "), "summary": "", **answer}


@pytest.mark.parametrize(
    "command", ["holdfast-agent-contain", "holdfast-blast-radius-get", "holdfast-tokens-revoke"]
)
def test_commands_are_known(command):
    """A command names its action."""
    assert Holdfast.prefix_of(Holdfast.slug_of(command)).startswith("Holdfast.")


def test_unknown_command_is_refused():
    """A command that the integration does not have is no action."""
    with pytest.raises(NotImplementedError):
        Holdfast.slug_of("holdfast-everything-release")


def test_test_module_says_ok(monkeypatch):
    """The platform wants exactly this text."""
    Control(monkeypatch, {"status": "SUCCESS"})

    assert Holdfast.test_module(ASSET) == "ok"


def test_poll_never_orders_again(monkeypatch):
    """Every run after the first only looks at the operation."""
    done = {
        "status": "SUCCESS",
        "operation": {"name": "operations/1", "state": "DONE", "summary": "x"},
    }
    control = Control(monkeypatch, HELD, {**HELD, "action": "get operation"}, done)
    args = {"agent": "banking", "reason": "x"}

    first = Holdfast.run_command("holdfast-agent-contain", args, ASSET).to_context()
    second = Holdfast.run_command(
        "holdfast-agent-contain", first["PollingArgs"], ASSET
    ).to_context()
    third = Holdfast.run_command(
        "holdfast-agent-contain", second["PollingArgs"], ASSET
    ).to_context()

    assert [slug for slug, _ in control.calls] == [
        "contain-agent",
        "get-operation",
        "get-operation",
    ]
    assert "PollingCommand" not in third
    assert third["EntryContext"]["Holdfast(true)"]["ContainAgent"]["status"] == "SUCCESS"


def test_one_that_cannot_be_looked_at_hides_no_other(monkeypatch):
    """Of two releases one is done; that the other is not known takes nothing of it away."""
    error = {"class": "NOT_FOUND", "reason": "NOT_FOUND", "remedy": "check it", "retryable": False}
    done = {"status": "SUCCESS", "operation": {"name": "operations/1", "state": "DONE"}}
    Control(monkeypatch, done, {"status": "FAILED", "summary": "no such thing", "error": error})
    waited = [{"epoch": n, "status": "PENDING", "operation": f"operations/{n}"} for n in (1, 2)]
    args = {
        "polled_operation": "operations/1,operations/2",
        "polled_items": json.dumps(waited),
    }

    entry = Holdfast.run_command("holdfast-agent-release", args, ASSET).to_context()

    released = entry["EntryContext"]["Holdfast(true)"]["ReleaseAgent"]
    assert released["status"] == "PARTIAL"
    assert [item["status"] for item in released["releases"]] == ["SUCCESS", "FAILED"]
    assert released["releases"][1]["reason"] == "NOT_FOUND"


@pytest.mark.parametrize("state", ["REFUSED", "EXPIRED", "CANCELLED"])
def test_what_humans_did_not_grant_is_an_error(monkeypatch, state):
    """It says who and why."""
    ended = {"name": "operations/1", "state": state, "detail": "refused by bob: not now"}
    Control(monkeypatch, {"status": "SUCCESS", "operation": ended})

    with pytest.raises(DemistoException, match=f"APPROVAL_{state}.*by bob: not now"):
        Holdfast.run_command("holdfast-agent-contain", {"polled_operation": "operations/1"}, ASSET)


def test_poll_survives_a_control_that_is_away(monkeypatch):
    """What cannot be reached now may be reachable at the next look."""
    error = {"class": "UNAVAILABLE", "reason": "UNAVAILABLE", "retryable": True}
    Control(monkeypatch, {"status": "FAILED", "error": error})

    entry = Holdfast.run_command(
        "holdfast-agent-contain", {"polled_operation": "operations/1"}, ASSET
    ).to_context()

    assert entry["PollingCommand"] == "holdfast-agent-contain"


@pytest.mark.parametrize(
    "hostile",
    [
        "[click](https://evil.example)",
        "![x](https://evil.example/p.png)",
        '%%%{"message":"x"}%%%',
        "<img src=x>",
        "{{color:red}}(x)",
        "a\n# b",
        "${incident.name}",
        "a\u200eb\u200bc\u061cd\u2066e\ufefff",
    ],
)
def test_hostile_text_is_plain(hostile):
    """No link, picture, button, heading or template comes of what an agent wrote."""
    said = Holdfast.plain(hostile)

    assert not any(part in said for part in ("](", "://", "%%%", "<img", "{{", "\n", "${"))
    assert said.isascii()


def test_hostile_text_is_plain_negative_control():
    """Harmless text stays as it is."""
    assert Holdfast.plain("agent banking is held at KILL") == "agent banking is held at KILL"


def test_key_is_the_tasks(monkeypatch):
    """One task has one key however often it is tried; another one, or another incident, has another."""

    def key(incident, task):
        context = {"ParentEntry": {"id": "1", "entryTask": {"taskId": task, "playbookName": "p"}}}
        monkeypatch.setattr(demisto, "callingContext", {"context": context}, raising=False)
        monkeypatch.setattr(demisto, "investigation", lambda: {"id": incident})
        return Holdfast.run_key("contain-agent", {"agent": "banking"})

    assert key("1", "2") == key("1", "2")
    assert len({key("1", "2"), key("1", "3"), key("2", "2")}) == 3


def test_no_setting_weakens_tls():
    """Even a parameter that is smuggled in changes nothing."""
    params = {"endpoint": "https://c:1", "insecure": True, "unsecure": True, "verify": False}

    assert json.dumps(Holdfast.asset_of(params)) == json.dumps({"endpoint": "https://c:1"})


@pytest.mark.parametrize("name", ["wait_for_decision", "interval_in_seconds", "timeout_in_seconds"])
def test_wrong_argument_orders_nothing(monkeypatch, name):
    """An argument of the platform is checked before anything is sent."""
    control = Control(monkeypatch, HELD)

    with pytest.raises(DemistoException, match="BAD_INPUT"):
        Holdfast.run_command("holdfast-agent-contain", {"agent": "banking", name: "perhaps"}, ASSET)

    assert control.calls == []


def test_run_without_a_mark_has_a_key_of_its_own(monkeypatch):
    """Where the platform does not say what run it is, no earlier answer is taken for this one's."""
    monkeypatch.setattr(demisto, "callingContext", {}, raising=False)

    keys = {Holdfast.run_key("contain-agent", {"agent": "banking"}) for _ in range(2)}

    assert len(keys) == 2


def test_text_of_an_unexpected_error_goes_nowhere(monkeypatch):
    """Neither the entry nor the log has it, nor a traceback."""
    said = []

    def fail(*_args, **_kwargs):
        raise RuntimeError("hfat_canary")

    monkeypatch.setattr(Holdfast, "perform", fail)
    monkeypatch.setattr(demisto, "command", lambda: "holdfast-agents-list")
    monkeypatch.setattr(demisto, "args", dict)
    monkeypatch.setattr(demisto, "params", lambda: {"endpoint": "https://127.0.0.1:1"})
    for name in ("results", "info", "debug", "error", "log"):
        monkeypatch.setattr(demisto, name, lambda *what: said.append(str(what)))

    with pytest.raises(SystemExit):
        Holdfast.main()

    assert "internal error (RuntimeError)" in "".join(said)
    assert "hfat_canary" not in "".join(said)

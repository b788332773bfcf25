# SPDX-License-Identifier: Apache-2.0
"""What the log says, what a passkey signs, and what each tier asks."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.approvals.challenge import grant_challenge
from sidecar.approvals.record import entry_of, event_of, lapsed_entry_of
from sidecar.approvals.tiers import DEFAULT_TIERS, TierRule, bounded
from sidecar.approvals.values import Cause, Tier, Verdict
from sidecar.audit.entry import EntryEncoder, decode_entry
from sidecar.clock import ManualClock
from tests.unit.approvals.approvals_kit import (
    BOB,
    CAROL,
    Host,
    action_request,
    call_request,
    signed,
)

CANARY = "canary-4711"


# --- entries --------------------------------------------------------------------------------------


async def life(host: Host) -> list[dict[str, Any]]:
    """Return the entries of everything that can happen, with a canary wherever an agent writes."""
    request = call_request(
        nonce=CANARY, summary=f"it wants {CANARY}", quorum=2, is_passkey_needed=True, epoch=2**63
    )
    approval = await host.opened(request)
    challenge = grant_challenge(approval.id, request.fingerprint)
    for voter in (BOB, CAROL):
        await host.vote(approval, voter, assertion=signed(voter.human_id, challenge), reason="ok")
    await host.hold(request)
    refused = await host.opened(call_request(nonce="r"))
    await host.vote(refused, BOB, Verdict.REFUSE, reason="no\u200b")
    gone = await host.opened(call_request(nonce="c"))
    await host.approvals.cancel(gone.id, Cause.AGENT_GONE, detail="it went away")
    action = await host.approvals.open_action(action_request())
    await host.vote(action, BOB)
    await host.approvals.take(action.id)
    await host.approvals.finish(action.id, result='{"v":1}', detail="released")
    await host.opened(call_request(nonce="e"))
    host.clock.advance(seconds=1800)
    await host.approvals.tick()
    return host.audit.entries


async def test_every_transition_has_its_entry(host: Host) -> None:
    """With who, what, when and why."""
    entries = await life(host)

    assert [entry["event"] for entry in entries] == [
        *("opened", "voted", "granted", "consumed"),
        *("opened", "refused"),
        *("opened", "cancelled"),
        *("opened", "granted", "consumed", "executed"),
        *("opened", "expired"),
    ]
    used = entries[3]
    assert used["approval"] == "approvals/apr_" + "1".zfill(32)
    assert (used["agent"], used["tool"], used["tier"]) == ("banking", "send_money", "MEDIUM")
    assert (used["decision_id"], used["consuming_decision_id"]) == ("dec_use", "dec_use")
    assert (used["epoch"], used["grant_epoch"]) == (str(2**63), "7")
    assert [vote["operator"] for vote in used["votes"]] == ["bob", "carol"]
    assert entries[7]["cause"] == "AGENT_GONE"
    assert (entries[8]["action"], entries[8]["requester"]) == ("release", "alice")
    assert entries[11]["result"] == '{"v":1}'


async def test_the_real_log_takes_every_entry(host: Host) -> None:
    """No floats, no nulls, no wide integers, and within its size."""
    encoder = EntryEncoder(origin="test", clock=ManualClock())

    entries = [*(await life(host))]
    for seq, entry in enumerate(entries):
        line = encoder.encode(seq, {"kind": "approval", **entry})
        assert decode_entry(line)["event"] == entry["event"]


async def test_no_entry_holds_a_word_of_the_agent(host: Host) -> None:
    """Neither canonical form nor summary: they may hold secrets."""
    entries = await life(host)

    assert CANARY not in json.dumps(entries)


async def test_an_assertion_stands_in_the_entry_of_its_vote(host: Host) -> None:
    """Once, whole; elsewhere only that it was signed."""
    _, voted, granted, consumed, *_ = await life(host)

    def assertions(entry: dict[str, Any]) -> list[bool]:
        return ["assertion" in vote for vote in entry["votes"]]

    assert [assertions(entry) for entry in (voted, granted, consumed)] == [
        [True],
        [False, True],
        [False, False],
    ]
    assert all(vote["is_signed"] for vote in consumed["votes"])


async def test_a_lapse_says_which_announcement_it_takes_back(host: Host) -> None:
    """By event, version, and who or which decision it was of."""
    approval = await host.opened()
    granted = (await host.vote(approval, BOB)).approval
    used = replace(granted, version=3, consuming_decision_id="dec_9")

    lapse = lapsed_entry_of(granted)

    assert (lapse["lapsed_event"], lapse["version"], lapse["operator"]) == ("granted", 2, "bob")
    assert lapsed_entry_of(used)["consuming_decision_id"] == "dec_9"
    assert entry_of(approval)["event"] == event_of(approval) == "opened"


# --- challenge ------------------------------------------------------------------------------------


def test_the_challenge_is_fixed() -> None:
    """What was signed must verify for ever."""
    statement = b'{"action":"grant","approval":"apr_1","fingerprint":"f","v":1}'

    assert grant_challenge("apr_1", "f") == sha256(statement).digest()


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_other_approvals_have_other_challenges(one: tuple[str, str], two: tuple[str, str]) -> None:
    """The parts cannot run into each other."""

    def challenge(parts: tuple[str, str]) -> bytes:
        return grant_challenge(*(part.encode(errors="replace").decode() for part in parts))

    same = [part.encode(errors="replace") for part in one] == [
        part.encode(errors="replace") for part in two
    ]
    assert (challenge(one) == challenge(two)) == same


# --- tiers ----------------------------------------------------------------------------------------


def test_a_higher_tier_never_asks_less() -> None:
    """Quorum, passkey and reason grow; the life of a grant shrinks."""
    rules = [DEFAULT_TIERS[tier] for tier in sorted(Tier)]

    for lower, higher in pairwise(rules):
        assert higher.quorum >= lower.quorum
        assert higher.is_passkey_needed >= lower.is_passkey_needed
        assert higher.is_reason_needed >= lower.is_reason_needed
        assert higher.grant_life_s <= lower.grant_life_s
    assert all(rule == bounded(rule) for rule in rules)
    assert rules[-1].quorum == 2


RULES = st.builds(
    TierRule,
    expiry_s=st.integers(-10, 10**6),
    grant_life_s=st.integers(-10, 10**6),
    quorum=st.integers(-3, 50),
    is_passkey_needed=st.booleans(),
    is_reason_needed=st.booleans(),
    remind_at=st.floats(-1, 2),
    escalate_at=st.floats(-1, 2),
)


@given(rule=RULES, quorum=st.integers(0, 50), expiry_s=st.integers(0, 10**6))
def test_a_policy_makes_a_tier_only_stricter_within_bounds(
    rule: TierRule, quorum: int, expiry_s: int
) -> None:
    """More humans, less time; never for ever, never nobody."""
    result = bounded(rule, quorum=quorum, expiry_s=expiry_s)

    assert result.quorum == min(10, max(1, rule.quorum, quorum))
    assert 30 <= result.expiry_s <= 86400
    assert result.expiry_s <= max(30, rule.expiry_s)
    assert 1 <= result.grant_life_s <= 900
    assert 0 <= result.remind_at <= 1
    assert bounded(result) == result


@pytest.mark.parametrize(
    ("quorum", "expiry_s", "expected"),
    [(0, 0, (1, 1800)), (3, 0, (3, 1800)), (0, 60, (1, 60)), (1, 7200, (1, 1800)), (0, 5, (1, 30))],
)
def test_what_a_policy_does_not_say_is_the_tiers(
    quorum: int, expiry_s: int, expected: tuple[int, int]
) -> None:
    """Zero says nothing."""
    rule = bounded(DEFAULT_TIERS[Tier.MEDIUM], quorum=quorum, expiry_s=expiry_s)

    assert (rule.quorum, rule.expiry_s) == expected

# SPDX-License-Identifier: Apache-2.0
"""What operators may ask for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sidecar.containment import orders
from sidecar.containment.orders import (
    DEFAULT_THROTTLE,
    ReleaseOrder,
    RevocationOrder,
    UnsealOrder,
    check_target,
)
from sidecar.errors import UntrustedInputError
from sidecar.model import Level, Target, TargetKind
from tests.unit.containment.containment_kit import agent, order

GOOD_TARGETS = [
    agent("banking"),
    Target(kind=TargetKind.SESSION, agent="banking", session="S-1:2"),
    Target(kind=TargetKind.TOOL, tool="mail/send_mail"),
    Target(kind=TargetKind.TOOL_AT_AGENT, agent="banking", tool="send_money"),
    Target(kind=TargetKind.DESTINATION, destination="api.example.com"),
    Target(kind=TargetKind.DESTINATION, destination=".example.com"),
    Target(kind=TargetKind.DESTINATION, destination="10.0.0.1"),
    Target(kind=TargetKind.DESTINATION, destination="2001:db8::1"),
    Target(kind=TargetKind.PRINCIPAL, principal="emma@example.com"),
    Target(kind=TargetKind.LABELS, labels=(("env", "prod"), ("team", "core"))),
    Target(kind=TargetKind.ALL),
]
BAD_TARGETS = [
    agent(""),
    agent("*"),
    agent("bank*"),
    agent("Banking"),
    agent("banking\n"),
    agent(" banking"),
    agent("ｂanking"),
    Target(kind=TargetKind.AGENT, agent="banking", tool="send"),
    Target(kind=TargetKind.SESSION, session="s"),
    Target(kind=TargetKind.SESSION, agent="banking", session="a b"),
    Target(kind=TargetKind.TOOL, tool="SEND"),
    Target(kind=TargetKind.DESTINATION, destination="API.example.com"),
    Target(kind=TargetKind.DESTINATION, destination="api.example.com."),
    Target(kind=TargetKind.DESTINATION, destination="*.example.com"),
    Target(kind=TargetKind.DESTINATION, destination="."),
    Target(kind=TargetKind.DESTINATION, destination="127.1"),
    Target(kind=TargetKind.DESTINATION, destination="0x7f000001"),
    Target(kind=TargetKind.DESTINATION, destination="2001:DB8::1"),
    Target(kind=TargetKind.DESTINATION, destination="a" * 254),
    Target(kind=TargetKind.DESTINATION, destination="exämple.com"),
    Target(kind=TargetKind.PRINCIPAL, principal="emma example"),
    Target(kind=TargetKind.PRINCIPAL, principal="e" * 321),
    Target(kind=TargetKind.LABELS),
    Target(kind=TargetKind.LABELS, labels=(("env", "*"),)),
    Target(kind=TargetKind.LABELS, labels=(("env", "a"), ("env", "b"))),
    Target(kind=TargetKind.LABELS, labels=tuple((f"k{n}", "v") for n in range(17))),
    Target(kind=TargetKind.ALL, agent="banking"),
]


@pytest.mark.parametrize("target", GOOD_TARGETS, ids=lambda target: target.describe())
def test_good_target_is_taken_as_it_is(target: Target) -> None:
    """Nothing is trimmed or folded."""
    assert check_target(target) is target


@pytest.mark.parametrize("target", BAD_TARGETS, ids=repr)
def test_e12_bad_target_is_refused(target: Target) -> None:
    """Globs, odd spellings, missing and superfluous fields name nothing."""
    with pytest.raises(UntrustedInputError):
        check_target(target)


def test_e12_glob_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check on agent ids, a glob passes for an agent's name."""
    monkeypatch.setattr(orders, "check_agent_id", lambda text: text)

    assert check_target(agent("*")).agent == "*"


@pytest.mark.parametrize(
    "change",
    [
        {"request_id": "short"},
        {"request_id": "has space in it"},
        {"reason": ""},
        {"reason": "  \n "},
        {"reason": "x" * 1001},
        {"reason": "bell \a"},
        {"reason": "lone \ud800"},
        {"level": 6},
        {"ttl": timedelta(milliseconds=999)},
        {"ttl": timedelta(days=31)},
        {"ttl": timedelta(seconds=-5)},
        {"throttle_calls_per_minute": -1},
        {"throttle_calls_per_minute": 6001},
        {"target": agent("*")},
    ],
    ids=repr,
)
def test_bad_order_is_refused(change: dict[str, Any]) -> None:
    """An order that is not what it must be is not made."""
    with pytest.raises(UntrustedInputError):
        order(**change)


def test_order_defaults() -> None:
    """Without a ttl a directive stands until released; a throttle is six a minute."""
    plain = order()

    assert (plain.ttl_ns, plain.throttle) == (None, DEFAULT_THROTTLE)
    assert order(ttl=timedelta(seconds=1.5)).ttl_ns == 1_500_000_000


@pytest.mark.parametrize(
    "change",
    [
        {"target": agent("mail")},
        {"level": Level.FREEZE},
        {"reason": "another"},
        {"ttl": timedelta(hours=1)},
        {"throttle_calls_per_minute": 7},
    ],
    ids=repr,
)
def test_e01_every_field_makes_another_order(change: dict[str, Any]) -> None:
    """The fingerprint covers the whole order, except its request id."""
    assert order(**change).fingerprint() != order().fingerprint()
    assert order("another-id").fingerprint() == order().fingerprint()


def test_orders_of_different_kinds_never_share_a_fingerprint() -> None:
    """A release is not mistaken for an unsealing with the same words."""
    fingerprints = {
        order(reason="same").fingerprint(),
        ReleaseOrder(request_id="request-1", directive_epoch=1, reason="same").fingerprint(),
        UnsealOrder(request_id="request-1", reason="same").fingerprint(),
        RevocationOrder(request_id="request-1", reason="same", agent="banking").fingerprint(),
    }

    assert len(fingerprints) == 4


@pytest.mark.parametrize("epoch", [0, -1, 2**63])
def test_release_names_a_directive(epoch: int) -> None:
    """There is no directive 0."""
    with pytest.raises(UntrustedInputError):
        ReleaseOrder(request_id="release-1", directive_epoch=epoch, reason="because")


@pytest.mark.parametrize(
    "selectors",
    [
        {},
        {"jti": "t1"},
        {"agent": "*"},
        {"session": "a b"},
        {"issuer": "x\n"},
        {"issued_before_s": -1},
        {"issued_before_s": 2**54},
    ],
    ids=repr,
)
def test_bad_revocation_is_refused(selectors: dict[str, Any]) -> None:
    """A revocation selects something that a token can have."""
    with pytest.raises(UntrustedInputError):
        RevocationOrder(request_id="revoke-11", reason="because", **selectors)


def test_revocation_by_age_alone_is_everything() -> None:
    """Only a revocation that names nobody is one of all tokens."""
    everything = RevocationOrder(request_id="revoke-11", reason="because", issued_before_s=5)
    one = RevocationOrder(request_id="revoke-11", reason="because", jti="t", issuer="i")

    assert (everything.is_everything, one.is_everything) == (True, False)
    assert everything.fingerprint() != one.fingerprint()

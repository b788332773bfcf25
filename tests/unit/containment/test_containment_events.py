# SPDX-License-Identifier: Apache-2.0
"""Events as bytes, now and for ever."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.containment.events import (
    Contained,
    Event,
    EventKind,
    Expired,
    PolicyActivated,
    Released,
    RevocationRule,
    TokensRevoked,
    Unsealed,
    decode_event,
    decode_rule,
    directive_from_json,
    encode_event,
    encode_rule,
    target_from_json,
)
from sidecar.errors import IntegrityError
from sidecar.latch.format import Record
from sidecar.model import Directive, Level, OperatorKind, Target, TargetKind

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=40)
EPOCH = st.integers(1, 2**63 - 1)
NAME = st.sampled_from(["banking", "mail", "a.b-c"])
TARGETS = st.one_of(
    st.builds(Target, kind=st.just(TargetKind.AGENT), agent=NAME),
    st.builds(Target, kind=st.just(TargetKind.SESSION), agent=NAME, session=NAME),
    st.builds(Target, kind=st.just(TargetKind.TOOL), tool=NAME),
    st.builds(Target, kind=st.just(TargetKind.TOOL_AT_AGENT), agent=NAME, tool=NAME),
    st.builds(Target, kind=st.just(TargetKind.DESTINATION), destination=NAME),
    st.builds(Target, kind=st.just(TargetKind.PRINCIPAL), principal=NAME),
    st.builds(
        Target,
        kind=st.just(TargetKind.LABELS),
        labels=st.sampled_from([(("env", "x"),), (("env", "x"), ("team", "y"))]),
    ),
    st.just(Target(kind=TargetKind.ALL)),
)
DIRECTIVES = st.builds(
    Directive,
    epoch=EPOCH,
    target=TARGETS,
    level=st.sampled_from(Level),
    reason=TEXT,
    author=TEXT,
    create_time_ns=EPOCH,
    expire_time_ns=st.none() | EPOCH,
    request_id=TEXT,
    request_fingerprint=TEXT,
    throttle_calls_per_minute=st.integers(1, 6000),
)
RULES = st.builds(
    RevocationRule,
    jti=st.none() | NAME,
    agent=NAME,
    session=st.none() | NAME,
    issuer=st.none() | NAME,
    issued_before_s=st.none() | st.integers(0, 2**40),
    author=TEXT,
    reason=TEXT,
    epoch=EPOCH,
    create_time_ns=EPOCH,
    expire_time_s=st.none() | st.integers(0, 2**40),
)
AGREED: dict[str, Any] = {
    "approval": st.text(min_size=1, max_size=20),
    "approvers": st.lists(TEXT, max_size=3).map(tuple),
}
CONTAINED = st.builds(
    Contained,
    directive=DIRECTIVES,
    author_human_id=TEXT,
    author_kind=st.sampled_from(OperatorKind),
) | st.builds(
    Contained,
    directive=DIRECTIVES,
    ttl_ns=EPOCH,
    deadline_boot_ns=EPOCH,
    boot_id=TEXT,
    **AGREED,
)
EVENTS = st.one_of(
    CONTAINED,
    st.builds(
        Released,
        epoch=EPOCH,
        directive_epoch=EPOCH,
        releaser=TEXT,
        releaser_human_id=TEXT,
        reason=TEXT,
        create_time_ns=EPOCH,
        **AGREED,
    ),
    st.builds(
        Released,
        epoch=EPOCH,
        directive_epoch=EPOCH,
        releaser=TEXT,
        releaser_human_id=TEXT,
        reason=TEXT,
        create_time_ns=EPOCH,
        request_id=TEXT,
        request_fingerprint=TEXT,
    ),
    st.builds(Expired, epoch=EPOCH, directive_epoch=EPOCH, create_time_ns=EPOCH),
    st.builds(TokensRevoked, rule=RULES, request_id=TEXT, request_fingerprint=TEXT),
    st.builds(PolicyActivated, epoch=EPOCH, digest=TEXT, author=TEXT, create_time_ns=EPOCH),
    st.builds(
        Unsealed,
        epoch=EPOCH,
        author=TEXT,
        author_human_id=TEXT,
        reason=TEXT,
        create_time_ns=EPOCH,
        request_id=TEXT,
        request_fingerprint=TEXT,
    ),
)
# The same with what was added later: who agreed.
LATER = {
    EventKind.CONTAINED: (
        b'{"approval":"approvals/apr_1","approvers":["bob","carol"],"author_human_id":"alice",'
        b'"author_kind":"human","directive":{"author":"alice","create_time_ns":"1","epoch":"7",'
        b'"level":"KILL","reason":"why","request_fingerprint":"f","request_id":"r","target":'
        b'{"kind":"all"},"throttle_calls_per_minute":6},"v":1}'
    ),
    EventKind.RELEASED: (
        b'{"approval":"approvals/apr_1","approvers":["bob","carol"],"create_time_ns":"1",'
        b'"directive_epoch":"3","epoch":"7","reason":"why","releaser":"alice",'
        b'"releaser_human_id":"alice","request_fingerprint":"f","request_id":"r","v":1}'
    ),
}
# One record of each kind, as version 1 first wrote it. They must be read for ever.
GOLDEN = {
    EventKind.CONTAINED: (
        b'{"author_human_id":"alice","author_kind":"human","boot_id":"b","deadline_boot_ns":"5",'
        b'"directive":{"author":"alice","create_time_ns":"1","epoch":"7","expire_time_ns":"4",'
        b'"level":"KILL","reason":"why","request_fingerprint":"f","request_id":"r","target":'
        b'{"agent":"banking","kind":"agent"},"throttle_calls_per_minute":6},"ttl_ns":"3","v":1}'
    ),
    EventKind.RELEASED: (
        b'{"create_time_ns":"1","directive_epoch":"3","epoch":"7","reason":"why","releaser":"bob",'
        b'"releaser_human_id":"bob","request_fingerprint":"f","request_id":"r","v":1}'
    ),
    EventKind.EXPIRED: b'{"create_time_ns":"1","directive_epoch":"3","epoch":"7","v":1}',
    EventKind.TOKENS_REVOKED: (
        b'{"request_fingerprint":"f","request_id":"r","rule":{"agent":"banking","author":"alice",'
        b'"create_time_ns":"1","epoch":"7","issued_before_s":"9","reason":"why"},"v":1}'
    ),
    EventKind.POLICY_ACTIVATED: (
        b'{"author":"alice","create_time_ns":"1","digest":"d","epoch":"7","v":1}'
    ),
    EventKind.UNSEALED: (
        b'{"author":"alice","author_human_id":"alice","create_time_ns":"1","epoch":"7",'
        b'"reason":"why","request_fingerprint":"f","request_id":"r","v":1}'
    ),
}


@given(event=EVENTS)
@settings(max_examples=200, deadline=None)
def test_event_survives_encoding(event: Event) -> None:
    """Decoding what was encoded gives the same event, under the same epoch."""
    record = encode_event(event)

    assert record.epoch == event.epoch
    assert decode_event(record) == event


@given(rule=RULES)
@settings(max_examples=50, deadline=None)
def test_rule_survives_encoding(rule: RevocationRule) -> None:
    """A revocation goes to a gate and back unchanged."""
    assert decode_rule(encode_rule(rule)) == rule


@pytest.mark.parametrize("kind", EventKind)
def test_e14_first_version_of_each_kind_is_read_and_written_for_ever(kind: EventKind) -> None:
    """The bytes that version 1 wrote mean today what they meant then."""
    record = Record(kind, 7, GOLDEN[kind])

    assert encode_event(decode_event(record)) == record


@pytest.mark.parametrize("kind", LATER)
def test_e14_records_with_consent_are_read_and_written_for_ever(kind: EventKind) -> None:
    """Who agreed is in the record; a record from before says that nobody had to."""
    record = Record(kind, 7, LATER[kind])

    event = decode_event(record)
    before = decode_event(Record(kind, 7, GOLDEN[kind]))

    assert encode_event(event) == record
    assert isinstance(event, Contained | Released)
    assert isinstance(before, Contained | Released)
    assert (event.approval, event.approvers) == ("approvals/apr_1", ("bob", "carol"))
    assert (before.approval, before.approvers) == ("", ())


def changed(kind: EventKind, **change: Any) -> Record:
    """Return the golden record of *kind* with other or further keys; None takes one away."""
    body = json.loads(GOLDEN[kind]) | change
    return Record(
        kind,
        7,
        json.dumps({key: value for key, value in body.items() if value is not None}).encode(),
    )


def test_e14_unknown_keys_are_ignored() -> None:
    """A later version may say more about an event without blinding this one."""
    assert decode_event(changed(EventKind.CONTAINED, mood="grim")) == decode_event(
        Record(EventKind.CONTAINED, 7, GOLDEN[EventKind.CONTAINED])
    )


@pytest.mark.parametrize(
    "record",
    [
        Record(99, 7, GOLDEN[EventKind.EXPIRED]),
        Record(EventKind.EXPIRED, 8, GOLDEN[EventKind.EXPIRED]),
        changed(EventKind.EXPIRED, v=2),
        changed(EventKind.EXPIRED, v=None),
        changed(EventKind.EXPIRED, directive_epoch=None),
        changed(EventKind.EXPIRED, directive_epoch=3),
        changed(EventKind.EXPIRED, directive_epoch="-3"),
        changed(EventKind.EXPIRED, directive_epoch="9" * 30),
        changed(EventKind.EXPIRED, directive_epoch="٣"),
        changed(EventKind.CONTAINED, directive=None),
        changed(EventKind.CONTAINED, directive=[]),
        changed(EventKind.CONTAINED, author_kind="robot"),
        changed(EventKind.CONTAINED, approval=7),
        changed(EventKind.CONTAINED, approvers="bob"),
        changed(EventKind.RELEASED, approvers=["bob", 7]),
        changed(EventKind.TOKENS_REVOKED, rule={}),
        changed(
            EventKind.TOKENS_REVOKED,
            rule={"author": "a", "reason": "r", "epoch": "7", "create_time_ns": "1"},
        ),
        Record(EventKind.EXPIRED, 7, b""),
        Record(EventKind.EXPIRED, 7, b"[]"),
        Record(EventKind.EXPIRED, 7, b"\xff"),
        Record(EventKind.EXPIRED, 7, b"[" * 20000),
        Record(EventKind.EXPIRED, 7, b'{"v":1'),
    ],
)
def test_e14_what_cannot_be_understood_denies(record: Record) -> None:
    """An unknown kind, version or shape is an integrity error and nothing else."""
    with pytest.raises(IntegrityError):
        decode_event(record)


@pytest.mark.parametrize(
    "change",
    [
        {"level": "DOOM"},
        {"target": {"kind": "galaxy"}},
        {"target": {"kind": "labels", "labels": {"a": 1}}},
        {"target": {"kind": "agent", "agent": 7}},
        {"target": None},
        {"throttle_calls_per_minute": True},
        {"throttle_calls_per_minute": "6"},
    ],
)
def test_directive_that_cannot_be_understood_denies(change: dict[str, Any]) -> None:
    """A directive with a level or target of a later version is not half-read."""
    body = json.loads(GOLDEN[EventKind.CONTAINED])["directive"] | change

    with pytest.raises(IntegrityError):
        directive_from_json(body)


def test_unknown_target_negative_control() -> None:
    """A target of a known kind is read: what is refused above is refused for its kind."""
    assert target_from_json({"kind": "agent", "agent": "x", "later": 1}).agent == "x"


@given(payload=st.binary(max_size=80), kind=st.integers(0, 8))
@settings(max_examples=200, deadline=None)
def test_garbage_is_refused_as_garbage(payload: bytes, kind: int) -> None:
    """Whatever the bytes are, nothing but an integrity error comes out."""
    with pytest.raises(IntegrityError):
        decode_event(Record(kind, 1, payload))
    with pytest.raises(IntegrityError):
        decode_rule(payload)

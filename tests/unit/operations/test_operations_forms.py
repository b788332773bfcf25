# SPDX-License-Identifier: Apache-2.0
"""What is shown is what is hashed, and what is carried out is read from those bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.approvals.values import Approval
from sidecar.canonical import canonical_control, fingerprint_control
from sidecar.containment.events import Contained
from sidecar.containment.orders import ContainmentOrder
from sidecar.errors import HoldfastError, IntegrityError
from sidecar.model import Fingerprint, Level, Target, TargetKind
from sidecar.operations.changes import change_between
from sidecar.operations.forms import (
    activation_form,
    activation_in,
    activation_sentence,
    containment_in,
    containment_sentence,
    release_form,
    release_in,
    release_sentence,
)
from sidecar.operations.values import Action
from sidecar.policy.bundle import load_bundle_from_files
from tests.unit.containment.containment_kit import ALL, contained, directive, order, release
from tests.unit.operations.operations_kit import NEVER, PAY, PING, bundle_files
from tests.unit.operations.test_operations_values import APPROVAL, REQUEST

TARGETS = st.sampled_from(
    [
        ALL,
        Target(kind=TargetKind.AGENT, agent="banking"),
        Target(kind=TargetKind.SESSION, agent="banking", session="s:1"),
        Target(kind=TargetKind.TOOL, tool="files/read"),
        Target(kind=TargetKind.TOOL_AT_AGENT, agent="banking", tool="pay"),
        Target(kind=TargetKind.DESTINATION, destination=".example.com"),
        Target(kind=TargetKind.PRINCIPAL, principal="emma@example.com"),
        Target(kind=TargetKind.LABELS, labels=(("a", "1"), ("b", "2"))),
    ]
)
REASONS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80).filter(
    lambda text: not text.isspace()
)
ORDERS = st.builds(
    ContainmentOrder,
    request_id=st.just("request-1"),
    target=TARGETS,
    level=st.sampled_from(Level),
    reason=REASONS,
    ttl=st.none() | st.timedeltas(timedelta(seconds=1), timedelta(days=30)),
    throttle_calls_per_minute=st.integers(0, 6000),
)
FAR = contained(7, Target(kind=TargetKind.AGENT, agent="banking"))


def approval(canonical: bytes, action: Action, fingerprint: str = "") -> Approval:
    """Return an approval whose form is *canonical*."""
    return replace(
        APPROVAL,
        request=replace(
            REQUEST,
            canonical=canonical,
            fingerprint=Fingerprint(fingerprint or sha256(canonical).hexdigest()),
            action=action.value,
            request_id="request-1",
        ),
    )


def test_canonical_control_hashes_to_the_fingerprint() -> None:
    """One form, one hash: those of ``fingerprint_control``."""
    body = {"b": 1, "a": ["x", "ü"]}

    form = canonical_control(action="release", body=body)

    assert form == '{"action":"release","body":{"a":["x","ü"],"b":1},"v":1}'.encode()
    assert sha256(form).hexdigest() == fingerprint_control(action="release", body=body)


@given(made=ORDERS)
def test_order_comes_back_from_what_was_shown(made: ContainmentOrder) -> None:
    """The order that is carried out has the fingerprint that was granted."""
    found = containment_in(approval(made.canonical(), Action.CONTAIN))

    assert found.fingerprint() == made.fingerprint() == sha256(made.canonical()).hexdigest()
    assert (found.target, found.level, found.reason) == (made.target, made.level, made.reason)
    assert (found.ttl_ns, found.throttle) == (made.ttl_ns, made.throttle)


def test_release_comes_back_from_what_was_shown() -> None:
    """Directive and reason are those of the form."""
    made = release(7, "request-1")

    assert release_in(approval(release_form(made, FAR), Action.RELEASE)) == made


@pytest.mark.parametrize(
    "other",
    [
        replace(FAR, directive=directive(7, level=Level.FREEZE)),
        replace(FAR, directive=directive(7, ALL)),
        replace(FAR, directive=directive(7, author="mallory")),
        replace(FAR, directive=directive(7, reason="nothing much")),
        contained(8),
    ],
)
def test_release_of_another_directive_has_another_fingerprint(other: Contained) -> None:
    """Every fact about the directive is bound."""
    made = release(7)

    assert release_form(made, FAR) != release_form(made, other)
    assert release_form(made, FAR) != release_form(release(7, reason="because"), FAR)


@pytest.mark.parametrize(
    ("canonical", "fingerprint"),
    [
        (order().canonical(), "0" * 64),
        (order().canonical().replace(b"KILL", b"HOLD"), order().fingerprint()),
        (b"", ""),
        (b"{}", ""),
        (b"[]", ""),
        (b'{"action":"contain","body":[],"v":1}', ""),
        (b'{"action":"contain","body":{},"v":1}', ""),
        (b'{"action":"contain","body":{"ttl_ns":"x"},"v":1}', ""),
        (order().canonical().replace(b'"KILL"', b'"DOOM"'), ""),
        (order().canonical().replace(b'"kind":"agent"', b'"kind":"all"'), ""),
        (release_form(release(7), FAR), ""),
        (order().canonical().replace(b'"v":1', b'"v":1,"x":2'), ""),
        (order().canonical().replace(b'"v":1', b'"v":2'), ""),
    ],
)
def test_form_that_is_not_what_was_granted_is_not_carried_out(
    canonical: bytes, fingerprint: str
) -> None:
    """Bytes of another hash, another action or no sense end in an error, never in an order."""
    with pytest.raises(IntegrityError):
        containment_in(approval(canonical, Action.CONTAIN, fingerprint))


@pytest.mark.parametrize("read", [release_in, activation_in])
def test_form_of_another_action_is_not_carried_out(read: object) -> None:
    """A granted containment releases nothing and lets no bundle in."""
    with pytest.raises(HoldfastError):
        read(approval(order().canonical(), Action.CONTAIN))  # type: ignore[operator]


def test_sentences_are_one_line_and_clipped() -> None:
    """Whatever words somebody gives as a reason, the sentence stays one line."""
    hostile = "x\n\t y" + "z" * 900

    for sentence in (
        containment_sentence("soar", order(reason=hostile)),
        release_sentence("alice", release(7, reason=hostile), FAR),
    ):
        assert "\n" not in sentence
        assert "x y" in sentence
        assert sentence.endswith("…”)")
        assert len(sentence) < 300


def test_activation_comes_back_from_what_was_shown() -> None:
    """Both digests are in the form; each file that differs is shown with its lines."""
    old = load_bundle_from_files(bundle_files(PING + PAY))
    new = load_bundle_from_files(
        {**bundle_files(PING + NEVER), "limits.yaml": b"version: 1\r\nlimits: []\n"}
    )
    change = change_between(old, new, ["because"])

    form = activation_form(change)
    found = activation_in(approval(form, Action.ACTIVATE_POLICY))

    assert (found.digest, found.digest_in_force) == (new.digest, old.digest)
    body = json.loads(form)["body"]
    assert body["may_permit_more"] == ["because"]
    assert [file["path"] for file in body["files"]] == ["policies/main.cedar", "limits.yaml"]
    assert f"-{PAY}" in body["files"][0]["diff"]
    assert f"+{NEVER}" in body["files"][0]["diff"]
    assert "+version: 1\r\n" in body["files"][1]["diff"]
    assert activation_sentence("alice", change).endswith(
        "2 files differ (policies/main.cedar, limits.yaml)"
    )


def test_differences_that_nobody_can_read_are_not_shown_by_halves() -> None:
    """What does not fit is named, with its file; what fits beside it is shown whole."""
    long = "".join(f"// {number} {'x' * 80}\n" for number in range(400))
    huge = "// " + "y" * 200_000 + "\n"
    old = load_bundle_from_files(bundle_files(PING))
    files = {
        **bundle_files(PING + "// short\n"),
        "policies/long.cedar": long.encode(),
        "policies/a_huge.cedar": huge.encode(),
    }
    change = change_between(old, load_bundle_from_files(files), [])

    diffs = {file.path: file.diff for file in change.files}
    assert diffs["policies/main.cedar"].endswith("+// short\n \n")
    assert diffs["policies/long.cedar"] == diffs["policies/a_huge.cedar"]
    assert "read the file itself" in diffs["policies/long.cedar"]
    assert {file.change for file in change.files} == {"changed", "added"}
    assert len(activation_form(change)) < 40_000
    removed = change_between(load_bundle_from_files(files), old, [])
    assert {file.change for file in removed.files} == {"changed", "removed"}


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("x”) — granted by bob (“y", 'x") — granted by bob ("y'),
        ("ok\u202egnp.exe\u200b", "ok\\u{202e}gnp.exe\\u{200b}"),
    ],
    ids=["quotes", "unseen"],
)
def test_reason_neither_ends_its_quotation_nor_hides_anything(reason: str, shown: str) -> None:
    """An alert may have dictated it: what reads as ours is ours, and all of it can be seen."""
    assert containment_sentence("soar", order(reason=reason)).endswith(f"(“{shown}”)")
    assert release_sentence("alice", release(7, reason=reason), FAR).endswith(f"(“{shown}”)")

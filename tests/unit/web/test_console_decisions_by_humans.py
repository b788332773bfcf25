# SPDX-License-Identifier: Apache-2.0
"""From the form to the vote: what is counted, what comes back, and what is kept."""

from __future__ import annotations

import json

import pytest

from sidecar.approvals.challenge import grant_challenge
from sidecar.approvals.values import Approval, ApprovalState, Channel, Tier, Verdict
from tests.support.authenticator import Authenticator
from tests.support.console import Console
from tests.unit.web.web_kit import Browser, decision_form


async def state_of(console: Console, approval: Approval) -> ApprovalState:
    return (await console.approvals.get(approval.id)).state


async def enrol(console: Console, name: str) -> Authenticator:
    """Give *name* a passkey."""
    device = Authenticator()
    secret = (await console.link(name)).rpartition("/")[2]
    ticket = await console.accounts.open_ticket(secret)
    challenge = console.passkeys.new_challenge()
    options = await console.accounts.registration_options(ticket, challenge=challenge)
    response = device.create(options, origin=console.url)
    await console.accounts.enrol(secret, challenge=challenge, response=response, name="key")
    return device


async def test_a_grant_is_counted_as_the_sessions_operator(
    console: Console, browser: Browser
) -> None:
    """The ballot carries the console's channel, the whole fingerprint and the typed reason."""
    approval = await console.hold(arguments={"amount": 5})

    page = await browser.decide(approval, "grant", reason="known customer")

    assert (page.status, page.headers["Location"]) == (303, f"/approvals/{approval.id}?decided=1")
    ((ballot, caller),) = console.desk.ballots
    assert caller == console.people["alice"]
    assert ballot.channel is Channel.CONSOLE
    assert ballot.fingerprint == approval.request.fingerprint
    assert ballot.reason == "known customer"
    assert await state_of(console, approval) is ApprovalState.GRANTED


async def test_the_outcome_is_said_where_the_focus_is(console: Console, browser: Browser) -> None:
    """The page after it begins with what was decided, by whom and when, and takes the focus there."""
    approval = await console.hold(arguments={"amount": 5})
    sent = await browser.decide(approval, "refuse", reason="no ticket")

    page = await browser.get(sent.headers["Location"])

    heading = page.by_id("result")
    assert heading.text == "Your decision is recorded. Refused"
    assert heading.attributes["tabindex"] == "-1"
    assert "autofocus" in heading.attributes
    assert "alice refused at" in page.text
    assert "no ticket" in page.text
    assert not page.all("form", action=f"/approvals/{approval.id}/decision")


async def test_a_link_cannot_claim_that_somebody_decided(
    console: Console, browser: Browser
) -> None:
    """The address says "decided"; without a vote the page does not."""
    approval = await console.hold(arguments={"amount": 5})

    page = await browser.get(f"/approvals/{approval.id}?decided=1")

    assert not [item for item in page.all("h2") if item.attributes.get("id") == "result"]


async def test_the_same_form_twice_is_one_vote(console: Console, browser: Browser) -> None:
    """A double click, or a reload of the answer, decides once."""
    approval = await console.hold(arguments={"amount": 5})
    form = {**(await decision_form(browser, approval)), "verdict": "grant"}

    first = await browser.post(f"/approvals/{approval.id}/decision", form)
    second = await browser.post(f"/approvals/{approval.id}/decision", form)

    assert (first.status, second.status) == (303, 303)
    assert len((await console.approvals.get(approval.id)).votes) == 1


async def test_a_late_vote_is_told_what_happened_and_by_whom(
    console: Console, browser: Browser
) -> None:
    """It changes nothing; what was typed is still there to copy."""
    approval = await console.hold(arguments={"amount": 5})
    form = {**(await decision_form(browser, approval)), "verdict": "grant", "reason": "typed"}
    await console.vote(approval, "bob", Verdict.REFUSE, "no")

    page = await browser.post(f"/approvals/{approval.id}/decision", form)

    assert page.status == 409
    assert "Your vote was not counted" in page.text
    assert "bob" in page.one("div", role="alert").text
    assert await state_of(console, approval) is ApprovalState.REFUSED


async def test_a_vote_after_expiry_is_told_so(console: Console, browser: Browser) -> None:
    """The page that was open too long does not grant."""
    approval = await console.hold(arguments={"amount": 5}, tier=Tier.LOW)
    form = {**(await decision_form(browser, approval)), "verdict": "grant"}
    console.clock.advance(seconds=16 * 60)

    page = await browser.post(f"/approvals/{approval.id}/decision", form)

    assert page.status == 409
    assert await state_of(console, approval) is ApprovalState.EXPIRED


async def test_a_second_vote_of_the_same_human_is_told_of_the_first(
    console: Console, browser: Browser
) -> None:
    """Two grants are needed of two people; one person's second does not help."""
    approval = await console.hold(arguments={"amount": 5}, quorum=2)
    await browser.decide(approval, "grant")
    shown = await browser.get(f"/approvals/{approval.id}")
    again = await browser.post(
        f"/approvals/{approval.id}/decision",
        {
            "verdict": "grant",
            "fingerprint": approval.request.fingerprint,
            "request_id": "again-0001",
        },
    )

    assert "You have voted. It waits for others." in shown.text
    assert "1 of 2 granted so far" in shown.text
    assert again.status == 409
    assert await state_of(console, approval) is ApprovalState.PENDING


async def test_a_reason_is_asked_for_and_the_mistake_is_described(
    console: Console, browser: Browser
) -> None:
    """From HIGH on a grant says why; the field says what is missing, and grant stays chosen."""
    approval = await console.hold(arguments={"amount": 5}, tier=Tier.HIGH, is_passkey_needed=False)

    page = await browser.decide(approval, "grant", read="all")

    assert page.status == 422
    field = page.by_id("reason")
    assert field.attributes["aria-invalid"] == "true"
    assert "reason-error" in (field.attributes["aria-describedby"] or "")
    assert page.by_id("reason-error").text.startswith("Say why")
    assert "checked" in page.one("input", type="radio", value="grant").attributes
    assert "checked" in page.one("input", name="read").attributes
    assert "autofocus" in page.one("div", role="alert").attributes or page.all("h2", tabindex="-1")
    assert not console.desk.ballots


async def test_line_breaks_in_a_reason_become_spaces(console: Console, browser: Browser) -> None:
    """A reason is one line; who types several is not sent away for it."""
    approval = await console.hold(arguments={"amount": 5})

    await browser.decide(approval, "refuse", reason="  first\r\n\r\nsecond  ")

    assert console.desk.ballots[0][0].reason == "first second"


async def test_a_reason_that_the_service_refuses_comes_back(
    console: Console, browser: Browser
) -> None:
    """Text that would turn the log around is not taken, and not lost."""
    approval = await console.hold(arguments={"amount": 5})

    page = await browser.decide(approval, "refuse", reason="ok \u202e not")

    assert page.status in (400, 403, 422)
    assert "\u202e" in "".join(page.by_id("reason").texts)
    assert await state_of(console, approval) is ApprovalState.PENDING


# --- a fresh sign-in ------------------------------------------------------------------------------


async def test_an_old_sign_in_does_not_grant_a_high_tier(
    console: Console, browser: Browser
) -> None:
    """Without a passkey's signature whoever grants has signed in within five minutes."""
    approval = await console.hold(arguments={"a": 1}, tier=Tier.HIGH, is_passkey_needed=False)
    console.sign_in("alice", age_s=301)

    page = await browser.decide(approval, "grant", read="all", reason="my reason, typed once")

    assert page.status == 303
    assert page.headers["Location"] == f"/login?fresh=1&next=/approvals/{approval.id}"
    assert not console.desk.ballots


async def test_an_old_sign_in_does_not_grant_a_high_tier_negative_control(
    console: Console, browser: Browser
) -> None:
    """The same form from a sign-in that is young enough is counted."""
    approval = await console.hold(arguments={"a": 1}, tier=Tier.HIGH, is_passkey_needed=False)
    console.sign_in("alice", age_s=299)

    page = await browser.decide(approval, "grant", read="all", reason="my reason")

    assert page.headers["Location"].endswith("?decided=1")
    assert await state_of(console, approval) is ApprovalState.GRANTED


async def test_what_was_typed_is_there_after_signing_in_again(
    console: Console, browser: Browser
) -> None:
    """Kept for that human and that approval, not in any address; refuse is chosen again."""
    approval = await console.hold(arguments={"a": 1}, tier=Tier.HIGH, is_passkey_needed=False)
    console.sign_in("alice", age_s=400)
    page = await browser.decide(approval, "grant", read="all", reason="my reason & <more>")
    console.sign_in("alice")
    for_bob = await decision_form(browser, approval, as_="bob")

    form = await decision_form(browser, approval)

    assert "my" not in page.headers["Location"]
    assert form["reason"] == "my reason & <more>"
    assert form["verdict"] == "refuse"
    assert for_bob["reason"] == ""
    await browser.decide(approval, "grant", read="all", reason="x")
    assert console.desk.ballots


async def test_what_was_typed_is_forgotten_after_a_while(
    console: Console, browser: Browser
) -> None:
    """A quarter of an hour, and once it was used."""
    approval = await console.hold(arguments={"a": 1}, tier=Tier.HIGH, is_passkey_needed=False)
    console.sign_in("alice", age_s=400)
    await browser.decide(approval, "grant", read="all", reason="typed")
    console.clock.advance(seconds=901)
    console.sign_in("alice")

    assert (await decision_form(browser, approval))["reason"] == ""


async def test_an_old_sign_in_refuses_any_tier(console: Console, browser: Browser) -> None:
    """Saying no needs no fresh sign-in."""
    approval = await console.hold(arguments={"a": 1}, tier=Tier.CRITICAL)
    console.sign_in("alice", age_s=1000)

    await browser.decide(approval, "refuse")

    assert await state_of(console, approval) is ApprovalState.REFUSED


# --- passkeys -------------------------------------------------------------------------------------


async def test_a_passkey_is_asked_to_sign_exactly_this(console: Console, browser: Browser) -> None:
    """The form carries this human's passkeys and the challenge that names approval and fingerprint."""
    approval = await console.hold(arguments={"a": 1}, tier=Tier.HIGH)
    device = await enrol(console, "alice")

    page = await browser.get(f"/approvals/{approval.id}")

    form = page.one("form", action=f"/approvals/{approval.id}/decision")
    options = json.loads(form.attributes["data-passkey-options"] or "")
    assert form.attributes["data-passkey-when"] == "verdict=grant"
    challenge = grant_challenge(approval.id, approval.request.fingerprint)
    assertion = device.get(options, origin=console.url)
    sent = await browser.decide(
        approval, "grant", reason="ok", read="all", assertion=assertion.decode()
    )
    assert sent.headers["Location"].endswith("?decided=1")
    assert await state_of(console, approval) is ApprovalState.GRANTED
    assert len(challenge) == 32
    done = await browser.get(sent.headers["Location"])
    assert "signed with a passkey" in done.text


async def test_without_a_passkey_it_says_why_a_grant_is_impossible(
    console: Console, browser: Browser
) -> None:
    """Nobody is left to guess, and refusing works."""
    approval = await console.hold(arguments={"a": 1}, tier=Tier.HIGH)

    page = await browser.get(f"/approvals/{approval.id}")
    sent = await browser.decide(approval, "grant", reason="ok", read="all")

    assert "You have no passkey yet" in page.text
    assert sent.status == 422
    assert "passkey has not signed" in sent.text
    assert not console.desk.ballots


async def test_without_javascript_it_says_why_a_grant_is_impossible(
    console: Console, browser: Browser
) -> None:
    """The sentence stands in the page for browsers that run no scripts."""
    approval = await console.hold(arguments={"a": 1}, tier=Tier.HIGH)
    await enrol(console, "alice")

    page = await browser.get(f"/approvals/{approval.id}")

    assert "Without JavaScript" in page.one("noscript").text


@pytest.mark.parametrize("kind", ["rubbish", "for another approval", "somebody else's"])
async def test_a_signature_for_something_else_is_not_counted(
    console: Console, browser: Browser, kind: str
) -> None:
    """Wrong bytes, another challenge, another human's passkey: the page comes back with why."""
    approval = await console.hold(arguments={"a": 1}, tier=Tier.HIGH)
    other = await console.hold(arguments={"a": 2}, tier=Tier.HIGH)
    device = await enrol(console, "alice")
    bobs = await enrol(console, "bob")
    page = await browser.get(f"/approvals/{(other if 'another' in kind else approval).id}")
    options = json.loads(
        next(
            item.attributes["data-passkey-options"] or ""
            for item in page.all("form")
            if "data-passkey-options" in item.attributes
        )
    )
    if kind == "rubbish":
        assertion = b'{"id": "x"}'
    elif kind == "somebody else's":
        bobs_options = await console.passkeys.authentication_options(
            challenge=grant_challenge(approval.id, approval.request.fingerprint),
            human_id=console.people["bob"].human_id,
        )
        assertion = bobs.get(bobs_options, origin=console.url)
    else:
        assertion = device.get(options, origin=console.url)

    sent = await browser.decide(
        approval, "grant", reason="kept", read="all", assertion=assertion.decode()
    )

    assert sent.status == 422
    assert sent.by_id("reason").text == "kept"
    assert await state_of(console, approval) is ApprovalState.PENDING


async def test_a_verdict_that_is_none_is_refused(console: Console, browser: Browser) -> None:
    """Anything but the two words, and any field that is not ours, decides nothing."""
    approval = await console.hold(arguments={"amount": 5})

    for changes in (
        {"verdict": ""},
        {"verdict": "GRANT"},
        {"verdict": "always"},
        {"verdict": "grant", "operator": "bob"},
        {"verdict": "grant", "channel": "cli"},
    ):
        page = await browser.decide(approval, **changes)
        assert page.status == 400
    assert not console.desk.ballots

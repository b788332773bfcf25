# SPDX-License-Identifier: Apache-2.0
"""Passkeys in a browser with an authenticator: what they sign, and what nobody can do with them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import expect

from sidecar.approvals import deciding
from sidecar.approvals.challenge import grant_challenge
from sidecar.approvals.values import Approval, ApprovalState, Tier
from sidecar.passkeys.evidence import EnrolledKey, check_evidence
from sidecar.web import approval_pages
from tests.browser.browser_kit import Elsewhere, Tab, Tabs, add_device, enrol
from tests.support.authenticator import b64url
from tests.support.console import Console


async def _sign_in(tab: Tab, console: Console, path: str) -> None:
    """Follow a link to *path*, signed out, with a passkey in the device."""
    await tab.page.goto(console.url + path)
    await tab.page.get_by_role("button", name="Use a passkey").click()
    await tab.page.wait_for_url(console.url + path)


async def _fill(tab: Tab) -> None:
    """Read to the end, choose Grant and say why."""
    page = tab.page
    await page.locator("[data-end]").scroll_into_view_if_needed()
    await page.locator("input[name=read]").check()
    await page.locator("input[value=grant]").check()
    await page.locator("textarea[name=reason]").fill("seen, and meant")


async def _grant(tab: Tab) -> None:
    """Fill in the form and press the button; the device signs."""
    await _fill(tab)
    await tab.page.locator("form.decision button[type=submit]").click()


async def _hold(console: Console, tier: Tier = Tier.HIGH, **arguments: Any) -> Approval:
    return await console.hold(arguments=arguments or {"amount": 5}, tier=tier)


async def _state(console: Console, approval: Approval) -> ApprovalState:
    return (await console.approvals.get(approval.id)).state


def _enrolled(console: Console, name: str) -> list[EnrolledKey]:
    """Return the keys of *name*, from control's log."""
    return [
        EnrolledKey(credential_id=body["credential"], public_key_sha256=body["public_key_sha256"])
        for kind, body in console.log.entries
        if kind == "account" and body["event"] == "passkey_added" and body["operator"] == name
    ]


async def test_d18_two_passkeys_sign_a_critical_grant_and_the_log_proves_it(
    console: Console, tabs: Tabs
) -> None:
    """From the links to two signed votes; each checked offline, against the keys in the log."""
    approval = await _hold(console, Tier.CRITICAL)
    for name in ("alice", "bob"):
        tab = await tabs.open()
        await enrol(tab, console, name)
        await _sign_in(tab, console, f"/approvals/{approval.id}")
        await _grant(tab)
        await expect(tab.page.locator("#result")).to_contain_text("Your decision is recorded")
        assert tab.complaints == []

    votes = (await console.approvals.get(approval.id)).votes
    records = {
        vote["operator"]: vote["assertion"]
        for kind, body in console.log.entries
        if kind == "approval"
        for vote in body.get("votes", ())
        if "assertion" in vote
    }
    challenge = grant_challenge(approval.id, approval.request.fingerprint)
    assert await _state(console, approval) is ApprovalState.GRANTED
    assert records == {vote.operator: vote.assertion for vote in votes}
    assert set(records) == {"alice", "bob"}
    for name, record in records.items():
        report = check_evidence(
            record,
            challenge=challenge,
            rp_id="localhost",
            origins=[console.url],
            enrolled=_enrolled(console, name),
        )
        assert report.problems == (), name
        assert report.is_key_known


async def test_d18_evidence_negative_control(console: Console, tabs: Tabs) -> None:
    """The same record proves no other approval, fingerprint, person or place."""
    approval = await _hold(console)
    tab = await tabs.open()
    await enrol(tab, console, "alice")
    await _sign_in(tab, console, f"/approvals/{approval.id}")
    await _grant(tab)
    await tab.page.locator("#result").wait_for()
    (vote,) = (await console.approvals.get(approval.id)).votes
    right: dict[str, Any] = {
        "challenge": grant_challenge(approval.id, approval.request.fingerprint),
        "rp_id": "localhost",
        "origins": [console.url],
        "enrolled": _enrolled(console, "alice"),
    }
    bob = await tabs.open()
    await enrol(bob, console, "bob")

    wrong = [
        {"challenge": grant_challenge("apr_other", approval.request.fingerprint)},
        {"challenge": grant_challenge(approval.id, "0" * 64)},
        {"rp_id": "console.example"},
        {"origins": ["https://console.example"]},
        {"enrolled": _enrolled(console, "bob")},
    ]

    assert check_evidence(vote.assertion, **right).is_ok
    assert [check_evidence(vote.assertion, **{**right, **change}).is_ok for change in wrong] == [
        False
    ] * len(wrong)


async def _steal(tab: Tab) -> str:
    """Press the button, keep what the device signed, and let nothing of it reach the console."""
    stolen: list[str] = []

    async def keep(route: Any) -> None:
        stolen.append(route.request.post_data_json["assertion"])
        await route.abort()

    await tab.page.route("**/decision", keep)
    async with tab.page.expect_event("requestfailed"):
        await _grant(tab)
    await tab.page.unroute("**/decision")
    assert json.loads(stolen[0])["response"]["signature"]
    return stolen[0]


async def _put(tab: Tab, assertion: str) -> None:
    """Fill in the form of *tab* with *assertion*, and send it without asking a device."""
    await _fill(tab)
    async with tab.page.expect_navigation():
        await tab.page.locator("form.decision").evaluate(
            """(form, assertion) => {
              form.elements.assertion.value = assertion;
              HTMLFormElement.prototype.submit.call(form);
            }""",
            assertion,
        )


async def _use_for_another(console: Console, tabs: Tabs) -> Approval:
    """Have Alice sign one approval, and send that as her grant of another; return the other."""
    first, other = await _hold(console, amount=5), await _hold(console, amount=5000)
    tab = await tabs.open()
    await enrol(tab, console, "alice")
    await _sign_in(tab, console, f"/approvals/{first.id}")
    assertion = await _steal(tab)
    again = await tabs.beside(tab.context)
    await again.page.goto(f"{console.url}/approvals/{other.id}")
    await _put(again, assertion)
    return other


async def test_d18_what_was_signed_for_another_approval_grants_nothing(
    console: Console, tabs: Tabs
) -> None:
    """A signature is for one approval and one fingerprint."""
    other = await _use_for_another(console, tabs)

    assert await _state(console, other) is ApprovalState.PENDING
    assert (await console.approvals.get(other.id)).votes == ()


async def test_d18_what_was_signed_for_another_approval_negative_control(
    console: Console, tabs: Tabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If every grant had the same challenge, one signature would grant everything."""
    for place in (deciding, approval_pages):
        monkeypatch.setattr(
            place, "grant_challenge", lambda *_: b"the same for everybody" + bytes(10)
        )

    other = await _use_for_another(console, tabs)

    assert await _state(console, other) is ApprovalState.GRANTED


async def test_d01_nobody_grants_with_anothers_passkey(console: Console, tabs: Tabs) -> None:
    """What Alice's device signed is not Bob's vote, in Bob's own session."""
    approval = await _hold(console)
    alice, bob = await tabs.open(), await tabs.open()
    await enrol(alice, console, "alice")
    await enrol(bob, console, "bob")
    await _sign_in(alice, console, f"/approvals/{approval.id}")
    await _sign_in(bob, console, f"/approvals/{approval.id}")

    await _put(bob, await _steal(alice))

    await expect(bob.page.get_by_role("alert").first).to_contain_text("Nothing was decided yet")
    assert (await console.approvals.get(approval.id)).votes == ()


async def test_a_device_that_does_not_know_its_human_signs_nothing(
    console: Console, tabs: Tabs
) -> None:
    """User verification is asked for; without it the browser refuses, and the page says so."""
    approval = await _hold(console)
    tab = await tabs.open()
    device = await enrol(tab, console, "alice")
    await _sign_in(tab, console, f"/approvals/{approval.id}")
    await device.set_verified(False)

    await _grant(tab)
    alert = tab.page.locator("form.decision [role=alert]")

    await expect(alert).to_contain_text("passkey")
    assert await _state(console, approval) is ApprovalState.PENDING
    assert console.desk.ballots == []


_SIGN = """async ([challenge, id, userVerification]) => {
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")),
    (char) => char.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replace(/\\+/g, "-").replace(/\\//g, "_").replace(/=+$/, "");
  const made = await navigator.credentials.get({ publicKey: {
    challenge: bytes(challenge), rpId: "localhost", userVerification,
    allowCredentials: [{ type: "public-key", id: bytes(id) }],
  } });
  const response = {};
  for (const name of ["clientDataJSON", "authenticatorData", "signature"]) {
    response[name] = text(made.response[name]);
  }
  return JSON.stringify({ id: made.id, rawId: made.id, type: made.type, response,
    clientExtensionResults: {} });
}"""


async def _sign_by_hand(
    tab: Tab, console: Console, approval: Approval, *, verification: str = "required"
) -> str:
    """Have the device of *tab* sign what a grant needs, by a script of our own."""
    (credential,) = await console.passkeys.credential_ids("alice@corp.example")
    challenge = b64url(grant_challenge(approval.id, approval.request.fingerprint))
    signed: str = await tab.page.evaluate(_SIGN, [challenge, credential, verification])
    return signed


@pytest.mark.parametrize("verification", ["discouraged", "required"], ids=["", "negative_control"])
async def test_a_signature_without_verification_grants_nothing(
    console: Console, tabs: Tabs, verification: str
) -> None:
    """The server looks too: what a changed script got signed without verification does not count.

    The same script counts if it asks for verification (the negative control).
    """
    approval = await _hold(console)
    tab = await tabs.open()
    await enrol(tab, console, "alice")
    await _sign_in(tab, console, f"/approvals/{approval.id}")

    await _put(tab, await _sign_by_hand(tab, console, approval, verification=verification))

    if verification == "required":
        assert await _state(console, approval) is ApprovalState.GRANTED
    else:
        alert = tab.page.get_by_role("alert").first
        await expect(alert).to_contain_text("did not check that it is you")
        assert await _state(console, approval) is ApprovalState.PENDING


@pytest.mark.parametrize("is_trusted", [False, True], ids=["", "negative_control"])
async def test_a_page_of_another_port_gets_nothing_signed_that_counts(
    console: Console, tabs: Tabs, elsewhere: Elsewhere, is_trusted: bool
) -> None:
    """Another port of the same host may ask for the same passkeys; the signature names its origin.

    Were that origin one of the console's, it would count (the negative control).
    """
    approval = await _hold(console)
    elsewhere.put("phish", "<h1>Please confirm</h1>")
    tab = await tabs.open()
    await enrol(tab, console, "alice")
    await _sign_in(tab, console, f"/approvals/{approval.id}")
    url = elsewhere.url("phish", is_same_site=True)
    if is_trusted:
        console.passkeys.origins = (*console.passkeys.origins, url.removesuffix("/phish"))

    await tab.page.goto(url)
    signed = await _sign_by_hand(tab, console, approval)
    await tab.page.goto(f"{console.url}/approvals/{approval.id}")
    await _put(tab, signed)

    expected = ApprovalState.GRANTED if is_trusted else ApprovalState.PENDING
    assert await _state(console, approval) is expected


async def test_a_page_of_another_site_gets_nothing_signed(
    console: Console, tabs: Tabs, elsewhere: Elsewhere
) -> None:
    """The browser itself gives another site no passkey of ours."""
    approval = await _hold(console)
    elsewhere.put("phish", "<h1>Please confirm</h1>")
    tab = await tabs.open()
    await enrol(tab, console, "alice")
    await tab.page.goto(elsewhere.url("phish"))

    with pytest.raises(Exception, match=r"SecurityError|relying party"):
        await _sign_by_hand(tab, console, approval)


async def test_a_link_makes_one_passkey(console: Console, tabs: Tabs) -> None:
    """Opened twice before, used once: the second page makes none, and the link looks like any old."""
    link = await console.link("alice")
    tabs_open = [await tabs.open(), await tabs.open()]
    for tab in tabs_open:
        await add_device(tab)
        await tab.page.goto(link)

    texts = []
    for tab in tabs_open:
        async with tab.page.expect_navigation():
            await tab.page.get_by_role("button", name="Add a passkey").click()
        texts.append(await tab.page.locator("main").inner_text())
    await tabs_open[0].page.goto(link)
    texts.append(await tabs_open[0].page.locator("main").inner_text())

    assert "The passkey was added" in texts[0]
    assert "This link was used" in texts[1]
    assert "This link was used" in texts[2]
    assert len(await console.passkeys.credential_ids("alice@corp.example")) == 1
    assert len(_enrolled(console, "alice")) == 1

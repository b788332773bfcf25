# SPDX-License-Identifier: Apache-2.0
"""The one-time link in a browser, and the list of one's own passkeys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.clock import ManualClock
from sidecar.web import enrol
from tests.support.authenticator import PRESENT, Authenticator
from tests.support.console_login import Browser, LoginConsole, Page


@pytest.fixture
def clock() -> ManualClock:
    """A clock that moves only when told to."""
    return ManualClock()


@pytest.fixture
async def console(tmp_path: Path, clock: ManualClock) -> AsyncIterator[LoginConsole]:
    """The sign-in pages, served."""
    made = await LoginConsole(tmp_path / "passkeys.db", clock).start()
    yield made
    await made.close()


async def use(
    browser: Browser,
    path: str,
    device: Authenticator,
    *,
    page: Page | None = None,
    flags: int | None = None,
    **headers: str | None,
) -> Page:
    """Open the link at *path* and add a passkey with *device*."""
    page = page or await browser.get(path)
    wrong = {} if flags is None else {"flags": flags}
    made = device.create(page.options("data-passkey-create"), **wrong)
    form = {"csrf": page.field("csrf"), "attestation": made.decode(), "name": "blue key"}
    return await browser.post(path, form, **headers)


# -- the link -------------------------------------------------------------------------------------


async def test_a_person_adds_a_passkey_and_signs_in_with_it(console: LoginConsole) -> None:
    """The page says for whom, by whom and until when; then the passkey works, and the link does not."""
    path = f"/enrol/{await console.desk.link('alice')}"
    browser, device = console.browser(), Authenticator()

    page = await browser.get(path)
    done = await use(browser, path, device, page=page)
    again = await browser.get(path)
    signed = await browser.sign_in(device)

    assert "Add a passkey for alice" in page.text
    assert "given out by carol" in page.text
    assert "<noscript>" in page.text
    assert "blue key" in done.text
    assert again.status == 404
    assert signed.status == 303
    assert await console.who(browser) == "alice"


async def test_d10_d11_a_link_that_a_scanner_opens_is_not_used(console: LoginConsole) -> None:
    """GET and HEAD as often as it likes, and a POST without the page's own token: nothing."""
    secret = await console.desk.link("alice")
    scanner = console.browser()
    for _ in range(5):
        assert (await scanner.get(f"/enrol/{secret}")).status == 200
        await scanner._send("HEAD", f"/enrol/{secret}", None, {})
    for form in ({}, {"attestation": "{}"}, {"csrf": "", "attestation": "{}"}):
        assert (await scanner.post(f"/enrol/{secret}", form)).status == 403

    assert await console.desk.accounts.open_ticket(secret)
    assert await console.desk.accounts.list() == []


async def test_d26_a_link_that_does_not_count_looks_like_any_other(
    console: LoginConsole, clock: ManualClock
) -> None:
    """Used, old, voided, of somebody who left, or made up: one answer, byte for byte."""
    used = await console.desk.link("alice")
    await use(console.browser(), f"/enrol/{used}", Authenticator())
    old = await console.desk.link("bob")
    clock.advance(seconds=900)
    voided = await console.desk.link("carol")
    await console.desk.link("carol")
    gone = await console.desk.link("alice")
    del console.people["alice"]

    answers = {
        secret: await console.browser().get(f"/enrol/{secret}")
        for secret in (used, old, voided, gone, "A" * 43, "x", "%00", "A" * 500)
    }

    bodies = {
        page.text.replace(f"/enrol/{secret}", "").replace("/enrol/\x00", "")
        for secret, page in answers.items()
        if secret != "%00"
    }
    assert {page.status for page in answers.values()} == {404}
    assert len(bodies) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "null", "sec_fetch_site": None},
        {"origin": "https://evil.test", "sec_fetch_site": "cross-site"},
        {"origin": None, "sec_fetch_site": None},
    ],
)
async def test_d12_a_link_is_not_used_by_another_site(
    console: LoginConsole, headers: dict[str, str | None]
) -> None:
    """The right form from elsewhere is refused, and the link stays."""
    secret = await console.desk.link("alice")
    browser = console.browser()

    answer = await use(browser, f"/enrol/{secret}", Authenticator(), **headers)

    assert answer.status == 403
    assert await console.desk.accounts.open_ticket(secret)


async def test_d12_a_link_is_not_used_by_another_site_negative_control(
    console: LoginConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the question where the form comes from, it is used."""
    monkeypatch.setattr(enrol, "check_origin", lambda *_, **__: None)
    secret = await console.desk.link("alice")

    answer = await use(
        console.browser(), f"/enrol/{secret}", Authenticator(), origin="https://evil.test"
    )

    assert answer.status == 200


async def test_a_passkey_made_for_one_link_does_not_use_another(console: LoginConsole) -> None:
    """Mallory's browser, with Mallory's passkey, made on Mallory's own link, posted to Alice's."""
    alices = await console.desk.link("alice")
    bobs = await console.desk.link("bob")
    browser = console.browser()
    page = await browser.get(f"/enrol/{bobs}")

    answer = await use(browser, f"/enrol/{alices}", Authenticator(), page=page)

    assert answer.status == 401
    assert await console.desk.accounts.open_ticket(alices)
    assert await console.desk.accounts.list() == []


async def test_a_challenge_for_signing_in_enrols_nothing(console: LoginConsole) -> None:
    """And the other way round: each challenge has its one purpose."""
    device = await console.desk.enrol("alice")
    secret = await console.desk.link("bob")
    browser = console.browser()
    page = await browser.get("/login")
    form = {"csrf": page.field("csrf"), "attestation": "{}"}
    assert (await browser.post(f"/enrol/{secret}", form)).status == 401
    page = await browser.get(f"/enrol/{secret}")
    asked = {
        "challenge": page.options("data-passkey-create")["challenge"],
        "rpId": "console.example",
    }

    answer = await browser.post(
        "/login/passkey",
        {"csrf": page.field("csrf"), "assertion": device.get(asked).decode()},
    )

    assert answer.status == 401
    assert browser.session_cookie == ""


async def test_a_refused_passkey_leaves_the_link(console: LoginConsole) -> None:
    """One without a PIN; the page says why and leads back to the link."""
    path = f"/enrol/{await console.desk.link('alice')}"
    browser = console.browser()

    answer = await use(browser, path, Authenticator(), flags=PRESENT | 0x40)
    empty = await browser.post(
        path, {"csrf": (await browser.get(path)).field("csrf"), "attestation": ""}
    )
    done = await use(browser, path, Authenticator())

    assert answer.status == 403
    assert f'href="{path}"' in answer.text
    assert "A passkey needs JavaScript" in empty.text
    assert done.status == 200


async def test_nobody_is_signed_in_by_a_link(console: LoginConsole) -> None:
    """Whoever has the link enrols; signing in is a step of its own, with the passkey."""
    browser = console.browser()

    await use(browser, f"/enrol/{await console.desk.link('alice')}", Authenticator())

    assert browser.session_cookie == ""
    assert await console.who(browser) == ""


# -- one's own passkeys ---------------------------------------------------------------------------


async def test_a_person_is_told_of_a_passkey_they_did_not_confirm(console: LoginConsole) -> None:
    """Signing in with the own one leads to the list first; there it is confirmed or removed."""
    own = await console.desk.enrol("alice")
    await console.desk.enrol("alice")
    browser = console.browser()
    signed = await browser.sign_in(own, wanted="/agents")
    path = signed.headers["Location"]
    page = await browser.get(path)
    form = {
        "csrf": page.field("csrf", form="/login/passkeys/confirm"),
        "credential": page.field("credential", form="/login/passkeys/confirm"),
        "next": "/agents",
    }

    confirmed = await browser.post("/login/passkeys/confirm", form)
    after = await browser.get(confirmed.headers["Location"])
    later = await console.browser().sign_in(own, wanted="/agents")

    assert path == "/login/passkeys?next=%2Fagents"
    assert "not confirmed" in page.text
    assert "not confirmed" not in after.text
    assert 'href="/agents"' in after.text
    assert later.headers["Location"] == "/agents"


async def test_whoever_holds_the_unconfirmed_passkey_cannot_confirm_it(
    console: LoginConsole,
) -> None:
    """An intruder who enrolled one in Alice's name cannot hide it from her."""
    own = await console.desk.enrol("alice")
    intruder = console.browser()
    device = await console.desk.enrol("alice")
    await intruder.sign_in(device)
    (credential,) = (
        item.credential_id
        for item in await console.desk.accounts.of_human("alice")
        if item.credential_id == console.session().credential_id
    )

    answer = await intruder.post(
        "/login/passkeys/confirm", {"csrf": console.session().csrf, "credential": credential}
    )
    alice = console.browser()
    signed = await alice.sign_in(own)

    assert answer.status == 403
    assert signed.headers["Location"].startswith("/login/passkeys")


async def test_removing_a_passkey_ends_what_it_opened(console: LoginConsole) -> None:
    """The sessions of that passkey end at once; the others stay."""
    own, lost = await console.desk.enrol("alice"), await console.desk.enrol("alice")
    browser, thief = console.browser(), console.browser()
    await thief.sign_in(lost)
    stolen = console.session().credential_id
    await browser.sign_in(own)
    mine = next(
        item for item in console.sessions._sessions.values() if item.credential_id != stolen
    )

    answer = await browser.post(
        "/login/passkeys/remove", {"csrf": mine.csrf, "credential": stolen, "next": "//evil.test"}
    )

    assert answer.headers["Location"] == "/login/passkeys?next=%2F"
    assert await console.who(thief) == ""
    assert await console.who(browser) == "alice"
    assert (await thief.sign_in(lost)).status == 403


@pytest.mark.parametrize("what", ["confirm", "remove"])
async def test_d12_nobody_changes_anothers_passkeys(console: LoginConsole, what: str) -> None:
    """Not signed in, another human, without the token, from elsewhere, or with GET."""
    alice = await console.desk.enrol("alice")
    bob = await console.desk.enrol("bob")
    (target,) = await console.desk.accounts.of_human("alice")
    path = f"/login/passkeys/{what}"
    form = {"credential": target.credential_id}
    stranger, mallory, victim = console.browser(), console.browser(), console.browser()
    await mallory.sign_in(bob)
    token = console.session().csrf
    await victim.sign_in(alice)

    assert (await stranger.post(path, {**form, "csrf": ""})).status == 401
    assert (await mallory.post(path, {**form, "csrf": token})).status == 404
    assert (await victim.post(path, {**form, "csrf": token})).status == 403
    assert (await victim.post(path, form)).status == 403
    assert (
        await mallory.post(path, {**form, "csrf": token}, origin="null", sec_fetch_site=None)
    ).status == 403
    assert (await victim.get(path)).status == 405
    (after,) = await console.desk.accounts.of_human("alice")
    assert not after.is_seen


async def test_the_list_is_for_who_is_signed_in(console: LoginConsole) -> None:
    """Nobody else sees whose passkeys there are; a name with markup is text."""
    secret = await console.desk.link("alice")
    device = Authenticator()
    await console.desk.make(secret, device, name="<b>key</b>")
    browser = console.browser()

    stranger = await browser.get("/login/passkeys")
    await browser.sign_in(device)
    listed = await browser.get("/login/passkeys")

    assert stranger.status == 401
    assert "&lt;b&gt;key&lt;/b&gt;" in listed.text
    assert "<b>key" not in listed.text
    assert 'action="/logout"' in listed.text

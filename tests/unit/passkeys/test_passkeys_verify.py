# SPDX-License-Identifier: Apache-2.0
"""A passkey signs one grant of one human; whatever else it signed, or who else signed, is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import webauthn

from sidecar.approvals.challenge import grant_challenge
from sidecar.clock import ManualClock
from sidecar.errors import ConfigurationError, ErrorReason, RefusedError
from sidecar.passkeys import passkeys as module
from sidecar.passkeys.evidence import EvidenceReport
from sidecar.passkeys.passkeys import Passkeys
from sidecar.passkeys.store_sqlite import PasskeyStore
from tests.support.authenticator import (
    ATTESTED,
    BACKED_UP,
    EDDSA,
    ELIGIBLE,
    ES256,
    PRESENT,
    RS256,
    VERIFIED,
    Authenticator,
    unb64url,
)
from tests.support.passkeys import ORIGIN, PasskeyDesk

FINGERPRINT = "ab" * 32
CHALLENGE = grant_challenge("apr_1", FINGERPRINT)
OTHER_APPROVAL = grant_challenge("apr_2", FINGERPRINT)
OTHER_FINGERPRINT = grant_challenge("apr_1", "cd" * 32)

Sign = Callable[[PasskeyDesk, Authenticator], Any]


async def refusal(desk: PasskeyDesk, assertion: bytes, *, human: str = "alice") -> str:
    """Return what *human* is told about *assertion*."""
    with pytest.raises(RefusedError) as caught:
        await desk.passkeys.verify(human_id=human, challenge=CHALLENGE, assertion=assertion)
    assert caught.value.reason is ErrorReason.PASSKEY_INVALID
    assert caught.value.hint
    return caught.value.message


def take_out(
    monkeypatch: pytest.MonkeyPatch, *, library: dict[str, Any] | None, evidence: bool
) -> None:
    """Weaken the two checks: *library* replaces what is asked of it, *evidence* says yes to all."""
    genuine = webauthn.verify_authentication_response

    def weak(**asked: Any) -> Any:
        return genuine(**{**asked, **(library or {})})

    monkeypatch.setattr(module.webauthn, "verify_authentication_response", weak)
    if not evidence:
        monkeypatch.setattr(module, "check_evidence", lambda *_, **__: EvidenceReport(problems=()))


# -- what counts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [ES256, EDDSA, RS256])
async def test_a_passkey_of_each_algorithm_signs_a_grant(desk: PasskeyDesk, algorithm: int) -> None:
    """ES256, EdDSA and RS256 all enrol and sign; the evidence names the key that was enrolled."""
    device = await desk.enrol("alice", Authenticator(algorithm=algorithm))
    options = await desk.options("alice", CHALLENGE)

    record = await desk.passkeys.verify(
        human_id="alice", challenge=CHALLENGE, assertion=device.get(options)
    )

    (passkey,) = await desk.accounts.of_human("alice")
    assert unb64url(json.loads(record)["public_key"]) == passkey.public_key
    assert json.loads(record)["credential_id"] == passkey.credential_id
    assert json.loads(record)["origin"] == ORIGIN


async def test_the_browser_is_asked_to_verify_its_human(desk: PasskeyDesk) -> None:
    """Options demand user verification and three algorithms, prefer a resident key, want no more."""
    ticket = await desk.accounts.open_ticket(await desk.link("alice"))

    made = await desk.accounts.registration_options(ticket, challenge=CHALLENGE)
    asked = await desk.options("alice", CHALLENGE)

    assert made["authenticatorSelection"] == {
        "residentKey": "preferred",
        "requireResidentKey": False,
        "userVerification": "required",
    }
    assert made["attestation"] == "none"
    assert [item["alg"] for item in made["pubKeyCredParams"]] == [-7, -8, -257]
    assert "alice" not in str(unb64url(made["user"]["id"]))
    assert asked["userVerification"] == "required"
    assert asked["rpId"] == "console.example"
    assert unb64url(asked["challenge"]) == CHALLENGE


async def test_a_known_device_is_not_asked_twice(desk: PasskeyDesk) -> None:
    """Passkeys that are enrolled are excluded from the next enrolment."""
    device = await desk.enrol("alice")
    ticket = await desk.accounts.open_ticket(await desk.link("alice"))

    options = await desk.accounts.registration_options(ticket, challenge=CHALLENGE)

    assert [unb64url(item["id"]) for item in options["excludeCredentials"]] == list(
        device.credentials
    )


async def test_a_passkey_that_does_not_count_works(desk: PasskeyDesk) -> None:
    """Synchronised passkeys keep their counter at zero, and may say that they are backed up."""
    device = await desk.enrol("alice", Authenticator(counts=False))
    options = await desk.options("alice", CHALLENGE)
    flags = PRESENT | VERIFIED | ELIGIBLE | BACKED_UP

    for _ in range(2):
        await desk.passkeys.verify(
            human_id="alice", challenge=CHALLENGE, assertion=device.get(options, flags=flags)
        )

    (passkey,) = await desk.accounts.of_human("alice")
    assert passkey.counter == 0
    assert passkey.use_time_ns == desk.clock.wall_ns()


async def test_d02_an_alias_of_a_human_has_the_same_passkeys(desk: PasskeyDesk) -> None:
    """Another spelling of a human_id is the same human, not a second one without passkeys."""
    device = await desk.enrol("alice")
    options = await desk.options("alice", CHALLENGE)

    record = await desk.passkeys.verify(
        human_id=" Alice\u00a0", challenge=CHALLENGE, assertion=device.get(options)
    )

    assert record
    assert await desk.passkeys.credential_ids("ALICE") == await desk.passkeys.credential_ids(
        "alice"
    )


# -- what does not --------------------------------------------------------------------------------


def _other_challenge(challenge: bytes) -> Sign:
    async def sign(desk: PasskeyDesk, device: Authenticator) -> bytes:
        return device.get(await desk.options("alice", challenge))

    return sign


def _with(**wrong: Any) -> Sign:
    async def sign(desk: PasskeyDesk, device: Authenticator) -> bytes:
        return device.get(await desk.options("alice", CHALLENGE), **wrong)

    return sign


ATTACKS: dict[str, tuple[Sign, dict[str, Any]]] = {
    # what is signed: the attack, and what takes the library's check for it out
    "replayed for another approval": (
        _other_challenge(OTHER_APPROVAL),
        {"expected_challenge": OTHER_APPROVAL},
    ),
    "replayed for another fingerprint": (
        _other_challenge(OTHER_FINGERPRINT),
        {"expected_challenge": OTHER_FINGERPRINT},
    ),
    "human not verified": (_with(flags=PRESENT), {"require_user_verification": False}),
    "another origin": (
        _with(origin="https://console.example.evil.test"),
        {"expected_origin": "https://console.example.evil.test"},
    ),
    "same host, http": (
        _with(origin="http://console.example"),
        {"expected_origin": "http://console.example"},
    ),
    "another relying party": (_with(rp_id="evil.test"), {"expected_rp_id": "evil.test"}),
}


@pytest.mark.parametrize("story", ATTACKS)
async def test_d05_d18_a_signature_counts_for_what_was_asked_only(
    desk: PasskeyDesk, story: str
) -> None:
    """Another approval, fingerprint, origin or site, or no PIN: refused, and nothing moves."""
    sign, _ = ATTACKS[story]
    device = await desk.enrol("alice")

    message = await refusal(desk, await sign(desk, device))

    assert "evil" not in message
    (passkey,) = await desk.accounts.of_human("alice")
    assert passkey.counter == 0


@pytest.mark.parametrize("story", ATTACKS)
@pytest.mark.parametrize("kept", ["library", "evidence"])
async def test_d05_d18_each_of_the_two_checks_refuses_it_alone(
    desk: PasskeyDesk, monkeypatch: pytest.MonkeyPatch, story: str, kept: str
) -> None:
    """With the library's check or with ours taken out, the other still refuses."""
    sign, weakening = ATTACKS[story]
    device = await desk.enrol("alice")
    take_out(
        monkeypatch,
        library=weakening if kept == "evidence" else None,
        evidence=kept == "evidence",
    )

    assert await refusal(desk, await sign(desk, device))


@pytest.mark.parametrize("story", ATTACKS)
async def test_d05_d18_a_signature_for_something_else_negative_control(
    desk: PasskeyDesk, monkeypatch: pytest.MonkeyPatch, story: str
) -> None:
    """With both checks taken out, every one of these attacks succeeds."""
    sign, weakening = ATTACKS[story]
    device = await desk.enrol("alice")
    take_out(monkeypatch, library=weakening, evidence=False)

    assert await desk.passkeys.verify(
        human_id="alice", challenge=CHALLENGE, assertion=await sign(desk, device)
    )


async def test_nobody_present_is_refused(desk: PasskeyDesk) -> None:
    """A signature without a touch does not count, whatever else it says."""
    device = await desk.enrol("alice")

    assert "nobody touched it" in await refusal(desk, await _with(flags=VERIFIED)(desk, device))


@pytest.mark.parametrize("client", [{"crossOrigin": True}, {"topOrigin": "https://evil.test"}])
async def test_d13_a_signature_made_inside_a_foreign_page_is_refused(
    desk: PasskeyDesk, client: dict[str, Any]
) -> None:
    """A framed console cannot be made to sign: the browser says so in what is signed."""
    device = await desk.enrol("alice")

    assert "page of somebody else" in await refusal(desk, await _with(client=client)(desk, device))


async def test_d13_a_signature_made_inside_a_foreign_page_negative_control(
    desk: PasskeyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library alone would have taken it."""
    device = await desk.enrol("alice")
    monkeypatch.setattr(module, "_check_frame", lambda _: None)
    take_out(monkeypatch, library=None, evidence=False)
    signed = await _with(client={"crossOrigin": True})(desk, device)

    assert await desk.passkeys.verify(human_id="alice", challenge=CHALLENGE, assertion=signed)


async def test_d02_a_passkey_of_another_human_is_refused(desk: PasskeyDesk) -> None:
    """Bob's genuine signature over the right challenge is not Alice's vote."""
    await desk.enrol("alice")
    bobs = await desk.enrol("bob")

    message = await refusal(desk, bobs.get(await desk.options("bob", CHALLENGE)))

    assert message == "this passkey is not one of yours"


async def test_d02_a_passkey_of_another_human_negative_control(
    desk: PasskeyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the question whose it is, Bob would vote as Alice."""
    await desk.enrol("alice")
    bobs = await desk.enrol("bob")
    genuine = desk.passkeys._check

    async def anybody(challenge: bytes, assertion: bytes, *, human: str | None) -> Any:
        return await genuine(challenge, assertion, human=None)

    monkeypatch.setattr(desk.passkeys, "_check", anybody)

    assert await desk.passkeys.verify(
        human_id="alice",
        challenge=CHALLENGE,
        assertion=bobs.get(await desk.options("bob", CHALLENGE)),
    )


async def test_a_user_handle_of_another_human_is_refused(desk: PasskeyDesk) -> None:
    """What the authenticator says about whose the passkey is must agree with what we know."""
    device = await desk.enrol("alice")

    assert "another human" in await refusal(desk, await _with(user_handle=b"bob")(desk, device))


@pytest.mark.parametrize("counter", [4, 5, 0])
async def test_a_counter_that_does_not_grow_is_refused(desk: PasskeyDesk, counter: int) -> None:
    """Once it was above zero it grows with every use; an equal or lower one is a copy."""
    device = await desk.enrol("alice")
    options = await desk.options("alice", CHALLENGE)
    await desk.passkeys.verify(
        human_id="alice", challenge=CHALLENGE, assertion=device.get(options, counter=5)
    )

    message = await refusal(desk, device.get(options, counter=counter))

    assert "counter did not grow" in message


async def test_a_counter_that_does_not_grow_negative_control(
    desk: PasskeyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the counter's check, the copy signs."""
    device = await desk.enrol("alice")
    options = await desk.options("alice", CHALLENGE)
    await desk.passkeys.verify(
        human_id="alice", challenge=CHALLENGE, assertion=device.get(options, counter=5)
    )
    take_out(monkeypatch, library={"credential_current_sign_count": 0}, evidence=True)

    assert await desk.passkeys.verify(
        human_id="alice", challenge=CHALLENGE, assertion=device.get(options, counter=4)
    )


async def test_d04_one_assertion_used_at_once_counts_once(desk: PasskeyDesk) -> None:
    """Of many uses of one assertion of a counting device, one is accepted."""
    device = await desk.enrol("alice")
    assertion = device.get(await desk.options("alice", CHALLENGE))

    outcomes = await asyncio.gather(
        *(
            desk.passkeys.verify(human_id="alice", challenge=CHALLENGE, assertion=assertion)
            for _ in range(16)
        ),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, str) for outcome in outcomes) == 1
    assert all(isinstance(outcome, str | RefusedError) for outcome in outcomes)


async def test_d04_one_assertion_used_at_once_negative_control(
    desk: PasskeyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the compare-and-swap of the counter, several are."""
    device = await desk.enrol("alice")
    assertion = device.get(await desk.options("alice", CHALLENGE))
    monkeypatch.setattr(desk.store, "advance", lambda *_, **__: True)

    outcomes = await asyncio.gather(
        *(
            desk.passkeys.verify(human_id="alice", challenge=CHALLENGE, assertion=assertion)
            for _ in range(16)
        )
    )

    assert len(outcomes) == 16


async def test_a_removed_passkey_signs_nothing(desk: PasskeyDesk) -> None:
    """From the moment it is removed."""
    device = await desk.enrol("alice")
    options = await desk.options("alice", CHALLENGE)
    (passkey,) = await desk.accounts.of_human("alice")
    await desk.accounts.remove_own(passkey.credential_id, human_id="alice", operator="alice")

    assert "was removed" in await refusal(desk, device.get(options))


async def test_another_key_under_a_known_id_is_refused(desk: PasskeyDesk) -> None:
    """Knowing a credential id, which is no secret, is worth nothing without its private key."""
    device = await desk.enrol("alice")
    (credential,) = device.credentials.values()
    thief = Authenticator()
    thief.create({"user": {"id": ""}, "rp": {"id": "console.example"}, "challenge": ""})
    (stolen,) = thief.credentials.values()
    stolen.id, stolen.user_handle = credential.id, credential.user_handle

    message = await refusal(
        desk, thief.get(await desk.options("alice", CHALLENGE), credential=stolen)
    )

    assert "signature does not verify" in message


@pytest.mark.parametrize(
    "assertion",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"id": "AA", "id": "AA"}',
        b'{"id": 1}',
        b'{"id": "A=="}',
        b'{"id": "AA", "rawId": "AA", "type": "public-key", "response": []}',
        b"\xff\xfe",
        b'{"id": "' + b"A" * 20000 + b'"}',
        b"[" * 5000,
    ],
)
async def test_hostile_bytes_are_a_refusal(desk: PasskeyDesk, assertion: bytes) -> None:
    """Whatever a browser sends, the answer is PASSKEY_INVALID and never anything else."""
    assert await refusal(desk, assertion)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("clientDataJSON", "e30"),
        ("clientDataJSON", "AAAA"),
        ("clientDataJSON", None),
        ("authenticatorData", "AAAA"),
        ("authenticatorData", "A" * 200),
        ("authenticatorData", 7),
        ("signature", ""),
        ("signature", "AAAA"),
        ("userHandle", {}),
    ],
)
async def test_hostile_parts_are_a_refusal(desk: PasskeyDesk, field: str, value: Any) -> None:
    """The same for each part of an answer that is otherwise genuine."""
    device = await desk.enrol("alice")
    document = json.loads(device.get(await desk.options("alice", CHALLENGE)))
    document["response"][field] = value

    assert await refusal(desk, json.dumps(document).encode())


async def test_a_stranger_does_not_learn_who_has_a_passkey(desk: PasskeyDesk) -> None:
    """A name without a passkey is shown one that does not exist, and the same one every time."""
    await desk.enrol("alice")

    known = await desk.passkeys.authentication_options(
        challenge=CHALLENGE, human_id="alice", name="alice"
    )
    unknown = [
        await desk.passkeys.authentication_options(challenge=CHALLENGE, name="mallory")
        for _ in range(2)
    ]

    assert len(known["allowCredentials"]) == len(unknown[0]["allowCredentials"]) == 1
    assert unknown[0] == unknown[1]


@pytest.mark.parametrize("human", ["", "  "])
async def test_d03_nobody_has_no_passkey(desk: PasskeyDesk, human: str) -> None:
    """An empty human_id is nobody: it neither matches everybody nor anybody."""
    device = await desk.enrol("alice")

    assert await refusal(desk, device.get(await desk.options("alice", CHALLENGE)), human=human)


@pytest.mark.parametrize(
    ("rp_id", "origin"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("[::1]", "http://[::1]:8080"),
        ("console.example", "http://console.example"),
        ("console.example", "https://other.example"),
        ("console.example", "https://evilconsole.example"),
        ("console.example", "https://console.example/path"),
        ("", "https://console.example"),
        ("Console.example", "https://console.example"),
    ],
)
def test_a_place_where_no_browser_makes_passkeys_is_a_configuration_error(
    desk: PasskeyDesk, clock: ManualClock, rp_id: str, origin: str
) -> None:
    """An address, plain http or a foreign host is said at start, not by a browser later."""
    with pytest.raises(ConfigurationError):
        Passkeys(store=desk.store, rp_id=rp_id, origins=[origin], clock=clock)


def test_localhost_may_be_plain_http(clock: ManualClock, desk: PasskeyDesk) -> None:
    """For trying it out."""
    made = Passkeys(
        store=desk.store, rp_id="localhost", origins=["http://localhost:8443"], clock=clock
    )

    assert made.rp_id == "localhost"


async def test_enrolling_a_weaker_key_is_refused(desk: PasskeyDesk) -> None:
    """No PIN at enrolment, another challenge, origin or site: the link is not used up by it."""
    secret = await desk.link("alice")
    for wrong in (
        {"flags": PRESENT | ATTESTED},
        {"flags": VERIFIED | ATTESTED},
        {"flags": PRESENT | VERIFIED},
        {"challenge": b"another"},
        {"origin": "https://evil.test"},
        {"rp_id": "evil.test"},
        {"kind": "webauthn.get"},
        {"client": {"crossOrigin": True}},
    ):
        with pytest.raises(RefusedError) as caught:
            await desk.make(secret, Authenticator(), **wrong)
        assert caught.value.reason is ErrorReason.PASSKEY_INVALID

    assert (await desk.make(secret, Authenticator())).operator == "alice"


async def test_an_attestation_that_nobody_asked_for_is_not_even_parsed(
    desk: PasskeyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Browsers answer "none" with none, or with the key's signature over itself; no more is taken."""
    asked: list[Any] = []
    genuine = webauthn.verify_registration_response

    def watched(**given: Any) -> Any:
        asked.append(given)
        return genuine(**given)

    monkeypatch.setattr(module.webauthn, "verify_registration_response", watched)
    secret = await desk.link("alice")
    for fmt in ("tpm", "fido-u2f", "android-safetynet", "apple", "android-key", "made-up", ""):
        with pytest.raises(RefusedError):
            await desk.make(secret, Authenticator(), fmt=fmt)
    assert asked == []

    assert (await desk.make(secret, Authenticator(), fmt="packed")).operator == "alice"


def test_a_store_is_shared_by_nobody_else(desk: PasskeyDesk) -> None:
    """The file is its owner's alone from its first byte."""
    assert desk.path.stat().st_mode & 0o777 == 0o600
    assert isinstance(desk.store, PasskeyStore)

# SPDX-License-Identifier: Apache-2.0
"""The record of a signed grant is checked offline: as it is it passes, changed anywhere it fails."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

import cbor2
import pytest

from sidecar.approvals.challenge import grant_challenge
from sidecar.errors import UntrustedInputError
from sidecar.passkeys import cose, evidence
from sidecar.passkeys.cose import load_cose_key
from sidecar.passkeys.evidence import EnrolledKey, check_evidence, make_record
from tests.support.authenticator import (
    BACKED_UP,
    EDDSA,
    ES256,
    PRESENT,
    RS256,
    VERIFIED,
    Authenticator,
    Credential,
    b64url,
    unb64url,
)
from tests.support.passkeys import ORIGIN, PasskeyDesk

CHALLENGE = grant_challenge("apr_1", "ab" * 32)
BYTES = ("public_key", "client_data_json", "authenticator_data", "signature")


async def signed(desk: PasskeyDesk, algorithm: int = ES256) -> dict[str, Any]:
    """Return a genuine record."""
    device = await desk.enrol("alice", Authenticator(algorithm=algorithm))
    record = await desk.passkeys.verify(
        human_id="alice",
        challenge=CHALLENGE,
        assertion=device.get(await desk.options("alice", CHALLENGE)),
    )
    found: dict[str, Any] = json.loads(record)
    return found


def problems(record: dict[str, Any], challenge: bytes = CHALLENGE) -> tuple[str, ...]:
    """Return what is wrong with *record*."""
    return check_evidence(json.dumps(record), challenge=challenge).problems


def forged(**changes: Any) -> dict[str, Any]:
    """Return a record that is signed by a key of our own, over whatever we like."""
    device = Authenticator()
    options = {
        "user": {"id": ""},
        "rp": {"id": "console.example"},
        "rpId": "console.example",
        "challenge": b64url(CHALLENGE),
    }
    device.create(options)
    (credential,) = device.credentials.values()
    answer = json.loads(device.get(options, **changes))["response"]
    return json.loads(_record(credential, answer))  # type: ignore[no-any-return]


def _record(credential: Credential, answer: dict[str, str]) -> str:
    return make_record(
        credential_id=b64url(credential.id),
        public_key=credential.cose(),
        client_data_json=unb64url(answer["clientDataJSON"]),
        authenticator_data=unb64url(answer["authenticatorData"]),
        signature=unb64url(answer["signature"]),
        rp_id="console.example",
        origin=ORIGIN,
    )


@pytest.mark.parametrize("algorithm", [ES256, EDDSA, RS256])
async def test_a_genuine_record_passes(desk: PasskeyDesk, algorithm: int) -> None:
    """For each algorithm, with everything that can be expected of it."""
    record = await signed(desk, algorithm)
    added = next(body for _, body in desk.log.entries if body["event"] == "passkey_added")

    report = check_evidence(
        json.dumps(record),
        challenge=CHALLENGE,
        rp_id="console.example",
        origins=[ORIGIN],
        enrolled=[
            EnrolledKey(
                credential_id=added["credential"], public_key_sha256=added["public_key_sha256"]
            )
        ],
    )

    assert report.problems == ()
    assert report.is_ok
    assert report.is_key_known
    assert report.counter == 1
    assert report.rp_id == "console.example"


async def test_d05_the_record_proves_one_approval_and_one_fingerprint(desk: PasskeyDesk) -> None:
    """The same record proves no other approval and no other fingerprint."""
    record = await signed(desk)

    for other in (grant_challenge("apr_2", "ab" * 32), grant_challenge("apr_1", "cd" * 32), b""):
        assert any("another challenge" in text for text in problems(record, other))


@pytest.mark.parametrize("algorithm", [ES256, EDDSA])
@pytest.mark.parametrize("name", BYTES)
async def test_every_flipped_bit_of_every_part_is_found(
    desk: PasskeyDesk, name: str, algorithm: int
) -> None:
    """One bit of the key, the client data, the authenticator data or the signature: it fails."""
    record = await signed(desk, algorithm)
    data = unb64url(record[name])

    for position in range(len(data)):
        for bit in (0, 3, 7):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            assert problems({**record, name: b64url(bytes(changed))}), (name, position, bit)


async def test_every_flipped_bit_negative_control(
    desk: PasskeyDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the signature's check, a changed signature passes."""
    record = await signed(desk)
    monkeypatch.setattr(evidence, "verify_signature", lambda *_, **__: True)

    assert not problems({**record, "signature": "AAAA"})


@pytest.mark.parametrize(
    "change",
    [
        {"rp_id": "evil.test"},
        {"origin": "https://evil.test"},
        {"v": 2},
        {"v": True},
        {"v": "1"},
        {"more": "fields"},
        {"signature": None},
        {"signature": "not base64url!"},
        {"credential_id": ""},
        {"rp_id": 7},
        {"origin": ""},
    ],
)
async def test_a_changed_field_is_found(desk: PasskeyDesk, change: dict[str, Any]) -> None:
    """Each field is checked, its type too; the record has exactly the known ones."""
    record = await signed(desk)

    assert problems({**record, **change})


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{", '{"v":1,"v":1}', "\ud800", "x" * 20000, "[" * 9000]
)
def test_a_record_that_is_none_is_a_report_and_no_exception(text: str) -> None:
    """Hostile text is answered with a problem."""
    assert check_evidence(text, challenge=CHALLENGE).problems


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"flags": PRESENT}, "did not verify"),
        ({"flags": VERIFIED}, "nobody was present"),
        ({"flags": PRESENT | VERIFIED | BACKED_UP}, "contradicts itself"),
        ({"kind": "webauthn.create"}, "not of a signature"),
        ({"origin": "https://evil.test"}, "another origin"),
        ({"rp_id": "evil.test"}, "another relying party"),
        ({"client": {"crossOrigin": True}}, "page of somebody else"),
        ({"client": {"topOrigin": "https://evil.test"}}, "page of somebody else"),
        ({"extra": b"more"}, "do not announce"),
        ({"challenge": b"another"}, "another challenge"),
    ],
)
def test_a_well_signed_record_of_something_else_fails(wrong: dict[str, Any], problem: str) -> None:
    """The signature verifies in all of these; what it says is not a grant on our console."""
    found = problems(forged(**wrong))

    assert len(found) == 1
    assert problem in found[0]


def test_a_record_by_a_key_of_ones_own_is_told_from_an_enrolled_one() -> None:
    """Anybody can sign with a key of their own: only the log says whose key it is."""
    record = json.dumps(forged())
    key = unb64url(json.loads(record)["public_key"])
    own = EnrolledKey(
        credential_id=json.loads(record)["credential_id"],
        public_key_sha256=hashlib.sha256(key).hexdigest(),
    )
    others = [
        EnrolledKey(credential_id=own.credential_id, public_key_sha256="00" * 32),
        EnrolledKey(credential_id="AAAA", public_key_sha256=own.public_key_sha256),
    ]

    unknown = check_evidence(record, challenge=CHALLENGE)
    alien = check_evidence(record, challenge=CHALLENGE, enrolled=others)

    assert unknown.is_ok
    assert not unknown.is_key_known
    assert alien.problems == ("the key is none that was enrolled for the human",)
    assert check_evidence(record, challenge=CHALLENGE, enrolled=[own]).is_ok


def test_expected_places_are_compared() -> None:
    """A record of another console is not one of this."""
    record = json.dumps(forged())

    report = check_evidence(
        record, challenge=CHALLENGE, rp_id="other.example", origins=["https://other.example"]
    )

    assert report.problems == (
        "it is for another relying party",
        "it comes from another origin",
    )


@pytest.mark.parametrize("module", [evidence, cose])
def test_evidence_is_checked_without_the_library_that_accepted_it(module: Any) -> None:
    """Neither module imports webauthn or a CBOR library."""
    tree = ast.parse(Path(module.__file__).read_text())

    names = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }

    assert not [name for name in names if name.startswith(("webauthn", "cbor"))]


X, Y = b"\x01" * 32, b"\x02" * 32
BAD_KEYS: dict[str, bytes] = {
    "empty": b"",
    "no map": cbor2.dumps([1, 2]),
    "cut off": cbor2.dumps({1: 2, 3: -7, -1: 1, -2: X, -3: Y})[:-1],
    "bytes after it": cbor2.dumps({1: 1, 3: -8, -1: 6, -2: X}) + b"\x00",
    "label twice": b"\xa5\x01\x01\x01\x01" + cbor2.dumps({3: -8, -1: 6, -2: X})[1:],
    "more than its kind has": cbor2.dumps({1: 1, 3: -8, -1: 6, -2: X, 4: 1}),
    "another curve": cbor2.dumps({1: 2, 3: -7, -1: 2, -2: X, -3: Y}),
    "not on the curve": cbor2.dumps({1: 2, 3: -7, -1: 1, -2: X, -3: Y}),
    "short coordinate": cbor2.dumps({1: 2, 3: -7, -1: 1, -2: X[1:], -3: Y}),
    "compressed": cbor2.dumps({1: 2, 3: -7, -1: 1, -2: X, -3: True}),
    "algorithm of another kind": cbor2.dumps({1: 1, 3: -7, -1: 6, -2: X}),
    "HMAC": cbor2.dumps({1: 4, 3: 5, -1: X}),
    "ES384": cbor2.dumps({1: 2, 3: -35, -1: 2, -2: X, -3: Y}),
    "RSA of 1024 bits": cbor2.dumps({1: 3, 3: -257, -1: b"\xff" * 128, -2: b"\x01\x00\x01"}),
    "RSA with exponent 1": cbor2.dumps({1: 3, 3: -257, -1: b"\xff" * 256, -2: b"\x01"}),
    "RSA with SHA-1": cbor2.dumps({1: 3, 3: -65535, -1: b"\xff" * 256, -2: b"\x01\x00\x01"}),
    "long form of a number": b"\xa4\x18\x01\x01\x03\x27\x20\x06\x21\x58\x20" + X,
    "text for a label": cbor2.dumps({"1": 1, 3: -8, -1: 6, -2: X}),
    "indefinite length": b"\xbf\x01\x01\x03\x27\x20\x06\x21\x58\x20" + X + b"\xff",
    "huge": cbor2.dumps({1: 3, 3: -257, -1: b"\xff" * 4000, -2: b"\x01\x00\x01"}),
}


@pytest.mark.parametrize("story", BAD_KEYS)
def test_a_key_that_two_readers_could_read_differently_is_refused(story: str) -> None:
    """One spelling, three kinds, nothing else."""
    with pytest.raises(UntrustedInputError):
        load_cose_key(BAD_KEYS[story])

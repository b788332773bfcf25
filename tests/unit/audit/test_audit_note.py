# SPDX-License-Identifier: Apache-2.0
"""Signed notes: the formats, and everything that is not quite one."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.audit.note import (
    Checkpoint,
    CheckpointKey,
    check_key_name,
    format_vkey,
    open_checkpoint,
    parse_vkey,
    sign_checkpoint,
)
from sidecar.errors import HoldfastError, IntegrityError, UntrustedInputError

ORIGIN = "example.com/gate/host-1"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = CheckpointKey(name=ORIGIN, public_key=KEY.public_key())


def signed(origin: str = ORIGIN, size: int = 7, key: Ed25519PrivateKey = KEY) -> Checkpoint:
    return sign_checkpoint(origin=origin, size=size, root=bytes(range(32)), signing_key=key)


def resigned(body: str, origin: str = ORIGIN) -> str:
    """Sign any body, as a writer that forgot the rules would."""
    key_id = CheckpointKey(name=origin, public_key=KEY.public_key()).key_id
    line = base64.b64encode(key_id + KEY.sign(body.encode())).decode()
    return f"{body}\n— {origin} {line}\n"


def test_a_signed_checkpoint_opens() -> None:
    """What is signed comes back, and its text is the format's."""
    note = signed()

    opened = open_checkpoint(note.text, key=PUBLIC)

    assert opened == note
    root = base64.b64encode(bytes(range(32))).decode()
    assert note.text.startswith(f"{ORIGIN}\n7\n{root}\n\n— {ORIGIN} ")


def test_key_ids_are_those_of_published_keys() -> None:
    """Verifier keys in public use parse: the key id is computed as everybody computes it."""
    for text in (
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ):
        key = parse_vkey(text)

        assert format_vkey(key.name, key.public_key) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "a+b+c",
        "sum.golang.org+033de0af+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.com+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.org+033DE0AE+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8=",
        "sum.golang.org+033de0ae+Ac4zctda0e5eza",
        "sum.golang.org+033de0ae+BM4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "sum golang+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        "\u0661" * 40,
    ],
)
def test_other_verifier_keys_are_refused(text: str) -> None:
    """A key with a wrong id, type, spelling or length is no key."""
    with pytest.raises(UntrustedInputError):
        parse_vkey(text)


def test_g06_checkpoint_of_another_log_or_key_is_refused() -> None:
    """Another origin, another name and another key each fail, whoever signed."""
    stranger = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
    cases = [
        signed(origin="example.com/gate/host-2").text,
        signed(key=stranger).text,
        resigned(signed().text.split("\n\n")[0].replace(ORIGIN, "example.com/other") + "\n"),
        signed().text.replace(f"— {ORIGIN}", "— example.com/gate/host-2"),
    ]

    for text in cases:
        with pytest.raises(IntegrityError):
            open_checkpoint(text, key=PUBLIC)


def test_g06_other_origin_negative_control() -> None:
    """If the key's name were not bound to the origin, a stranger's checkpoint would pass."""
    text = resigned(signed().text.split("\n\n")[0].replace(ORIGIN, "example.com/other") + "\n")
    body, _, _ = text.rpartition("\n\n")
    signature = base64.b64decode(text.rsplit(" ", 1)[1])[4:]

    KEY.public_key().verify(signature, f"{body}\n".encode())  # the signature itself is fine


def test_g06_two_signatures_are_refused() -> None:
    """A second signature line, by the same key or by another, is refused."""
    note = signed().text
    line = note.splitlines()[-1]
    other = signed(origin="example.com/witness").text.splitlines()[-1]

    for text in (f"{note}{line}\n", f"{note}{other}\n", f"{note}\n{line}\n"):
        with pytest.raises((IntegrityError, UntrustedInputError)):
            open_checkpoint(text, key=PUBLIC)


@pytest.mark.parametrize(
    "body",
    [
        f"{ORIGIN}\n07\nAAAA\n",
        f"{ORIGIN}\n-7\n{'A' * 43}=\n",
        f"{ORIGIN}\n7 \n{'A' * 43}=\n",
        f"{ORIGIN}\n\u0667\n{'A' * 43}=\n",
        f"{ORIGIN}\n99999999999999999999\n{'A' * 43}=\n",
        f"{ORIGIN}\n7\n{'A' * 42}B=\n",
        f"{ORIGIN}\n7\n{'A' * 40}\n",
        f"{ORIGIN}\n7\n{'A' * 43}=\nextension\n",
        f"{ORIGIN}\n7\n",
        f"{ORIGIN}\r\n7\n{'A' * 43}=\n",
        f"{ORIGIN}\x00\n7\n{'A' * 43}=\n",
    ],
)
def test_signed_texts_that_are_no_checkpoints_are_refused(body: str) -> None:
    """Even a valid signature makes no checkpoint out of another text."""
    with pytest.raises((UntrustedInputError, IntegrityError)):
        open_checkpoint(resigned(body), key=PUBLIC)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.text(max_size=400).map(str.encode)))
@example(b"\n\n\xe2\x80\x94 a b\n")
@example(b"\xff\xfe")
@example(b"x" * 100_000)
def test_garbage_raises_only_domain_errors(data: bytes) -> None:
    """Hostile bytes raise our errors and nothing else."""
    with pytest.raises(HoldfastError):
        open_checkpoint(data, key=PUBLIC)


def test_every_flipped_bit_of_a_checkpoint_is_refused() -> None:
    """No single bit of a note can change unnoticed."""
    data = signed().text.encode()

    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(HoldfastError):
            open_checkpoint(bytes(flipped), key=PUBLIC)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "é", "-a", "x" * 200])
def test_names_that_notes_do_not_allow_are_misuse(name: str) -> None:
    """An origin is checked when the log is configured."""
    with pytest.raises(ValueError, match="origin"):
        check_key_name(name)

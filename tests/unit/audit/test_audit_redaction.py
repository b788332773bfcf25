# SPDX-License-Identifier: Apache-2.0
"""Redaction: what must not come out does not, and what comes out is bounded."""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import string
import time
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.audit import redaction
from sidecar.audit.entry import canonical_json
from sidecar.audit.redaction import Redactor
from sidecar.audit.secretshapes import find_secrets, has_secret

KEY = b"k" * 32
ALNUM = string.ascii_letters + string.digits
CANARY = st.text(ALNUM, min_size=16, max_size=24).map(lambda text: f"CaNaRy{text}")


@pytest.fixture
def redactor() -> Redactor:
    return Redactor(KEY)


def dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def leaks(output: str, secret: str) -> bool:
    """Whether *secret* can be read from *output*, plainly or by an encoding anybody would try."""
    raw = secret.encode()
    forms = {secret, raw.hex(), quote(secret, safe=""), base64.b64encode(raw).decode().rstrip("=")}
    for shift in (b"", b"a", b"ab"):
        encoded = base64.b64encode(shift + raw).decode().rstrip("=")
        forms.add(encoded[4:-4])
    return any(form in output for form in forms if len(form) >= 12)


def shaped(canary: str) -> list[str]:
    """Texts in which *canary* is a secret that has a shape."""
    return [
        f"Bearer {canary}",
        f"Authorization: Basic {canary}",
        f"password={canary}",
        f'{{"api_key": "{canary}"}}',
        f"db_PASSWORD = '{canary}'",
        f"sk-{canary}",
        f"ghp_{canary}",
        f"xoxb-{canary}",
        f"AKIA{canary.upper()}",
        f"eyJhbGciOiJub25lIn0.eyJ{canary}.{canary}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{canary}\n-----END RSA PRIVATE KEY-----",
        f"https://user:{canary}@example.com/x",
        f"https://example.com/x?q={canary}&b=1#frag{canary}",
        f"see //example.com/?{canary}",
        base64.b64encode(f"password={canary}".encode()).decode(),
        base64.urlsafe_b64encode(f"xx token: {canary}".encode()).decode(),
        base64.b64encode(base64.b64encode(f"Bearer {canary}".encode())).decode(),
        f"Bearer {canary}".encode().hex(),
        quote(f"password={canary}", safe=""),
    ]


@settings(max_examples=40, deadline=None)
@given(CANARY)
def test_g09_canaries_in_hidden_arguments_never_come_out(canary: str) -> None:
    """Whatever the shape, nesting or type: a hidden argument leaves only its keyed digest."""
    values: list[Any] = [
        canary,
        [canary],
        {"a": {"b": [canary, {canary: canary}]}},
        canary.encode(),
        bytearray(canary.encode()),
        base64.b64encode(canary.encode()).decode(),
        f"https://{canary}@example.com/{canary}?{canary}#{canary}",
        *shaped(canary),
    ]
    arguments = {f"argument_{number}": value for number, value in enumerate(values)}

    output = dump(Redactor(KEY).redact_arguments(arguments, frozenset()))

    assert not leaks(output, canary)


@settings(max_examples=40, deadline=None)
@given(CANARY, st.text(max_size=20), st.text(max_size=20))
def test_g09_shaped_secrets_in_revealed_arguments_never_come_out(
    canary: str, before: str, after: str
) -> None:
    """Revealed is not trusted: secrets with a shape are replaced, wherever they stand."""
    redactor = Redactor(KEY)
    for text in shaped(canary):
        for value in (text, f"{before} {text} {after}", [text], {"x": {"y": text}}):
            output = dump(redactor.redact_arguments({"body": value}, frozenset({"body"})))

            assert not leaks(output, canary), text
        assert not leaks(redactor.safe_text(f"{before} {text}"), canary)


@settings(max_examples=60, deadline=None)
@given(CANARY)
def test_g09_canaries_in_names_never_come_out(canary: str) -> None:
    """A name that no schema knows is the caller's text and is hidden like a value."""
    redactor = Redactor(KEY)
    arguments = {canary: 1, f"password={canary}": 2, f"é{canary}": 3, "to": {f"ghp_{canary}": 4}}

    known = redactor.redact_arguments(arguments, frozenset(), known=frozenset({"to"}))
    unknown = redactor.redact_arguments(
        {f"ghp_{canary}": 1, f"x y {canary}": 2, "to": {f"sk-{canary}": 3}}, frozenset({"to"})
    )

    assert not leaks(dump(known), canary)
    assert not leaks(dump(unknown), canary)
    assert "to" in known


def test_g09_hidden_arguments_negative_control(
    monkeypatch: pytest.MonkeyPatch, redactor: Redactor
) -> None:
    """With the digest patched out the canary is in the log."""
    monkeypatch.setattr(Redactor, "digest", lambda self, value: value)

    output = dump(redactor.redact_arguments({"body": "CaNaRy1234567890"}, frozenset()))

    assert leaks(output, "CaNaRy1234567890")


def test_g09_revealed_arguments_negative_control(
    monkeypatch: pytest.MonkeyPatch, redactor: Redactor
) -> None:
    """With the net for shapes patched out a revealed password is in the log."""
    monkeypatch.setattr(redaction, "find_secrets", lambda text: [])

    output = dump(
        redactor.redact_arguments({"body": "password=CaNaRy1234567890"}, frozenset({"body"}))
    )

    assert leaks(output, "CaNaRy1234567890")


@pytest.mark.parametrize(
    "text",
    [
        "GB29NWBK60161331926819",
        "Rent for March, thank you",
        "alice@example.com",
        "a task-management-system-for-everyone",
        "Internationalization of the desk-reservation-service",
        "SHA-256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "/var/lib/holdfast/state/control/audit/tile/entries/x001/234",
        "https://example.com/a/b",
        "12:30 on 2026-01-01",
    ],
)
def test_ordinary_text_stays_readable(redactor: Redactor, text: str) -> None:
    """People who read the log see what was revealed."""
    assert redactor.redact_arguments({"x": text}, frozenset({"x"})) == {"x": text}


def test_digest_is_hmac_sha256_of_the_canonical_json(redactor: Redactor) -> None:
    """The digest is RFC 2104's, so that whoever holds the key can check a guess elsewhere."""
    expected = hmac.new(KEY, b'{"a":[1,"x",2.5]}', hashlib.sha256).hexdigest()

    assert redactor.digest({"a": [1, "x", 2.5]}) == f"hmac:{expected[:32]}"
    for key in (b"x" * 33, b"x" * 64, b"x" * 65, b"x" * 200):
        long = hmac.new(key, b'"x"', hashlib.sha256).hexdigest()
        assert Redactor(key).digest("x") == f"hmac:{long[:32]}"


def test_equal_values_are_equal_and_keys_matter(redactor: Redactor) -> None:
    """Digests can be joined within a log, not across keys; 1 and 1.0 are the same number."""
    assert redactor.digest(1) == redactor.digest(1.0)
    assert redactor.digest("1") != redactor.digest(1)
    assert redactor.digest("x") != Redactor(b"j" * 32).digest("x")


def test_a_short_key_is_misuse() -> None:
    """A key that could be guessed makes the digests guessable."""
    with pytest.raises(ValueError, match="32"):
        Redactor(b"short")
    assert "k" * 8 not in repr(Redactor(KEY))


def test_an_agent_cannot_fake_our_marks(redactor: Redactor) -> None:
    """A revealed value that looks redacted is written so that it does not."""
    shown = redactor.redact_arguments(
        {"a": "hmac:00000000000000000000000000000000", "b": "text:x"}, frozenset({"a", "b"})
    )

    assert shown == {"a": "text:hmac:00000000000000000000000000000000", "b": "text:text:x"}


def test_numbers_and_null_are_written_as_json_text(redactor: Redactor) -> None:
    """Entries have no floats; a revealed number keeps its canonical spelling."""
    arguments = {
        "a": 12.5,
        "b": 3.0,
        "c": None,
        "d": 1e300,
        "e": True,
        "f": -7,
        "g": 1e-7,
        "h": 1e16,
    }

    shown = redactor.redact_arguments(arguments, frozenset(arguments))

    assert shown == {
        "a": "12.5",
        "b": 3,
        "c": "null",
        "d": "1e+300",
        "e": True,
        "f": -7,
        "g": "1e-7",
        "h": "10000000000000000",
    }


def test_long_strings_are_clipped_and_say_so(redactor: Redactor) -> None:
    """256 characters are shown, with the length and a digest of the whole."""
    shown = redactor.redact_arguments({"x": "ab " * 1000}, frozenset({"x"}))["x"]

    assert shown.startswith("ab " * 85)
    assert shown.endswith(f"(3000 characters, {redactor.digest('ab ' * 1000)})")
    assert len(shown) < 330


@pytest.mark.parametrize("offset", range(200, 1200, 7))
def test_a_secret_across_the_clipping_edge_does_not_show(redactor: Redactor, offset: int) -> None:
    """However long the text is before it, no part of a secret is shown."""
    secret = "CaNaRy" + "7" * 40

    for filler in ("a ", "password=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx "):
        text = (filler * 600)[:offset] + f" Bearer {secret} " + "z " * 2000
        shown = redactor.redact_arguments({"x": text}, frozenset({"x"}))["x"]
        assert "CaNaRy" not in shown
        assert "CaNaRy" not in redactor.safe_text(text, 1000)


def test_counts_are_bounded(redactor: Redactor) -> None:
    """Very many arguments become one digest; the result always fits an entry."""
    arguments = {f"name_{number}": "\U0001f600" * 300 for number in range(5000)}

    shown = redactor.redact_arguments(arguments, frozenset(arguments))

    assert len(shown) == 65
    assert shown["+4936"].startswith("hmac:")
    assert len(canonical_json({"arguments": shown})) < 50_000


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=10),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=40)
            | st.binary(max_size=10),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(st.text(max_size=4), inner, max_size=4)
            ),
            max_leaves=12,
        ),
        max_size=8,
    )
)
@example({"a": "\ud800", "\ud800": 1})
def test_any_arguments_give_an_entry(arguments: dict[str, Any]) -> None:
    """Redaction never raises, and what it gives is in the domain of entries."""
    shown = Redactor(KEY).redact_arguments(arguments, frozenset(list(arguments)[::2]))

    canonical_json({"arguments": shown})


def test_deep_values_do_not_break_it(redactor: Redactor) -> None:
    """Nesting beyond any limit gives a digest, not a RecursionError."""
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]

    shown = redactor.redact_arguments({"a": deep, "b": deep}, frozenset({"a"}))

    assert shown["b"].startswith("hmac:")


def test_urls_keep_host_and_path_only(redactor: Redactor) -> None:
    """User information, query and fragment are replaced; the rest stays readable."""
    shown = redactor.redact_url("https://me:pw@example.com:8443/a/b?token=x#y")

    assert shown.startswith("https://[hmac:")
    assert "@example.com:8443/a/b?[hmac:" in shown
    assert "pw" not in shown
    assert "token" not in shown
    assert redactor.redact_url("https://example.com/a?") == "https://example.com/a?"


@pytest.mark.parametrize(
    "text",
    [
        "a" * 65536,
        "A1b2" * 16384,
        "password" * 8000,
        "password " * 8000,
        "//" * 32768,
        "a.b://" * 10000,
        "0a" * 32768,
        "-----BEGIN PRIVATE KEY-----" * 2400,
        "eyJaaaaa." * 7000,
        "sk-" * 20000,
        "%41" * 20000,
        "a%" * 20000,
        "SG." * 20000,
        "=:" * 30000,
        " " * 65536,
    ],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    """Scanning twice as much takes about twice as long, never its square."""

    def cost(part: str) -> float:
        best = 1e9
        for _ in range(3):
            start = time.thread_time()
            find_secrets(part)
            best = min(best, time.thread_time() - start)
        return best

    small, large = cost(text[:2048]), cost(text[:16384])

    assert large < 8 * 4 * small + 0.02


def test_spans_do_not_overlap() -> None:
    """Overlapping finds are joined, so each secret is replaced once and whole."""
    text = "password=ghp_abcdefghijklmnop1234 token: Bearer abcdefghijkl"

    spans = find_secrets(text)

    assert spans == sorted(spans)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
    assert has_secret(text)
    assert not has_secret("nothing here")

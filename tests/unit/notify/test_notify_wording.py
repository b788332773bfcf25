# SPDX-License-Identifier: Apache-2.0
"""What a notice says, and that nothing hostile in it can hide, steer or pass for ours."""

from __future__ import annotations

import pickle
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import IntegrityError
from sidecar.notify import wording
from sidecar.notify.encoding import decode_notice, encode_notice, notice_id
from sidecar.notify.notice import Notice, NoticeKind
from sidecar.notify.secret import Secret
from sidecar.notify.wording import plain, safe_link, wording_of
from tests.unit.notify.notify_kit import CANARY, HOSTILE, INVISIBLE, OPENED, notice, outcome


def test_a_notice_says_who_what_risk_and_expiry_with_link_command_and_words():
    """Everything an approver needs to know whether to look stands in the message."""
    message = wording_of(OPENED)
    facts = dict(message.facts)

    assert message.title == "Approval needed [HIGH]"
    assert facts["What"] == OPENED.summary
    assert facts["Agent"] == "billing-bot"
    assert facts["Risk"] == "HIGH"
    assert facts["Refused by itself at"] == "2025-10-09 09:53:20 UTC"
    assert facts["Fingerprint"] == OPENED.words
    assert facts["Who may decide"] == "alice, bob"
    assert message.link == OPENED.url
    assert message.command == OPENED.command


def test_an_outcome_says_what_happened_and_who_and_no_deadline_any_more():
    """Who decided stands there; a time by which something would be refused does not."""
    facts = dict(wording_of(outcome()).facts)

    assert wording_of(outcome()).title == "Granted [HIGH]"
    assert facts["What happened"] == "granted by alice on the console"
    assert "Refused by itself at" not in facts


def test_an_alert_does_not_say_the_same_twice():
    """Where the detail is the sentence itself."""
    alert = notice(NoticeKind.ALERT, approval="", summary="too many", detail="too many")

    assert [text for _, text in wording_of(alert).facts].count("too many") == 1


@pytest.mark.parametrize("kind", list(NoticeKind))
def test_every_kind_has_a_title(kind):
    """No kind of notice is without words, also with a state that nobody knows."""
    assert wording_of(notice(kind, state="SOMETHING")).title


def test_d15_what_cannot_be_seen_is_made_visible_on_one_line():
    """Direction, zero width, tag and filler characters, breaks and escapes are shown as such."""
    text = plain(HOSTILE)

    assert not set(INVISIBLE) & set(text)
    assert text.isprintable()
    for shown in ("\\u{202e}", "\\u{200b}", "\\u{e0041}", "\\u{1b}", "\\u{d}\\u{a}", "\\u{3164}"):
        assert shown in text
    assert "a\u0301\u0301\u0301\\u{301}\\u{301}" in text


def test_d15_what_cannot_be_seen_is_made_visible_negative_control(monkeypatch):
    """Without the two guards the characters do get through."""
    monkeypatch.setattr(wording, "escape_text", lambda text: text)
    monkeypatch.setattr(wording, "_NOTHING_TO_SEE", wording.re.compile("(?!)"))

    assert set(INVISIBLE) <= set(plain(HOSTILE))


@given(st.text(st.characters(), max_size=300), st.integers(1, 200))
def test_any_text_becomes_one_visible_line_of_bounded_length(text, limit):
    """Whatever an agent writes is printable afterwards, and a cut says how much it took."""
    shown = plain(text, limit)
    kept, _, cut = shown.partition("… (+")

    assert shown.isprintable()
    assert len(kept) <= limit or not cut
    assert plain(shown, 10_000) == shown


def test_d17_a_long_text_is_cut_and_says_so():
    """Nobody takes the beginning for the whole."""
    shown = plain("x" * 5000, 100)

    assert shown == "x" * 100 + "… (+4900 characters)"


@pytest.mark.parametrize(
    "url",
    [
        "https://holdfast.test/approvals/a|evil",
        "https://holdfast.test/a>b",
        "https://holdfast.test/a)b",
        "https://user@holdfast.test/a",
        "http://holdfast.test/a",
        "javascript:alert(1)",
        "https://holdfast.test/a?x=1",
        "https://holdfast.test/a\n",
        "https://holdfast.test/" + "a" * 1003,
    ],
)
def test_a_link_that_markup_could_misread_is_left_out(url):
    """A link is plain scheme, host and path; anything else is no link of ours."""
    assert safe_link(url) == ""
    assert wording_of(notice(url=url)).link == ""


def test_a_link_to_a_console_on_this_host_is_one():
    """Somebody who tries Holdfast out has the console on the loopback, without TLS."""
    assert safe_link("https://holdfast.test/" + "a" * 1002)
    assert safe_link("http://localhost:7444/approvals/apr_1")
    assert safe_link("http://127.0.0.1:7444/approvals/apr_1")


def test_many_approvers_are_cut():
    """A list of a thousand names does not fill the message."""
    names = tuple(f"human-{number}" for number in range(1000))
    shown = dict(wording_of(notice(approvers=names)).facts)["Who may decide"]

    exactly = dict(wording_of(notice(approvers=names[:20])).facts)["Who may decide"]

    assert shown.endswith("human-19 and 980 more")
    assert exactly.endswith("human-19")


def test_the_same_notice_has_the_same_name_and_any_other_another():
    """Receivers tell duplicates by it, so every field counts and nothing else does."""
    changed = {
        "kind": NoticeKind.REMINDER, "create_time_ns": 1, "expire_time_ns": 1,
        "approvers": ("x",), "addresses": ("x@y",),
    }  # fmt: skip
    others = {
        notice_id(notice(**{field.name: changed.get(field.name, "other")}))
        if field.name not in {"kind", "approval"}
        else notice_id(notice(NoticeKind.REMINDER) if field.name == "kind" else notice(number=2))
        for field in fields(Notice)
    }

    assert notice_id(OPENED) == notice_id(decode_notice(encode_notice(OPENED)))
    assert len(others | {notice_id(OPENED)}) == len(fields(Notice)) + 1


@given(st.text(st.characters(), max_size=50))
def test_encoding_a_notice_never_fails_and_comes_back(text):
    """Lone surrogates too: a notice is never lost for what an agent wrote."""
    data = encode_notice(notice(summary=text))

    assert encode_notice(decode_notice(data)) == data


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"v":2}', b"\xff", b"[" * 100_000, b'{"v":1,"kind":"opened"}']
)
def test_what_is_no_notice_is_refused(data):
    """A damaged outbox raises the one error that its reader expects."""
    with pytest.raises(IntegrityError):
        decode_notice(data)


def test_p9_a_secret_shows_itself_to_nobody_but_who_asks():
    """Not in a message, a format, an error's arguments or a pickle."""
    secret = Secret(CANARY)
    shown = f"{secret} {secret!r} {secret!s:>20} {[secret]} {ValueError(secret)}"

    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert CANARY not in shown
    assert secret.reveal() == CANARY
    assert secret == Secret(CANARY)
    assert secret != Secret("other")
    assert secret != CANARY
    assert len({secret, Secret(CANARY)}) == 1


def test_p9_a_secret_shows_itself_to_nobody_negative_control():
    """A plain text in its place would be in all of them."""
    assert CANARY in f"{CANARY} {[CANARY]}"

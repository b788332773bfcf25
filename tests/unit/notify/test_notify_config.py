# SPDX-License-Identifier: Apache-2.0
"""``notifications.yaml``: what it may say, and how it says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.clock import ManualClock
from sidecar.documents import DocumentErrors
from sidecar.errors import ErrorReason
from sidecar.notify import config as config_module
from sidecar.notify.build import load_channels
from sidecar.notify.channel import Route
from sidecar.notify.config import (
    MAX_CHANNELS,
    SlackSpec,
    SmtpSpec,
    TeamsSpec,
    WebhookSpec,
    load_notifications,
)
from sidecar.notify.notice import NoticeKind
from sidecar.notify.secret import Secret
from sidecar.notify.smtp import Security
from tests.unit.notify.notify_kit import CANARY, notice

SIGNING = f"{CANARY}-a-signing-secret"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with secrets as they should be."""
    for name, text in {
        "signing": SIGNING,
        "older": f"{CANARY}-an-older-signing-secret",
        "password": f"{CANARY} with spaces",
        "token": f"xoxb-{CANARY}",
        "url": f"https://hooks.example.com/{CANARY}?sig=%2F{CANARY}",
    }.items():
        file = tmp_path / name
        file.touch(mode=0o600)
        file.write_text(text + "\n")
    return tmp_path


def load(folder: Path, text: str):
    path = folder / "notifications.yaml"
    path.write_text(text.replace("DIR", str(folder)))
    return load_notifications(path)


def problems(folder: Path, text: str) -> list[str]:
    """Return every problem, without the directory's name."""
    with pytest.raises(DocumentErrors) as caught:
        load(folder, text)
    assert caught.value.reason is ErrorReason.INVALID_CONFIGURATION
    assert CANARY not in f"{caught.value!s}{caught.value!r}{caught.value.__cause__!r}"
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.all]


FULL = """\
version: 1
channels:
  soc:
    kind: webhook
    url: https://soc.example.com/hooks/holdfast?team=1
    secret_file: DIR/signing
    previous_secret_file: DIR/older
    ping: true
    tiers: [HIGH, CRITICAL]
    events: [opened, decided]
  mail:
    kind: smtp
    host: mail.example.com
    user: holdfast
    password_file: DIR/password
    from: holdfast@example.com
    to: [soc@example.com]
  oncall:
    kind: smtp
    host: 127.0.0.1
    security: none
    from: holdfast@example.com
    to: [oncall@example.com]
    approvers: false
    escalation_only: true
  chat:
    kind: slack
    token_file: DIR/token
    channel: "#approvals"
  teams:
    kind: teams
    url_file: DIR/url
"""


def test_a_full_file_is_read(folder):
    """Every kind, with its defaults; a secret without the end of its line."""
    soc, mail, oncall, chat, teams = load(folder, FULL)

    assert soc == WebhookSpec(
        name="soc",
        route=Route(
            events=frozenset({NoticeKind.OPENED, NoticeKind.DECIDED}),
            tiers=frozenset({"HIGH", "CRITICAL"}),
        ),
        address=Secret("https://soc.example.com/hooks/holdfast?team=1"),
        secrets=(Secret(SIGNING), Secret(f"{CANARY}-an-older-signing-secret")),
        is_pinged=True,
        ca_file=None,
    )
    assert isinstance(mail, SmtpSpec)
    assert (mail.port, mail.security) == (587, Security.STARTTLS)
    assert mail.password == Secret(f"{CANARY} with spaces")
    assert mail.is_for_approvers
    assert isinstance(oncall, SmtpSpec)
    assert (oncall.port, oncall.user, oncall.password) == (25, "", None)
    assert oncall.route.events == {NoticeKind.ESCALATION, NoticeKind.DECIDED}
    assert isinstance(chat, SlackSpec)
    assert chat.api == Secret("https://slack.com/api")
    assert chat.route == Route()
    assert isinstance(teams, TeamsSpec)


def test_p9_what_is_read_shows_no_secret(folder):
    """Neither the specs nor the channels made of them."""
    specs = load(folder, FULL)
    routed = load_channels(folder / "notifications.yaml", clock=ManualClock())

    assert [one.channel.name for one in routed] == ["soc", "mail", "oncall", "chat", "teams"]
    assert CANARY not in f"{specs!r}{routed!r}"


def test_p9_what_is_read_shows_no_secret_negative_control(folder, monkeypatch):
    """If the type did not mask it, the specs would show it."""
    specs = load(folder, FULL)
    monkeypatch.setattr(Secret, "__repr__", lambda self: self.reveal())

    assert CANARY in repr(specs)


def test_no_channel_is_a_choice(folder):
    """A file may say so; doctor warns."""
    assert load(folder, "version: 1\nchannels: {}\n") == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "    ping: true",
            "    pnig: true",
            'notifications.yaml:8: channels.soc.pnig: unknown key "pnig" (did you mean "ping"?)',
        ),
        (
            "kind: slack",
            "kind: slakc",
            'notifications.yaml:27: channels.chat.kind: "slakc" is not one of webhook, smtp, slack,'
            ' teams (did you mean "slack"?)',
        ),
        (
            "    kind: teams\n",
            "",
            "notifications.yaml:30: channels.teams.kind: is missing (add `kind:`)",
        ),
        (
            "    secret_file: DIR/signing\n",
            "",
            "notifications.yaml:3: channels.soc.secret_file: is missing (add `secret_file:`)",
        ),
        (
            "[HIGH, CRITICAL]",
            "[high]",
            'notifications.yaml:9: channels.soc.tiers[0]: "high" is not one of LOW, MEDIUM, HIGH, '
            "CRITICAL",
        ),
        (
            "[HIGH, CRITICAL]",
            "[]",
            "notifications.yaml:9: channels.soc.tiers: a list: list should have at least 1 item "
            "after validation, not 0",
        ),
        (
            "[opened, decided]",
            "[opened, closed]",
            'notifications.yaml:10: channels.soc.events[1]: "closed" is not one of opened, '
            "reminder, escalation, decided, alert",
        ),
        (
            "https://soc.example.com/hooks",
            f"http://soc.example.com/{CANARY}",
            "notifications.yaml:5: channels.soc.url: must be https; plain http is only for "
            "127.0.0.1 or [::1]",
        ),
        (
            "    secret_file: DIR/signing",
            "    secret_file: DIR/signing\n    url_file: DIR/url",
            "notifications.yaml:3: channels.soc: needs either `url` or `url_file` (keep one)",
        ),
        (
            "    url: https://soc.example.com/hooks/holdfast?team=1\n",
            "",
            "notifications.yaml:3: channels.soc: needs either `url` or `url_file` (keep one)",
        ),
        (
            "host: mail.example.com",
            "host: mail.example.com\n    security: none",
            "notifications.yaml:14: channels.mail.security: `none` is only for a loopback address "
            "(use starttls or tls; for a server on this host write `host: 127.0.0.1`)",
        ),
        (
            "    user: holdfast\n",
            "",
            "notifications.yaml:11: channels.mail: needs both of `user` and `password_file`, or "
            "neither",
        ),
        (
            "from: holdfast@example.com\n    to: [soc@",
            "from: holdfast\n    to: [soc@",
            "notifications.yaml:16: channels.mail.from: is not a mail address like soc@example.com",
        ),
        (
            "    to: [oncall@example.com]\n",
            "",
            "notifications.yaml:18: channels.oncall.to: writes to nobody (list addresses, or set "
            "approvers: true)",
        ),
        (
            "    escalation_only: true",
            "    escalation_only: true\n    events: [alert]",
            "notifications.yaml:25: channels.oncall.escalation_only: says what `events` says (keep "
            "one; it is short for events: [escalation, decided])",
        ),
        (
            '"#approvals"',
            '"a channel"',
            "notifications.yaml:29: channels.chat.channel: is not a channel like C0123ABCD or #name",
        ),
        (
            "  chat:",
            "  Chat:",
            'notifications.yaml:26: channels.Chat: "Chat" is not a name (lower-case letters, digits'
            " and -, at most 31)",
        ),
        (
            "url_file: DIR/url",
            f"url: https://hooks.example.com/{CANARY}",
            "notifications.yaml:30: channels.teams.url_file: is missing (add `url_file:`)",
        ),
        (
            "secret_file: DIR/signing",
            "secret_file: signing",
            "notifications.yaml:6: channels.soc.secret_file: is not an absolute path; write the "
            "whole path, from / on",
        ),
        (
            "    ping: true",
            "    ca_file: DIR/signing",
            "notifications.yaml:8: channels.soc.ca_file: is not a readable file of PEM certificates "
            "(name the PEM file of the CA)",
        ),
        ("version: 1", "version: 2", "notifications.yaml:1: version: 2 is not a version this "
         "release reads: write 1"),
        ("    ping: true", "    ping: yes", 'notifications.yaml:8: channels.soc.ping: "yes" without'
         ' quotes means different things to different YAML readers (quote it: "yes")'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_place_and_remedy(folder, old, new, expected):
    """File, line, key, what is wrong, what to do; and no secret, whatever it is."""
    assert old in FULL

    assert expected in problems(folder, FULL.replace(old, new, 1))


@pytest.mark.parametrize(
    "key", ["verify: false", "insecure: true", "tls_verify: false", "skip_verify: true"]
)
def test_nothing_turns_verification_off(folder, key):
    """There is no such key, on any kind."""
    for kind in ("webhook", "smtp", "slack", "teams"):
        text = FULL.replace(f"    kind: {kind}\n", f"    kind: {kind}\n    {key}\n", 1)
        assert any("unknown key" in problem for problem in problems(folder, text))


@pytest.mark.parametrize("key", ["token", "password", "secret"])
def test_p9_a_secret_in_the_file_itself_is_refused_and_not_shown(folder, key):
    """Secrets are named by files; the message does not repeat what stands there."""
    text = FULL.replace("    kind: slack\n", f"    kind: slack\n    {key}: xoxb-{CANARY}\n")

    assert any(f'unknown key "{key}"' in problem for problem in problems(folder, text))


def test_every_problem_is_reported_at_once(folder):
    """One look, one repair."""
    text = FULL.replace("ping", "pnig").replace("slack", "slakc", 1).replace("[HIGH", "[high")

    assert len(problems(folder, text)) == 3


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660])
@pytest.mark.parametrize("name", ["signing", "password", "token", "url"])
def test_a_secret_that_others_can_read_is_none(folder, name, mode):
    """The file is refused with the command that repairs it."""
    (folder / name).chmod(mode)
    (problem,) = problems(folder, FULL)

    assert f"{name} has mode {mode:04o}" in problem
    assert "chmod 0600" in problem


def test_a_secret_that_others_can_read_is_none_negative_control(folder, monkeypatch):
    """Read without looking, it would be taken."""
    (folder / "token").chmod(0o644)
    monkeypatch.setattr(
        config_module, "read_secret_file", lambda path, **_: Path(path).read_bytes()
    )

    assert len(load(folder, FULL)) == 5


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("signing", b"short"),
        ("signing", b"x" * 40 + b"\nsecond line"),
        ("token", b"xoxb-1\r\nX-Evil: 1"),
        ("token", b"xoxb 1"),
        ("token", b""),
        ("token", "xoxb-ü".encode()),
        ("token", b"x" * 5000),
        ("password", b"a\x00b"),
        ("url", b"http://hooks.example.com/" + CANARY.encode()),
        ("url", b"not a url"),
    ],
)
def test_a_secret_of_another_form_is_refused(folder, name, content):
    """One line of ASCII, long enough; an address that is https. It would be a header otherwise."""
    (folder / name).write_bytes(content)

    assert len(problems(folder, FULL)) == 1


def test_a_secret_that_is_not_there_or_a_link_is_refused(folder):
    """The message names file and key."""
    (folder / "token").unlink()
    assert "channels.chat.token_file" in problems(folder, FULL)[0]

    (folder / "token").symlink_to(folder / "signing")
    assert "is a symbolic link" in problems(folder, FULL)[0]


def test_too_many_channels_are_refused(folder):
    """Their names are labels of metrics, which must be few."""
    body = "    kind: teams\n    url_file: DIR/url\n"
    channels = "".join(f"  t{number}:\n{body}" for number in range(MAX_CHANNELS + 1))

    assert f"t{MAX_CHANNELS}" in problems(folder, f"version: 1\nchannels:\n{channels}")[0]


@pytest.mark.parametrize(
    "text", ["", "version: 1\n", "version: 1\nchannels: []\n", "version: 1\nchannels:\n  a: b\n",
             "version: 1\nchannels:\n  a: {}\n", "- 1\n"]
)  # fmt: skip
def test_a_file_of_another_form_is_refused(folder, text):
    """Nothing is taken for "no channels" but their empty list."""
    path = folder / "notifications.yaml"
    path.write_text(text)

    with pytest.raises(DocumentErrors):
        load_notifications(path)


def test_the_channel_that_says_tiers_carries_those_and_what_has_none():
    """An alert about a channel has no tier; it passes."""
    route = Route(tiers=frozenset({"HIGH"}))

    assert route.carries(notice(tier="HIGH"))
    assert not route.carries(notice(tier="LOW"))
    assert route.carries(notice(NoticeKind.ALERT, tier=""))
    assert route.announces("")
    assert not route.announces("LOW")
    assert not Route(events=frozenset({NoticeKind.ALERT})).announces("")


def test_the_documented_example_is_valid(folder):
    """What ``deploy/notifications.md`` shows as a whole file is one."""
    text = (Path(__file__).parents[3] / "deploy" / "notifications.md").read_text()
    example = text.split("```yaml\n", 1)[1].split("```", 1)[0]
    for name, stands_for in {
        "soc-webhook.secret": "signing", "smtp.password": "password", "slack.token": "token",
        "teams.url": "url",
    }.items():  # fmt: skip
        example = example.replace(f"/etc/holdfast/secrets/{name}", f"DIR/{stands_for}")

    assert [spec.name for spec in load(folder, example)] == [
        "soc",
        "mail",
        "oncall",
        "chat",
        "team",
    ]

# SPDX-License-Identifier: Apache-2.0
"""Mail: what is written to whom, over what, and what a server can and cannot do to us."""

from __future__ import annotations

import asyncio
import functools
import smtplib
import ssl
from email import message_from_string
from email.message import EmailMessage

import pytest

from sidecar.clock import ManualClock
from sidecar.notify import smtp as smtp_module
from sidecar.notify.channel import DeliveryError, Fault
from sidecar.notify.encoding import notice_id
from sidecar.notify.endpoint import tls_context
from sidecar.notify.notice import NoticeKind
from sidecar.notify.secret import Secret
from sidecar.notify.smtp import MailServer, Security, SmtpChannel, is_mail_address
from tests.support.mail import MailHost
from tests.support.polling import eventually
from tests.unit.notify.notify_kit import CANARY, HOSTILE, INVISIBLE, OPENED, notice, outcome


@functools.cache
def trust(ca_file=None) -> ssl.SSLContext:
    """Return what verifies servers; made once, for it reads the system's certificates."""
    return tls_context(ca_file)


def mailer(
    host: MailHost,
    *,
    ca_file=None,
    security: Security = Security.NONE,
    name: str = "127.0.0.1",
    user: str = "",
    timeout_s: float = 5.0,
    sender: str = "holdfast@example.test",
    **options,
) -> SmtpChannel:
    server = MailServer(
        host=name,
        port=host.port,
        security=security,
        tls=trust(ca_file),
        user=user,
        password=Secret(CANARY) if user else None,
    )
    return SmtpChannel(
        name="mail",
        server=server,
        sender=sender,
        clock=ManualClock(),
        timeout_s=timeout_s,
        **options,
    )


async def failure(channel: SmtpChannel, what=OPENED) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await channel.send(what, None)
    return caught.value


# -- the mail -------------------------------------------------------------------------------------


async def test_a_mail_is_plain_text_to_whoever_may_decide(mail_host):
    """One part of text, marked as automatic, with link and command and no button."""
    host = await mail_host()
    await mailer(host).send(OPENED, None)
    (envelope,) = host.envelopes
    mail = envelope.mail

    assert envelope.sender == "holdfast@example.test"
    assert envelope.recipients == ("alice@example.test", "bob@example.test")
    assert mail.get_content_type() == "text/plain"
    assert not mail.is_multipart()
    assert mail["Subject"].startswith("[Holdfast] Approval needed [HIGH]: Agent billing-bot wants")
    assert mail["From"] == "Holdfast <holdfast@example.test>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime.isoformat() == "2025-10-09T08:53:20+00:00"
    assert mail["Holdfast-Id"] == notice_id(OPENED)
    for text in (OPENED.summary, OPENED.url, OPENED.command, OPENED.words, OPENED.reason):
        assert text in envelope.text
    assert "Nothing is decided by opening the link" in envelope.text


async def test_a_long_sentence_is_cut_in_the_subject_and_whole_in_the_text(mail_host):
    """A subject is for the list of mails."""
    host = await mail_host()
    await mailer(host).send(notice(summary="word " * 60), None)
    (envelope,) = host.envelopes

    assert len(envelope.mail["Subject"]) == 120
    assert envelope.mail["Subject"].endswith("…")
    assert "word " * 60 in envelope.text


async def test_all_mails_about_one_approval_are_one_thread(mail_host):
    """Reminder and outcome refer to the first mail, whose id is made of the approval's."""
    host = await mail_host()
    channel = mailer(host)
    handle = await channel.send(OPENED, None)
    handle = await channel.send(notice(NoticeKind.REMINDER), handle)
    await channel.send(outcome(), handle)
    first, second, third = (envelope.mail for envelope in host.envelopes)

    assert first["Message-ID"] == "<apr_0001@example.test>"
    assert "In-Reply-To" not in first
    for mail in (second, third):
        assert mail["In-Reply-To"] == mail["References"] == first["Message-ID"]
    assert len({mail["Message-ID"] for mail in (first, second, third)}) == 3


async def test_a_mail_that_is_sent_again_has_the_same_id(mail_host):
    """So that a mailbox can tell a repetition."""
    host = await mail_host()
    channel = mailer(host)
    await channel.send(OPENED, None)
    await channel.send(OPENED, None)

    assert host.envelopes[0].data == host.envelopes[1].data


async def test_a_notice_about_no_approval_stands_alone(mail_host):
    """An alert hangs on no thread."""
    host = await mail_host()
    alert = notice(NoticeKind.ALERT, approval="", addresses=())
    await mailer(host, recipients=["soc@example.test"]).send(alert, None)

    assert "In-Reply-To" not in host.envelopes[0].mail
    assert host.envelopes[0].recipients == ("soc@example.test",)


@pytest.mark.parametrize(
    ("recipients", "is_for_approvers", "expected"),
    [
        ((), True, ("alice@example.test", "bob@example.test")),
        (
            ("soc@example.test", "ALICE@example.test"),
            True,
            ("ALICE@example.test", "bob@example.test", "soc@example.test"),
        ),
        (("oncall@example.test",), False, ("oncall@example.test",)),
    ],
)
async def test_who_is_written_to(mail_host, recipients, is_for_approvers, expected):
    """Approvers, a list, or both; nobody twice."""
    host = await mail_host()
    channel = mailer(host, recipients=recipients, is_for_approvers=is_for_approvers)
    await channel.send(OPENED, None)

    assert host.envelopes[0].recipients == expected


async def test_nobody_to_write_to_is_said(mail_host):
    """A mail to nobody would look like one that was sent."""
    host = await mail_host()
    error = await failure(mailer(host), notice(addresses=("not an address", "")))

    assert error.fault is Fault.REJECTED
    assert "nobody" in str(error)
    assert host.commands == []


# -- hostile words --------------------------------------------------------------------------------


async def test_words_of_an_agent_become_no_header_no_mail_and_no_command(mail_host):
    """CRLF, dots and commands in every field: one mail, our headers, our recipients."""
    host = await mail_host()
    evil = f"{HOSTILE}\r\n.\r\nMAIL FROM:<evil@x.test>\r\nRCPT TO:<evil@x.test>\r\nDATA\r\n"
    await mailer(host).send(
        notice(
            summary=evil, reason=evil, agent=evil, tool=evil, tier=evil, state=evil, words=evil,
            url=evil, command=evil, detail=evil, approvers=(evil,),
            addresses=("alice@example.test", "x@y.test>\r\nRCPT TO:<evil@x.test", evil),
        ),
        None,
    )  # fmt: skip
    (envelope,) = host.envelopes
    headers = {name.lower() for name in envelope.mail}

    assert envelope.recipients == ("alice@example.test",)
    assert headers == {
        "subject", "from", "to", "date", "message-id", "auto-submitted", "holdfast-id",
        "x-auto-response-suppress", "content-type", "content-transfer-encoding", "mime-version",
    }  # fmt: skip
    assert [command.split(" ")[0] for command in host.commands] == [
        "ehlo", "mail", "rcpt", "data", "QUIT",
    ]  # fmt: skip
    assert not (set(INVISIBLE) - {"\n", "\r"}) & set(envelope.text + str(envelope.mail["Subject"]))
    assert "\\u{d}\\u{a}Bcc: evil@x.test" in envelope.text


def test_words_of_an_agent_become_no_header_negative_control():
    """A mail put together by hand from the same words has a recipient more."""
    assert message_from_string(f"Subject: {HOSTILE}")["Bcc"] == "evil@x.test"


async def test_a_line_of_one_dot_does_not_end_the_mail(mail_host):
    """Text after it still belongs to the mail."""
    host = await mail_host()
    await mailer(host).send(notice(reason=".", detail="..after"), None)

    assert "..after" in host.envelopes[0].text
    assert len(host.envelopes) == 1


async def test_an_approval_name_that_is_no_word_makes_no_header(mail_host):
    """A Message-ID is made of what cannot break it."""
    host = await mail_host()
    await mailer(host).send(notice(approval="approvals/a>\r\nBcc: evil@x.test"), None)

    assert host.envelopes[0].mail["Message-ID"].endswith("@example.test>")
    assert "Bcc" not in host.envelopes[0].mail


@pytest.mark.parametrize(
    "address",
    ["a@b\r\nRCPT TO:<c@d>", "a b@c.d", "<a@b.c>", "a@b.c,d@e.f", '"x"@y.z', "@b.c", "a@", "a",
     "a@-b.c", "a@b..c", ".a@b.c", "é@b.c", "a@" + "b" * 300],
)  # fmt: skip
def test_an_address_has_a_narrow_form(address):
    """What could be two addresses, a command or a header is none."""
    assert not is_mail_address(address)
    assert is_mail_address("a.b+c@mail.example.com")


def test_a_sender_or_recipient_of_another_form_is_misuse():
    """The configuration refuses them with their place; nobody else may pass them either."""
    with pytest.raises(ValueError, match="address"):
        mailer(MailHost(), sender="a b@c.d")
    with pytest.raises(ValueError, match="address"):
        mailer(MailHost(), recipients=["a@b,c@d"])


# -- TLS ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_mail_is_handed_in_over_verified_tls_and_with_a_login(
    mail_host, server_tls, security
):
    """Both forms, against a private CA; the login follows TLS."""
    context, ca_file = server_tls
    host = await mail_host(tls=context, is_wrapped=security is Security.TLS)
    channel = mailer(host, ca_file=ca_file, security=security, user="holdfast")
    await channel.send(OPENED, None)
    await channel.probe()

    assert host.envelopes[0].is_secure
    assert host.envelopes[0].login == ("holdfast", CANARY)
    assert len(host.envelopes) == 1


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
async def test_a_server_with_another_certificate_gets_nothing(mail_host, server_tls, security):
    """Of a CA that is not named: neither login nor mail."""
    context, _ = server_tls
    host = await mail_host(tls=context, is_wrapped=security is Security.TLS)
    error = await failure(mailer(host, security=security, user="holdfast"))

    assert error.fault is Fault.UNREACHABLE
    assert "certificate does not verify" in str(error)
    assert not any(command.startswith(("AUTH", "mail")) for command in host.commands)


async def test_a_server_of_another_name_gets_nothing(mail_host, server_tls, monkeypatch):
    """The certificate must be of the host that the configuration names."""
    context, ca_file = server_tls
    host = await mail_host(tls=context)
    real = smtplib.socket.create_connection
    monkeypatch.setattr(
        smtplib.socket,
        "create_connection",
        lambda address, *rest, **more: real(("127.0.0.1", address[1]), *rest, **more),
    )
    other = mailer(host, ca_file=ca_file, security=Security.STARTTLS, name="mail.example.test")

    assert "certificate does not verify" in str(await failure(other))
    assert host.envelopes == []


async def test_without_starttls_nothing_is_said(mail_host, server_tls):
    """Whoever strips the offer from the wire gets neither login nor mail."""
    context, ca_file = server_tls
    host = await mail_host(tls=context, has_starttls=False)
    error = await failure(
        mailer(host, ca_file=ca_file, security=Security.STARTTLS, user="holdfast")
    )

    assert error.fault is Fault.REFUSED
    assert "STARTTLS" in str(error)
    assert not any(command.upper().startswith(("AUTH", "MAIL")) for command in host.commands)


async def test_without_starttls_nothing_is_said_negative_control(
    mail_host, server_tls, monkeypatch
):
    """A client that takes TLS when it is offered hands in the mail in the clear."""
    context, ca_file = server_tls
    host = await mail_host(tls=context, has_starttls=False)
    monkeypatch.setattr(smtplib.SMTP, "starttls", lambda self, **_: None)
    await mailer(host, ca_file=ca_file, security=Security.STARTTLS).send(OPENED, None)

    assert not host.envelopes[0].is_secure


async def test_starttls_that_is_refused_is_a_server_that_is_down(mail_host, server_tls):
    """Nothing is sent, and it is tried again."""
    context, ca_file = server_tls
    host = await mail_host(tls=context, replies={"STARTTLS": "454 not now"})
    error = await failure(mailer(host, ca_file=ca_file, security=Security.STARTTLS))

    assert error.fault is Fault.BROKEN
    assert host.envelopes == []


@pytest.mark.parametrize("name", ["localhost", "mail.example.test", "10.0.0.1", "127.0.0.1.test"])
def test_plain_smtp_is_only_for_a_loopback_literal(name):
    """A name may lead anywhere, also one that sounds like here."""
    with pytest.raises(ValueError, match="loopback"):
        mailer(MailHost(), name=name)


def test_a_context_that_verifies_nothing_is_not_taken():
    """There is no switch, not even for who writes code."""
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE

    with pytest.raises(ValueError, match="verifies nothing"):
        MailServer(host="127.0.0.1", port=25, security=Security.TLS, tls=blind)


# -- what servers do ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("replies", "fault", "says"),
    [
        ({"greeting": f"554 {CANARY}"}, Fault.BROKEN, "554"),
        ({"EHLO": f"421 {CANARY}", "HELO": f"421 {CANARY}"}, Fault.BROKEN, "421"),
        ({"AUTH": f"535 {CANARY}"}, Fault.REFUSED, "535"),
        ({"MAIL": f"550 {CANARY}"}, Fault.REFUSED, "550"),
        ({"MAIL": f"451 {CANARY}"}, Fault.BUSY, "451"),
        ({"RCPT": f"550 {CANARY}"}, Fault.REJECTED, "550"),
        ({"RCPT": f"450 {CANARY}"}, Fault.BUSY, "450"),
        ({"DATA": f"554 {CANARY}"}, Fault.REJECTED, "554"),
        ({"body": f"552 {CANARY}"}, Fault.REJECTED, "552"),
        ({"body": f"452 {CANARY}"}, Fault.BUSY, "452"),
        ({"body": f"421 {CANARY}"}, Fault.BROKEN, "421"),
    ],
)
async def test_p9_what_a_reply_means_and_that_its_text_is_not_repeated(
    mail_host, replies, fault, says
):
    """Only the number: what a server writes may repeat what we said, the password among it."""
    host = await mail_host(replies=replies)
    error = await failure(mailer(host, user="holdfast"))

    assert error.fault is fault
    assert says in str(error)
    assert CANARY not in f"{error} {error!r} {error.__cause__!r}"


async def test_a_server_that_knows_no_login_of_ours_is_told(mail_host):
    """A user is configured, the server offers no way to log in."""
    host = await mail_host(has_auth=False)
    error = await failure(mailer(host, user="holdfast"))

    assert error.fault is Fault.REFUSED


async def test_recipients_that_are_refused_are_counted_not_named(mail_host, logs):
    """The others get their mail; addresses of people stay out of logs."""
    host = await mail_host(replies={"RCPT bob@example.test": "550 no such user"})
    await mailer(host).send(OPENED, None)
    (event,) = logs

    assert host.envelopes[0].recipients == ("alice@example.test",)
    assert (event["refused"], event["accepted"]) == (1, 1)
    assert "bob" not in str(event)


async def test_a_server_that_says_nothing_is_given_up_and_its_thread_is_free(mail_host):
    """At the deadline the socket is closed: no thread waits on for a server that hangs."""
    host = await mail_host(is_silent=True)
    channel = mailer(host, timeout_s=0.1)
    errors = [await failure(channel) for _ in range(6)]

    assert {error.fault for error in errors} == {Fault.BROKEN}
    assert "no answer within 0.1 s" in str(errors[0])
    await eventually(lambda: host.closed == 6)


async def test_the_bound_is_of_one_reply_not_of_a_conversation(mail_host, monkeypatch, logs):
    """A long conversation of short replies is an ordinary one."""
    monkeypatch.setattr(smtp_module, "MAX_REPLY_BYTES", 60)
    host = await mail_host()
    await mailer(host).send(OPENED, None)

    assert len(host.envelopes) == 1
    assert logs == []


async def test_a_reply_without_end_is_cut(mail_host):
    """A server cannot fill our memory while it talks."""
    host = await mail_host(is_endless=True)
    error = await failure(mailer(host))

    assert error.fault is Fault.BROKEN
    assert "hung up" in str(error)


async def test_a_reply_without_end_is_cut_negative_control(mail_host, monkeypatch):
    """Without the bound only the deadline ends it."""
    monkeypatch.setattr(smtp_module, "MAX_REPLY_BYTES", 1 << 40)
    host = await mail_host(is_endless=True)
    error = await failure(mailer(host, timeout_s=0.2))

    assert "no answer within" in str(error)


async def test_nobody_there(mail_host):
    """Said in words, by channel name alone."""
    host = await mail_host()
    await host.stop()
    error = await failure(mailer(host))

    assert error.fault is Fault.UNREACHABLE
    assert "Connection refused" in str(error)


async def test_a_cancelled_delivery_hangs_up(mail_host):
    """Whoever stops control does not wait for a mail server."""
    host = await mail_host(is_silent=True)
    task = asyncio.create_task(mailer(host, timeout_s=60).send(OPENED, None))
    await eventually(lambda: host._connections)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await eventually(lambda: host.closed == 1)


async def test_own_name_is_not_looked_up(mail_host, monkeypatch):
    """smtplib asks the resolver for it, and waits; ours does not."""
    host = await mail_host()
    monkeypatch.setattr(smtp_module.socket, "getfqdn", lambda *_: pytest.fail("looked up"))
    await mailer(host).probe()

    assert host.commands[0].startswith("ehlo ")


def test_a_mail_is_built_by_the_library():
    """The class that cannot be made to hold a line break in a header."""
    mail = EmailMessage(policy=smtp_module.SMTP_POLICY)

    with pytest.raises(ValueError):
        mail["Subject"] = "a\r\nBcc: evil@x.test"

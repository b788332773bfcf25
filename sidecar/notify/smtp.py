# SPDX-License-Identifier: Apache-2.0
"""Tells people by e-mail, in plain text.

Laws:

1. TLS, verified, before anything is said: from the first byte, or by STARTTLS, without which nothing
   is sent. Plain SMTP only to a loopback address written as a literal.
2. Words of an agent cannot become a header, a second message or a command: the message is built by
   ``email.message``, the text is encoded, and an address is only ever one of a narrow form.
3. All mails about one approval are one thread: their Message-IDs are made of the approval's and the
   notice's name, and refer to the first. The same notice has the same Message-ID at every attempt.
4. The exchange has a deadline, and what the server says is bounded: a reply has at most
   ``MAX_REPLY_BYTES``. At the deadline the socket is closed, so that no thread stays behind.
5. Of what the server says only the number is repeated.
"""

from __future__ import annotations

import asyncio
import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

import structlog

from sidecar.clock import Clock, datetime_of
from sidecar.notify.channel import DeliveryError, Fault
from sidecar.notify.encoding import notice_id
from sidecar.notify.endpoint import is_loopback_literal, words_of
from sidecar.notify.notice import Notice
from sidecar.notify.secret import Secret
from sidecar.notify.wording import wording_of

__all__ = [
    "MAX_REPLY_BYTES",
    "SMTP_TIMEOUT_S",
    "MailServer",
    "Security",
    "SmtpChannel",
    "is_mail_address",
]

SMTP_TIMEOUT_S: Final = 15.0
MAX_REPLY_BYTES: Final = 64 * 1024
_MAX_RECIPIENTS: Final = 50
_MAX_SUBJECT: Final = 120
_THREADS: Final = 4
_UNAVAILABLE: Final = 421
_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
).fullmatch
_MAX_ADDRESS: Final = 254
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}").fullmatch
_ID_WORD: Final = re.compile(r"[A-Za-z0-9_-]{1,128}").fullmatch

_log = structlog.get_logger(__name__)


class Security(StrEnum):
    """How the connection is protected."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"
    """To a loopback address only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where mail is handed in.

    Attributes:
        tls: What verifies the server; unused with ``Security.NONE``.
        user: Empty for no authentication.
    """

    host: str
    port: int
    security: Security
    tls: ssl.SSLContext
    user: str = ""
    password: Secret | None = None

    def __post_init__(self) -> None:
        if self.security is Security.NONE and not is_loopback_literal(self.host):  # law 1
            raise ValueError("plain SMTP is only for a loopback address")
        if self.tls.verify_mode is not ssl.CERT_REQUIRED or not self.tls.check_hostname:
            raise ValueError("a context that verifies nothing is not accepted")


class SmtpChannel:
    """A mail server, and whom to write to.

    Args:
        name: What the configuration calls it.
        server: Where mail is handed in.
        sender: Address mails come from.
        recipients: Who is always written to.
        is_for_approvers: Whether the humans who may decide are written to as well.
        clock: For the mails' dates.
        timeout_s: Deadline of one exchange.
    """

    kind: Final = "smtp"

    def __init__(
        self,
        *,
        name: str,
        server: MailServer,
        sender: str,
        recipients: Sequence[str] = (),
        is_for_approvers: bool = True,
        clock: Clock,
        timeout_s: float = SMTP_TIMEOUT_S,
    ) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._server = server
        self._sender = sender
        self._recipients = tuple(recipients)
        if not all(is_mail_address(address) for address in (sender, *recipients)):
            raise ValueError("an address is not of the form that mails are sent to")
        self._is_for_approvers = is_for_approvers
        self._clock = clock
        # Threads of its own: a server that hangs must not take those that everybody shares.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"notify-{name}")

    async def send(self, notice: Notice, handle: str | None) -> str:
        """Mail *notice*; return the Message-ID that its thread hangs on."""
        recipients = self._recipients_of(notice)
        if not recipients:
            raise DeliveryError(
                "there is nobody to write to",
                fault=Fault.REJECTED,
                hint="give approvers `emails` in operators.yaml, or set `to`",
            )
        mail = self._mail(notice, recipients, first_id=handle)
        data = mail.as_bytes()
        count = await self._run(lambda call: call.hand_in(self._sender, recipients, data))
        if count < len(recipients):
            _log.warning(
                "mail server refused recipients",
                channel=self.name,
                refused=len(recipients) - count,
                accepted=count,
            )
        return handle or str(mail["Message-ID"])

    async def probe(self) -> None:
        """Connect, secure, authenticate, say goodbye."""
        await self._run(lambda call: call.greet())

    def _recipients_of(self, notice: Notice) -> tuple[str, ...]:
        named = (*(notice.addresses if self._is_for_approvers else ()), *self._recipients)
        unique = {address.lower(): address for address in named if is_mail_address(address)}
        return tuple(unique.values())[:_MAX_RECIPIENTS]

    def _mail(
        self, notice: Notice, recipients: Sequence[str], *, first_id: str | None
    ) -> EmailMessage:
        message = wording_of(notice)
        what = next((text for label, text in message.facts if label == "What"), "")
        subject = f"[Holdfast] {message.title}: {what}" if what else f"[Holdfast] {message.title}"
        if len(subject) > _MAX_SUBJECT:
            subject = subject[: _MAX_SUBJECT - 1] + "…"
        domain = self._sender.rpartition("@")[2]
        own_id, thread_id = _message_ids(notice, domain, first_id)
        lines = [message.title, ""]
        lines += [f"{label}: {text}" for label, text in message.facts]
        if message.link:
            lines += ["", "Decide here, after signing in:", message.link]
        if message.command:
            lines += ["", f"In a terminal: {message.command}"]
        lines += ["", "Nothing is decided by opening the link or by answering this mail.", ""]
        mail = EmailMessage(policy=SMTP_POLICY)
        mail["Subject"] = subject
        mail["From"] = Address("Holdfast", addr_spec=self._sender)
        mail["To"] = [Address(addr_spec=address) for address in recipients]
        mail["Date"] = format_datetime(datetime_of(self._clock.wall_ns()))
        mail["Message-ID"] = own_id
        if thread_id != own_id:
            mail["In-Reply-To"] = thread_id
            mail["References"] = thread_id
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Auto-Response-Suppress"] = "All"
        mail["Holdfast-Id"] = notice_id(notice)
        mail.set_content("\n".join(lines), charset="utf-8", cte="quoted-printable")
        return mail

    async def _run(self, work: Callable[[_Call], int]) -> int:
        call = _Call(self._server, self.timeout_s)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.timeout_s):
                return await loop.run_in_executor(self._threads, work, call)
        except TimeoutError:
            raise DeliveryError(
                f"no answer within {self.timeout_s:g} s", fault=Fault.BROKEN
            ) from None
        finally:
            call.abort()  # law 4


def is_mail_address(text: str) -> bool:
    """Return whether *text* is an address of the narrow form we write to (law 2)."""
    return len(text) <= _MAX_ADDRESS and _ADDRESS(text) is not None


def _message_ids(notice: Notice, domain: str, first_id: str | None) -> tuple[str, str]:
    """Return the id of this mail and the one its thread hangs on (law 3)."""
    approval = notice.approval.rpartition("/")[2]
    if not approval:
        own = f"<{notice_id(notice)}@{domain}>"
        return own, own
    if not _ID_WORD(approval):
        approval = sha256(approval.encode("utf-8", "backslashreplace")).hexdigest()[:32]
    if first_id is None:
        own = f"<{approval}@{domain}>"
        return own, own
    return f"<{notice_id(notice)}.{approval}@{domain}>", first_id


class _Reply:
    """What a server says, one reply at a time, and not without end (law 4)."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = MAX_REPLY_BYTES

    def begin(self) -> None:
        self._left = MAX_REPLY_BYTES

    def readline(self, size: int) -> bytes:
        line: bytes = self._file.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise smtplib.SMTPServerDisconnected("the reply has no end")
        return line

    def close(self) -> None:
        self._file.close()


class _Bounded(smtplib.SMTP):
    """An SMTP client whose replies are bounded, and which *call* can abort from its first moment."""

    file: Any = None

    def __init__(self, call: _Call, **arguments: Any) -> None:
        call.client = self
        super().__init__(**arguments)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Reply(self.sock.makefile("rb"))
        if isinstance(self.file, _Reply):
            self.file.begin()
        return super().getreply()


class _BoundedTls(_Bounded, smtplib.SMTP_SSL):
    """The same over TLS from the first byte."""


class _Call:
    """One exchange with a mail server, in a thread; ``abort`` ends it from outside."""

    def __init__(self, server: MailServer, timeout_s: float) -> None:
        self.client: smtplib.SMTP | None = None
        self._server = server
        self._timeout_s = timeout_s
        self._is_aborted = False
        self._is_ready = False

    def abort(self) -> None:
        """Close the connection, whatever it is doing."""
        self._is_aborted = True
        sock: socket.socket | None = getattr(self.client, "sock", None)
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def greet(self) -> int:
        """Connect, secure, authenticate; raises ``DeliveryError``."""
        return self._converse(lambda client: 0)

    def hand_in(self, sender: str, recipients: Sequence[str], data: bytes) -> int:
        """Hand in *data*; return how many recipients the server took."""

        def send(client: smtplib.SMTP) -> int:
            refused = client.sendmail(sender, list(recipients), data)
            return len(recipients) - len(refused)

        return self._converse(send)

    def _converse(self, talk: Callable[[smtplib.SMTP], int]) -> int:
        try:
            with self._connect() as client:  # says goodbye at the end
                self._secure(client)
                return talk(client)
        except smtplib.SMTPException as exc:
            raise _fault_of(exc, is_ready=self._is_ready) from None  # law 5: its text is theirs
        except (OSError, ValueError) as exc:
            what, hint = words_of(exc, self._timeout_s)
            raise DeliveryError(what, fault=Fault.UNREACHABLE, hint=hint) from None

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        name = socket.gethostname()
        arguments: dict[str, Any] = {
            "host": server.host,
            "port": server.port,
            # The host's own name as it is: smtplib would look it up, and wait for the answer.
            "local_hostname": name if _HOST_NAME(name) else "localhost",
            "timeout": self._timeout_s,
        }
        if server.security is Security.TLS:
            return _BoundedTls(self, context=server.tls, **arguments)
        return _Bounded(self, **arguments)

    def _secure(self, client: smtplib.SMTP) -> None:
        if self._is_aborted:
            raise smtplib.SMTPServerDisconnected
        server = self._server
        client.ehlo_or_helo_if_needed()
        if server.security is Security.STARTTLS:
            client.starttls(context=server.tls)
            client.ehlo()
        if server.user and server.password is not None:
            client.login(server.user, server.password.reveal())
        self._is_ready = True


def _fault_of(exc: smtplib.SMTPException, *, is_ready: bool) -> DeliveryError:
    """Return what *exc* means to a channel, with the number the server said.

    Args:
        exc: What smtplib raised.
        is_ready: Whether the connection was secured and authenticated, so that what failed is the
            one message.
    """
    if isinstance(exc, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in exc.recipients.values()]
        is_final = all(code >= 500 for code in codes)
        return DeliveryError(
            f"the server took none of {len(codes)} recipients ({min(codes, default=0)})",
            fault=Fault.REJECTED if is_final else Fault.BUSY,
        )
    if isinstance(exc, smtplib.SMTPServerDisconnected):
        return DeliveryError("the server hung up", fault=Fault.BROKEN)
    if not isinstance(exc, smtplib.SMTPResponseException):
        return DeliveryError(
            "the server offers no STARTTLS, or no login that we know",
            fault=Fault.REFUSED,
            hint="use `security: tls`, or another port; nothing is sent without TLS",
        )
    code = exc.smtp_code
    said = f"the server answered {code}"
    if isinstance(exc, smtplib.SMTPAuthenticationError) and code != _UNAVAILABLE:
        return DeliveryError(
            f"{said} to the login", fault=Fault.REFUSED, hint="check `user` and `password_file`"
        )
    if not is_ready or code == _UNAVAILABLE:
        return DeliveryError(said, fault=Fault.BROKEN)
    if isinstance(exc, smtplib.SMTPSenderRefused) and code >= 500:
        return DeliveryError(f"{said} to the sender", fault=Fault.REFUSED, hint="check `from`")
    return DeliveryError(said, fault=Fault.REJECTED if code >= 500 else Fault.BUSY)

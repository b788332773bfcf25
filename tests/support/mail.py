# SPDX-License-Identifier: Apache-2.0
"""A mail server in miniature: takes mail, and misbehaves as it is told to."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from typing import cast

__all__ = ["Envelope", "MailHost"]


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """One mail as it was handed in."""

    sender: str
    recipients: tuple[str, ...]
    data: bytes
    is_secure: bool
    login: tuple[str, str] | None

    @property
    def mail(self) -> EmailMessage:
        """The mail, parsed."""
        return cast(EmailMessage, BytesParser(policy=default).parsebytes(self.data))

    @property
    def text(self) -> str:
        """Its body."""
        return str(self.mail.get_content())


@dataclass(kw_only=True)
class MailHost:
    """An SMTP server on the loopback.

    Attributes:
        tls: What it secures connections with.
        is_wrapped: TLS from the first byte, in place of STARTTLS.
        has_starttls: Whether it offers STARTTLS, if it can.
        replies: What it answers to a command in place of what it should, by verb; ``greeting`` is
            one, and ``body`` what follows DATA. ``RCPT a@b`` is that command with that address.
        is_silent: It takes connections and says nothing.
        is_endless: Its first reply does not end.
    """

    tls: ssl.SSLContext | None = None
    is_wrapped: bool = False
    has_starttls: bool = True
    has_auth: bool = True
    replies: Mapping[str, str] = field(default_factory=dict)
    is_silent: bool = False
    is_endless: bool = False
    envelopes: list[Envelope] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    closed: int = 0
    port: int = 0

    async def start(self) -> MailHost:
        """Serve on a free port."""
        self._connections: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", 0, ssl=self.tls if self.is_wrapped else None
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stop serving and hang up."""
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.closed += 1
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_silent:
            await reader.read()
            return
        if self.is_endless:
            while True:
                writer.write(b"220-still talking\r\n" * 1000)
                await writer.drain()
        login: tuple[str, str] | None = None
        sender, recipients = "", list[str]()
        is_secure = self.is_wrapped

        async def say(text: str) -> None:
            writer.write(f"{text}\r\n".encode())
            await writer.drain()

        await say(self.replies.get("greeting", "220 mail.test ESMTP"))
        while line := await reader.readline():
            command = line.decode("latin-1").rstrip("\r\n")
            self.commands.append(command)
            verb, _, rest = command.partition(" ")
            verb = verb.upper()
            address = rest.partition("<")[2].partition(">")[0]
            if (reply := self.replies.get(f"{verb} {address}", self.replies.get(verb))) is not None:
                await say(reply)
            elif verb == "EHLO":
                offers = []
                if self.tls and self.has_starttls and not is_secure:
                    offers.append("STARTTLS")
                if self.has_auth and (is_secure or self.tls is None):
                    offers.append("AUTH PLAIN")
                for offer in ("mail.test", *offers):
                    await say(f"250-{offer}")
                await say("250 8BITMIME")
            elif verb == "STARTTLS" and self.tls:
                await say("220 go ahead")
                await writer.start_tls(self.tls)
                is_secure = True
            elif verb == "AUTH":
                _, user, password = base64.b64decode(rest.split()[-1]).decode().split("\0")
                login = (user, password)
                await say("235 welcome")
            elif verb == "MAIL":
                sender, recipients = address, []
                await say("250 ok")
            elif verb == "RCPT":
                recipients.append(address)
                await say("250 ok")
            elif verb == "DATA":
                await say("354 go ahead")
                data = await reader.readuntil(b"\r\n.\r\n")
                if (reply := self.replies.get("body")) is not None:
                    await say(reply)
                    continue
                self.envelopes.append(
                    Envelope(
                        sender=sender,
                        recipients=tuple(recipients),
                        data=data[:-3].replace(b"\r\n..", b"\r\n."),
                        is_secure=is_secure,
                        login=login,
                    )
                )
                await say("250 taken")
            elif verb == "QUIT":
                await say("221 bye")
                return
            else:
                await say("250 ok")

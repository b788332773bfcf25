# SPDX-License-Identifier: Apache-2.0
"""Passkeys over a store on disk, a log in memory, and some people: what unit tests share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sidecar.clock import ManualClock
from sidecar.errors import EnvironmentFailure
from sidecar.model import Operator, OperatorKind, Role
from sidecar.passkeys.accounts import Accounts
from sidecar.passkeys.passkeys import Passkeys
from sidecar.passkeys.store_sqlite import PasskeyStore
from sidecar.passkeys.values import Passkey
from tests.support.authenticator import Authenticator

__all__ = ["ORIGIN", "MemoryLog", "PasskeyDesk", "person"]

ORIGIN = "https://console.example"


def person(name: str, *, human_id: str | None = None, kind: str = "human") -> Operator:
    """Return an operator."""
    return Operator(
        name=name,
        kind=OperatorKind(kind),
        human_id=name if human_id is None else human_id,
        roles=frozenset({Role.APPROVE}),
        identity=f"spiffe://test/{name}",
    )


class MemoryLog:
    """Control's log; ``is_broken`` makes it fail."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, Any]]] = []
        self.is_broken = False

    async def append(self, kind: str, body: Mapping[str, Any]) -> None:
        if self.is_broken:
            raise EnvironmentFailure("the log is broken")
        self.entries.append((kind, dict(body)))

    def events(self) -> list[str]:
        return [body["event"] for _, body in self.entries]


class PasskeyDesk:
    """Everything passkeys need, and a way to enrol one."""

    def __init__(self, path: Path, clock: ManualClock, *, origin: str = ORIGIN) -> None:
        self.path = path
        self.origin = origin
        self.clock = clock
        self.log = MemoryLog()
        self.people = {name: person(name) for name in ("alice", "bob", "carol")}
        self.people["robot"] = person("robot", human_id="", kind="automation")
        self.store = PasskeyStore(path)
        self.passkeys = Passkeys(
            store=self.store,
            rp_id=urlsplit(origin).hostname or "",
            origins=[origin],
            clock=clock,
        )
        self.accounts = Accounts(
            store=self.store,
            passkeys=self.passkeys,
            audit=self.log,
            operators=self.people.values,
            console_url=origin,
            clock=clock,
        )
        self._requests = 0

    async def link(self, name: str, *, by: str = "carol", request_id: str = "") -> str:
        """Return the secret of a fresh link for *name*."""
        self._requests += 1
        link = await self.accounts.issue(
            operator=name,
            caller=self.people[by],
            request_id=request_id or f"request-{self._requests:08d}",
        )
        return link.url.removeprefix(f"{self.origin}/enrol/")

    async def make(
        self, secret: str, device: Authenticator, *, name: str = "key", **wrong: Any
    ) -> Passkey:
        """Use a link with *device*."""
        ticket = await self.accounts.open_ticket(secret)
        challenge = self.passkeys.new_challenge()
        options = await self.accounts.registration_options(ticket, challenge=challenge)
        return await self.accounts.enrol(
            secret, challenge=challenge, response=device.create(options, **wrong), name=name
        )

    async def enrol(self, name: str, device: Authenticator | None = None) -> Authenticator:
        """Give *name* a passkey on *device*, or on a new one."""
        device = device or Authenticator()
        await self.make(await self.link(name), device)
        return device

    async def options(self, name: str, challenge: bytes) -> dict[str, Any]:
        """Return what *name*'s browser is asked to sign."""
        return await self.passkeys.authentication_options(challenge=challenge, human_id=name)

# SPDX-License-Identifier: Apache-2.0
"""A desk of API tokens: the real service and store, a clock and a log that a test can hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sidecar.apitokens.service import ApiTokens
from sidecar.apitokens.store_sqlite import SqliteApiTokens
from sidecar.apitokens.values import IssuedToken
from sidecar.clock import ManualClock
from sidecar.errors import EnvironmentFailure
from sidecar.ids import RandomIds
from sidecar.model import Operator, OperatorKind, Role

ADMIN = Operator(
    name="carol",
    kind=OperatorKind.HUMAN,
    human_id="carol",
    roles=frozenset({Role.ADMIN}),
    identity="spiffe://x/operator/carol",
)
ALICE = Operator(
    name="alice",
    kind=OperatorKind.HUMAN,
    human_id="alice",
    roles=frozenset(Role),
    identity="spiffe://x/operator/alice",
)
SOAR = Operator(
    name="soar",
    kind=OperatorKind.AUTOMATION,
    human_id="",
    roles=frozenset({Role.CONTAIN, Role.AUDIT_READ}),
    identity="spiffe://x/operator/soar",
)


@dataclass
class MemoryLog:
    """Control's log."""

    entries: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    is_broken: bool = False

    async def append(self, kind: str, body: Mapping[str, Any]) -> None:
        """Record *body*."""
        if self.is_broken:
            raise EnvironmentFailure("no space")
        self.entries.append((kind, dict(body)))

    def events(self) -> list[str]:
        """Return what happened."""
        return [body["event"] for _, body in self.entries]


class TokenDesk:
    """The service over a store on disk; ``restart`` reads it anew, as a new process does."""

    def __init__(self, path: Path, clock: ManualClock) -> None:
        self.path = path
        self.clock = clock
        self.log = MemoryLog()
        self.in_force = {item.identity: item for item in (ADMIN, ALICE, SOAR)}
        self._number = 0

    async def open(self) -> None:
        """Read the store."""
        self.store = SqliteApiTokens(self.path)
        self.tokens = ApiTokens(
            store=self.store,
            audit=self.log,
            operators=lambda: self.in_force.values(),
            clock=self.clock,
        )
        await self.tokens.start()

    async def restart(self) -> None:
        """End, and begin again."""
        await self.tokens.aclose()
        self.store.close()
        await self.open()

    async def create(self, **fields: Any) -> IssuedToken:
        """Make a token for soar that may contain; *fields* replace the order's."""
        order: dict[str, Any] = {
            "request_id": RandomIds().new("test"),
            "operator": "soar",
            "permissions": ["contain"],
            "agents": [],
            "ttl_s": None,
            "description": "a playbook",
            "caller": ADMIN,
        }
        return await self.tokens.create(**{**order, **fields})

    async def rotate(self, token_id: str, **fields: Any) -> IssuedToken:
        """Give a token a new secret."""
        order: dict[str, Any] = {
            "request_id": RandomIds().new("test"),
            "overlap_s": None,
            "caller": ADMIN,
        }
        return await self.tokens.rotate(token_id, **{**order, **fields})

    async def revoke(self, token_id: str, **fields: Any) -> Any:
        """End a token."""
        order: dict[str, Any] = {
            "request_id": RandomIds().new("test"),
            "reason": "leaked",
            "caller": ADMIN,
        }
        return await self.tokens.revoke(token_id, **{**order, **fields})

    def use(self, secret: str) -> Operator:
        """Return who calls with *secret*."""
        return self.tokens.authenticate(f"Bearer {secret}", self.in_force)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that moves only when told to."""
    return ManualClock()


@pytest.fixture
async def desk(tmp_path: Path, clock: ManualClock) -> AsyncIterator[TokenDesk]:
    """A desk with no token yet."""
    made = TokenDesk(tmp_path / "api_tokens.db", clock)
    await made.open()
    yield made
    await made.tokens.aclose()
    made.store.close()

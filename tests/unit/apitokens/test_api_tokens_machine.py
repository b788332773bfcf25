# SPDX-License-Identifier: Apache-2.0
"""Any order of making, using, rotating, revoking, waiting, restarting and role changes.

Beside the real service runs a model that knows, in a few lines, which secret should work for what.
After every step every secret that ever was is tried.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from sidecar.apitokens.service import MIN_TTL_S
from sidecar.apitokens.values import GRANTABLE
from sidecar.clock import ManualClock
from sidecar.errors import PreconditionError, RefusedError
from sidecar.model import Role
from tests.unit.apitokens.conftest import SOAR, TokenDesk

T = TypeVar("T")
_ROLES = sorted(GRANTABLE)


@dataclass
class Secret:
    """What the model knows of one secret."""

    text: str
    token: str
    until_s: float


@dataclass
class Token:
    """What the model knows of one token."""

    permissions: frozenset[str]
    until_s: float
    is_revoked: bool = False


class TokenLife(RuleBasedStateMachine):
    """The life of the tokens of one operator."""

    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp(prefix="hf-tokens-"))
        self.clock = ManualClock()
        self.desk = TokenDesk(self.directory / "t.db", self.clock)
        self.desk.in_force[SOAR.identity] = replace(SOAR, roles=frozenset(Role))
        self.run(self.desk.open())
        self.now_s = 0.0
        self.secrets: list[Secret] = []
        self.known: dict[str, Token] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* to its end."""
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.run(self.desk.tokens.aclose())
        self.desk.store.close()
        self.loop.close()
        shutil.rmtree(self.directory)

    @rule(
        target=tokens,
        permissions=st.sets(st.sampled_from(_ROLES), min_size=1),
        minutes=st.integers(5, 30),
    )
    def create(self, permissions: set[Role], minutes: int) -> str:
        """Make a token, if the operator holds what it is to hold."""
        held = self.desk.in_force.get(SOAR.identity, replace(SOAR, roles=frozenset())).roles
        self.desk.in_force[SOAR.identity] = replace(SOAR, roles=frozenset(Role))
        made = self.run(self.desk.create(permissions=sorted(permissions), ttl_s=minutes * 60))
        self.desk.in_force[SOAR.identity] = replace(SOAR, roles=held)
        until_s = self.now_s + minutes * 60
        self.known[made.token.id] = Token(frozenset(permissions), until_s)
        self.secrets.append(Secret(made.secret, made.token.id, until_s))
        return made.token.id

    @rule(token=tokens, overlap_s=st.sampled_from([0, 60, 600]))
    def rotate(self, token: str, overlap_s: int) -> None:
        """Give it a new secret."""
        known = self.known[token]
        try:
            made = self.run(self.desk.rotate(token, overlap_s=overlap_s))
        except PreconditionError:
            assert known.is_revoked or self.now_s >= known.until_s
            return
        mine = [item for item in self.secrets if item.token == token]
        for older in mine[:-1]:
            older.until_s = 0.0
        mine[-1].until_s = min(self.now_s + overlap_s, known.until_s)
        self.secrets.append(Secret(made.secret, token, known.until_s))

    @rule(token=tokens)
    def revoke(self, token: str) -> None:
        """End it."""
        self.run(self.desk.revoke(token))
        self.known[token].is_revoked = True

    @rule(seconds=st.sampled_from([1, 59, 60, MIN_TTL_S, 1000]))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.advance(seconds=seconds)
        self.now_s += seconds

    @rule(roles=st.sets(st.sampled_from(sorted(Role))))
    def reload(self, roles: set[Role]) -> None:
        """Give the operator other roles; with none at all it is gone."""
        if roles:
            self.desk.in_force[SOAR.identity] = replace(SOAR, roles=frozenset(roles))
        else:
            self.desk.in_force.pop(SOAR.identity, None)

    @rule()
    def restart(self) -> None:
        """End the process, and begin again."""
        self.run(self.desk.restart())

    @invariant()
    def every_secret_does_what_it_should_and_no_more(self) -> None:
        """Against the model."""
        operator = self.desk.in_force.get(SOAR.identity)
        for secret in self.secrets:
            known = self.known[secret.token]
            is_alive = operator and not known.is_revoked and self.now_s < secret.until_s
            try:
                caller = self.desk.use(secret.text)
            except RefusedError:
                assert not is_alive
                continue
            assert is_alive
            assert operator is not None
            assert caller.roles == known.permissions & operator.roles
            assert caller.roles <= GRANTABLE


TestTokenLife = TokenLife.TestCase
TestTokenLife.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)

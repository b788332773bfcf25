# SPDX-License-Identifier: Apache-2.0
"""Revocation end to end: an operator revokes, and a token that was good is bad at the next call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from sidecar.api.v1 import token_pb2
from tests.support.bundles import ISSUER, OTHER_ISSUER
from tests.support.clients import new_id, refused
from tests.support.polling import eventually
from tests.support.testbed import Testbed

ALLOWED = "ALLOW POLICY_ALLOW"
REVOKED = "DENY TOKEN_REVOKED"

Selectors = Callable[[str, int], dict[str, Any]]


@pytest.mark.parametrize(
    ("selectors", "same", "other"),
    [
        pytest.param(
            lambda agent, now: {"jti": f"one-{agent}", "issuer": ISSUER},
            {"jti": "one"},
            {"jti": "two"},
            id="jti",
        ),
        pytest.param(
            lambda agent, now: {"agent": agent, "issued_before_s": now - 100},
            {"iat": -100},
            {"iat": -99},
            id="agent-issued-before",
        ),
        pytest.param(
            lambda agent, now: {"agent": agent, "session": "sess-1"},
            {"sid": "sess-1"},
            {"sid": "sess-2"},
            id="session",
        ),
        pytest.param(
            lambda agent, now: {"agent": agent, "issuer": ISSUER, "issued_before_s": now - 100},
            {"iat": -101},
            {"iat": -50},
            id="agent-issuer-issued-before",
        ),
    ],
)
@pytest.mark.parametrize("tool", ["vault.read", "vault.write"])
async def test_f01_c02_selector_bites_at_the_next_call(
    bed: Testbed, selectors: Selectors, same: dict[str, Any], other: dict[str, Any], tool: str
) -> None:
    """A token that was just used, and whose allow is cached, is revoked; one beside it goes on."""
    name, now = bed.fresh_agent(), int(time.time())

    def token(claims: dict[str, Any]) -> str:
        made = dict(claims)
        if "jti" in made:
            made["jti"] += f"-{name}"
        if "iat" in made:
            made["iat"] += now
        return bed.idp.token(name, **made)

    bad, good = token(same), token(other)
    async with bed.operator("soar") as soar, bed.agent(name) as agent:
        before = [await agent.verdict(tool, token=text) for text in (bad, bad, good)]
        answer = await soar.revoke(**selectors(name, now))
        after = [await agent.verdict(tool, token=text) for text in (bad, good)]

    assert before == [ALLOWED] * 3
    assert after == [REVOKED, ALLOWED]
    assert not answer.laggards
    assert answer.revocation.author == "soar"


async def test_f01_issuer_and_agent_selectors_are_conjunctive(bed: Testbed) -> None:
    """A rule for this agent's tokens of one issuer leaves its tokens of the other alone."""
    name = bed.fresh_agent()
    corp, foreign = bed.idp.token(name), bed.other_idp.token(name)
    async with bed.operator("soar") as soar, bed.agent(name) as agent:
        await soar.revoke(agent=name, issuer=OTHER_ISSUER)

        assert await agent.verdict("vault.read", token=corp) == ALLOWED
        assert await agent.verdict("other.read", token=foreign) == REVOKED


async def test_token_is_demanded_and_belongs_to_one_agent(bed: Testbed) -> None:
    """No token, another agent's, another issuer's: each is denied before policy is asked."""
    one, other = bed.fresh_agent(), bed.fresh_agent()
    async with bed.agent(one) as agent:
        assert await agent.verdict("vault.read") == "DENY TOKEN_MISSING"
        assert await agent.verdict("vault.read", token="a.b.c") == "DENY TOKEN_INVALID"
        stolen = bed.idp.token(other)
        assert await agent.verdict("vault.read", token=stolen) == "DENY TOKEN_INVALID"
        foreign = bed.other_idp.token(one)
        assert await agent.verdict("vault.read", token=foreign) == "DENY TOKEN_INVALID"


async def test_kill_revokes_tokens_and_release_does_not_bring_them_back(bed: Testbed) -> None:
    """After KILL and release the agent lives, its old token is dead, and a new one works."""
    name = bed.fresh_agent()
    old = bed.idp.token(name)
    async with bed.operator("alice") as alice, bed.operator("bob") as bob, bed.agent(name) as agent:
        before = await agent.verdict("vault.read", token=old)
        answer = await alice.contain(name)
        during = await agent.verdict("vault.read", token=old)
        await bob.release(answer.receipt.directive.epoch)
        after = [await agent.verdict("note.read"), await agent.verdict("vault.read", token=old)]
        killed_in = int(answer.receipt.directive.create_time.seconds)

        async def works() -> bool:
            fresh = bed.idp.token(name, iat=int(time.time()))
            return await agent.verdict("vault.read", token=fresh) == ALLOWED

        await eventually(works, 5, what="a token that was issued after the kill")
        rules = await _revocations(alice)

    assert before == ALLOWED
    assert during == "DENY KILLED"
    assert after == [ALLOWED, REVOKED]
    mine = [rule for rule in rules if rule.agent == name]
    assert [rule.issued_before.seconds for rule in mine] == [killed_in]


async def test_freeze_leaves_tokens_alone(bed: Testbed) -> None:
    """Only KILL revokes: after a FREEZE and its release the same token works."""
    name = bed.fresh_agent()
    token = bed.idp.token(name)
    async with bed.operator("alice") as alice, bed.operator("bob") as bob, bed.agent(name) as agent:
        answer = await alice.contain(name, "FREEZE")
        await bob.release(answer.receipt.directive.epoch)

        assert await agent.verdict("vault.read", token=token) == ALLOWED


async def test_revocations_are_listed_newest_first_and_by_page(bed: Testbed) -> None:
    """Every rule is listed once, with who ordered it and why."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice:
        epochs = [
            (await alice.revoke(jti=f"{name}-{number}", issuer=ISSUER)).revocation.epoch
            for number in range(5)
        ]
        rules = await _revocations(alice)
        pages: list[int] = []
        token = ""
        while True:
            page = await alice.tokens.ListRevocations(
                token_pb2.ListRevocationsRequest(page_size=2, page_token=token)
            )
            pages += [rule.epoch for rule in page.revocations]
            token = page.next_page_token
            if not token:
                break

    assert [rule.epoch for rule in rules] == sorted((r.epoch for r in rules), reverse=True)
    assert pages == [rule.epoch for rule in rules]
    assert set(epochs) <= set(pages)
    assert {rule.reason for rule in rules if rule.epoch in epochs} == {"a test ordered it"}


async def test_revocations_can_be_listed_while_others_are_made(bed: Testbed) -> None:
    """Readers and writers at once: no list fails, and the last one has them all."""
    name = bed.fresh_agent()
    made: list[int] = []
    is_over = False

    async def list_on_and_on() -> None:
        async with bed.operator("bob") as bob:
            while not is_over:
                await bob.tokens.ListRevocations(token_pb2.ListRevocationsRequest(page_size=10))

    async with bed.operator("soar") as soar, bed.operator("alice") as alice:
        listing = [asyncio.create_task(list_on_and_on()) for _ in range(2)]
        for batch in range(8):
            answers = await asyncio.gather(
                *(soar.revoke(jti=f"{name}-{batch}-{n}", issuer=ISSUER) for n in range(50))
            )
            made += [answer.revocation.epoch for answer in answers]
        is_over = True
        await asyncio.gather(*listing)
        listed = {rule.epoch for rule in await _revocations(alice)}

    assert set(made) <= listed


async def test_revocation_is_idempotent_by_request_id(bed: Testbed) -> None:
    """The same order again is that order; the id with another body is a conflict."""
    name, request_id = bed.fresh_agent(), new_id()
    async with bed.operator("soar") as soar:
        first = await soar.revoke(agent=name, request_id=request_id)
        again = await soar.revoke(agent=name, request_id=request_id)
        error = await refused(soar.revoke(agent="alpha", request_id=request_id))

    assert again.repeated_request
    assert again.revocation.epoch == first.revocation.epoch
    assert (error.code.name, error.reason) == ("ALREADY_EXISTS", "REQUEST_ID_CONFLICT")


async def test_revoking_everything_needs_break_glass(bed: Testbed) -> None:
    """A rule with a time alone reaches every token: more than one hand may do."""
    async with bed.operator("soar") as soar, bed.operator("dora") as dora:
        error = await refused(soar.revoke(issued_before_s=1000))
        answer = await dora.revoke(issued_before_s=1000)

    assert error.reason == "WIDE_BLAST"
    assert answer.revocation.issued_before.seconds == 1000


async def _revocations(client: Any) -> list[token_pb2.Revocation]:
    answer = await client.tokens.ListRevocations(token_pb2.ListRevocationsRequest(page_size=1000))
    return list(answer.revocations)

# SPDX-License-Identifier: Apache-2.0
"""What an API token may do, for how long, and what is written down about it."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from dataclasses import replace
from typing import Any

import pytest

from sidecar.apitokens.service import (
    DEFAULT_TTL_S,
    MAX_OVERLAP_S,
    MAX_TTL_S,
    MIN_TTL_S,
    ApiTokens,
    UnusableStore,
)
from sidecar.apitokens.values import GRANTABLE, TokenRefused, TokenState, digest_of
from sidecar.clock import NS_PER_SECOND
from sidecar.errors import (
    ConflictError,
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    NotFoundError,
    PreconditionError,
    RefusedError,
    UntrustedInputError,
)
from sidecar.model import OperatorKind, Role
from tests.unit.apitokens.conftest import ADMIN, ALICE, SOAR, MemoryLog, TokenDesk

FORBIDDEN = sorted(set(Role) - GRANTABLE)


async def test_a_token_acts_for_its_operator_with_its_permissions(desk: TokenDesk) -> None:
    """Some of the operator's roles, as automation, under the operator's name."""
    made = await desk.create(operator="alice", permissions=["contain"], agents=["banking"])

    caller = desk.use(made.secret)

    assert (caller.name, caller.identity) == ("alice", ALICE.identity)
    assert caller.roles == {Role.CONTAIN}
    assert caller.kind is OperatorKind.AUTOMATION
    assert caller.human_id == "alice"
    assert caller.agents == {"banking"}
    assert caller.token == made.token.id
    assert not caller.is_local


async def test_a_secret_has_256_bits_and_only_its_hash_is_kept(desk: TokenDesk) -> None:
    """Its form is fixed; no file of the store, no repr and no entry of the log holds it."""
    made = await desk.create()
    rotated = await desk.rotate(made.token.id, overlap_s=60)

    assert re.fullmatch(r"hfat_[a-z2-7]{12}_[A-Za-z0-9_-]{43}", made.secret)
    assert made.token.hash == digest_of(made.secret)
    kept = b"".join(path.read_bytes() for path in desk.path.parent.iterdir())
    said = (repr(made) + repr(rotated) + repr(desk.tokens.__dict__) + repr(desk.log)).encode()
    for issued in (made, rotated):
        secret = issued.secret.rpartition("_")[2].encode()
        assert secret not in kept + said
        assert digest_of(issued.secret) in kept  # what is looked for would be found


@pytest.mark.parametrize("role", FORBIDDEN)
async def test_i09_no_token_can_be_made_that_approves(desk: TokenDesk, role: Role) -> None:
    """Approving, approving policy, administering and breaking glass need a person's own credential."""
    with pytest.raises(UntrustedInputError, match="cannot be given"):
        await desk.create(operator="alice", permissions=["contain", role])

    assert desk.log.entries == []


@pytest.mark.parametrize("role", FORBIDDEN)
async def test_i09_a_tampered_store_makes_no_token_approve(desk: TokenDesk, role: Role) -> None:
    """Whatever a row says, only what tokens may carry comes out."""
    made = await desk.create(operator="alice", permissions=["contain"])
    await _tamper(desk, "permissions", f'["contain", "{role}"]')

    assert desk.use(made.secret).roles == {Role.CONTAIN}


async def test_i09_a_tampered_store_makes_tokens_approve_negative_control(
    desk: TokenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the list of what tokens may carry that keeps them out."""
    monkeypatch.setattr("sidecar.apitokens.service.GRANTABLE", frozenset(Role))
    made = await desk.create(operator="alice", permissions=["contain"])
    await _tamper(desk, "permissions", '["contain", "approve"]')

    assert desk.use(made.secret).roles == {Role.CONTAIN, Role.APPROVE}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("permissions", '["contain", "root"]'),
        ("permissions", "contain"),
        ("permissions", ""),
        ("agents", ""),
        ("agents", "null"),
        ("agents", '"banking"'),
        ("agents", '[""]'),
        ("agents", "[1]"),
        ("hash", b""),
        ("hash", b"x"),
    ],
)
async def test_a_row_that_does_not_read_as_a_token_is_none(
    desk: TokenDesk, column: str, value: Any
) -> None:
    """A limit that cannot be read is not "no limit"; other tokens go on."""
    made = await desk.create(agents=["banking"])
    other = await desk.create()
    await _tamper(desk, column, value, token_id=made.token.id)

    with pytest.raises(RefusedError, match="no API token of this control"):
        desk.use(made.secret)
    assert desk.use(other.secret).name == "soar"


async def test_rights_are_those_of_the_operator_at_this_call(desk: TokenDesk) -> None:
    """A role taken from the operator is taken from the token; one that comes back, comes back."""
    made = await desk.create(permissions=["contain", "audit-read"])
    desk.in_force[SOAR.identity] = replace(SOAR, roles=frozenset({Role.AUDIT_READ, Role.ADMIN}))
    fewer = desk.use(made.secret).roles
    desk.in_force[SOAR.identity] = SOAR

    assert fewer == {Role.AUDIT_READ}
    assert desk.use(made.secret).roles == {Role.CONTAIN, Role.AUDIT_READ}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(None, id="gone"),
        pytest.param({"name": "soar2"}, id="another name"),
        pytest.param({"human_id": "mallory"}, id="another human"),
    ],
)
async def test_an_operator_that_leaves_takes_its_tokens_along(
    desk: TokenDesk, change: dict[str, str] | None
) -> None:
    """Also one that comes back as somebody else."""
    made = await desk.create()
    if change is None:
        del desk.in_force[SOAR.identity]
    else:
        desk.in_force[SOAR.identity] = replace(SOAR, **change)  # type: ignore[arg-type]

    with pytest.raises(TokenRefused, match="no operator now"):
        desk.use(made.secret)


async def test_another_operator_of_the_same_name_does_not_inherit(desk: TokenDesk) -> None:
    """A name is not an identity."""
    made = await desk.create()
    desk.in_force = {"spiffe://x/new": replace(SOAR, identity="spiffe://x/new")}

    with pytest.raises(TokenRefused, match="no operator now"):
        desk.use(made.secret)


async def test_an_expired_token_is_refused(desk: TokenDesk) -> None:
    """To the second; it says so to whoever has the secret, and to nobody else."""
    made = await desk.create(ttl_s=MIN_TTL_S)
    desk.clock.advance(seconds=MIN_TTL_S - 1)
    assert desk.use(made.secret).name == "soar"
    desk.clock.advance(seconds=1)

    with pytest.raises(TokenRefused, match="expired at") as refused:
        desk.use(made.secret)
    with pytest.raises(RefusedError) as stranger:
        desk.use(made.secret[:-4] + "AAAA")

    assert refused.value.reason is ErrorReason.UNAUTHENTICATED
    assert refused.value.token == made.token.id
    assert "expired" not in str(stranger.value)
    assert desk.tokens.state_of(made.token) is TokenState.EXPIRED


async def test_a_clock_that_is_set_back_revives_nothing(desk: TokenDesk) -> None:
    """The boot clock goes on, and a token from the future is none."""
    made = await desk.create(ttl_s=MIN_TTL_S)
    desk.clock.advance(seconds=MIN_TTL_S)
    desk.clock.step_wall(seconds=-MIN_TTL_S / 2)
    with pytest.raises(TokenRefused, match="expired at"):
        desk.use(made.secret)
    desk.clock.step_wall(seconds=-MIN_TTL_S)
    await desk.restart()

    with pytest.raises(TokenRefused, match="for the time"):
        desk.use(made.secret)


async def test_a_clock_that_is_set_back_does_not_prolong_an_overlap(desk: TokenDesk) -> None:
    """A secret that was replaced has an end of its own, and it ends by the boot clock too."""
    first = await desk.create()
    await desk.rotate(first.token.id, overlap_s=600)
    desk.clock.advance(seconds=600)
    desk.clock.step_wall(seconds=-300)

    with pytest.raises(TokenRefused, match="has a new secret"):
        desk.use(first.secret)
    (listed,) = desk.tokens.list(is_with_ended=False)
    assert not desk.tokens.is_previous_alive(listed)


async def test_without_ttl_it_is_90_days(desk: TokenDesk) -> None:
    """The default."""
    made = await desk.create()

    life_s = (made.token.expire_time_ns - made.token.create_time_ns) // NS_PER_SECOND
    assert life_s == DEFAULT_TTL_S == 90 * 86400


async def test_a_revoked_token_is_refused_at_its_next_call(desk: TokenDesk) -> None:
    """And for ever, after a restart too; revoking it again is no error."""
    made = await desk.create()
    await desk.revoke(made.token.id)
    again = await desk.revoke(made.token.id)

    with pytest.raises(TokenRefused, match="was revoked"):
        desk.use(made.secret)
    await desk.restart()
    with pytest.raises(TokenRefused, match="was revoked"):
        desk.use(made.secret)
    assert (again.revoker, again.revoke_reason) == ("carol", "leaked")
    assert desk.log.events() == ["created", "revoked"]


async def test_a_revoked_token_works_negative_control(
    desk: TokenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the look at each call it goes on."""
    made = await desk.create()
    await desk.revoke(made.token.id)
    monkeypatch.setattr(ApiTokens, "_check_alive", lambda *_: None)

    assert desk.use(made.secret).name == "soar"


async def test_rotation_ends_the_old_secret_at_once(desk: TokenDesk) -> None:
    """Unless an overlap was asked for; the token stays the same, and expires as before."""
    made = await desk.create()
    new = await desk.rotate(made.token.id)

    assert desk.use(new.secret).token == made.token.id
    assert new.token.expire_time_ns == made.token.expire_time_ns
    with pytest.raises(TokenRefused, match="has a new secret"):
        desk.use(made.secret)


async def test_an_overlap_lets_both_work_until_it_ends(desk: TokenDesk) -> None:
    """Also over a restart; a second rotation ends the oldest one."""
    first = await desk.create()
    second = await desk.rotate(first.token.id, overlap_s=600)
    assert desk.use(first.secret).token == desk.use(second.secret).token
    await desk.restart()
    desk.clock.advance(seconds=599)
    assert desk.use(first.secret).name == "soar"
    third = await desk.rotate(first.token.id, overlap_s=600)

    with pytest.raises(RefusedError):
        desk.use(first.secret)
    assert desk.use(second.secret).name == desk.use(third.secret).name == "soar"
    desk.clock.advance(seconds=600)
    with pytest.raises(TokenRefused, match="has a new secret"):
        desk.use(second.secret)
    assert desk.use(third.secret).name == "soar"


async def test_an_overlap_is_not_longer_than_the_token(desk: TokenDesk) -> None:
    """The old secret ends with the token at the latest."""
    made = await desk.create(ttl_s=MIN_TTL_S)
    new = await desk.rotate(made.token.id, overlap_s=MAX_OVERLAP_S)

    assert new.token.previous_expire_time_ns == made.token.expire_time_ns
    assert desk.tokens.is_previous_alive(new.token)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic {secret}",
        "{secret}",
        "Bearer  {secret}",
        " Bearer {secret}",
        "Bearer {secret} ",
        "Bearer {secret}\n",
        "Bearer {secret}, Bearer {secret}",
        "Bearer {secret},",
        "Bearer {upper}",
        "Bearer {other}",
        "Bearer {swapped}",
        "Bearer {short}",
        "Bearer {long}",
        "Bearer hfat_{id}_" + "A" * 43,
        "Bearer ｈfat",
        "\x00",
        "Bearer " + "A" * 100_000,
    ],
)
async def test_what_is_no_token_gets_one_and_the_same_answer(desk: TokenDesk, header: str) -> None:
    """An unknown token, a malformed header and a wrong secret cannot be told apart."""
    made, other = await desk.create(), await desk.create()
    token_id, secret = made.token.id, made.secret
    text = header.format(
        secret=secret,
        id=token_id,
        upper=secret.upper(),
        other=secret.replace(token_id, "a" * 12),
        swapped=secret.replace(token_id, other.token.id),
        short=secret[:-1],
        long=secret + "A",
    )

    with pytest.raises(RefusedError) as refused:
        desk.tokens.authenticate(text, desk.in_force)

    assert type(refused.value) is RefusedError
    assert refused.value.reason is ErrorReason.UNAUTHENTICATED
    assert refused.value.message == "this is no API token of this control"
    assert not secret[18:] or secret[18:] not in str(refused.value)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_in_any_case(desk: TokenDesk, scheme: str) -> None:
    """As RFC 9110 says."""
    made = await desk.create()

    assert desk.tokens.authenticate(f"{scheme} {made.secret}", desk.in_force).name == "soar"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param({"permissions": []}, UntrustedInputError, id="no permission"),
        pytest.param({"permissions": ["root"]}, UntrustedInputError, id="unknown permission"),
        pytest.param({"permissions": ["Contain"]}, UntrustedInputError, id="another case"),
        pytest.param({"permissions": ["release"]}, PreconditionError, id="not the operator's"),
        pytest.param({"operator": "nobody"}, NotFoundError, id="no operator"),
        pytest.param({"operator": ""}, NotFoundError, id="empty operator"),
        pytest.param({"agents": ["Bank ing"]}, UntrustedInputError, id="no agent id"),
        pytest.param({"agents": [""]}, UntrustedInputError, id="empty agent"),
        pytest.param({"agents": ["a"] * 257}, UntrustedInputError, id="too many agents"),
        pytest.param({"ttl_s": MIN_TTL_S - 1}, UntrustedInputError, id="too short"),
        pytest.param({"ttl_s": MAX_TTL_S + 1}, UntrustedInputError, id="too long"),
        pytest.param({"ttl_s": 0}, UntrustedInputError, id="no time"),
        pytest.param({"ttl_s": -1}, UntrustedInputError, id="negative"),
        pytest.param({"description": ""}, UntrustedInputError, id="no description"),
        pytest.param({"description": "  "}, UntrustedInputError, id="blank description"),
        pytest.param({"description": "x" * 201}, UntrustedInputError, id="long description"),
        pytest.param({"description": "a\nb"}, UntrustedInputError, id="two lines"),
        pytest.param({"description": "a\u202eb"}, UntrustedInputError, id="turned around"),
        pytest.param({"request_id": "short"}, UntrustedInputError, id="request id"),
    ],
)
async def test_orders_that_are_not_as_they_must_be_make_no_token(
    desk: TokenDesk, fields: dict[str, Any], error: type[HoldfastError]
) -> None:
    """Nothing is made, nothing is recorded, and each says what to do."""
    with pytest.raises(error) as refused:
        await desk.create(**fields)

    assert refused.value.hint or isinstance(refused.value, UntrustedInputError)
    assert desk.log.entries == []
    assert desk.tokens.list(is_with_ended=True) == []


async def test_the_bounds_themselves_are_in(desk: TokenDesk) -> None:
    """5 minutes, 366 days, 200 characters, 7 days."""
    await desk.create(ttl_s=MIN_TTL_S, description="x" * 200)
    made = await desk.create(ttl_s=MAX_TTL_S)
    await desk.rotate(made.token.id, overlap_s=MAX_OVERLAP_S)

    with pytest.raises(UntrustedInputError, match="overlap"):
        await desk.rotate(made.token.id, overlap_s=MAX_OVERLAP_S + 1)


async def test_a_retry_shows_no_secret_twice(desk: TokenDesk) -> None:
    """Creating and rotating with a request id that was used is a conflict, also over a restart."""
    made = await desk.create(request_id="request-1")
    await desk.rotate(made.token.id, request_id="request-2")
    await desk.restart()

    for request_id in ("request-1", "request-2"):
        with pytest.raises(ConflictError):
            await desk.create(request_id=request_id)
        with pytest.raises(ConflictError):
            await desk.rotate(made.token.id, request_id=request_id)
        with pytest.raises(ConflictError):
            await desk.revoke(made.token.id, request_id=request_id)
    assert desk.log.events() == ["created", "rotated"]
    assert len(desk.tokens.list(is_with_ended=True)) == 1


async def test_a_retry_of_a_revocation_is_the_same_order(desk: TokenDesk) -> None:
    """The same id for another token is a conflict, and that token goes on."""
    made, other = await desk.create(), await desk.create()
    await desk.revoke(made.token.id, request_id="request-1")
    await desk.revoke(made.token.id, request_id="request-1")

    with pytest.raises(ConflictError):
        await desk.revoke(other.token.id, request_id="request-1")
    assert desk.use(other.secret).name == "soar"


async def test_256_at_once_with_one_request_id_make_one_token(desk: TokenDesk) -> None:
    """One gets the secret, the others a conflict."""
    answers = await asyncio.gather(
        *(desk.create(request_id="request-1") for _ in range(256)), return_exceptions=True
    )

    made = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(made) == 1
    assert {type(answer) for answer in answers if answer is not made[0]} == {ConflictError}
    assert desk.log.events() == ["created"]


@pytest.mark.parametrize("token_id", ["", "x", "a" * 12, "../../etc/pw", "hfat_aaaaaaaaaaaa_x"])
async def test_a_token_that_is_not_there_is_not_found(desk: TokenDesk, token_id: str) -> None:
    """To rotate and to revoke."""
    with pytest.raises(NotFoundError):
        await desk.rotate(token_id)
    with pytest.raises(NotFoundError):
        await desk.revoke(token_id)


async def test_an_ended_token_is_not_rotated(desk: TokenDesk) -> None:
    """Neither one that expired nor one that was revoked comes to life so."""
    revoked, expired = await desk.create(), await desk.create(ttl_s=MIN_TTL_S)
    await desk.revoke(revoked.token.id)
    desk.clock.advance(seconds=MIN_TTL_S)

    for made in (revoked, expired):
        with pytest.raises(PreconditionError):
            await desk.rotate(made.token.id)


async def test_what_loosens_is_in_the_log_first(desk: TokenDesk) -> None:
    """With a log that fails no token is made and no secret changes."""
    made = await desk.create()
    desk.log.is_broken = True

    with pytest.raises(EnvironmentFailure):
        await desk.create()
    with pytest.raises(EnvironmentFailure):
        await desk.rotate(made.token.id)

    assert desk.use(made.secret).token == made.token.id
    await desk.restart()
    assert [token.id for token in desk.tokens.list(is_with_ended=True)] == [made.token.id]


async def test_a_revocation_does_not_wait_for_a_log_that_works(desk: TokenDesk) -> None:
    """It says that the log failed; the token has ended all the same, for good."""
    made = await desk.create()
    desk.log.is_broken = True

    with pytest.raises(EnvironmentFailure):
        await desk.revoke(made.token.id)

    with pytest.raises(TokenRefused, match="was revoked"):
        desk.use(made.secret)
    desk.log.is_broken = False
    await desk.restart()
    with pytest.raises(TokenRefused, match="was revoked"):
        desk.use(made.secret)


async def test_a_revocation_that_could_not_be_kept_can_be_repeated(desk: TokenDesk) -> None:
    """The token has ended in this process; once the store works again it has ended for good."""
    made = await desk.create()
    desk.store.close()
    with pytest.raises(EnvironmentFailure):
        await desk.revoke(made.token.id, request_id="request-1")
    with pytest.raises(TokenRefused, match="was revoked"):
        desk.use(made.secret)
    desk.store.__init__(desk.path)  # type: ignore[misc]

    await desk.revoke(made.token.id, request_id="request-1")

    await desk.restart()
    with pytest.raises(TokenRefused, match="was revoked"):
        desk.use(made.secret)


async def test_a_caller_who_goes_away_leaves_nothing_half(desk: TokenDesk) -> None:
    """A creation whose caller hung up ends whole: the list shows what is there."""
    task = asyncio.create_task(desk.create())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await desk.tokens.aclose()
    seen = [token.id for token in desk.tokens.list(is_with_ended=True)]
    await desk.restart()

    assert [token.id for token in desk.tokens.list(is_with_ended=True)] == seen
    assert len(desk.log.events()) == len(seen)


async def test_the_last_use_is_told_to_the_minute_and_written_behind(desk: TokenDesk) -> None:
    """The call itself touches no disk; what was flushed outlives a crash."""
    made = await desk.create()
    assert desk.tokens.list(is_with_ended=False)[0].use_time_ns == 0
    desk.clock.advance(seconds=90)
    before = desk.path.with_name("api_tokens.db-wal").read_bytes()
    desk.use(made.secret)
    assert desk.path.with_name("api_tokens.db-wal").read_bytes() == before
    used_ns = desk.tokens.list(is_with_ended=False)[0].use_time_ns
    await desk.tokens.flush()
    desk.store.close()
    await desk.open()

    assert used_ns % (60 * NS_PER_SECOND) == 0
    assert 0 <= desk.clock.wall_ns() - used_ns < 60 * NS_PER_SECOND
    assert desk.tokens.list(is_with_ended=False)[0].use_time_ns == used_ns


async def test_a_last_use_that_cannot_be_written_is_tried_again(desk: TokenDesk) -> None:
    """The token works on; the failure is harmless."""
    made = await desk.create()
    desk.use(made.secret)
    desk.store.close()
    await desk.tokens.flush()
    assert desk.use(made.secret).name == "soar"
    desk.store.__init__(desk.path)  # type: ignore[misc]
    await desk.restart()

    assert desk.tokens.list(is_with_ended=False)[0].use_time_ns > 0


async def test_tokens_are_listed_newest_first_and_ended_ones_on_demand(desk: TokenDesk) -> None:
    """A list for whoever looks after them."""
    made = []
    for _ in range(3):
        made.append((await desk.create(ttl_s=MIN_TTL_S + len(made) * 60)).token.id)
        desk.clock.advance(seconds=1)
    await desk.revoke(made[2])
    desk.clock.advance(seconds=MIN_TTL_S)

    assert [token.id for token in desk.tokens.list(is_with_ended=True)] == made[::-1]
    assert [token.id for token in desk.tokens.list(is_with_ended=False)] == [made[1]]


async def test_a_store_that_cannot_be_read_takes_tokens_along_and_says_why(
    clock: Any,
) -> None:
    """No token works, none is made; whoever shows one is told that it is not their fault."""
    failure = EnvironmentFailure("is corrupt", reason=ErrorReason.STORE_UNAVAILABLE)
    tokens = ApiTokens(
        store=UnusableStore(failure), audit=MemoryLog(), operators=lambda: [SOAR], clock=clock
    )
    await tokens.start()
    header = "Bearer hfat_" + "a" * 12 + "_" + "A" * 43

    with pytest.raises(EnvironmentFailure) as refused:
        tokens.authenticate(header, {SOAR.identity: SOAR})
    with pytest.raises(EnvironmentFailure, match="is corrupt"):
        tokens.list(is_with_ended=True)
    with pytest.raises(EnvironmentFailure, match="is corrupt"):
        await tokens.create(
            request_id="request-1",
            operator="soar",
            permissions=["contain"],
            agents=[],
            ttl_s=None,
            description="x",
            caller=ADMIN,
        )

    assert refused.value.reason is ErrorReason.STORE_UNAVAILABLE
    await tokens.aclose()


async def _tamper(desk: TokenDesk, column: str, value: Any, *, token_id: str = "") -> None:
    """Change a row behind the service's back, and let it read the store anew."""
    await desk.tokens.aclose()
    desk.store.close()
    with sqlite3.connect(desk.path) as connection:
        connection.execute(
            f"UPDATE api_tokens SET {column} = ? WHERE ? IN ('', id)",
            (value, token_id),
        )
    connection.close()
    await desk.open()

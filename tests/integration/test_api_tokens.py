# SPDX-License-Identifier: Apache-2.0
"""API tokens against a real control: made, used, rotated, revoked, over gRPC without a certificate."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidecar.api.v1 import api_token_pb2, audit_pb2, containment_pb2
from tests.support.certificates import Authority
from tests.support.clients import ControlClient, new_id, refused
from tests.support.polling import eventually
from tests.support.processes import Zygote, free_port
from tests.support.testbed import Testbed

_DENIED = grpc.StatusCode.PERMISSION_DENIED
_UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture(scope="module")
def desk(zygote: Zygote, authority: Authority) -> Iterator[Testbed]:
    """A control that takes tokens, and a gate; each test makes tokens of its own."""
    host = Testbed(zygote, authority, spare_agents=20, token_listen=f"127.0.0.1:{free_port()}")
    try:
        yield host.begin()
    finally:
        host.close()


@pytest.fixture
def alone(make_bed: Callable[..., Testbed]) -> Testbed:
    """A control that takes tokens and is this test's alone."""
    bed = make_bed(token_listen=f"127.0.0.1:{free_port()}")
    bed.launch_control()
    bed.wait_control()
    return bed


async def test_a_token_contains_without_a_certificate(desk: Testbed) -> None:
    """The order is the operator's; the agent is stopped."""
    agent = desk.fresh_agent()
    async with desk.operator("carol") as admin:
        made = await admin.make_token()
    async with desk.holder(made.secret) as soar:
        receipt = (await soar.contain(agent)).receipt

    assert receipt.directive.author == "soar"
    assert made.token.operator == "soar"
    assert made.token.author == "carol"
    async with desk.agent(agent) as client:
        assert await client.verdict() == "DENY KILLED"


async def test_nobody_but_an_administrator_makes_tokens(desk: Testbed) -> None:
    """Neither an operator who may contain, nor a token."""
    async with desk.operator("carol") as admin:
        made = await admin.make_token("alice", "contain", "audit-read")
    async with desk.operator("alice") as alice, desk.holder(made.secret) as holder:
        for client in (alice, holder):
            for call in (
                client.make_token(),
                client.rotate_token(made.token.name),
                client.revoke_token(made.token.name),
            ):
                assert (await refused(call)).code is _DENIED
        listed = await holder.api_tokens.ListApiTokens(api_token_pb2.ListApiTokensRequest())

    assert made.token.name in {token.name for token in listed.tokens}


async def test_a_revoked_token_is_refused_at_its_next_call_on_an_open_connection(
    desk: Testbed,
) -> None:
    """The connection was made while it worked."""
    async with desk.operator("carol") as admin:
        made = await admin.make_token()
        async with desk.holder(made.secret) as soar:
            await soar.directives()
            await admin.revoke_token(made.token.name)
            error = await refused(soar.directives())
            again = await admin.revoke_token(made.token.name)

    assert (error.code, error.reason) == (_UNAUTHENTICATED, "UNAUTHENTICATED")
    assert again.state == api_token_pb2.ApiToken.STATE_REVOKED


async def test_a_stream_ends_with_its_token(desk: Testbed) -> None:
    """A watch that was begun with a token tells nothing after it was revoked."""
    async with desk.operator("carol") as admin, desk.operator("alice") as alice:
        made = await admin.make_token()
        async with desk.holder(made.secret) as soar:
            told = aiter(soar.containment.WatchDirectives(containment_pb2.WatchDirectivesRequest()))
            await anext(told)
            await admin.revoke_token(made.token.name)
            await alice.contain(desk.fresh_agent(), "OBSERVE")

            async def rest() -> None:
                async for _ in told:
                    pass

            error = await refused(rest())

    assert error.code is _UNAUTHENTICATED


async def test_rotation_and_overlap_over_the_wire(desk: Testbed) -> None:
    """Both secrets work until the overlap ends; without one the old ends at once."""
    async with desk.operator("carol") as admin:
        first = await admin.make_token()
        second = await admin.rotate_token(first.token.name, overlap=timedelta(seconds=30))
        assert second.token.HasField("previous_expire_time")
        for secret in (first.secret, second.secret):
            async with desk.holder(secret) as soar:
                await soar.directives()
        third = await admin.rotate_token(first.token.name)
        for secret in (first.secret, second.secret):
            async with desk.holder(secret) as soar:
                assert (await refused(soar.directives())).code is _UNAUTHENTICATED
        async with desk.holder(third.secret) as soar:
            await soar.directives()

    assert third.token.expire_time == first.token.expire_time
    assert not third.token.HasField("previous_expire_time")
    assert third.token.HasField("rotate_time")


async def test_a_secret_is_shown_once(desk: Testbed) -> None:
    """A retry is ALREADY_EXISTS, and the list has no secret."""
    request_id = new_id()
    async with desk.operator("carol") as admin:
        made = await admin.make_token(request_id=request_id)
        again = await refused(admin.make_token(request_id=request_id))
        other = await refused(admin.rotate_token(made.token.name, request_id=request_id))
        listed = await admin.api_tokens.ListApiTokens(
            api_token_pb2.ListApiTokensRequest(include_ended=True)
        )

    assert again.code is other.code is grpc.StatusCode.ALREADY_EXISTS
    assert again.reason == "REQUEST_ID_CONFLICT"
    assert made.secret.encode() not in listed.SerializeToString()


async def test_tokens_are_listed_in_pages_newest_first(desk: Testbed) -> None:
    """With when they were last used; ended ones only on demand."""
    async with desk.operator("carol") as admin:
        made = [(await admin.make_token()) for _ in range(3)]
        await admin.revoke_token(made[0].token.name)
        async with desk.holder(made[2].secret) as soar:
            await soar.directives()
        first = await admin.api_tokens.ListApiTokens(
            api_token_pb2.ListApiTokensRequest(page_size=1)
        )
        second = await admin.api_tokens.ListApiTokens(
            api_token_pb2.ListApiTokensRequest(page_size=1, page_token=first.next_page_token)
        )
        everything = await admin.api_tokens.ListApiTokens(
            api_token_pb2.ListApiTokensRequest(page_size=1000, include_ended=True)
        )
        living = await admin.api_tokens.ListApiTokens(
            api_token_pb2.ListApiTokensRequest(page_size=1000)
        )

    assert [first.tokens[0].name, second.tokens[0].name] == [made[2].token.name, made[1].token.name]
    assert first.tokens[0].use_time.seconds % 60 == 0
    assert first.tokens[0].HasField("use_time")
    assert not second.tokens[0].HasField("use_time")
    gone = made[0].token.name
    assert gone not in {token.name for token in living.tokens}
    assert {t.name: t.state for t in everything.tokens}[
        gone
    ] == api_token_pb2.ApiToken.STATE_REVOKED


async def test_a_token_beside_a_certificate_gives_its_own_rights(desk: Testbed) -> None:
    """Both name the same operator, or nobody calls; a shown token is never ignored."""
    async with desk.operator("carol") as admin:
        made = await admin.make_token("alice", "audit-read")
    async with (
        desk.holder(made.secret, certificate_of="alice") as both,
        desk.holder(made.secret, certificate_of="bob") as other,
        desk.holder("hfat_" + "a" * 12 + "_" + "A" * 43, certificate_of="alice") as wrong,
    ):
        await both.directives()
        contained = await refused(both.contain(desk.fresh_agent()))
        mixed = await refused(other.directives())
        unknown = await refused(wrong.directives())

    assert contained.code is _DENIED
    assert mixed.code is unknown.code is _UNAUTHENTICATED


async def test_the_mutual_tls_listener_still_demands_a_certificate(desk: Testbed) -> None:
    """A token opens the listener for tokens, and no other; there a certificate alone is nobody."""
    async with desk.operator("carol") as admin:
        made = await admin.make_token()
    ca = desk.authority.pem
    async with (
        ControlClient(desk.listen, ca=ca, token=made.secret) as holder,
        ControlClient(
            str(desk.settings["token_listen"]), ca=ca, credential=desk.credential("alice")
        ) as alice,
        ControlClient(str(desk.settings["token_listen"]), ca=ca) as nobody,
    ):
        without = await refused(holder.directives())
        certificate_alone = await refused(alice.directives())
        nothing = await refused(nobody.directives())

    assert without.code is grpc.StatusCode.UNAVAILABLE
    assert certificate_alone.code is nothing.code is _UNAUTHENTICATED


async def test_the_token_listener_speaks_tls_alone_and_keeps_no_stranger(desk: Testbed) -> None:
    """No plain text; whoever has shown nothing may ask whether control serves, and not watch it."""
    address = str(desk.settings["token_listen"])
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
        plain = await refused(
            channel.unary_unary("/sidecar.api.v1.ContainmentService/ListDirectives")(b"", timeout=5)
        )
    async with ControlClient(address, ca=desk.authority.pem) as nobody:
        health: Any = health_pb2_grpc.HealthStub(nobody.channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=5)

        async def watch() -> None:
            async for _ in health.Watch(health_pb2.HealthCheckRequest(), timeout=5):
                pass

        watched = await refused(watch())

    assert plain.code is grpc.StatusCode.UNAVAILABLE
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert watched.code is grpc.StatusCode.UNIMPLEMENTED


async def test_tokens_outlive_a_restart_as_they_were(alone: Testbed) -> None:
    """Working ones work, revoked ones do not, and the last use is still known."""
    async with alone.operator("carol") as admin:
        made = await admin.make_token(agents=["alpha"])
        gone = await admin.make_token()
        await admin.revoke_token(gone.token.name)
        async with alone.holder(made.secret) as soar:
            await soar.directives(agent="alpha")
    assert alone.control is not None
    alone.control.stop()
    alone.restart_control()
    async with (
        alone.holder(made.secret) as soar,
        alone.holder(gone.secret) as revoked,
        alone.operator("carol") as admin,
    ):
        listed = await admin.api_tokens.ListApiTokens(api_token_pb2.ListApiTokensRequest())
        await soar.directives(agent="alpha")
        limited = await refused(soar.directives(agent="beta"))
        error = await refused(revoked.directives())

    assert [token.name for token in listed.tokens] == [made.token.name]
    assert listed.tokens[0].HasField("use_time")
    assert limited.code is _DENIED
    assert error.code is _UNAUTHENTICATED


async def test_a_revocation_outlives_a_crash(alone: Testbed) -> None:
    """It was durable before it was answered."""
    async with alone.operator("carol") as admin:
        made = await admin.make_token()
        await admin.revoke_token(made.token.name)
    assert alone.control is not None
    alone.control.kill()
    alone.restart_control()
    async with alone.holder(made.secret) as soar:
        error = await refused(soar.directives())

    assert "was revoked" in error.message


async def test_what_a_reload_takes_from_the_operator_it_takes_from_the_token(
    alone: Testbed,
) -> None:
    """A role that is taken, an operator that leaves: at the next call."""
    async with alone.operator("carol") as admin:
        made = await admin.make_token("alice", "contain", "audit-read")
    async with alone.holder(made.secret) as holder, alone.operator("only-policy-author") as author:
        await holder.contain("alpha", "OBSERVE")
        alone.write_bundle(roles={"alice": ["audit-read", "release"]})
        await author.reload()
        await holder.directives()
        contained = await refused(holder.contain("beta", "OBSERVE"))
        alone.write_bundle(without_operators=["alice"])
        await author.reload()
        gone = await refused(holder.directives())

    assert (contained.code, contained.reason) == (_DENIED, "PERMISSION_MISSING")
    assert gone.code is _UNAUTHENTICATED
    assert "is no operator now" in gone.message


async def test_every_change_and_every_refusal_is_in_the_log(alone: Testbed) -> None:
    """Who made, rotated and revoked which token, and which token was refused what."""
    async with alone.operator("carol") as admin:
        made = await admin.make_token("alice", "contain", agents=["alpha", "beta"])
        rotated = await admin.rotate_token(made.token.name, overlap=timedelta(minutes=1))
        async with alone.holder(rotated.secret) as holder:
            await holder.contain("alpha", "OBSERVE")
            await refused(holder.contain("gamma", "OBSERVE"))
            await admin.revoke_token(made.token.name)
            await refused(holder.contain("alpha", "OBSERVE"))
        entries = await admin.audit.ListEntries(audit_pb2.ListEntriesRequest(page_size=1000))
    found = [json.loads(entry.json) for entry in entries.entries]
    token_id = made.token.name.removeprefix("apiTokens/")
    changes = [entry for entry in found if entry["kind"] == "api_token"][::-1]
    refusals = [entry for entry in found if entry["kind"] == "refused"][::-1]

    assert [(entry["event"], entry["author"]) for entry in changes] == [
        ("created", "carol"),
        ("rotated", "carol"),
        ("revoked", "carol"),
    ]
    assert {entry["api_token"] for entry in changes} == {token_id}
    assert (changes[0]["operator"], changes[0]["permissions"], changes[0]["agents"]) == (
        "alice",
        ["contain"],
        ["alpha", "beta"],
    )
    assert [(entry["operator"], entry["reason"], entry["via"]) for entry in refusals] == [
        ("alice", "PERMISSION_MISSING", made.token.name),
        ("", "UNAUTHENTICATED", made.token.name),
    ]
    assert alone.control is not None
    lines = [line for line in alone.control.logged() if line.get("via") == made.token.name]
    assert [line["event"] for line in lines].count("control call refused") == 2


async def test_a_token_expires_while_its_connection_is_open(
    make_bed: Callable[..., Testbed],
) -> None:
    """The clock is looked at in each call; two secrets of one token expire together."""
    bed = make_bed(token_listen=f"127.0.0.1:{free_port()}")
    bed.launch_control(breakages=["wall-clock-steps"])
    bed.wait_control()
    async with bed.local() as local:
        made = await local.make_token(ttl=timedelta(minutes=30))
        rotated = await local.rotate_token(made.token.name, overlap=timedelta(days=1))
        async with bed.holder(made.secret) as old, bed.holder(rotated.secret) as new:
            await old.directives()
            await new.directives()
            (bed.root / "step-now").touch()
            errors = [await refused(client.directives()) for client in (old, new)]
        listed = await local.api_tokens.ListApiTokens(
            api_token_pb2.ListApiTokensRequest(include_ended=True)
        )

    assert {error.code for error in errors} == {_UNAUTHENTICATED}
    assert all("expired at" in error.message for error in errors)
    assert listed.tokens[0].state == api_token_pb2.ApiToken.STATE_EXPIRED


async def test_without_the_setting_nobody_listens_for_tokens(bed: Testbed) -> None:
    """The listener is off unless asked for; tokens still work beside certificates."""
    async with bed.operator("carol") as admin:
        made = await admin.make_token("alice", "audit-read")
    async with bed.holder(made.secret, certificate_of="alice") as alice:
        await alice.directives()
    assert bed.control is not None
    await eventually(lambda: any("control serves" in str(line) for line in bed.control.logged()), 5)

    serving = next(line for line in bed.control.logged() if line["event"] == "control serves")
    assert serving["for_automation"] == ""

# SPDX-License-Identifier: Apache-2.0
"""I06, I09: what somebody can do with an API token that is not theirs, or not any more."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from sidecar.api.v1 import audit_pb2, options_pb2, types_pb2
from sidecar.apitokens.values import GRANTABLE
from sidecar.compose.control import _METHODS
from tests.attacks.test_permissions_matrix import SOAR_MAY
from tests.support.certificates import Authority
from tests.support.clients import ControlClient, Refused, new_id, refused
from tests.support.processes import Zygote, free_port
from tests.support.testbed import Testbed

_ROLES = sorted(role.value for role in GRANTABLE)
_NO_TOKEN = "hfat_" + "a" * 12 + "_" + "A" * 43
_LIST = "/sidecar.api.v1.ContainmentService/ListDirectives"
_AT_ONCE = 25  # a connection has at most 32 streams
_CONNECTIONS = 600
METHODS: dict[str, MethodDescriptor] = {
    path: method for path, method in _METHODS.items() if "AccountService" not in path
}
"""Every method that control serves; passkeys only with a console."""


@pytest.fixture(scope="module")
def desk(zygote: Zygote, authority: Authority) -> Iterator[Testbed]:
    """A control that takes tokens, where alice holds every role that a token may carry, and more."""
    host = Testbed(zygote, authority, spare_agents=20, token_listen=f"127.0.0.1:{free_port()}")
    host.write_bundle(
        roles={
            "alice": [*_ROLES, "approve", "policy-approve", "break-glass"],
            "bob": ["contain", "release", "approve", "audit-read"],
        }
    )
    try:
        yield host.begin()
    finally:
        host.close()


@pytest.fixture
def make_desk(make_bed: Callable[..., Testbed]) -> Callable[..., Testbed]:
    """Make a control that takes tokens and is this test's alone."""

    def make(*breakages: str) -> Testbed:
        bed = make_bed(token_listen=f"127.0.0.1:{free_port()}")
        bed.launch_control(breakages=breakages)
        bed.wait_control()
        return bed

    return make


def _option(method: MethodDescriptor, option: Any) -> Any:
    return method.GetOptions().Extensions[option]


async def _outcome(client: ControlClient, path: str, request: Message | None = None) -> str:
    """Return ``PERMISSION_MISSING``, the status of another error, or ``OK``."""
    method = METHODS[path]
    request = GetMessageClass(method.input_type)() if request is None else request
    kinds = {False: client.channel.unary_unary, True: client.channel.unary_stream}
    call: Any = kinds[method.server_streaming](
        path,
        request_serializer=type(request).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )(request, timeout=10)

    async def first() -> Any:
        if not method.server_streaming:
            return await call
        try:
            await asyncio.wait_for(call.read(), 1)
        except TimeoutError:
            call.cancel()  # admitted, and nothing to tell yet

    try:
        await first()
    except grpc.aio.AioRpcError as exc:
        found = await refused(_raise(exc))
        return found.reason if found.code is grpc.StatusCode.PERMISSION_DENIED else found.code.name
    return "OK"


async def _raise(error: grpc.aio.AioRpcError) -> None:
    raise error


# -- a limited token against every method ---------------------------------------------------------


def test_i09_every_scope_names_a_field_that_says_which_agent() -> None:
    """A misspelt option would close the method to limited tokens; it is found here."""
    target = types_pb2.Target.DESCRIPTOR.full_name
    for path, method in METHODS.items():
        scope = _option(method, options_pb2.scope)
        if scope in ("", "none"):
            continue
        field = method.input_type.fields_by_name[scope]
        kind = field.message_type.full_name if field.message_type else "agent id"
        assert kind in (target, "agent id"), path
        assert (kind == target) or scope == "agent", path


async def test_i09_a_limited_token_against_every_method(desk: Testbed) -> None:
    """It calls exactly the methods that say which agent they are about, and only about its own."""
    mine, other = desk.fresh_agent(), desk.fresh_agent()
    async with desk.local() as local:
        made = await local.make_token("alice", *_ROLES, agents=[mine])
    async with desk.holder(made.secret) as holder:
        opened = {
            about: {
                path
                for path, method in METHODS.items()
                if await _outcome(holder, path, _about(method, agent)) != "PERMISSION_MISSING"
            }
            for about, agent in (("mine", mine), ("other", other), ("nothing", ""))
        }

    carried = {
        path
        for path, method in METHODS.items()
        if set(_option(method, options_pb2.permission)) & GRANTABLE
    }
    scope = {path: _option(METHODS[path], options_pb2.scope) for path in carried}
    assert opened["mine"] == {path for path in carried if scope[path]}
    assert opened["other"] == {path for path in carried if scope[path] == "none"}
    assert opened["nothing"] == opened["other"]
    assert any(scope[path] not in ("", "none") for path in carried)


async def test_i09_a_limited_token_reaches_everything_negative_control(
    make_desk: Callable[..., Testbed],
) -> None:
    """It is the one look at the scope that limits it."""
    bed = make_desk("no-token-scope")
    async with bed.local() as local:
        made = await local.make_token("alice", "contain", agents=["alpha"])
    async with bed.holder(made.secret) as holder:
        await holder.contain("beta", "OBSERVE")
        await holder.directives()


def _about(method: MethodDescriptor, agent: str) -> Message:
    """Return a request about *agent* that is otherwise empty."""
    request = GetMessageClass(method.input_type)()
    scope = _option(method, options_pb2.scope)
    if agent and scope not in ("", "none"):
        if method.input_type.fields_by_name[scope].message_type:
            getattr(request, scope).agent = agent
        else:
            setattr(request, scope, agent)
    return request


async def test_i09_a_limited_token_blocks_nothing_for_other_agents(desk: Testbed) -> None:
    """No target that covers more than one agent, however it is written."""
    target = types_pb2.Target
    mine = desk.fresh_agent()
    async with desk.local() as local:
        made = await local.make_token("alice", "contain", agents=[mine])
    async with desk.holder(made.secret) as holder:
        for wide in (
            target(all=target.All()),
            target(tool="note.read"),
            target(destination="example.com"),
            target(principal="alice"),
            target(labels=target.Labels(labels={"env": "prod"})),
            target(session=target.Session(agent="alpha", session="s")),
            target(tool_at_agent=target.ToolAtAgent(agent="alpha", tool="note.read")),
            target(),
        ):
            assert (await refused(holder.contain(wide, "OBSERVE"))).reason == "PERMISSION_MISSING"
        await holder.contain(target(tool_at_agent=target.ToolAtAgent(agent=mine, tool="x")))
        await holder.contain(target(session=target.Session(agent=mine, session="s")))


# -- a stolen token of an operator who may much ---------------------------------------------------


async def test_i09_a_contain_token_against_every_method(desk: Testbed) -> None:
    """Also of an operator who approves: it may kill and revoke, and nothing else that SOAR may not."""
    async with desk.local() as local:
        made = await local.make_token("alice", "contain")
    async with desk.holder(made.secret) as thief, desk.operator("bob") as bob:
        outcomes = {path: await _outcome(thief, path) for path in METHODS}
        killed = await thief.contain(desk.fresh_agent())
        revoked = await thief.revoke(agent=desk.fresh_agent())
        epoch = killed.receipt.directive.epoch
        released = await refused(thief.ask_release(epoch))
        operation = (await bob.ask_release(epoch)).operation
        granted = await refused(thief.decide(operation.approval, fingerprint="0" * 64))
        policy = await refused(thief.ask_reload())
        entries = await refused(thief.audit.ListEntries(audit_pb2.ListEntriesRequest()))
        token = await refused(thief.make_token())

    opened = {path for path, outcome in outcomes.items() if outcome != "PERMISSION_MISSING"}
    with_contain = {
        path
        for path, method in METHODS.items()
        if "contain" in _option(method, options_pb2.permission)
    }
    assert opened == with_contain
    assert {METHODS[path].name for path in opened} >= SOAR_MAY
    assert killed.receipt.directive.author == "alice"
    assert revoked.revocation.epoch > epoch
    for no in (released, granted, policy, entries, token):
        assert (no.code, no.reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING")


async def test_i09_a_contain_token_reads_no_argument(desk: Testbed) -> None:
    """It sees who wants to run what; the approver whose token it is sees with what, by certificate."""
    agent = desk.fresh_agent()
    async with desk.local() as local, desk.agent(agent) as client:
        made = await local.make_token("alice", "contain")
        held = await client.ask("note.held", {"text": "canary-in-an-argument"})
    async with desk.holder(made.secret) as thief, desk.operator("alice") as alice:
        seen = await thief.approval(held.obligations.approval)
        whole = await alice.approval(held.obligations.approval)

    assert b"canary-in-an-argument" in whole.SerializeToString()
    assert b"canary-in-an-argument" not in seen.SerializeToString()
    assert seen.name == whole.name


async def test_i09_a_release_token_only_asks(desk: Testbed) -> None:
    """The release waits for two humans, as automation's do, and its own operator is none of them."""
    async with desk.local() as local:
        epoch = (await local.contain(desk.fresh_agent(), "OBSERVE")).receipt.directive.epoch
        made = await local.make_token("alice", "release")
    async with (
        desk.holder(made.secret) as holder,
        desk.operator("alice") as alice,
        desk.operator("bob") as human,
    ):
        operation = (await holder.ask_release(epoch)).operation
        own = await refused(alice.decide(operation.approval))
        await human.decide(operation.approval)
        after_one = await human.operation(operation.name)

    assert operation.state == types_pb2.Operation.STATE_PENDING_APPROVAL
    assert after_one.state == types_pb2.Operation.STATE_PENDING_APPROVAL
    assert own.reason in ("SELF_APPROVAL", "NOT_AN_APPROVER"), own


@pytest.mark.parametrize("role", ["approve", "policy-approve", "admin", "break-glass", "", "root"])
async def test_i09_no_token_is_made_that_approves(desk: Testbed, role: str) -> None:
    """Not even by an administrator, for an operator who does."""
    async with desk.local() as local:
        error = await refused(local.make_token("alice", "contain", role))

    assert error.code is grpc.StatusCode.INVALID_ARGUMENT


async def _tampered(bed: Testbed) -> str:
    """Stop control, and let the store say that a token may do all; return its secret."""
    async with bed.local() as local:
        made = await local.make_token("dora", "contain")
    assert bed.control is not None
    bed.control.stop()
    with sqlite3.connect(bed.layout.api_tokens) as connection:
        connection.execute(
            "UPDATE api_tokens SET permissions = ?",
            (json.dumps(["admin", "approve", "break-glass", "contain", "policy-approve"]),),
        )
    connection.close()
    return made.secret


async def test_i09_a_tampered_store_gives_no_token_a_second_hand(
    make_desk: Callable[..., Testbed],
) -> None:
    """A wide order still waits for a human although the operator could break glass."""
    bed = make_desk()
    secret = await _tampered(bed)
    bed.restart_control()
    everything = types_pb2.Target(all=types_pb2.Target.All())
    async with bed.holder(secret) as holder:
        answer = await holder.contain(everything, "FREEZE")

    assert answer.operation.state == types_pb2.Operation.STATE_PENDING_APPROVAL
    assert not answer.HasField("receipt")


async def test_i09_a_tampered_store_breaks_glass_negative_control(
    make_desk: Callable[..., Testbed],
) -> None:
    """With what the row says the order goes through at once."""
    bed = make_desk()
    secret = await _tampered(bed)
    bed.restart_control(breakages=["tokens-carry-all"])
    everything = types_pb2.Target(all=types_pb2.Target.All())
    async with bed.holder(secret) as holder:
        answer = await holder.contain(everything, "FREEZE")

    assert answer.HasField("receipt")


async def test_i09_a_revoked_token_goes_on_negative_control(
    make_desk: Callable[..., Testbed],
) -> None:
    """Without the look at each call a revoked token kills."""
    bed = make_desk("no-token-end")
    async with bed.local() as local:
        made = await local.make_token()
        await local.revoke_token(made.token.name)
    async with bed.holder(made.secret) as thief:
        await thief.contain("alpha", "OBSERVE")


# -- strangers ------------------------------------------------------------------------------------


async def test_whatever_is_no_token_gets_one_answer(desk: Testbed) -> None:
    """Unknown, malformed, twice, a wrong secret of a real token: not one byte differs."""
    async with desk.local() as local:
        made = await local.make_token()
    good = f"Bearer {made.secret}"
    wrong = good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB")
    answers = set()
    async with ControlClient(str(desk.settings["token_listen"]), ca=desk.authority.pem) as nobody:
        await nobody.channel.unary_unary(_LIST)(b"", metadata=[("authorization", good)], timeout=5)
        for metadata in (
            [("authorization", f"Bearer {_NO_TOKEN}")],
            [("authorization", wrong)],
            [("authorization", good.upper())],
            [("authorization", made.secret)],
            [("authorization", f"Basic {made.secret}")],
            [("authorization", "")],
            [("authorization", "x" * 4000)],
            [("authorization", good), ("authorization", good)],
            [("authorization", good), ("authorization", "")],
            [("authorization", f"{good}, {good}")],
        ):
            try:
                await nobody.channel.unary_unary(_LIST)(b"", metadata=metadata, timeout=5)
            except grpc.aio.AioRpcError as exc:
                trailing = dict(exc.trailing_metadata() or ())
                answers.add((exc.code(), exc.details(), trailing["grpc-status-details-bin"]))
            else:
                raise AssertionError(f"this was not refused: {metadata}")

    ((code, message, _),) = answers
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert message == "this is no API token of this control"


@pytest.mark.parametrize("header", ["authorization-bin", "x-authorization", "proxy-authorization"])
async def test_a_token_in_another_header_is_none(desk: Testbed, header: str) -> None:
    """There is one place to look."""
    async with desk.local() as local:
        made = await local.make_token()
    value: Any = f"Bearer {made.secret}"
    value = value.encode() if header.endswith("-bin") else value
    async with ControlClient(str(desk.settings["token_listen"]), ca=desk.authority.pem) as nobody:
        error = await refused(
            nobody.channel.unary_unary(_LIST)(b"", metadata=[(header, value)], timeout=5)
        )

    assert (error.code, error.message) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "no credential was presented",
    )


async def _flooded(bed: Testbed, count: int) -> tuple[int, int]:
    """Return how many refusals the log holds after *count* calls with tokens that are none."""
    async with bed.holder(_NO_TOKEN) as stranger, bed.operator("bob") as bob:
        errors: list[Refused] = []
        for _ in range(count // _AT_ONCE):
            errors += await asyncio.gather(
                *(refused(stranger.directives()) for _ in range(_AT_ONCE))
            )
        await refused(bob.make_token())  # an operator who may not, in the midst of it
        answer = await bob.audit.ListEntries(
            audit_pb2.ListEntriesRequest(kind="refused", page_size=1000)
        )
    assert {error.code for error in errors} == {grpc.StatusCode.UNAUTHENTICATED}
    found = [json.loads(entry.json) for entry in answer.entries]
    return (
        sum(1 for entry in found if not entry["operator"]),
        sum(1 for entry in found if entry["operator"] == "bob"),
    )


async def test_g16_a_flood_of_strangers_fills_no_disk(make_desk: Callable[..., Testbed]) -> None:
    """Ten are written down, the rest are counted; what an operator was refused is there."""
    bed = make_desk()

    strangers, operators = await _flooded(bed, 300)
    assert (strangers, operators) == (10, 1)
    assert bed.control is not None
    bed.control.stop()
    report = bed.verify_control_log()
    assert report.ok
    lines = [line for line in bed.control.logged() if line["event"].startswith("control call")]
    assert len(lines) == 12  # ten, the operator's, the count
    assert next(line for line in lines if "count" in line)["count"] == 290


async def test_g16_a_flood_of_strangers_fills_the_disk_negative_control(
    make_desk: Callable[..., Testbed],
) -> None:
    """Without the bound each is an entry."""
    bed = make_desk("every-stranger-recorded")

    assert await _flooded(bed, 300) == (300, 1)


async def _descriptors_under_strangers(bed: Testbed) -> int:
    """Return how many descriptors control holds while a stranger holds all connections it can."""
    host, _, port = str(bed.settings["token_listen"]).rpartition(":")
    assert bed.control is not None
    held = Path(f"/proc/{bed.control.pid}/fd")
    with ExitStack() as stack:
        for _ in range(_CONNECTIONS):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=5))
        async with bed.local() as local, bed.operator("alice") as alice:
            await local.contain("alpha", "FREEZE")  # control has looked at all of them since
            assert (await alice.contain("alpha")).receipt.directive.author == "alice"
        return len(list(held.iterdir()))


async def test_p2_strangers_hold_no_more_than_their_share(
    make_desk: Callable[..., Testbed],
) -> None:
    """However many connect, descriptors are left for the kill switch; it works meanwhile."""
    assert await _descriptors_under_strangers(make_desk()) < 256 + 100


async def test_p2_strangers_hold_what_they_like_negative_control(
    make_desk: Callable[..., Testbed],
) -> None:
    """Without the bound each connection is a descriptor."""
    bed = make_desk("endless-connections")

    assert await _descriptors_under_strangers(bed) > _CONNECTIONS


# -- a store in trouble ---------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["corrupt", "unreadable", "a directory"])
async def test_p2_a_broken_store_of_tokens_leaves_certificates_and_the_kill_switch(
    make_desk: Callable[..., Testbed], trouble: str
) -> None:
    """No token works, and it is said why; certificates and the local lever do not notice."""
    bed = make_desk()
    async with bed.local() as local:
        made = await local.make_token()
    assert bed.control is not None
    bed.control.stop()
    for path in bed.layout.control.glob("api_tokens.db*"):
        path.unlink()
    if trouble == "a directory":
        bed.layout.api_tokens.mkdir()
    else:
        bed.layout.api_tokens.write_bytes(b"this is no database" * 1000)
        bed.layout.api_tokens.chmod(0o600 if trouble == "corrupt" else 0)
    bed.restart_control()
    async with (
        bed.holder(made.secret) as soar,
        bed.operator("alice") as alice,
        bed.local() as local,
    ):
        error = await refused(soar.contain("alpha"))
        making = await refused(local.make_token())
        receipt = (await alice.contain("alpha")).receipt
        other = (await local.contain("beta")).receipt

    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert making.code is grpc.StatusCode.UNAVAILABLE
    assert receipt.directive.author == "alice"
    assert other.directive.author == "local"


async def test_a_store_that_is_gone_knows_no_token(make_desk: Callable[..., Testbed]) -> None:
    """A lost file gives nobody anything; new tokens can be made."""
    bed = make_desk()
    async with bed.local() as local:
        lost = await local.make_token()
    assert bed.control is not None
    bed.control.stop()
    for path in bed.layout.control.glob("api_tokens.db*"):
        path.unlink()
    bed.restart_control()
    async with bed.local() as local:
        made = await local.make_token()
    async with bed.holder(lost.secret) as nobody, bed.holder(made.secret) as soar:
        error = await refused(nobody.directives())
        await soar.directives()

    assert error.message == "this is no API token of this control"


# -- where a secret could be ----------------------------------------------------------------------


async def test_i06_a_secret_is_in_no_file_no_log_and_no_error(
    make_desk: Callable[..., Testbed],
) -> None:
    """Whatever is done with it, rightly or wrongly, control keeps and prints its hash alone."""
    bed = make_desk()
    said: list[str] = []
    async with bed.local() as local:
        made = await local.make_token("alice", "contain", "audit-read", agents=["alpha"])
        rotated = await local.rotate_token(made.token.name, request_id=new_id())
        for secret in (made.secret, rotated.secret):
            async with bed.holder(secret) as holder:
                for call in (
                    holder.contain("alpha", "OBSERVE"),
                    holder.contain("beta", "OBSERVE"),
                    holder.release(1),
                    holder.directives(),
                ):
                    try:
                        said.append(str(await call))
                    except grpc.aio.AioRpcError as exc:
                        said.append(repr(exc) + str(exc.trailing_metadata()))
            for call in (  # somebody pastes it where an id belongs
                local.rotate_token(secret),
                local.rotate_token(f"apiTokens/{secret}"),
                local.revoke_token(f"apiTokens/{secret}"),
            ):
                said.append(str(await refused(call)))
        await local.revoke_token(made.token.name)
        async with bed.holder(rotated.secret) as holder:
            said.append(str(await refused(holder.directives())))
    assert bed.control is not None
    bed.control.stop()

    files = {path: path.read_bytes() for path in bed.root.rglob("*") if path.is_file()}
    everything = b"".join(files.values()) + "".join(said).encode()
    for secret in (made.secret, rotated.secret):
        assert secret.rpartition("_")[2].encode() not in everything
    token_id = made.token.name.removeprefix("apiTokens/").encode()
    assert token_id in files[bed.root / "control.log"]
    assert token_id in everything.replace(files[bed.root / "control.log"], b"")

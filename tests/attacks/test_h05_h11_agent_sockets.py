# SPDX-License-Identifier: Apache-2.0
"""H05, H09–H11: an agent reaches its own socket, and through it nothing that commands."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from sidecar.api.v1 import (
    agent_pb2,
    approval_pb2,
    audit_pb2,
    containment_pb2,
    guard_pb2,
    policy_pb2,
    token_pb2,
)
from sidecar.errors import EnvironmentFailure
from sidecar.gate.sockets import AgentSocket, claim_socket
from sidecar.internal.v1 import sync_pb2
from sidecar.model import AgentId
from tests.support.clients import refused
from tests.support.polling import eventually
from tests.support.testbed import Testbed

_CONTROL = (
    agent_pb2,
    approval_pb2,
    audit_pb2,
    containment_pb2,
    policy_pb2,
    token_pb2,
    sync_pb2,
)
_ALPHA = AgentId("alpha")

# -- H10, H09 -------------------------------------------------------------------------------------


def _levers() -> list[str]:
    return [
        f"/{service.full_name}/{method.name}"
        for module in _CONTROL
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    ]


async def test_h10_no_lever_is_reachable_from_an_agents_socket(bed: Testbed) -> None:
    """Every method of every control service, and the internal one: not in that server."""
    levers = _levers()
    async with bed.agent() as agent:
        errors = await asyncio.gather(*(refused(agent.raw(path, b"")) for path in levers))

    assert len(levers) >= 20
    assert {error.code for error in errors} == {grpc.StatusCode.UNIMPLEMENTED}


async def test_h10_descriptor_of_the_data_plane_holds_no_verb_that_commands() -> None:
    """The guard service's own methods are exactly these."""
    (service,) = guard_pb2.DESCRIPTOR.services_by_name.values()

    assert {method.name for method in service.methods} == {
        "Authorize",
        "AuthorizeStream",
        "Log",
        "LogStream",
        "WatchContainment",
        "WaitApproval",
        "CancelApproval",
    }


async def test_h10_a_gate_that_registers_a_lever_is_found_negative_control(
    make_bed: Callable[..., Testbed],
) -> None:
    """With the levers registered on the agent's socket, the sweep finds one that answers."""
    bed = make_bed()
    bed.begin(["alpha"], gate_breakages=["containment-on-the-data-plane"])
    async with bed.agent() as agent:
        await agent.raw("/sidecar.api.v1.ContainmentService/Contain", b"")


@pytest.mark.parametrize(
    "path",
    [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.channelz.v1.Channelz/GetServers",
    ],
)
async def test_h09_reflection_and_channelz_are_off(bed: Testbed, path: str) -> None:
    """Neither on the agent's socket nor on control's listener is there anything to look around by."""
    async with bed.agent() as agent, bed.operator("alice") as alice:
        at_gate = await refused(agent.raw(path, b""))
        at_control = await refused(alice.channel.unary_unary(path)(b"", timeout=5))

    assert at_gate.code == at_control.code == grpc.StatusCode.UNIMPLEMENTED


# -- H11 ------------------------------------------------------------------------------------------

_CLAIMS = (
    ("x-agent-id", "alpha"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-forwarded-user", "alpha"),
    ("x-holdfast-agent", "alpha"),
    ("authorization", "Bearer alpha"),
)


async def test_h11_identity_in_metadata_is_ignored_and_logged(bed: Testbed) -> None:
    """A killed agent that claims to be another stays killed, and the attempt is on record."""
    name = bed.fresh_agent()
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        await alice.contain(name)
        verdict = await agent.verdict(metadata=_CLAIMS)
    logged = [
        event
        for event in bed.gates["gate"].logged()
        if event.get("agent") == name and "identity claim" in event["event"]
    ]

    assert verdict == "DENY KILLED"
    assert "x-agent-id" in logged[0]["keys"]
    assert logged[0]["times"] == 1  # counted per call; a flood does not fill the log
    assert "Bearer" not in bed.gates["gate"].log.read_text()


async def test_h11_operator_in_metadata_is_ignored(bed: Testbed) -> None:
    """On the control plane, too, a header makes nobody somebody."""
    claims = (("x-operator", "dora"), ("x-spiffe-id", "spiffe://holdfast.test/operator/dora"))
    async with bed.operator("nobody") as nobody:
        error = await refused(
            nobody.containment.ListDirectives(
                containment_pb2.ListDirectivesRequest(), metadata=claims
            )
        )

    assert error.code == grpc.StatusCode.PERMISSION_DENIED


async def test_h11_credulous_gate_decides_for_another_agent_negative_control(
    make_bed: Callable[..., Testbed],
) -> None:
    """A gate that believes the header lets the killed agent act as one that lives."""
    bed = make_bed()
    bed.begin(["alpha", "beta"], gate_breakages=["identity-from-metadata"])
    async with bed.operator("alice") as alice, bed.agent("beta") as agent:
        await alice.contain("beta")

        assert await agent.verdict(metadata=_CLAIMS[:1]) == "ALLOW POLICY_ALLOW"


# -- H05 ------------------------------------------------------------------------------------------


def test_h05_socket_and_directory_are_the_agents_alone(bed: Testbed) -> None:
    """0750 and 0660: the agent's group gets in, nobody else does."""
    path = bed.layout.agent_socket("alpha")

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert stat.S_IMODE(bed.layout.local_socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(bed.layout.local_socket.parent.stat().st_mode) == 0o700


def _make_link(home: Path) -> None:
    (home / "elsewhere").mkdir(mode=0o700)
    (home / "alpha").symlink_to(home / "elsewhere")


def _make_open(home: Path) -> None:
    (home / "alpha").mkdir()
    (home / "alpha").chmod(0o777)


def _make_foreign(home: Path) -> None:
    (home / "alpha").mkdir(mode=0o750)
    os.chown(home / "alpha", 65534, 65534)


def _make_file(home: Path) -> None:
    (home / "alpha").mkdir(mode=0o750)
    (home / "alpha" / "guard.sock").write_text("not a socket")


def _make_socket_link(home: Path) -> None:
    (home / "alpha").mkdir(mode=0o750)
    (home / "alpha" / "guard.sock").symlink_to(home / "other.sock")


def _make_lock_link(home: Path) -> None:
    (home / "alpha").mkdir(mode=0o750)
    (home / "alpha" / "guard.lock").symlink_to(home / "victim")


@pytest.mark.parametrize(
    "prepare", [_make_link, _make_open, _make_foreign, _make_file, _make_socket_link]
)
def test_h05_prepared_path_is_refused(tmp_path: Path, prepare: Callable[[Path], None]) -> None:
    """A symlink, a directory that others can write or own, something that is no socket."""
    if prepare is _make_foreign and os.geteuid() != 0:
        pytest.skip("only root can give a directory away")
    tmp_path.chmod(0o700)
    prepare(tmp_path)

    with pytest.raises(EnvironmentFailure):
        claim_socket(_ALPHA, tmp_path)


def test_h05_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """The file behind a prepared link is neither made nor touched."""
    tmp_path.chmod(0o700)
    _make_lock_link(tmp_path)

    with pytest.raises((EnvironmentFailure, OSError)):
        claim_socket(_ALPHA, tmp_path)

    assert not (tmp_path / "victim").exists()


def test_h05_path_that_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    """More than 107 bytes would be cut off by some library and bound elsewhere."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True, mode=0o700)

    with pytest.raises(EnvironmentFailure, match="107 bytes"):
        claim_socket(_ALPHA, deep)


def test_h05_second_gate_on_the_same_socket_is_refused(tmp_path: Path) -> None:
    """gRPC would take the path over silently; the lock does not let it come to that."""
    tmp_path.chmod(0o700)
    first = claim_socket(_ALPHA, tmp_path)
    try:
        with pytest.raises(EnvironmentFailure, match="another gate"):
            claim_socket(_ALPHA, tmp_path)
    finally:
        first.close()


def test_h05_without_the_lock_the_second_takes_over_negative_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the lock out, the second claim removes the socket that the first one serves."""
    from sidecar.gate import sockets

    tmp_path.chmod(0o700)
    monkeypatch.setattr(sockets, "_take", lambda descriptor, path: None)
    first = claim_socket(_ALPHA, tmp_path)
    served = socket.socket(socket.AF_UNIX)
    served.bind(str(first.path))
    first.seal()
    second = claim_socket(_ALPHA, tmp_path)
    served.close()

    assert isinstance(second, AgentSocket)
    assert not first.is_ours()
    second.close()
    first.close()


async def test_h05_stolen_socket_stops_the_gate(make_bed: Callable[..., Testbed]) -> None:
    """Another inode at the path is not ours any more: the gate says so and ends."""
    bed = make_bed().begin(["alpha"])
    path = bed.layout.agent_socket("alpha")
    thief = socket.socket(socket.AF_UNIX)
    try:
        path.unlink()
        thief.bind(str(path))
        gate = bed.gates["gate"]
        await eventually(lambda: not gate.is_running, 10)
    finally:
        thief.close()

    assert any("replaced" in event["event"] for event in gate.logged())


async def test_h05_second_gate_process_does_not_start(make_bed: Callable[..., Testbed]) -> None:
    """Two gates of one agent: the second ends with an error, the first goes on serving."""
    bed = make_bed().begin(["alpha"])
    second = bed.launch_gate(["alpha"], gate_id="second")
    code = await asyncio.to_thread(second.wait)
    async with bed.agent() as agent:
        verdict = await agent.verdict()

    assert code != 0
    assert "another gate already serves" in second.tail()
    assert verdict == "ALLOW POLICY_ALLOW"

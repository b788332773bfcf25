# SPDX-License-Identifier: Apache-2.0
"""How commands find control and prove who calls: socket, certificates, deadlines, errors."""

from __future__ import annotations

import asyncio
import os

import grpc
import pytest

from sidecar.cli.client import ClientOptions, connect, error_of
from sidecar.cli.endpoint import control_address, published_address
from sidecar.cli.exits import Exit, exit_of
from sidecar.errors import ConfigurationError, EnvironmentFailure, ErrorReason
from sidecar.layout import StateLayout

LIST = ("directives", "list")


def certificates(host, name: str) -> tuple[str, ...]:
    pki = host.layout.pki
    return ("--cert", str(pki / f"{name}.pem"), "--key", str(pki / f"{name}.key"))


def test_certificates_reach_control_over_tls(host, holdfast):
    """Certificate, key and CA, each named."""
    address = host.serve_tls("alice")
    ca = ("--ca", str(host.layout.pki / "ca.pem"))

    result = holdfast(*LIST, "--address", address, *certificates(host, "alice"), *ca)

    assert result.code == Exit.OK


def test_as_finds_certificate_and_address_by_itself(host, holdfast):
    """What a control in development wrote down beside its certificates."""
    with published_address(host.layout, host.serve_tls("alice")):
        pass

    assert holdfast(*LIST, "--as", "alice").code == Exit.OK
    missing = holdfast(*LIST, "--as", "alcie")
    assert missing.code == Exit.USAGE
    assert 'did you mean "alice"' in missing.err
    assert holdfast(*LIST, "--as", "server").code == Exit.USAGE
    assert holdfast(*LIST, "--as", "../alice").code == Exit.USAGE


def test_a_foreign_ca_is_not_trusted(host, holdfast, tmp_path):
    """Control must prove itself too; the answer says where, and exits 5."""
    address = host.serve_tls("alice")
    from sidecar.control.pki import InsecureDevelopmentPki

    other = InsecureDevelopmentPki.ensure(tmp_path / "other", [])

    result = holdfast(
        *LIST, "--address", address, *certificates(host, "alice"), "--ca", str(other.ca)
    )

    assert result.code == Exit.UNAVAILABLE
    assert address in result.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--cert", "a.pem"), "--cert and --key belong together"),
        (("--address", "127.0.0.1:1"), "needs --cert and --key"),
        (("--address", "nonsense", "--as", "alice"), "host:port"),
        (("--as", "alice", "--cert", "a", "--key", "b"), "--as names a certificate"),
        (("--local", "--address", "127.0.0.1:1"), "--local"),
        (("--timeout", "0"), "--timeout"),
        (("--timeout", "inf"), "--timeout"),
        (("--timeout", "nan"), "--timeout"),
        (("--timeout", "soon"), "--timeout"),
    ],
)
def test_options_that_contradict_each_other(host, holdfast, arguments, told):
    """Exit 2 before anything is opened."""
    result = holdfast(*LIST, *arguments)

    assert result.code == Exit.USAGE
    assert told in result.err


def test_k01_a_key_that_others_can_read_is_refused(host, holdfast):
    """The client's own key is held to the same law as control's."""
    address = host.serve_tls("alice")
    (host.layout.pki / "alice.key").chmod(0o644)

    result = holdfast(*LIST, "--as", "alice", "--address", address)

    assert result.code == Exit.FAILURE
    assert "chmod 0600" in result.err


def test_k01_a_key_that_others_can_read_negative_control(host, holdfast, monkeypatch):
    """With the check patched out, the same key opens the connection."""
    address = host.serve_tls("alice")
    (host.layout.pki / "alice.key").chmod(0o644)
    monkeypatch.setattr("sidecar.cli.client.read_secret_file", lambda path: path.read_bytes())

    assert holdfast(*LIST, "--as", "alice", "--address", address).code == Exit.OK


def test_files_that_are_no_certificates(host, holdfast, tmp_path):
    """Which flag, which file."""
    address = host.serve_tls("alice")
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    mine = certificates(host, "alice")

    no_ca = holdfast(*LIST, "--address", address, *mine)
    bad_ca = holdfast(*LIST, "--address", address, *mine, "--ca", str(nothing))
    missing = holdfast(*LIST, "--address", address, *mine, "--ca", str(nothing) + ".no")

    for result in (no_ca, bad_ca, missing):
        assert result.code == Exit.USAGE
        assert "--ca" in result.err


def test_a_socket_of_somebody_else_is_told(host, holdfast, monkeypatch):
    """Not for this user, and what to do about it."""
    monkeypatch.setattr("sidecar.cli.client.os.access", lambda *_: False)

    result = holdfast(*LIST)

    assert result.code == Exit.UNAVAILABLE
    assert "run it as root" in result.err


def test_a_socket_path_that_is_too_long_is_told(tmp_path):
    """The kernel's limit, not an endless wait."""
    options = ClientOptions(state_dir=str(tmp_path), runtime_dir="/" + "x" * 120)

    async def run() -> None:
        async with connect(options):
            raise AssertionError

    with pytest.raises(ConfigurationError, match="shorter"):
        asyncio.run(run())


def test_proxies_of_the_environment_see_no_orders(host, holdfast, monkeypatch):
    """An order to contain goes to control and nowhere else."""
    address = host.serve_tls("alice")
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert holdfast(*LIST, "--as", "alice", "--address", address).code == Exit.OK


# -- the address that control writes down ---------------------------------------------------------


def test_the_address_is_a_hint_that_may_be_missing_or_broken(tmp_path):
    """What cannot be read or is nonsense counts for nothing."""
    tmp_path.chmod(0o700)
    layout = StateLayout.of(tmp_path)

    assert control_address(layout, "0.0.0.0:7443") == "127.0.0.1:7443"
    with published_address(layout, "127.0.0.1:1234"):
        assert control_address(layout, "0.0.0.0:7443") == "127.0.0.1:1234"
    for nonsense in (b"", b"\xff", b"x", b"a b:1", b"\x1b[2J:1", os.urandom(4000)):
        (layout.control / "address").write_bytes(nonsense)
        assert control_address(layout, "[::]:7443") == "[::1]:7443"
    assert (layout.control.stat().st_mode & 0o777) == 0o700


def test_a_control_that_fails_to_start_leaves_the_address_of_the_one_that_runs(tmp_path):
    """The second one fails on the lock of the first; ``--as`` must still find the first."""
    tmp_path.chmod(0o700)
    layout = StateLayout.of(tmp_path)

    with (
        published_address(layout, "127.0.0.1:1"),
        pytest.raises(EnvironmentFailure),
        published_address(layout, "127.0.0.1:2"),
    ):
        raise EnvironmentFailure("another process writes the latch")

    assert control_address(layout, "127.0.0.1:3") == "127.0.0.1:1"


# -- errors ---------------------------------------------------------------------------------------

BARE = [
    (grpc.StatusCode.UNAVAILABLE, Exit.UNAVAILABLE),
    (grpc.StatusCode.DEADLINE_EXCEEDED, Exit.UNAVAILABLE),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, Exit.UNAVAILABLE),
    (grpc.StatusCode.PERMISSION_DENIED, Exit.DENIED),
    (grpc.StatusCode.UNAUTHENTICATED, Exit.DENIED),
    (grpc.StatusCode.INVALID_ARGUMENT, Exit.USAGE),
    (grpc.StatusCode.NOT_FOUND, Exit.FAILURE),
    (grpc.StatusCode.ALREADY_EXISTS, Exit.FAILURE),
    (grpc.StatusCode.FAILED_PRECONDITION, Exit.FAILURE),
    (grpc.StatusCode.UNIMPLEMENTED, Exit.FAILURE),
    (grpc.StatusCode.INTERNAL, Exit.FAILURE),
    (grpc.StatusCode.UNKNOWN, Exit.FAILURE),
    (grpc.StatusCode.DATA_LOSS, Exit.INTEGRITY),
]


def rpc_error(code: grpc.StatusCode, *metadata: tuple[str, bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(*metadata), details="what happened"
    )


@pytest.mark.parametrize(("code", "expected"), BARE)
def test_every_status_has_its_exit_code(code, expected):
    """Also those of gRPC itself, which carry no ErrorInfo."""
    error = error_of(rpc_error(code), where="control")

    assert exit_of(error) is expected


def test_every_status_is_mapped():
    """A new one would be a failure, never a success."""
    known = {code for code, _ in BARE}

    for code in set(grpc.StatusCode) - known - {grpc.StatusCode.OK}:
        assert exit_of(error_of(rpc_error(code), where="control")) is not Exit.OK


@pytest.mark.parametrize(
    "blob",
    [b"", b"\xff\xff\xff", b"\x08\x07" * 50, os.urandom(64)],
    ids=["empty", "all ones", "many codes", "noise"],
)
def test_details_that_are_no_details_change_nothing(blob):
    """A broken or hostile trailer is ignored, not believed and not fatal."""
    error = error_of(
        rpc_error(grpc.StatusCode.UNAVAILABLE, ("grpc-status-details-bin", blob)), where="control"
    )

    assert isinstance(error, EnvironmentFailure)
    assert error.reason is ErrorReason.CONTROL_UNAVAILABLE


def test_a_reason_of_a_later_version_is_understood_by_its_status():
    """Old clients keep working when control learns a new reason."""
    from google.rpc import error_details_pb2, status_pb2

    status = status_pb2.Status(code=7, message="no")
    info = error_details_pb2.ErrorInfo(reason="NEW_REASON", domain="holdfast")
    info.metadata["hint"] = "do this"
    status.details.add().Pack(info)
    foreign = status_pb2.Status()
    foreign.details.add().Pack(error_details_pb2.ErrorInfo(reason="X", domain="elsewhere"))

    ours = error_of(
        rpc_error(
            grpc.StatusCode.PERMISSION_DENIED,
            ("grpc-status-details-bin", status.SerializeToString()),
        ),
        where="control",
    )
    theirs = error_of(
        rpc_error(
            grpc.StatusCode.NOT_FOUND, ("grpc-status-details-bin", foreign.SerializeToString())
        ),
        where="control",
    )

    assert exit_of(ours) is Exit.DENIED
    assert ours.hint == "do this"
    assert exit_of(theirs) is Exit.FAILURE
    assert theirs.hint == ""

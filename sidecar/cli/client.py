# SPDX-License-Identifier: Apache-2.0
"""How the commands reach control.

Laws:

1. Every call has a deadline; a stream has one until it has begun.
2. Nothing is guessed about who we are: the local socket (root, or whoever runs control), a client
   certificate that was named, an API token in a file that was named, or, for development, the
   certificate that ``--as`` names. A token is never taken from the command line.
3. A mistake in a settings file must not stand between an operator and the kill switch: what is
   right in it is used to find control, and the rest is told.
4. What the server says travels on as one of our own errors: message, reason, hint.
"""

from __future__ import annotations

import asyncio
import os
import re
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidecar.api.v1 import (
    account_pb2_grpc,
    agent_pb2_grpc,
    api_token_pb2_grpc,
    approval_pb2_grpc,
    audit_pb2_grpc,
    containment_pb2_grpc,
    incident_pb2_grpc,
    investigation_pb2_grpc,
    operation_pb2_grpc,
    policy_pb2_grpc,
    token_pb2_grpc,
)
from sidecar.cli.endpoint import control_address
from sidecar.cli.output import talk
from sidecar.documents import did_you_mean, short
from sidecar.errors import (
    ConfigurationError,
    ConflictError,
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    IntegrityError,
    NotFoundError,
    PreconditionError,
    RefusedError,
    UntrustedInputError,
)
from sidecar.layout import StateLayout
from sidecar.safe_paths import read_secret_file
from sidecar.settings import locate_state, split_address

__all__ = [
    "TOKEN_VARIABLE",
    "ClientOptions",
    "ControlClient",
    "connect",
    "connected",
    "error_of",
    "health_status",
    "local_client",
]

_DETAILS_KEY: Final = "grpc-status-details-bin"
_DOMAIN: Final = "holdfast"
_MAX_UNIX_PATH: Final = 107
_MIN_TIMEOUT_S, _MAX_TIMEOUT_S = 0.1, 600.0
_MAX_PEM: Final = 256 * 1024
_MAX_TOKEN: Final = 1024
_TOKEN: Final = re.compile(r"hfat_[a-z2-7]{12}_[A-Za-z0-9_-]{43}").fullmatch
TOKEN_VARIABLE: Final = "HOLDFAST_API_TOKEN_FILE"  # noqa: S105 - names a file
CHANNEL_OPTIONS: Final = (
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),  # a proxy in the environment must not see an order to contain
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """What the command line says about where control is and who calls it."""

    is_local: bool = False
    address: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    operator: str | None = None
    token_file: Path | None = None
    timeout_s: float = 10.0
    config: Path | None = None
    state_dir: str | None = None
    runtime_dir: str | None = None

    def locate(self) -> tuple[StateLayout, str]:
        """Return the layout and ``listen`` of this host's Holdfast (law 3)."""
        layout, listen, problems = locate_state(
            flags={"state_dir": self.state_dir, "runtime_dir": self.runtime_dir},
            config=self.config,
        )
        for problem in problems:
            talk(f"warning: {problem}; going on without it", style="yellow")
        return layout, listen


def connected(function: Callable[..., T]) -> Callable[..., T]:
    """Give a command the options that reach control; it gets them as ``options``."""

    @wraps(function)
    def wrapper(**kwargs: Any) -> T:
        names = {name: kwargs.pop(f"client_{name}") for name in _OPTION_NAMES}
        options = _with_token_of_environment(ClientOptions(**names))
        _check(options)
        return function(options=options, **kwargs)

    path = click.Path(path_type=Path)
    for option in reversed(
        (
            click.option("--local", "client_is_local", is_flag=True,
                         help="Over the root-only socket: works with the network down."),
            click.option("--address", "client_address", metavar="HOST:PORT",
                         help="Control's TLS address."),
            click.option("--cert", "client_certificate", type=path,
                         help="Your client certificate, PEM."),
            click.option("--key", "client_key", type=path, help="Its private key, mode 0600."),
            click.option("--ca", "client_ca", type=path, help="CA of control's certificate."),
            click.option("--as", "client_operator", metavar="NAME",
                         help="Operator whose development certificate to use (--dev only)."),
            click.option("--api-token-file", "client_token_file", type=path, metavar="FILE",
                         help="File with an API token, mode 0600. With --address alone: "
                         f"${TOKEN_VARIABLE}."),
            click.option("--timeout", "client_timeout_s", metavar="SECONDS", default=10.0,
                         type=float, show_default=True,
                         help="How long to wait for control."),
            click.option("--config", "client_config", type=path, help="Settings file."),
            click.option("--state-dir", "client_state_dir", help="State directory of this host."),
            click.option("--runtime-dir", "client_runtime_dir", help="Where the sockets lie."),
        )
    ):  # fmt: skip
        wrapper = option(wrapper)
    return wrapper


_OPTION_NAMES: Final = (
    "is_local", "address", "certificate", "key", "ca", "operator", "token_file", "timeout_s",
    "config", "state_dir", "runtime_dir",
)  # fmt: skip


def _with_token_of_environment(options: ClientOptions) -> ClientOptions:
    """Let the environment name the token file where an address, and nothing else, was given."""
    named = os.environ.get(TOKEN_VARIABLE)
    given = (options.certificate, options.key, options.operator, options.token_file)
    if not named or options.address is None or any(item is not None for item in given):
        return options
    return replace(options, token_file=Path(named))


def _check(options: ClientOptions) -> None:
    if not _MIN_TIMEOUT_S <= options.timeout_s <= _MAX_TIMEOUT_S:  # nan is not, either
        raise click.UsageError(f"--timeout is {_MIN_TIMEOUT_S} to {_MAX_TIMEOUT_S} seconds")
    over_tls = (
        options.address, options.certificate, options.key, options.ca, options.operator,
        options.token_file,
    )  # fmt: skip
    if options.is_local and any(item is not None for item in over_tls):
        raise click.UsageError(
            "--local is the root-only socket: it takes no certificate, token or address"
        )
    if options.operator is not None and (options.certificate or options.key):
        raise click.UsageError("--as names a certificate: leave --cert and --key out")
    if (options.certificate is None) != (options.key is None):
        raise click.UsageError("--cert and --key belong together")
    if options.address is not None:
        try:
            split_address(options.address)
        except ValueError as exc:
            raise click.UsageError(f"--address: {exc}") from exc
        if options.operator is None and options.certificate is None and options.token_file is None:
            raise click.UsageError(
                "--address needs --cert and --key, --api-token-file, or --as NAME"
            )
    elif (
        options.token_file is not None and options.operator is None and options.certificate is None
    ):
        raise click.UsageError("--api-token-file alone needs --address: where `token_listen` says")


class ControlClient:
    """The services of one control, over one connection."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout_s: float, where: str) -> None:
        self.containment = containment_pb2_grpc.ContainmentServiceStub(channel)
        self.tokens = token_pb2_grpc.TokenServiceStub(channel)
        self.agents = agent_pb2_grpc.AgentServiceStub(channel)
        self.policy = policy_pb2_grpc.PolicyServiceStub(channel)
        self.audit = audit_pb2_grpc.AuditServiceStub(channel)
        self.approvals = approval_pb2_grpc.ApprovalServiceStub(channel)
        self.operations = operation_pb2_grpc.OperationServiceStub(channel)
        self.investigation = investigation_pb2_grpc.InvestigationServiceStub(channel)
        self.incidents = incident_pb2_grpc.IncidentServiceStub(channel)
        self.accounts = account_pb2_grpc.AccountServiceStub(channel)
        self.api_tokens = api_token_pb2_grpc.ApiTokenServiceStub(channel)
        self.where = where
        self._timeout_s = timeout_s

    async def ask(
        self, method: Callable[..., Awaitable[Any]], request: Any, *, longer_s: float = 0.0
    ) -> Any:
        """Return what *method* of one of the services answers to *request* (laws 1 and 4).

        Args:
            method: Of one of the stubs.
            request: What is asked.
            longer_s: How much longer than usual the answer may take, because it waits for somebody.

        Raises:
            HoldfastError: It was refused, failed, or did not answer in time.
        """
        try:
            return await method(request, timeout=self._timeout_s + longer_s)
        except grpc.aio.AioRpcError as exc:
            raise error_of(exc, where=self.where) from exc

    async def stream(self, method: Callable[..., Any], request: Any) -> AsyncIterator[Any]:
        """Yield what *method* streams, until the server ends it (laws 1 and 4).

        Raises:
            HoldfastError: It was refused, did not begin in time, or broke off.
        """
        call = method(request)
        try:
            async with asyncio.timeout(self._timeout_s):
                await call.wait_for_connection()
            async for message in call:
                yield message
        except TimeoutError as exc:
            raise EnvironmentFailure(
                f"{self.where} did not answer in time", reason=ErrorReason.DEADLINE
            ) from exc
        except grpc.aio.AioRpcError as exc:
            raise error_of(exc, where=self.where) from exc
        finally:
            call.cancel()


@asynccontextmanager
async def connect(options: ClientOptions) -> AsyncIterator[ControlClient]:
    """Connect as the options say (law 2).

    Raises:
        HoldfastError: There is no way to reach control, or the certificate cannot be used.
    """
    async with _channel(options) as (channel, where):
        yield ControlClient(channel, timeout_s=options.timeout_s, where=where)


@asynccontextmanager
async def _channel(options: ClientOptions) -> AsyncIterator[tuple[grpc.aio.Channel, str]]:
    layout, listen = options.locate()
    shown = (options.operator, options.certificate, options.token_file)
    if any(item is not None for item in shown):
        address = options.address or control_address(layout, listen)
        credentials = _credentials(options, layout)
        channel = grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
        where = f"control at {address}"
    else:
        path = _local_socket(layout, is_asked_for=options.is_local)
        channel = grpc.aio.insecure_channel(f"unix:{path}", options=CHANNEL_OPTIONS)
        where = f"control at {path}"
    async with channel:
        yield channel, where


async def health_status(options: ClientOptions, address: str) -> tuple[str, str]:
    """Return where was asked, and SERVING, NOT_SERVING, … or UNREACHABLE.

    Args:
        options: How to reach control, if *address* is empty or of the form host:port.
        address: A socket's path (``unix:`` or not), host:port, or empty for control.
    """
    path = address.removeprefix("unix:")
    if path and (path != address or "/" in path):
        target = Path(path).absolute()
        async with grpc.aio.insecure_channel(f"unix:{target}", options=CHANNEL_OPTIONS) as channel:
            return str(target), await _health(channel, options.timeout_s)
    if address:
        options = replace(options, address=address)
        _check(options)
    try:
        async with _channel(options) as (channel, where):
            return where, await _health(channel, options.timeout_s)
    except EnvironmentFailure as exc:
        if exc.reason is not ErrorReason.CONTROL_UNAVAILABLE:
            raise
        return exc.message, "UNREACHABLE"


async def _health(channel: grpc.aio.Channel, timeout_s: float) -> str:
    stub = health_pb2_grpc.HealthStub(channel)
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
    except grpc.aio.AioRpcError:
        return "UNREACHABLE"
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


@asynccontextmanager
async def local_client(
    layout: StateLayout, *, timeout_s: float
) -> AsyncIterator[ControlClient | None]:
    """Connect to the local socket if this user may; else yield None."""
    if not _is_accessible(layout.local_socket):
        yield None
        return
    path = layout.local_socket
    async with grpc.aio.insecure_channel(f"unix:{path}", options=CHANNEL_OPTIONS) as channel:
        yield ControlClient(channel, timeout_s=timeout_s, where=f"control at {path}")


def _is_accessible(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode) and os.access(path, os.R_OK | os.W_OK)
    except OSError:
        return False


def _local_socket(layout: StateLayout, *, is_asked_for: bool) -> Path:
    path = layout.local_socket
    if len(os.fsencode(path)) > _MAX_UNIX_PATH:
        raise ConfigurationError(
            f"the socket path {path} has more than {_MAX_UNIX_PATH} bytes",
            hint="choose a shorter --runtime-dir",
        )
    if _is_accessible(path):
        return path
    try:
        path.lstat()
        problem, hint = "is not for this user", "run it as root, or as the user of control"
    except PermissionError:
        problem, hint = "is not for this user", "run it as root, or as the user of control"
    except OSError:
        problem, hint = "is not there", "start control (`holdfast up --dev` to try it out)"
    if not is_asked_for:
        hint += "; or name it with --address, --cert, --key and --ca"
    raise EnvironmentFailure(
        f"control's local socket {path} {problem}",
        reason=ErrorReason.CONTROL_UNAVAILABLE,
        hint=hint,
    )


def _credentials(options: ClientOptions, layout: StateLayout) -> grpc.ChannelCredentials:
    certificate, key, ca = options.certificate, options.key, options.ca
    if options.operator is not None:
        certificate, key, own_ca = _development_files(layout.pki, options.operator)
        ca = ca or own_ca
    if ca is None:
        raise ConfigurationError(
            "is missing", key="--ca", hint="name the CA that signed control's certificate"
        )
    credentials = grpc.ssl_channel_credentials(
        root_certificates=_read_pem(ca, "--ca"),
        private_key=read_secret_file(key) if key is not None else None,
        certificate_chain=_read_pem(certificate, "--cert") if certificate is not None else None,
    )
    if options.token_file is None:
        return credentials
    token = grpc.access_token_call_credentials(_read_token(options.token_file))
    return grpc.composite_channel_credentials(credentials, token)


def _read_token(path: Path) -> str:
    text = read_secret_file(path, max_bytes=_MAX_TOKEN).decode("ascii", "replace").strip()
    if not _TOKEN(text):
        raise ConfigurationError(
            f"{path} holds no API token",
            key="--api-token-file",
            hint="make one with `holdfast api-tokens create … --secret-file FILE`",
        )
    return text


def _development_files(pki: Path, operator: str) -> tuple[Path, Path, Path]:
    """Return certificate, key and CA of *operator* in the development PKI."""
    try:
        names = sorted(path.stem for path in pki.glob("*.key") if path.stem not in {"ca", "server"})
    except OSError:
        names = []
    if operator not in names:
        raise ConfigurationError(
            f"there is no development certificate of {short(operator)} in {pki}",
            key="--as",
            hint=did_you_mean(operator, names)
            or (f"there are: {', '.join(names)}" if names else "start control with --dev first"),
        )
    return pki / f"{operator}.pem", pki / f"{operator}.key", pki / "ca.pem"


def _read_pem(path: Path, flag: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_PEM + 1)
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc.strerror}", key=flag) from exc
    if len(data) > _MAX_PEM or b"-----BEGIN CERTIFICATE-----" not in data:
        raise ConfigurationError(f"{path} holds no PEM certificate", key=flag)
    return data


# -- errors ---------------------------------------------------------------------------------------

_FAMILIES: Final[dict[grpc.StatusCode, type[HoldfastError]]] = {
    grpc.StatusCode.PERMISSION_DENIED: RefusedError,
    grpc.StatusCode.UNAUTHENTICATED: RefusedError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: ConflictError,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionError,
    grpc.StatusCode.ABORTED: PreconditionError,
    grpc.StatusCode.INVALID_ARGUMENT: UntrustedInputError,
    grpc.StatusCode.OUT_OF_RANGE: UntrustedInputError,
    grpc.StatusCode.UNAVAILABLE: EnvironmentFailure,
    grpc.StatusCode.DEADLINE_EXCEEDED: EnvironmentFailure,
    grpc.StatusCode.RESOURCE_EXHAUSTED: EnvironmentFailure,
    grpc.StatusCode.DATA_LOSS: IntegrityError,
}


def error_of(error: grpc.aio.AioRpcError, *, where: str) -> HoldfastError:
    """Return *error* as one of ours, with what ``google.rpc.ErrorInfo`` adds to it."""
    code = error.code()
    family = _FAMILIES.get(code, HoldfastError)
    info = _error_info(error)
    message = error.details() or code.name
    if info is not None:
        known = info.reason if info.reason in ErrorReason.__members__ else None
        reason = ErrorReason(known) if known else None
        if reason is ErrorReason.INTEGRITY_BROKEN:
            family = IntegrityError
        return family(message, reason=reason, hint=info.metadata.get("hint", ""))
    match code:
        case grpc.StatusCode.UNAVAILABLE:
            return family(
                f"{where} does not answer: {message}",
                reason=ErrorReason.CONTROL_UNAVAILABLE,
                hint="is it running? `holdfast doctor` looks",
            )
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return family(
                f"{where} did not answer in time; whether it acted is not known",
                reason=ErrorReason.DEADLINE,
                hint="ask again with the same --request-id; see `holdfast directives list`",
            )
        case grpc.StatusCode.UNIMPLEMENTED:
            return family(f"{where} does not offer this", hint="is it of an older version?")
        case _:
            return family(f"{where} answered {code.name}: {message}")


def _error_info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo | None:
    for key, value in error.trailing_metadata() or ():
        if key != _DETAILS_KEY or not isinstance(value, bytes):
            continue
        status = status_pb2.Status()
        info = error_details_pb2.ErrorInfo()
        try:
            status.ParseFromString(value)
            for detail in status.details:
                if detail.Unpack(info) and info.domain == _DOMAIN:
                    return info
        except DecodeError:
            return None
    return None

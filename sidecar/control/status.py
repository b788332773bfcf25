# SPDX-License-Identifier: Apache-2.0
"""Domain errors as gRPC statuses with ``google.rpc.ErrorInfo`` (AIP-193). One table, one place."""

from __future__ import annotations

from typing import Final, NoReturn

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2

from sidecar.documents import DocumentErrors
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

__all__ = ["DETAILS_KEY", "DOMAIN", "abort_with", "status_of"]

DOMAIN: Final = "holdfast"
DETAILS_KEY: Final = "grpc-status-details-bin"
_MAX_MESSAGE: Final = 1200
"""Characters: the message travels twice, in metadata that clients limit to 8 KiB."""

_BY_TYPE: Final[tuple[tuple[type[HoldfastError], grpc.StatusCode], ...]] = (
    (RefusedError, grpc.StatusCode.PERMISSION_DENIED),
    (NotFoundError, grpc.StatusCode.NOT_FOUND),
    (ConflictError, grpc.StatusCode.ALREADY_EXISTS),
    (PreconditionError, grpc.StatusCode.FAILED_PRECONDITION),
    (UntrustedInputError, grpc.StatusCode.INVALID_ARGUMENT),
    (EnvironmentFailure, grpc.StatusCode.UNAVAILABLE),
    (HoldfastError, grpc.StatusCode.INTERNAL),
)


def status_of(error: HoldfastError) -> grpc.StatusCode:
    """Return the status code that *error* travels as."""
    if error.reason is ErrorReason.UNAUTHENTICATED:
        return grpc.StatusCode.UNAUTHENTICATED
    if error.reason is ErrorReason.WIDE_BLAST:
        return grpc.StatusCode.FAILED_PRECONDITION
    return next(code for kind, code in _BY_TYPE if isinstance(error, kind))


async def abort_with(context: grpc.aio.ServicerContext, error: HoldfastError) -> NoReturn:
    """End the RPC with *error*: message, stable reason and hint."""
    code, message = status_of(error), _message(error)
    status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    if error.hint:
        info.metadata["hint"] = error.hint
    status.details.add().Pack(info)
    await context.abort(
        code, message, trailing_metadata=((DETAILS_KEY, status.SerializeToString()),)
    )
    raise AssertionError  # abort always raises; this tells the type checker


def _message(error: HoldfastError) -> str:
    """Return what is wrong; of a bundle every place, because the first may only follow from another."""
    if isinstance(error, DocumentErrors) and len(error.all) > 1:
        return str(error)[:_MAX_MESSAGE]
    return error.message

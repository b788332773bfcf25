# SPDX-License-Identifier: Apache-2.0
"""Errors as the Connect protocol says them: the code of gRPC, its status in HTTP, reason and hint."""

from __future__ import annotations

import base64

import grpc
import pytest
from google.rpc import error_details_pb2

from sidecar.control.status import status_of
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
from sidecar.jsonapi.errors import HTTP_STATUS, ApiError, error_body

CASES = [
    (RefusedError("x"), "permission_denied", 403),
    (RefusedError("x", reason=ErrorReason.UNAUTHENTICATED), "unauthenticated", 401),
    (RefusedError("x", reason=ErrorReason.WIDE_BLAST), "failed_precondition", 400),
    (NotFoundError("x"), "not_found", 404),
    (ConflictError("x"), "already_exists", 409),
    (PreconditionError("x"), "failed_precondition", 400),
    (UntrustedInputError("x"), "invalid_argument", 400),
    (ConfigurationError("x"), "invalid_argument", 400),
    (EnvironmentFailure("x"), "unavailable", 503),
    (IntegrityError("x"), "internal", 500),
]


@pytest.mark.parametrize(
    ("error", "code", "status"), CASES, ids=[f"{type(c[0]).__name__}-{c[1]}" for c in CASES]
)
def test_code_and_status_are_those_of_grpc(error: HoldfastError, code: str, status: int) -> None:
    """The code is gRPC's, the status the one that Connect has for it."""
    found = ApiError.of(error)

    assert (found.code, found.http_status) == (code, status)
    assert found.code == status_of(error).name.lower()


def test_every_grpc_code_has_a_status() -> None:
    """Whatever gRPC may answer can be said here."""
    names = {code.name.lower() for code in grpc.StatusCode} - {"ok", "cancelled"}

    assert names | {"canceled"} == set(HTTP_STATUS)


def test_details_are_an_error_info() -> None:
    """Reason, domain and hint stand there for programs, as bytes and as JSON."""
    error = ApiError.of(NotFoundError("no such agent", hint="list the agents"))

    body = error_body(error)

    detail = body["details"][0]
    value = detail["value"]
    info = error_details_pb2.ErrorInfo.FromString(base64.b64decode(value + "=" * (-len(value) % 4)))
    assert (body["code"], body["message"]) == ("not_found", "no such agent")
    assert detail["type"] == "google.rpc.ErrorInfo"
    assert not value.endswith("=")
    assert (info.reason, info.domain) == ("NOT_FOUND", "holdfast")
    assert dict(info.metadata) == {"hint": "list the agents"}
    assert detail["debug"] == {
        "reason": "NOT_FOUND",
        "domain": "holdfast",
        "metadata": {"hint": "list the agents"},
    }


def test_an_error_can_be_raised_through_a_context_manager() -> None:
    """Python writes the traceback into it."""
    with pytest.raises(ApiError) as caught:
        raise ApiError(code="internal", message="x")

    assert caught.value.http_status == 500
    assert "details" not in error_body(caught.value)

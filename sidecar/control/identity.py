# SPDX-License-Identifier: Apache-2.0
"""Who is calling the control plane. Identity comes from the transport and from nothing else.

Laws:
1. Over TLS, the caller is the one URI SAN of its client certificate, which must be a strictly formed
   SPIFFE id and must be named, exactly, in ``operators.yaml``. DNS names, common names and metadata
   are not looked at. Two URI SANs are nobody.
2. The certificate's validity is checked at every RPC: a connection outlives the certificate it began
   with (gRPC checks only at the handshake).
3. The local socket belongs to root (or whoever runs control) by file permission; its caller is the
   operator ``local``: break-glass and nothing that needs a second human.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from functools import lru_cache
from typing import Any, Final, Protocol

import grpc
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.errors import ErrorReason, RefusedError, UntrustedInputError
from sidecar.identifiers import check_spiffe_id
from sidecar.model import Operator, OperatorKind, Role

__all__ = ["LOCAL_OPERATOR", "CallerIdentity", "LocalIdentity", "TlsIdentity"]

LOCAL_OPERATOR: Final = Operator(
    name="local",
    kind=OperatorKind.HUMAN,
    human_id="local",
    roles=frozenset({Role.CONTAIN, Role.BREAK_GLASS, Role.AUDIT_READ, Role.ADMIN}),
    identity="unix socket",
    is_local=True,
)


class CallerIdentity(Protocol):
    """How one listener knows its callers."""

    def operator(self, context: grpc.aio.ServicerContext) -> Operator:
        """Return who calls.

        Raises:
            RefusedError: Nobody we know, or with a certificate that is not valid now.
        """


class LocalIdentity:
    """Callers of the root-only local socket (law 3)."""

    def operator(self, context: grpc.aio.ServicerContext) -> Operator:
        return LOCAL_OPERATOR


class OperatorsSource(Protocol):
    """Where the operators in force come from; a reload changes the answer."""

    def operators(self) -> Mapping[str, Operator]:
        """Return the operators by identity."""


class TlsIdentity:
    """Callers of the TLS listener (laws 1 and 2)."""

    def __init__(self, *, operators: OperatorsSource, clock: Clock) -> None:
        self._operators = operators
        self._clock = clock

    def operator(self, context: grpc.aio.ServicerContext) -> Operator:
        auth: Mapping[str, Any] = context.auth_context() or {}
        pem = _only(auth.get("x509_pem_cert"))
        if pem is None:
            raise _unauthenticated("no client certificate was presented")
        identity, not_before, not_after = _read_certificate(bytes(pem))
        now = self._clock.wall_ns() // NS_PER_SECOND
        if not not_before <= now <= not_after:
            raise _unauthenticated("the client certificate is not valid now")
        if identity is None:
            raise _unauthenticated("the client certificate must carry exactly one URI SAN")
        try:
            check_spiffe_id(identity)
        except UntrustedInputError as exc:
            raise _unauthenticated("the certificate's URI SAN is not a strict SPIFFE id") from exc
        operator = self._operators.operators().get(identity)
        if operator is None:
            raise RefusedError(
                f"operators.yaml names no operator with the identity {identity}",
                reason=ErrorReason.PERMISSION_MISSING,
                hint="add the operator to the bundle and reload it",
            )
        return operator


def _unauthenticated(message: str) -> RefusedError:
    return RefusedError(
        message,
        reason=ErrorReason.UNAUTHENTICATED,
        hint="present a valid client certificate of this control's operator CA",
    )


def _only(values: Any) -> Any | None:
    return values[0] if values is not None and len(values) == 1 else None


@lru_cache(maxsize=256)
def _read_certificate(pem: bytes) -> tuple[str | None, int, int]:
    """Return the only URI SAN (or None) and the validity in Unix seconds; pure, so cached."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        extension = certificate.extensions.get_extension_for_oid(
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME
        ).value
        assert isinstance(extension, x509.SubjectAlternativeName)  # noqa: S101 - by its OID
        uris = extension.get_values_for_type(x509.UniformResourceIdentifier)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return None, 0, 2**62
    not_before = certificate.not_valid_before_utc.astimezone(UTC).timestamp()
    not_after = certificate.not_valid_after_utc.astimezone(UTC).timestamp()
    return (uris[0] if len(uris) == 1 else None), int(not_before), int(not_after)

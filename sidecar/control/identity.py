# SPDX-License-Identifier: Apache-2.0
"""Who is calling the control plane. Identity comes from the connection or from an API token.

Laws:
1. A certificate names its caller by its one URI SAN, which must be a strictly formed SPIFFE id and
   must be named, exactly, in ``operators.yaml``. DNS names, common names and metadata are not looked
   at. Two URI SANs are nobody.
2. The certificate's validity is checked at every call: a connection outlives the certificate it began
   with (gRPC checks only at the handshake). So are a token's expiry, its revocation, and what its
   operator is by now.
3. The local socket belongs to root (or whoever runs control) by file permission; its caller is the
   operator ``local``: break-glass and nothing that needs a second human.
4. A token is ``authorization: Bearer …``, once. Whoever shows a certificate too must be the same
   operator, and has the token's rights, not the certificate's: a credential that is shown is never
   ignored. Anything that is no good token gets one and the same answer.
5. Whoever calls with a token is automation with some of its operator's roles, never more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

__all__ = [
    "AUTHORIZATION",
    "LOCAL_OPERATOR",
    "CallerIdentity",
    "Identities",
    "LocalIdentity",
    "TlsIdentity",
    "TokenIdentity",
    "TokenSource",
    "one_authorization",
]

AUTHORIZATION: Final = "authorization"
"""Name of the header, or of the gRPC metadata, that a token comes in."""

LOCAL_OPERATOR: Final = Operator(
    name="local",
    kind=OperatorKind.HUMAN,
    human_id="local",
    roles=frozenset({Role.CONTAIN, Role.BREAK_GLASS, Role.AUDIT_READ, Role.ADMIN}),
    identity="unix socket",
    is_local=True,
)

_TWO_HEADERS: Final = "\x00"  # as good as any other header that is no token


class CallerIdentity(Protocol):
    """How one listener knows its callers."""

    def operator(self, context: grpc.aio.ServicerContext) -> Operator:
        """Return who calls.

        Raises:
            RefusedError: Nobody we know, or with a credential that is not valid now.
        """


class OperatorsSource(Protocol):
    """Where the operators in force come from; a reload changes the answer."""

    def operators(self) -> Mapping[str, Operator]:
        """Return the operators by identity."""


class TokenSource(Protocol):
    """What knows API tokens."""

    def authenticate(self, authorization: str, operators: Mapping[str, Operator]) -> Operator:
        """Return the operator of *operators* that the header's token acts for, as it may act.

        Raises:
            RefusedError: It is no token that works now.
            EnvironmentFailure: Nobody knows whether it is one.
        """


class Identities:
    """From what a caller shows over TLS to the operator it is; the same for gRPC and HTTP.

    Args:
        operators: The operators in force.
        clock: Time.
        tokens: What knows API tokens; None where none are taken.
    """

    def __init__(
        self, *, operators: OperatorsSource, clock: Clock, tokens: TokenSource | None = None
    ) -> None:
        self._operators = operators
        self._clock = clock
        self._tokens = tokens

    def of_peer(self, *, certificate_pem: bytes | None, authorization: str | None) -> Operator:
        """Return who shows this certificate, this token, or both (law 4).

        Args:
            certificate_pem: The client certificate that the handshake verified, if there was one.
            authorization: The header (``one_authorization``), if there was one.

        Raises:
            RefusedError: Nobody we know, or with a credential that is not valid now.
            EnvironmentFailure: Nobody knows which tokens there are.
        """
        by_certificate = None if certificate_pem is None else self._of_certificate(certificate_pem)
        if authorization is None:
            if by_certificate is None:
                raise _unauthenticated("no credential was presented")
            return by_certificate
        if self._tokens is None:
            raise _unauthenticated("API tokens are not taken here")
        by_token = self._tokens.authenticate(authorization, self._operators.operators())
        if by_certificate is not None and by_certificate.identity != by_token.identity:
            raise _unauthenticated("certificate and API token are of different operators")
        return by_token

    def _of_certificate(self, pem: bytes) -> Operator:
        """Laws 1 and 2."""
        identity, not_before, not_after = _read_certificate(pem)
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


class LocalIdentity:
    """Callers of the root-only local socket (law 3)."""

    def operator(self, context: grpc.aio.ServicerContext) -> Operator:
        return LOCAL_OPERATOR


class TlsIdentity:
    """Callers of the mutual TLS listener: a certificate, and a token beside it if there is one."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities

    def operator(self, context: grpc.aio.ServicerContext) -> Operator:
        auth: Mapping[str, Any] = context.auth_context() or {}
        pem = _only(auth.get("x509_pem_cert"))
        if pem is None:
            raise _unauthenticated("no client certificate was presented")
        return self._identities.of_peer(
            certificate_pem=bytes(pem), authorization=_authorization_in(context)
        )


class TokenIdentity:
    """Callers of the token listener: a token and nothing else."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities

    def operator(self, context: grpc.aio.ServicerContext) -> Operator:
        return self._identities.of_peer(
            certificate_pem=None, authorization=_authorization_in(context)
        )


def one_authorization(values: Sequence[str]) -> str | None:
    """Return the one authorization header, None if there is none; of several, one that is no token."""
    if len(values) > 1:
        return _TWO_HEADERS
    return values[0] if values else None


def _authorization_in(context: grpc.aio.ServicerContext) -> str | None:
    metadata: Any = context.invocation_metadata() or ()
    return one_authorization([str(value) for key, value in metadata if key == AUTHORIZATION])


def _unauthenticated(message: str) -> RefusedError:
    return RefusedError(
        message,
        reason=ErrorReason.UNAUTHENTICATED,
        hint="present a valid client certificate of this control's operator CA, or an API token",
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

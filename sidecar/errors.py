# SPDX-License-Identifier: Apache-2.0
"""The exception families, kept apart so that one is never mistaken for another.

* **Misuse** of our own interfaces raises ``ValueError``/``RuntimeError`` as everywhere in Python.
* ``UntrustedInputError``: bytes from outside are not what they must be. Says where and what to do.
* ``EnvironmentFailure``: the machine under us failed (disk, clock, socket, permissions).

A *denial is not an error*: it is a ``sidecar.model.Decision``. Each error carries a ``reason``
(stable, upper snake case, goes into ``google.rpc.ErrorInfo``) and a ``hint`` (what to do about it).
Neither may ever hold a secret.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "DocumentError",
    "EnvironmentFailure",
    "ErrorReason",
    "HoldfastError",
    "IntegrityError",
    "NotDurableError",
    "NotFoundError",
    "PreconditionError",
    "RefusedError",
    "UntrustedInputError",
]


class ErrorReason(StrEnum):
    """Stable machine-readable causes. Add at the end of a group; never rename, never reuse."""

    # untrusted input
    MALFORMED = "MALFORMED"
    INVALID_DOCUMENT = "INVALID_DOCUMENT"
    INVALID_BUNDLE = "INVALID_BUNDLE"
    INVALID_CONFIGURATION = "INVALID_CONFIGURATION"
    INVALID_CERTIFICATE = "INVALID_CERTIFICATE"
    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    # refused to an operator
    PERMISSION_MISSING = "PERMISSION_MISSING"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    SECOND_HUMAN_NEEDED = "SECOND_HUMAN_NEEDED"
    WIDE_BLAST = "WIDE_BLAST"
    SELF_APPROVAL = "SELF_APPROVAL"
    NOT_AN_APPROVER = "NOT_AN_APPROVER"
    PASSKEY_NEEDED = "PASSKEY_NEEDED"
    PASSKEY_INVALID = "PASSKEY_INVALID"
    FINGERPRINT_MISMATCH = "FINGERPRINT_MISMATCH"
    REASON_NEEDED = "REASON_NEEDED"
    NO_APPROVER = "NO_APPROVER"
    CROSS_SITE = "CROSS_SITE"
    # state
    NOT_FOUND = "NOT_FOUND"
    REQUEST_ID_CONFLICT = "REQUEST_ID_CONFLICT"
    DIRECTIVE_SUPERSEDED = "DIRECTIVE_SUPERSEDED"
    ALREADY_RELEASED = "ALREADY_RELEASED"
    APPROVAL_CLOSED = "APPROVAL_CLOSED"
    ALREADY_VOTED = "ALREADY_VOTED"
    NO_CHANNEL = "NO_CHANNEL"
    APPROVAL_LIMIT = "APPROVAL_LIMIT"
    POLICY_CHANGED = "POLICY_CHANGED"
    # environment
    NOT_DURABLE = "NOT_DURABLE"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    LATCH_UNAVAILABLE = "LATCH_UNAVAILABLE"
    AUDIT_UNAVAILABLE = "AUDIT_UNAVAILABLE"
    UNSAFE_PATH = "UNSAFE_PATH"
    SOCKET_UNAVAILABLE = "SOCKET_UNAVAILABLE"
    CONTROL_UNAVAILABLE = "CONTROL_UNAVAILABLE"
    INTEGRITY_BROKEN = "INTEGRITY_BROKEN"
    DEADLINE = "DEADLINE"
    CLOCK_UNSTABLE = "CLOCK_UNSTABLE"
    ISSUER_UNAVAILABLE = "ISSUER_UNAVAILABLE"


class HoldfastError(Exception):
    """Base of every error Holdfast raises on purpose.

    Args:
        message: One sentence: what is wrong, and where.
        reason: Stable cause, for programs.
        hint: One sentence: what to do about it, for people.
    """

    default_reason = ErrorReason.INVALID_ARGUMENT

    def __init__(self, message: str, *, reason: ErrorReason | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UntrustedInputError(HoldfastError):
    """Bytes from outside are not what they must be."""

    default_reason = ErrorReason.MALFORMED


class DocumentError(UntrustedInputError):
    """A file a person wrote (bundle, configuration) is wrong; names file, line and key.

    ``str()`` reads ``tools.yaml:12: tools.send_money.class: "wirte" is not one of … (hint)``.
    """

    default_reason = ErrorReason.INVALID_DOCUMENT

    def __init__(
        self,
        message: str,
        *,
        path: str = "",
        line: int | None = None,
        key: str = "",
        hint: str = "",
        reason: ErrorReason | None = None,
    ) -> None:
        place = path + (f":{line}" if line is not None else "")
        prefix = ": ".join(part for part in (place, key) if part)
        super().__init__(f"{prefix}: {message}" if prefix else message, reason=reason, hint=hint)
        self.path = path
        self.line = line
        self.key = key


class ConfigurationError(DocumentError):
    """The process was configured wrongly (file, environment variable or flag)."""

    default_reason = ErrorReason.INVALID_CONFIGURATION


class RefusedError(HoldfastError):
    """An operator may not do this; becomes PERMISSION_DENIED or UNAUTHENTICATED."""

    default_reason = ErrorReason.PERMISSION_MISSING


class NotFoundError(HoldfastError):
    """The named thing does not exist; becomes NOT_FOUND."""

    default_reason = ErrorReason.NOT_FOUND


class ConflictError(HoldfastError):
    """The same request id came with another body; becomes ALREADY_EXISTS."""

    default_reason = ErrorReason.REQUEST_ID_CONFLICT


class PreconditionError(HoldfastError):
    """The thing is in a state that does not allow this; becomes FAILED_PRECONDITION."""

    default_reason = ErrorReason.DIRECTIVE_SUPERSEDED


class EnvironmentFailure(HoldfastError):
    """The machine under us failed; becomes UNAVAILABLE."""

    default_reason = ErrorReason.STORE_UNAVAILABLE


class NotDurableError(EnvironmentFailure):
    """Applied in memory, but the durable write failed: it may not survive a power cut."""

    default_reason = ErrorReason.NOT_DURABLE


class IntegrityError(HoldfastError):
    """Stored evidence does not verify."""

    default_reason = ErrorReason.INTEGRITY_BROKEN

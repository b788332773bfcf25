# SPDX-License-Identifier: Apache-2.0
"""Proves what an OpenID provider said about a human. Pure: no clock, no network.

Obligations, in this order; each is one guard below and carries its number there:

1. *Shape*: three base64url parts, bounded, each with one spelling.
2. *Header*: strict JSON; an algorithm of the fixed list, all of them asymmetric (``none`` and HMAC
   are not on it, so a public key never serves as a secret); a key id; nothing that brings a key of
   its own or changes what is signed; not the type of an access token.
3. *Key*: by its id among the provider's own, and it must serve that algorithm.
4. *Signature*, by PyJWT, over exactly the bytes that are then read as claims.
5. *Issuer and audience*: exactly the configured texts. With more than one audience, or with ``azp``,
   the authorized party is us.
6. *Nonce*: the one this very sign-in began with.
7. *Time*: not expired, not from the future, issued within the last ten minutes. Leeway covers a
   provider's clock that runs ahead and never extends ``exp``.
8. *Subject*: there, and text. Nothing else names the human: no e-mail address, no name.
9. *Authentication*: where it was asked for, the human proved themselves after the sign-in began, and
   by one of the classes that are asked for.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import jwt

from sidecar.errors import ErrorReason, RefusedError, UntrustedInputError
from sidecar.tokens.jwks import KeySet
from sidecar.tokens.strict_json import parse_object

__all__ = ["ALGORITHMS", "Expected", "Identity", "UnknownKeyError", "read_id_token"]

ALGORITHMS: Final = frozenset({"RS256", "PS256", "ES256", "EdDSA"})
LEEWAY_S: Final = 60
MAX_AGE_S: Final = 600
_MAX_CHARS: Final = 16 * 1024
_MAX_TIME_S: Final = 2**53
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TEXT: Final = re.compile(r"[\x21-\x7e]{1,255}")
_FORBIDDEN_HEADERS: Final = frozenset(
    {"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty"}
)

_Object: TypeAlias = Mapping[str, Any]
_jws: Final = jwt.PyJWS(algorithms=sorted(ALGORITHMS))


class UnknownKeyError(RefusedError):
    """The token names a key that is not in the set; a newer set may have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a token must say for one sign-in.

    Attributes:
        now_s: Wall time in seconds.
        auth_not_before_s: When the sign-in began, if the human must prove themselves anew.
        acr_values: Classes of authentication, any of which will do; empty asks for none.
        is_auth_time_needed: Whether the provider must say when the human proved themselves.
    """

    issuer: str
    client_id: str
    nonce: str
    algorithms: frozenset[str]
    now_s: int
    auth_not_before_s: int | None = None
    acr_values: tuple[str, ...] = ()
    is_auth_time_needed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A human at a provider: the pair (issuer, subject), and how they were authenticated."""

    issuer: str
    subject: str
    auth_time_s: int | None = None
    acr: str = ""


def read_id_token(token: str, *, keys: KeySet, expected: Expected) -> Identity:
    """Return what *token* proves.

    Raises:
        UnknownKeyError: Obligation 3; worth one newer key set.
        RefusedError: UNAUTHENTICATED: it proves nothing.
    """
    if len(token) > _MAX_CHARS or _COMPACT.fullmatch(token) is None:  # 1
        raise _no("is not a signed token")
    try:
        header = parse_object(_decode(token.partition(".")[0]), what="the header")
    except UntrustedInputError as exc:
        raise _no("has a malformed header") from exc
    for guard_header in _HEADER_GUARDS:
        guard_header(header, expected)
    key = keys.find(header["kid"])  # 3
    if key is None:
        raise UnknownKeyError(
            "the provider's answer is signed with a key it does not publish",
            reason=ErrorReason.UNAUTHENTICATED,
        )
    if header["alg"] not in key.algorithms:
        raise _no("is signed with another algorithm than its key's")
    try:  # 4
        payload = _jws.decode_complete(token, key.key, algorithms=[header["alg"]])["payload"]
        claims = parse_object(payload, what="the claims")
    except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError) as exc:
        raise _no("has a signature that does not verify") from exc
    except UntrustedInputError as exc:
        raise _no("has malformed claims") from exc
    for guard_claims in _CLAIM_GUARDS:
        guard_claims(claims, expected)
    return Identity(
        issuer=claims["iss"],
        subject=claims["sub"],
        auth_time_s=claims.get("auth_time"),
        acr=claims.get("acr", ""),
    )


def _check_algorithm(header: _Object, expected: Expected) -> None:
    """Obligation 2, ``alg``."""
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS & expected.algorithms:
        raise _no("is signed with an algorithm that is not accepted")


def _check_header(header: _Object, _: Expected) -> None:
    """Obligation 2, the rest."""
    if not _FORBIDDEN_HEADERS.isdisjoint(header):
        raise _no("has a header that is not accepted")
    if str(header.get("typ", "JWT")).upper() != "JWT":
        raise _no("is no ID token")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise _no("names no key")


def _check_issuer(claims: _Object, expected: Expected) -> None:
    """Obligation 5, ``iss``."""
    if claims.get("iss") != expected.issuer:
        raise _no("is of another issuer")


def _check_audience(claims: _Object, expected: Expected) -> None:
    """Obligation 5, ``aud`` and ``azp``."""
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or expected.client_id not in audiences:
        raise _no("is for somebody else")
    if ("azp" in claims or len(audiences) > 1) and claims.get("azp") != expected.client_id:
        raise _no("was made for somebody else")


def _check_nonce(claims: _Object, expected: Expected) -> None:
    """Obligation 6."""
    nonce = claims.get("nonce")
    is_ours = isinstance(nonce, str) and hmac.compare_digest(
        nonce.encode("utf-8", "surrogatepass"), expected.nonce.encode()
    )
    if not expected.nonce or not is_ours:
        raise _no("belongs to another sign-in")


def _check_times(claims: _Object, expected: Expected) -> None:
    """Obligation 7."""
    for name in ("exp", "iat"):
        if not _is_time(claims.get(name)):
            raise _no(f"has no usable {name}")
    for name in ("nbf", "auth_time"):
        if name in claims and not _is_time(claims[name]):
            raise _no(f"has an unusable {name}")
    if expected.now_s >= claims["exp"]:
        raise _no("has expired; compare this host's clock with the provider's")
    if claims["iat"] > expected.now_s + LEEWAY_S:
        raise _no("is from the future; compare this host's clock with the provider's")
    if claims["iat"] < expected.now_s - MAX_AGE_S:
        raise _no("was issued long ago")
    if claims.get("nbf", 0) > expected.now_s + LEEWAY_S:
        raise _no("is not valid yet")


def _check_subject(claims: _Object, _: Expected) -> None:
    """Obligation 8."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or _TEXT.fullmatch(subject) is None:
        raise _no("names nobody")


def _check_authentication(claims: _Object, expected: Expected) -> None:
    """Obligation 9."""
    auth_time_s = claims.get("auth_time")
    if auth_time_s is not None and auth_time_s > expected.now_s + LEEWAY_S:
        raise _no("says that you proved yourself in the future")
    if auth_time_s is None and expected.is_auth_time_needed:
        raise _no("does not say when you proved who you are")
    since_s = expected.auth_not_before_s
    if since_s is not None and auth_time_s is not None and auth_time_s < since_s - LEEWAY_S:
        raise _no("rests on an earlier sign-in; the provider did not ask you again")
    acr = claims.get("acr", "")
    if not isinstance(acr, str) or not (acr == "" or _TEXT.fullmatch(acr)):
        raise _no("has an unusable acr")
    if expected.acr_values and acr not in expected.acr_values:
        raise _no("rests on a weaker proof than this console asks for")


_HEADER_GUARDS: list[Callable[[_Object, Expected], None]] = [_check_algorithm, _check_header]
_CLAIM_GUARDS: list[Callable[[_Object, Expected], None]] = [
    _check_issuer,
    _check_audience,
    _check_nonce,
    _check_times,
    _check_subject,
    _check_authentication,
]


def _is_time(value: object) -> bool:
    # A bool is an int to Python; a NumericDate is whole seconds here.
    return type(value) is int and 0 <= value <= _MAX_TIME_S


def _decode(part: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (ValueError, binascii.Error) as exc:
        raise UntrustedInputError("not base64url") from exc
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part.encode("ascii"):
        raise UntrustedInputError("not canonical base64url")
    return data


def _no(what: str) -> RefusedError:
    return RefusedError(
        f"the provider's answer {what}",
        reason=ErrorReason.UNAUTHENTICATED,
        hint="begin again; if it happens again, an administrator must look at the provider",
    )

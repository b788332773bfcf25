# SPDX-License-Identifier: Apache-2.0
"""Proves that a token is a live credential of the agent that shows it.

Obligations, in this order; each is one guard below and carries its number there:

1. *Shape*: three base64url parts, at most ``MAX_TOKEN_CHARS``. Reject, never normalise.
2. *Header*: strict JSON; an algorithm that is fixed for the issuer; a key id; nothing that brings
   or names a key of its own (``jwk``, ``jku``, ``x5c``, ``x5u``) or changes what is signed
   (``crit``, ``b64``, ``zip``); a type, if any, of an access token.
3. *Key*: looked up by its id among the keys of the issuer that the tool's configuration names, and
   nowhere else; it must serve that algorithm.
4. *Signature*, by PyJWT, over exactly the bytes that are then read as claims.
5. *Claims*: strict JSON, exact types. Issuer and audience are exactly the configured texts (a list
   of audiences is refused, even one that holds ours). ``exp``, ``iat``, ``jti`` and ``sub`` are
   there. The life is bounded. The subject is the agent that asked.
6. *Time*: asked on every call. Leeway covers an issuer's clock that runs ahead (``iat``, ``nbf``)
   and never extends ``exp``. Whether a token expired is decided by the later of the wall clock and
   the boot clock counted on from the start, so a wall clock set back revives no token.

Whether the token was revoked is the next question, and it is asked of the ``RevocationSet`` of the
world that the call is decided under, on every call: a ``VerifiedToken`` alone admits nothing.

Obligations 1 to 5 have one outcome per (token, issuer, agent, key set); it is remembered under the
SHA-256 of the token, only if good, and only for the very key set object that verified it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import jwt

from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.errors import UntrustedInputError
from sidecar.model import ReasonCode
from sidecar.tokens.claims import MAX_CLAIM_TIME_S, Rejection, VerifiedToken
from sidecar.tokens.issuers import ALGORITHMS, IssuerSpec
from sidecar.tokens.jwks import KeySet, VerificationKey
from sidecar.tokens.keys import KeySource
from sidecar.tokens.strict_json import parse_object

__all__ = ["MAX_TOKEN_CHARS", "Rejection", "TokenValidator", "VerifiedToken"]

MAX_TOKEN_CHARS: Final = 8192
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_KID: Final = re.compile(r"[\x21-\x7e]{1,256}")
_IDENTIFIER: Final = re.compile(r"[\x21-\x7e]{1,512}")
_FORBIDDEN_HEADERS: Final = frozenset(
    {"jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty"}
)
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})

_Object: TypeAlias = Mapping[str, Any]
_jws: Final = jwt.PyJWS(algorithms=sorted(ALGORITHMS))


@dataclass(frozen=True, slots=True)
class _Remembered:
    token: VerifiedToken
    key_set: KeySet


class TokenValidator:
    """Validates tokens of the configured issuers.

    Args:
        issuers: The issuers by the name that tools use.
        keys: The keys of each.
        clock: Wall and boot time.
        max_remembered: How many good tokens are remembered.
    """

    def __init__(
        self,
        *,
        issuers: Mapping[str, IssuerSpec],
        keys: KeySource,
        clock: Clock,
        max_remembered: int = 4096,
    ) -> None:
        self._issuers = dict(issuers)
        self._keys = keys
        self._clock = clock
        self._max_remembered = max_remembered
        self._remembered: OrderedDict[tuple[bytes, str, str], _Remembered] = OrderedDict()
        self._wall_minus_boot_ns = clock.wall_ns() - clock.boot_ns()

    def validate(self, token: str, *, issuer_name: str, agent: str) -> VerifiedToken | Rejection:
        """Return the proved claims of *token*, or why it does not count.

        Args:
            token: What the agent presented; hostile until proved otherwise.
            issuer_name: The issuer whose token the tool asks for.
            agent: Who asks, known from the socket.
        """
        spec = self._issuers.get(issuer_name)
        if spec is None:
            return _invalid("the tool asks for a token of an issuer that is not configured")
        if not token:
            return Rejection(code=ReasonCode.TOKEN_MISSING, text="this tool asks for a token")
        if (refusal := _check_shape(token)) is not None:
            return refusal
        keys = self._keys.current(issuer_name)
        if isinstance(keys, Rejection):
            return keys
        at = (hashlib.sha256(token.encode("ascii")).digest(), issuer_name, agent)
        remembered = self._remembered.get(at)
        if remembered is not None and _is_current(remembered, keys):
            self._remembered.move_to_end(at)
            verified = remembered.token
        else:
            outcome = _prove(token, spec, keys, agent)
            if isinstance(outcome, Rejection):
                return outcome
            verified = outcome
            self._remember(at, _Remembered(verified, keys))
        return self._admit(verified, spec)

    def deadline_boot_ns(self, token: VerifiedToken) -> int:
        """Return the boot time at which *token* expires, as the clocks stand now."""
        expire_time_ns = token.expire_time_s * NS_PER_SECOND
        return self._clock.boot_ns() + expire_time_ns - self._latest_wall_ns()

    def accept_wall_clock(self) -> None:
        """Believe the wall clock again after it was set back on purpose (see obligation 6)."""
        self._wall_minus_boot_ns = self._clock.wall_ns() - self._clock.boot_ns()

    def _admit(self, token: VerifiedToken, spec: IssuerSpec) -> VerifiedToken | Rejection:
        """Obligation 6."""
        if self._latest_wall_ns() >= token.expire_time_s * NS_PER_SECOND:
            return Rejection(code=ReasonCode.TOKEN_EXPIRED, text="the token expired")
        latest_start_ns = self._clock.wall_ns() + spec.leeway_s * NS_PER_SECOND
        if token.issue_time_s * NS_PER_SECOND > latest_start_ns:
            return _invalid("the token was issued in the future")
        if token.not_before_s is not None and token.not_before_s * NS_PER_SECOND > latest_start_ns:
            return _invalid("the token is not valid yet")
        return token

    def _latest_wall_ns(self) -> int:
        return max(self._clock.wall_ns(), self._clock.boot_ns() + self._wall_minus_boot_ns)

    def _remember(self, at: tuple[bytes, str, str], what: _Remembered) -> None:
        self._remembered[at] = what
        if len(self._remembered) > self._max_remembered:
            self._remembered.popitem(last=False)


def _is_current(remembered: _Remembered, keys: KeySet) -> bool:
    """Return whether what was remembered was verified with the keys that count now."""
    return remembered.key_set is keys


def _prove(token: str, spec: IssuerSpec, keys: KeySet, agent: str) -> VerifiedToken | Rejection:
    """Return the claims of *token* after obligations 2 to 5."""
    try:
        header = parse_object(_decode(token.partition(".")[0]), what="the token's header")
    except UntrustedInputError:
        return _invalid("the token's header is malformed")
    for guard_header in _HEADER_GUARDS:
        if (refusal := guard_header(header, spec)) is not None:
            return refusal
    key = keys.find(header["kid"])  # 3
    if key is None:
        return _invalid("the token's key is not one of the issuer's")
    if (refusal := _check_key_serves(header, key)) is not None:
        return refusal
    try:  # 4
        payload = _jws.decode_complete(token, key.key, algorithms=[header["alg"]])["payload"]
    except (jwt.PyJWTError, ValueError, TypeError, NotImplementedError):
        return _invalid("the token's signature does not verify")
    try:  # 5
        claims = parse_object(payload, what="the token's claims")
    except UntrustedInputError:
        return _invalid("the token's claims are malformed")
    for guard_claims in _CLAIM_GUARDS:
        if (refusal := guard_claims(claims, spec, agent)) is not None:
            return refusal
    return VerifiedToken(
        issuer_name=spec.name,
        issuer=claims["iss"],
        jti=claims["jti"],
        subject=claims["sub"],
        agent=agent,
        issue_time_s=claims["iat"],
        expire_time_s=claims["exp"],
        not_before_s=claims.get("nbf"),
        session=claims.get("sid", ""),
        auth_time_s=claims.get("auth_time"),
        principal=claims.get(spec.principal_claim, ""),
    )


def _check_shape(token: str) -> Rejection | None:
    """Obligation 1."""
    if len(token) > MAX_TOKEN_CHARS:
        return _invalid(f"the token is longer than {MAX_TOKEN_CHARS} characters")
    if _COMPACT.fullmatch(token) is None:
        return _invalid("the token is not three base64url parts")
    return None


def _check_algorithm(header: _Object, spec: IssuerSpec) -> Rejection | None:
    """Obligation 2, ``alg``."""
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in spec.algorithms:
        return _invalid("the token's algorithm is not one of the issuer's")
    return None


def _check_no_foreign_key(header: _Object, _: IssuerSpec) -> Rejection | None:
    """Obligation 2, headers that bring a key or change what is signed."""
    if not _FORBIDDEN_HEADERS.isdisjoint(header):
        return _invalid("the token's header has a field that is not accepted")
    return None


def _check_kid(header: _Object, _: IssuerSpec) -> Rejection | None:
    """Obligation 2, ``kid``."""
    kid = header.get("kid")
    if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
        return _invalid("the token names no key")
    return None


def _check_type(header: _Object, _: IssuerSpec) -> Rejection | None:
    """Obligation 2, ``typ``."""
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        return _invalid("the token is not an access token")
    return None


def _check_key_serves(header: _Object, key: VerificationKey) -> Rejection | None:
    """Obligation 3: the key, not the token, says which algorithms it serves."""
    if header["alg"] not in key.algorithms:
        return _invalid("the token's algorithm is not that of its key")
    return None


def _check_issuer(claims: _Object, spec: IssuerSpec, _: str) -> Rejection | None:
    """Obligation 5, ``iss``."""
    return None if claims.get("iss") == spec.issuer else _invalid("the token is of another issuer")


def _check_audience(claims: _Object, spec: IssuerSpec, _: str) -> Rejection | None:
    """Obligation 5, ``aud``: a text, never a list."""
    return (
        None if claims.get("aud") == spec.audience else _invalid("the token is for somebody else")
    )


def _check_identifiers(claims: _Object, spec: IssuerSpec, _: str) -> Rejection | None:
    """Obligation 5, ``jti``, ``sub``, ``sid`` and who the agent acts for."""
    if not _is_identifier(claims.get("jti")):
        return _invalid("the token has no usable jti")
    if not _is_identifier(claims.get("sub")):
        return _invalid("the token has no usable sub")
    for name in ("sid", spec.principal_claim):
        if name in claims and not _is_identifier(claims[name]):
            return _invalid(f"the token has an unusable {name}")
    return None


def _check_times(claims: _Object, _: IssuerSpec, __: str) -> Rejection | None:
    """Obligation 5, types of ``exp``, ``iat``, ``nbf`` and ``auth_time``."""
    for name in ("exp", "iat"):
        if not _is_time(claims.get(name)):
            return _invalid(f"the token has no usable {name}")
    for name in ("nbf", "auth_time"):
        if name in claims and not _is_time(claims[name]):
            return _invalid(f"the token has an unusable {name}")
    return None


def _check_life(claims: _Object, spec: IssuerSpec, _: str) -> Rejection | None:
    """Obligation 5, ``exp - iat``."""
    life_s = claims["exp"] - claims["iat"]
    if not 0 < life_s <= spec.max_token_life_s:
        return _invalid(f"the token lives longer than {spec.max_token_life_s} s, or not at all")
    return None


def _check_subject(claims: _Object, spec: IssuerSpec, agent: str) -> Rejection | None:
    """Obligation 5, ``sub``: one agent's token is of no use to another."""
    if claims["sub"] != spec.subject_of(agent):
        return _invalid("the token belongs to another agent")
    return None


_HeaderGuard: TypeAlias = Callable[[_Object, IssuerSpec], Rejection | None]
_ClaimGuard: TypeAlias = Callable[[_Object, IssuerSpec, str], Rejection | None]

_HEADER_GUARDS: tuple[_HeaderGuard, ...] = (
    _check_algorithm,
    _check_no_foreign_key,
    _check_kid,
    _check_type,
)
_CLAIM_GUARDS: tuple[_ClaimGuard, ...] = (
    _check_issuer,
    _check_audience,
    _check_identifiers,
    _check_times,
    _check_life,
    _check_subject,
)


def _is_identifier(value: object) -> bool:
    return isinstance(value, str) and _IDENTIFIER.fullmatch(value) is not None


def _is_time(value: object) -> bool:
    # A bool is an int to Python, and 1.0 equals 1; neither is a NumericDate in whole seconds.
    return type(value) is int and 0 <= value <= MAX_CLAIM_TIME_S


def _decode(part: str) -> bytes:
    """Return the bytes of a base64url *part* that has exactly one spelling."""
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (ValueError, binascii.Error) as exc:
        raise UntrustedInputError("not base64url") from exc
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part.encode("ascii"):
        raise UntrustedInputError("not canonical base64url")
    return data


def _invalid(text: str) -> Rejection:
    return Rejection(code=ReasonCode.TOKEN_INVALID, text=text)

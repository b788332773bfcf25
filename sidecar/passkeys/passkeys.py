# SPDX-License-Identifier: Apache-2.0
"""WebAuthn ceremonies, over the library ``webauthn``: enrol a passkey, sign in, sign a grant.

Laws:

1. The authenticator has verified its human (PIN, finger, face), every time. A touch is not enough.
2. The challenge is exactly the one that was asked for, the origin one of ours, the relying party
   ours, and the page was not inside somebody else's.
3. A signature counts only for the human whose passkey it is, while the passkey is active.
4. A counter that does not grow, once it was ever above zero, is a copied authenticator: refused.
5. Nothing counts that ``evidence.check_evidence`` would not accept later from the record alone: the
   library and our own check must both say yes.
6. Whatever is wrong with what a browser sent is a ``RefusedError`` (PASSKEY_INVALID), nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
import webauthn
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from webauthn.helpers import options_to_json_dict, parse_attestation_object
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AttestationFormat,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from sidecar.clock import Clock
from sidecar.errors import ConfigurationError, RefusedError, UntrustedInputError
from sidecar.model import Operator
from sidecar.passkeys.cose import ALGORITHMS, load_cose_key
from sidecar.passkeys.evidence import check_evidence, make_record
from sidecar.passkeys.store_sqlite import PasskeyStore
from sidecar.passkeys.values import (
    MAX_JSON_BYTES,
    Passkey,
    PasskeyState,
    fold_human,
    from_base64url,
    parse_json,
    refused,
    to_base64url,
)

__all__ = ["NewCredential", "Passkeys"]

log = structlog.get_logger("holdfast.control")

_CHALLENGE_BYTES: Final = 32
_TIMEOUT_MS: Final = 5 * 60 * 1000
_MAX_CREDENTIAL_ID: Final = 1023
_ALGORITHMS: Final = [COSEAlgorithmIdentifier(number) for number in ALGORITHMS]
_TRANSPORTS: Final = frozenset(item.value for item in AuthenticatorTransport)
# We ask for no attestation. Browsers then send none, or a key's own signature over itself; the
# parsers of the other formats never see a byte from outside.
_FORMATS: Final = frozenset({AttestationFormat.NONE, AttestationFormat.PACKED})
# What the library lets through from what it is given, beside its own family.
_INVALID: Final = (
    WebAuthnException,
    InvalidSignature,
    UnsupportedAlgorithm,
    UntrustedInputError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCredential:
    """A passkey that a browser made, verified; not kept anywhere yet."""

    credential_id: str
    public_key: bytes = field(repr=False)
    counter: int
    transports: tuple[str, ...]


class Passkeys:
    """The passkeys of one console.

    Args:
        store: Where they are kept.
        rp_id: The relying party: the console's host name. Passkeys are bound to it for ever.
        origins: Origins the console is reached at; each is https, or ``http://localhost[:port]``.
        clock: Time.
        rp_name: What the browser's dialogue calls us.

    Raises:
        ConfigurationError: No browser would make a passkey for this.
    """

    def __init__(
        self,
        *,
        store: PasskeyStore,
        rp_id: str,
        origins: Sequence[str],
        clock: Clock,
        rp_name: str = "Holdfast",
    ) -> None:
        _check_place(rp_id, origins)
        self.rp_id = rp_id
        self.origins = tuple(origins)
        self._rp_name = rp_name
        self._store = store
        self._clock = clock
        self._decoy_key = secrets.token_bytes(32)

    @staticmethod
    def new_challenge() -> bytes:
        """Return a challenge nobody has seen."""
        return secrets.token_bytes(_CHALLENGE_BYTES)

    # -- enrolling ------------------------------------------------------------------------------

    async def registration_options(self, operator: Operator, *, challenge: bytes) -> dict[str, Any]:
        """Return what ``navigator.credentials.create`` is asked for, as JSON."""
        human = fold_human(operator.human_id)
        known = await asyncio.to_thread(self._store.of_human, human)
        options = webauthn.generate_registration_options(
            rp_id=self.rp_id,
            rp_name=self._rp_name,
            user_id=self._user_handle(human),
            user_name=operator.name,
            challenge=challenge,
            timeout=_TIMEOUT_MS,
            attestation=AttestationConveyancePreference.NONE,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.PREFERRED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[_descriptor(key) for key in known],
            supported_pub_key_algs=_ALGORITHMS,
        )
        return options_to_json_dict(options)

    def register(self, response: bytes, *, challenge: bytes) -> NewCredential:
        """Return the passkey in *response* (RegistrationResponseJSON).

        Raises:
            RefusedError: PASSKEY_INVALID (laws 1, 2 and 6).
        """
        try:
            document = parse_json(response, what="the passkey")
            answer = _object(document, "response")
            client_data = from_base64url(answer.get("clientDataJSON"), what="clientDataJSON")
            _check_frame(parse_json(client_data, what="clientDataJSON"))
            attestation = from_base64url(answer.get("attestationObject"), what="attestationObject")
            if parse_attestation_object(attestation).fmt not in _FORMATS:
                raise UntrustedInputError("the passkey came with an attestation nobody asked for")
            verified = webauthn.verify_registration_response(
                credential=document,
                expected_challenge=challenge,
                expected_rp_id=self.rp_id,
                expected_origin=list(self.origins),
                require_user_verification=True,
                supported_pub_key_algs=_ALGORITHMS,
            )
            load_cose_key(verified.credential_public_key)  # law 5
            if len(verified.credential_id) > _MAX_CREDENTIAL_ID:
                raise UntrustedInputError("the passkey's id is too long")
            named = answer.get("transports")
        except _INVALID as exc:
            raise _because(exc, "this passkey cannot be enrolled") from exc
        transports = named if isinstance(named, list) else []
        return NewCredential(
            credential_id=to_base64url(verified.credential_id),
            public_key=verified.credential_public_key,
            counter=verified.sign_count,
            transports=tuple(name for name in transports if name in _TRANSPORTS)[:8],
        )

    # -- signing in, and signing grants ---------------------------------------------------------

    async def authentication_options(
        self, *, challenge: bytes, human_id: str = "", name: str = ""
    ) -> dict[str, Any]:
        """Return what ``navigator.credentials.get`` is asked for, as JSON.

        Args:
            challenge: What shall be signed.
            human_id: Only passkeys of this human.
            name: What a stranger typed as their name where *human_id* is empty. They are shown a
                passkey that does not exist, so that a stranger does not learn who has one.
        """
        known = await asyncio.to_thread(self._store.of_human, fold_human(human_id))
        allowed = [_descriptor(key) for key in known]
        if not allowed and (human_id or name):
            decoy = hmac.digest(self._decoy_key, (human_id or name).encode(), "sha256")
            allowed = [PublicKeyCredentialDescriptor(id=decoy)]
        options = webauthn.generate_authentication_options(
            rp_id=self.rp_id,
            challenge=challenge,
            timeout=_TIMEOUT_MS,
            allow_credentials=allowed,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json_dict(options)

    async def credential_ids(self, human_id: str) -> tuple[str, ...]:
        """Return the ids of *human_id*'s passkeys, base64url."""
        known = await asyncio.to_thread(self._store.of_human, fold_human(human_id))
        return tuple(key.credential_id for key in known)

    async def authenticate(self, *, challenge: bytes, assertion: bytes) -> Passkey:
        """Return the passkey that signed *challenge*, whoever's it is: for signing in.

        Raises:
            RefusedError: PASSKEY_INVALID.
        """
        passkey, _ = await self._check(challenge, assertion, human=None)
        return passkey

    async def verify(self, *, human_id: str, challenge: bytes, assertion: bytes) -> str:
        """Return the evidence that *human_id* signed *challenge* (``evidence``).

        Raises:
            RefusedError: PASSKEY_INVALID: they did not.
        """
        _, record = await self._check(challenge, assertion, human=fold_human(human_id))
        return record

    # -- private --------------------------------------------------------------------------------

    async def _check(
        self, challenge: bytes, assertion: bytes, *, human: str | None
    ) -> tuple[Passkey, str]:
        if len(assertion) > MAX_JSON_BYTES:
            raise refused("the passkey's answer is too long")
        if not challenge or human == "":
            raise refused("nothing was asked of a passkey here")
        document, credential_id = _read_assertion(assertion)
        passkey = await asyncio.to_thread(self._store.find, credential_id)
        if passkey is None or passkey.state is not PasskeyState.ACTIVE:
            raise refused("this passkey is not enrolled here, or was removed")
        if human is not None and passkey.human_id != human:  # law 3
            log.warning("passkey of another human", credential=credential_id)
            raise refused("this passkey is not one of yours")
        try:
            record, counter = self._judge(passkey, document, challenge)
        except _INVALID as exc:
            raise _because(exc, "the passkey's answer does not count") from exc
        is_ours = await asyncio.to_thread(
            self._store.advance,
            credential_id,
            human_id=passkey.human_id,
            counter=passkey.counter,
            to=counter,
            wall_ns=self._clock.wall_ns(),
        )
        if not is_ours:
            raise refused("this passkey was used or removed at the same moment")
        return passkey, record

    def _judge(
        self, passkey: Passkey, document: Mapping[str, Any], challenge: bytes
    ) -> tuple[str, int]:
        """Return the record of the assertion *document* and the new counter (laws 1, 2, 4, 5)."""
        answer = _object(document, "response")
        client_data = from_base64url(answer.get("clientDataJSON"), what="clientDataJSON")
        signed = parse_json(client_data, what="clientDataJSON")
        _check_frame(signed)
        handle = answer.get("userHandle")
        if handle and handle != to_base64url(self._user_handle(passkey.human_id)):
            raise UntrustedInputError("the passkey's answer names another human")
        verified = webauthn.verify_authentication_response(
            credential=dict(document),
            expected_challenge=challenge,
            expected_rp_id=self.rp_id,
            expected_origin=list(self.origins),
            credential_public_key=passkey.public_key,
            credential_current_sign_count=passkey.counter,
            require_user_verification=True,
        )
        record = make_record(
            credential_id=passkey.credential_id,
            public_key=passkey.public_key,
            client_data_json=client_data,
            authenticator_data=from_base64url(
                answer.get("authenticatorData"), what="authenticatorData"
            ),
            signature=from_base64url(answer.get("signature"), what="the signature"),
            rp_id=self.rp_id,
            origin=str(signed.get("origin")),
        )
        report = check_evidence(record, challenge=challenge, rp_id=self.rp_id, origins=self.origins)
        if not report.is_ok:
            raise UntrustedInputError(report.problems[0])
        return record, verified.new_sign_count

    def _user_handle(self, human: str) -> bytes:
        """Return what authenticators call *human*: stable, and nobody's name."""
        return hashlib.sha256(f"holdfast passkey user\0{self.rp_id}\0{human}".encode()).digest()


def _read_assertion(assertion: bytes) -> tuple[dict[str, object], str]:
    try:
        document = parse_json(assertion, what="the passkey's answer")
        credential_id = document.get("id")
        from_base64url(credential_id, what="the passkey's id")
    except UntrustedInputError as exc:
        raise refused(exc.message) from exc
    return document, str(credential_id)


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    if not isinstance(value, dict):
        raise UntrustedInputError(f"the passkey's answer has no {name}")
    return value


def _check_frame(client_data: Mapping[str, object]) -> None:
    """Law 2: the library does not look at this."""
    if client_data.get("crossOrigin", False) is not False or "topOrigin" in client_data:
        raise UntrustedInputError("the passkey was asked for inside a page of somebody else")


def _descriptor(passkey: Passkey) -> PublicKeyCredentialDescriptor:
    return PublicKeyCredentialDescriptor(
        id=from_base64url(passkey.credential_id, what="a stored credential id"),
        transports=[AuthenticatorTransport(name) for name in passkey.transports] or None,
    )


def _because(exc: BaseException, what: str) -> RefusedError:
    """Return the refusal for *exc*; only our own words go out, the library quotes its input."""
    log.warning("passkey refused", problem=type(exc).__name__)
    if isinstance(exc, UntrustedInputError):
        return refused(f"{what}: {exc.message}")
    for words, reason in _REASONS:
        if words in str(exc):
            return refused(f"{what}: {reason}")
    return refused(what)


_REASONS: Final = (
    ("challenge", "it signed something else than what was asked for"),
    ("origin", "it was used at another address than this console's"),
    ("RP ID", "it belongs to another site"),
    ("verification is required", "it did not check that it is you (PIN, finger or face)"),
    ("not present", "nobody touched it"),
    ("sign count", "its counter did not grow; there may be a copy of it"),
    ("Could not verify authentication signature", "the signature does not verify"),
)


def _check_place(rp_id: str, origins: Iterable[str]) -> None:
    def wrong(what: str) -> ConfigurationError:
        return ConfigurationError(
            what,
            key="console_url",
            hint="give the console a host name and https; to try it out, http://localhost:PORT",
        )

    try:
        ipaddress.ip_address(rp_id.strip("[]"))
    except ValueError:
        pass
    else:
        raise wrong("is an IP address, and browsers make no passkeys for one")
    if not rp_id or rp_id != rp_id.lower() or not rp_id.isascii():
        raise wrong("has no plain host name that passkeys could be bound to")
    places = [urlsplit(origin) for origin in origins]
    if not places:
        raise wrong("is not set, so no passkey could be verified")
    for place in places:
        host = place.hostname or ""
        if host != rp_id and not host.endswith(f".{rp_id}"):
            raise wrong(f"is not below {rp_id}")
        if place.scheme != "https" and not (place.scheme == "http" and host == "localhost"):
            raise wrong("is neither https nor http://localhost")
        if place.path or place.query or place.fragment or "@" in place.netloc:
            raise wrong("is more than an origin")

# SPDX-License-Identifier: Apache-2.0
"""Signs people in with OpenID Connect: the code flow, with PKCE, and nothing looser.

Laws:

1. What comes back belongs to what was begun: the state of this browser's sign-in, at the address
   that belongs to the provider it was begun with, and, where the provider says who it is (``iss``,
   RFC 9207), from that provider. An answer of one provider is never taken to another (mix-up).
2. A code is redeemed with the verifier that only this sign-in has (PKCE, S256), at the endpoint that
   the provider's own metadata names, and the token is proved by ``idtoken``.
3. Metadata counts only if it names exactly the configured issuer.
4. A human is the pair (issuer, subject), found in ``Operator.logins`` exactly. Neither an e-mail
   address nor a name maps to anybody. Two operators with one pair are a mistake: nobody is signed in.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode, urlsplit

from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.errors import (
    ConfigurationError,
    ErrorReason,
    RefusedError,
    UntrustedInputError,
)
from sidecar.model import Operator, OperatorKind
from sidecar.safe_paths import read_secret_file
from sidecar.tokens.jwks import KeySet, parse_jwk_set
from sidecar.web.idtoken import ALGORITHMS, Expected, Identity, UnknownKeyError, read_id_token
from sidecar.web.oidc_http import ProviderHttp, is_acceptable_url

__all__ = ["CALLBACK_PATH", "Flow", "OidcConfig", "OidcProvider", "operator_of_login"]

CALLBACK_PATH: Final = "/login/oidc/callback/"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_CODE: Final = re.compile(r"[\x21-\x7e]{1,2048}")
_METADATA_LIFE_S: Final = 3600
_KEYS_LIFE_S: Final = 600
_KEYS_PAUSE_S: Final = 10
_MAX_REDEEMING: Final = 8
_TOKEN_BYTES: Final = 32

ClientAuth = Literal["client_secret_basic", "client_secret_post", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcConfig:
    """One OpenID provider.

    Attributes:
        issuer: Its ``iss``, exactly; https.
        client_id: What it calls this console.
        client_secret_file: File (mode 0600) that holds our secret; None for a public client.
        name: Names it in our addresses. Register ``<origin>/login/oidc/callback/<name>`` with it.
        label: What the sign-in button says; empty for its host.
        acr_values: Classes of authentication, any of which it must attest; empty for none.
        is_auth_time_needed: Whether it must say when the human proved themselves.
        ca_file: CA to trust in place of the system's.

    Raises:
        ConfigurationError: It cannot be used.
    """

    issuer: str
    client_id: str
    client_secret_file: Path | None = None
    name: str = "idp"
    label: str = ""
    scopes: tuple[str, ...] = ("openid",)
    algorithms: frozenset[str] = ALGORITHMS
    acr_values: tuple[str, ...] = ()
    is_auth_time_needed: bool = False
    ca_file: Path | None = None
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        def wrong(field: str, what: str, hint: str = "") -> ConfigurationError:
            return ConfigurationError(what, key=f"oidc.{field}", hint=hint)

        if not is_acceptable_url(self.issuer) or "?" in self.issuer:
            raise wrong("issuer", "is not an https address", "write it as the provider does")
        if not self.client_id or not self.client_id.isprintable():
            raise wrong("client_id", "is empty or cannot be printed")
        if _NAME.fullmatch(self.name) is None:
            raise wrong("name", "is not lower-case letters, digits and -, at most 32")
        if "openid" not in self.scopes:
            raise wrong("scopes", "lacks openid")
        if not self.algorithms or not self.algorithms <= ALGORITHMS:
            raise wrong("algorithms", f"has others than {', '.join(sorted(ALGORITHMS))}")

    @property
    def title(self) -> str:
        """What people call it."""
        return self.label or urlsplit(self.issuer).netloc


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One sign-in that was begun. Travels sealed in the browser (``presession``)."""

    state: str
    nonce: str
    verifier: str
    start_time_s: int
    is_fresh: bool = False

    @classmethod
    def begin(cls, *, start_time_s: int, is_fresh: bool) -> Flow:
        """Return a flow that nobody has seen."""
        return cls(
            state=secrets.token_urlsafe(_TOKEN_BYTES),
            nonce=secrets.token_urlsafe(_TOKEN_BYTES),
            verifier=secrets.token_urlsafe(_TOKEN_BYTES),
            start_time_s=start_time_s,
            is_fresh=is_fresh,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metadata:
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    client_auth: ClientAuth
    is_issuer_sent: bool


class OidcProvider:
    """One provider, as this console uses it."""

    def __init__(self, config: OidcConfig, *, origin: str, clock: Clock) -> None:
        self.config = config
        self.redirect_uri = f"{origin}{CALLBACK_PATH}{config.name}"
        self._clock = clock
        self._http = ProviderHttp(
            name=config.name, ca_file=config.ca_file, timeout_s=config.timeout_s
        )
        self._asking = asyncio.Lock()
        self._redeeming = asyncio.Semaphore(_MAX_REDEEMING)
        self._metadata: tuple[_Metadata, int] | None = None
        self._keys: tuple[KeySet, int] | None = None

    async def authorization_url(self, flow: Flow) -> str:
        """Return where the browser goes to begin *flow*.

        Raises:
            HoldfastError: The provider cannot be asked, or its metadata is not acceptable.
        """
        metadata = await self._read_metadata()
        challenge = hashlib.sha256(flow.verifier.encode()).digest()
        query = {
            "response_type": "code",
            "response_mode": "query",
            "client_id": self.config.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(self.config.scopes),
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        if self.config.acr_values:
            query["acr_values"] = " ".join(self.config.acr_values)
        if flow.is_fresh:
            query |= {"prompt": "login", "max_age": "0"}
        joint = "&" if "?" in metadata.authorization_endpoint else "?"
        return f"{metadata.authorization_endpoint}{joint}{urlencode(query)}"

    async def check_answer(self, flow: Flow, *, state: str, issuer: str | None) -> None:
        """Let an answer pass that belongs to *flow* (law 1). Comes before anything else in it is read.

        Raises:
            RefusedError: UNAUTHENTICATED: it does not.
        """
        if not flow.state or not hmac.compare_digest(
            state.encode("utf-8", "surrogatepass"), flow.state.encode()
        ):
            raise _no("does not belong to a sign-in that this browser began")
        if issuer is not None and issuer != self.config.issuer:
            raise _no("comes from another provider than the one that was asked")
        if issuer is None and (await self._read_metadata()).is_issuer_sent:
            raise _no("does not say which provider it comes from, though this one always does")

    async def redeem(self, flow: Flow, *, code: str) -> Identity:
        """Return who the provider says it is (law 2).

        Raises:
            RefusedError: UNAUTHENTICATED: it proves nothing.
            HoldfastError: The provider cannot be asked.
        """
        if _CODE.fullmatch(code) is None:
            raise _no("holds no usable code")
        async with self._redeeming:
            metadata = await self._read_metadata()
            data, headers = await self._credentials(metadata.client_auth)
            data |= {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": self.redirect_uri,
                "code_verifier": flow.verifier,
            }
            answer = await self._http.post(metadata.token_endpoint, data, headers)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise _no("holds no ID token")
        expected = Expected(
            issuer=self.config.issuer,
            client_id=self.config.client_id,
            nonce=flow.nonce,
            algorithms=self.config.algorithms,
            now_s=self._clock.wall_ns() // NS_PER_SECOND,
            auth_not_before_s=flow.start_time_s if flow.is_fresh else None,
            acr_values=self.config.acr_values,
            is_auth_time_needed=self.config.is_auth_time_needed,
        )
        try:
            return read_id_token(token, keys=await self._read_keys(), expected=expected)
        except UnknownKeyError:
            keys = await self._read_keys(is_newer_wanted=True)
            return read_id_token(token, keys=keys, expected=expected)

    # -- private --------------------------------------------------------------------------------

    async def _credentials(self, how: ClientAuth) -> tuple[dict[str, str], dict[str, str]]:
        client_id = self.config.client_id
        if self.config.client_secret_file is None or how == "none":
            return {"client_id": client_id}, {}
        data = await asyncio.to_thread(read_secret_file, self.config.client_secret_file)
        secret = data.decode("utf-8", "strict").strip()
        if how == "client_secret_post":
            return {"client_id": client_id, "client_secret": secret}, {}
        # RFC 6749 §2.3.1: form-encoded first, so that a colon in either is no border.
        pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
        return {}, {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}

    async def _read_metadata(self) -> _Metadata:
        async with self._asking:
            if self._metadata is None or self._is_older(self._metadata[1], _METADATA_LIFE_S):
                asked_ns = self._clock.boot_ns()
                where = self.config.issuer.rstrip("/") + "/.well-known/openid-configuration"
                document = await self._http.get_object(where)
                self._metadata = _metadata_of(document, self.config), asked_ns
            return self._metadata[0]

    async def _read_keys(self, *, is_newer_wanted: bool = False) -> KeySet:
        metadata = await self._read_metadata()
        async with self._asking:
            life_s = _KEYS_PAUSE_S if is_newer_wanted else _KEYS_LIFE_S
            if self._keys is None or self._is_older(self._keys[1], life_s):
                asked_ns = self._clock.boot_ns()
                self._keys = parse_jwk_set(await self._http.get(metadata.jwks_uri)), asked_ns
            return self._keys[0]

    def _is_older(self, boot_ns: int, life_s: int) -> bool:
        return self._clock.boot_ns() - boot_ns >= life_s * NS_PER_SECOND


def operator_of_login(operators: Collection[Operator], identity: Identity) -> Operator | None:
    """Return the one human operator whom *identity* stands for (law 4); None if there is none.

    Raises:
        RefusedError: There are several.
    """
    login = (identity.issuer, identity.subject)
    found = [
        operator
        for operator in operators
        if login in operator.logins and operator.kind is OperatorKind.HUMAN and operator.human_id
    ]
    if len(found) > 1:
        raise RefusedError(
            "several operators have this login, so nobody knows whose sign-in it is",
            reason=ErrorReason.UNAUTHENTICATED,
            hint="an administrator must give it to one operator in operators.yaml",
        )
    return found[0] if found else None


def _metadata_of(document: dict[str, Any], config: OidcConfig) -> _Metadata:
    """Law 3."""
    if document.get("issuer") != config.issuer:
        raise _bad(config, "names another issuer than the configured one")
    endpoints = [
        document.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
    ]
    if not all(is_acceptable_url(url) for url in endpoints):
        raise _bad(config, "has an endpoint that is missing or not https")
    challenges = document.get("code_challenge_methods_supported", ["S256"])
    if not isinstance(challenges, list) or "S256" not in challenges:
        raise _bad(config, "does not support PKCE with S256")
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    authorization, token, jwks = (str(url) for url in endpoints)
    return _Metadata(
        authorization_endpoint=authorization,
        token_endpoint=token,
        jwks_uri=jwks,
        client_auth=_client_auth(methods, config),
        is_issuer_sent=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _client_auth(methods: object, config: OidcConfig) -> ClientAuth:
    if config.client_secret_file is None:
        return "none"
    known: tuple[ClientAuth, ...] = ("client_secret_basic", "client_secret_post")
    for method in known:
        if isinstance(methods, list) and method in methods:
            return method
    raise _bad(config, "takes a client's secret neither by header nor by form")


def _bad(config: OidcConfig, what: str) -> UntrustedInputError:
    return UntrustedInputError(
        f"the metadata of provider {config.name} {what}",
        hint="compare the issuer in the settings with what the provider publishes",
    )


def _no(what: str) -> RefusedError:
    return RefusedError(
        f"the provider's answer {what}",
        reason=ErrorReason.UNAUTHENTICATED,
        hint="begin again, and use one tab for it",
    )

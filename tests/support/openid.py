# SPDX-License-Identifier: Apache-2.0
"""An OpenID provider on loopback that does as it is told: rightly, or as an attacker would have it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sidecar.clock import NS_PER_SECOND, Clock

__all__ = ["FakeProvider", "Request"]

_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_OTHER_KEY: Final = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass
class Request:
    """What the provider was asked, once the browser came to it."""

    query: dict[str, str]
    subject: str
    code: str


@dataclass
class FakeProvider:
    """One provider. ``change_claims`` and ``sign`` make its tokens what a test wants.

    Attributes:
        behaviour: By path (``metadata``, ``token``, ``jwks``): answers in place of the right thing.
        redeemed: The forms that came to the token endpoint, with their Authorization header.
    """

    clock: Clock
    client_id: str = "holdfast"
    client_secret: str = "s3cret:+/"
    subject: str = "sub-alice"
    sends_issuer: bool = False
    change_claims: Callable[[dict[str, Any]], None] = lambda claims: None
    sign: Callable[[dict[str, Any]], str] | None = None
    metadata_changes: dict[str, Any] = field(default_factory=dict)
    behaviour: dict[str, Callable[[web.Request], web.StreamResponse]] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    redeemed: list[tuple[dict[str, str], str]] = field(default_factory=list)
    kid: str = "key-1"
    key: Any = _KEY
    hits: list[str] = field(default_factory=list)

    async def start(self) -> None:
        """Serve on loopback."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/.well-known/openid-configuration", self._metadata),
                web.get("/authorize", self._authorize),
                web.get("/jwks", self._jwks),
                web.post("/token", self._token),
            ]
        )
        self._server = TestServer(app, host="127.0.0.1")
        await self._server.start_server()

    async def close(self) -> None:
        """Serve no more."""
        await self._server.close()

    @property
    def issuer(self) -> str:
        """Who it says it is."""
        return str(self._server.make_url("")).rstrip("/")

    def authorize(self, location: str, **changes: str) -> str:
        """Let a human say yes at *location*; return the query the browser goes back with."""
        assert location.startswith(f"{self.issuer}/authorize?")
        query = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        code = secrets.token_urlsafe(16)
        self.requests[code] = Request(query=query, subject=self.subject, code=code)
        answer = {"code": code, "state": query["state"]}
        if self.sends_issuer:
            answer["iss"] = self.issuer
        return urlencode({**answer, **changes})

    def token(self, request: Request) -> str:
        """Return an ID token for *request*."""
        now = self.clock.wall_ns() // NS_PER_SECOND
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": request.subject,
            "aud": self.client_id,
            "iat": now,
            "exp": now + 300,
            "nonce": request.query["nonce"],
            "email": "alice@example.com",
        }
        self.change_claims(claims)
        if self.sign is not None:
            return self.sign(claims)
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": self.kid})

    # -- what a forger would send ----------------------------------------------------------------

    def unsigned(self, claims: dict[str, Any]) -> str:
        """Return a token with algorithm ``none``."""
        return _compact({"alg": "none", "kid": self.kid}, claims, b"")

    def hmac_with_public_key(self, claims: dict[str, Any]) -> str:
        """Return a token whose HMAC secret is the public key."""
        pem = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        header = {"alg": "HS256", "kid": self.kid}
        body = _compact(header, claims, b"").removesuffix(".")
        signature = hmac.digest(pem, body.encode(), "sha256")
        return f"{body}.{_b64(signature)}"

    def by_another_key(self, claims: dict[str, Any]) -> str:
        """Return a token signed by a key that is not the provider's, under its key id."""
        return jwt.encode(claims, _OTHER_KEY, algorithm="RS256", headers={"kid": self.kid})

    def with_own_key(self, claims: dict[str, Any]) -> str:
        """Return a token that brings the key it is signed with."""
        jwk = _jwk(_OTHER_KEY, "mine")
        return jwt.encode(
            claims, _OTHER_KEY, algorithm="RS256", headers={"kid": self.kid, "jwk": jwk}
        )

    def as_access_token(self, claims: dict[str, Any]) -> str:
        """Return a genuine token of another type."""
        return jwt.encode(
            claims, self.key, algorithm="RS256", headers={"kid": self.kid, "typ": "at+jwt"}
        )

    # -- endpoints -------------------------------------------------------------------------------

    async def _metadata(self, request: web.Request) -> web.StreamResponse:
        self.hits.append("metadata")
        if "metadata" in self.behaviour:
            return self.behaviour["metadata"](request)
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": self.sends_issuer,
        }
        return web.json_response({**document, **self.metadata_changes})

    async def _authorize(self, request: web.Request) -> web.StreamResponse:
        """What a real browser sees: this provider says yes at once."""
        self.hits.append("authorize")
        query = self.authorize(str(request.url))
        raise web.HTTPFound(f"{request.query['redirect_uri']}?{query}")

    async def _jwks(self, request: web.Request) -> web.StreamResponse:
        self.hits.append("jwks")
        if "jwks" in self.behaviour:
            return self.behaviour["jwks"](request)
        return web.json_response({"keys": [_jwk(self.key, self.kid)]})

    async def _token(self, request: web.Request) -> web.StreamResponse:
        self.hits.append("token")
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.redeemed.append((form, request.headers.get("Authorization", "")))
        if "token" in self.behaviour:
            return self.behaviour["token"](request)
        known = self.requests.pop(form.get("code", ""), None)  # a code is good once
        if known is None or form.get("redirect_uri") != known.query["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if _b64(verifier) != known.query["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response(
            {"access_token": "unused", "token_type": "Bearer", "id_token": self.token(known)}
        )


def _jwk(key: Any, kid: str) -> dict[str, Any]:
    jwk: dict[str, Any] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    return {**jwk, "kid": kid, "use": "sig", "alg": "RS256"}


def _compact(header: dict[str, Any], claims: dict[str, Any], signature: bytes) -> str:
    parts = [_b64(json.dumps(item).encode()) for item in (header, claims)]
    return ".".join([*parts, _b64(signature)])


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

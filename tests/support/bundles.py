# SPDX-License-Identifier: Apache-2.0
"""The policy bundle of the system tests, and an identity provider that signs the tokens it asks for.

Small, so that a process starts in a tenth of a second, and complete: a tool of every class, a held
one, one whose policy reads an argument, network tools, tools that demand a token; operators that
hold exactly one role each, so that a permission can be told from every other.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import jwt
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = [
    "AGENTS",
    "AUDIENCE",
    "ISSUER",
    "OTHER_ISSUER",
    "ROLES",
    "IdentityProvider",
    "agent_names",
    "spiffe",
    "write_bundle",
]

ISSUER: Final = "https://idp.example"
OTHER_ISSUER: Final = "https://other-idp.example"
AUDIENCE: Final = "holdfast-test"
AGENTS: Final = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
ROLES: Final = (
    "contain",
    "release",
    "approve",
    "policy-author",
    "policy-approve",
    "audit-read",
    "admin",
    "break-glass",
)

_POLICIES: Final = """
@id("read") permit (principal, action in [Action::"note.read", Action::"note.peek"], resource)
unless {{ {unless} }};

@id("write")
permit (
  principal,
  action in [Action::"note.write", Action::"note.burn", Action::"mail.send", Action::"mail.list"],
  resource
) unless {{ {unless} }};

@id("named")
permit (principal, action == Action::"note.named", resource)
when {{ context.args.name == "good" }};

@id("held") @hold("Somebody must look at this.")
permit (principal, action == Action::"note.held", resource);

@id("dial") permit (principal, action in [Action::"net.get", Action::"net.probe"], resource);

@id("vault")
permit (principal, action in [Action::"vault.read", Action::"vault.write"], resource);

@id("other-vault") permit (principal, action == Action::"other.read", resource);
"""
NEVER: Final = 'resource.class == "no such class"'
"""A condition that no call meets: the bundle as it is without tightening."""


class IdentityProvider:
    """Signs access tokens with one Ed25519 key."""

    def __init__(self, issuer: str = ISSUER, kid: str = "key-1") -> None:
        self.issuer = issuer
        self.kid = kid
        self._key = Ed25519PrivateKey.generate()
        self._numbers = itertools.count(1)

    def jwks(self) -> bytes:
        """Return the key set that verifiers need."""
        raw = self._key.public_key().public_bytes_raw()
        x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        key = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "alg": "EdDSA"}
        return json.dumps({"keys": [key]}).encode()

    def token(self, agent: str, *, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """Return a good token of *agent*, changed by *claims*; a claim of None is left out."""
        now = int(time.time())
        body = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": agent,
            "jti": f"jti-{next(self._numbers)}",
            "iat": now - 2,
            "exp": now + 600,
            **claims,
        }
        return jwt.encode(
            {name: value for name, value in body.items() if value is not None},
            self._key,
            algorithm="EdDSA",
            headers={"kid": self.kid, **(header or {})},
        )


def spiffe(operator: str) -> str:
    """Return the identity of an operator of the test bundle."""
    return f"spiffe://holdfast.test/operator/{operator}"


def agent_names(count: int) -> list[str]:
    """Return names of spare agents that the bundle declares too, one for each test that needs one."""
    return [f"spare-{number:03d}" for number in range(count)]


def write_bundle(
    path: Path,
    *,
    idp: IdentityProvider | None = None,
    other: IdentityProvider | None = None,
    spare_agents: int = 0,
    limits: Iterable[Mapping[str, Any]] = (),
    without_operators: Iterable[str] = (),
    roles: Mapping[str, list[str]] | None = None,
    unless: str = NEVER,
    extra_policies: str = "",
) -> Path:
    """Write the bundle into *path* and return it; called again, it replaces what was there.

    Args:
        path: The bundle's directory.
        idp: Whose tokens ``vault.*`` ask for.
        other: Whose tokens ``other.read`` asks for.
        spare_agents: How many of ``agent_names`` are declared.
        limits: Of ``limits.yaml``.
        without_operators: Operators that are left out.
        roles: Other roles for some operators.
        unless: Cedar condition under which reading and writing is not permitted any more.
        extra_policies: More Cedar text.
    """
    idp = idp or IdentityProvider()
    other = other or IdentityProvider(OTHER_ISSUER, "other-1")
    (path / "policies").mkdir(parents=True, exist_ok=True)
    operators = {name: spec for name, spec in _operators().items() if name not in without_operators}
    for name, changed in (roles or {}).items():
        operators[name] = {**operators[name], "roles": changed}
    _write(path / "tools.yaml", {"version": 1, "tools": _tools()})
    _write(path / "agents.yaml", {"version": 1, "agents": _agents(spare_agents)})
    _write(path / "operators.yaml", {"version": 1, "operators": operators})
    _write(path / "limits.yaml", {"version": 1, "limits": [dict(limit) for limit in limits]})
    _write(path / "issuers.yaml", {"version": 1, "issuers": _issuers()})
    (path / "jwks.json").write_bytes(idp.jwks())
    (path / "other.json").write_bytes(other.jwks())
    text = _POLICIES.format(unless=unless) + extra_policies
    (path / "policies" / "all.cedar").write_text(text)
    return path


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True  # a bundle may not hold aliases


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False))


def _tools() -> dict[str, Any]:
    text = {"type": "object", "properties": {"text": {"type": "string"}}}
    named = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    url = {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}
    unresolved = {"argument": "url", "resolve": False}
    token = {"issuer": "corp"}
    return {
        "note.read": {"class": "read", "arguments": text},
        "note.peek": {"class": "read", "arguments": text},
        "note.write": {"class": "write", "arguments": text, "reveal": ["text"]},
        "note.burn": {"class": "destructive", "arguments": text},
        "note.named": {"class": "read", "arguments": named},
        "note.held": {"class": "write", "arguments": text},
        "note.forbidden": {"class": "write", "arguments": text},
        "mail.send": {"class": "external", "arguments": url, "destination": unresolved},
        "mail.list": {"class": "read", "arguments": url, "destination": unresolved},
        "net.get": {"class": "external", "arguments": url, "destination": {"argument": "url"}},
        "net.probe": {"class": "read", "arguments": url, "destination": {"argument": "url"}},
        "vault.read": {"class": "read", "arguments": text, "token": token},
        "vault.write": {"class": "write", "arguments": text, "token": token},
        "other.read": {"class": "read", "arguments": text, "token": {"issuer": "other"}},
    }


def _agents(spare: int) -> dict[str, Any]:
    agents: dict[str, Any] = {
        name: {
            "owner": f"{name}-owner@example.com",
            "groups": ["staff"],
            "labels": {"env": "test", "name": name},
        }
        for name in AGENTS
    }
    agents |= {
        name: {"owner": f"{name}-owner@example.com", "groups": ["staff"], "labels": {"team": name}}
        for name in agent_names(spare)
    }
    return agents


def _operators() -> dict[str, Any]:
    def human(name: str, *roles: str, **more: str) -> dict[str, Any]:
        return {"kind": "human", "identity": spiffe(name), "roles": list(roles), **more}

    def automation(name: str, *roles: str) -> dict[str, Any]:
        return {"kind": "automation", "identity": spiffe(name), "roles": list(roles)}

    operators = {
        "alice": human("alice", "contain", "release", "audit-read"),
        "bob": human("bob", "contain", "release", "audit-read"),
        "carol": human("carol", "admin", "policy-approve", "audit-read"),
        "dora": human("dora", "contain", "release", "break-glass", "audit-read"),
        # The same person as alice, with a second certificate.
        "alice.second": human("alice.second", "contain", "release", human_id="alice"),
        "soar": automation("soar", "contain"),
        "greedy-bot": automation("greedy-bot", "contain", "release"),
        "nobody": human("nobody"),
    }
    operators |= {f"only-{role}": human(f"only-{role}", role) for role in ROLES}
    return operators


def _issuers() -> dict[str, Any]:
    def issuer(url: str, file: str) -> dict[str, Any]:
        return {
            "issuer": url,
            "audience": AUDIENCE,
            "algorithms": ["EdDSA"],
            "jwks_file": file,
            "max_token_life": "1h",
            "leeway": "30s",
        }

    return {"corp": issuer(ISSUER, "jwks.json"), "other": issuer(OTHER_ISSUER, "other.json")}

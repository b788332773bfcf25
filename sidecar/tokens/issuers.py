# SPDX-License-Identifier: Apache-2.0
"""Whose tokens we believe, and how far.

Laws:

1. The algorithms of an issuer are fixed here and are asymmetric; a token cannot choose.
2. No issuer may let a token live longer than ``MAX_TOKEN_LIFE_S`` or be off by more than
   ``MAX_LEEWAY_S``. Revocations are kept for longer than both together, so a later change of an
   issuer's settings cannot bring back a token whose revocation was already pruned.
3. Keys come from exactly one configured place, never from a token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ALGORITHMS", "MAX_LEEWAY_S", "MAX_TOKEN_LIFE_S", "SUBJECT_IS_AGENT", "IssuerSpec"]

ALGORITHMS: Final = frozenset({"EdDSA", "ES256", "RS256", "PS256"})
MAX_TOKEN_LIFE_S: Final = 24 * 3600
MAX_LEEWAY_S: Final = 300
SUBJECT_IS_AGENT: Final = "agent"
_PLACE: Final = "{agent}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerSpec:
    """One issuer of tokens.

    Attributes:
        name: What the configuration calls it.
        issuer: The ``iss`` claim, compared exactly.
        audience: The ``aud`` claim, compared exactly; a list of audiences is refused.
        algorithms: Some of ``ALGORITHMS``.
        jwks_file: Path of its JWK set; this or ``jwks_url``.
        jwks_url: Address of its JWK set; this or ``jwks_file``.
        max_token_life_s: Longest accepted ``exp - iat``.
        leeway_s: How far the issuer's clock may run ahead (``iat``, ``nbf``). It never extends
            ``exp``, and never weakens a revocation.
        max_key_age_s: For how long the last good key set counts.
        subject: ``agent`` when ``sub`` is the agent's id, or a text with one ``{agent}``, such as
            ``spiffe://corp.example/agent/{agent}``, that ``sub`` must equal.
        principal_claim: The claim, if a token has it, that names the human for whom the agent acts.
    """

    name: str
    issuer: str
    audience: str
    algorithms: frozenset[str]
    jwks_file: str | None = None
    jwks_url: str | None = None
    max_token_life_s: int = 3600
    leeway_s: int = 30
    max_key_age_s: int = 3600
    subject: str = SUBJECT_IS_AGENT
    principal_claim: str = "principal"

    def __post_init__(self) -> None:
        if not self.name or not self.issuer or not self.audience:
            raise ValueError("an issuer needs a name, an issuer and an audience")
        if not self.algorithms or not self.algorithms <= ALGORITHMS:
            raise ValueError(f"issuer {self.name}: algorithms are some of {sorted(ALGORITHMS)}")
        if (self.jwks_file is None) == (self.jwks_url is None):
            raise ValueError(f"issuer {self.name}: exactly one of jwks_file and jwks_url")
        if not 0 < self.max_token_life_s <= MAX_TOKEN_LIFE_S:
            raise ValueError(f"issuer {self.name}: max_token_life is 1 s to {MAX_TOKEN_LIFE_S} s")
        if not 0 <= self.leeway_s <= MAX_LEEWAY_S:
            raise ValueError(f"issuer {self.name}: leeway is 0 s to {MAX_LEEWAY_S} s")
        if self.max_key_age_s <= 0:
            raise ValueError(f"issuer {self.name}: max_key_age is at least 1 s")
        if self.subject != SUBJECT_IS_AGENT and self.subject.count(_PLACE) != 1:
            raise ValueError(f"issuer {self.name}: subject is 'agent' or a text with one {_PLACE}")

    def subject_of(self, agent: str) -> str:
        """Return the only ``sub`` that a token of *agent* may carry."""
        if self.subject == SUBJECT_IS_AGENT:
            return agent
        return self.subject.replace(_PLACE, agent)

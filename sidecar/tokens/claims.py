# SPDX-License-Identifier: Apache-2.0
"""What a token said, once it was proved, and the *no* that is said otherwise.

Laws:

1. A ``VerifiedToken`` exists only for a token whose signature, issuer, audience, times and subject
   were all checked; its agent is the agent that asked, and its subject says the same.
2. A token's identity is the pair (issuer, token id), never its text: the same token can be written
   in many ways, and every one of them is the same token.
3. Neither value holds any part of the token's text, so neither can leak it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sidecar.model import ReasonCode

__all__ = ["MAX_CLAIM_TIME_S", "Rejection", "VerifiedToken"]

MAX_CLAIM_TIME_S: Final = 2**53
"""No time in a claim or a rule is later than this (what I-JSON can say exactly)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why a token does not count. A no is a value.

    It is not false on purpose: where None means "nothing against it", a false rejection would read
    the same. Use ``isinstance`` or ``is not None``.
    """

    code: ReasonCode
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """The claims of a token that was proved to be this agent's. Times are wall seconds."""

    issuer_name: str
    """The issuer's name in the configuration."""
    issuer: str
    """The ``iss`` claim, exactly."""
    jti: str
    subject: str
    agent: str
    issue_time_s: int
    expire_time_s: int
    not_before_s: int | None = None
    session: str = ""
    """The ``sid`` claim: the session that refreshed and rotated tokens share. Empty if absent."""
    auth_time_s: int | None = None
    principal: str = ""
    """The human for whom the agent acts, if the issuer says so (``IssuerSpec.principal_claim``)."""

    @property
    def identity(self) -> tuple[str, str]:
        """The token's identity: issuer and token id."""
        return (self.issuer, self.jti)

    @property
    def origin_time_s(self) -> int:
        """When the authority behind this token began.

        A refreshed token is issued later than the login it descends from. Where the issuer says so
        (``auth_time``), the earlier time counts, so a refresh does not outrun a revocation.
        """
        if self.auth_time_s is None or self.auth_time_s > self.issue_time_s:
            return self.issue_time_s
        return self.auth_time_s

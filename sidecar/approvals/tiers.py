# SPDX-License-Identifier: Apache-2.0
"""What each tier asks of whoever grants, and how long it may take.

Laws:

1. A higher tier never asks less than a lower one.
2. Whoever has a say can only make it stricter: the larger quorum and the shorter wait count.
3. No configuration leaves the bounds: nothing waits for ever, nothing waits so short that no human
   could look at it, and no grant lies about for longer than 15 minutes (rule 10).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from sidecar.approvals.values import Tier

__all__ = [
    "DEFAULT_TIERS",
    "MAX_EXPIRY_S",
    "MAX_GRANT_LIFE_S",
    "MAX_QUORUM",
    "MIN_EXPIRY_S",
    "TierRule",
    "bounded",
]

MIN_EXPIRY_S: Final = 30
MAX_EXPIRY_S: Final = 24 * 3600
MAX_GRANT_LIFE_S: Final = 900
MAX_QUORUM: Final = 10

_MINUTE_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRule:
    """What a tier asks.

    Attributes:
        expiry_s: How long a request may wait; then it is refused by itself.
        grant_life_s: How long a grant may wait for its use.
        quorum: How many different humans must grant.
        is_passkey_needed: Whether each of them must sign with a passkey.
        is_reason_needed: Whether each of them must say why.
        remind_at: Share of the wait after which the approvers are reminded.
        escalate_at: Share of the wait after which everybody is told that nobody has decided.
    """

    expiry_s: int
    grant_life_s: int
    quorum: int
    is_passkey_needed: bool
    is_reason_needed: bool
    remind_at: float = 0.5
    escalate_at: float = 0.75


DEFAULT_TIERS: Final[Mapping[Tier, TierRule]] = MappingProxyType(
    {
        Tier.LOW: TierRule(
            expiry_s=15 * _MINUTE_S,
            grant_life_s=15 * _MINUTE_S,
            quorum=1,
            is_passkey_needed=False,
            is_reason_needed=False,
        ),
        Tier.MEDIUM: TierRule(
            expiry_s=30 * _MINUTE_S,
            grant_life_s=15 * _MINUTE_S,
            quorum=1,
            is_passkey_needed=False,
            is_reason_needed=False,
        ),
        Tier.HIGH: TierRule(
            expiry_s=60 * _MINUTE_S,
            grant_life_s=10 * _MINUTE_S,
            quorum=1,
            is_passkey_needed=True,
            is_reason_needed=True,
        ),
        Tier.CRITICAL: TierRule(
            expiry_s=60 * _MINUTE_S,
            grant_life_s=5 * _MINUTE_S,
            quorum=2,
            is_passkey_needed=True,
            is_reason_needed=True,
        ),
    }
)


def bounded(rule: TierRule, *, quorum: int = 0, expiry_s: int = 0) -> TierRule:
    """Return *rule* as a policy with its own *quorum* and *expiry_s* makes it (laws 2 and 3).

    Args:
        rule: What the tier asks.
        quorum: What the policy asks; 0 if it does not say.
        expiry_s: What the policy asks; 0 if it does not say.
    """
    wait_s = min(rule.expiry_s, expiry_s) if expiry_s > 0 else rule.expiry_s
    return replace(
        rule,
        quorum=min(MAX_QUORUM, max(1, rule.quorum, quorum)),
        expiry_s=min(MAX_EXPIRY_S, max(MIN_EXPIRY_S, wait_s)),
        grant_life_s=min(MAX_GRANT_LIFE_S, max(1, rule.grant_life_s)),
        remind_at=min(1.0, max(0.0, rule.remind_at)),
        escalate_at=min(1.0, max(0.0, rule.escalate_at)),
    )

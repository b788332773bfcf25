# SPDX-License-Identifier: Apache-2.0
"""``approvals.yaml``: how much is asked of the humans who grant, per tier and per control action.

Laws:

1. Everything has a default, so the file may be missing and every key of it too. What is not said is
   None here: the defaults of the tiers belong to the approvals, which policy does not know.
2. Nothing here can lower what loosening takes: another human than the one who asks, and two others
   from tier HIGH on. That floor is in ``sidecar.operations.rules``, not in a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import Field

from sidecar.documents import Document, validate_document
from sidecar.policy.fields import FileModel, Version, duration

__all__ = ["ACTIONS", "DEFAULT_APPROVAL_RULES", "ApprovalRules", "TierSpec", "parse_approval_rules"]

ActionName = Literal["release", "contain_wide", "contain_protected", "activate_policy", "confirm"]
TierName = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]

ACTIONS: Final[tuple[ActionName, ...]] = (
    "release",
    "contain_wide",
    "contain_protected",
    "activate_policy",
    "confirm",
)
MAX_QUORUM: Final = 5
_DEFAULT_TIER: Final = "MEDIUM"
_MIN_S: Final = 30
_MAX_EXPIRY_S: Final = 86_400
_MAX_GRANT_LIFE_S: Final = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class TierSpec:
    """What one tier asks. Immutable; None means the default of the tier (law 1)."""

    expiry_s: int | None = None
    """How long a request waits before it is refused by itself."""
    grant_life_s: int | None = None
    """How long a grant may wait for its use."""
    quorum: int | None = None
    is_passkey_needed: bool | None = None
    is_reason_needed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRules:
    """What ``approvals.yaml`` says. Immutable; an action that is not named is of tier MEDIUM."""

    tiers: Mapping[str, TierSpec] = field(default_factory=lambda: MappingProxyType({}))
    action_tiers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def tier_of(self, action: str) -> str:
        """Return the tier of a control action of ``ACTIONS``."""
        return self.action_tiers.get(action, _DEFAULT_TIER)


DEFAULT_APPROVAL_RULES: Final = ApprovalRules()


class _Tier(FileModel):
    expiry: Annotated[int, duration(least_s=_MIN_S, most_s=_MAX_EXPIRY_S)] | None = None
    grant_life: Annotated[int, duration(least_s=_MIN_S, most_s=_MAX_GRANT_LIFE_S)] | None = None
    quorum: Annotated[int, Field(ge=1, le=MAX_QUORUM)] | None = None
    passkey: bool | None = None
    reason: bool | None = None


class _Action(FileModel):
    tier: TierName


class _ApprovalsFile(FileModel):
    version: Version
    tiers: dict[TierName, _Tier] = Field(default_factory=dict)
    actions: dict[ActionName, _Action] = Field(default_factory=dict)


def parse_approval_rules(document: Document) -> ApprovalRules:
    """Return the rules of *document*.

    Raises:
        DocumentErrors: the file does not have the form of an approvals file.
    """
    parsed = validate_document(document, _ApprovalsFile)
    return ApprovalRules(
        tiers=MappingProxyType(
            {
                name: TierSpec(
                    expiry_s=tier.expiry,
                    grant_life_s=tier.grant_life,
                    quorum=tier.quorum,
                    is_passkey_needed=tier.passkey,
                    is_reason_needed=tier.reason,
                )
                for name, tier in parsed.tiers.items()
            }
        ),
        action_tiers=MappingProxyType(
            {name: action.tier for name, action in parsed.actions.items()}
        ),
    )

# SPDX-License-Identifier: Apache-2.0
"""That other humans agreed to an order. No I/O.

Laws:

1. Humans are compared as approvals compare them: a wrong "same" costs a second signature, a wrong
   "different" costs the second human. A human without a name is nobody.
2. Whoever asks is never among those who agreed, under any of their names; automation that acts for
   a person carries that person's name.
"""

from __future__ import annotations

from dataclasses import dataclass

from sidecar.approvals.eligibility import fold
from sidecar.model import Operator

__all__ = ["Consent", "others"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """Who granted an order, and where that is recorded: ``approvals/<id>``, human ids."""

    approval: str
    humans: tuple[str, ...]


def others(consent: Consent | None, caller: Operator) -> frozenset[str]:
    """Return the humans who agreed and are not *caller*, folded (law 2)."""
    if consent is None or not consent.approval:
        return frozenset()
    agreed = {fold(human_id) for human_id in consent.humans}
    return frozenset(agreed - {"", fold(caller.human_id)})

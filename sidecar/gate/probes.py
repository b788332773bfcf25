# SPDX-License-Identifier: Apache-2.0
"""The gate's numbers, read when somebody scrapes. Labels are agents and effects of our own making."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sidecar.audit.log import AuditLog
from sidecar.authorize.cache import DecisionCache
from sidecar.authorize.record import Recorder
from sidecar.gate.state import GateState
from sidecar.gate.sync import SyncClient
from sidecar.observe.metrics import Sample
from sidecar.policy.engine import PolicyVerdict

__all__ = ["GateMetrics"]


class GateMetrics:
    """Collects the samples of one gate."""

    def __init__(
        self,
        *,
        state: GateState,
        sync: SyncClient,
        recorder: Recorder,
        audit: AuditLog,
        cache: DecisionCache[PolicyVerdict],
    ) -> None:
        self._state = state
        self._sync = sync
        self._recorder = recorder
        self._audit = audit
        self._cache = cache

    def samples(self) -> Iterator[Sample]:
        """Yield every sample as of now."""
        decisions: Counter[tuple[str, ...]] = Counter()
        for (agent, _tool), seen in list(self._recorder.seen().items()):
            for effect, count in list(seen.effects.items()):
                decisions[agent, effect] += count
        yield (
            "counter",
            "holdfast_decisions",
            "Decisions since the gate started.",
            decisions.items(),
            ("agent", "effect"),
        )
        world = self._state.latest
        for name, text, value in (
            ("holdfast_epoch", "Containment epoch the gate enforces.", world.epoch),
            ("holdfast_blocked", "1 if the gate denies everything.", world.blocker is not None),
            ("holdfast_stale", "1 if control's heartbeat is too old.", self._is_stale()),
            ("holdfast_control_connected", "1 if the stream is up.", self._sync.is_connected),
            ("holdfast_audit_healthy", "1 if the log takes entries.", self._audit.is_healthy),
            ("holdfast_audit_entries", "Entries in the log.", self._audit.size),
            (
                "holdfast_audit_unsynced_entries",
                "Entries that are not durable yet.",
                self._audit.size - self._audit.durable_size,
            ),
            ("holdfast_cache_entries", "Cached verdicts.", len(self._cache)),
        ):
            yield ("gauge", name, text, [((), float(value))], ())
        for name, text, value in (
            ("holdfast_cache_hits", "Verdicts from the cache.", self._cache.hits),
            ("holdfast_cache_misses", "Verdicts from Cedar.", self._cache.misses),
        ):
            yield ("counter", name, text, [((), float(value))], ())

    def _is_stale(self) -> bool:
        return self._state.staleness() is not None
